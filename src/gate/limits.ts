// Limits for each benchmark: what --calibrate stores, and what later runs read.
//
//   L = max(2 %, 3 x standard deviation of base against base)
//
// The deviation is that of what is decided by, the statistic over all processes of a run, not that of one process. Calibration
// takes more processes than a run, to know it better; the deviation is then that of fewer.
//
// A limit belongs to the machine it was found on. On another one it does not apply, and the default does.

import { UserError } from '../core/errors.js'
import { sameFacts } from './fingerprint.js'
import type { Judgement } from './judge.js'
import { isRecord, readJsonFile } from './json-file.js'
import type { Fingerprint } from './types.js'

export const DEFAULT_LIMIT = 0.05
const SMALLEST = 0.02
const LARGEST = 0.5

export const LIMITS_SCHEMA = 'phasebit-gate-limits/1'

/** What the file holds. */
export interface Limits {
  readonly schema: typeof LIMITS_SCHEMA
  readonly fingerprint: Fingerprint
  /** Shares by benchmark, 0.02 for 2 %. */
  readonly limits: Readonly<Record<string, number>>
}

/** The limit that a scatter asks for, rounded up to a tenth of a percent; at most one half, where a limit means nothing. */
export function limitOf(scatter: number): number {
  return Math.min(LARGEST, Math.max(SMALLEST, Math.ceil(scatter * 3 * 1000) / 1000))
}

/**
 * Limits from self-checks.
 * @param more how many times as many processes the checks had as a run will have
 */
export function calibrated(
  checks: ReadonlyMap<string, Judgement>,
  more: number,
  fingerprint: Fingerprint,
): Limits {
  const limits = [...checks].map(
    ([name, { scatter }]) => [name, limitOf(scatter * Math.sqrt(more))] as const,
  )
  return { schema: LIMITS_SCHEMA, fingerprint, limits: Object.fromEntries(limits) }
}

/**
 * Limits that were stored for a machine like this one.
 * @returns null when there is no file; `foreign` when they were found on another machine
 * @throws UserError when the file is no such file
 */
export function readLimits(path: string, here: Fingerprint): Limits | 'foreign' | null {
  const json = readJsonFile(path, 'limits')
  if (json === null) return null
  const good =
    isRecord(json) &&
    json['schema'] === LIMITS_SCHEMA &&
    isRecord(json['limits']) &&
    isRecord(json['fingerprint']) &&
    Object.values(json['limits']).every(
      limit => typeof limit === 'number' && limit > 0 && limit < 1,
    )
  if (!good)
    throw new UserError(`${path}: is no ${LIMITS_SCHEMA} file; remove it or calibrate again`)
  const limits = json as unknown as Limits
  return sameFacts(limits.fingerprint, here) ? limits : 'foreign'
}
