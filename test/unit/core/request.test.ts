// The life of a request between submit_bio and its end: merging, splitting, plugging, errors and retries (blk-mq 4, 6, 10,
// 20.14, 20.15, 20.18, 20.22; nvme-pci 12). Every step is the test's.

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import { Stepped } from './stepped.js'

const { REQ_OP_READ: READ, REQ_OP_WRITE: WRITE } = N
const KIB = 1024
const SUBMIT_AGAIN = -2
const SUBMIT_NO_BIO = -3

/** Sectors of so many bytes. */
function sectors(bytes: number): number {
  return bytes / 512
}

/** [first block in sectors, bytes] of each Read and Write the device has fetched. */
function transfers(host: Stepped): [number, number][] {
  const lba = 2 ** host.disk.config.lbaShift
  return host.sent.map(c => [(c.slba * lba) / 512, c.blocks * lba])
}

function statuses(host: Stepped): number[] {
  return host.ended().map(e => e.status)
}

describe('merging', () => {
  /** Submits one bio for each [sector, bytes] into one plug and lets everything end. */
  function plug(host: Stepped, list: readonly (readonly [number, number, number?])[]): void {
    host.plugged(() => {
      for (const [sector, bytes, opf] of list) host.submit(host.bio(opf ?? WRITE, sector, bytes))
    })
    host.settle()
    expect(statuses(host)).toEqual(list.map(() => 0))
    expect(host.machine.books().problems).toEqual([])
  }

  it('joins what follows a plugged request, and what goes before it', () => {
    const host = new Stepped()
    plug(host, [
      [80, 4096],
      [88, 8192],
      [72, 4096],
      [104, 4096],
    ])
    expect(transfers(host)).toEqual([[72, 20 * KIB]])
    expect(host.merged()).toBe(3)
  })

  it('joins one request at most: a gap that is closed leaves two', () => {
    const host = new Stepped()
    plug(host, [
      [80, 4096],
      [96, 4096],
      [88, 4096],
    ])
    expect(host.sent).toHaveLength(2)
    expect(transfers(host).reduce((n, [, bytes]) => n + bytes, 0)).toBe(12 * KIB)
  })

  it.each([
    ['another operation', READ, WRITE],
    ['FUA', WRITE | N.REQ_FUA, WRITE],
    ['NOMERGE', WRITE | N.REQ_NOMERGE, WRITE],
    ['a discard', N.REQ_OP_DISCARD, N.REQ_OP_DISCARD],
  ])('keeps %s apart', (_, first, second) => {
    const host = new Stepped()
    plug(host, [
      [80, 4096, first],
      [88, 4096, second],
    ])
    expect([host.sent.length, host.merged()]).toEqual([2, 0])
  })

  it('looks at the plug only: without one nothing merges', () => {
    const host = new Stepped()
    host.submit(host.bio(WRITE, 80, 4096))
    host.submit(host.bio(WRITE, 88, 4096))
    host.settle()
    expect([host.sent.length, host.merged()]).toEqual([2, 0])
  })

  it('does not look at all with NOMERGES', () => {
    const host = new Stepped({}, { cpus: 1 })
    const flags = host.view.u32(host.disk.q + L.Q_FLAGS)
    host.view.setU32(host.disk.q + L.Q_FLAGS, flags | (1 << N.QUEUE_FLAG_NOMERGES))
    plug(host, [
      [80, 4096],
      [88, 4096],
    ])
    expect(host.sent).toHaveLength(2)
  })

  it('stops at the largest request', () => {
    const host = new Stepped({ mdtsBytes: 64 * KIB })
    plug(host, [
      [0, 48 * KIB],
      [96, 16 * KIB],
      [128, 4 * KIB],
    ])
    expect(transfers(host)).toEqual([
      [0, 64 * KIB],
      [128, 4 * KIB],
    ])
  })

  it('stops at the largest number of segments', () => {
    const host = new Stepped({ mdtsBytes: 16 * KIB })
    host.view.setU32(host.disk.q + L.Q_MAX_SEGMENTS, 3)
    plug(
      host,
      [0, 1, 2, 3].map(i => [i * 8, 4096] as const),
    )
    expect(transfers(host)).toEqual([
      [0, 12 * KIB],
      [24, 4 * KIB],
    ])
  })

  it('does not leave a gap inside a page: PRPs could not say so', () => {
    const host = new Stepped({ lbaShift: 9 })
    const data = host.machine.alloc(8 * 4096, 4096)
    const at = (offset: number, sector: number, bytes: number) =>
      host.bio(WRITE, sector, bytes, 0, data + offset)
    host.plugged(() => {
      host.submit(at(512, 0, 3584)) // ends on a page
      host.submit(at(8192, 7, 512)) // begins on one: joins
      host.submit(at(16384, 8, 512)) // the request ends within a page
      host.submit(at(24576 + 512, 16, 512)) // begins within one
    })
    host.settle()
    expect(transfers(host)).toEqual([
      [0, 4096],
      [8, 512],
      [16, 512],
    ])
  })

  it('carries the data of every bio to its place', () => {
    const host = new Stepped({ lbaShift: 9 })
    const order = [3, 4, 2, 5, 1, 0, 6]
    host.plugged(() => {
      for (const i of order) {
        const bio = host.bio(WRITE, i * 16, 8192)
        host.bytes(host.view.u32(bio + L.BIO_DATA), 8192).fill(i + 1)
        host.submit(bio)
      }
    })
    host.settle()
    expect(host.sent).toHaveLength(1)
    const back = host.bio(READ, 0, 7 * 8192)
    host.submit(back)
    host.settle()
    const data = host.bytes(host.view.u32(back + L.BIO_DATA), 7 * 8192)
    expect([0, 1, 2, 3, 4, 5, 6].map(i => [data[i * 8192], data[i * 8192 + 8191]])).toEqual(
      [1, 2, 3, 4, 5, 6, 7].map(i => [i, i]),
    )
  })

  it('fails every bio of a request that fails', () => {
    const faults = [{ action: 'status' as const, value: 0x4281 }]
    const host = new Stepped({ faults })
    host.plugged(() => {
      for (const i of [0, 1, 2]) host.submit(host.bio(READ, i * 8, 4096))
    })
    host.settle()
    expect(host.sent).toHaveLength(1)
    expect(statuses(host)).toEqual([N.BLK_STS_MEDIUM, N.BLK_STS_MEDIUM, N.BLK_STS_MEDIUM])
    expect(host.machine.books()).toMatchObject({ failed: 3, problems: [] })
  })
})

