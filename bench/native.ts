// The yardstick: a C twin of the hot path (bench/native/README.md), built with make into
// build/native.
//
// It is run for one repetition each time, so that rounds can alternate with phasebit's, pinned as
// its README says: to CPU 0 inline, to CPUs 0 and 1 with two threads.

import { cpSync, mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { distUrl } from '../src/core/wasm.js'
import type { Measured, Side, Size } from './cell.js'
import { output } from './spawn.js'

const SOURCES = fileURLToPath(distUrl('../bench/native/'))
const BUILD = fileURLToPath(distUrl('../build/native/'))

/** I/Os of one measurement of the small size. */
const SMALL_IOS = 1_000

/** What the yardstick prints, as far as it is read here. */
interface RingResult {
  readonly ns_med: number
  readonly host_cpu_ns_io: number
  readonly errs: number
}

let built: Promise<string | null> | undefined

/** Builds the yardstick once. Null, or why it cannot be had. */
export function buildYardstick(): Promise<string | null> {
  built ??= build()
  return built
}

async function build(): Promise<string | null> {
  mkdirSync(BUILD, { recursive: true })
  cpSync(SOURCES, BUILD, { recursive: true, preserveTimestamps: true })
  try {
    await output('make', ['-s', '-C', BUILD, 'ring'])
    return null
  } catch (error) {
    const why = (error as Error).message
    return `the yardstick cannot be built (it needs make and a C compiler): ${why}`
  }
}

/** One repetition of the yardstick. */
async function ring(args: readonly string[], ios: number): Promise<RingResult> {
  const missing = await buildYardstick()
  if (missing !== null) throw new Error(missing)
  const text = await output(`${BUILD}ring`, [...args, '--ios', `${ios}`, '--reps', '1'])
  const result = JSON.parse(text) as RingResult
  if (result.errs > 0) throw new Error(`the yardstick counted ${result.errs} errors`)
  return result
}

/**
 * What is read of a repetition: elapsed time, or the submitting thread's CPU time, in ns for each
 * I/O.
 */
export type RingField = 'elapsed' | 'host cpu'

/** A side that is the yardstick with these options; `ios` I/Os when large. */
export function yardstick(
  options: string,
  ios: number,
  field: RingField = 'elapsed',
  name: string = 'yardstick',
): Side {
  const measure = async (size: Size): Promise<Measured> => {
    const result = await ring(options.split(' '), size === 'small' ? SMALL_IOS : ios)
    if (field === 'host cpu') return { value: result.host_cpu_ns_io }
    return { value: result.ns_med, cpu: result.host_cpu_ns_io }
  }
  return { name, where: 'here', measure }
}
