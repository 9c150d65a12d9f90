// Option values that are little languages of their own. Each function takes the text after `=` and gives plain data;
// what cannot be used is a BadValue with the reason.

import { BadValue } from './bad-value.js'
import type {
  AccessZone,
  BsSplit,
  CmdPrioSplit,
  ContinueOnError,
  Distribution,
  FileService,
  IgnoreError,
  PatternPiece,
  RwMode,
  Triple,
} from './job.js'
import { nearest } from './suggest.js'
import {
  NS_PER_US,
  type OpenTriple,
  parseFloatValue,
  parseSize,
  parseTime,
  parseTriple,
  splitTop,
} from './units.js'

/** fio's limits on list lengths. */
const MAX_SPLITS = 64
const MAX_ZONES = 256
const MAX_PERCENTILES = 20
const MAX_PATTERN = 512

/** Percents are added in binary fractions; this much is rounding. */
const ROUNDING = 1e-6

/**
 * One of a few words.
 * @throws BadValue that lists them, with the nearest one
 */
export function oneOf<T extends string>(text: string, words: readonly T[]): T {
  const found = words.find(word => word === text)
  if (found !== undefined) return found
  const near = nearest(text, words)
  const hint = near === undefined ? '' : `; did you mean ${near}?`
  throw new BadValue(`must be one of ${words.join(', ')}${hint}`)
}

const RW_WORDS = [
  'read',
  'write',
  'trim',
  'randread',
  'randwrite',
  'randtrim',
  'rw',
  'readwrite',
  'randrw',
  'trimwrite',
  'randtrimwrite',
] as const

/** `rw` and its postfix: a count for random patterns, bytes to skip for sequential ones. */
export interface RwValue {
  readonly mode: RwMode
  /** Null without a postfix. */
  readonly postfix: number | null
}

/** `randread`, `randread:8`, `write:4k`, `read:-8k`. */
export function parseRw(text: string, kbBase: number): RwValue {
  const colon = text.indexOf(':')
  const word = oneOf(colon < 0 ? text : text.slice(0, colon), RW_WORDS)
  const mode = word === 'readwrite' ? 'rw' : word
  if (colon < 0) return { mode, postfix: null }
  const rest = text.slice(colon + 1)
  const negative = rest.startsWith('-')
  const random = mode.startsWith('rand')
  if (negative && random) throw new BadValue('a random pattern takes a count after the colon')
  const size = parseSize(negative ? rest.slice(1) : rest, kbBase)
  return { mode, postfix: negative ? -size : size }
}

/** `size/percent:size/percent`, lists for read, write and trim by comma. A list that is left open is null. */
export function parseBsSplit(text: string, kbBase: number): OpenTriple<readonly BsSplit[]> {
  return parseTriple(text, ',', part => splitList(part, kbBase))
}

function splitList(text: string, kbBase: number): readonly BsSplit[] {
  const entries = text.split(':').map(entry => {
    const [size, percent, ...more] = entry.split('/')
    if (more.length > 0) throw new BadValue(`'${entry}' is not size/percent`)
    const bytes = parseSize(size!, kbBase)
    if (bytes === 0) throw new BadValue('a block of 0 bytes')
    return { bytes, percent: openPercent(percent) }
  })
  if (entries.length > MAX_SPLITS) throw new BadValue(`more than ${MAX_SPLITS} entries`)
  const percents = sharePercents(
    entries.map(entry => entry.percent),
    'last',
  )
  return entries.map((entry, i) => ({ bytes: entry.bytes, percent: percents[i]! }))
}

/** A percent, or null where it was left out. */
function openPercent(text: string | undefined): number | null {
  if (text === undefined || text === '') return null
  const value = parseFloatValue(text.endsWith('%') ? text.slice(0, -1) : text)
  if (value < 0 || value > 100) throw new BadValue(`${text} is not a percentage (0 to 100)`)
  return value
}

/**
 * Percents that add up to 100: open ones share what is left.
 * @param short what a sum below 100 without open places means: the last entry takes the rest, or it is an error
 */
function sharePercents(percents: readonly (number | null)[], short: 'last' | 'error'): number[] {
  const sum = percents.reduce<number>((total, percent) => total + (percent ?? 0), 0)
  if (sum > 100 + ROUNDING) throw new BadValue(`the percentages add up to ${tidy(sum)}, not to 100`)
  const rest = Math.max(0, 100 - sum)
  const open = percents.filter(percent => percent === null).length
  if (open > 0) return percents.map(percent => percent ?? rest / open)
  if (rest > ROUNDING && short === 'error') {
    throw new BadValue(`the percentages add up to ${tidy(sum)}, not to 100`)
  }
  return percents.map((percent, i) => (i === percents.length - 1 ? percent! + rest : percent!))
}

