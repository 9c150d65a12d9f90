// Data by PRP lists and by SGLs of any shape against plain arrays: the controller finds the same bytes as a walk of the text
// of the specification, and refuses what it must, for the core's own walk and for the controller's.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { blocks, PAGE, ready, type Rig } from '../unit/device/rig.js'
import { buildPrps, listPages, prpEntries } from '../unit/core/prp.js'
import { seeded } from './seeded.js'

const DATA = 40

interface Memory {
  readonly rig: Rig
  readonly data: number
  readonly lists: readonly number[]
}

/** One rig serves all cases: only bytes change. */
function memory(all: boolean): Memory {
  const rig = ready({ sizeBytes: 2 ** 20, config: { sgls: 1 } })
  if (all) rig.controller.inject({ match: { opcode: 0xff }, action: { kind: 'drop' } })
  const data = rig.alloc(DATA * PAGE)
  return { rig, data, lists: [0, 1, 2].map(() => rig.alloc(PAGE)) }
}

function fill(rig: Rig, at: number, bytes: number, seed: number): void {
  const to = rig.bytes(at, bytes)
  for (let i = 0; i < bytes; i++) to[i] = (seed * 31 + i * 7 + (i >> 8)) & 0xff
}

function gather(rig: Rig, pieces: readonly (readonly [number, number])[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, [, n]) => sum + n, 0))
  let done = 0
  for (const [at, n] of pieces) {
    if (at) out.set(rig.bytes(at, n), done)
    done += n
  }
  return out
}

/** Writes from some pieces, reads into others: the bytes must have gone through. */
function roundTrip({ rig, data }: Memory, count: number, from: object, to: object): Uint8Array {
  fill(rig, data, DATA * PAGE, count)
  expect(rig.execute(1, { opcode: 1, nsid: 1, cdw: blocks(3, count), ...from }).status).toBe(0)
  fill(rig, data, DATA * PAGE, count + 1)
  expect(rig.execute(1, { opcode: 2, nsid: 1, cdw: blocks(3, count), ...to }).status).toBe(0)
  return rig.bytes(data, DATA * PAGE)
}

const shape = fc.record({
  count: fc.integer({ min: 1, max: 100 }),
  offset: fc.nat({ max: 1023 }),
  slot: fc.oneof(fc.nat({ max: 511 }), fc.constantFrom(509, 510, 511)),
  shift: fc.nat({ max: DATA - 1 }),
})

for (const all of [false, true]) {
  it(`PRPs of any offset, list and order, by the ${all ? 'controller' : 'core'}`, () => {
    const place = memory(all)
    const { rig, data, lists } = place
    fc.assert(
      fc.property(shape, shape, (a, b) => {
        const prps = ({ offset, slot, shift }: typeof a): object => {
          const n = prpEntries(offset * 4, a.count * 512)
          const pages = Array.from({ length: n }, (_, i) => data + ((shift + i * 7) % DATA) * PAGE)
          fc.pre(n <= DATA && listPages(n - 1, slot) <= lists.length)
          return { ...buildPrps(rig.view, pages, offset * 4, lists, slot), pages, offset }
        }
        const pieces = (p: { pages?: number[]; offset?: number }): [number, number][] => {
          let left = a.count * 512
          return p.pages!.map((page, i) => {
            const skip = i === 0 ? p.offset! * 4 : 0
            const n = Math.min(left, PAGE - skip)
            left -= n
            return [page + skip, n]
          })
        }
        const from = prps(a)
        fill(rig, data, DATA * PAGE, a.count)
        const want = gather(rig, pieces(from))
        const write = { opcode: 1, nsid: 1, cdw: blocks(3, a.count), ...from }
        expect(rig.execute(1, write).status).toBe(0)
        fill(rig, data, DATA * PAGE, a.count + 1)
        const before = rig.bytes(data, DATA * PAGE).slice()
        const to = prps(b)
        expect(rig.execute(1, { ...write, opcode: 2, ...to }).status).toBe(0)
        expect(gather(rig, pieces(to))).toEqual(want)
        let other = 0
        const inside = pieces(to)
        for (let i = 0; i < before.length; i++) {
          const touched = inside.some(([at, n]) => data + i >= at && data + i < at + n)
          if (!touched && before[i] !== rig.bytes(data + i, 1)[0]) other++
          if (i % 64 === 0 && !touched) i += 61 // a sample of what must not change
        }
        expect(other).toBe(0)
      }),
      seeded(15),
    )
  })
}

