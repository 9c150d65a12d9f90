// The whole report of a run as one text: what goes to standard output or to --output.
//
// Several formats in one stream come in fio's order, whatever order was asked for: terse, JSON, normal. Asking for json and
// json+ gives json+ once. The job lines and "Starting N processes" belong to the normal form and come first, as fio prints
// them when the run begins; a caller that has printed them already sets `header` to false.

import { fioJson } from './fio-json.js'
import { normalHeader, normalReport } from './fio-normal.js'
import { fioTerse, type TerseVersion } from './fio-terse.js'
import type { RunResult } from './result.js'

export type OutputFormat = 'normal' | 'json' | 'json+' | 'terse'

export const OUTPUT_FORMATS: readonly OutputFormat[] = ['normal', 'json', 'json+', 'terse']

export interface ReportFormat {
  /** At least one; order does not matter. */
  formats: readonly OutputFormat[]
  /** Default 3. */
  terseVersion?: TerseVersion
  /** Begin the normal form with the job lines. Default true. */
  header?: boolean
}

/** The report in the formats asked for. */
export function formatReport(run: RunResult, format: ReportFormat): string {
  const has = (name: OutputFormat): boolean => format.formats.includes(name)
  const parts: string[] = []
  if (has('normal') && format.header !== false) parts.push(normalHeader(run.jobs))
  if (has('terse')) parts.push(fioTerse(run, format.terseVersion))
  if (has('json') || has('json+')) parts.push(fioJson(run, has('json+')))
  if (has('normal')) parts.push(normalReport(run))
  return parts.join('')
}
