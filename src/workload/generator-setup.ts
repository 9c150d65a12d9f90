// Fills the generator and verify blocks of a job (JG_*, JV_* in assembly/layout.ts) from its options, and says how
// much memory they need beside the job block:
//
//   bssplit lists | further regions (FL) | zone tables and sequences | bitmaps | patterns | words and ring of verify
//
// The core does the rest when the first I/O is asked for. The memory must be all zeros.

import {
  BS_BYTES,
  BS_SHARE,
  BS_SIZE,
  BUF_PATTERN,
  BUF_RANDOM,
  BUF_ZERO,
  DIST_NORMAL,
  DIST_PARETO,
  DIST_SEQUENCE,
  DIST_UNIFORM,
  DIST_ZIPF,
  DIST_ZONED,
  DS_CENTRE,
  DS_KIND,
  DS_N,
  DS_PARAM,
  DS_SIZE,
  DS_TABLE,
  FILES_AT_RANDOM,
  FILES_IN_ORDER,
  FILES_IN_TURN,
  FL_BYTES,
  FL_DIST,
  FL_INDEX,
  FL_MAP,
  FL_REGION,
  FL_SIZE,
  FL_UNIT0,
  JG_ALIGN,
  JG_BS_STEP,
  JG_BSSPLIT,
  JG_BSSPLIT_N,
  JG_BUF_MODE,
  JG_BUF_PATTERN,
  JG_FILE_N,
  JG_FILE_NR,
  JG_FILE_ORDER,
  JG_FILE0,
  JG_FILES,
  JG_LOOPS,
  JG_MAP_MODE,
  JG_MAP_UNIT,
  JG_MAX_BS,
  JG_MIN_BS,
  JG_MIX_READ,
  JG_MORE,
  JG_RANDOM_PCT,
  JG_RNG_BS,
  JG_RNG_DATA,
  JG_RNG_MIX,
  JG_RNG_OFF,
  JG_RNG_RATE,
  JG_RW,
  JG_SEQ_IDENTICAL,
  JG_SEQ_NR,
  JG_SEQ_WRAP,
  JG_SIZE,
  JG_SKIP,
  JG_STRIDE_RANGE,
  JG_STRIDE_SKIP,
  JG_STRIDE_ZONE,
  JG_TIME_BASED,
  JOB_GEN,
  MAP_BITS,
  RW_RANDOM,
  RW_TRIMWRITE,
  ZN_ACCESS,
  ZN_LENGTH,
  ZN_SIZE,
  ZN_START,
} from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import { formatBytes } from '../core/memory.js'
import { Prng } from '../core/prng.js'
import type { View } from '../core/view.js'
import {
  DIRECTIONS,
  type GeneratorParams,
  isTrimWrite,
  mapMode,
  mapUnit,
  randomBlocks,
  type SequenceDistribution,
  sizeStep,
} from './generator-params.js'
import type { AccessZone, BsSplit, Distribution } from './job.js'
import { patternLength, placePattern, writePattern } from './buffer-pattern.js'
import { Places } from './places.js'
import { placeVerify, type VerifyPlaces, writeVerify } from './verify-setup.js'

/** The most that a job's maps may take: a bitmap of 8 thousand million blocks. */
const MEMORY_LIMIT = 2 ** 30
/** bssplit shares are of this. */
const SHARES = 2 ** 24

/** Offsets of everything in the job's own memory. */
interface GeneratorPlaces {
  readonly bytes: number
  readonly bssplit: readonly number[]
  readonly regions: number
  /** By region, then by direction. */
  readonly tables: readonly (readonly number[])[]
  readonly maps: readonly number[]
  readonly pattern: number
  readonly verify: VerifyPlaces
}

function tableBytes(d: Distribution | SequenceDistribution): number {
  if (d.kind === 'zoned' || d.kind === 'zoned_abs') return d.zones.length * ZN_SIZE
  return d.kind === 'sequence' ? d.blocks.length * 8 : 0
}

/** Bytes of a bitmap with its summaries (assembly/blockmap.ts). */
function bitmapBytes(bits: number): number {
  const words = Math.ceil(bits / 64)
  return words <= 1 ? words * 8 : words * 8 + bitmapBytes(words)
}

function place(p: GeneratorParams): GeneratorPlaces {
  const places = new Places()
  const unit = mapMode(p) === MAP_BITS ? mapUnit(p) : 0
  const result = {
    bssplit: DIRECTIONS.map(d => places.take(p.bssplit[d].length * BS_SIZE)),
    regions: places.take((p.files.length - 1) * FL_SIZE),
    tables: p.files.map(() => p.distribution.map(d => places.take(tableBytes(d)))),
    maps: p.files.map(f => places.take(unit > 0 ? bitmapBytes(Math.floor(f.size / unit)) : 0)),
    pattern: placePattern(places, p.bufferPattern),
    verify: placeVerify(places, p),
  }
  return { ...result, bytes: places.end }
}

