// The timer wheel's buckets, after kernel/time/timer.c.
//
// Each CPU has two wheels, one for deferrable timers. A wheel has 9 levels (8 if HZ is at most 100)
// of 64 buckets; a bucket of level n stands for 8^n jiffies. A timer is put by the distance of its
// expiry from the wheel's clock:
//
//   level    distance (jiffies)        granularity
//     0              0 ..        62            1
//     1             63 ..       503            8
//     2            504 ..      4031           64
//     3           4032 ..     32255          512
//     4          32256 ..    258047         4096
//     5         258048 ..   2064383        32768
//     6        2064384 ..  16515071       262144
//     7       16515072 .. 132120575      2097152
//     8      132120576 .. 1056964607    16777216
//
// in the bucket after the one its expiry falls into: it fires in (expires, expires + 8^n], never
// early, and never moves. So arming, cancelling and a tick cost the same with ten timers and with a
// million: a bucket is a doubly linked list through the timers, and a bit per bucket tells which
// are not empty.
//
// 4.19's clamp of the far end is kept as it is: on the last level the absolute expiry is compared
// with the cutoff and replaced by the absolute maximum. Jiffies start above it, so all timers of
// that level share bucket 8*64+63.
//
// With `timer=exact` a timer is put in the bucket its expiry falls into, and when that bucket's
// turn comes it moves to a finer level, at most eight times, until it fires exactly at its expiry.
// For tests whose arithmetic leaves out the rounding.
//
// Jiffies have up to 53 bits and bit operators 32. A bucket's number needs bits 0 to 29 of a jiffy
// count only, which `>>> 0` keeps.

import { BUG } from './bug.js'
import type { Cpu } from './core.js'
import type { SoftirqKernel } from './softirq.js'

const LVL_CLK_SHIFT = 3
const LVL_BITS = 6
const LVL_SIZE: number = 1 << LVL_BITS
const LVL_MASK: number = LVL_SIZE - 1
const LVL_DEPTH_MAX = 9

/** 8^level: jiffies per bucket. */
export function LVL_GRAN(level: number): number {
  return 2 ** (LVL_CLK_SHIFT * level)
}

/** The shortest distance of a level's timers. */
export function LVL_START(level: number): number {
  return level === 0 ? 0 : (LVL_SIZE - 1) * LVL_GRAN(level - 1)
}

const GRAN: readonly number[] = Array.from({ length: LVL_DEPTH_MAX }, (_, n) => LVL_GRAN(n))
const START: readonly number[] = Array.from({ length: LVL_DEPTH_MAX + 1 }, (_, n) => LVL_START(n))

export const TIMER_DEFERRABLE = 0x80000
export const TIMER_PINNED = 0x100000
export const TIMER_IRQSAFE = 0x200000

/** A place in a bucket's circular list: a timer, or the list's head. */
class wheel_node {
  next: wheel_node = this
  prev: wheel_node = this
}

function unlink(node: wheel_node): void {
  node.prev.next = node.next
  node.next.prev = node.prev
  node.next = node
  node.prev = node
}

/** Links `node` right behind `head`. */
function link_first(node: wheel_node, head: wheel_node): void {
  node.next = head.next
  node.prev = head
  head.next.prev = node
  head.next = node
}

/** Moves a whole list to an empty head. */
function move_list(from: wheel_node, to: wheel_node): void {
  if (from.next === from) return
  to.next = from.next
  to.prev = from.prev
  to.next.prev = to
  to.prev.next = to
  from.next = from
  from.prev = from
}

/**
 * A timer's function. A method signature, so that a timer of any container counts as a
 * `timer_list`.
 */
export type TimerFn<T> = { bivariant(timer: timer_list<T>): void }['bivariant']

/** A timer. `container` is what it is embedded in (Linux: from_timer). */
export class timer_list<T = unknown> extends wheel_node {
  readonly k: TimerKernel
  readonly container: T
  /** Jiffy at or after which it fires. */
  expires = 0
  function: TimerFn<T> | null = null
  flags = 0
  /** Bucket, or -1 when not pending. */
  idx = -1
  base: timer_base | null = null

  constructor(k: TimerKernel, container: T) {
    super()
    this.k = k
    this.container = container
  }
}

