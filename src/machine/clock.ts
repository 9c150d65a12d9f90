// The machine's real clock: nanoseconds since boot, the same on every thread.
//
// performance.now is the cheapest clock there is (45 to 60 ns a read), but whether a worker's counts from the process's
// start or from its own depends on the version of Node. Where the origins are the same, every thread adds the same
// number and the clocks agree to the bit. Where they are not, a thread measures once how far its own is from
// process.hrtime, which counts from one point everywhere, and keeps the pair that was read fastest.

import { performance } from 'node:perf_hooks'

const PAIRS = 9

/**
 * Whether all CPUs of a machine share one thread in real time: it has a kernel, whose objects cannot be shared by threads.
 */
export function sharesThread(config: {
  readonly clock: 'real' | 'virtual'
  readonly kernel?: object
}): boolean {
  return config.clock === 'real' && config.kernel !== undefined
}

/** What the threads of one machine agree on; plain data, sent to workers. */
export interface ClockOrigin {
  /** performance.timeOrigin of the thread that booted, and what it adds to its performance.now() * 1e6. */
  readonly timeOrigin: number
  readonly shiftNs: number
  /** process.hrtime at boot, ns. */
  readonly hrtimeNs: number
}

/** Monotonic ns since some point before the process; a double holds it exactly for 104 days of uptime, to 2 ns beyond. */
function hrtimeNs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e9 + nanoseconds
}

/** ns to add to this thread's performance.now() * 1e6 to get hrtimeNs(), exact to half the time of a read. */
function hrtimeOffset(): number {
  let best = Number.POSITIVE_INFINITY
  let offset = 0
  for (let i = 0; i < PAIRS; i++) {
    const before = hrtimeNs()
    const now = performance.now() * 1e6
    const after = hrtimeNs()
    if (after - before >= best) continue
    best = after - before
    offset = (before + after) / 2 - now
  }
  return offset
}

/** Makes this moment the machine's time 0. */
export function clockOrigin(): ClockOrigin {
  return {
    timeOrigin: performance.timeOrigin,
    shiftNs: -performance.now() * 1e6,
    hrtimeNs: hrtimeNs(),
  }
}

/** This thread's reader of the machine's clock, ns. */
export function realClock(origin: ClockOrigin): () => number {
  const same = performance.timeOrigin === origin.timeOrigin
  const shift = same ? origin.shiftNs : hrtimeOffset() - origin.hrtimeNs
  const read = performance.now.bind(performance) // a third cheaper than by the global's getter
  return () => read() * 1e6 + shift
}

/** Number of the tick that `ns` falls into, low 32 bits. */
export function jiffiesAt(ns: number, hz: number): number {
  return Math.floor((ns * hz) / 1e9) >>> 0
}
