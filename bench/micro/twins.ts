// The same parts in plain JavaScript, as one would write them without a core: typed arrays, numbers, no atomics. What the
// core does beside (hints for each CPU, atomic words where threads share them) the twins do as far as one thread needs it.

import { describedLoop, type Loop } from './loops.js'

/** A cheap generator of 32 bits. */
class Step {
  #x = 0x9e3779b9

  next(): number {
    let x = this.#x
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#x = x
    return x >>> 0
  }
}

/** A bitmap of 32-bit words with a hint. */
class Bitmap {
  readonly #words: Int32Array
  readonly #depth: number
  #hint = 0

  constructor(depth: number) {
    this.#depth = depth
    this.#words = new Int32Array(Math.ceil(depth / 32))
  }

  get(): number {
    const words = this.#words.length
    let index = this.#hint >>> 5
    let mask = -1 << (this.#hint & 31)
    for (let i = 0; i <= words; i++) {
      const free = ~this.#words[index]! & mask
      if (free !== 0) {
        const bit = 31 - Math.clz32(free & -free)
        const nr = index * 32 + bit
        if (nr < this.#depth) {
          this.#words[index]! |= 1 << bit
          this.#hint = nr + 1 < this.#depth ? nr + 1 : 0
          return nr
        }
      }
      mask = -1
      if (++index === words) index = 0
    }
    return -1
  }

  clear(nr: number): void {
    this.#words[nr >>> 5]! &= ~(1 << (nr & 31))
    this.#hint = nr
  }
}

/** A random held bit is freed, then one is taken. */
export function bitmapTwin(depth: number, held: number): Loop {
  const map = new Bitmap(depth)
  const list = Int32Array.from({ length: held }, () => map.get())
  const step = new Step()
  return ops => {
    for (let n = 0; n < ops; n++) {
      const at = Math.floor((step.next() / 2 ** 32) * held)
      map.clear(list[at]!)
      list[at] = map.get()
    }
  }
}

/** What threads share of a bitmap in plain JavaScript. */
export function sharedWords(depth: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(Math.ceil(depth / 32) * 4))
}

/** As bitmapTwin, by one of `threads` on the same words: bits are taken and freed atomically. */
export function sharedBitmapTwin(words: Int32Array, held: number, thread: number): Loop {
  const depth = words.length * 32
  let hint = Math.floor((thread * held) % depth)
  const take = (): number => {
    for (;;) {
      let index = hint >>> 5
      for (let i = 0; i <= words.length; i++) {
        const free = ~Atomics.load(words, index)
        const bit = free & -free
        if (free !== 0 && !(Atomics.or(words, index, bit) & bit)) {
          const nr = index * 32 + 31 - Math.clz32(bit)
          hint = nr + 1 < depth ? nr + 1 : 0
          return nr
        }
        if (++index === words.length) index = 0
      }
    }
  }
  const list = Int32Array.from({ length: held }, take)
  const step = new Step()
  return ops => {
    for (let n = 0; n < ops; n++) {
      const at = Math.floor((step.next() / 2 ** 32) * held)
      const nr = list[at]!
      Atomics.and(words, nr >>> 5, ~(1 << (nr & 31)))
      hint = nr
      list[at] = take()
    }
  }
}

/** A bit is taken and given back, or the oldest of `held` is given back before one is taken. */
export function tagTwin(depth: number, held: number): Loop {
  const map = new Bitmap(depth)
  const list = Int32Array.from({ length: held }, () => map.get())
  let oldest = 0
  return ops => {
    for (let n = 0; n < ops; n++) {
      if (held === 0) {
        map.clear(map.get())
        continue
      }
      map.clear(list[oldest]!)
      list[oldest] = map.get()
      if (++oldest === held) oldest = 0
    }
  }
}

/** A submission queue of 64-byte entries and its doorbell. */
export function submissionTwin(entries: number, batch: number): Loop {
  const ring = new Uint32Array(entries * 16)
  const doorbell = new Uint32Array(1)
  let tail = 0
  return ops => {
    for (let n = 0; n < ops; n += batch) {
      for (let i = 0; i < batch; i++) {
        const at = tail * 16
        ring.fill(0, at, at + 16)
        ring[at] = 2 | (i << 16)
        ring[at + 1] = 1
        ring[at + 6] = 4096
        ring[at + 10] = i << 3
        ring[at + 12] = 7
        if (++tail === entries) tail = 0
      }
      doorbell[0] = tail
    }
  }
}