it('SGLs: data blocks, bit buckets, segments that lead on', () => {
  const place = memory(false)
  const { rig, data, lists } = place
  const piece = fc.record({
    at: fc.nat({ max: DATA * PAGE - 9000 }),
    bytes: fc.integer({ min: 1, max: 9000 }),
    bucket: fc.boolean(),
  })
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 12 }),
      fc.nat({ max: 11 }),
      (list, cut) => {
        const total = list.reduce((sum, p) => sum + p.bytes, 0)
        const count = Math.floor(total / 512)
        fc.pre(count >= 1 && count <= 100)
        const put = (at: number, address: number, bytes: number, type: number): void => {
          rig.view.setU64(at, address)
          rig.view.setU32(at + 8, bytes)
          rig.view.setU32(at + 12, (type << 28) >>> 0)
        }
        const describe = (read: boolean): object => {
          const split = Math.min(cut, list.length - 1)
          list.forEach((p, i) => {
            const at = i < split ? lists[0]! + i * 16 : lists[1]! + (i - split) * 16
            const bucket = read && p.bucket
            put(at, bucket ? 0 : data + p.at, p.bytes, bucket ? 1 : 0)
          })
          const rest = (list.length - split) * 16
          if (split > 0) put(lists[0]! + split * 16, lists[1]!, rest, 3)
          const prp1 = split > 0 ? lists[0]! : lists[1]!
          const bytes = split > 0 ? (split + 1) * 16 : rest
          return { flags: 0x40, prp1, prp2: bytes, sgl: split > 0 ? 0x20 : 0x30 }
        }
        fill(rig, data, DATA * PAGE, count)
        const want = gather(
          rig,
          list.map(p => [data + p.at, p.bytes] as const),
        ).subarray(0, count * 512)
        roundTrip(place, count, describe(false), describe(true))
        let done = 0
        const seen = new Map<number, number>()
        for (const p of list)
          for (let i = 0; i < p.bytes; i++, done++)
            if (!p.bucket && done < want.length) seen.set(data + p.at + i, want[done]!)
        for (const [at, byte] of seen)
          if (rig.bytes(at, 1)[0] !== byte) throw new Error(`byte ${at}`)
      },
    ),
    seeded(25),
  )
})

it('nvme-spec 14, 15: what is wrong with pointers', () => {
  const { rig, data, lists } = memory(false)
  const run = (count: number, more: object): number =>
    rig.execute(1, { opcode: 2, nsid: 1, cdw: blocks(0, count), ...more }).status
  const DNR = 0x4000
  for (let round = 0; round < 2; round++) {
    expect(run(1, { prp1: data + 2 })).toBe(0x013 | DNR)
    expect(run(16, { prp1: data, prp2: data + 8 })).toBe(0x013 | DNR)
    expect(run(24, { prp1: data, prp2: lists[0]! + 4 })).toBe(0x013 | DNR)
    rig.view.setU64(lists[0]!, data + 4)
    expect(run(24, { prp1: data, prp2: lists[0] })).toBe(0x013 | DNR)
    rig.view.setU64(lists[0]!, 2 ** 45)
    expect(run(24, { prp1: data, prp2: lists[0] })).toBe(0x004 | DNR)
    expect(run(24, { prp1: data, prp2: 2 ** 52 })).toBe(0x004 | DNR)
    expect(run(1, { prp1: 4096 })).toBe(0x004 | DNR)
    rig.controller.inject({ match: { opcode: 0xff }, action: { kind: 'drop' } })
  }
  const sgl = (type: number, bytes: number, sub = 0): number =>
    run(1, { flags: 0x40, prp1: data, prp2: bytes, sgl: type * 16 + sub })
  expect(sgl(0, 512)).toBe(0)
  expect(sgl(0, 100)).toBe(0x00f | DNR)
  expect(sgl(5, 512)).toBe(0x011 | DNR)
  expect(sgl(0, 512, 1)).toBe(0x017 | DNR)
  expect(sgl(2, 24)).toBe(0x00d | DNR)
  expect(sgl(3, 0)).toBe(0x00d | DNR)
})
