// A verify job against a disk that may lose, tear or misplace a write: writes complete in any order, are read back at the
// end or behind the writer, and nothing but the injected fault may be reported.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  JOB_PENDING,
  JOB_VER,
  JV_CHECKED,
  JV_ERRORS,
  JV_INTERVAL,
  JV_NEXT_NUMBER,
  VERIFY_ZEROES,
} from '../../../assembly/layout.js'
import { Prng } from '../../../src/core/prng.js'
import { type Ask, type Io, JOB, KiB, NO_VERIFY, Rig } from './rig.js'

const V = JOB + JOB_VER

interface InFlight extends Io {
  readonly number: number
  readonly data: Uint8Array | null
}

type Fault = 'none' | 'lose' | 'tear' | 'misplace'

/** A job, a disk, and what is in flight between them. */
class Bench {
  readonly rig: Rig
  readonly disk: Uint8Array
  readonly chance: Prng
  readonly flight: InFlight[] = []
  readonly bad: number[] = []
  /** Blocks read back. */
  readonly seen: Io[] = []
  fault: Fault = 'none'
  /** The write that meets the fault. */
  victim = -1

  constructor(ask: Ask, seed: number) {
    const verify = { ...(ask.verify ?? NO_VERIFY), method: 'crc32c' as const }
    this.rig = new Rig({ ...ask, verify })
    this.disk = new Uint8Array(
      this.rig.params.files.reduce((end, f) => Math.max(end, f.base + f.size), 0),
    )
    this.chance = new Prng(seed)
  }

  /** Ends one I/O in flight, picked at random; writes may end in any order. */
  end(): void {
    const [io] = this.flight.splice(this.chance.below(this.flight.length), 1)
    if (!io) throw new Error('nothing is in flight')
    if (io.ddir === 0) this.endRead(io)
    else this.endWrite(io)
  }

  endWrite(io: InFlight): void {
    this.apply(io)
    this.rig.core.verify_write_done(JOB, io.file, BigInt(io.disk), io.len, io.number, 1)
  }

  apply(io: InFlight): void {
    const hit = io.number === this.victim
    if (hit && this.fault === 'lose') return
    if (!io.data) this.disk.fill(0, io.disk, io.disk + io.len)
    else if (hit && this.fault === 'tear') this.disk.set(io.data.subarray(0, io.len - 512), io.disk)
    else if (hit && this.fault === 'misplace') this.disk.set(io.data, io.disk ? 0 : io.len)
    else this.disk.set(io.data, io.disk)
  }

  endRead(io: InFlight): void {
    const { core, view, buffer } = this.rig
    view.bytes.set(this.disk.subarray(io.disk, io.disk + io.len), buffer)
    const why = core.verify_check(JOB, io.file, buffer, BigInt(io.disk), io.len, io.number)
    if (why) this.bad.push(why)
  }

  /** Issues a write or a trim; waits while another touches the same bytes. */
  write(io: Io): void {
    const { core, view, buffer } = this.rig
    const trim = io.ddir === 2
    const number = trim ? VERIFY_ZEROES : core.verify_number(JOB)
    while (core.verify_busy(JOB, io.file, BigInt(io.disk), io.len)) this.end()
    core.verify_note_write(JOB, io.file, BigInt(io.disk), io.len, number)
    if (!trim) core.verify_fill(JOB, buffer, BigInt(io.disk), io.len, number)
    const data = trim ? null : view.bytes.slice(buffer, buffer + io.len)
    this.flight.push({ ...io, number, data })
  }

  /** Issues the reads that are due. */
  readBack(depth: number): void {
    while (this.rig.core.verify_next(JOB)) {
      const io = this.rig.chosen()
      this.seen.push(io)
      this.flight.push({ ...io, number: this.rig.view.u32(V + JV_NEXT_NUMBER), data: null })
      while (this.flight.length >= depth) this.end()
    }
  }

  /** The whole job: `writes` writes with `depth` in flight, then everything read back. */
  run(writes: number, depth: number): this {
    for (let i = 0; i < writes; i++) {
      let io = this.rig.next()
      if (!io) {
        this.rig.core.gen_restart(JOB)
        io = this.rig.next()!
      }
      if (io.ddir !== 0) this.write(io)
      while (this.flight.length >= depth) this.end()
      this.readBack(depth)
    }
    while (this.flight.length) this.end()
    this.rig.core.verify_begin(JOB)
    this.readBack(depth)
    while (this.flight.length) this.end()
    this.rig.core.verify_end(JOB)
    return this
  }

  errors(): number {
    return this.rig.view.u64(V + JV_ERRORS)
  }

