// The options of one job, understood: class, type and range of each, in the order that decides who wins.
//
//   1. Globals above the section, then the section's own, then overrides of the command line; later ones win.
//   2. `kb_base` is looked for first: it governs all sizes, wherever it stands.
//   3. `filename` accumulates, across globals too, as in fio (an override replaces).
//   4. An open place of a triple (`bs=,8k`) keeps what was said before.
//   5. `ioengine` is looked for before engine options: they are unknown to other engines.

import { UserError } from '../core/errors.js'
import { show } from '../machine/spec-values.js'
import { withPrefix } from './bad-value.js'
import type { RawOption } from './jobfile.js'
import type { Notes } from './notes.js'
import { OPTION_CLASSES, type OptionClass, refusedEngine, usefulNames } from './option-classes.js'
import { type OptionDef, RUN_OPTIONS, type RunName, type RunValues } from './options.js'
import { didYouMean } from './suggest.js'
import type { OpenTriple } from './units.js'

/** Engines that exist here. */
export const ENGINES = [
  'sync',
  'psync',
  'vsync',
  'pvsync',
  'pvsync2',
  'libaio',
  'posixaio',
  'io_uring',
  'mmap',
  'splice',
  'null',
] as const

/** Other spellings that fio accepts. */
const ENGINE_ALIASES: Readonly<Record<string, (typeof ENGINES)[number]>> = { linuxaio: 'libaio' }

/** Options of one job by layer: what came from global sections, from the section, from the command line. */
export interface Layers {
  readonly globals: readonly RawOption[]
  readonly own: readonly RawOption[]
  readonly overrides: readonly RawOption[]
}

/** One understood option. */
interface Setting {
  readonly value: unknown
  readonly raw: RawOption
  /** Place in the order of application. */
  readonly order: number
}

/** `job.fio:3: bs=8x`, the beginning of every message about an option. */
export function quote(raw: RawOption): string {
  const value = raw.value === null ? '' : `=${show(raw.value)}`
  const written = raw.written === undefined ? '' : ` (written ${show(raw.written)})`
  return `${raw.where}: ${show(raw.key)}${value}${written}`
}

/** The typed view of a job's options. */
export class Settings {
  readonly #settings = new Map<RunName, Setting>()
  readonly engine: (typeof ENGINES)[number]
  readonly kbBase: number

  /** @throws UserError for the first option that cannot be used */
  constructor(layers: Layers, notes: Notes) {
    const own = [...layers.own, ...layers.overrides]
    const all = [...layers.globals, ...own]
    this.kbBase = Number(lastValue(all, 'kb_base') ?? '1024')
    if (this.kbBase !== 1000) this.kbBase = 1024
    this.engine = engineOf(all)
    const globalEngine = lastValue(layers.globals, 'ioengine')
    all.forEach((raw, order) => {
      const inherited = order < layers.globals.length
      const info = classOf(raw)
      if (knows(this.engine, info)) this.#apply(raw, info, order, layers, notes)
      else if (inherited && knows(globalEngine ?? 'psync', info)) {
        notes.once(
          `engine ${info.name}`,
          `${quote(raw)}: left out for jobs with ioengine=${this.engine}`,
        )
      } else throw unknownToEngine(raw, info, this.engine)
    })
  }

  /** The value, or undefined when nobody wrote the option. */
  get<K extends RunName>(name: K): RunValues[K] | undefined {
    return this.#settings.get(name)?.value as RunValues[K] | undefined
  }

  /** Whether the user wrote it at all. */
  has(name: RunName): boolean {
    return this.#settings.has(name)
  }

  /** Larger = later; -1 when nobody wrote it. */
  order(name: RunName): number {
    return this.#settings.get(name)?.order ?? -1
  }

  /** For messages: the option as it was written, or its bare name. */
  quote(name: RunName): string {
    const setting = this.#settings.get(name)
    return setting === undefined ? name : quote(setting.raw)
  }

  #apply(raw: RawOption, info: OptionClass, order: number, layers: Layers, notes: Notes): void {
    if (info.class !== 'RUN') {
      applyOther(raw, info, notes)
      return
    }
    const value = parseValue(raw, info.name, this.kbBase)
    const before = this.#settings.get(info.name)
    const replaces = order >= layers.globals.length + layers.own.length
    this.#settings.set(info.name, { value: merge(info.name, before, value, replaces), raw, order })
  }
}

