// `phasebit run --trace FILE`: the functions and tracepoints of the core while jobs run, in either clock. TypeScript's half
// is not in it: jobs that meet no trouble never leave the core.
//
// The rings are emptied every now and then; what finds no room is counted and said. A trace is bounded: when it is full,
// recording ends and the jobs go on.

import { writeFileSync } from 'node:fs'
import { CPU_CTX_ID } from '../../assembly/layout.js'
import type { Machine } from '../machine/booted.js'
import { type TraceEntry, TraceRings, traceBytes } from '../machine/trace-ring.js'
import type { JobSpec, RunPlan } from './job.js'
import { cannotWrite, OutFile } from './out-file.js'
import { namedRecords } from './scenario-records.js'
import { traceFiles, traceText, type WholeTrace } from './trace-formats.js'

/** Records of one CPU's ring. */
const RING = 1 << 16
/** Records of a trace. */
const MOST = 500_000
/** How often the rings are emptied, ns of the machine's clock. */
export const TRACE_DRAIN_NS = 20e6

/** Memory that the rings of a run take. */
export function runTraceBytes(plan: RunPlan, cpus: number): number {
  return plan.trace === null ? 0 : traceBytes(cpus, RING)
}

/** The trace of one run. */
export class RunTrace {
  readonly #plan: RunPlan
  readonly #machine: Machine
  readonly #rings: TraceRings
  readonly #entries: TraceEntry[] = []
  readonly #path: string
  #full = false

  constructor(plan: RunPlan, path: string, machine: Machine, cpuOfJob: readonly number[]) {
    const { cpus } = machine.config
    const blocks = Array.from({ length: cpus }, (_, i) => machine.cpuAddress(i))
    this.#plan = plan
    this.#path = path
    this.#machine = machine
    this.#rings = new TraceRings(machine.view, blocks, machine.alloc(traceBytes(cpus, RING)), RING)
    blocks.forEach((block, cpu) => {
      const jobs = plan.jobs.filter((_, job) => cpuOfJob[job] === cpu)
      const ctx = { id: cpu + 1, name: nameOf(jobs, cpu), kind: 'task', depth: 0 } as const
      this.#rings.contexts.set(ctx.id, { ...ctx })
      machine.view.setU32(block + CPU_CTX_ID, ctx.id)
    })
    this.#rings.on = true
  }

  /** Empties the rings. */
  drain(): void {
    const entries = this.#rings.drain()
    const room = MOST - this.#entries.length
    for (const entry of entries.slice(0, room)) this.#entries.push(entry)
    if (entries.length <= room) return
    this.#full = true
    this.#rings.on = false
  }

  /**
   * Writes the trace.
   * @returns what is missing in it, one line each
   * @throws OutputError when a file cannot be written
   */
  finish(): string[] {
    this.drain()
    this.#rings.on = false
    const drops = this.#rings.drops
    const notes: string[] = []
    if (this.#full) notes.push(`--trace: ends after ${MOST} records; the run went on`)
    if (drops > 0) notes.push(`--trace: ${drops} records found no room and are missing`)
    this.#write({
      name: this.#plan.jobs.map(job => job.name).join(','),
      config: {},
      notes,
      records: namedRecords(this.#entries, this.#rings),
      cpus: this.#machine.config.cpus,
      disks: this.#machine.disks.map(disk => disk.config.name),
    })
    return notes
  }

  #write(trace: WholeTrace): void {
    const { traceFormat: format } = this.#plan
    if (format !== 'blktrace') {
      const file = new OutFile(this.#path)
      file.write(traceText(trace, format))
      file.commit()
      return
    }
    for (const [end, bytes] of traceFiles(trace)) {
      try {
        writeFileSync(`${this.#path}${end}`, bytes)
      } catch (error) {
        throw cannotWrite(`${this.#path}${end}`, error)
      }
    }
  }
}

/** The task of a CPU: its job, or the CPU where several share it. */
function nameOf(jobs: readonly JobSpec[], cpu: number): string {
  return jobs.length === 1 ? jobs[0]!.name : `cpu${cpu}`
}
