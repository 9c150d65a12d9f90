// `phasebit run --trace FILE`, `phasebit trace JOBFILE`: functions and tracepoints while jobs run, in either clock: of the
// core, and, on a machine with an emulated kernel, of TypeScript's half too.
//
// The rings keep the last records, as Linux's own do: recording goes on to the end however long a job lasts, and costs an
// I/O the same all the time. Formats that show tracepoints alone have no functions recorded, and so reach further back.

import { CPU_CTX_ID, TRACE_HARDIRQ } from '../../assembly/layout.js'
import type { TraceContext } from '../kernel/trace.js'
import type { Machine } from '../machine/booted.js'
import { TraceRings, traceBytes } from '../machine/trace-ring.js'
import type { JobSpec, RunPlan } from './job.js'
import { namedRecords } from './scenario-records.js'
import type { WholeTrace } from './trace-formats.js'

/** Records of all rings together; and of one at least. */
const RECORDS = 2 ** 19
const LEAST = 2 ** 12
/** How often they are counted, ns of the machine's clock. */
export const TRACE_COUNT_NS = 1e9

/** Records of one CPU's ring, a power of two. */
function ringOf(cpus: number): number {
  return Math.max(2 ** Math.floor(Math.log2(RECORDS / cpus)), LEAST)
}

/** Memory that the rings of a run take. */
export function runTraceBytes(plan: RunPlan, cpus: number): number {
  return plan.trace === null ? 0 : traceBytes(cpus, ringOf(cpus))
}

/** The trace of one run. */
export class RunTrace {
  readonly #plan: RunPlan
  readonly #machine: Machine
  readonly #rings: TraceRings

  constructor(plan: RunPlan, machine: Machine, cpuOfJob: readonly number[]) {
    const { cpus } = machine.config
    const blocks = Array.from({ length: cpus }, (_, i) => machine.cpuAddress(i))
    this.#plan = plan
    this.#machine = machine
    const records = ringOf(cpus)
    const at = machine.alloc(traceBytes(cpus, records))
    const events = plan.traceFormat === 'blktrace' || plan.traceFormat === 'iolog'
    this.#rings = new TraceRings(machine.view, blocks, at, records, {
      last: true,
      events,
      shared: plan.clock === 'real' && machine.host === null && cpus > 1,
    })
    blocks.forEach((block, cpu) => {
      const jobs = plan.jobs.filter((_, job) => cpuOfJob[job] === cpu)
      const ctx = contextOf(machine, cpu, nameOf(jobs, cpu))
      this.#rings.contexts.set(ctx.id, ctx)
      machine.view.setU32(block + CPU_CTX_ID, ctx.id)
    })
    const k = machine.host?.k
    if (k) {
      k.trace.sink = this.#rings
      k.trace.on = true
    }
    this.#rings.on = true
  }

  /** Counts what was written. */
  count(): void {
    this.#rings.count()
  }

  /** No more is recorded: the trace, whose notes say what is missing in it. */
  finish(): WholeTrace {
    this.#rings.on = false
    const entries = this.#rings.drain()
    const { lost } = this.#rings
    const kept = `the trace has the last ${entries.length} of ${entries.length + lost} records`
    return {
      name: this.#plan.jobs.map(job => job.name).join(','),
      config: {},
      notes: lost > 0 ? [kept] : [],
      records: namedRecords(entries, this.#rings),
      cpus: this.#machine.config.cpus,
      disks: this.#machine.disks.map(disk => disk.config.name),
    }
  }
}

/** Who the jobs of a CPU are; on a machine with a kernel its calls out of the core have that context too. */
function contextOf(machine: Machine, cpu: number, name: string): TraceContext {
  return (
    machine.host?.jobContext(cpu, name) ?? {
      id: TRACE_HARDIRQ - 1 - cpu,
      name,
      kind: 'task',
      depth: 0,
    }
  )
}

/** The task of a CPU: its job, or the CPU where several share it. */
function nameOf(jobs: readonly JobSpec[], cpu: number): string {
  return jobs.length === 1 ? jobs[0]!.name : `cpu${cpu}`
}
