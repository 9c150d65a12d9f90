// Plain vector commands in the core (assembly/ocssd.ts) leave the same device behind as those that src/device/ocssd
// executes: two devices get the same random commands, one of them in the core wherever it may, and are compared.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { SQE_CDW10, SQE_CDW12, SQE_MPTR, SQE_PRP1, SQE_PRP2 } from '../../../assembly/nvme.js'
import { OpenChannelDevice, type OcssdOptions } from '../../../src/device/ocssd/device.js'
import { View } from '../../../src/core/view.js'
import { ocssdHeadBytes } from '../../../src/device/ocssd/memory.js'
import { TINY } from '../device/ocssd/rig.js'
import { Arena } from './raw.js'

const GEOMETRY = { ...TINY, chunks: 3, clba: 16, mwCunits: 4, mccap: 6 }
const OPTIONS: OcssdOptions = {
  geometry: GEOMETRY,
  channel: false,
  times: { read: [0], program: [0], erase: 0, transfer: 0 },
  seed: 5,
}
const BUDGET = 64 * 4096
const [WRITE, READ, ERASE] = [0x91, 0x92, 0x90]

/** A command: where it begins, how many addresses, whether one of them is another one, what its data are. */
const commands = fc.array(
  fc.record({
    op: fc.constantFrom(...Array<number>(8).fill(WRITE), ...Array<number>(8).fill(READ), ERASE),
    chunk: fc.constantFrom(0, 0, 0, 1, 1, 1, 2, 2, 3),
    sector: fc.constantFrom(-1, -1, -1, -1, 0, 0, 3, 8),
    n: fc.constantFrom(1, 2, 4, 4, 4, 8),
    odd: fc.constantFrom(true, ...Array<boolean>(9).fill(false)),
    words: fc.constantFrom(0, 1, 2),
    oob: fc.boolean(),
    rates: fc.constantFrom(...Array<null>(20).fill(null), { write: 0 }, { ecc: 1 }, {}, {}),
  }),
  { minLength: 30, maxLength: 60, size: 'max' },
)

class Twins {
  readonly arena = new Arena(2 ** 20)
  readonly plain = new OpenChannelDevice({ ...OPTIONS, budget: BUDGET })
  readonly shared: OpenChannelDevice
  readonly at: number
  readonly dev = this.arena.alloc(L.DEV_SIZE)
  readonly sqe = this.arena.alloc(64)
  readonly list = this.arena.alloc(512)
  readonly prps = this.arena.alloc(4096, 4096)
  readonly oob = this.arena.alloc(1024)
  readonly data = this.arena.alloc(16 * 4096, 4096)
  /** Commands that the core executed. */
  inCore = 0

  constructor() {
    const { arena } = this
    const bytes = ocssdHeadBytes(GEOMETRY) + BUDGET
    this.at = arena.alloc(bytes, 4096)
    this.shared = new OpenChannelDevice(
      { ...OPTIONS, budget: BUDGET },
      { view: arena.view, at: this.at, bytes },
    )
    arena.view.setU32(this.dev + L.DEV_DMA_TO, arena.view.bytes.length)
  }