const tidy = (value: number): string => String(Math.round(value * 1000) / 1000)

/** `random`, `zipf:theta[:centre]`, `pareto:h[:centre]`, `normal:dev[:centre]`, `zoned:...`, `zoned_abs:...`. */
export function parseDistribution(text: string, kbBase: number): Triple<Distribution> {
  const colon = text.indexOf(':')
  const kind = oneOf(colon < 0 ? text : text.slice(0, colon), [
    'random',
    'zipf',
    'pareto',
    'normal',
    'zoned',
    'zoned_abs',
  ])
  const rest = colon < 0 ? null : text.slice(colon + 1)
  if (kind === 'zoned' || kind === 'zoned_abs') return zonedTriple(kind, rest ?? '', kbBase)
  const one = kind === 'random' ? uniform(rest) : shaped(kind, rest)
  return [one, one, one]
}

function uniform(rest: string | null): Distribution {
  if (rest !== null) throw new BadValue('random takes no parameter')
  return { kind: 'random' }
}

/** fio's defaults when no parameter is given: theta 1.1, h 0.2. */
function shaped(kind: 'zipf' | 'pareto' | 'normal', rest: string | null): Distribution {
  const parts = rest === null ? [] : rest.split(':')
  if (parts.length > 2) throw new BadValue(`${kind} takes a parameter and a centre`)
  const centre = parts[1] === undefined ? null : parseFloatValue(parts[1])
  if (centre !== null && (centre < 0 || centre > 1)) {
    throw new BadValue('the centre must lie between 0 and 1')
  }
  const given = parts[0] === undefined ? null : parseFloatValue(parts[0])
  if (kind === 'zipf') return { kind, theta: zipfTheta(given ?? 1.1), centre }
  if (kind === 'pareto') return { kind, h: paretoH(given ?? 0.2), centre }
  if (given === null) throw new BadValue('normal needs a deviation, such as normal:20')
  if (given < 0 || given >= 100)
    throw new BadValue('the deviation must be at least 0 and below 100')
  return { kind, deviation: given, centre }
}

function zipfTheta(theta: number): number {
  if (theta === 1) throw new BadValue('theta 1.0 has no zipf law; use 0.99 or 1.01')
  if (theta <= 0 || theta > 10) throw new BadValue('theta must be above 0 and at most 10')
  return theta
}

function paretoH(h: number): number {
  if (h <= 0 || h >= 1) throw new BadValue('h must lie between 0 and 1')
  return h
}

function zonedTriple(
  kind: 'zoned' | 'zoned_abs',
  text: string,
  kbBase: number,
): Triple<Distribution> {
  const one = parseTriple(text, ',', (part): Distribution => {
    return { kind, zones: zoneList(kind, part, kbBase) }
  })
  const random: Distribution = { kind: 'random' }
  return [one[0] ?? random, one[1] ?? random, one[2] ?? random]
}

function zoneList(
  kind: 'zoned' | 'zoned_abs',
  text: string,
  kbBase: number,
): readonly AccessZone[] {
  const entries = text.split(':').map(entry => {
    const parts = entry.split('/')
    if (parts.length > 2) throw new BadValue(`'${entry}' is not access/size`)
    return parts
  })
  if (entries.length > MAX_ZONES) throw new BadValue(`more than ${MAX_ZONES} zones`)
  const access = sharePercents(
    entries.map(entry => openPercent(entry[0])),
    'error',
  )
  const sizes =
    kind === 'zoned'
      ? sharePercents(
          entries.map(entry => openPercent(entry[1])),
          'error',
        )
      : entries.map(entry => zoneBytes(entry[1], kbBase))
  return access.map((percent, i) => ({ access: percent, size: sizes[i]! }))
}

function zoneBytes(text: string | undefined, kbBase: number): number {
  const bytes = text === undefined ? 0 : parseSize(text, kbBase)
  if (bytes === 0) throw new BadValue('a zone needs a size in bytes')
  return bytes
}

/**
 * `0xdeadbeef` (bytes in the order written), `300` (smallest little-endian form), `"text"`, `%o` where `offset` allows
 * it; in any number, with or without blanks. At most 512 bytes.
 */
