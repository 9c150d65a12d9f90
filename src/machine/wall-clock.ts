// The time of day, for reports only: nothing in the machine depends on it, and virtual time never asks.

/** Milliseconds since 1970. */
export function epochMs(): number {
  return Date.now()
}
