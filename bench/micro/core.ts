// The parts of the core that every I/O passes: tags, rings, the histogram, the generator.

import type { Size } from '../cell.js'
import { type Loop, LoopMachine } from './loops.js'
import { type Micro, opsOf } from './micro.js'

/** Patterns of the generator, as options of a job. */
const PATTERNS = {
  'random, each block once': [],
  'random, norandommap': ['--norandommap'],
  sequential: ['--rw=read'],
  zipf: ['--random_distribution=zipf:1.1'],
} as const

/** Entries of a batch on the rings. */
const BATCHES = [1, 8, 32] as const

/** Every part. Each has a machine of its own, because what they leave behind in it differs. */
export async function coreMicros(size: Size): Promise<Micro[]> {
  const ops = opsOf(size)
  const micro = (name: string, loop: Loop): Micro => ({ name, ops, run: () => loop(ops) })
  const machine = (): Promise<LoopMachine> => LoopMachine.boot()
  const rows = [
    micro('tag: get and put', (await machine()).tags(0)),
    micro('tag: put the oldest of 32, get', (await machine()).tags(32)),
    micro('tag: put the oldest of 512, get', (await machine()).tags(512)),
  ]
  for (const batch of BATCHES)
    rows.push(micro(`rings: entry down and up, batch ${batch}`, (await machine()).rings(batch)))
  rows.push(micro('histogram: one latency', (await machine()).histogram()))
  for (const [pattern, more] of Object.entries(PATTERNS))
    rows.push(micro(`generator: ${pattern}`, (await LoopMachine.boot({ more })).generator()))
  rows.push(micro('generator: 64 random bits', (await machine()).random()))
  return rows
}