export function parsePattern(text: string, offset: boolean): readonly PatternPiece[] {
  const pieces: PatternPiece[] = []
  const token = /\s*(?:0x([0-9a-f]+)|(-?\d+)|"([^"]*)"|(%o))/iy
  let length = 0
  while (token.lastIndex < text.trimEnd().length) {
    const at = token.lastIndex
    const match = token.exec(text)
    if (match === null) throw new BadValue(`'${text.slice(at)}' is not a pattern`)
    const [, hex, decimal, string, place] = match
    if (place !== undefined) {
      if (!offset) throw new BadValue('%o belongs to verify_pattern')
      pieces.push({ offset: true })
      length += 8
    } else {
      const bytes =
        hex !== undefined
          ? hexBytes(hex)
          : decimal !== undefined
            ? decimalBytes(Number(decimal))
            : [...new TextEncoder().encode(string)]
      pieces.push({ bytes })
      length += bytes.length
    }
    if (length > MAX_PATTERN) throw new BadValue(`the pattern is longer than ${MAX_PATTERN} bytes`)
  }
  if (length === 0) throw new BadValue('the pattern is empty')
  return pieces
}

function hexBytes(digits: string): number[] {
  const even = digits.length % 2 === 0 ? digits : `0${digits}`
  return (even.match(/../g) ?? []).map(pair => Number.parseInt(pair, 16))
}

/** Little-endian; as few bytes as a positive number needs, four for a negative one. */
function decimalBytes(value: number): number[] {
  if (value > 0x7fffffff || value < -0x80000000) {
    throw new BadValue('a decimal number in a pattern has at most 31 bits; use hex')
  }
  const all = [value, value >> 8, value >> 16, value >> 24].map(byte => byte & 0xff)
  let used = 4
  while (value >= 0 && used > 1 && all[used - 1] === 0) used--
  return all.slice(0, used)
}

const ERRNO: Readonly<Record<string, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ERANGE: 34,
  ENODATA: 61,
  ETIME: 62,
  ENOLINK: 67,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  EREMOTEIO: 121,
}

/** `READ,WRITE,VERIFY`, each a list of names or numbers by colon; what is left out gets none. */
export function parseIgnoreError(text: string): IgnoreError {
  const parts = text.split(',')
  if (parts.length > 3) throw new BadValue('at most three lists: read, write, verify')
  const [read, write, verify] = [0, 1, 2].map(i => errnoList(parts[i] ?? ''))
  return { read: read!, write: write!, verify: verify! }
}

function errnoList(text: string): readonly number[] {
  if (text.trim() === '') return []
  return text.split(':').map(word => {
    const name = word.trim()
    const value = Object.hasOwn(ERRNO, name) ? ERRNO[name]! : Number(name)
    if (!/^\w+$/.test(name) || !Number.isInteger(value) || value < 1 || value > 4095) {
      throw new BadValue(`'${name}' is not an error: names are ${Object.keys(ERRNO).join(', ')}`)
    }
    return value
  })
}

/** `roundrobin`, `sequential` or `random`, each with `:N` I/Os before another file's turn. */
export function parseFileService(text: string): FileService {
  const [word = '', count = '1', ...more] = text.split(':')
  if (['zipf', 'pareto', 'normal', 'gauss'].includes(word))
    throw new BadValue('not yet: files chosen by a distribution')
  const order = oneOf(word, ['roundrobin', 'sequential', 'random'])
  const n = Number(count)
  if (more.length > 0 || !/^\d{1,9}$/.test(count) || n === 0)
    throw new BadValue(`'${text}' is not an order and a number of I/Os, such as random:8`)
  return { order, count: n }
}

/** `none`, `read`, `write`, `io`, `verify`, `all`, or 0 and 1. */
export function parseContinueOnError(text: string): ContinueOnError {
  const word = oneOf(text, ['none', 'read', 'write', 'io', 'verify', 'all', '0', '1'])
  const all = word === 'all' || word === '1'
  return {
    read: all || word === 'io' || word === 'read',
    write: all || word === 'io' || word === 'write',
    verify: all || word === 'verify',
  }
}

/** The criterion of `steadystate`; the window belongs to other options. */
export interface SteadyCriterion {
  readonly metric: 'iops' | 'bw' | 'lat'
  readonly slope: boolean
  readonly limit: number
  readonly limitIsPercent: boolean
}

/** `iops:10%`, `bw_slope:1m`, `lat:200us`. Bandwidths in bytes a second, latencies in microseconds without a unit. */
export function parseSteadyState(text: string, kbBase: number): SteadyCriterion {
  const colon = text.indexOf(':')
  const word = oneOf(colon < 0 ? text : text.slice(0, colon), [
    'iops',
    'iops_slope',
    'bw',
    'bw_slope',
    'lat',
    'lat_slope',
  ])
  if (colon < 0) throw new BadValue(`a limit is missing, such as ${word}:5%`)
  const [metric, slope] = word.split('_') as [SteadyCriterion['metric'], string | undefined]
  const limit = text.slice(colon + 1)
  return { metric, slope: slope !== undefined, ...steadyLimit(limit, metric, kbBase) }
}

