// Flash behind a drive: after any writes, trims and reads every 4 KiB is at one place, the counts of valid places are right, and
// times are those of the operations that the text of the model names. When the free blocks are used up, writes become slow.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import type { Machine } from '../../src/machine/booted.js'
import type { DiskConfig, NandConfig } from '../../src/machine/config.js'
import { commandLine } from '../../bench/macro/job.js'
import { Rig } from '../../bench/rig.js'
import { rowUnits } from '../../src/machine/nand.js'
import { bootDevice, RawQueue } from '../unit/core/raw-queue.js'
import { seeded } from './seeded.js'

const UNIT = 4096
const SMALL: NandConfig = {
  channels: 2,
  dies: 2,
  planes: 1,
  blocks: 10,
  pages: 8,
  pageBytes: 8192,
  readNs: 50_000,
  programNs: 500_000,
  eraseNs: 3_000_000,
  transferNs: 20_000,
  fillBytes: 0,
  keepsData: false,
}
/** 4 dies of 5 blocks of data each, 16 units a block. */
const UNITS = 4 * 5 * 16
const OVERHEAD = 2000

interface Given {
  readonly opcode: number
  readonly unit: number
  readonly count: number
}

class Drive {
  readonly machine: Machine
  readonly q: RawQueue
  readonly na: number
  readonly nand: NandConfig

  constructor(nand: Partial<NandConfig> = {}, units = UNITS, change: Partial<DiskConfig> = {}) {
    this.nand = { ...SMALL, ...nand }
    this.machine = bootDevice({
      ...change,
      model: 'nand',
      nand: this.nand,
      sizeBytes: units * UNIT,
      lbaShift: 12,
      depth: change.depth ?? 64,
    })
    this.q = new RawQueue(this.machine)
    this.na = this.machine.view.u32(this.machine.disks[0]!.dev + L.DEV_NAND)
  }

  /** When a command that is given at `now` is done. */
  run(opcode: number, unit: number, count: number, now = 0): number {
    const { q, machine } = this
    if (opcode === N.NVME_CMD_DSM) {
      const list = machine.alloc(16)
      machine.view.setU32(list + 4, count)
      machine.view.setU64(list + 8, unit)
      q.write({ opcode, prp1: list, cdw: [0, 4, 0] })
    } else q.write({ opcode, slba: unit, blocks: count })
    q.ring()
    q.run(1, now)
    const due = Number(q.core.dev_next_due(q.dsq))
    q.post(2 ** 52)
    const [done] = q.reap()
    expect(done?.status).toBe(0)
    return due
  }

  /** Gives commands in batches, the next when `gap` has passed: what ends when, in this order. */
  batches(list: readonly (readonly Given[])[], gap: number): string[] {
    const { q } = this
    const ends: string[] = []
    const next = (): bigint => BigInt.asUintN(64, q.core.dev_next_due(q.dsq))
    const post = (until: number): void => {
      for (let due = next(); due <= BigInt(until); due = next()) {
        q.core.dev_post_due(q.dsq, due)
        for (const { cid, status, sqhd } of q.reap()) ends.push(`${due} ${cid} ${status} ${sqhd}`)
      }
    }
    list.forEach((batch, i) => {
      post(i * gap)
      for (const { opcode, unit, count } of batch) q.write({ opcode, slba: unit, blocks: count })
      q.ring()
      q.run(undefined, i * gap)
    })
    post(2 ** 52)
    return ends
  }

  u32(at: number): number {
    return this.machine.view.u32(at)
  }

