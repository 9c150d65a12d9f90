// Any sequence of NVM commands with any form of PRP against a plain array of bytes: the same statuses, the same medium,
// the same host memory (no byte elsewhere changes), and as many pages of the store as hold data.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as L from '../../assembly/layout.js'
import * as N from '../../assembly/nvme.js'
import type { Machine } from '../../src/machine/machine.js'
import { buildPrps, listPages, PAGE, prpEntries, spread } from '../unit/core/prp.js'
import { bootDevice, RawQueue } from '../unit/core/raw-queue.js'
import { seeded } from './seeded.js'

const DNR = N.NVME_SC_DNR
const DATA_PAGES = 64
const LIST_PAGES = 4
const LEAF_BYTES = 2 ** 22

interface Step {
  readonly opcode: number
  readonly nsid: number
  readonly slba: number
  /** Adds 2^62 blocks or so: far beyond, with and without overflow. */
  readonly beyond: bigint
  readonly blocks: number
  /** Of the first byte in its page, in dwords. */
  readonly offset: number
  readonly slot: number
  /** Which pages, in which order. */
  readonly shuffle: number
  readonly fill: number
  readonly ranges: readonly (readonly [number, number])[]
  readonly ad: boolean
}

const opcodes = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(N.NVME_CMD_WRITE, N.NVME_CMD_READ) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      N.NVME_CMD_COMPARE,
      N.NVME_CMD_WRITE_ZEROES,
      N.NVME_CMD_DSM,
      N.NVME_CMD_FLUSH,
      N.NVME_CMD_VERIFY,
    ),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }) },
)

const rare = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 30, arbitrary: usual }, { weight: 1, arbitrary: odd })

const steps: fc.Arbitrary<Step> = fc.record({
  opcode: opcodes,
  nsid: rare(fc.constant(1), fc.constantFrom(0, 2, 0xffffffff)),
  slba: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 10_000 })),
  beyond: rare(fc.constant(0n), fc.constantFrom(2n ** 62n, 2n ** 52n, 2n ** 32n, 2n ** 64n - 8n)),
  blocks: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 500 })),
  offset: fc.oneof(fc.constant(0), fc.constantFrom(128, 256, 1, 1023), fc.nat({ max: 1023 })),
  slot: fc.oneof(fc.constant(0), fc.nat({ max: 511 }), fc.constantFrom(509, 510, 511)),
  shuffle: fc.nat({ max: DATA_PAGES - 1 }),
  fill: fc.nat({ max: 3 }),
  ranges: fc.array(fc.tuple(fc.nat({ max: 2000 }), fc.nat({ max: 300 })), {
    minLength: 1,
    maxLength: 6,
  }),
  ad: rare(fc.constant(true), fc.constant(false)),
})

const shapes = fc.record({
  lbaShift: fc.constantFrom(9 as const, 12 as const),
  sizeBytes: fc.constantFrom(64 * PAGE, LEAF_BYTES, 3 * LEAF_BYTES + 5 * PAGE),
  memBytes: fc.constantFrom(2 ** 24, 16 * PAGE, 3 * PAGE),
})

/** The medium as bytes, and which of its pages exist. */
class Medium {
  readonly bytes: Uint8Array
  readonly pages = new Set<number>()
  readonly leaves = new Set<number>()
  readonly #capacity: number

  constructor(size: number, capacity: number) {
    this.bytes = new Uint8Array(size)
    this.#capacity = capacity
  }

  get used(): number {
    return this.pages.size + this.leaves.size
  }