function steadyLimit(
  text: string,
  metric: SteadyCriterion['metric'],
  kbBase: number,
): { limit: number; limitIsPercent: boolean } {
  if (text.endsWith('%')) {
    const limit = parseFloatValue(text.slice(0, -1))
    if (limit < 0 || limit > 100) throw new BadValue('the limit must lie between 0% and 100%')
    return { limit, limitIsPercent: true }
  }
  if (metric === 'bw') return { limit: parseSize(text, kbBase), limitIsPercent: false }
  if (metric === 'lat') return { limit: parseTime(text, NS_PER_US), limitIsPercent: false }
  const limit = parseFloatValue(text)
  if (limit < 0) throw new BadValue('the limit is negative')
  return { limit, limitIsPercent: false }
}

/** No machine here has a CPU of a larger number. */
export const MAX_CPU = 1023

/** `0-3,6`: ascending, each once. fio also separates by colon. */
export function parseCpus(text: string): readonly number[] {
  const cpus = new Set<number>()
  for (const part of text.split(/[,:]/)) {
    const match = /^\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*$/.exec(part)
    if (match === null) throw new BadValue(`'${part}' is not a CPU or a range of CPUs`)
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])]
    if (last < first) throw new BadValue(`'${part}' runs backwards`)
    if (last > MAX_CPU) throw new BadValue(`CPU ${last} is beyond ${MAX_CPU}`)
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu)
  }
  return [...cpus].sort((a, b) => a - b)
}

/** A bit mask as CPU numbers. */
export function parseCpuMask(text: string): readonly number[] {
  const mask = parseSize(text, 1024)
  if (mask === 0 || mask > 0xffffffff) throw new BadValue('the mask must have 1 to 32 bits')
  return Array.from({ length: 32 }, (_, cpu) => cpu).filter(cpu => ((mask >>> cpu) & 1) === 1)
}

/** `50:99:99.9`, ascending on return, each once; at most 20. */
export function parsePercentiles(text: string): readonly number[] {
  const list = text.split(':').map(part => {
    const value = parseFloatValue(part)
    if (value < 0 || value > 100) throw new BadValue(`${part} is not a percentile (0 to 100)`)
    return value
  })
  if (list.length > MAX_PERCENTILES) throw new BadValue(`more than ${MAX_PERCENTILES} percentiles`)
  return [...new Set(list)].sort((a, b) => a - b)
}

/** Which kinds of I/O a replay leaves out. */
export interface SkipValue {
  readonly skip: Triple<boolean>
  readonly sync: boolean
}

/** `read,write,trim,sync`, any of them. */
export function parseReplaySkip(text: string): SkipValue {
  const words = text
    .split(/[,:]/)
    .map(word => oneOf(word.trim(), ['read', 'write', 'trim', 'sync']))
  return {
    skip: [words.includes('read'), words.includes('write'), words.includes('trim')],
    sync: words.includes('sync'),
  }
}

/** `bs/percentage[/class/prio]:...`, for reads and, after a comma, writes. */
export function parseCmdPrioSplit(
  text: string,
  kbBase: number,
): readonly [readonly CmdPrioSplit[], readonly CmdPrioSplit[]] {
  const parts = splitTop(text, ',')
  if (parts.length > 2) throw new BadValue('at most two lists: read, write')
  const lists = parts.map(part => (part === '' ? [] : prioList(part, kbBase)))
  return [lists[0]!, lists[1] ?? lists[0]!]
}

function prioList(text: string, kbBase: number): readonly CmdPrioSplit[] {
  const list = text.split(':').map(entry => {
    const parts = entry.split('/')
    if (parts.length !== 2 && parts.length !== 4) {
      throw new BadValue(`'${entry}' is not bs/percentage or bs/percentage/class/prio`)
    }
    const [bytes, percent, klass, level] = parts.map(part => parseSize(part, kbBase))
    if (bytes === 0 || percent! > 100) throw new BadValue(`'${entry}' is out of range`)
    if ((klass ?? 1) > 3 || (level ?? 0) > 7) {
      throw new BadValue(`'${entry}': classes are 0 to 3, levels 0 to 7`)
    }
    return { bytes: bytes!, percent: percent!, class: klass ?? 1, level: level ?? 0 }
  })
  if (list.length > MAX_SPLITS) throw new BadValue(`more than ${MAX_SPLITS} entries`)
  return list
}

/** `a:b`, a colon inside a name written `\:`; `directory` the same way. */
export function parseNames(text: string): readonly string[] {
  const names = text.split(/(?<!\\):/).map(name => name.replaceAll('\\:', ':'))
  if (names.some(name => name === '')) throw new BadValue('an empty name')
  return [...new Set(names)]
}
