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
  /** The same in plain JavaScript; none where the part is plain JavaScript itself. */
  readonly twin?: () => void
  /** Sets up what must not be there while others are timed. */
  readonly begin?: () => Promise<void>
  /** Ends what was set up for it. */
  readonly end?: () => Promise<void>
}

/** What one of them came to, ns for each operation. */
export interface MicroResult {
  readonly name: string
  readonly p50: number
  readonly mean: number
  readonly min: number
  readonly max: number
  readonly iterations: number
  /** Median of the twin in plain JavaScript, ns; null = it is plain JavaScript itself. */
  readonly twin: number | null
}

/** Operations of an iteration. */
export function opsOf(size: Size): number {
  return size === 'small' ? 1_000 : 20_000
}

const TIMES = {
  small: { time: 1, iterations: 2, warmupTime: 1, warmupIterations: 1 },
  large: { time: 500, iterations: 20, warmupTime: 300, warmupIterations: 20 },
} as const

/** Times them one after another, each beside its twin. */
export async function runMicros(
  micros: readonly Micro[],
  size: Size,
  onResult: (result: MicroResult) => void = () => {},
): Promise<MicroResult[]> {
  const results: MicroResult[] = []
  for (const micro of micros) {
    await micro.begin?.()
    const result = await runMicro(micro, size)
    await micro.end?.()
    results.push(result)
    onResult(result)
  }
  return results
}

async function runMicro({ name, ops, run, twin }: Micro, size: Size): Promise<MicroResult> {
  const bench = new Bench({ throws: true, ...TIMES[size] })
  bench.add(name, run)
  if (twin) bench.add('twin', twin)
  const [own, other] = (await bench.run()).map(({ name: task, result }) => {
    if (!('latency' in result)) throw new Error(`${name}: ${task}: not one iteration was timed`)
    return result.latency
  })
  const perOp = (ms: number): number => (ms * 1e6) / ops
  const { p50, mean, min, max, samplesCount } = own!
  return {
    name,
    p50: perOp(p50),
    mean: perOp(mean),
    min: perOp(min),
    max: perOp(max),
    iterations: samplesCount,
    twin: other ? perOp(other.p50) : null,
  }
}
