// Fingerprints: the facts that must agree before two sides may be compared.
//
// What differs is refused with both sides printed. A fact that only one side knows is not a difference: an older result may
// lack it, and then it is said that it is unknown.

import { createHash } from 'node:crypto'
import { UserError } from '../core/errors.js'
import type { Fingerprint } from './types.js'

/** A fact that nobody noted. */
export const UNKNOWN = 'unknown'

/** Names of the facts that both sides know and that differ. */
export function differences(a: Fingerprint, b: Fingerprint): string[] {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
  return names.filter(name => {
    const [x, y] = [a[name] ?? UNKNOWN, b[name] ?? UNKNOWN]
    return x !== y && x !== UNKNOWN && y !== UNKNOWN
  })
}

export function sameFacts(a: Fingerprint, b: Fingerprint): boolean {
  return differences(a, b).length === 0
}

/** `name=value` of some facts. */
export function factsText(facts: Fingerprint, names: readonly string[]): string {
  return names.map(name => `${name}=${JSON.stringify(facts[name] ?? UNKNOWN)}`).join(' ')
}

/**
 * Refuses to compare what was not made alike.
 * @param labels what the sides are called in the message
 * @throws UserError that prints what differs on both sides
 */
export function requireSame(
  a: Fingerprint,
  b: Fingerprint,
  labels: readonly [string, string],
  hint: string = '',
): void {
  const names = differences(a, b)
  if (names.length === 0) return
  throw new UserError(
    `cannot compare, the fingerprints differ: ${labels[0]} has ${factsText(a, names)}, ` +
      `${labels[1]} has ${factsText(b, names)}${hint}`,
  )
}

/** A short name for facts, the same everywhere. */
export function fingerprintName(facts: Fingerprint): string {
  const text = JSON.stringify(Object.entries(facts).sort(([a], [b]) => (a < b ? -1 : 1)))
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