/** Value of the last option of this canonical name, unparsed. */
function lastValue(options: readonly RawOption[], name: RunName): string | null | undefined {
  return options.findLast(raw => OPTION_CLASSES.get(raw.key)?.name === name)?.value
}

/**
 * The canonical option of a key.
 * @throws UserError with the nearest right name
 */
export function classOf(raw: RawOption): OptionClass {
  const info = OPTION_CLASSES.get(raw.key)
  if (info !== undefined) return info
  throw new UserError(`${quote(raw)}: unknown option${didYouMean(raw.key, usefulNames())}`)
}

function enginesOf(info: OptionClass): readonly string[] | undefined {
  return info.class === 'RUN' ? RUN_OPTIONS[info.name].engines : info.engines
}

function knows(engine: string, info: OptionClass): boolean {
  return enginesOf(info)?.includes(engine) ?? true
}

/** The options of a job that its engine knows, in the order they apply. */
export function optionsInForce(layers: Layers): readonly RawOption[] {
  const own = [...layers.own, ...layers.overrides]
  const engine = engineOf([...layers.globals, ...own])
  return [...layers.globals.filter(raw => knows(engine, classOf(raw))), ...own]
}

function unknownToEngine(raw: RawOption, info: OptionClass, engine: string): UserError {
  const known = enginesOf(info)!.join(', ')
  return new UserError(
    `${quote(raw)}: ioengine=${engine} has no such option; it belongs to ${known}`,
  )
}

/** The engine of a job, psync when nobody chose one. */
function engineOf(options: readonly RawOption[]): (typeof ENGINES)[number] {
  const raw = options.findLast(option => option.key === 'ioengine')
  if (raw === undefined) return 'psync'
  const name = raw.value
  if (name === null) throw new UserError(`${quote(raw)}: needs a value (engine)`)
  const known = ENGINES.find(engine => engine === name)
  if (known !== undefined) return known
  if (Object.hasOwn(ENGINE_ALIASES, name)) return ENGINE_ALIASES[name]!
  const reason = refusedEngine(name.split(':')[0]!)
  if (reason !== undefined) throw new UserError(`${quote(raw)}: not emulated: ${reason}`)
  const hint = didYouMean(name, ENGINES)
  throw new UserError(`${quote(raw)}: unknown engine${hint || `; there are ${ENGINES.join(', ')}`}`)
}

/**
 * The value of a RUN option.
 * @throws UserError with file, line, option and reason
 */
export function parseValue(raw: RawOption, name: RunName, kbBase: number): unknown {
  const def: OptionDef<unknown> = RUN_OPTIONS[name]
  if (raw.value === null) {
    if (def.bare !== undefined) return def.bare
    throw new UserError(`${quote(raw)}: needs a value (${def.type})`)
  }
  return withPrefix(
    () => quote(raw),
    () => def.parse(raw.value!, kbBase),
  )
}

/** What stays of the value before: list members, and the places that the new value leaves open. */
function merge(
  name: RunName,
  before: Setting | undefined,
  value: unknown,
  replaces: boolean,
): unknown {
  if (before === undefined) return value
  const def: OptionDef<unknown> = RUN_OPTIONS[name]
  if (def.accumulates === true && !replaces) {
    return [...new Set([...(before.value as readonly string[]), ...(value as readonly string[])])]
  }
  if (def.open !== true) return value
  const old = before.value as OpenTriple<unknown>
  return (value as OpenTriple<unknown>).map((part, i) => part ?? old[i])
}

/** NOTE: one line. LATER and REFUSE: an error, unless the value asks for what happens anyway. */
function applyOther(
  raw: RawOption,
  info: Exclude<OptionClass, { class: 'RUN' }>,
  notes: Notes,
): void {
  if (info.class === 'NOTE') {
    if (raw.value === null && !info.bare) throw new UserError(`${quote(raw)}: needs a value`)
    notes.once(`option ${info.name}`, `${raw.where}: ${info.name} has no effect: ${info.reason}`)
    return
  }
  if (raw.value !== null && info.inert.includes(raw.value)) return
  const why = info.class === 'LATER' ? `not yet: ${info.reason}` : `refused: ${info.reason}`
  throw new UserError(`${quote(raw)}: ${why}`)
}