  checked(): number {
    return this.rig.view.u64(V + JV_CHECKED) * this.rig.view.u32(V + JV_INTERVAL)
  }
}

const same = (n: number) => [n, n, n] as const

describe('a correct run', () => {
  it('reads back every block once, in the order of offsets', () => {
    const bench = new Bench({ rw: 'randwrite', size: 256 * KiB }, 1).run(64, 8)
    expect(bench.bad).toEqual([])
    expect(bench.checked()).toBe(256 * KiB)
    expect(bench.seen.map(io => io.offset / KiB)).toEqual(
      Array.from({ length: 64 }, (_, i) => 4 * i),
    )
    expect(bench.seen.every(io => io.ddir === 0 && io.len === 4 * KiB)).toBe(true)
  })

  it('reads pieces as they were written, not longer', () => {
    const verify = { ...NO_VERIFY, interval: 512 }
    const bench = new Bench({ rw: 'write', bs: 16 * KiB, size: 256 * KiB, verify }, 1).run(16, 4)
    expect(bench.bad).toEqual([])
    expect(bench.seen.map(io => io.len)).toEqual(new Array(16).fill(16 * KiB))
  })

  it('is good whatever overlaps, in whatever order writes end, at the end or with a backlog', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 1, max: 6 }),
        fc.constantFrom('randwrite', 'write', 'randrw', 'randtrimwrite'),
        fc.boolean(),
        fc.boolean(),
        (seed, depth, backlog, backlogBatch, most, rw, norandommap, verifyZero) => {
          const verify = { ...NO_VERIFY, backlog, backlogBatch }
          const bsMax = same(most * KiB)
          const files = [10, 21].map((kib, i) => ({
            name: `f${i}`,
            disk: '/dev/nvme0n1',
            base: i * 40 * KiB,
            size: kib * KiB,
          }))
          const ask = { rw, seed, norandommap, verify, files, bsMin: same(KiB), bsMax }
          const bench = new Bench({ ...ask, trim: { verifyZero } } as Ask, seed).run(200, depth)
          expect(bench.bad).toEqual([])
          expect(bench.errors()).toBe(0)
          if (rw !== 'randrw') expect(bench.checked()).toBeGreaterThan(0)
        },
      ),
      { numRuns: 150 },
    )
  })

  it('checks everything that stands at the end: nothing escapes by the backlog', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 40 }), (seed, backlog) => {
        const verify = { ...NO_VERIFY, backlog }
        const ask: Ask = {
          rw: 'randwrite',
          size: 64 * KiB,
          bs: KiB,
          norandommap: true,
          seed,
          verify,
        }
        const bench = new Bench(ask, seed).run(300, 4)
        expect(bench.bad).toEqual([])
        const seen = new Set(bench.seen.flatMap(io => io.offset / KiB))
        // 300 draws of 64 blocks leave out half a block on average
        expect(seen.size).toBeGreaterThan(56)
      }),
      { numRuns: 20 },
    )
  })

  it('is good over several loops', () => {
    const bench = new Bench({ rw: 'randwrite', size: 64 * KiB }, 1)
    for (let loop = 1; loop <= 3; loop++) {
      bench.run(16, 4)
      expect(bench.checked()).toBe(loop * 64 * KiB)
    }
    expect(bench.bad).toEqual([])
  })
})

describe('a fault', () => {
  it.each(['lose', 'tear', 'misplace'] as const)('is found: %s', fault => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 0, max: 15 }),
        fc.constantFrom(0, 4),
        (seed, victim, backlog) => {
          const verify = { ...NO_VERIFY, backlog }
          const bench = new Bench({ rw: 'randwrite', size: 64 * KiB, seed, verify }, seed)
          bench.fault = fault
          bench.victim = victim
          bench.run(16, 4)
          expect(bench.errors()).toBeGreaterThanOrEqual(1)
          expect(bench.bad.length).toBe(bench.errors())
        },
      ),
      { numRuns: 30 },
    )
  })

  it('is found in a block that had been written before: stale data', () => {
    const bench = new Bench({ rw: 'randwrite', size: 64 * KiB }, 1)
    bench.run(16, 4)
    bench.fault = 'lose'
    bench.victim = 20
    bench.run(16, 4)
    expect(bench.errors()).toBe(1)
  })

  it('is found in a block that was trimmed and still holds data', () => {
    const trim = { verifyZero: true }
    const bench = new Bench({ rw: 'trimwrite', size: 64 * KiB, trim }, 1)
    // the trim of a block ends, its write never comes
    bench.write(bench.rig.next()!)
    bench.end()
    bench.disk[100] = 1
    bench.rig.core.verify_begin(JOB)
    bench.readBack(9)
    bench.end()
    expect(bench.errors()).toBe(1)
  })

  it('that a failed write reports is no error of its data', () => {
    const bench = new Bench({ rw: 'write', size: 64 * KiB }, 1)
    const { core } = bench.rig
    const io = bench.rig.next()!
    bench.write(io)
    bench.flight.length = 0
    core.verify_write_done(JOB, 0, BigInt(io.disk), io.len, 0, 0)
    core.verify_begin(JOB)
    expect(core.verify_next(JOB)).toBe(0)
  })
})

