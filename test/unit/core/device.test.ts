// The controller's commands, one by one (nvme-spec 14, 16 and statements 22.10 to 22.12): data by every form of PRP, the
// statuses of what cannot be done, the sparse store and its budget, faults.

import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import type { FaultConfig, Machine } from '../../../src/machine/machine.js'
import { buildPrps, listPages, PAGE, prpEntries, spread } from './prp.js'
import { ANY_NSID, bootDevice, type Command, RawQueue } from './raw-queue.js'

const DNR = N.NVME_SC_DNR
const { NVME_CMD_READ: READ, NVME_CMD_WRITE: WRITE, NVME_CMD_COMPARE: COMPARE } = N

/** Bytes that differ from place to place. */
function noise(length: number, seed: number): Uint8Array {
  let x = seed | 1
  return Uint8Array.from({ length }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return x >>> 24
  })
}

function device(change: Parameters<typeof bootDevice>[0] = {}, memBytes?: number) {
  const machine = bootDevice(change, memBytes, 2 ** 23)
  return { machine, view: machine.view, q: new RawQueue(machine) }
}

/** Where two arrays of one length differ. */
function changes(before: Uint8Array, after: Uint8Array): number[] {
  return [...after.keys()].filter(i => after[i] !== before[i])
}

function poolUsed({ view, disks }: Machine): number {
  return view.u32(view.u32(disks[0]!.store + L.ST_POOL) + L.POOL_USED)
}

describe('data by PRP', () => {
  it('nvme-spec 22.10, nvme-spec 22.11, nvme-spec 22.12: entries and list pages', () => {
    expect(prpEntries(0x200, 4096)).toBe(2)
    expect(prpEntries(0x200, 8192)).toBe(3)
    expect(prpEntries(0, 4 * 2 ** 20)).toBe(1024)
    expect(listPages(1023, 0)).toBe(2)
    expect(listPages(512, 0)).toBe(1)
    expect(listPages(513, 0)).toBe(2)
  })

  const { machine, view, q } = device({ lbaShift: 9 })
  const data = machine.alloc(1100 * PAGE, PAGE)
  const lists = [0, 1, 2, 3].map(() => machine.alloc(PAGE, PAGE))

  it.each([
    // bytes, offset in the first page, slot of the first list entry
    [512, 0, 0],
    [512, 3584, 0],
    [4096, 0, 0],
    [4096, 512, 0], // 22.10: two entries
    [4096, 4, 0],
    [8192, 0, 0],
    [8192, 512, 0], // 22.10: a list of two
    [8192, 512, 510],
    [8192, 512, 511], // the first list page holds a pointer only
    [12288, 0, 0],
    [65536, 100, 7],
    [513 * 4096, 0, 0], // 22.12: one list page, full
    [514 * 4096, 0, 0], // 22.12: 511 and a pointer, then 2
    [513 * 4096, 0, 1],
    [1024 * 4096, 0, 0], // 22.11: 511 and a pointer, then 512
    [1024 * 4096, 508, 300],
  ])('%d bytes at offset %d, list at slot %d', (len, offset, slot) => {
    const count = prpEntries(offset, len)
    // Data pages in an order of their own, so that no two neighbours follow each other.
    const pages = Array.from({ length: count }, (_, i) => data + ((i * 7) % 1100) * PAGE)
    const prps = buildPrps(view, pages, offset, lists, slot)
    const bytes = noise(len, len + offset)
    spread(pages, offset, len, (at, from, n) => view.bytes.set(bytes.subarray(from, from + n), at))
    const place = { slba: 24, blocks: len / 512, ...prps }
    expect(q.execute({ opcode: WRITE, ...place }).status).toBe(0)
    expect(q.execute({ opcode: COMPARE, ...place }).status).toBe(0)
    view.bytes.fill(0xee, data, data + 1100 * PAGE)
    expect(q.execute({ opcode: READ, ...place }).status).toBe(0)
    const wanted = new Uint8Array(1100 * PAGE).fill(0xee)
    spread(pages, offset, len, (at, from, n) =>
      wanted.set(bytes.subarray(from, from + n), at - data),
    )
    expect(Buffer.compare(wanted, view.bytes.slice(data, data + 1100 * PAGE))).toBe(0)
  })

  it.each([
    ['PRP1 not on a dword', { prp1: data + 2, blocks: 1 }],
    ['PRP2 not on a page', { prp1: data, prp2: data + PAGE + 512, blocks: 16 }],
    ['an entry of the list not on a page', { prp1: data, prp2: lists[0]!, blocks: 32 }],
    ['a list not on a qword', { prp1: data, prp2: lists[0]! + 4, blocks: 32 }],
  ])('%s: PRP Offset Invalid', (_, command) => {
    view.setU64(lists[0]!, data + PAGE)
    view.setU64(lists[0]! + 8, data + 2 * PAGE + 4)
    for (const opcode of [READ, WRITE]) {
      const { status } = q.execute({ opcode, slba: 0, ...command })
      expect(status).toBe(N.NVME_SC_PRP_OFFSET_INVALID | DNR)
    }
  })
})

