// Microbenchmarks: single parts, timed by tinybench. An iteration does many operations, because an
// empty one already reads as some 50 ns.

import { Bench } from 'tinybench'
import type { Size } from '../cell.js'

/** One row. */
export interface Micro {
  readonly name: string
  /** Operations of one call of `run`. */
  readonly ops: number
  readonly run: () => void
}

/** What one of them came to, ns for each operation. */
export interface MicroResult {
  readonly name: string
  readonly p50: number
  readonly mean: number
  readonly min: number
  readonly max: number
  readonly iterations: number
}

/** Operations of an iteration. */
export function opsOf(size: Size): number {
  return size === 'small' ? 1_000 : 20_000
}

const TIMES = {
  small: { time: 1, iterations: 2, warmupTime: 1, warmupIterations: 1 },
  large: { time: 500, iterations: 20, warmupTime: 300, warmupIterations: 20 },
} as const

/** Times them one after another. */
export async function runMicros(micros: readonly Micro[], size: Size): Promise<MicroResult[]> {
  const bench = new Bench({ throws: true, ...TIMES[size] })
  for (const { name, run } of micros) bench.add(name, run)
  const tasks = await bench.run()
  return tasks.map((task, i) => {
    const { result } = task
    if (!('latency' in result)) throw new Error(`${task.name}: not one iteration was timed`)
    const { p50, mean, min, max, samplesCount } = result.latency
    const perOp = (ms: number): number => (ms * 1e6) / micros[i]!.ops
    return {
      name: task.name,
      p50: perOp(p50),
      mean: perOp(mean),
      min: perOp(min),
      max: perOp(max),
      iterations: samplesCount,
    }
  })
}
