// Typed views over the shared memory, read and written by byte address.
//
// The views are made once for each thread; the memory never grows, so they stay valid. Addresses must be aligned to
// their type. A u64 is a number here: exact up to 2^53, which is 104 days of nanoseconds and all the counts there are;
// 2^63 ("no limit") is exact as well, being a power of two.

const TWO_32 = 2 ** 32

/** Reads and writes fields of the shared memory. */
export class View {
  readonly buffer: SharedArrayBuffer
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  readonly ints: Int32Array
  readonly doubles: Float64Array

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    this.bytes = new Uint8Array(buffer)
    this.words = new Uint32Array(buffer)
    this.ints = new Int32Array(buffer)
    this.doubles = new Float64Array(buffer)
  }

  u32(address: number): number {
    return this.words[address >>> 2]!
  }

  setU32(address: number, value: number): void {
    this.words[address >>> 2] = value
  }

  i32(address: number): number {
    return this.ints[address >>> 2]!
  }

  /** A u64 that another thread may be counting up: read again until the high half stood still. */
  u64(address: number): number {
    const i = address >>> 2
    let high = this.words[i + 1]!
    for (;;) {
      const low = this.words[i]!
      const again = this.words[i + 1]!
      if (again === high) return high * TWO_32 + low
      high = again
    }
  }

  /** @param value a whole number, 0 to 2^64 - 1 */
  setU64(address: number, value: number): void {
    const i = address >>> 2
    if (value < TWO_32) {
      this.words[i] = value
      this.words[i + 1] = 0
      return
    }
    const high = Math.floor(value / TWO_32)
    this.words[i] = value - high * TWO_32
    this.words[i + 1] = high
  }

  /** 2^64 - 1: the time that never comes. */
  setNever(address: number): void {
    this.words.fill(0xffffffff, address >>> 2, (address >>> 2) + 2)
  }

  f64(address: number): number {
    return this.doubles[address / 8]!
  }

  setF64(address: number, value: number): void {
    this.doubles[address / 8] = value
  }

  /** Atomic load: sees what the thread that stored it wrote before. */
  load(address: number): number {
    return Atomics.load(this.words, address >>> 2)
  }

  /** Atomic store: publishes everything written before. */
  store(address: number, value: number): void {
    Atomics.store(this.words, address >>> 2, value)
  }

  /** Atomic exchange; returns the old value. */
  exchange(address: number, value: number): number {
    return Atomics.exchange(this.words, address >>> 2, value)
  }

  /** Atomic addition; returns the old value. */
  add(address: number, value: number): number {
    return Atomics.add(this.words, address >>> 2, value)
  }

  /**
   * Sleeps until somebody notifies the word, unless it has changed from `seen` already.
   * @param timeoutMs Infinity = no limit
   */
  wait(address: number, seen: number, timeoutMs: number): 'ok' | 'not-equal' | 'timed-out' {
    return Atomics.wait(this.ints, address >>> 2, seen | 0, timeoutMs)
  }

  /** Wakes every thread that sleeps on the word; returns how many. */
  notify(address: number): number {
    return Atomics.notify(this.ints, address >>> 2)
  }

  fill(address: number, bytes: number, value: number): void {
    this.bytes.fill(value, address, address + bytes)
  }
}
