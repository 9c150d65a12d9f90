// Fills the verify block of a job (JV_* in assembly/layout.ts).
//
// A job that writes and reads back has a word for each interval of all its regions, laid end to end. The ring of
// verify_backlog holds the backlog and room for the writes that end before it is looked at.

import {
  JOB_VER,
  JV_BACKLOG,
  JV_BACKLOG_BATCH,
  JV_CHECK_READS,
  JV_EXPECT,
  JV_FATAL,
  JV_HEADER,
  JV_INTERVAL,
  JV_KIND,
  JV_LIST,
  JV_LIST_CAP,
  JV_LOW,
  JV_MAX_LEN,
  JV_METHOD,
  JV_OFFSET,
  JV_PATTERN,
  JV_SEED,
  JV_SIZE,
  JV_TABLES,
  JV_TRIM_ZERO,
  VERIFY_HOST,
  VERIFY_NONE,
  VP_SIZE,
} from '../../assembly/layout.js'
import { streamSeed } from '../core/prng.js'
import type { View } from '../core/view.js'
import { patternLength, placePattern, writePattern } from './buffer-pattern.js'
import { type GeneratorParams, type VerifyShape, verifyShape } from './generator-params.js'
import type { Places } from './places.js'
import { HOST_METHODS } from './verify-host.js'

/** Records of the ring beyond the backlog. */
const RING_ROOM = 1024
/** The stream of the job's seed that data is made of. */
const DATA_STREAM = 100

/** Offsets of what verify needs, and its shape. */
export interface VerifyPlaces {
  readonly shape: VerifyShape
  /** First interval of each region; one more: the intervals of all. */
  readonly firstUnit: readonly number[]
  readonly pattern: number
  /** -1 = nothing is read back. */
  readonly expect: number
  readonly ring: number
  /** A power of two. */
  readonly ringSize: number
}

function readsBack(p: GeneratorParams): boolean {
  return p.verify.method !== 'none' && p.uses[1] && (p.verify.atEnd || p.verify.backlog > 0)
}

/** @throws UserError as verifyShape does */
export function placeVerify(places: Places, p: GeneratorParams): VerifyPlaces {
  const shape = verifyShape(p)
  const firstUnit = [0]
  for (const f of p.files) firstUnit.push(firstUnit.at(-1)! + Math.floor(f.size / shape.interval))
  const back = readsBack(p)
  const ringSize =
    back && p.verify.backlog > 0 ? 2 ** Math.ceil(Math.log2(p.verify.backlog + RING_ROOM)) : 0
  return {
    shape,
    firstUnit,
    pattern: placePattern(places, p.verify.pattern),
    expect: back ? places.take(4 * firstUnit.at(-1)!) : -1,
    ring: places.take(ringSize * VP_SIZE),
    ringSize,
  }
}

/** Fills the verify block of the job at `job`; offsets of `places` count from `memory`. */
export function writeVerify(
  view: View,
  job: number,
  p: GeneratorParams,
  places: VerifyPlaces,
  memory: number,
  tables: number,
): void {
  const v = job + JOB_VER
  const { kind, interval, header } = places.shape
  view.fill(v, JV_SIZE, 0)
  view.setU32(v + JV_KIND, kind)
  if (kind === VERIFY_NONE) return
  view.setU32(v + JV_INTERVAL, interval)
  view.setU32(v + JV_HEADER, header)
  view.setU32(v + JV_OFFSET, header > 0 ? p.verify.offset : 0)
  writePattern(view, memory + places.pattern, p.verify.pattern)
  const hasPattern = patternLength(p.verify.pattern) > 0
  view.setU32(v + JV_PATTERN, hasPattern ? memory + places.pattern : 0)
  view.setU32(v + JV_TABLES, tables)
  view.setU32(v + JV_FATAL, p.verify.fatal ? 1 : 0)
  if (kind === VERIFY_HOST) view.setU32(v + JV_METHOD, HOST_METHODS.indexOf(p.verify.method))
  view.setU32(v + JV_CHECK_READS, p.uses[1] && !p.verify.only ? 0 : 1)
  const seed = streamSeed(p.seed, DATA_STREAM)
  view.setU32(v + JV_SEED, Number(seed & 0xffffffffn))
  view.setU32(v + JV_SEED + 4, Number(seed >> 32n))
  if (places.expect >= 0) writeReadBack(view, v, p, places, memory)
}

function writeReadBack(
  view: View,
  v: number,
  p: GeneratorParams,
  places: VerifyPlaces,
  memory: number,
): void {
  view.setU32(v + JV_EXPECT, memory + places.expect)
  view.setU32(v + JV_LOW, 0xffffffff)
  view.setU32(v + JV_MAX_LEN, p.bsMax[1])
  view.setU32(v + JV_TRIM_ZERO, p.trim.verifyZero ? 1 : 0)
  view.setU32(v + JV_BACKLOG, p.verify.backlog)
  view.setU32(v + JV_BACKLOG_BATCH, p.verify.backlogBatch || p.verify.backlog)
  view.setU32(v + JV_LIST, memory + places.ring)
  view.setU32(v + JV_LIST_CAP, places.ringSize)
}