/**
 * Bytes of memory, starting at a multiple of 8, that a job's generator needs beside the job block.
 * @throws UserError when a map would be too large, or verify options do not fit together
 */
export function generatorMemory(p: GeneratorParams): number {
  const { bytes } = place(p)
  if (bytes > MEMORY_LIMIT) {
    throw new UserError(
      `${p.source}: the maps of this job need ${formatBytes(bytes)}: use a larger bs or a smaller size` +
        (p.verify.method === 'none' ? ', or norandommap' : ''),
    )
  }
  return bytes
}

/**
 * Fills the generator and verify blocks of the job at `job`.
 * @param memory generatorMemory(p) zero bytes, at a multiple of 8
 * @param tables checksum tables (checksum_tables of the core has filled them); 0 if the job does not verify
 */
export function setUpGenerator(
  view: View,
  job: number,
  p: GeneratorParams,
  memory: number,
  tables: number,
): void {
  const g = job + JOB_GEN
  const places = place(p)
  view.fill(g, JG_SIZE, 0)
  writeSeeds(view, g, p.seed)
  writePattern(view, memory + places.pattern, p.bufferPattern)
  view.setU32(g + JG_BUF_PATTERN, memory + places.pattern)
  view.setU32(g + JG_BUF_MODE, bufferMode(p))
  writeChoices(view, g, p)
  writeSizes(view, g, p, places, memory)
  view.setU32(g + JG_FILE_N, p.files.length)
  view.setU32(g + JG_FILE_ORDER, FILE_ORDER[p.fileService?.order ?? 'roundrobin'])
  view.setU32(g + JG_FILE_NR, p.fileService?.count ?? 1)
  view.setU32(g + JG_FILES, memory + places.regions)
  writeVerify(view, job, p, places.verify, memory, tables)
  p.files.forEach((_, i) => {
    writeRegion(view, g, p, i, places, memory)
  })
}

const FILE_ORDER = {
  roundrobin: FILES_IN_TURN,
  sequential: FILES_IN_ORDER,
  random: FILES_AT_RANDOM,
} as const

function bufferMode(p: GeneratorParams): number {
  if (p.zeroBuffers) return BUF_ZERO
  if (p.bufferPattern.some(piece => 'offset' in piece)) {
    throw new UserError(`${p.source}: buffer_pattern cannot hold %o; verify_pattern can`)
  }
  return patternLength(p.bufferPattern) > 0 ? BUF_PATTERN : BUF_RANDOM
}

function writeSeeds(view: View, g: number, seed: number): void {
  const streams = [JG_RNG_OFF, JG_RNG_BS, JG_RNG_MIX, JG_RNG_DATA, JG_RNG_RATE]
  streams.forEach((field, i) => {
    new Prng(seed, i).state.forEach((word, k) => {
      view.setU32(g + field + 4 * k, word)
    })
  })
}

function writeChoices(view: View, g: number, p: GeneratorParams): void {
  const uses = DIRECTIONS.reduce<number>((bits, d) => bits | (p.uses[d] ? 1 << d : 0), 0)
  const random = p.random ? RW_RANDOM : 0
  view.setU32(g + JG_RW, uses | random | (isTrimWrite(p) ? RW_TRIMWRITE : 0))
  view.setU32(g + JG_MIX_READ, p.rwmixread)
  view.setU32(g + JG_SEQ_NR, p.random ? Math.max(1, p.ddirSeqCount) : 1)
  view.setU32(g + JG_SEQ_IDENTICAL, p.rwSequencer === 'identical' ? 1 : 0)
  writeI64(view, g + JG_SKIP, p.random ? 0 : p.ddirSeqAdd)
  const wraps = (p.timeBased && p.files.length === 1) || (p.uses[1] && p.ioSize > p.size)
  view.setU32(g + JG_SEQ_WRAP, wraps ? 1 : 0)
  view.setU32(g + JG_TIME_BASED, p.timeBased ? 1 : 0)
  view.setU32(g + JG_LOOPS, p.loops)
  view.setU32(g + JG_MORE, p.ioSize > p.size ? 1 : 0)
  view.setU32(g + JG_MAP_MODE, mapMode(p))
  view.setU32(g + JG_MAP_UNIT, mapUnit(p))
  if (p.zonemode !== 'strided') return
  view.setU64(g + JG_STRIDE_ZONE, p.zonesize)
  view.setU64(g + JG_STRIDE_RANGE, p.zonerange)
  view.setU64(g + JG_STRIDE_SKIP, p.zoneskip)
}

function writeI64(view: View, address: number, value: number): void {
  view.setU32(address, value % 2 ** 32)
  view.setU32(address + 4, Math.floor(value / 2 ** 32))
}

