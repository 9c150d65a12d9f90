// History mode: a build alone, compared with what the same machine stored before. Advisory, it never fails: other moments of a
// machine are other weather.
//
//   DIR/history/FINGERPRINT.ndjson    one line for each run: { schema, version, core, rates: { benchmark: rate } }
//
// Only runs with the same fingerprint are in one file.

import { join } from 'node:path'
import { UserError } from '../core/errors.js'
import { fingerprintName } from './fingerprint.js'
import { isRecord, parseJson } from './json-file.js'
import { ascending, quantile } from './stats.js'
import { blankResult, type Fingerprint, type GateResult } from './types.js'

export const HISTORY_SCHEMA = 'phasebit-gate-history/1'

/** One run. */
export interface HistoryEntry {
  readonly schema: typeof HISTORY_SCHEMA
  readonly version: string
  readonly core: string
  /** Operations a second by benchmark: the median over processes. */
  readonly rates: Readonly<Record<string, number>>
}

export function historyPath(folder: string, fingerprint: Fingerprint): string {
  return join(folder, 'history', `${fingerprintName(fingerprint)}.ndjson`)
}

/** @throws UserError for a line that is damaged or foreign */
export function parseHistory(path: string, text: string): HistoryEntry[] {
  const lines = text.split('\n').filter(line => line.trim() !== '')
  return lines.map((line, i) => {
    const entry = parseJson(`${path}:${i + 1}`, line, 'history')
    const good =
      isRecord(entry) &&
      entry['schema'] === HISTORY_SCHEMA &&
      isRecord(entry['rates']) &&
      Object.values(entry['rates']).every(rate => typeof rate === 'number' && rate > 0)
    if (!good) throw new UserError(`${path}:${i + 1}: is no ${HISTORY_SCHEMA} entry`)
    return entry as unknown as HistoryEntry
  })
}

/** A rate among those that were stored. */
export function compareHistory(
  benchmark: string,
  per: string,
  samples: readonly number[],
  value: number,
  before: readonly HistoryEntry[],
): GateResult {
  const stored = before.map(entry => entry.rates[benchmark]).filter(rate => rate !== undefined)
  const blank = {
    ...blankResult(benchmark, 'rate', `${per}/s`, 'higher'),
    head: { value, samples },
  }
  if (stored.length === 0)
    return { ...blank, verdict: 'new', notes: ['nothing stored about this machine yet'] }
  const sorted = ascending(stored)
  const middle = quantile(sorted, 0.5)
  const below = stored.filter(rate => rate < value).length
  return {
    ...blank,
    gated: false,
    verdict: 'advisory',
    base: { value: middle, samples: stored },
    ratio: {
      estimate: value / middle,
      lo: value / quantile(sorted, 0.95),
      hi: value / quantile(sorted, 0.05),
    },
    notes: [`above ${below} of ${stored.length} stored runs of this machine`],
  }
}
