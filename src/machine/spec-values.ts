// The keys of one device as the user wrote them, taken out one by one; what is left over is unknown.
//
// Sizes: whole numbers with K, M, G or T (powers of 1024; KiB and so on too). Times: whole numbers with ns, us, ms or s;
// only 0 may stand without. Booleans: 0 1 on off yes no. A key may be written with - or _.

import { UserError } from '../core/errors.js'

/** What JSON may hold where text is expected. */
export type Scalar = string | number | boolean

/** One key as it was written. */
export interface Entry {
  readonly key: string
  readonly value: string
}

/** - and _ are the same in a key. */
export function plainKey(key: string): string {
  return PLAIN.test(key) ? key : key.replaceAll('-', '_').toLowerCase()
}

/** Of most keys that is seen faster than done. */
const PLAIN = /^[a-z0-9_]*$/

/** For messages: printable and short. */
export function show(text: string): string {
  const clean = text.replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?')
  return clean.length > 60 ? `${clean.slice(0, 57)}...` : clean
}

const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
}
const TIMES: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 }

/** Bytes, or undefined when the text is no size. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+)([kmgt]?)(?:i?b)?$/i.exec(text)
  if (match === null) return undefined
  const value = Number(match[1]) * SIZES[match[2]!.toLowerCase()]!
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined
}

/** Nanoseconds, or undefined when the text is no time. */
export function parseNs(text: string): number | undefined {
  if (text === '0') return 0
  const match = /^(\d+)(ns|us|ms|s)$/i.exec(text)
  if (match === null) return undefined
  const value = Number(match[1]) * TIMES[match[2]!.toLowerCase()]!
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined
}

/** A whole number, decimal or hex, or undefined. */
export function parseWhole(text: string): number | undefined {
  if (!/^-?(\d+|0x[0-9a-f]+)$/i.test(text)) return undefined
  const value = text.startsWith('-') ? -Number(text.slice(1)) : Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

const NOTHING: readonly string[] = []

/** Reads the keys of one device. Every reading method names what it accepts when it throws UserError. */
export class Keys {
  readonly #where: string
  readonly #entries = new Map<string, string[]>()
  readonly #unread = new Set<string>()
  readonly #known: string[] = []

  /** @param where beginning of every message, such as `--device nvme` */
  constructor(where: string, entries: readonly Entry[]) {
    this.#where = where
    for (const { key, value } of entries) {
      const plain = plainKey(key)
      const list = this.#entries.get(plain)
      if (list !== undefined) list.push(value)
      else {
        this.#entries.set(plain, [value])
        this.#unread.add(plain)
      }
    }
  }

  /** @throws UserError always */
  fail(reason: string): never {
    throw new UserError(`${this.#where}: ${reason}`)
  }

  has(key: string): boolean {
    return this.#entries.has(plainKey(key))
  }

  /** The text of a key, or undefined when it was not written. */
  text(key: string): string | undefined {
    const all = this.all(key)
    if (all.length > 1) this.fail(`${key} is given twice`)
    return all[0]
  }

  /** The texts of a key that may be repeated. */
  all(key: string): readonly string[] {
    this.#known.push(key)
    const list = this.#entries.get(plainKey(key))
    if (list === undefined) return NOTHING
    this.#unread.delete(plainKey(key))
    return list
  }

  /** @param accepts words for the message; most keys are not written, and need none */
  #read<T>(
    key: string,
    parse: (text: string) => T | undefined,
    accepts: () => string,
  ): T | undefined {
    const text = this.text(key)
    if (text === undefined) return undefined
    const value = parse(text)
    if (value === undefined) this.fail(`${key}=${show(text)}: must be ${accepts()}`)
    return value
  }

  #ranged(
    key: string,
    parse: (text: string) => number | undefined,
    min: number,
    max: number,
    accepts: () => string,
  ): number | undefined {
    const inside = (text: string): number | undefined => {
      const value = parse(text)
      return value !== undefined && value >= min && value <= max ? value : undefined
    }
    return this.#read(key, inside, accepts)
  }

  whole(key: string, min: number, max: number): number | undefined {
    return this.#ranged(key, parseWhole, min, max, () => `a whole number from ${min} to ${max}`)
  }

  size(key: string, min: number, max: number): number | undefined {
    const accepts = (): string => `a size from ${formatSize(min)} to ${formatSize(max)}, such as 4G`
    return this.#ranged(key, parseBytes, min, max, accepts)
  }

  /** A plain number counts in MiB, as null_blk's attributes do. */
  mebibytes(key: string, min: number, max: number): number | undefined {
    const parse = (text: string): number | undefined =>
      /^\d+$/.test(text) ? Number(text) * 2 ** 20 : parseBytes(text)
    const accepts = (): string => `MiB from ${min / 2 ** 20} to ${max / 2 ** 20}`
    return this.#ranged(key, parse, min, max, accepts)
  }

  time(key: string): number | undefined {
    return this.#read(key, parseNs, () => 'a time with ns, us, ms or s, such as 10us')
  }

  bool(key: string): boolean | undefined {
    const word = this.choice(key, ['1', '0', 'on', 'off', 'yes', 'no', 'true', 'false'])
    return word === undefined ? undefined : ['1', 'on', 'yes', 'true'].includes(word)
  }

  choice<const T extends string>(key: string, words: readonly T[]): T | undefined {
    const known = (text: string): T | undefined => words.find(word => word === text)
    return this.#read(key, known, () => `one of ${words.join(', ')}`)
  }

  /** A value with a form of its own; `parse` gives undefined for what it does not accept. */
  form<T>(key: string, parse: (text: string) => T | undefined, accepts: string): T | undefined {
    return this.#read(key, parse, () => accepts)
  }

  /** @throws UserError when a key was written that nobody read */
  finish(): void {
    for (const key of this.#unread) {
      const names = [...new Set(this.#known)].sort().join(', ')
      this.fail(`unknown key ${show(key)}; there are ${names}`)
    }
  }
}

const UNITS = [
  ['T', 2 ** 40],
  ['G', 2 ** 30],
  ['M', 2 ** 20],
  ['K', 2 ** 10],
] as const

/** The shortest exact form: `4G`, `512`. */
export function formatSize(bytes: number): string {
  for (const [unit, factor] of UNITS) {
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`
  }
  return String(bytes)
}

/** The shortest exact form: `100us`, `0`. */
export function formatNs(ns: number): string {
  if (ns === 0) return '0'
  for (const unit of ['s', 'ms', 'us']) {
    if (ns % TIMES[unit]! === 0) return `${ns / TIMES[unit]!}${unit}`
  }
  return `${ns}ns`
}
