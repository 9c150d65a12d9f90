// Fills the block of a job (JOB_*), its io_us and buffers, from its options; and sets it going.
//
// fillJob() runs once after boot, before any job does. startJob() runs when the phase has come: it stamps the times and
// publishes the state last, so that the CPU's thread sees a complete block.

import {
  BIO_DISK,
  BIO_END_IO,
  DDIR_WRITE,
  END_IO_JOB,
  IOU_BUF,
  IOU_INDEX,
  IOU_JOB,
  IOU_NEXT,
  IOU_SIZE,
  FL_Q,
  JF_BARRIER,
  JF_FILE,
  JF_INVALIDATE,
  JF_PAST_CACHE,
  JF_DISKS,
  JF_DRY,
  JF_END_SYNC,
  JF_FILL,
  JF_FLOW,
  JF_HIPRI,
  JF_IGNORE,
  JF_LAT_TARGET,
  JF_LOG,
  JF_MAX_LAT,
  JF_OFFLOAD,
  JF_PRIO,
  JF_RATE,
  JF_REAP_MAX,
  JF_REPLAY,
  JF_SERIAL,
  JF_SYNC,
  JF_THINK,
  JF_TRIM,
  JF_VERIFY,
  JG_FILE0,
  JG_FILES,
  FL_SIZE,
  JOB_GEN,
  JOB_BATCH,
  JOB_CONTINUE,
  JOB_END_NS,
  JOB_FEATURES,
  JOB_FREE,
  JOB_FSYNC_EVERY,
  JOB_INDEX,
  JOB_IO_LIMIT,
  JOB_IODEPTH,
  JOB_LAT_TARGET_NS,
  JOB_LBA_MASK,
  JOB_LOG,
  JOB_LOG_CAP,
  JOB_LOW,
  JOB_MAX_IO,
  JOB_MAX_LAT_NS,
  JOB_MEASURE_NS,
  JOB_NUMBER_IOS,
  JOB_POLL_PCT,
  JOB_POLLED,
  JOB_Q,
  JOB_RAMP_NS,
  JOB_RATE_IO_NS,
  JOB_RATE_NEXT,
  JOB_RATE_NS,
  JOB_RATE_POISSON,
  JOB_REAP_MAX,
  JOB_REAP_MIN,
  JOB_RECORD,
  JOB_REPLAY_NS,
  JOB_RUN,
  JOB_START_NS,
  JOB_STATE,
  JOB_SYNC_FUA,
  JOB_THINK_BLOCKS,
  JOB_THINK_ENDS,
  JOB_THINK_IO_NS,
  JOB_THOUGHT_NS,
  JOB_THINK_NS,
  JOB_THINK_SPIN_NS,
  JOB_TICK_NS,
  JOB_VERIFY_AFTER,
  JOB_WRITE_FLAGS,
  LS_HIST,
  STAT_CLAT,
  STAT_LAT,
  STAT_SLAT,
} from '../../assembly/layout.js'
import { REQ_FUA, REQ_IDLE, REQ_SYNC } from '../../assembly/nvme.js'
import { Prng } from '../core/prng.js'
import type { View } from '../core/view.js'
import { fillExtras, hasPriorities, joinFlow, trims } from './extras.js'
import { setUpGenerator } from './generator-setup.js'
import type { JobSpec } from './job.js'
import { wantsRecords } from './job-logs.js'
import { HIST_BYTES, type JobPlaces, logRecords, readsBack, refills, syncs } from './job-memory.js'
import { statAddress } from './job-view.js'
import type { JobLimits } from './limits.js'

/** "No limit" in a u64 field. */
const NO_LIMIT = 2 ** 63
const LAT_FIELD = { clat: STAT_CLAT, slat: STAT_SLAT, lat: STAT_LAT } as const
const CONTINUE = { read: 1, write: 2, verify: 4 } as const

/** Where a job and its memory are. Addresses; 0 = none. */
export interface JobSite {
  /** Its block. */
  readonly job: number
  /** request_queue of its disk; 0 = engine null. */
  readonly q: number
  /** The same for each of its regions; absent when they are all on one disk. */
  readonly queues?: readonly number[]
  readonly lbaBytes: number
  /** Address of the region that the places count from. */
  readonly base: number
  readonly places: JobPlaces
  /** Checksum tables. */
  readonly tables: number
  /** Its disks complete by interrupt, so that hipri makes a difference. */
  readonly interrupts?: boolean
  /** It, or somebody else on its disks, uses the page cache. */
  readonly files?: boolean
}