describe('statuses', () => {
  const blocks = 2 ** 26 / 4096
  const { machine, q } = device()
  const prp1 = machine.alloc(2 * PAGE, PAGE)
  const cases: readonly [string, Command, number][] = [
    ['namespace 0', { opcode: READ, nsid: 0, prp1 }, N.NVME_SC_INVALID_NS],
    ['a namespace that is not there', { opcode: READ, nsid: 2, prp1 }, N.NVME_SC_INVALID_NS],
    ['all namespaces for a Read', { opcode: READ, nsid: ANY_NSID, prp1 }, N.NVME_SC_INVALID_NS],
    ['a Flush of namespace 0', { opcode: N.NVME_CMD_FLUSH, nsid: 0 }, N.NVME_SC_INVALID_NS],
    ['the first block past the end', { opcode: READ, slba: blocks, prp1 }, N.NVME_SC_LBA_RANGE],
    [
      'two blocks at the last',
      { opcode: WRITE, slba: blocks - 1, blocks: 2, prp1 },
      N.NVME_SC_LBA_RANGE,
    ],
    [
      'the highest block there can be',
      { opcode: READ, slba: 2n ** 64n - 1n, prp1 },
      N.NVME_SC_LBA_RANGE,
    ],
    [
      'a range that overflows 64 bits',
      { opcode: COMPARE, slba: 2n ** 64n - 1n, blocks: 2, prp1 },
      N.NVME_SC_LBA_RANGE,
    ],
    [
      'a byte address that overflows',
      { opcode: WRITE, slba: 2n ** 52n, prp1 },
      N.NVME_SC_LBA_RANGE,
    ],
    [
      'Write Zeroes past the end',
      { opcode: N.NVME_CMD_WRITE_ZEROES, slba: blocks, blocks: 1 },
      N.NVME_SC_LBA_RANGE,
    ],
    [
      'Verify past the end',
      { opcode: N.NVME_CMD_VERIFY, slba: blocks, blocks: 1 },
      N.NVME_SC_LBA_RANGE,
    ],
    [
      'Write Uncorrectable',
      { opcode: N.NVME_CMD_WRITE_UNCOR, blocks: 1 },
      N.NVME_SC_INVALID_OPCODE,
    ],
    ['a reservation', { opcode: 0x0d }, N.NVME_SC_INVALID_OPCODE],
    ['a vendor command', { opcode: 0xc1 }, N.NVME_SC_INVALID_OPCODE],
  ]
  it.each(cases)('%s', (_, command, status) => {
    const before = machine.view.u64(q.dsq + L.DSQ_ERRORS)
    expect(q.execute(command).status).toBe(status | DNR)
    expect(machine.view.u64(q.dsq + L.DSQ_ERRORS)).toBe(before + 1)
  })

  it.each([
    ['the last block', { opcode: READ, slba: blocks - 1, prp1 }],
    ['a Flush of all namespaces', { opcode: N.NVME_CMD_FLUSH, nsid: ANY_NSID }],
    ['a Flush', { opcode: N.NVME_CMD_FLUSH }],
    ['Verify of the whole namespace', { opcode: N.NVME_CMD_VERIFY, slba: 0, blocks }],
    ['Write Zeroes of the whole namespace', { opcode: N.NVME_CMD_WRITE_ZEROES, slba: 0, blocks }],
  ] as const)('%s: success', (_, command) => {
    expect(q.execute(command).status).toBe(0)
  })

  it('more than MDTS: Invalid Field', () => {
    const limited = device({ mdtsBytes: 8192 })
    const page = limited.machine.alloc(4 * PAGE, PAGE)
    const run = (opcode: number, blocks: number) =>
      limited.q.execute({ opcode, prp1: page, prp2: page + PAGE, blocks }).status
    expect([run(READ, 2), run(WRITE, 1)]).toEqual([0, 0])
    for (const opcode of [READ, WRITE, COMPARE])
      expect(run(opcode, 3)).toBe(N.NVME_SC_INVALID_FIELD | DNR)
    expect(run(N.NVME_CMD_WRITE_ZEROES, 100)).toBe(0)
  })

  it('a Compare of other data: Compare Failure', () => {
    const { machine, view, q } = device({ lbaShift: 9 })
    const at = machine.alloc(PAGE, PAGE)
    const compare = (): number =>
      q.execute({ opcode: COMPARE, slba: 8, blocks: 8, prp1: at }).status
    expect(compare()).toBe(0)
    view.bytes[at + 4095] = 1
    expect(compare()).toBe(N.NVME_SC_COMPARE_FAILED | DNR)
    q.execute({ opcode: WRITE, slba: 8, blocks: 8, prp1: at })
    expect(compare()).toBe(0)
    view.bytes[at] = 1
    expect(compare()).toBe(N.NVME_SC_COMPARE_FAILED | DNR)
  })

  it('model null knows the same limits and moves nothing', () => {
    const { machine, view, q } = device({ model: 'null' })
    const at = machine.alloc(PAGE, PAGE)
    view.bytes.fill(7, at, at + PAGE)
    expect(q.execute({ opcode: READ, prp1: at }).status).toBe(0)
    expect(view.bytes[at]).toBe(7)
    expect(q.execute({ opcode: READ, slba: blocks, prp1: at }).status).toBe(
      N.NVME_SC_LBA_RANGE | DNR,
    )
    view.bytes.fill(0, at, at + PAGE)
    expect(q.execute({ opcode: N.NVME_CMD_DSM, cdw: [0, 4, 0], prp1: at }).status).toBe(0)
  })
})

