// `phasebit run --dump LIST`: what Linux would show of the machine in /sys, /proc and debugfs, at times of the run.
//
//   --dump-at TIME,...   this long after the jobs began; without it once, when the last job has ended
//   --dump-file FILE     instead of standard error
//
// A dump is files with the paths that they have in Linux (src/machine/debug-views.ts). Workqueues belong to an emulated
// kernel: one is made for them.

import type { Machine } from '../machine/booted.js'
import {
  DEBUG_VIEWS,
  debugFiles,
  type DebugFile,
  type DebugView,
  formatDebugFiles,
  sampleStats,
} from '../machine/debug-views.js'
import type { Periodic } from './executor.js'
import type { DumpPlan, RunPlan } from './job.js'
import { NS_PER_S, parseTime, splitTop } from './units.js'
import { oneOf } from './values.js'

/** A look at the machine. */
export interface Dump {
  /** ns of the machine's clock. */
  readonly nowNs: number
  readonly files: readonly DebugFile[]
}

/** `workqueues,stat,...` or `all`. */
export function parseDumpViews(text: string): readonly DebugView[] {
  const words = splitTop(text, ',').map(word => oneOf(word, [...DEBUG_VIEWS, 'all']))
  return DEBUG_VIEWS.filter(view => words.includes(view) || words.includes('all'))
}

/** Times by comma, seconds unless a unit says otherwise. */
export function parseDumpTimes(text: string): readonly number[] {
  const times = splitTop(text, ',').map(time => parseTime(time, NS_PER_S))
  return [...new Set(times)].sort((a, b) => a - b)
}

/** Whether the machine of a plan needs a kernel for its dumps. */
export function dumpNeedsKernel(plan: RunPlan): boolean {
  return plan.dump?.views.includes('workqueues') ?? false
}

/** The dumps of one run. */
export class RunDumps {
  readonly #machine: Machine
  readonly #plan: DumpPlan
  readonly #show: (dump: Dump) => void

  constructor(machine: Machine, plan: DumpPlan, show: (dump: Dump) => void) {
    this.#machine = machine
    this.#plan = plan
    this.#show = show
  }

  /** The jobs begin now: nothing was in flight before. */
  begin(): void {
    sampleStats(this.#machine)
  }

  /** What the executor calls: each dump at its time, and the look at what is in flight, once a jiffy. */
  get periodic(): Periodic[] {
    const { atNs, views } = this.#plan
    const dumps = atNs.map(ns => ({
      firstNs: ns,
      everyNs: Number.POSITIVE_INFINITY,
      call: () => this.#dump(),
    }))
    const { kernel, hz } = this.#machine.config
    const counts = views.includes('stat') || views.includes('diskstats')
    if (kernel || !counts) return dumps
    return [{ everyNs: 1e9 / hz, call: () => sampleStats(this.#machine) }, ...dumps]
  }

  /** The last job has ended. */
  end(): void {
    if (this.#plan.atNs.length === 0) this.#dump()
  }

  #dump(): void {
    sampleStats(this.#machine)
    const files = this.#plan.views.flatMap(view => debugFiles(this.#machine, view))
    this.#show({ nowNs: this.#machine.now(), files })
  }
}

/** A dump as text. */
export function formatDump({ nowNs, files }: Dump): string {
  return `# ${(nowNs / NS_PER_S).toFixed(9)} s\n${formatDebugFiles(files)}\n`
}
