// What the generator needs to know of a job, and what follows from it: which random map, how large a verify interval.
//
//   random map    none          norandommap, a distribution that is not uniform, blockalign other than bs, bs_unaligned
//                 permutation   all random I/Os have one size: needs no memory
//                 bitmap        mixed sizes: a bit per block of the greatest common divisor of the smallest sizes
//
//   interval      verify_interval if it divides the smallest and the largest write, else their greatest common divisor;
//                 then cut to what also divides every offset a write can have, so that an interval always stands at a
//                 multiple of itself. Every write is then a whole number of intervals.

import {
  MAP_BITS,
  MAP_NONE,
  MAP_PERM,
  VERIFY_CRC7,
  VERIFY_CRC16,
  VERIFY_CRC32,
  VERIFY_CRC32C,
  VERIFY_CRC64,
  VERIFY_HOST,
  VERIFY_META,
  VERIFY_NONE,
  VERIFY_NULL,
  VERIFY_PATTERN,
  VERIFY_PATTERN_HDR,
  VERIFY_XXHASH,
  VH_SIZE,
} from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import type { Distribution, JobSpec, Triple, VerifyMethod } from './job.js'

/** `random_distribution=sequence:`: these blocks, over and over. */
export interface SequenceDistribution {
  readonly kind: 'sequence'
  readonly blocks: readonly number[]
}

/** The part of a job that decides what its I/Os are. A JobSpec is one. */
export interface GeneratorParams
  extends Pick<
    JobSpec,
    | 'source'
    | 'files'
    | 'size'
    | 'ioSize'
    | 'timeBased'
    | 'loops'
    | 'rw'
    | 'random'
    | 'uses'
    | 'ddirSeqCount'
    | 'ddirSeqAdd'
    | 'rwSequencer'
    | 'rwmixread'
    | 'bsMin'
    | 'bsMax'
    | 'bssplit'
    | 'bsUnaligned'
    | 'blockAlign'
    | 'percentageRandom'
    | 'norandommap'
    | 'seed'
    | 'zonemode'
    | 'zonesize'
    | 'zonerange'
    | 'zoneskip'
    | 'verify'
    | 'bufferPattern'
    | 'zeroBuffers'
  > {
  /** In turn, one I/O each, unless said. */
  readonly fileService?: JobSpec['fileService']
  readonly distribution: Triple<Distribution | SequenceDistribution>
  readonly trim: Pick<JobSpec['trim'], 'verifyZero'>
}

/** Unaligned sizes are multiples of this: a disk takes whole sectors only. */
export const SECTOR = 512

/** Read, write, trim: DDIR_*. */
export const DIRECTIONS = [0, 1, 2] as const

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/** trimwrite and randtrimwrite. */
export function isTrimWrite(p: GeneratorParams): boolean {
  return p.rw === 'trimwrite' || p.rw === 'randtrimwrite'
}

/** Directions that choose their own offsets: the write of randtrimwrite takes the trim's. */
function choosing(p: GeneratorParams): (0 | 1 | 2)[] {
  return p.rw === 'randtrimwrite' ? [2] : DIRECTIONS.filter(d => p.uses[d])
}

/** MAP_* of a job. */
export function mapMode(p: GeneratorParams): number {
  const dirs = choosing(p)
  const plain = dirs.every(
    d => p.distribution[d].kind === 'random' && p.blockAlign[d] === p.bsMin[d],
  )
  if (!p.random || p.norandommap || p.bsUnaligned || !plain) return MAP_NONE
  const first = p.bsMin[dirs[0]]
  return dirs.every(d => p.bsMin[d] === first && p.bsMax[d] === first) ? MAP_PERM : MAP_BITS
}

/** Bytes of a block of the random map. */
export function mapUnit(p: GeneratorParams): number {
  return choosing(p)
    .map(d => p.bsMin[d])
    .reduce(gcd)
}

/** Sizes between the smallest and the largest are multiples of this. */
export function sizeStep(p: GeneratorParams, ddir: 0 | 1 | 2): number {
  return p.bsUnaligned ? SECTOR : p.bsMin[ddir]
}

