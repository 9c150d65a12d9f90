// The whole machine in V8's baseline compiler, in which every run begins (toolchain defect: Node 20's baseline code
// loses registers across a wait inside WASM; the machine therefore waits in JavaScript only).
import { setFlagsFromString } from 'node:v8'
import { expect, it } from 'vitest'
import { bootMachine } from '../../../src/machine/machine.js'
import { countedIos, diskConfig, machineConfig, runJobs, startJob } from './helper.js'

setFlagsFromString('--liftoff-only')

const cases = [
  ['virtual', { clock: 'virtual' }, { model: 'fixed' }],
  ['inline, queue shared by two CPUs', { clock: 'real', cpus: 2 }, { queues: 1, depth: 8 }],
  ['thread and interrupts', { clock: 'real' }, { where: 'thread', wait: 'irq' }],
  ['thread and polling', { clock: 'real' }, { where: 'thread', wait: 'poll' }],
] as const

it.each(cases)('runs without the optimising compiler: %s', async (_, change, disk) => {
  const machine = bootMachine(machineConfig({ ...change, disks: [diskConfig(disk)] }))
  await machine.start()
  const jobs = Array.from({ length: machine.config.cpus }, (_, i) => {
    return startJob(machine, i, i, machine.disks[0]!, {
      ios: 1500,
      depth: 8,
      batch: 2,
      write: true,
    })
  })
  await runJobs(machine, jobs)
  await machine.stop()
  for (const job of jobs) expect(countedIos(machine, job)).toBe(1500)
  expect(machine.books().problems).toEqual([])
})