  /** Everything that must hold of the map; how many units are mapped. */
  check(units = UNITS): number {
    const { na, nand } = this
    const perBlock = nand.pages * rowUnits(nand)
    const dies = nand.channels * nand.dies
    const [l2p, p2l] = [this.u32(na + L.NA_L2P), this.u32(na + L.NA_P2L)]
    const valid = new Map<number, number>()
    let mapped = 0
    for (let unit = 0; unit < units; unit++) {
      const place = this.u32(l2p + 4 * unit)
      if (place === 0) continue
      mapped++
      expect(this.u32(p2l + 4 * (place - 1))).toBe(unit)
      const block = Math.floor((place - 1) / perBlock)
      valid.set(block, (valid.get(block) ?? 0) + 1)
    }
    const counts = this.u32(na + L.NA_VALID)
    for (let block = 0; block < dies * nand.blocks; block++) {
      const count = this.u32(counts + 4 * block) & 0x7fffffff
      expect(count, `block ${block}`).toBe(valid.get(block) ?? 0)
    }
    for (let d = 0; d < dies; d++) this.#freeList(this.u32(na + L.NA_DIE) + d * L.ND_SIZE, valid)
    return mapped
  }

  #freeList(die: number, valid: ReadonlyMap<number, number>): void {
    let n = 0
    for (let at = this.u32(die + L.ND_FREE_HEAD); at !== 0; n++) {
      expect(valid.get(at - 1) ?? 0).toBe(0)
      at = this.u32(this.u32(this.na + L.NA_LINK) + 4 * (at - 1))
    }
    expect(n).toBe(this.u32(die + L.ND_FREE))
  }
}

const steps = fc.array(
  fc.record({
    opcode: fc.oneof(
      { weight: 6, arbitrary: fc.constant(N.NVME_CMD_WRITE) },
      {
        weight: 2,
        arbitrary: fc.constantFrom(N.NVME_CMD_READ, N.NVME_CMD_DSM, N.NVME_CMD_WRITE_ZEROES),
      },
    ),
    unit: fc.oneof(fc.nat({ max: UNITS - 1 }), fc.nat({ max: 40 })),
    count: fc.integer({ min: 1, max: 100 }),
  }),
  { minLength: 1, maxLength: 80 },
)