/** Random offsets of a direction in a region of so many bytes, as the core counts them. */
export function randomBlocks(p: GeneratorParams, ddir: 0 | 1 | 2, regionBytes: number): number {
  const bytes = p.zonemode === 'strided' ? Math.min(p.zonerange, regionBytes) : regionBytes
  const short = Math.max(0, p.bsMin[ddir] - p.blockAlign[ddir])
  return Math.max(0, Math.floor((bytes - short) / p.blockAlign[ddir]))
}

/** How the blocks of a verify job look. */
export interface VerifyShape {
  /** VERIFY_* */
  readonly kind: number
  readonly interval: number
  /** Bytes of header and digest; 0 = none. */
  readonly header: number
}

const KINDS: Readonly<Record<VerifyMethod, readonly [kind: number, header: number]>> = {
  none: [VERIFY_NONE, 0],
  null: [VERIFY_NULL, 0],
  pattern: [VERIFY_PATTERN, 0],
  meta: [VERIFY_META, VH_SIZE],
  pattern_hdr: [VERIFY_PATTERN_HDR, VH_SIZE],
  crc7: [VERIFY_CRC7, VH_SIZE + 8],
  crc16: [VERIFY_CRC16, VH_SIZE + 8],
  crc32: [VERIFY_CRC32, VH_SIZE + 8],
  crc32c: [VERIFY_CRC32C, VH_SIZE + 8],
  crc64: [VERIFY_CRC64, VH_SIZE + 8],
  xxhash: [VERIFY_XXHASH, VH_SIZE + 8],
  md5: [VERIFY_HOST, VH_SIZE + 16],
  sha1: [VERIFY_HOST, VH_SIZE + 20],
  sha256: [VERIFY_HOST, VH_SIZE + 32],
  sha512: [VERIFY_HOST, VH_SIZE + 64],
  'sha3-224': [VERIFY_HOST, VH_SIZE + 28],
  'sha3-256': [VERIFY_HOST, VH_SIZE + 32],
  'sha3-384': [VERIFY_HOST, VH_SIZE + 48],
  'sha3-512': [VERIFY_HOST, VH_SIZE + 64],
}

/** Everything that a block's offset can be a sum of, beside multiples of its size. */
function offsetSteps(p: GeneratorParams): number[] {
  const steps: number[] = []
  for (const d of DIRECTIONS) {
    if (!p.uses[d]) continue
    steps.push(p.bsMin[d], p.bsMax[d])
    if (p.bsUnaligned) steps.push(SECTOR)
    if (p.random) steps.push(p.blockAlign[d])
  }
  if (!p.random && p.ddirSeqAdd !== 0) steps.push(Math.abs(p.ddirSeqAdd))
  if (!p.random && p.ddirSeqAdd < 0) for (const f of p.files) steps.push(f.size)
  if (p.zonemode === 'strided') steps.push(p.zonerange + p.zoneskip, p.zonerange)
  return steps
}

function intervalOf(p: GeneratorParams): number {
  const d = p.uses[1] ? 1 : 0
  const sizes = gcd(p.bsMin[d], p.bsMax[d])
  const asked = p.verify.interval
  const start = asked > 0 && sizes % asked === 0 ? asked : sizes
  return p.uses[1] ? offsetSteps(p).reduce(gcd, start) : start
}

/**
 * Kind, interval and header of a job's blocks.
 * @throws UserError when the header does not fit, or a pattern is missing
 */
export function verifyShape(p: GeneratorParams): VerifyShape {
  const [kind, header] = KINDS[p.verify.method]
  const interval = intervalOf(p)
  if (kind === VERIFY_NONE) return { kind, interval, header }
  const needsPattern = kind === VERIFY_PATTERN || kind === VERIFY_PATTERN_HDR
  if (needsPattern && p.verify.pattern.length === 0) {
    throw new UserError(`${p.source}: verify=${p.verify.method} needs verify_pattern=`)
  }
  if (header > 0 && p.verify.offset + header > interval) {
    throw new UserError(
      `${p.source}: verify=${p.verify.method} writes a header of ${header} bytes at verify_offset ${p.verify.offset} ` +
        `into every ${interval} bytes, where it does not fit: use larger or evenly divisible block sizes`,
    )
  }
  return { kind, interval, header }
}