  #sqe(addresses: readonly number[], oob: boolean): void {
    const { view } = this.arena
    const n = addresses.length
    view.setU32(this.sqe + SQE_CDW12, n - 1)
    addresses.forEach((a, i) => {
      view.setU64(this.list + 8 * i, a)
    })
    view.setU64(this.sqe + SQE_CDW10, n === 1 ? addresses[0]! : this.list)
    view.setU64(this.sqe + SQE_MPTR, oob ? this.oob : 0)
    view.setU64(this.sqe + SQE_PRP1, this.data)
    for (let i = 1; i < n; i++) view.setU64(this.prps + 8 * (i - 1), this.data + 4096 * i)
    view.setU64(this.sqe + SQE_PRP2, n > 2 ? this.prps : n > 1 ? this.data + 4096 : 0)
  }

  /** Both execute it: what the one says, and what both read. */
  run(op: number, addresses: readonly number[], fill: (i: number) => number, oob: boolean): void {
    const { view, core } = this.arena
    const n = addresses.length
    const words = 1024 * n
    const from = this.data / 4
    for (let i = 0; i < words; i++) view.words[from + i] = op === READ ? 7 : fill(i)
    for (let i = 0; i < 4 * n; i++) view.words[this.oob / 4 + i] = op === READ ? 9 : i + 100
    const mem = view.words.slice(from, from + words + 4 * n)
    mem.set(view.words.subarray(this.oob / 4, this.oob / 4 + 4 * n), words)
    const command = { count: n, addresses, control: 0 }
    const places = Array.from({ length: n }, (_, i) => 4096 * i)
    const own = { ...command, mem, data: places, oob: oob ? 4 * words : -1 }
    const run = (device: OpenChannelDevice, c: Parameters<OpenChannelDevice['read']>[0]) =>
      op === READ ? device.read(c, 0) : op === WRITE ? device.write(c, 0) : device.erase(c, 0)
    const wanted = { ...run(this.plain, own) }
    this.#sqe(addresses, oob)
    if (op !== ERASE && core.ocssd_execute(this.dev, this.at, this.sqe, op)) {
      this.inCore++
      expect(wanted).toMatchObject({ status: 0, low: 0, high: 0 })
    } else {
      const data = places.map(at => this.data + at)
      const same = { ...command, mem: view.words, data, oob: oob ? this.oob : -1 }
      expect({ ...run(this.shared, same) }).toEqual(wanted)
    }
    const there = view.words.slice(from, from + words + 4 * n)
    there.set(view.words.subarray(this.oob / 4, this.oob / 4 + 4 * n), words)
    expect(Buffer.compare(Buffer.from(there.buffer), Buffer.from(mem.buffer))).toBe(0)
  }

  compare(): void {
    const { plain, shared } = this
    for (const field of ['state', 'type', 'wp', 'wear'] as const)
      expect([...shared.chunks[field]]).toEqual([...plain.chunks[field]])
    expect(shared.counts).toEqual(plain.counts)
    expect(shared.store.bytes).toBe(plain.store.bytes)
  }
}

it('random commands leave two devices the same', () => {
  let inCore = 0
  fc.assert(
    fc.property(commands, list => {
      const twins = new Twins()
      for (const { op, chunk, sector, n, odd, words, oob, rates } of list) {
        if (rates) for (const one of [twins.plain, twins.shared]) one.faults.rates = rates
        const group = chunk === 3 ? 2 : chunk % 2
        const number = group * GEOMETRY.pus * GEOMETRY.chunks + (chunk % 3)
        const wp = twins.plain.chunks.wp[number] ?? 0
        const before = op === READ ? Math.max(wp - 8, 0) : wp
        const at = (sector < 0 ? before : sector) % GEOMETRY.clba
        const first = twins.plain.format.address({ group, pu: 0, chunk: chunk % 3, sector: at })
        const addresses = Array.from({ length: n }, (_, i) => first + i)
        if (odd && n > 2) addresses[1] = first + 32
        twins.run(op, addresses, i => (words === 0 ? 3 : words === 1 ? i : i >> 10), oob)
      }
      twins.compare()
      inCore += twins.inCore
    }),
    { numRuns: 25, seed: 11 },
  )
  expect(inCore).toBeGreaterThan(100)
})