/** Writes everything about a job that does not depend on when it starts. */
export function fillJob(view: View, spec: JobSpec, limits: JobLimits, site: JobSite): void {
  const { job, base, places } = site
  view.setU32(job + JOB_INDEX, spec.index)
  view.setU32(job + JOB_Q, site.q)
  view.setU32(job + JOB_LBA_MASK, site.lbaBytes - 1)
  fillDepth(view, job, spec)
  fillLimits(view, job, limits)
  fillPace(view, job, spec)
  fillDurability(view, job, spec)
  fillIous(view, spec, site)
  fillStatistics(view, site)
  setUpGenerator(view, job, spec, base + places.generator, site.tables)
  fillQueues(view, job, site.queues ?? spec.files.map(() => site.q))
  fillExtras(view, job, spec, places.extras, base, base + places.ious)
  if (places.log !== 0) {
    view.setU32(job + JOB_LOG, base + places.log)
    view.setU32(job + JOB_LOG_CAP, logRecords(spec))
  }
  view.setU32(job + JOB_FEATURES, features(spec) | rareFeatures(spec, site))
}

/** The disk of each region. */
function fillQueues(view: View, job: number, queues: readonly number[]): void {
  const gen = job + JOB_GEN
  const more = view.u32(gen + JG_FILES)
  queues.forEach((q, i) => {
    view.setU32((i === 0 ? gen + JG_FILE0 : more + (i - 1) * FL_SIZE) + FL_Q, q)
  })
}

function rareFeatures(spec: JobSpec, site: JobSite): number {
  const { ignoreError } = spec
  const bits: readonly (readonly [boolean, number])[] = [
    [new Set(site.queues).size > 1, JF_DISKS],
    [spec.uses[DDIR_WRITE] && (spec.endFsync || spec.fsyncOnClose), JF_END_SYNC],
    [spec.writeBarrier > 0, JF_BARRIER],
    [spec.serializeOverlap, JF_SERIAL],
    [spec.ioSubmitMode === 'offload', JF_OFFLOAD],
    [Object.values(ignoreError).some(list => list.length > 0), JF_IGNORE],
    [verifiesOnly(spec), JF_DRY],
    [trims(spec), JF_TRIM],
    [hasPriorities(spec), JF_PRIO],
    [spec.flow > 0, JF_FLOW],
    [spec.iodepthBatchCompleteMax > 0, JF_REAP_MAX],
    [spec.replay !== null, JF_REPLAY],
    [site.files === true, JF_FILE],
    [site.files === true && spec.direct, JF_PAST_CACHE],
    [site.files === true && spec.invalidate, JF_INVALIDATE],
    [spec.hipriPercentage > 0 && site.interrupts === true, JF_HIPRI],
  ]
  return bits.reduce((sum, [wanted, bit]) => sum | (wanted ? bit : 0), 0)
}

function verifiesOnly(spec: JobSpec): boolean {
  return spec.verify.only && readsBack(spec)
}

function features(spec: JobSpec): number {
  const paced = [...spec.rate, ...spec.rateIops].some(v => v > 0)
  return (
    (paced ? JF_RATE : 0) |
    (spec.thinktimeNs > 0 ? JF_THINK : 0) |
    (syncs(spec) ? JF_SYNC : 0) |
    (spec.verify.method !== 'none' ? JF_VERIFY : 0) |
    (wantsRecords(spec) ? JF_LOG : 0) |
    (spec.latencyTarget ? JF_LAT_TARGET : 0) |
    (spec.maxLatencyNs > 0 ? JF_MAX_LAT : 0) |
    (refills(spec) ? JF_FILL : 0)
  )
}

function fillDepth(view: View, job: number, spec: JobSpec): void {
  view.setU32(job + JOB_IODEPTH, spec.latencyTarget ? 1 : spec.queueDepth)
  view.setU32(job + JOB_BATCH, spec.iodepthBatch)
  view.setU32(job + JOB_REAP_MIN, spec.iodepthBatchCompleteMin)
  view.setU32(job + JOB_REAP_MAX, spec.iodepthBatchCompleteMax)
  view.setU32(job + JOB_LOW, spec.iodepthLow)
  const percent = spec.hipriPercentage
  view.setU32(job + JOB_POLLED, percent === 0 ? 0 : percent === 100 ? 1 : 2)
  view.setU32(job + JOB_POLL_PCT, percent)
}

/** Infinity as the core knows it. */
function limit(value: number): number {
  return Math.min(value, NO_LIMIT)
}

function fillLimits(view: View, job: number, limits: JobLimits): void {
  view.setU64(job + JOB_NUMBER_IOS, limit(limits.numberIos))
  view.setU64(job + JOB_IO_LIMIT, limit(limits.bytes))
  view.setU64(job + JOB_MAX_IO, limit(limits.maxIo))
  view.setU64(job + JOB_TICK_NS, NO_LIMIT)
}

function fillPace(view: View, job: number, spec: JobSpec): void {
  for (let d = 0; d < 3; d++) {
    const { [d]: bytes = 0 } = spec.rate
    const { [d]: ios = 0 } = spec.rateIops
    view.setF64(job + JOB_RATE_NS + 8 * d, bytes > 0 ? 1e9 / bytes : 0)
    view.setF64(job + JOB_RATE_IO_NS + 8 * d, ios > 0 ? 1e9 / ios : 0)
  }
  view.setU32(job + JOB_RATE_POISSON, spec.rateProcess === 'poisson' ? 1 : 0)
  view.setU32(job + JOB_THINK_BLOCKS, Math.max(1, spec.thinktimeBlocks))
  view.setU32(job + JOB_THINK_ENDS, spec.thinktimeBlocksType === 'complete' ? 1 : 0)
  view.setU64(job + JOB_THINK_IO_NS, spec.thinktimeIotimeNs)
  view.setU64(job + JOB_THINK_NS, spec.thinktimeNs)
  view.setU64(job + JOB_THINK_SPIN_NS, spec.thinktimeSpinNs)
  view.setU64(job + JOB_LAT_TARGET_NS, spec.latencyTarget?.targetNs ?? 0)
  view.setU64(job + JOB_MAX_LAT_NS, spec.maxLatencyNs)
}

