// A job file as text: lines, comments, sections, includes, environment and keywords. No option is understood here.
//
//   line     blanks and control characters at both ends are dropped; below 8192 bytes
//   comment  ; or # anywhere in a line
//   section  [name], the name reaching to the last ] of the line; one that begins with "global" sets defaults
//   option   key=value or key; the value is trimmed (fio 3.33 reads `bs = 8k` as 8 bytes: hence a warning)
//   include  FILE, as given or beside the including file; holds options only
//   ${VAR}   in a value: the environment's, or nothing
//   $pagesize $mb_memory $ncpus   in a value: numbers, then + - * / % ^ are evaluated

import { UserError } from '../core/errors.js'
import { show } from '../machine/spec-values.js'
import { evaluate } from './arith.js'
import { BadValue } from './bad-value.js'
import type { Notes } from './notes.js'

/** One `key=value` as the user wrote it, comments and blanks removed, environment and keywords put in. */
export interface RawOption {
  readonly key: string
  /** Null for a key without `=`. */
  readonly value: string | null
  /** `file:line`, or `command line`. */
  readonly where: string
  /** The value before the environment and keywords were put in, when that changed it. */
  readonly written?: string
}

/** A section with its own options, in the order of the file. */
export interface RawSection {
  readonly name: string
  readonly global: boolean
  readonly where: string
  readonly options: readonly RawOption[]
}

/** Where the text comes from; nothing else of the outside world is looked at. */
export interface JobFileSource {
  /** Contents of a file; throws when there is none. */
  readonly readFile: (path: string) => Uint8Array
  readonly env: Readonly<Record<string, string | undefined>>
  /** Values of the keywords. */
  readonly pageSize: number
  readonly mbMemory: number
  readonly ncpus: number
}

/** The job file that is read from standard input, as in fio. */
export const STDIN = '-'

const MAX_LINE = 8192
const MAX_INCLUDE_DEPTH = 16
/** All files of one job file together; an include pyramid ends here. */
const MAX_LINES = 50_000

/** What is shared by a job file and everything it includes. */
interface Reading {
  readonly source: JobFileSource
  readonly notes: Notes
  readonly sections: { name: string; global: boolean; where: string; options: RawOption[] }[]
  lines: number
}

/**
 * Sections of a job file, includes resolved.
 * @throws UserError naming file and line
 */
export function readJobFile(path: string, source: JobFileSource, notes: Notes): RawSection[] {
  const reading: Reading = { source, notes, sections: [], lines: 0 }
  const name = path === STDIN ? 'standard input' : path
  const text = readText(path, source.readFile, name)
  readLines(name, text, [name], reading)
  if (reading.sections.length === 0) {
    throw new UserError(`${name}: no section; a job file needs at least one [name]`)
  }
  return reading.sections
}

const MISSING = 'no such file'

/** The reason of a failed read, in the words a user knows. */
function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOENT' || code === 'ENOTDIR') return MISSING
  if (code === 'EISDIR') return 'is a directory'
  if (code === 'EACCES') return 'permission denied'
  return error instanceof Error ? error.message.split('\n')[0]! : 'unreadable'
}

/** A file as it is. @throws UserError when it cannot be read */
export function readBytes(
  path: string,
  readFile: (path: string) => Uint8Array,
  name: string = path,
): Uint8Array {
  try {
    return readFile(path)
  } catch (error) {
    throw new UserError(`${name}: cannot be read: ${whyUnreadable(error)}`)
  }
}

/**
 * A file as text.
 * @throws UserError when it is missing, empty or binary
 */
export function readText(
  path: string,
  readFile: (path: string) => Uint8Array,
  name: string = path,
): string {
  const bytes = readBytes(path, readFile, name)
  if (bytes.length === 0) throw new UserError(`${name}: the file is empty`)
  try {
    if (!bytes.includes(0)) return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // Not UTF-8: the same answer as for a zero byte.
  }
  throw new UserError(`${name}: not a text file`)
}

