// What only some jobs have beside their block (assembly/features.ts): memory for it, and the fields that say what is wanted.
//
//   priorities      PR_KINDS entries for reads, as many for writes, and a histogram for each entry that is used
//   trims           a ring of pieces to be trimmed
//   replay          a part of the log; the job asks for the next one when it is through
//   flow            one block for all jobs of a flow_id (planned by job-memory.ts)

import {
  FW_COUNT,
  FW_WEIGHT,
  HIST_BUCKETS,
  JOB_BARRIER,
  JOB_FLOW,
  JOB_FLOW_IN,
  JOB_FLOW_SLEEP_NS,
  JOB_FLOW_WEIGHT,
  JOB_IGNORE,
  JOB_IOUS,
  JOB_PRIO,
  JOB_PRIO_N,
  JOB_PRIO_TOTAL,
  JOB_REPLAY,
  JOB_REPLAY_AT,
  JOB_REPLAY_MORE,
  JOB_REPLAY_N,
  JOB_TRIM_BATCH,
  JOB_TRIM_CAP,
  JOB_TRIM_EVERY,
  JOB_TRIM_LIST,
  JOB_TRIM_SHARE,
  LS_HIST,
  PR_BYTES,
  PR_KINDS,
  PR_SHARE,
  PR_SIZE,
  PR_STAT,
  RP_DDIR,
  RP_FILE,
  RP_GAP_NS,
  RP_LEN,
  RP_OFFSET,
  RP_SIZE,
  VP_SIZE,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { PriorityLatency } from '../report/result.js'
import type { JobSpec } from './job.js'
import { readLatency } from './job-view.js'

/** One histogram. */
const HIST_BYTES = HIST_BUCKETS * 4
/** Entries of a log that stand in memory at once. */
export const REPLAY_CHUNK = 8192
/** Pieces that wait to be trimmed beyond trim_backlog. */
const TRIM_ROOM = 256
/** A share of everything, as the core draws it. */
const ALL = 2 ** 32

/** Offsets of what a job has beside its block; 0 = none. */
export interface ExtraPlaces {
  readonly prios: number
  readonly prioHistograms: number
  readonly trims: number
  readonly replay: number
  /** The block of its flow. */
  readonly flow: number
}

/** One priority of a job's commands in one direction. */
export interface PrioKind {
  /** Block size that it is for; 0 = any. */
  readonly bytes: number
  /** Share of the I/Os of this size, with those of the entries before it, in percent. */
  readonly upTo: number
  readonly class: number
  readonly level: number
}

type PrioJob = Pick<JobSpec, 'cmdPrio' | 'prio' | 'prioClass'>

/** Whether commands of the job differ in priority. */
export function hasPriorities({ cmdPrio }: Pick<JobSpec, 'cmdPrio'>): boolean {
  return [...cmdPrio.percentage, ...cmdPrio.split[0], ...cmdPrio.split[1]].some(p =>
    typeof p === 'number' ? p > 0 : p.percent > 0,
  )
}

/** The priorities of reads (0) or writes (1): first the job's own, then those that commands may draw. */
export function prioKinds(job: PrioJob, ddir: 0 | 1): PrioKind[] {
  const { percentage, class: classes, level, split } = job.cmdPrio
  const kinds: PrioKind[] = [{ bytes: 0, upTo: 0, class: job.prioClass, level: job.prio }]
  if (percentage[ddir] > 0)
    kinds.push({ bytes: 0, upTo: percentage[ddir], class: classes[ddir], level: level[ddir] })
  const sums = new Map<number, number>()
  for (const entry of split[ddir]) {
    if (entry.percent === 0) continue
    const upTo = (sums.get(entry.bytes) ?? 0) + entry.percent
    sums.set(entry.bytes, upTo)
    kinds.push({ bytes: entry.bytes, upTo, class: entry.class, level: entry.level })
  }
  return kinds
}

/** Takes the memory of a job's extras. */
export function placeExtras(
  take: (bytes: number, align: number) => number,
  job: JobSpec,
  flow: number,
): ExtraPlaces {
  const prios = hasPriorities(job)
  const kinds = prios ? prioKinds(job, 0).length + prioKinds(job, 1).length : 0
  return {
    prios: take(prios ? 2 * PR_KINDS * PR_SIZE : 0, 64),
    prioHistograms: take(kinds * HIST_BYTES, 64),
    trims: take(trims(job) ? trimCapacity(job) * VP_SIZE : 0, 64),
    replay: take(job.replay ? replayRecords(job.replay.entries.length) * RP_SIZE : 0, 64),
    flow,
  }
}

function replayRecords(entries: number): number {
  return Math.min(entries, REPLAY_CHUNK)
}

/** fio trims only when there is a backlog to take from. */
export function trims(job: Pick<JobSpec, 'trim' | 'verify' | 'uses'>): boolean {
  const { percent, backlog } = job.trim
  return percent > 0 && backlog > 0 && job.verify.method !== 'none' && job.uses[1]
}

function trimCapacity({ trim }: Pick<JobSpec, 'trim'>): number {
  return 2 ** Math.ceil(Math.log2(Math.max(trim.backlog, trim.backlogBatch) + TRIM_ROOM))
}

/** Fills the fields of a job's extras. `base` is what places count from, `ious` where its io_us are. */
export function fillExtras(
  view: View,
  job: number,
  spec: JobSpec,
  places: ExtraPlaces,
  base: number,
  ious: number,
): void {
  view.setU32(job + JOB_IOUS, ious)
  view.setU32(job + JOB_BARRIER, spec.writeBarrier)
  const { read, write, verify } = spec.ignoreError
  for (const [i, errnos] of [read, write, verify].entries()) {
    const bits = job + JOB_IGNORE + 16 * i
    for (const errno of errnos) {
      if (errno >= 128) continue
      const word = bits + 4 * (errno >>> 5)
      view.setU32(word, (view.u32(word) | (1 << (errno & 31))) >>> 0)
    }
  }
  if (places.prios !== 0) fillPriorities(view, job, spec, places, base)
  if (places.trims !== 0) fillTrims(view, job, spec, base + places.trims)
  if (places.replay !== 0) view.setU32(job + JOB_REPLAY, base + places.replay)
  if (places.flow === 0) return
  view.setU32(job + JOB_FLOW, base + places.flow)
  view.setU32(job + JOB_FLOW_WEIGHT, spec.flow)
  view.setU64(job + JOB_FLOW_SLEEP_NS, spec.flowSleepNs)
  view.setU64(base + places.flow + FW_COUNT, 1)
}

function fillPriorities(
  view: View,
  job: number,
  spec: JobSpec,
  places: ExtraPlaces,
  base: number,
): void {
  let histogram = base + places.prioHistograms
  view.setU32(job + JOB_PRIO, base + places.prios)
  view.setU32(job + JOB_PRIO_TOTAL, spec.latPercentiles ? 1 : 0)
  for (const ddir of [0, 1] as const) {
    const kinds = prioKinds(spec, ddir)
    view.setU32(job + JOB_PRIO_N + 4 * ddir, kinds.length)
    for (const [i, kind] of kinds.entries()) {
      const pr = prioAddress(base + places.prios, ddir, i)
      view.setU32(pr + PR_BYTES, kind.bytes)
      view.setU32(pr + PR_SHARE, Math.max(0, Math.round((kind.upTo / 100) * ALL) - 1))
      view.setU32(pr + PR_STAT + LS_HIST, histogram)
      histogram += HIST_BYTES
    }
  }
}

function prioAddress(table: number, ddir: number, kind: number): number {
  return table + (ddir * PR_KINDS + kind) * PR_SIZE
}

function fillTrims(view: View, job: number, spec: JobSpec, list: number): void {
  const { percent, backlog, backlogBatch } = spec.trim
  view.setU32(job + JOB_TRIM_SHARE, Math.max(0, Math.round((percent / 100) * ALL) - 1))
  view.setU32(job + JOB_TRIM_EVERY, backlog)
  view.setU32(job + JOB_TRIM_BATCH, backlogBatch || backlog)
  view.setU32(job + JOB_TRIM_LIST, list)
  view.setU32(job + JOB_TRIM_CAP, trimCapacity(spec))
}

/** The job is about to begin: its weight counts from now on. Jobs that begin together all join before the first runs. */
export function joinFlow(view: View, job: number, spec: JobSpec): void {
  const flow = view.u32(job + JOB_FLOW)
  if (flow === 0 || view.u32(job + JOB_FLOW_IN)) return
  view.setU32(job + JOB_FLOW_IN, 1)
  view.add(flow + FW_WEIGHT, spec.flow)
}

/** Hands a job the entries of its log from number `from` on: the number of the first one that it did not get. */
export function feedReplay(view: View, job: number, spec: JobSpec, from: number): number {
  const { entries } = spec.replay!
  const to = Math.min(entries.length, from + REPLAY_CHUNK)
  let at = view.u32(job + JOB_REPLAY)
  for (const entry of entries.slice(from, to)) {
    view.setU64(at + RP_GAP_NS, entry.gapNs)
    view.setU64(at + RP_OFFSET, spec.files[entry.file]!.base + entry.offset)
    view.setU32(at + RP_LEN, entry.length)
    view.setU32(at + RP_DDIR, entry.ddir)
    view.setU32(at + RP_FILE, entry.file)
    at += RP_SIZE
  }
  view.setU32(job + JOB_REPLAY_N, to - from)
  view.setU32(job + JOB_REPLAY_AT, 0)
  view.setU32(job + JOB_REPLAY_MORE, to < entries.length ? 1 : 0)
  return to
}

/** Latencies by priority of one direction (0 read, 1 write), one for each entry that has any. */
export function readPriorities(
  view: View,
  job: number,
  spec: PrioJob,
  ddir: 0 | 1,
): PriorityLatency[] {
  const table = view.u32(job + JOB_PRIO)
  return prioKinds(spec, ddir).flatMap((kind, i) => {
    const latency = readLatency(view, prioAddress(table, ddir, i) + PR_STAT)
    return latency.n === 0
      ? []
      : [{ prioclass: kind.class, prio: kind.level, priohint: 0, latency }]
  })
}