/** Completion entries, found by phase. */
export function completionTwin(entries: number, batch: number): Loop {
  const ring = new Uint32Array(entries * 4)
  const doorbell = new Uint32Array(1)
  let [tail, head, written, phase, sum] = [0, 0, 1, 1, 0]
  return ops => {
    for (let n = 0; n < ops; n += batch) {
      for (let i = 0; i < batch; i++) {
        ring[tail * 4 + 3] = i | (written << 16)
        if (++tail === entries) {
          tail = 0
          written ^= 1
        }
      }
      for (;;) {
        const dw3 = ring[head * 4 + 3]!
        if (((dw3 >>> 16) & 1) !== phase) break
        sum = (sum + (dw3 & 0xffff)) | 0
        if (++head === entries) {
          head = 0
          phase ^= 1
        }
      }
      doorbell[0] = head
    }
  }
}

/** Both, one after the other. */
export function ringsTwin(entries: number, batch: number): Loop {
  const [down, up] = [submissionTwin(entries, batch), completionTwin(entries, batch)]
  return ops => {
    for (let n = 0; n < ops; n += batch) {
      down(batch)
      up(batch)
    }
  }
}

/** Doorbells of 64 queues. */
export function doorbellTwin(dstrd: number, shadow: boolean): Loop {
  const step = 2 << dstrd
  const queues = 64
  const [registers, pages, events] = [0, 1, 2].map(() => new Uint32Array(queues * step)) as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ]
  return ops => {
    let qid = 0
    for (let n = 0; n < ops; n++) {
      const at = qid * step
      if (shadow) {
        const old = pages[at]!
        const now = (old + 1) & 0xffff
        pages[at] = now
        if (((now - events[at]! - 1) & 0xffff) < ((now - old) & 0xffff)) registers[at] = now
      } else registers[at] = n
      if (++qid === queues) qid = 0
    }
  }
}

/** fio's histogram. */
export function histogramTwin(): Loop {
  const buckets = new Uint32Array(1856)
  const step = new Step()
  let [count, sum, squares, min, max] = [0, 0, 0, Number.POSITIVE_INFINITY, 0]
  return ops => {
    for (let n = 0; n < ops; n++) {
      const value = step.next() >>> 18
      const shift = value < 128 ? 0 : 25 - Math.clz32(value)
      const index = value < 128 ? value : (shift + 1) * 64 + ((value >>> shift) & 63)
      buckets[index]!++
      count++
      sum += value
      squares += value * value
      if (value < min) min = value
      if (value > max) max = value
    }
    if (count + sum + squares + min + max === 0) throw new Error('nothing was recorded')
  }
}

/** Each block once, in the order of a linear-feedback shift register, as the core's random map is walked without a map. */
export function randomMapTwin(blocks: number): Loop {
  const taken = new Uint32Array(Math.ceil(blocks / 32))
  const step = new Step()
  let left = blocks
  return ops => {
    for (let n = 0; n < ops; n++) {
      let at = Math.floor((step.next() / 2 ** 32) * blocks)
      while (taken[at >>> 5]! & (1 << (at & 31))) if (++at === blocks) at = 0
      taken[at >>> 5]! |= 1 << (at & 31)
      if (--left === 0) {
        taken.fill(0)
        left = blocks
      }
    }
  }
}

/** Any block, again and again. */
export function uniformTwin(blocks: number): Loop {
  const step = new Step()
  let sum = 0
  return ops => {
    for (let n = 0; n < ops; n++) sum = (sum + Math.floor((step.next() / 2 ** 32) * blocks)) | 0
  }
}

/** Blocks one after the other. */
export function sequentialTwin(blocks: number): Loop {
  let at = 0
  return ops => {
    for (let n = 0; n < ops; n++) if (++at === blocks) at = 0
  }
}

/** Zipf by the approximation that fio uses (Gray et al., "Quickly generating billion-record synthetic databases"). */
export function zipfTwin(blocks: number, theta: number): Loop {
  let zetan = 0
  for (let i = 1; i <= blocks; i++) zetan += i ** -theta
  const zeta2 = 1 + 0.5 ** theta
  const alpha = 1 / (1 - theta)
  const eta = (1 - (2 / blocks) ** (1 - theta)) / (1 - zeta2 / zetan)
  const step = new Step()
  let sum = 0
  return ops => {
    for (let n = 0; n < ops; n++) {
      const u = step.next() / 2 ** 32
      const uz = u * zetan
      const rank =
        uz < 1 ? 1 : uz < zeta2 ? 2 : 1 + Math.floor(blocks * (eta * u - eta + 1) ** alpha)
      sum = (sum + rank) | 0
    }
  }
}

