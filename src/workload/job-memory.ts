// Where the memory of the jobs goes, beside their blocks: planned before the machine exists, because the machine must
// know how much to reserve.
//
//   checksum tables     once, if any job verifies
//   flows               a block for each flow_id
//   for each job        io_us | histograms | log buffer | what its generator needs (generator-setup.ts) | extras (extras.ts)
//   data buffers        page-aligned, iodepth x largest block; jobs of different phases never run together and share them
//
// In virtual time I/Os whose data nobody looks at share one buffer: those of a job that only reads and does not verify,
// with those of all such jobs; those of a job that only writes, always the same bytes, among themselves. So what is
// outstanding does not go through the caches of the host, whose time is not the emulated drive's. In real time every I/O
// has a buffer of its own, as fio's have.
//
// Addresses here are offsets; the executor adds the address of the one region that it takes from the machine.

import {
  DDIR_READ,
  DDIR_SYNC,
  DDIR_WRITE,
  FW_SIZE,
  HIST_BUCKETS,
  IOU_SIZE,
  LINE_PAIR,
  LOG_SIZE,
  PAGE_SIZE,
  VT_SIZE,
} from '../../assembly/layout.js'
import { alignUp } from '../core/memory.js'
import { type ExtraPlaces, placeExtras } from './extras.js'
import { generatorMemory } from './generator-setup.js'
import type { JobSpec, RunPlan } from './job.js'
import { LOG_RECORDS, wantsRecords } from './job-logs.js'

/** Offsets of one job's memory; 0 = none. */
export interface JobPlaces {
  readonly ious: number
  /** First histogram; one for each entry of `recorded`, HIST_BYTES apart. */
  readonly histograms: number
  readonly recorded: readonly Recorded[]
  readonly log: number
  readonly generator: number
  readonly extras: ExtraPlaces
  readonly buffers: number
  /** Buffers: the queue depth, or 1 that all I/Os share. */
  readonly nrBuffers: number
  /** Bytes from one buffer to the next. */
  readonly stride: number
}

/** A latency that is recorded: direction (DDIR_*) and kind. */
export interface Recorded {
  readonly ddir: number
  readonly kind: 'clat' | 'slat' | 'lat'
}

/** All of it. */
export interface JobMemory {
  readonly bytes: number
  /** Checksum tables; 0 = no job verifies. */
  readonly tables: number
  readonly jobs: readonly JobPlaces[]
}

export const HIST_BYTES: number = HIST_BUCKETS * 4

/** Hands out offsets; the first is a page, so that 0 can mean "none". */
class Offsets {
  end = PAGE_SIZE

  take(bytes: number, align: number): number {
    if (bytes === 0) return 0
    const at = alignUp(this.end, align)
    this.end = at + bytes
    return at
  }
}

/** Plans the memory of all jobs. @throws UserError when a job's maps would be too large */
export function planJobMemory({ jobs, clock }: Pick<RunPlan, 'jobs' | 'clock'>): JobMemory {
  const offsets = new Offsets()
  const verifies = jobs.some(job => job.verify.method !== 'none')
  const tables = offsets.take(verifies ? VT_SIZE : 0, LINE_PAIR)
  const flows = new Map<number, number>()
  for (const job of jobs)
    if (job.flow > 0 && !flows.has(job.flowId))
      flows.set(job.flowId, offsets.take(FW_SIZE, LINE_PAIR))
  const own = jobs.map(job => placeJob(offsets, job, flows))
  const pool = alignUp(offsets.end, PAGE_SIZE)
  const { bytes, buffers } = placeBuffers(jobs, clock === 'virtual')
  const places = own.map((place, i) => {
    const mine = buffers[i]!
    return { ...place, ...mine, buffers: pool + mine.buffers }
  })
  return { bytes: pool + Math.max(PAGE_SIZE, bytes), tables, jobs: places }
}

type Buffers = Pick<JobPlaces, 'buffers' | 'nrBuffers' | 'stride'>