describe('splitting', () => {
  it('sends a large bio in parts of the largest request, and it ends once', () => {
    const host = new Stepped({ mdtsBytes: 64 * KIB, sizeBytes: 2 ** 26 })
    const bio = host.bio(WRITE, 800, 300 * KIB)
    host.submit(bio)
    host.settle()
    expect(transfers(host)).toEqual([
      [800, 64 * KIB],
      [800 + 128, 64 * KIB],
      [800 + 256, 64 * KIB],
      [800 + 384, 64 * KIB],
      [800 + 512, 44 * KIB],
    ])
    expect(host.ended()).toEqual([{ bio, status: 0 }])
    expect(host.machine.books()).toMatchObject({ submitted: 1, completed: 1, problems: [] })
  })

  it('has 1280 KiB requests without MDTS', () => {
    const host = new Stepped()
    host.submit(host.bio(READ, 0, 3000 * KIB))
    host.settle()
    expect(transfers(host).map(([, bytes]) => bytes / KIB)).toEqual([1280, 1280, 440])
  })

  it('moves every byte', () => {
    const host = new Stepped({ mdtsBytes: 16 * KIB, lbaShift: 9 })
    const [write, read] = [host.bio(WRITE, 9, 100 * KIB), host.bio(READ, 9, 100 * KIB)]
    const data = (bio: number) => host.bytes(host.view.u32(bio + L.BIO_DATA), 100 * KIB)
    const [from, to] = [data(write), data(read)]
    for (let i = 0; i < from.length; i++) from[i] = (i * 7 + (i >> 8)) & 0xff
    host.submit(write)
    host.settle()
    host.submit(read)
    host.settle()
    expect(Buffer.compare(from, to)).toBe(0)
  })

  it('fails as a whole when one part fails', () => {
    const faults = [{ nth: 2, action: 'status' as const, value: 0x4281 }]
    const host = new Stepped({ mdtsBytes: 64 * KIB, faults })
    host.submit(host.bio(READ, 0, 256 * KIB))
    host.settle()
    expect(host.sent).toHaveLength(4)
    expect(statuses(host)).toEqual([N.BLK_STS_MEDIUM])
    expect(host.machine.books()).toMatchObject({ submitted: 1, failed: 1, problems: [] })
  })

  it.each([2, 3, 4, 5])('loses no part with a ring of %d entries', depth => {
    const host = new Stepped({ mdtsBytes: 4 * KIB, depth })
    const bios = [host.bio(WRITE, 0, 40 * KIB), host.bio(WRITE, 800, 24 * KIB)]
    let waiting = bios.filter(bio => host.submit(bio) === SUBMIT_AGAIN)
    for (let i = 0; waiting.length; i++) {
      if (i > 100) throw new Error('it goes on for ever')
      host.fetch()
      host.reap()
      waiting = waiting.filter(bio => host.again(bio) === SUBMIT_AGAIN)
    }
    host.settle()
    const seen = transfers(host).map(([sector]) => sector)
    expect(seen.filter(s => s < 800)).toEqual([0, 8, 16, 24, 32, 40, 48, 56, 64, 72])
    expect(seen.filter(s => s >= 800)).toEqual([800, 808, 816, 824, 832, 840])
    expect(host.ended().map(e => e.bio)).toHaveLength(2)
    expect(host.machine.books()).toMatchObject({ submitted: 2, completed: 2, problems: [] })
  })

  it('waits when no bio is left to split with, and goes on later', () => {
    const host = new Stepped({ mdtsBytes: 4 * KIB, depth: 4096, model: 'null', sizeBytes: 2 ** 30 })
    const bio = host.bio(READ, 0, 8 * 1024 * KIB)
    expect(host.submit(bio)).toBe(SUBMIT_NO_BIO)
    expect(host.fetch()).toBe(1024)
    host.reap()
    expect(host.again(bio)).toBeGreaterThanOrEqual(0)
    host.settle()
    expect([host.sent.length, host.ended().length]).toEqual([2048, 1])
    expect(host.machine.books()).toMatchObject({ submitted: 1, completed: 1, problems: [] })
  })

  it('splits discards at the largest discard', () => {
    const host = new Stepped({ sizeBytes: 2 ** 34, model: 'ram' })
    host.submit(host.bio(N.REQ_OP_DISCARD, 0, 2 ** 32 - 4096))
    host.submit(host.bio(N.REQ_OP_DISCARD, 2 ** 24, 2 ** 30))
    host.settle()
    expect(host.sent.map(c => c.opcode)).toEqual([N.NVME_CMD_DSM, N.NVME_CMD_DSM])
    expect(statuses(host)).toEqual([0, 0])
  })
})