describe('the store', () => {
  const MIB = 2 ** 20

  it('reads zeroes where nothing was written, and takes no page for it', () => {
    const { machine, view, q } = device()
    const at = machine.alloc(PAGE, PAGE)
    view.bytes.fill(9, at, at + PAGE)
    q.execute({ opcode: READ, slba: 77, prp1: at })
    expect(view.bytes.slice(at, at + PAGE).every(byte => byte === 0)).toBe(true)
    expect(poolUsed(machine)).toBe(0)
  })

  it('is as sparse as the writes: a page for each, and a leaf for each 4 MiB', () => {
    const { machine, q } = device({ sizeBytes: 2 ** 42 }, 16 * MIB)
    const at = machine.alloc(PAGE, PAGE)
    for (const slba of [0, 1, 2 ** 20, 2 ** 30 - 1])
      expect(q.execute({ opcode: WRITE, slba, prp1: at }).status).toBe(0)
    expect(poolUsed(machine)).toBe(4 + 3)
  })

  function trim(
    { machine, view, q }: ReturnType<typeof device>,
    ranges: readonly (readonly [number, number])[],
    ad = 4,
  ) {
    const list = machine.alloc(PAGE, PAGE)
    ranges.forEach(([slba, blocks], i) => {
      view.setU32(list + i * 16 + 4, blocks)
      view.setU64(list + i * 16 + 8, slba)
    })
    return q.execute({ opcode: N.NVME_CMD_DSM, cdw: [ranges.length - 1, ad, 0], prp1: list }).status
  }

  it('gives trimmed pages back; parts of pages become zero', () => {
    const d = device({ lbaShift: 9 })
    const at = d.machine.alloc(4 * PAGE, PAGE)
    const lists = [d.machine.alloc(PAGE, PAGE)]
    const pages = [0, 1, 2, 3].map(i => at + i * PAGE)
    d.view.bytes.fill(5, at, at + 4 * PAGE)
    const place = { slba: 0, blocks: 32, ...buildPrps(d.view, pages, 0, lists, 0) }
    d.q.execute({ opcode: WRITE, ...place })
    expect(poolUsed(d.machine)).toBe(5)
    expect(trim(d, [[4, 16]])).toBe(0)
    expect(poolUsed(d.machine)).toBe(4)
    d.q.execute({ opcode: READ, ...place })
    const kept = d.view.bytes.slice(at, at + 4 * PAGE)
    expect(kept.every((byte, i) => byte === (i >= 2048 && i < 10240 ? 0 : 5))).toBe(true)
    expect(
      trim(d, [
        [0, 0],
        [8, 24],
        [0, 8],
      ]),
    ).toBe(0)
    expect(poolUsed(d.machine)).toBe(1)
  })

  it('takes no notice of Dataset Management without AD', () => {
    const d = device()
    const at = d.machine.alloc(PAGE, PAGE)
    d.view.bytes.fill(5, at, at + PAGE)
    d.q.execute({ opcode: WRITE, slba: 0, prp1: at })
    expect(trim(d, [[0, 1]], 3)).toBe(0)
    expect(poolUsed(d.machine)).toBe(2)
  })

  it('refuses ranges past the end', () => {
    const d = device()
    const blocks = 2 ** 26 / 4096
    expect(trim(d, [[blocks, 1]])).toBe(N.NVME_SC_LBA_RANGE | DNR)
    expect(trim(d, [[blocks - 1, 2]])).toBe(N.NVME_SC_LBA_RANGE | DNR)
    expect(trim(d, [[0, 0xffffffff]])).toBe(N.NVME_SC_LBA_RANGE | DNR)
    expect(trim(d, [[0, blocks]])).toBe(0)
  })

  it('reads 256 ranges, also when their list begins inside a page', () => {
    const d = device()
    const at = d.machine.alloc(PAGE, PAGE)
    const list = [0, 1, 2].map(() => d.machine.alloc(PAGE, PAGE))
    for (let i = 0; i < 256; i++) d.q.execute({ opcode: WRITE, slba: i * 2, prp1: at })
    expect(poolUsed(d.machine)).toBe(256 + 1)
    // The second half of the list stands on another page, which PRP2 names.
    for (let i = 0; i < 256; i++) {
      const to = i < 192 ? list[0]! + 1024 + i * 16 : list[2]! + (i - 192) * 16
      d.view.setU32(to + 4, 1)
      d.view.setU64(to + 8, i * 2)
    }
    const prps = { prp1: list[0]! + 1024, prp2: list[2]! }
    expect(d.q.execute({ opcode: N.NVME_CMD_DSM, cdw: [255, 4, 0], ...prps }).status).toBe(0)
    expect(poolUsed(d.machine)).toBe(1)
  })

  it('ends a write beyond the budget with Capacity Exceeded and harms nothing', () => {
    const { machine, view, q } = device({ sizeBytes: 8 * MIB }, 64 * PAGE)
    const at = machine.alloc(PAGE, PAGE)
    const pages = view.u32(machine.disks[0]!.store + L.ST_POOL)
    const room = (view.u32(pages + L.POOL_END) - view.u32(pages + L.POOL_NEXT)) / PAGE
    let written = 0
    for (let slba = 0; slba < 100; slba++) {
      view.bytes.fill(slba + 1, at, at + PAGE)
      const { status } = q.execute({ opcode: WRITE, slba, prp1: at })
      if (status === 0) written++
      else expect(status).toBe(N.NVME_SC_CAP_EXCEEDED | DNR)
    }
    expect(written).toBe(room - 1)
    expect(view.u32(pages + L.POOL_FULL)).toBe(1)
    for (let slba = 0; slba < 100; slba++) {
      q.execute({ opcode: READ, slba, prp1: at })
      const byte = slba < written ? slba + 1 : 0
      expect([view.bytes[at], view.bytes[at + PAGE - 1]]).toEqual([byte, byte])
    }
    // What is there may be written again, and a trim makes room.
    expect(q.execute({ opcode: WRITE, slba: 3, prp1: at }).status).toBe(0)
    q.execute({ opcode: N.NVME_CMD_WRITE_ZEROES, slba: 0, blocks: 10 })
    expect(q.execute({ opcode: WRITE, slba: 99, prp1: at }).status).toBe(0)
  })
})

