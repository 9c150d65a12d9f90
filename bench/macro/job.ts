// The job that most cells run, and how long they look at it.

import type { Measured, Side, Size } from '../cell.js'
import { Rig, type Window } from '../rig.js'

/**
 * Time until a window opens, for the engine to replace its baseline code; ns. On a busy host a
 * thread gets less CPU time than passes; then it waits longer, but not for ever: threads that sleep
 * never get it.
 */
const WARM = { small: 5e6, large: 300e6 } as const
const WARM_TRIES = 6

/** The window's length, ns. */
const LOOK = { small: 5e6, large: 400e6 } as const

/** A job of 4 KiB random reads. */
export interface Load {
  readonly depth: number
  /** I/Os of one submission, and so of one doorbell. */
  readonly batch: number
  /** What follows `--device nvme,`. */
  readonly device: string
  readonly lat?: 'none' | 'batch' | 'every'
  readonly jobs?: number
  /** More options. */
  readonly more?: readonly string[]
}

/** A command line of `phasebit run` for it; the options of the job itself come last. */
export function commandLine(load: Load): string[] {
  return [
    `--device=nvme,${load.device}`,
    `--lat=${load.lat ?? 'none'}`,
    ...jobOptions(load),
    ...(load.more ?? []),
  ]
}

/** The job alone: endless, asynchronous, straight on the disk. */
export function jobOptions(load: Load): string[] {
  return [
    '--name=bench',
    '--filename=/dev/nvme0n1',
    '--ioengine=libaio',
    '--direct=1',
    '--rw=randread',
    '--bs=4k',
    `--iodepth=${load.depth}`,
    `--iodepth_batch=${load.batch}`,
    '--time_based',
    '--runtime=1h',
    `--numjobs=${load.jobs ?? 1}`,
  ]
}

/** ns for each I/O, elapsed and by CPU time. */
export function perIo({ ios, elapsedNs, cpuNs }: Window): Required<Measured> {
  return { value: elapsedNs / ios, cpu: cpuNs / ios }
}

async function warmUp(rig: Rig, size: Size): Promise<void> {
  let cpuNs = 0
  for (let i = 0; i < WARM_TRIES && !(cpuNs >= WARM[size] * 0.8); i++) {
    cpuNs += (await rig.pass(WARM[size])).cpuNs
  }
}

/** Looks at the jobs that run now, when they have warmed up; then ends everything. */
export async function lookAt(rig: Rig, size: Size): Promise<Required<Measured>> {
  await warmUp(rig, size)
  const window = await rig.pass(LOOK[size])
  await rig.stop()
  return perIo(window)
}

/** Boots a machine in real time, runs the load on it, and measures. */
export async function measureLoad(load: Load, size: Size): Promise<Required<Measured>> {
  const rig = Rig.boot(commandLine(load))
  await rig.begin()
  rig.startAll()
  return lookAt(rig, size)
}

/** The side of a cell that is phasebit under this load. */
export function phasebit(load: Load, name: string = 'phasebit'): Side {
  return { name, where: 'child', measure: size => measureLoad(load, size) }
}
