// What every trace scenario has: a machine in virtual time with an emulated kernel, and the recording of what it does.

import type { Machine } from '../machine/booted.js'
import type { MachineConfig } from '../machine/config.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { TraceRings, traceBytes } from '../machine/trace-ring.js'
import type { TraceRecord } from '../report/trace-json.js'
import { namedRecords } from './scenario-records.js'

/** What a scenario was, and what was recorded. */
export interface ScenarioTrace {
  readonly config: Readonly<Record<string, string>>
  readonly records: readonly TraceRecord[]
  readonly drops: number
  /** Names of the disks. */
  readonly disks: readonly string[]
}

export const SCENARIO_HZ = 250

/** A scenario's own part of its machine. */
interface Own extends Pick<MachineConfig, 'cpus' | 'disks'> {
  readonly seed?: number
  /** Room of the trace, in records of each CPU. */
  readonly records: number
  /** Memory beside that of trace and kernel. */
  readonly bytes: number
  readonly kernel: NonNullable<MachineConfig['kernel']>
}

export function scenarioMachine({
  cpus,
  disks,
  seed = 1,
  records,
  bytes,
  kernel,
}: Own): MachineConfig {
  return {
    clock: 'virtual',
    cpus,
    hz: SCENARIO_HZ,
    seed,
    lat: 'none',
    stages: false,
    trace: true,
    memBytes: 2 ** 20,
    disks,
    extraBytes: traceBytes(cpus, records) + hostKernelBytes(cpus, cpus, kernel.heapBytes) + bytes,
    jobs: 1,
    kernel,
  }
}

/** The trace of a scenario's machine; off until it is set on. */
export class Recorder {
  readonly rings: TraceRings
  readonly #machine: Machine

  /** For a machine that has not started. */
  constructor(machine: Machine, cpus: number, records: number) {
    const blocks = Array.from({ length: cpus }, (_, i) => machine.cpuAddress(i))
    const memory = machine.alloc(traceBytes(cpus, records))
    this.#machine = machine
    this.rings = new TraceRings(machine.view, blocks, memory, records)
    machine.host!.k.trace.sink = this.rings
  }

  set on(value: boolean) {
    this.rings.on = value
    this.#machine.host!.k.trace.on = value
  }

  /** What was recorded. */
  take(config: ScenarioTrace['config']): ScenarioTrace {
    const { rings } = this
    const records = namedRecords(rings.drain(), rings)
    const disks = this.#machine.disks.map(disk => disk.config.name)
    return { config, records, drops: rings.drops, disks }
  }
}
