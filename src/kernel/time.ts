// Jiffies and their conversions, after include/linux/jiffies.h and kernel/time/time.c.
//
// Linux counts jiffies in an unsigned long that wraps. Here a jiffy count is a JavaScript number
// that never wraps within its 53 exact bits: at HZ 1000 that is 285,000 years. So a difference is
// exact, its sign is the answer of time_after() and friends, and an expiry far ahead needs no
// special case. What Linux's 64-bit kernels do at 2^32 (jiffies start 300 s below it) stays
// visible, because they start there here as well: any code that cuts a count to 32 bits fails after
// five minutes.
//
//   LONG_MAX               becomes Number.MAX_SAFE_INTEGER
//   MAX_SCHEDULE_TIMEOUT   LONG_MAX: no timeout at all
//   MAX_JIFFY_OFFSET       (LONG_MAX >> 1) - 1: what a negative millisecond count becomes
//
// A file that takes `k` only needs its tick rate here: any kernel will do.

export const NSEC_PER_SEC = 1_000_000_000
export const NSEC_PER_MSEC = 1_000_000
export const NSEC_PER_USEC = 1000
export const MSEC_PER_SEC = 1000
export const USEC_PER_SEC = 1_000_000

export const LONG_MAX: number = Number.MAX_SAFE_INTEGER
export const MAX_SCHEDULE_TIMEOUT: number = LONG_MAX
export const MAX_JIFFY_OFFSET: number = Math.floor(LONG_MAX / 2) - 1

/** Anything that has a tick rate. */
export interface HasHz {
  /** Ticks a second. */
  readonly hz: number
}

/** Length of a jiffy in ns (TICK_NSEC), rounded to the nearest. */
export function tick_nsec(hz: number): number {
  return Math.floor((NSEC_PER_SEC + hz / 2) / hz)
}

/** Where jiffies start: 300 seconds before the 32-bit wrap. */
export function INITIAL_JIFFIES(hz: number): number {
  return 2 ** 32 - 300 * hz
}

export function time_after(a: number, b: number): boolean {
  return b - a < 0
}

export function time_before(a: number, b: number): boolean {
  return a - b < 0
}

export function time_after_eq(a: number, b: number): boolean {
  return a - b >= 0
}

export function time_before_eq(a: number, b: number): boolean {
  return b - a >= 0
}

/** Whether a is in [b, c]. */
export function time_in_range(a: number, b: number, c: number): boolean {
  return time_after_eq(a, b) && time_before_eq(a, c)
}

function scale_up(value: number, hz: number, unit: number): number {
  return Math.floor((value * hz + unit - 1) / unit)
}

/**
 * Milliseconds (an unsigned int) to jiffies, rounded up. Values with the sign bit set mean "very
 * long".
 */
export function msecs_to_jiffies(k: HasHz, m: number): number {
  if ((m | 0) < 0) return MAX_JIFFY_OFFSET
  return scale_up(m, k.hz, MSEC_PER_SEC)
}

/** Microseconds (an unsigned int) to jiffies, rounded up. */
export function usecs_to_jiffies(k: HasHz, u: number): number {
  if ((u | 0) < 0) return MAX_JIFFY_OFFSET
  return scale_up(u, k.hz, USEC_PER_SEC)
}

/** Nanoseconds to jiffies, rounded down. */
export function nsecs_to_jiffies(k: HasHz, n: number): number {
  return Math.floor(n / Math.floor(NSEC_PER_SEC / k.hz))
}

export function jiffies_to_msecs(k: HasHz, j: number): number {
  return Math.floor((j * MSEC_PER_SEC) / k.hz)
}

export function jiffies_to_usecs(k: HasHz, j: number): number {
  return Math.floor((j * USEC_PER_SEC) / k.hz)
}

export function jiffies_to_nsecs(k: HasHz, j: number): number {
  return j * tick_nsec(k.hz)
}
