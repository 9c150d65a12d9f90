// A worker of gate-all.ts: one machine, run whenever its turn comes.

import { parentPort, workerData } from 'node:worker_threads'
import { DONE, END, FAILED, type SeatData, STOP, TURN } from './gate-all.js'
import type { Probe, Spent } from './gate-probe.js'

/** Operations of one call: some tens of microseconds, so that the slice ends soon after it is told to. */
const CALL = 512

/** The first calls warm the code up before anybody measures. */
const WARM_CALLS = 200

async function sit({ control, results, index, probe: url, name }: SeatData): Promise<void> {
  const module = (await import(url)) as { openProbe(name: string): Promise<Probe> }
  const probe = await module.openProbe(name)
  for (let i = 0; i < WARM_CALLS; i++) await probe.run(CALL)
  parentPort!.postMessage('ready')
  for (let turn = 0; ; turn++) {
    Atomics.wait(control, TURN, turn)
    if (Atomics.load(control, END)) return
    let [ops, ns] = [0, 0]
    do {
      const spent: Spent = await probe.run(CALL)
      ops += spent.ops
      ns += spent.ns
    } while (!Atomics.load(control, STOP))
    results[index * 2] = ops
    results[index * 2 + 1] = ns
    Atomics.add(control, DONE, 1)
    Atomics.notify(control, DONE)
  }
}

const data = workerData as SeatData
try {
  await sit(data)
} catch (error) {
  Atomics.store(data.control, FAILED, 1)
  Atomics.add(data.control, DONE, 1)
  Atomics.notify(data.control, DONE)
  throw error
}