  /** Makes the page of a byte; false when the budget is spent. A leaf may appear without its page. */
  #make(at: number): boolean {
    const page = Math.floor(at / PAGE)
    if (this.pages.has(page)) return true
    const leaf = Math.floor(at / LEAF_BYTES)
    if (!this.leaves.has(leaf)) {
      if (this.used === this.#capacity) return false
      this.leaves.add(leaf)
    }
    if (this.used === this.#capacity) return false
    this.pages.add(page)
    return true
  }

  /** Bytes written before the budget was spent, in the order of addresses. */
  write(at: number, data: Uint8Array): number {
    let done = 0
    while (done < data.length) {
      if (!this.#make(at + done)) return done
      const n = Math.min(data.length - done, PAGE - ((at + done) % PAGE))
      this.bytes.set(data.subarray(done, done + n), at + done)
      done += n
    }
    return done
  }

  zero(at: number, len: number): void {
    this.bytes.fill(0, at, at + len)
    for (let page = Math.ceil(at / PAGE); (page + 1) * PAGE <= at + len; page++)
      this.pages.delete(page)
  }
}

class Pair {
  readonly #machine: Machine
  readonly #q: RawQueue
  readonly #medium: Medium
  readonly #shift: number
  readonly #data: number
  readonly #lists: number[]
  /** What host memory must hold, from #data on. */
  readonly #host: Uint8Array

  constructor(lbaShift: 9 | 12, sizeBytes: number, memBytes: number) {
    this.#machine = bootDevice({ lbaShift, sizeBytes, prpPages: 1 }, memBytes)
    const { view, disks } = this.#machine
    this.#q = new RawQueue(this.#machine)
    this.#shift = lbaShift
    const pool = view.u32(disks[0]!.store + L.ST_POOL)
    const capacity = (view.u32(pool + L.POOL_END) - view.u32(pool + L.POOL_NEXT)) / PAGE
    this.#medium = new Medium(sizeBytes, capacity)
    this.#data = this.#machine.alloc(DATA_PAGES * PAGE, PAGE)
    this.#lists = Array.from({ length: LIST_PAGES }, () => this.#machine.alloc(PAGE, PAGE))
    this.#host = new Uint8Array(DATA_PAGES * PAGE)
  }

  step(step: Step): void {
    const { view } = this.#machine
    const bytes = step.blocks << this.#shift
    const count = prpEntries(step.offset * 4, bytes)
    if (count > DATA_PAGES || listPages(count - 1, step.slot) > LIST_PAGES) return
    const pages = Array.from({ length: count }, (_, i) => {
      return this.#data + ((step.shuffle + i * 27) % DATA_PAGES) * PAGE
    })
    const buffer = { pages, offset: step.offset * 4, bytes }
    if (step.opcode === N.NVME_CMD_WRITE || step.opcode === N.NVME_CMD_COMPARE)
      this.#fill(buffer, step)
    const prps =
      step.opcode === N.NVME_CMD_DSM
        ? this.#ranges(step)
        : buildPrps(view, pages, buffer.offset, this.#lists, step.slot)
    const slba = (BigInt(step.slba) + step.beyond) % 2n ** 64n
    const cdw = [step.ranges.length - 1, step.ad ? 4 : 0, 0] as const
    const { status } = this.#q.execute({
      opcode: step.opcode,
      nsid: step.nsid,
      slba,
      blocks: step.blocks,
      ...prps,
      ...(step.opcode === N.NVME_CMD_DSM ? { cdw } : {}),
    })
    expect(status, `opcode ${step.opcode}`).toBe(this.#expect(step, slba, buffer))
    this.#compare()
  }

  /** New contents of the buffer: four kinds, so that a Compare sometimes finds what it looks for. */
  #fill({ pages, offset, bytes }: Buffer, step: Step): void {
    const { view } = this.#machine
    spread(pages, offset, bytes, (at, from, n) => {
      for (let i = 0; i < n; i++) {
        const byte = step.fill === 0 ? 0 : (step.fill * 67 + from + i + step.slba) & 0xff
        view.bytes[at + i] = byte
        this.#host[at - this.#data + i] = byte
      }
    })
  }

  #ranges(step: Step): { prp1: number; prp2: number } {
    const { view } = this.#machine
    const list = this.#lists[0]!
    step.ranges.forEach(([slba, blocks], i) => {
      view.setU32(list + i * 16, 0)
      view.setU32(list + i * 16 + 4, blocks)
      view.setU64(list + i * 16 + 8, slba)
    })
    return { prp1: list, prp2: 0 }
  }

