// Baselines of exact metrics: one JSON file for each job file, meant to be kept in the repository.
//
//   { schema, fingerprint, values: { benchmark: { metric: value } } }
//
// One line for each metric, so that a change of the baseline can be read in a review. A file of another form, of another job or
// with metrics that nobody knows is refused, not ignored.

import { basename, join } from 'node:path'
import { UserError } from '../core/errors.js'
import { EXACT_METRICS, type ExactValues } from './exact.js'
import { requireSame } from './fingerprint.js'
import { isRecord, readJsonFile } from './json-file.js'
import type { Fingerprint } from './types.js'

export const BASELINE_SCHEMA = 'phasebit-gate-baseline/1'

/** Where the baseline of a job file is. */
export function baselinePath(folder: string, jobFile: string): string {
  return join(folder, `${basename(jobFile).replace(/\.fio$/, '')}.exact.json`)
}

/** The text of a baseline file. */
export function baselineText(fingerprint: Fingerprint, values: ExactValues): string {
  return `${JSON.stringify({ schema: BASELINE_SCHEMA, fingerprint, values }, null, 2)}\n`
}

/**
 * Reads a baseline.
 * @returns null when there is no file
 * @throws UserError when it is damaged, foreign, made of another job, or holds unknown metrics
 */
export function readBaseline(path: string, fingerprint: Fingerprint): ExactValues | null {
  const json = readJsonFile(path, 'baseline')
  if (json === null) return null
  if (!isRecord(json) || json['schema'] !== BASELINE_SCHEMA)
    throw new UserError(`${path}: is no ${BASELINE_SCHEMA} file`)
  if (!isTexts(json['fingerprint'])) throw new UserError(`${path}: has no fingerprint`)
  requireSame(
    json['fingerprint'],
    fingerprint,
    [path, 'this run'],
    '; --update writes the baseline anew',
  )
  return checkedValues(path, json['values'])
}

function isTexts(value: unknown): value is Fingerprint {
  return isRecord(value) && Object.values(value).every(one => typeof one === 'string')
}

function checkedValues(path: string, values: unknown): ExactValues {
  if (!isRecord(values) || Object.keys(values).length === 0)
    throw new UserError(`${path}: holds no values`)
  for (const [benchmark, metrics] of Object.entries(values)) {
    if (!isRecord(metrics)) throw new UserError(`${path}: ${benchmark}: no metrics`)
    for (const [metric, value] of Object.entries(metrics)) {
      if (!EXACT_METRICS.includes(metric))
        throw new UserError(`${path}: ${benchmark}: unknown metric ${JSON.stringify(metric)}`)
      if (typeof value !== 'number' && typeof value !== 'string')
        throw new UserError(`${path}: ${benchmark}: ${metric} is neither a number nor a text`)
    }
  }
  return values as ExactValues
}