/** Pareto as fio draws it, scattered by a multiplication. */
export function paretoTwin(blocks: number, h: number): Loop {
  const power = Math.log(h) / Math.log(1 - h)
  const step = new Step()
  let sum = 0
  return ops => {
    for (let n = 0; n < ops; n++) {
      const rank = Math.floor(blocks * (step.next() / 2 ** 32) ** power)
      sum = (sum + (Math.imul(rank, 0x9e3779b1) >>> 0)) | 0
    }
  }
}

/** The mean of twelve uniform draws and one as wide as the deviation, scattered likewise. */
export function normalTwin(blocks: number, percent: number): Loop {
  const width = Math.ceil((blocks * percent) / 100)
  const step = new Step()
  let sum = 0
  return ops => {
    for (let n = 0; n < ops; n++) {
      let rank = 0
      for (let i = 0; i < 12; i++) rank += (step.next() / 2 ** 32) * blocks
      rank = Math.floor(rank / 12 + width * (step.next() / 2 ** 32 - 0.5))
      if (rank < 0 || rank >= blocks) rank = blocks >>> 1
      sum = (sum + (Math.imul(rank, 0x9e3779b1) >>> 0)) | 0
    }
  }
}

/** A zone by its share of the accesses, then any block of it; zones are [percent of accesses, percent of blocks]. */
export function zonedTwin(
  blocks: number,
  zones: readonly (readonly [access: number, size: number])[],
): Loop {
  const until = new Float64Array(zones.length)
  const start = new Float64Array(zones.length)
  const length = new Float64Array(zones.length)
  let [access, at] = [0, 0]
  for (const [i, zone] of zones.entries()) {
    access += zone[0] / 100
    until[i] = access
    start[i] = at
    length[i] = (blocks * zone[1]) / 100
    at += length[i]!
  }
  const step = new Step()
  const last = zones.length - 1
  let sum = 0
  return ops => {
    for (let n = 0; n < ops; n++) {
      const r = step.next() / 2 ** 32
      let zone = 0
      while (zone < last && r >= until[zone]!) zone++
      sum = (sum + Math.floor(start[zone]! + (step.next() / 2 ** 32) * length[zone]!)) | 0
    }
  }
}

/** 64 random bits (xoroshiro128++) in halves of 32. */
export function randomTwin(): Loop {
  let [a, b, c, d] = [0x12345678, 0x9abcdef0 | 0, 0x0fedcba9, 0x87654321 | 0]
  let sum = 0
  return ops => {
    for (let n = 0; n < ops; n++) {
      // s1 ^= s0
      c ^= a
      d ^= b
      const lo = ((a >>> 0) + ((c ^ a) >>> 0)) | 0
      sum = (sum + ((lo << 17) | (lo >>> 15))) | 0
      const [e, f] = [(b << 17) | (a >>> 15), (a << 17) | (b >>> 15)]
      a = e ^ c ^ (c << 21)
      b = f ^ d ^ ((d << 21) | (c >>> 11))
      const g = (c << 28) | (d >>> 4)
      d = (d << 28) | (c >>> 4)
      c = g
    }
    if (sum === 0.5) throw new Error('never')
  }
}

function nothing(a: number, b: number): number {
  return a + b
}

/** A call that does nothing, through a variable, as an export is called. */
export function callTwin(): Loop {
  const box: { call: (a: number, b: number) => number } = { call: nothing }
  return ops => {
    let sum = 0
    for (let i = 0; i < ops; i++) sum = box.call(sum, 1)
    if (sum !== ops) throw new Error(`${sum} of ${ops} calls`)
  }
}

/** A call with a BigInt. */
export function bigCallTwin(): Loop {
  const box = { call: (a: bigint, b: bigint): bigint => a + b }
  return ops => {
    let sum = 0n
    for (let i = 0; i < ops; i++) sum = box.call(sum, BigInt(i & 1))
    if (sum !== BigInt(ops >> 1)) throw new Error(`${sum} of ${ops} calls`)
  }
}

/** Descriptors in a typed array, read by a function. */
export function describedTwin(batch: number): Loop {
  const words = new Uint32Array(batch * 4)
  return describedLoop(words, batch, count => {
    let sum = 0
    for (let i = 0; i < count * 4; i += 4) sum += words[i]! + words[i + 2]! + words[i + 3]!
    return sum
  })
}