/** Offsets in the pool of buffers, which begins with the one that data are read to that nobody looks at. */
function placeBuffers(
  jobs: readonly JobSpec[],
  virtual: boolean,
): { readonly bytes: number; readonly buffers: readonly Buffers[] } {
  const sinks = virtual ? jobs.filter(isSink) : []
  const sink = Math.max(0, ...sinks.map(bufferStride))
  const used = new Map<number, number>()
  const buffers = jobs.map(job => {
    const stride = bufferStride(job)
    if (virtual && isSink(job)) return { buffers: 0, nrBuffers: 1, stride }
    const nrBuffers = virtual && isSource(job) ? 1 : job.queueDepth
    const at = used.get(job.phase) ?? sink
    used.set(job.phase, at + nrBuffers * stride)
    return { buffers: at, nrBuffers, stride }
  })
  return { bytes: Math.max(sink, ...used.values()), buffers }
}

/** Whether nobody looks at what the job reads, and it writes nothing. */
function isSink({ uses, verify }: JobSpec): boolean {
  return !uses[DDIR_WRITE] && verify.method === 'none'
}

/** Whether the job writes the same bytes each time. */
function isSource(job: JobSpec): boolean {
  return !job.uses[DDIR_READ] && job.verify.method === 'none' && !refills(job)
}

/** Whether each write gets its data anew: asked for, or because reads overwrite the pattern in between. */
export function refills(spec: JobSpec): boolean {
  const wanted = spec.bufferPattern.length > 0 || spec.zeroBuffers
  return spec.uses[DDIR_WRITE] && (spec.refillBuffers || (wanted && spec.uses[DDIR_READ]))
}

function placeJob(
  offsets: Offsets,
  job: JobSpec,
  flows: ReadonlyMap<number, number>,
): Omit<JobPlaces, keyof Buffers> {
  const recorded = recordedLatencies(job)
  return {
    ious: offsets.take(job.queueDepth * IOU_SIZE, LINE_PAIR),
    histograms: offsets.take(recorded.length * HIST_BYTES, LINE_PAIR),
    recorded,
    log: offsets.take(wantsRecords(job) ? logRecords(job) * LOG_SIZE : 0, LINE_PAIR),
    generator: offsets.take(generatorMemory(job), LINE_PAIR),
    extras: placeExtras(
      (bytes, align) => offsets.take(bytes, align),
      job,
      job.flow > 0 ? flows.get(job.flowId)! : 0,
    ),
  }
}

/** Records of a log buffer: the core asks for it to be emptied before it cannot hold everything in flight. */
export function logRecords(job: Pick<JobSpec, 'queueDepth' | 'iodepthBatch'>): number {
  return LOG_RECORDS + 2 * (job.queueDepth + job.iodepthBatch)
}

/** Engine null moves no data. */
function bufferStride(job: JobSpec): number {
  if (job.engineKind === 'null') return 0
  const largest = Math.max(
    job.uses[DDIR_READ] || readsBack(job) ? job.bsMax[DDIR_READ] : 0,
    job.uses[DDIR_WRITE] ? job.bsMax[DDIR_WRITE] : 0,
  )
  return alignUp(Math.max(largest, 1), PAGE_SIZE)
}

/** Whether what the job wrote is read again. */
export function readsBack(job: Pick<JobSpec, 'uses' | 'verify'>): boolean {
  return job.uses[DDIR_WRITE] && job.verify.method !== 'none'
}

/** Whether the job makes its writes durable now and then. */
export function syncs(job: Pick<JobSpec, 'fsync' | 'fdatasync'>): boolean {
  return job.fsync > 0 || job.fdatasync > 0
}

/** Whether it syncs at all as far as statistics go: its own ones, or those of a replayed log. */
function countsSyncs(job: JobSpec): boolean {
  return syncs(job) || (job.replay?.entries.some(entry => entry.ddir === DDIR_SYNC) ?? false)
}

/** What the options leave to be recorded. A synchronous engine has no submission of its own to time. */
function recordedLatencies(job: JobSpec): Recorded[] {
  if (job.gtodReduce) return []
  const kinds: Recorded['kind'][] = []
  if (!job.disableClat) kinds.push('clat')
  if (!job.disableSlat && job.engineKind === 'async') kinds.push('slat')
  if (!job.disableLat) kinds.push('lat')
  const ddirs = [0, 1, 2].filter(d => job.uses[d] || (d === DDIR_READ && readsBack(job)))
  if (countsSyncs(job)) ddirs.push(DDIR_SYNC)
  return ddirs.flatMap(ddir => kinds.map(kind => ({ ddir, kind })))
}