describe('flash', () => {
  it('every unit has one place, whatever was written, forgotten and collected', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (list, filled) => {
        const drive = new Drive({ fillBytes: filled ? UNITS * UNIT : 0 })
        const there = new Set(Array.from({ length: filled ? UNITS : 0 }, (_, i) => i))
        expect(drive.check()).toBe(there.size)
        let now = 0
        for (const { opcode, unit, count } of list) {
          const n = Math.min(count, UNITS - unit)
          const due = drive.run(opcode, unit, n, now)
          expect(due).toBeGreaterThanOrEqual(now + OVERHEAD)
          now += 1000
          for (let i = unit; i < unit + n; i++) {
            if (opcode === N.NVME_CMD_WRITE) there.add(i)
            else if (opcode !== N.NVME_CMD_READ) there.delete(i)
          }
        }
        expect(drive.check()).toBe(there.size)
      }),
      seeded(25),
    )
  })

  it('reads of single units in batches end as they do where each command is looked at for faults', () => {
    const given = fc.record({
      opcode: fc.oneof(
        { weight: 9, arbitrary: fc.constant(N.NVME_CMD_READ) },
        fc.constantFrom(N.NVME_CMD_WRITE, N.NVME_CMD_FLUSH, N.NVME_CMD_VERIFY),
      ),
      unit: fc.nat({ max: UNITS + 4 }),
      count: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 9 })),
    })
    const batch = fc.array(given, { minLength: 1, maxLength: 12 })
    const batches = fc.array(batch, { minLength: 1, maxLength: 25 })
    const faults = [{ opcode: 0x7f, action: 'status' as const, value: 6 }]
    fc.assert(
      fc.property(
        batches,
        fc.nat({ max: UNITS }),
        fc.nat({ max: 200_000 }),
        (list, filled, gap) => {
          const nand = { fillBytes: filled * UNIT }
          const ends = new Drive(nand, UNITS, { depth: 1024 }).batches(list, gap)
          expect(ends).toHaveLength(list.flat().length)
          expect(new Drive(nand, UNITS, { depth: 1024, faults }).batches(list, gap)).toEqual(ends)
        },
      ),
      seeded(20),
    )
  })

  it('a die that is written around takes its turn only while something can be won', () => {
    const drive = new Drive({ fillBytes: UNITS * UNIT })
    // units of the first die stay, all others are written again and again
    for (let round = 0; round < 40; round++)
      for (let unit = 0; unit < UNITS; unit += 8) drive.run(N.NVME_CMD_WRITE, unit + 2, 6)
    expect(drive.check()).toBe(UNITS)
  })

  it('a read senses a row and carries each unit; units of one row share the sensing', () => {
    const drive = new Drive({ fillBytes: UNITS * UNIT })
    const carry = 10_000
    expect(drive.run(N.NVME_CMD_READ, 0, 1)).toBe(OVERHEAD + 50_000 + carry)
    expect(new Drive({ fillBytes: UNITS * UNIT }).run(N.NVME_CMD_READ, 0, 2)).toBe(
      OVERHEAD + 50_000 + 2 * carry,
    )
    // another die of the same channel waits for the channel only, the same die for the sensing
    expect(drive.run(N.NVME_CMD_READ, 4, 1)).toBe(OVERHEAD + 50_000 + 2 * carry)
    expect(drive.run(N.NVME_CMD_READ, 1, 1)).toBe(OVERHEAD + 100_000 + carry)
    expect(new Drive().run(N.NVME_CMD_READ, 0, 8)).toBe(OVERHEAD)
  })

  it('a write is done when the buffer has taken it; a flush when it is programmed', () => {
    const drive = new Drive()
    const rows = 8 // two a die
    for (let i = 0; i < rows; i++) expect(drive.run(N.NVME_CMD_WRITE, 2 * i, 2)).toBe(OVERHEAD)
    const programmed = OVERHEAD + 20_000 + 500_000
    expect(drive.run(N.NVME_CMD_WRITE, 100, 2)).toBe(programmed)
    expect(drive.run(N.NVME_CMD_FLUSH, 0, 1)).toBeGreaterThan(programmed)
  })

  it('random writes of a full drive are slower than the first ones, and sequential ones are not', () => {
    const rate = (drive: Drive, count: number, unit: (i: number) => number): number => {
      const start = drive.run(N.NVME_CMD_FLUSH, 0, 1)
      let now = start
      for (let i = 0; i < count; i++) now = drive.run(N.NVME_CMD_WRITE, unit(i), 1, now)
      return (count / (drive.run(N.NVME_CMD_FLUSH, 0, 1, now) - start)) * 1e9
    }
    let seed = 1
    const random = (): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31
      return Math.floor((seed / 2 ** 31) * UNITS)
    }
    const drive = new Drive({ fillBytes: UNITS * UNIT })
    const fresh = rate(new Drive(), UNITS, i => i)
    rate(drive, 4 * UNITS, random)
    const steady = rate(drive, 4 * UNITS, random)
    expect(steady).toBeLessThan(fresh * 0.75)
    const { view } = drive.machine
    const amplification =
      1 + view.u64(drive.na + L.NA_GC_SLOTS) / view.u64(drive.na + L.NA_HOST_SLOTS)
    expect(amplification).toBeGreaterThan(1.1)
    for (let round = 0; round < 6; round++) rate(drive, UNITS, i => i)
    const moved = view.u64(drive.na + L.NA_GC_SLOTS)
    expect(rate(drive, UNITS, i => i)).toBeGreaterThan(steady)
    expect(view.u64(drive.na + L.NA_GC_SLOTS) - moved).toBeLessThan(UNITS / 20)
  })

  it.each(['virtual', 'real'])('a job on a described drive, %s clock', async clock => {
    const device = 'size=64M,lba=4096,model=nand,channels=2,dies=2,pages=16,fill=50'
    const more = ['--rw=randrw', `--clock=${clock}`]
    const rig = Rig.boot(commandLine({ depth: 8, batch: 4, device, lat: 'batch', more }))
    await rig.begin()
    rig.startAll()
    // a busy host may leave a thread out of a pass almost whole: passes are counted, not time
    let ios = 0
    for (let passes = 0; ios <= 20 && passes < 500; passes++) ios += (await rig.pass(1e7)).ios
    await rig.stop()
    expect(ios).toBeGreaterThan(20)
  })
})