describe('the backlog', () => {
  it('reads a batch whenever it is full', () => {
    const verify = { ...NO_VERIFY, backlog: 8, backlogBatch: 2 }
    const bench = new Bench({ rw: 'write', size: 128 * KiB, verify }, 1)
    const due: number[] = []
    for (let i = 0; i < 14; i++) {
      bench.write(bench.rig.next()!)
      bench.end()
      const before = bench.seen.length
      bench.readBack(1)
      due.push(bench.seen.length - before)
    }
    expect(due).toEqual([0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 2])
    expect(bench.seen.map(io => io.offset / KiB)).toEqual([0, 4, 8, 12, 16, 20, 24, 28])
  })

  it('forgets the oldest when nobody reads, and the end still checks all', () => {
    const verify = { ...NO_VERIFY, backlog: 1 }
    const bench = new Bench({ rw: 'write', bs: KiB, size: 3000 * KiB, verify }, 1)
    for (let i = 0; i < 3000; i++) {
      bench.write(bench.rig.next()!)
      bench.end()
    }
    bench.readBack(1)
    expect(bench.seen.length).toBe(2048)
    bench.rig.core.verify_begin(JOB)
    bench.readBack(1)
    expect(bench.seen.length).toBe(3000)
    expect(bench.bad).toEqual([])
  })

  it('skips a block that is being written again', () => {
    const verify = { ...NO_VERIFY, backlog: 1 }
    const bench = new Bench({ rw: 'write', size: 4 * KiB, verify }, 1)
    const io = bench.rig.next()!
    bench.write(io)
    bench.end()
    bench.write(io)
    expect(bench.rig.core.verify_next(JOB)).toBe(0)
    bench.end()
    expect(bench.rig.core.verify_next(JOB)).toBe(1)
    expect(bench.rig.view.u32(V + JV_NEXT_NUMBER)).toBe(1)
  })

  it('waits while a write that was held back is still to be issued', () => {
    const verify = { ...NO_VERIFY, backlog: 1 }
    const { rig, bad } = new Bench({ rw: 'write', size: 8 * KiB, verify }, 1)
    const io = rig.next()!
    rig.core.verify_note_write(JOB, 0, BigInt(io.disk), io.len, 0)
    rig.core.verify_write_done(JOB, 0, BigInt(io.disk), io.len, 0, 1)
    rig.next()
    rig.view.setU32(JOB + JOB_PENDING, 1)
    expect(rig.core.verify_next(JOB)).toBe(0)
    expect(rig.chosen()).toMatchObject({ ddir: 1, offset: 4 * KiB })
    rig.view.setU32(JOB + JOB_PENDING, 0)
    expect(rig.core.verify_next(JOB)).toBe(1)
    expect(bad).toEqual([])
  })

  it('excuses a read that a new write overtook', () => {
    const verify = { ...NO_VERIFY, backlog: 1 }
    const bench = new Bench({ rw: 'write', size: 4 * KiB, verify }, 1)
    const io = bench.rig.next()!
    bench.write(io)
    bench.end()
    expect(bench.rig.core.verify_next(JOB)).toBe(1)
    const read = { ...bench.rig.chosen(), number: 0, data: null }
    bench.write(io)
    bench.end()
    bench.endRead(read)
    expect(bench.errors()).toBe(0)
  })
})

it('without anything to read back asks for nothing', () => {
  for (const ask of [
    { rw: 'read', verify: { ...NO_VERIFY, method: 'crc32c' } },
    { rw: 'write', verify: { ...NO_VERIFY, method: 'crc32c', atEnd: false } },
    { rw: 'write' },
  ] as Ask[]) {
    const { core } = new Rig(ask)
    core.verify_note_write(JOB, 0, 0n, 4096, 0)
    core.verify_write_done(JOB, 0, 0n, 4096, 0, 1)
    expect(core.verify_busy(JOB, 0, 0n, 4096)).toBe(0)
    core.verify_begin(JOB)
    expect(core.verify_next(JOB)).toBe(0)
  }
})