/** Direct writes are synchronous in the block layer's sense; O_SYNC and O_DSYNC force them to the medium. */
function fillDurability(view: View, job: number, spec: JobSpec): void {
  const fua = spec.sync !== 'none'
  view.setU32(job + JOB_FSYNC_EVERY, spec.fsync || spec.fdatasync)
  view.setU32(job + JOB_SYNC_FUA, fua ? 1 : 0)
  view.setU32(job + JOB_WRITE_FLAGS, REQ_SYNC | REQ_IDLE | (fua ? REQ_FUA : 0))
  view.setU32(job + JOB_VERIFY_AFTER, readsBack(spec) && spec.verify.atEnd ? 1 : 0)
  const { read, write, verify } = spec.continueOnError
  view.setU32(
    job + JOB_CONTINUE,
    (read ? CONTINUE.read : 0) | (write ? CONTINUE.write : 0) | (verify ? CONTINUE.verify : 0),
  )
}

/** The io_us, all of them free. */
function fillIous(view: View, spec: JobSpec, site: JobSite): void {
  const { job, q, base, places } = site
  let next = 0
  for (let i = spec.queueDepth - 1; i >= 0; i--) {
    const iou = base + places.ious + i * IOU_SIZE
    view.setU32(iou + BIO_END_IO, END_IO_JOB)
    view.setU32(iou + BIO_DISK, q)
    view.setU32(iou + IOU_JOB, job)
    view.setU32(iou + IOU_BUF, base + places.buffers + (i % places.nrBuffers) * places.stride)
    view.setU32(iou + IOU_INDEX, i)
    view.setU32(iou + IOU_NEXT, next)
    next = iou
  }
  view.setU32(job + JOB_FREE, next)
}

/** Every latency that is recorded gets its histogram. */
function fillStatistics(view: View, { job, base, places }: JobSite): void {
  places.recorded.forEach(({ ddir, kind }, i) => {
    const ls = statAddress(job, ddir) + LAT_FIELD[kind]
    view.setU32(ls + LS_HIST, base + places.histograms + i * HIST_BYTES)
  })
}

/** Sets the job going at `nowNs`. The caller then wakes its CPU. */
export function startJob(
  view: View,
  spec: JobSpec,
  limits: JobLimits,
  site: JobSite,
  nowNs: number,
): void {
  const { job } = site
  if (spec.uses[DDIR_WRITE] && site.places.stride > 0) fillBuffers(view, spec, site)
  view.setU64(job + JOB_START_NS, nowNs)
  view.setU64(job + JOB_THOUGHT_NS, nowNs)
  view.setU64(job + JOB_REPLAY_NS, nowNs)
  joinFlow(view, job, spec)
  view.setU64(job + JOB_END_NS, limit(nowNs + limits.rampNs + limits.runtimeNs))
  for (let d = 0; d < 3; d++) view.setF64(job + JOB_RATE_NEXT + 8 * d, nowNs)
  if (limits.rampNs > 0) view.setU64(job + JOB_RAMP_NS, nowNs + limits.rampNs)
  else {
    view.setU64(job + JOB_MEASURE_NS, nowNs)
    view.setU32(job + JOB_RECORD, 1)
  }
  view.store(job + JOB_STATE, JOB_RUN)
}

/** Data for the writes: random unless zeros or a pattern were asked for. One buffer is filled, the others are copies. */
function fillBuffers(view: View, spec: JobSpec, { base, places }: JobSite): void {
  const first = base + places.buffers
  const { stride, nrBuffers } = places
  if (spec.zeroBuffers) {
    view.fill(first, stride * nrBuffers, 0)
    return
  }
  const pattern = spec.bufferPattern.flatMap(piece => ('bytes' in piece ? [...piece.bytes] : []))
  if (pattern.length > 0) {
    for (let i = 0; i < stride; i++) view.bytes[first + i] = pattern[i % pattern.length]!
  } else {
    const random = new Prng(spec.seed, RANDOM_STREAM)
    for (let i = 0; i < stride; i += 8) {
      const [low, high] = random.next()
      view.setU32(first + i, low)
      view.setU32(first + i + 4, high)
    }
  }
  for (let i = 1; i < nrBuffers; i++)
    view.bytes.copyWithin(first + i * stride, first, first + stride)
}

/** Stream of the job's seed that buffers are filled from; the generator has the lower ones. */
const RANDOM_STREAM = 64