  /** What the command must answer; the model changes as it must. */
  #expect(step: Step, slba: bigint, buffer: Buffer): number {
    const { opcode, nsid, blocks } = step
    if (opcode === N.NVME_CMD_FLUSH && nsid === 0xffffffff) return 0
    if (nsid !== 1) return N.NVME_SC_INVALID_NS | DNR
    if (opcode === N.NVME_CMD_FLUSH) return 0
    if (opcode === N.NVME_CMD_DSM) return this.#trim(step)
    const known = [
      N.NVME_CMD_READ,
      N.NVME_CMD_WRITE,
      N.NVME_CMD_COMPARE,
      N.NVME_CMD_WRITE_ZEROES,
      N.NVME_CMD_VERIFY,
    ]
    if (!known.includes(opcode)) return N.NVME_SC_INVALID_OPCODE | DNR
    if (slba + BigInt(blocks) > BigInt(this.#medium.bytes.length >> this.#shift))
      return N.NVME_SC_LBA_RANGE | DNR
    const at = Number(slba) * 2 ** this.#shift
    if (opcode === N.NVME_CMD_VERIFY) return 0
    if (opcode === N.NVME_CMD_WRITE_ZEROES) {
      this.#medium.zero(at, buffer.bytes)
      return 0
    }
    return this.#transfer(opcode, at, buffer)
  }

  #transfer(opcode: number, at: number, { pages, offset, bytes }: Buffer): number {
    const data = new Uint8Array(bytes)
    const medium = this.#medium.bytes.subarray(at, at + bytes)
    spread(pages, offset, bytes, (address, from, n) => {
      const place = address - this.#data
      if (opcode === N.NVME_CMD_READ) this.#host.set(medium.subarray(from, from + n), place)
      else data.set(this.#host.subarray(place, place + n), from)
    })
    if (opcode === N.NVME_CMD_READ) return 0
    if (opcode === N.NVME_CMD_WRITE)
      return this.#medium.write(at, data) === bytes ? 0 : N.NVME_SC_CAP_EXCEEDED | DNR
    return same(data, medium) ? 0 : N.NVME_SC_COMPARE_FAILED | DNR
  }

  #trim({ ranges, ad }: Step): number {
    if (!ad) return 0
    const blocks = this.#medium.bytes.length >> this.#shift
    for (const [slba, count] of ranges) {
      if (count === 0) continue
      if (slba + count > blocks) return N.NVME_SC_LBA_RANGE | DNR
      this.#medium.zero(slba << this.#shift, count << this.#shift)
    }
    return 0
  }

  #compare(): void {
    const { view, disks } = this.#machine
    const pool = view.u32(disks[0]!.store + L.ST_POOL)
    expect(view.u32(pool + L.POOL_USED)).toBe(this.#medium.used)
    const memory = view.bytes.subarray(this.#data, this.#data + this.#host.length)
    if (!same(memory, this.#host)) throw new Error('host memory differs')
  }

  /** Reads the whole medium. */
  finish(): void {
    const chunk = 32 * PAGE
    const { view } = this.#machine
    const { bytes } = this.#medium
    for (let at = 0; at < bytes.length; at += chunk) {
      const len = Math.min(chunk, bytes.length - at)
      const pages = Array.from({ length: len / PAGE }, (_, i) => this.#data + i * PAGE)
      const prps = buildPrps(view, pages, 0, this.#lists, 0)
      const place = { slba: at >> this.#shift, blocks: len >> this.#shift, ...prps }
      expect(this.#q.execute({ opcode: N.NVME_CMD_READ, ...place }).status).toBe(0)
      const got = view.bytes.subarray(this.#data, this.#data + len)
      if (!same(got, bytes.subarray(at, at + len))) throw new Error(`the medium differs near ${at}`)
    }
  }
}

interface Buffer {
  readonly pages: readonly number[]
  readonly offset: number
  readonly bytes: number
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return globalThis.Buffer.compare(a, b) === 0
}

it('commands do to medium and memory what they do to plain arrays', () => {
  fc.assert(
    fc.property(shapes, fc.array(steps, { maxLength: 30 }), (shape, list) => {
      const pair = new Pair(shape.lbaShift, shape.sizeBytes, shape.memBytes)
      for (const step of list) pair.step(step)
      pair.finish()
    }),
    seeded(70),
  )
})