function readLines(path: string, text: string, chain: readonly string[], reading: Reading): void {
  text.split('\n').forEach((raw, index) => {
    const where = `${path}:${index + 1}`
    if (++reading.lines > MAX_LINES) {
      throw new UserError(`${where}: more than ${MAX_LINES} lines with all includes`)
    }
    if (raw.length >= MAX_LINE) {
      throw new UserError(`${where}: the line is longer than ${MAX_LINE - 1} bytes`)
    }
    const line = trim(raw.replace(/[;#].*$/s, ''))
    if (line !== '') readLine(line, where, chain, reading)
  })
}

/** Without blanks and control characters at both ends. */
function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isBlank = (code: number): boolean => code <= 32 || code === 127

function readLine(line: string, where: string, chain: readonly string[], reading: Reading): void {
  if (line.startsWith('[')) {
    openSection(line, where, chain, reading)
    return
  }
  const section = reading.sections.at(-1)
  if (section === undefined) {
    throw new UserError(`${where}: '${show(line)}' stands before the first [section]`)
  }
  const file = /^include(?:\s*=\s*|\s+)(.*)$/s.exec(line)?.[1]
  if (file !== undefined) include(file, where, chain, reading)
  else section.options.push(readOption(line, where, reading))
}

function openSection(
  line: string,
  where: string,
  chain: readonly string[],
  reading: Reading,
): void {
  const end = line.lastIndexOf(']')
  if (end < 0) throw new UserError(`${where}: '${show(line)}' has no closing ]`)
  if (end !== line.length - 1) {
    throw new UserError(`${where}: '${show(line.slice(end + 1))}' stands after the section name`)
  }
  const name = line.slice(1, end)
  if (trim(name) === '') throw new UserError(`${where}: a section needs a name`)
  if (chain.length > 1) {
    throw new UserError(`${where}: [${show(name)}]: an included file may not contain sections`)
  }
  reading.sections.push({ name, global: name.startsWith('global'), where, options: [] })
}

function include(written: string, where: string, chain: readonly string[], reading: Reading): void {
  const file = trim(substituteEnv(written, reading.source.env))
  if (file === '') throw new UserError(`${where}: include needs a file name`)
  const beside = besides(chain.at(-1)!, file)
  const [path, text] = readFirst(file, beside, where, reading.source)
  if (chain.includes(path)) {
    throw new UserError(`${where}: include ${file}: the file includes itself`)
  }
  if (chain.length > MAX_INCLUDE_DEPTH) {
    throw new UserError(`${where}: include ${file}: more than ${MAX_INCLUDE_DEPTH} levels deep`)
  }
  readLines(path, text, [...chain, path], reading)
}

/** `file` in the folder of `from`. */
function besides(from: string, file: string): string {
  const slash = from.lastIndexOf('/')
  return slash < 0 || file.startsWith('/') ? file : from.slice(0, slash + 1) + file
}

/** The path as given, then beside the including file. */
function readFirst(
  file: string,
  beside: string,
  where: string,
  source: JobFileSource,
): [path: string, text: string] {
  let why = MISSING
  for (const path of new Set([file, beside])) {
    let bytes: Uint8Array
    try {
      bytes = source.readFile(path)
    } catch (error) {
      if (why === MISSING) why = whyUnreadable(error)
      continue
    }
    return [path, readText(path, () => bytes)]
  }
  throw new UserError(`${where}: include ${file}: ${why}`)
}

function readOption(line: string, where: string, reading: Reading): RawOption {
  const equals = line.indexOf('=')
  if (equals < 0) return { key: line, value: null, where }
  const key = trim(line.slice(0, equals))
  if (key === '') throw new UserError(`${where}: '${show(line)}' has no option name`)
  const after = line.slice(equals + 1)
  const written = trim(after)
  if (written !== after) {
    reading.notes.warn(
      `${where}: ${key}: the blank after '=' is left out (fio would misread units)`,
    )
  }
  const value = substituteKeywords(substituteEnv(written, reading.source.env), reading.source)
  return value === written ? { key, value, where } : { key, value, where, written }
}

/** `${VAR}` by the environment's value, undefined ones by nothing. An unclosed `${` stays. */
function substituteEnv(text: string, env: JobFileSource['env']): string {
  if (!text.includes('${')) return text
  return text.replace(/\$\{([^}]*)\}/g, (_, name: string) =>
    Object.hasOwn(env, name) ? (env[name] ?? '') : '',
  )
}

function substituteKeywords(text: string, source: JobFileSource): string {
  if (!text.includes('$')) return text
  const numbers = { pagesize: source.pageSize, mb_memory: source.mbMemory, ncpus: source.ncpus }
  let found = false
  const replaced = text.replace(/\$(pagesize|mb_memory|ncpus)(?!\w)/g, (_, name: string) => {
    found = true
    return String(numbers[name as keyof typeof numbers])
  })
  return found ? evaluated(replaced) : text
}

/** The value of whole-number arithmetic, or the text itself when it is something else (`4096,8k`). */
function evaluated(text: string): string {
  try {
    const value = Math.trunc(evaluate(text, () => undefined, 1))
    return Number.isSafeInteger(value) ? String(value) : text
  } catch (error) {
    if (error instanceof BadValue) return text
    throw error
  }
}