it('looking ahead at reads, of whatever address, changes nothing but the word of what was looked at', () => {
  const twins = new Twins()
  const { arena, at, sqe, plain } = twins
  const { format } = plain
  const first = format.address({ group: 0, pu: 0, chunk: 0, sector: 0 })
  const written = Array.from({ length: 16 }, (_, i) => first + i)
  twins.run(WRITE, written.slice(0, 8), i => i + 77, true)
  twins.run(WRITE, written.slice(8), i => i + 99, true)
  const dsq = arena.alloc(L.DSQ_SIZE)
  const ring = arena.alloc(64 * 4, 64)
  arena.view.setU32(dsq + L.DSQ_BASE, ring)
  const words = (): Uint32Array => {
    const all = arena.view.words.slice()
    all[(at + L.OC_TOUCHED) / 4] = 0
    return all
  }
  const touched = (opcode: number, address: number, n = 1): number => {
    arena.view.setU32(at + L.OC_TOUCHED, 0)
    arena.view.setU32(sqe, opcode)
    arena.view.setU32(sqe + SQE_CDW12, n - 1)
    arena.view.setU64(sqe + SQE_CDW10, address)
    arena.view.bytes.copyWithin(ring + 64, sqe, sqe + 64)
    const before = words()
    arena.core.ocssd_look_ahead(at, dsq, 1, 2)
    expect(Buffer.compare(Buffer.from(words().buffer), Buffer.from(before.buffer))).toBe(0)
    return arena.view.u32(at + L.OC_TOUCHED)
  }
  expect(touched(READ, first)).toBe(77)
  expect(touched(READ, first + 8)).toBe(99)
  for (const [opcode, address, n] of [
    [WRITE, first, 1],
    [READ, first, 2],
    [READ, format.address({ group: 0, pu: 0, chunk: 1, sector: 0 }), 1],
    [READ, format.address({ group: 1, pu: 1, chunk: 3, sector: 0 }), 1],
    [READ, 2 ** 52, 1],
  ] as const)
    expect(touched(opcode, address, n)).toBe(0)
})

it('pages that an empty chunk keeps go to another one when no others are left', () => {
  const twins = new Twins()
  const { format } = twins.plain
  const unit = (chunk: number, sector: number): number[] => {
    const first = format.address({ group: 0, pu: 0, chunk, sector })
    return Array.from({ length: 8 }, (_, i) => first + i)
  }
  const pages = BUDGET / 4096
  // more than twice what the budget holds, in three chunks by turns
  for (let turn = 0; turn < (2 * pages) / 16 + 3; turn++) {
    const chunk = turn % 3
    for (const sector of [0, 8]) twins.run(WRITE, unit(chunk, sector), i => i + turn, true)
    if (turn > 0) twins.run(ERASE, unit((turn - 1) % 3, 0).slice(0, 1), () => 0, false)
    twins.run(READ, unit(chunk, 8), () => 0, true)
    twins.compare()
  }
  expect(twins.inCore).toBeGreaterThan(10)
})

it('a drive with more chunks than there are records for uses those of chunks that were reset', () => {
  const big = { ...TINY, groups: 8, pus: 8, chunks: 100, clba: 4096, mwCunits: 0, mccap: 4 }
  const bytes = ocssdHeadBytes(big) + 2 ** 16
  const view = new View(new SharedArrayBuffer(bytes))
  const device = new OpenChannelDevice({ ...OPTIONS, geometry: big }, { view, at: 0, bytes })
  const most = Math.floor(2 ** 29 / (big.clba * L.OCC_SIZE))
  const write = (n: number): number => {
    const unit = Math.floor(n / big.chunks)
    const place = { group: Math.floor(unit / 8), pu: unit % 8, chunk: n % big.chunks, sector: 0 }
    const first = device.format.address(place)
    const addresses = [0, 1, 2, 3].map(i => first + i)
    const mem = new Uint32Array(4 * 1024).fill(n)
    const command = { count: 4, addresses, control: 0, mem, data: [0, 4096, 8192, 12288], oob: -1 }
    return device.write(command, 0).status
  }
  for (let n = 0; n < most; n++) expect(write(n)).toBe(0)
  expect(write(most)).toBe(0x4081)
  const again = { group: 0, pu: 0, chunk: 7, sector: 0 }
  const address = device.format.address(again)
  const mem = new Uint32Array(1024)
  const command = { count: 1, addresses: [address], control: 0, mem, data: [0], oob: -1 }
  expect(device.erase(command, 0).status).toBe(0)
  expect(write(most + 1)).toBe(0)
  expect(device.read(command, 0).status).toBe(0)
  expect(mem[0]).toBe(0)
})
