// Numbers as fio writes them.
//
//   kb_base   k m g t p, kb mb ..., ki mi ...   kib mib gib ...
//   1024      powers of 1024                    powers of 1000
//   1000      powers of 1000                    powers of 1024
//
// Hex (0x) takes no unit. Times: us usec ms msec s m h d; without a unit each option has its own.
// A value that begins with "(" is arithmetic (arith.ts), units inside; its times count in microseconds.
// fio reads "1.5g" as 1 and "8x" as 8 without a word; here both are refused, because a silently shortened number is never meant.
//
// Everything here throws BadValue with the reason alone; who knows file, line and option puts them in front.

import { evaluate } from './arith.js'
import { BadValue } from './bad-value.js'

export const NS_PER_US = 1000
export const NS_PER_MS = 1_000_000
export const NS_PER_S = 1_000_000_000

const TIME_UNITS: Readonly<Record<string, number>> = {
  us: NS_PER_US,
  usec: NS_PER_US,
  ms: NS_PER_MS,
  msec: NS_PER_MS,
  s: NS_PER_S,
  m: 60 * NS_PER_S,
  h: 3600 * NS_PER_S,
  d: 86400 * NS_PER_S,
}

const POWERS = 'kmgtp'

/** Bytes of a size suffix (lower case), or undefined when it is none. */
function sizeUnit(suffix: string, kbBase: number): number | undefined {
  if (suffix === '' || suffix === 'b') return 1
  const power = POWERS.indexOf(suffix[0]!) + 1
  if (power === 0) return undefined
  const rest = suffix.slice(1)
  if (rest === 'ib') return (kbBase === 1024 ? 1000 : 1024) ** power
  return rest === '' || rest === 'b' || rest === 'i' ? kbBase ** power : undefined
}

const timeUnit = (suffix: string): number | undefined =>
  Object.hasOwn(TIME_UNITS, suffix) ? TIME_UNITS[suffix] : undefined

/** A whole number with a unit; `unit` gives the factor of a lower-case suffix, or undefined. */
function parseWithUnit(
  text: string,
  unit: (suffix: string) => number | undefined,
  units: string,
  bare: number,
): number {
  if (text === '') throw new BadValue('the value is empty')
  if (text.startsWith('(')) return checked(evaluate(text, unit, bare), text)
  const match = /^\+?(0x[0-9a-f]+|\d+)([a-z]*)$/i.exec(text)
  if (match === null) throw new BadValue(notANumber(text, units))
  const hex = /x/i.test(match[1]!)
  const factor = hex && match[2] !== '' ? undefined : unit(match[2]!.toLowerCase())
  if (factor === undefined) throw new BadValue(`unknown unit '${match[2]}'; units are ${units}`)
  return checked(Number(match[1]) * factor, text)
}

function notANumber(text: string, units: string): string {
  if (text.startsWith('-')) return `'${text}' is negative`
  if (/^\d*\.\d/.test(text))
    return `'${text}' has a fraction; write a whole number of a smaller unit`
  return `'${text}' is not a number; units are ${units}`
}

function checked(value: number, text: string): number {
  if (!Number.isInteger(value)) throw new BadValue(`'${text}' is not a whole number`)
  if (value < 0) throw new BadValue(`'${text}' is negative`)
  if (value > Number.MAX_SAFE_INTEGER) throw new BadValue(`'${text}' is too large`)
  return value
}

/** Bytes, or a plain count with the same suffixes (`iodepth=1k` is 1024, as in fio). */
export function parseSize(text: string, kbBase: number): number {
  return parseWithUnit(text, suffix => sizeUnit(suffix, kbBase), 'k, m, g, t, p', 1)
}

/** Nanoseconds; `defaultUnit` is the value of 1 without a unit. At most 104 days. */
export function parseTime(text: string, defaultUnit: number): number {
  const unit = (suffix: string): number | undefined =>
    suffix === '' ? defaultUnit : timeUnit(suffix)
  return parseWithUnit(text, unit, 'us, ms, s, m, h, d', NS_PER_US)
}

/** A decimal fraction such as 99.9. */
export function parseFloatValue(text: string): number {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(text)) throw new BadValue(`'${text}' is not a number`)
  return Number(text)
}

/** Split at any of the characters, but not inside parentheses. */
export function splitTop(text: string, separators: string): string[] {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!
    if (c === '(') depth++
    else if (c === ')') depth--
    else if (depth === 0 && separators.includes(c)) {
      parts.push(text.slice(start, i))
      start = i + 1
    }
  }
  parts.push(text.slice(start))
  return parts.map(part => part.trim())
}

/** Read, write and trim; null where the user left a place open. */
export type OpenTriple<T> = readonly [T | null, T | null, T | null]

/**
 * `r,w,t`. A value not followed by a comma applies to the rest; an empty place stays open.
 * @param separators what stands between the three: `,` or, for plain numbers, `,:-` as fio 3.33 reads them
 */
export function parseTriple<T>(
  text: string,
  separators: string,
  parse: (part: string) => T,
): OpenTriple<T> {
  const parts = splitTop(text, separators)
  if (parts.length > 3) throw new BadValue('at most three values: read, write, trim')
  const values = parts.map(part => (part === '' ? null : parse(part)))
  if (values.every(value => value === null)) throw new BadValue('the value is empty')
  // A comma after the last value ends it: `8k,` is for reads alone.
  const last = values.at(-1)!
  while (values.length < 3) values.push(last)
  return [values[0]!, values[1]!, values[2]!]
}

/** Smallest and largest, in this order. */
export interface Range {
  readonly lo: number
  readonly hi: number
}

/** `lo-hi` or `lo:hi`, swapped when reversed. `single` also accepts one value for both. */
export function parseRange(text: string, single: boolean, parse: (part: string) => number): Range {
  const parts = splitTop(text, '-:')
  if (single && parts.length === 1) {
    const value = parse(parts[0]!)
    return { lo: value, hi: value }
  }
  if (parts.length !== 2) throw new BadValue(`'${text}' is not a range; write it low-high`)
  const [a, b] = [parse(parts[0]!), parse(parts[1]!)]
  return { lo: Math.min(a, b), hi: Math.max(a, b) }
}

/** Bytes for a message: `4096` is `4 KiB`, `1000` is `1000 bytes`. */
export function formatBytes(bytes: number): string {
  const names = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let power = 0
  let value = bytes
  while (power < 5 && value >= 1024 && value % 1024 === 0) {
    value /= 1024
    power++
  }
  return `${value} ${names[power]}`
}