/** What the wheels add to a kernel. */
export interface TimerKernel extends SoftirqKernel {
  /** Per CPU: the standard wheel and the one of deferrable timers. */
  readonly timer_bases: readonly { readonly std: timer_base; readonly def: timer_base }[]
}

/**
 * The earliest expiry of the wheels that have it in common, as last found: a machine asks for it at every event, and looking
 * at the wheels of 64 CPUs each time would take longer than the event.
 */
export class first_expiry {
  jiffy: number = Number.POSITIVE_INFINITY
  /** The earliest bucket of some wheel has gone: they have to be looked at. */
  stale = false
}

/** One wheel. */
export class timer_base {
  readonly cpu: Cpu
  readonly first: first_expiry
  readonly depth: number
  readonly exact: boolean
  /** The first jiffy that has not been processed. */
  clk: number
  running_timer: timer_list | null = null
  /** Set while expired timers run: the clock is not forwarded then. */
  busy = false
  /** Pending timers. */
  count = 0
  #next_expiry: number = Number.POSITIVE_INFINITY
  #next_stale = false
  readonly #pending_map: Uint32Array = new Uint32Array((LVL_DEPTH_MAX * LVL_SIZE) / 32)
  /** Made when a timer comes: most buckets of most CPUs never see one. */
  readonly #vectors: wheel_node[] = []
  readonly #expired: wheel_node[] = []

  constructor(
    cpu: Cpu,
    hz: number,
    clk: number,
    exact: boolean,
    first: first_expiry = new first_expiry(),
  ) {
    this.cpu = cpu
    this.first = first
    this.depth = hz > 100 ? LVL_DEPTH_MAX : LVL_DEPTH_MAX - 1
    this.clk = clk
    this.exact = exact
  }

  /** Jiffy of the earliest bucket with timers; infinity if there is none. */
  get next_expiry(): number {
    if (this.#next_stale) {
      this.#next_stale = false
      this.#next_expiry = this.__next_timer_interrupt()
    }
    return this.#next_expiry
  }

  /** The bucket for an expiry, seen from a clock value. */
  calc_wheel_index(expires: number, clk: number): number {
    const delta = expires - clk
    if (delta < 0) return clk & LVL_MASK
    let level = 0
    while (level < this.depth - 1 && delta >= START[level + 1]) level++
    if (this.exact) return this.#exact_index(expires, level, clk)
    if (level === this.depth - 1 && expires >= START[this.depth]) {
      expires = START[this.depth] - GRAN[this.depth - 1]
    }
    return calc_index(expires + GRAN[level], level)
  }

