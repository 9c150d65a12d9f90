// Where the memory of the jobs goes, beside their blocks: planned before the machine exists, because the machine must
// know how much to reserve.
//
//   checksum tables     once, if any job verifies
//   flows               a block for each flow_id
//   for each job        io_us | histograms | log buffer | what its generator needs (generator-setup.ts) | extras (extras.ts)
//   data buffers        page-aligned, iodepth x largest block; jobs of different phases never run together and share them
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
import type { JobSpec } from './job.js'
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
export function planJobMemory(jobs: readonly JobSpec[]): JobMemory {
  const offsets = new Offsets()
  const verifies = jobs.some(job => job.verify.method !== 'none')
  const tables = offsets.take(verifies ? VT_SIZE : 0, LINE_PAIR)
  const flows = new Map<number, number>()
  for (const job of jobs)
    if (job.flow > 0 && !flows.has(job.flowId))
      flows.set(job.flowId, offsets.take(FW_SIZE, LINE_PAIR))
  const own = jobs.map(job => placeJob(offsets, job, flows))
  const pool = alignUp(offsets.end, PAGE_SIZE)
  const used = new Map<number, number>()
  const places = jobs.map((job, i) => {
    const bytes = job.queueDepth * bufferStride(job)
    const at = used.get(job.phase) ?? 0
    used.set(job.phase, at + bytes)
    return { ...own[i]!, buffers: pool + at, stride: bufferStride(job) }
  })
  return { bytes: pool + Math.max(PAGE_SIZE, ...used.values()), tables, jobs: places }
}

function placeJob(
  offsets: Offsets,
  job: JobSpec,
  flows: ReadonlyMap<number, number>,
): Omit<JobPlaces, 'buffers' | 'stride'> {
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