function writeSizes(
  view: View,
  g: number,
  p: GeneratorParams,
  places: GeneratorPlaces,
  memory: number,
): void {
  for (const d of DIRECTIONS) {
    view.setU32(g + JG_RANDOM_PCT + 4 * d, p.percentageRandom[d])
    view.setU32(g + JG_MIN_BS + 4 * d, p.bsMin[d])
    view.setU32(g + JG_MAX_BS + 4 * d, p.bsMax[d])
    view.setU32(g + JG_BS_STEP + 4 * d, sizeStep(p, d))
    view.setU32(g + JG_ALIGN + 4 * d, p.blockAlign[d])
    view.setU32(g + JG_BSSPLIT_N + 4 * d, p.bssplit[d].length)
    view.setU32(g + JG_BSSPLIT + 4 * d, memory + places.bssplit[d]!)
    p.bssplit[d].forEach((e, i) => {
      writeSplit(view, memory + places.bssplit[d]! + i * BS_SIZE, e, sizeStep(p, d))
    })
  }
}

/** Sizes are cut to a multiple of `step`; a share that is not zero stays more than zero. */
function writeSplit(view: View, at: number, e: BsSplit, step: number): void {
  view.setU32(at + BS_BYTES, e.bytes - (e.bytes % step))
  view.setU32(at + BS_SHARE, Math.ceil((e.percent / 100) * SHARES))
}

function writeRegion(
  view: View,
  g: number,
  p: GeneratorParams,
  index: number,
  places: GeneratorPlaces,
  memory: number,
): void {
  const fl = index === 0 ? g + JG_FILE0 : memory + places.regions + (index - 1) * FL_SIZE
  const file = p.files[index]!
  view.setU64(fl + FL_REGION, file.base)
  view.setU64(fl + FL_BYTES, file.size)
  view.setU32(fl + FL_INDEX, index)
  view.setU32(fl + FL_UNIT0, places.verify.firstUnit[index]!)
  view.setU32(fl + FL_MAP, memory + places.maps[index]!)
  for (const d of DIRECTIONS) {
    const table = memory + places.tables[index]![d]!
    writeDistribution(view, fl + FL_DIST + d * DS_SIZE, p, d, file.size, table)
  }
}

const DIST: Readonly<Record<(Distribution | SequenceDistribution)['kind'], number>> = {
  random: DIST_UNIFORM,
  zipf: DIST_ZIPF,
  pareto: DIST_PARETO,
  normal: DIST_NORMAL,
  zoned: DIST_ZONED,
  zoned_abs: DIST_ZONED,
  sequence: DIST_SEQUENCE,
}

function writeDistribution(
  view: View,
  ds: number,
  p: GeneratorParams,
  ddir: 0 | 1 | 2,
  bytes: number,
  table: number,
): void {
  const d = p.distribution[ddir]
  view.setU32(ds + DS_KIND, DIST[d.kind])
  view.setU32(ds + DS_TABLE, table)
  if ('centre' in d) view.setF64(ds + DS_CENTRE, d.centre ?? -1)
  if (d.kind === 'zipf') view.setF64(ds + DS_PARAM, d.theta)
  if (d.kind === 'pareto') view.setF64(ds + DS_PARAM, d.h)
  if (d.kind === 'normal') view.setF64(ds + DS_PARAM, d.deviation)
  if (d.kind === 'sequence') {
    view.setU32(ds + DS_N, d.blocks.length)
    d.blocks.forEach((block, i) => {
      view.setU64(table + 8 * i, block)
    })
  }
  if (d.kind === 'zoned' || d.kind === 'zoned_abs') {
    view.setU32(ds + DS_N, d.zones.length)
    const blocks = randomBlocks(p, ddir, bytes)
    const scale = d.kind === 'zoned' ? blocks / 100 : 1 / p.blockAlign[ddir]
    writeZones(view, table, d.zones, blocks, scale)
  }
}

/** `scale` turns a zone's size into blocks. A zone has at least one block. */
function writeZones(
  view: View,
  table: number,
  zones: readonly AccessZone[],
  blocks: number,
  scale: number,
): void {
  let access = 0
  let size = 0
  zones.forEach((zone, i) => {
    const start = Math.min(Math.floor(size * scale), Math.max(0, blocks - 1))
    access += zone.access
    size += zone.size
    const end = Math.min(Math.floor(size * scale), blocks)
    const at = table + i * ZN_SIZE
    view.setU32(at + ZN_ACCESS, Math.min(2 ** 32 - 1, Math.round((access / 100) * 2 ** 32)))
    view.setU64(at + ZN_START, start)
    view.setU64(at + ZN_LENGTH, Math.max(1, end - start))
  })
}