  #exact_index(expires: number, level: number, clk: number): number {
    const last = clk + START[this.depth] - 1
    return calc_index(Math.min(expires, last), level)
  }

  /** The jiffy at which a bucket's turn comes, seen from the wheel's clock. */
  bucket_expiry(idx: number): number {
    const level = idx >>> LVL_BITS
    const clk = Math.ceil(this.clk / GRAN[level])
    return (clk + ((idx - clk) & LVL_MASK)) * GRAN[level]
  }

  enqueue_timer(timer: timer_list, idx: number): void {
    link_first(timer, (this.#vectors[idx] ??= new wheel_node()))
    this.#pending_map[idx >>> 5] |= 1 << (idx & 31)
    timer.idx = idx
    timer.base = this
    this.count++
    if (this.#next_stale) return
    const expiry = this.bucket_expiry(idx)
    if (expiry < this.#next_expiry) this.#next_expiry = expiry
    if (expiry < this.first.jiffy) this.first.jiffy = expiry
  }

  /** The earliest bucket may have gone. */
  #look_again(): void {
    this.#next_stale = true
    this.first.stale = true
  }

  /** Takes a pending timer out of its bucket, or off the list of those about to run. */
  detach_timer(timer: timer_list): void {
    const idx = timer.idx
    unlink(timer)
    timer.idx = -1
    this.count--
    const bucket = this.#vectors[idx]
    if (bucket.next !== bucket) return
    this.#pending_map[idx >>> 5] &= ~(1 << (idx & 31))
    this.#look_again()
  }

  /** Searches the bits of each level for the first bucket at or after the clock. */
  __next_timer_interrupt(): number {
    let next = Number.POSITIVE_INFINITY
    for (let level = 0; level < this.depth; level++) {
      const clk = Math.ceil(this.clk / GRAN[level])
      const distance = this.#next_pending_bucket(level, clk & LVL_MASK)
      if (distance >= 0) next = Math.min(next, (clk + distance) * GRAN[level])
    }
    return next
  }

  /**
   * Distance from bucket `start` of a level to the next one with timers, going round; -1 if the
   * level is empty.
   */
  #next_pending_bucket(level: number, start: number): number {
    const low = this.#pending_map[2 * level]
    const high = this.#pending_map[2 * level + 1]
    if ((low | high) === 0) return -1
    let found: number
    if (start < 32) found = find_bit(low & (-1 << start), high)
    else found = find_bit(0, high & (-1 << (start - 32)))
    if (found < 0) found = find_bit(low, high)
    return (found - start) & LVL_MASK
  }

  /**
   * If nothing was due for a while (an idle CPU), brings the clock up to now before a timer is
   * placed.
   */
  forward_timer_base(jiffies: number): void {
    if (this.busy || jiffies - this.clk < 2) return
    this.clk = Math.min(jiffies, this.next_expiry)
  }

  /**
   * Sets the clock to the next bucket that is due at `jiffies` and moves the timers of all buckets
   * due then to the expired lists. Returns how many lists there are (the last is the highest
   * level's), or -1 if none is due.
   */
  collect_expired_timers(jiffies: number): number {
    const next = this.next_expiry
    if (next > jiffies) {
      this.clk = Math.max(this.clk, jiffies + 1)
      return -1
    }
    this.clk = next
    this.#look_again()
    const due: number[] = []
    let clk = next
    for (let level = 0; level < this.depth; level++) {
      const idx = (clk & LVL_MASK) + level * LVL_SIZE
      if ((this.#pending_map[idx >>> 5] & (1 << (idx & 31))) !== 0) due.push(idx)
      if (clk % GRAN[1] !== 0) break
      clk /= GRAN[1]
    }
    if (this.exact) this.#cascade(due)
    due.forEach((idx, i) => {
      this.#pending_map[idx >>> 5] &= ~(1 << (idx & 31))
      move_list(this.#vectors[idx], (this.#expired[i] ??= new wheel_node()))
    })
    this.clk++
    return due.length
  }

  /**
   * `timer=exact` only: spreads the coarse buckets that are due over finer ones, then leaves level
   * 0 as the one that is due.
   */
  #cascade(due: number[]): void {
    while (due.length > 0 && due[due.length - 1] >= LVL_SIZE) {
      const bucket = this.#vectors[due.pop()!]
      while (bucket.next !== bucket) {
        const timer = as_timer(bucket.next)
        this.detach_timer(timer)
        const idx = this.calc_wheel_index(timer.expires, this.clk)
        this.enqueue_timer(timer, idx)
        if (idx < LVL_SIZE && timer.expires === this.clk && !due.includes(idx)) due.unshift(idx)
      }
    }
  }

  /** The first timer of an expired list, still pending; null if the list is empty. */
  first_expired(list: number): timer_list | null {
    const head = this.#expired[list]
    return head.next === head ? null : as_timer(head.next)
  }

  /** Every pending timer, in no particular order. */
  timers(): timer_list[] {
    const found: timer_list[] = []
    for (const head of [...this.#vectors, ...this.#expired].filter(Boolean)) {
      for (let node = head.next; node !== head; node = node.next) found.push(as_timer(node))
    }
    return found
  }
}

/** Bucket of a level for a jiffy count. */
export function calc_index(expires: number, level: number): number {
  return level * LVL_SIZE + (((expires >>> 0) >>> (LVL_CLK_SHIFT * level)) & LVL_MASK)
}

/** The lowest bit set in 64 bits given as two halves; -1 if none is. */
function find_bit(low: number, high: number): number {
  if (low !== 0) return 31 - Math.clz32(low & -low)
  if (high !== 0) return 63 - Math.clz32(high & -high)
  return -1
}

function as_timer(node: wheel_node): timer_list {
  return node instanceof timer_list ? node : BUG('a bucket of the timer wheel holds no timer')
}