describe('plugging', () => {
  /** Sectors no two of which are neighbours. */
  const apart = (i: number): number => 8000 - i * 80

  it('20.14: one hardware queue: the 17th request sends the 16 before it', () => {
    const host = new Stepped({ depth: 64, queues: 1 })
    host.plugged(() => {
      for (let i = 0; i < 16; i++) host.submit(host.bio(READ, apart(i), 4096))
      host.core.nvme_ring_doorbells(host.cpu())
      expect(host.fetch()).toBe(0)
      host.submit(host.bio(READ, apart(16), 4096))
      host.core.nvme_ring_doorbells(host.cpu())
      expect(host.fetch()).toBe(16)
    })
    expect(host.fetch()).toBe(1)
  })

  it('20.15: after a request of 128 KiB the next one sends what is plugged', () => {
    const host = new Stepped({ depth: 64, queues: 1 })
    host.plugged(() => {
      host.submit(host.bio(READ, 8000, 4096))
      host.submit(host.bio(READ, 4000, 128 * KIB))
      host.core.nvme_ring_doorbells(host.cpu())
      expect(host.fetch()).toBe(0)
      host.submit(host.bio(READ, 80, 4096))
      host.core.nvme_ring_doorbells(host.cpu())
      expect(transfers(host)).toEqual([])
      expect(host.fetch()).toBe(2)
    })
    host.fetch()
    expect(transfers(host).map(([s]) => s)).toEqual([4000, 8000, 80])
  })

  it('sorts what it sends by sector', () => {
    const host = new Stepped({ queues: 1 })
    const order = [5, 3, 9, 1, 7, 0, 8, 2, 6, 4]
    host.plugged(() => {
      for (const i of order) host.submit(host.bio(READ, i * 80, 4096))
    })
    host.settle()
    expect(transfers(host).map(([s]) => s / 80)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('keeps the order of requests that begin at one sector', () => {
    const host = new Stepped({ queues: 1 })
    const tags: number[] = []
    host.plugged(() => {
      for (let i = 0; i < 5; i++) tags.push(host.submit(host.bio(READ, 80, 4096)))
    })
    host.settle()
    expect(host.sent.map(c => c.cid)).toEqual(tags)
  })

  it('several hardware queues: the plug holds the newest, the one before it goes', () => {
    const host = new Stepped({ queues: 2 }, { cpus: 2 })
    host.plugged(() => {
      const fetched = [0, 1, 2].map(i => {
        host.submit(host.bio(READ, apart(i), 4096))
        host.core.nvme_ring_doorbells(host.cpu())
        return host.fetch()
      })
      expect(fetched).toEqual([0, 1, 1])
      expect(host.view.u32(host.cpu() + L.CPU_PLUG_COUNT)).toBe(1)
      // What continues the plugged one still joins it.
      host.submit(host.bio(READ, apart(2) + 8, 4096))
      host.core.nvme_ring_doorbells(host.cpu())
      expect([host.fetch(), host.merged()]).toEqual([0, 1])
    })
    host.settle()
    expect(transfers(host)).toEqual([
      [apart(0), 4096],
      [apart(1), 4096],
      [apart(2), 8192],
    ])
  })

  it('nests: only the outermost end sends', () => {
    const host = new Stepped({ queues: 1 })
    host.plugged(() => {
      host.plugged(() => host.submit(host.bio(READ, 0, 4096)))
      expect(host.fetch()).toBe(0)
    })
    expect(host.fetch()).toBe(1)
  })
})

describe('what the block layer refuses', () => {
  it.each([
    ['beyond the end', READ, 2 ** 26 / 512, 4096],
    ['over the end', WRITE, 2 ** 26 / 512 - 7, 4096],
    ['far beyond', READ, 2 ** 50, 512],
  ])('a bio %s ends with IOERR', (_, opf, sector, bytes) => {
    const host = new Stepped()
    expect(host.submit(host.bio(opf, sector, bytes))).toBe(-1)
    expect(statuses(host)).toEqual([N.BLK_STS_IOERR])
    expect([host.fetch(), host.machine.books().problems]).toEqual([0, []])
  })

  it('operations that the disk does not know end with NOTSUPP', () => {
    const host = new Stepped()
    host.submit(host.bio(N.REQ_OP_WRITE_ZEROES, 0, 4096))
    host.view.setU32(host.disk.q + L.Q_MAX_DISCARD, 0)
    host.submit(host.bio(N.REQ_OP_DISCARD, 0, 4096))
    expect(statuses(host)).toEqual([N.BLK_STS_NOTSUPP, N.BLK_STS_NOTSUPP])
  })

  it('20.22: without a write cache an empty flush ends at once, and FUA is a plain write', () => {
    const host = new Stepped({ wc: false })
    expect(host.submit(host.bio(WRITE | N.REQ_PREFLUSH, 0, 0))).toBe(-1)
    expect(statuses(host)).toEqual([0])
    host.submit(host.bio(WRITE | N.REQ_FUA | N.REQ_PREFLUSH, 0, 4096))
    host.settle()
    expect(host.sent.map(c => [c.opcode, c.fua])).toEqual([[N.NVME_CMD_WRITE, false]])
    expect(statuses(host)).toEqual([0])
  })
})

describe('errors and retries', () => {
  function failing(value: number, nth?: number): Stepped {
    const fault = { action: 'status' as const, value }
    return new Stepped({ faults: [nth === undefined ? fault : { ...fault, nth }] })
  }

  function readOnce(host: Stepped, flags = 0): number[] {
    host.submit(host.bio(READ | flags, 0, 4096))
    host.settle()
    expect(host.machine.books().problems).toEqual([])
    return statuses(host)
  }

  it.each([
    [0x081, N.BLK_STS_NOSPC],
    [0x080, N.BLK_STS_TARGET],
    [0x001, N.BLK_STS_NOTSUPP],
    [0x002, N.BLK_STS_NOTSUPP],
    [0x00b, N.BLK_STS_NOTSUPP],
    [0x280, N.BLK_STS_MEDIUM],
    [0x281, N.BLK_STS_MEDIUM],
    [0x286, N.BLK_STS_MEDIUM],
    [0x287, N.BLK_STS_MEDIUM],
    [0x182, N.BLK_STS_MEDIUM],
    [0x285, N.BLK_STS_MEDIUM],
    [0x282, N.BLK_STS_PROTECTION],
    [0x283, N.BLK_STS_PROTECTION],
    [0x284, N.BLK_STS_PROTECTION],
    [0x181, N.BLK_STS_PROTECTION],
    [0x083, N.BLK_STS_NEXUS],
    [0x006, N.BLK_STS_IOERR],
    [0x007, N.BLK_STS_IOERR],
    [0x3ff, N.BLK_STS_IOERR],
  ])('status %i with DNR becomes %i after one try', (status, wanted) => {
    const host = failing(status | N.NVME_SC_DNR)
    expect([readOnce(host), host.sent.length]).toEqual([[wanted], 1])
  })

  it('without DNR there are five more tries, the sixth error is final', () => {
    const host = failing(N.NVME_SC_INTERNAL)
    expect([readOnce(host), host.sent.length]).toEqual([[N.BLK_STS_IOERR], 6])
    expect(new Set(host.sent.map(c => c.cid)).size).toBe(1)
  })

  it('a try that succeeds ends it', () => {
    const host = failing(N.NVME_SC_INTERNAL, 1)
    expect([readOnce(host), host.sent.length]).toEqual([[0], 2])
  })

  it.each([N.REQ_FAILFAST_DEV, N.REQ_FAILFAST_DRIVER, N.REQ_FAILFAST_TRANSPORT])(
    'failfast %i is not tried again',
    flag => {
      const host = failing(N.NVME_SC_INTERNAL)
      expect([readOnce(host, flag), host.sent.length]).toEqual([[N.BLK_STS_IOERR], 1])
    },
  )

  it('retries keep their data: a write of many pages arrives', () => {
    const host = new Stepped({ faults: [{ nth: 1, action: 'status', value: 6 }] })
    const [write, read] = [host.bio(WRITE, 0, 64 * KIB), host.bio(READ, 0, 64 * KIB)]
    host.bytes(host.view.u32(write + L.BIO_DATA), 64 * KIB).fill(0xa5)
    host.submit(write)
    host.settle()
    host.submit(read)
    host.settle()
    expect(host.sent).toHaveLength(3)
    expect(host.bytes(host.view.u32(read + L.BIO_DATA), 64 * KIB).every(b => b === 0xa5)).toBe(true)
  })

  it('retries go before new requests, and the queue opens again', () => {
    const host = failing(N.NVME_SC_INTERNAL, 1)
    host.submit(host.bio(READ, 0, 4096))
    host.fetch()
    host.reap()
    host.slow()
    for (const sector of [80, 160]) host.submit(host.bio(READ, sector, 4096))
    host.settle()
    expect(transfers(host).map(([s]) => s)).toEqual([0, 0, 80, 160])
    expect(statuses(host)).toEqual([0, 0, 0])
    expect(host.view.load(host.queue.hctx + L.HC_GATE)).toBe(0)
  })

  it('no list page: the request waits, then goes, and nobody overtakes it', () => {
    const host = new Stepped({ prpPages: 1 })
    const big = 64 * KIB
    for (const i of [0, 1, 2]) host.submit(host.bio(READ, i * 1024, big))
    host.submit(host.bio(READ, 8000, 4096))
    expect(host.fetch()).toBe(1)
    host.settle()
    expect(transfers(host).map(([s]) => s)).toEqual([0, 1024, 2048, 8000])
    expect(statuses(host)).toEqual([0, 0, 0, 0])
    expect(host.machine.books().problems).toEqual([])
  })

  it('every list page comes back', () => {
    const host = new Stepped({ depth: 8, prpPages: 3 })
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 5; i++) host.submit(host.bio(WRITE, i * 1024, 64 * KIB))
      host.submit(host.bio(N.REQ_OP_DISCARD, 0, 4096))
      host.settle()
    }
    let free = 0
    const links = host.view.u32(host.queue.nq + L.NQ_PRP_LINKS)
    const base = host.view.u32(host.queue.nq + L.NQ_PRP_BASE)
    for (let page = host.view.u32(host.queue.nq + L.NQ_PRP_FREE); page; free++)
      page = host.view.u32(links + ((page - base) / 4096) * 4)
    expect([free, host.ended().length]).toEqual([3, 120])
  })
})

describe('completion on another CPU', () => {
  it('goes back to the CPU that submitted it', () => {
    const host = new Stepped({ queues: 1 }, { cpus: 3 })
    const bios = [0, 1, 2].map(cpu => host.bio(READ, cpu * 80, 4096))
    for (const cpu of [0, 1, 2]) host.submit(bios[cpu]!, cpu)
    expect([host.fetch(), host.reap()]).toEqual([3, 3])
    const ended = (cpu: number) => host.machine.cpuCounters(cpu).ended
    expect([ended(0), ended(1), ended(2)]).toEqual([1, 0, 0])
    expect(host.machine.cpuCounters(0).ipis).toBe(2)
    expect([host.core.complete_done_list(host.cpu(1)), ended(1)]).toEqual([1, 1])
    expect([host.core.complete_done_list(host.cpu(2)), ended(2)]).toEqual([1, 1])
    expect(host.machine.books()).toMatchObject({ completed: 3, tagsHeld: 0 })
  })

  it('with an error, too: the submitter decides', () => {
    const host = new Stepped(
      { queues: 1, faults: [{ action: 'status', value: 0x4281 }] },
      { cpus: 2 },
    )
    host.submit(host.bio(READ, 0, 4096), 1)
    host.settle()
    expect(statuses(host)).toEqual([N.BLK_STS_MEDIUM])
    expect(host.machine.cpuCounters(1).failed).toBe(1)
  })
})

it('counts sectors as the disk statistics do', () => {
  const host = new Stepped()
  host.plugged(() => {
    for (const i of [0, 1, 2]) host.submit(host.bio(WRITE, i * 8, 4096))
  })
  host.submit(host.bio(READ, 0, 65536))
  host.submit(host.bio(N.REQ_OP_DISCARD, 0, 2 ** 20))
  host.settle()
  const ctx = host.view.u32(host.disk.q + L.Q_CTXS)
  const four = (field: number) => [0, 1, 2].map(i => host.view.u64(ctx + field + i * 8))
  expect(four(L.CTX_STAT_IOS)).toEqual([1, 1, 1])
  expect(four(L.CTX_STAT_MERGES)).toEqual([0, 2, 0])
  expect(four(L.CTX_STAT_SECTORS)).toEqual([sectors(65536), sectors(12288), sectors(2 ** 20)])
})