describe('faults', () => {
  function faulty(...faults: FaultConfig[]) {
    const d = device({ lbaShift: 9, queues: 2, faults })
    const at = d.machine.alloc(PAGE, PAGE)
    return {
      ...d,
      at,
      run: (command: Partial<Command>) =>
        d.q.execute({ opcode: READ, prp1: at, ...command }).status,
    }
  }

  it('a status comes instead of the command', () => {
    const d = faulty({ opcode: WRITE, action: 'status', value: 0x280 })
    d.view.bytes.fill(1, d.at, d.at + 512)
    expect(d.run({ opcode: WRITE })).toBe(0x280)
    expect(d.run({})).toBe(0)
    expect(d.view.bytes[d.at]).toBe(0)
  })

  it('nth: only that command of those that match', () => {
    const d = faulty({ opcode: READ, nth: 3, action: 'status', value: 0x281 })
    const statuses = [1, 2, 3, 4, 5].map(() => {
      d.run({ opcode: WRITE })
      return d.run({})
    })
    expect(statuses).toEqual([0, 0, 0x281, 0, 0])
  })

  it('lba: commands that touch the range', () => {
    const d = faulty({ lba: [10, 19], action: 'status', value: 0x281 })
    const at = (slba: number, blocks: number): number => d.run({ slba, blocks })
    expect([at(8, 2), at(9, 2), at(12, 1), at(19, 1), at(20, 1), at(5, 8), at(0, 8)]).toEqual([
      0, 0x281, 0x281, 0x281, 0, 0x281, 0,
    ])
  })

  it('queue: commands of that queue', () => {
    const here = faulty({ qid: 1, action: 'status', value: 6 })
    const elsewhere = faulty({ qid: 2, action: 'status', value: 6 })
    expect([here.run({}), elsewhere.run({})]).toEqual([6, 0])
  })

  it('the first rule that acts is the one', () => {
    const d = faulty(
      { opcode: READ, nth: 2, action: 'status', value: 0x281 },
      { action: 'status', value: 6 },
    )
    expect([d.run({}), d.run({}), d.run({}), d.run({ opcode: WRITE })]).toEqual([6, 0x281, 6, 6])
  })

  it('delay: the completion comes later, others overtake it', () => {
    const d = faulty({ nth: 1, action: 'delay', value: 500 })
    const slow = d.q.write({ opcode: READ, prp1: d.at })
    const fast = d.q.write({ opcode: READ, prp1: d.at })
    d.q.ring()
    d.q.run(10, 1000)
    d.q.post(1499)
    expect(d.q.reap().map(c => c.cid)).toEqual([fast])
    d.q.post(1500)
    expect(d.q.reap().map(c => c.cid)).toEqual([slow])
  })

  it('corrupt: one byte of what is read differs, the medium is as it was', () => {
    const d = faulty({ opcode: READ, nth: 1, action: 'corrupt', value: 100 })
    d.run({})
    expect(changes(new Uint8Array(512), d.view.bytes.slice(d.at, d.at + 512))).toEqual([100])
    d.run({})
    expect(d.view.bytes[d.at + 100]).toBe(0)
  })

  it('corrupt: one byte of what is written differs on the medium, the buffer of the host is as it was', () => {
    const d = faulty({ opcode: WRITE, nth: 1, action: 'corrupt', value: 100 })
    d.run({ opcode: WRITE })
    expect(d.view.bytes[d.at + 100]).toBe(0)
    d.run({})
    expect(changes(new Uint8Array(512), d.view.bytes.slice(d.at, d.at + 512))).toEqual([100])
  })

  it('corrupt: never a byte outside of the data', () => {
    for (const value of [511, 512, 2047, 2 ** 40]) {
      const d = faulty({ opcode: READ, action: 'corrupt', value })
      const place = d.at + PAGE - 512
      const before = d.view.bytes.slice(d.at, d.at + PAGE + 4096)
      d.run({ prp1: place })
      const changed = changes(before, d.view.bytes.slice(d.at, d.at + PAGE + 4096))
      expect(changed.filter(i => i < PAGE - 512 || i >= PAGE)).toEqual([])
      expect(changed).toHaveLength(1)
    }
  })

  it.each([
    ['Flush', N.NVME_CMD_FLUSH],
    ['Write Zeroes', N.NVME_CMD_WRITE_ZEROES],
    ['Verify', N.NVME_CMD_VERIFY],
    ['Dataset Management', N.NVME_CMD_DSM],
  ])('corrupt: a %s carries no data of ours, no byte changes anywhere', (_, opcode) => {
    const d = faulty({ action: 'corrupt', value: 100 })
    const low = d.view.bytes.slice(0, L.PLAN_BASE)
    const list = d.view.bytes.slice(d.at, d.at + PAGE)
    const prp1 = opcode === N.NVME_CMD_DSM ? d.at : 0
    expect(d.run({ opcode, prp1, cdw: [0, opcode === N.NVME_CMD_DSM ? 4 : 0, 0] })).toBe(0)
    expect(changes(low, d.view.bytes.slice(0, L.PLAN_BASE))).toEqual([])
    expect(changes(list, d.view.bytes.slice(d.at, d.at + PAGE))).toEqual([])
  })
})

