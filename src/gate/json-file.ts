// JSON files as the gate reads them: somebody else's, perhaps cut off, perhaps not what their name says.

import { readFileSync } from 'node:fs'
import { UserError } from '../core/errors.js'

/** An object of JSON, not yet known to be anything in particular. */
export type JsonRecord = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member that is a finite number, else NaN. */
export function numberOf(record: JsonRecord, key: string): number {
  const value = record[key]
  return typeof value === 'number' && Number.isFinite(value) ? value : Number.NaN
}

/** Why a file cannot be read, for the end of a line. */
export function readProblem(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EISDIR') return 'is a folder'
  if (code === 'EACCES') return 'permission denied'
  return error instanceof Error ? error.message : String(error)
}

/** Text of a file. @throws UserError */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new UserError(`${path}: ${readProblem(error)}`)
  }
}

/**
 * What a JSON file says; null when there is no such file.
 * @param what for the message, such as `baseline`
 * @throws UserError when it cannot be read, is empty or is no JSON
 */
export function readJsonFile(path: string, what: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new UserError(`${path}: ${readProblem(error)}`)
  }
  return parseJson(path, text, what)
}

/** @throws UserError that says whether the text is empty, cut off or something else */
export function parseJson(path: string, text: string, what: string): unknown {
  if (text.trim() === '') throw new UserError(`${path}: is empty, not a ${what} file`)
  try {
    return JSON.parse(text) as unknown
  } catch {
    const cut = /^\s*[{[]/.test(text) && !/[}\]]\s*$/.test(text)
    throw new UserError(`${path}: ${cut ? 'is cut off' : 'is no JSON'}; a ${what} file is expected`)
  }
}
