// Tasks of scenarios: how one is run to its end on a machine in virtual time, and how time passes without one.

import type { Sleep } from '../kernel/core.js'
import type { Machine } from '../machine/booted.js'

/** Longer than any timer of a scenario runs. */
const LONGEST_NS = 400e9

/** Runs a task to its end. */
export async function runTask(
  machine: Machine,
  name: string,
  cpu: number,
  body: () => Sleep<void>,
): Promise<void> {
  const { k } = machine.host!
  let over = false
  k.spawn(
    name,
    function* () {
      yield* body()
      over = true
      machine.interrupt()
    },
    [cpu],
  )
  const end = machine.now() + LONGEST_NS
  while (!over && machine.now() < end) await machine.run(end)
  if (!over) throw new Error(`the task ${name} has not ended: it waits for ${waits(machine, name)}`)
}

/** Lets time pass, whatever happens meanwhile. */
export async function rest(machine: Machine, ns: number): Promise<void> {
  const end = machine.now() + ns
  while (machine.now() < end) if ((await machine.run(end)) === 'idle') break
}

function waits(machine: Machine, name: string): string {
  return [...machine.host!.k.tasks].find(task => task.name === name)?.waiting_on ?? 'nothing'
}