describe('timed models', () => {
  let d: ReturnType<typeof device>
  let at: number
  beforeAll(() => {
    d = device({ model: 'fixed', serviceNs: 1000, units: 2, depth: 16 })
    at = d.machine.alloc(PAGE, PAGE)
  })
  beforeEach(() => {
    d.q.post(2 ** 52)
    d.q.reap()
  })

  it('serve as many commands at once as there are units', () => {
    const now = 10_000
    for (let i = 0; i < 5; i++) d.q.write({ opcode: READ, prp1: at })
    d.q.ring()
    expect(d.q.run(99, now)).toBe(5)
    expect(d.q.core.dev_next_due(d.q.dsq)).toBe(11_000n)
    const done = [10_999, 11_000, 11_999, 12_000, 13_000].map(time => {
      d.q.post(time)
      return d.q.reap().length
    })
    expect(done).toEqual([0, 2, 0, 2, 1])
    expect(BigInt.asUintN(64, d.q.core.dev_next_due(d.q.dsq))).toBe(2n ** 64n - 1n)
  })

  it('move data when the command starts', () => {
    d.view.bytes.fill(0x5a, at, at + PAGE)
    d.q.write({ opcode: WRITE, slba: 5, prp1: at })
    d.q.ring()
    d.q.run(1, 50_000)
    d.view.bytes.fill(0, at, at + PAGE)
    d.q.post(60_000)
    d.q.reap()
    d.q.write({ opcode: READ, slba: 5, prp1: at })
    d.q.ring()
    d.q.run(1, 60_000)
    expect(d.view.bytes[at]).toBe(0x5a)
  })

  it.each([
    ['normal', 10_000, 2000],
    ['lognormal', 10_000, 4000],
  ] as const)('%s times have the mean and the deviation asked for', (model, mean, sigma) => {
    const timed = device({ model, serviceNs: mean, sigmaNs: sigma, units: 1, depth: 1024 })
    const times: number[] = []
    for (let i = 0; i < 6000; i++) {
      const now = i * 1e6
      timed.q.write({ opcode: N.NVME_CMD_FLUSH })
      timed.q.ring()
      timed.q.run(1, now)
      times.push(Number(timed.q.core.dev_next_due(timed.q.dsq)) - now)
      timed.q.post(2 ** 50)
      timed.q.reap()
    }
    const average = times.reduce((a, b) => a + b, 0) / times.length
    const variance = times.reduce((a, b) => a + (b - average) ** 2, 0) / times.length
    expect(Math.abs(average / mean - 1)).toBeLessThan(0.03)
    expect(Math.abs(Math.sqrt(variance) / sigma - 1)).toBeLessThan(0.08)
    expect(Math.min(...times)).toBeGreaterThanOrEqual(0)
  })

  it('empirical times come from the table, evenly', () => {
    const empirical = [100, 200, 70_000]
    const timed = device({ model: 'empirical', empirical, units: 1 })
    const counts = new Map<number, number>()
    for (let i = 0; i < 3000; i++) {
      timed.q.write({ opcode: N.NVME_CMD_FLUSH })
      timed.q.ring()
      timed.q.run(1, i * 1e6)
      const time = Number(timed.q.core.dev_next_due(timed.q.dsq)) - i * 1e6
      counts.set(time, (counts.get(time) ?? 0) + 1)
      timed.q.post(2 ** 50)
      timed.q.reap()
    }
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual(empirical)
    for (const n of counts.values()) expect(Math.abs(n - 1000)).toBeLessThan(120)
  })
})
