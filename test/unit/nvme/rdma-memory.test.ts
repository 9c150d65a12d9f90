// Memory over RDMA: how a request's data are described, which keys open what, when they stop to; and latency.

import { describe, expect, it } from 'vitest'
import { VerbsMemory } from '../../../src/device/verbs-memory.js'
import type { SendWr } from '../../../src/device/verbs-qp.js'
import type { nvme_ctrl, nvme_ns } from '../../../src/drivers/nvme/host/nvme.js'
import { CMD_BYTES, CMD_SGL_TYPE } from '../../../src/drivers/nvme/nvme.js'
import { ib_inc_rkey } from '../../../src/drivers/nvme/verbs.js'
import { io_submit_wait } from '../../../src/fs/aio.js'
import type { Sleep } from '../../../src/kernel/core.js'
import { FabricRig, RDMA_TEXT, type RigOptions } from './fabric-rig.js'

const [READ, WRITE, LOCAL] = [4, 2, 1]

function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 11 + seed * 17 + (i >> 8)) & 0xff)
}

interface Connected {
  readonly rig: FabricRig
  readonly ctrl: nvme_ctrl
  /** Everything that is posted from now on. */
  readonly posted: SendWr[]
}

/** Without keep-alive, which would come between. */
const QUIET = `${RDMA_TEXT},keep_alive_tmo=0`

function connected(options: RigOptions = {}, text = QUIET): Connected {
  const rig = new FabricRig({ cpus: 1, ...options })
  const ctrl = rig.connect(text)
  const posted: SendWr[] = []
  rig.verbs.tamper = wr => {
    posted.push(wr)
    return wr
  }
  return { rig, ctrl, posted }
}

/** One after the other, without time for anything else. */
function* reads(rig: FabricRig, ns: nvme_ns, count: number): Sleep<void> {
  for (let n = 0; n < count; n++) expect(yield* rig.read(ns, 0, 512)).toHaveLength(512)
}

/** Opcodes, and of a capsule the type of its descriptor. */
function words(posted: readonly SendWr[]): string[] {
  return posted.map(wr => {
    const capsule = wr.opcode === 'SEND' && wr.message.length >= CMD_BYTES
    return capsule ? `command 0x${wr.message[CMD_SGL_TYPE]!.toString(16)}` : wr.opcode
  })
}

describe('what is sent', () => {
  it.each([
    ['a read', false, 4096, ['REG_MR', 'command 0x4f', 'RDMA_WRITE', 'SEND_WITH_INV']],
    ['a write that fits into the capsule', true, 4096, ['command 0x1', 'SEND']],
    ['one that does not', true, 8192, ['REG_MR', 'command 0x4f', 'RDMA_READ', 'SEND_WITH_INV']],
  ] as const)('%s', (_, write, bytes, want) => {
    const { rig, ctrl, posted } = connected()
    const ns = rig.ns(ctrl)
    if (write) expect(rig.run(() => rig.write(ns, 0, pattern(bytes, 1)))).toBe(0)
    else rig.run(() => rig.read(ns, 0, bytes))
    expect(words(posted)).toEqual(want)
  })

  it('register_always=0: one piece goes by the key to all memory, and nobody invalidates it', () => {
    const { rig, ctrl, posted } = connected({ register_always: false })
    const ns = rig.ns(ctrl)
    const data = pattern(16384, 2)
    expect(rig.run(() => rig.write(ns, 0, data))).toBe(0)
    expect(rig.run(() => rig.read(ns, 0, data.length))).toEqual(data)
    expect(words(posted)).toEqual([
      ...['command 0x40', 'RDMA_READ', 'SEND'],
      ...['command 0x40', 'RDMA_WRITE', 'SEND'],
    ])
  })

  it.each([true, false])('of several pieces, register_always=%s: no copy in between', always => {
    const { rig, ctrl, posted } = connected({ register_always: always })
    const { queue: q } = rig.ns(ctrl)
    const { blk } = rig.machine.host!
    // Two writes of neighbouring sectors, with their memory the other way round, are one request.
    const ios = [0, 1].map(n => ({
      ...{ q, write: true, pos: n * 8192, bytes: 8192 },
      data: rig.buffers + (1 - n) * 65536,
    }))
    const data = pattern(16384, 3)
    for (const [n, io] of ios.entries())
      rig.machine.view.bytes.set(data.subarray(n * 8192, (n + 1) * 8192), io.data)
    rig.run(() => io_submit_wait(blk, ios))
    expect(words(posted)).toEqual(['REG_MR', 'command 0x4f', 'RDMA_READ', 'SEND_WITH_INV'])
    expect(rig.run(() => rig.read(rig.ns(ctrl), 0, 16384))).toEqual(data)
  })

  it('half a megabyte is four work requests for the target, of which one completes', () => {
    const { rig, ctrl, posted } = connected()
    const data = pattern(2 ** 19, 4)
    expect(rig.run(() => rig.write(rig.ns(ctrl), 0, data))).toBe(0)
    const reads = posted.filter(({ opcode }) => opcode === 'RDMA_READ')
    expect(reads.map(wr => 'bytes' in wr && wr.bytes)).toEqual(Array(4).fill(131072))
    expect(reads.map(({ signaled }) => signaled)).toEqual([false, false, false, true])
    const ns = rig.ns(ctrl)
    expect(Buffer.compare(rig.run(() => rig.read(ns, 0, 2 ** 19)) as Uint8Array, data)).toBe(0)
  })

  it('4.9 signals each 32nd send, and invalidates without waiting', () => {
    const { rig, ctrl, posted } = connected({ era: '4.9' })
    const ns = rig.ns(ctrl)
    rig.run(() => reads(rig, ns, 64))
    const sends = posted.filter(wr => wr.opcode === 'SEND' && wr.message.length >= CMD_BYTES)
    expect(sends.length).toBe(64)
    expect(sends.filter(({ signaled }) => signaled).length).toBe(2)
  })
})

describe('keys', () => {
  it('are new each time: the index stays, the lowest eight bits go on', () => {
    expect(ib_inc_rkey(0x1234fe)).toBe(0x1234ff)
    expect(ib_inc_rkey(0x1234ff)).toBe(0x123400)
    const { rig, ctrl, posted } = connected({}, `${QUIET},queue_size=16`)
    const ns = rig.ns(ctrl)
    rig.run(() => reads(rig, ns, 20))
    const keys = posted.flatMap(wr => (wr.opcode === 'REG_MR' ? [wr.key] : []))
    expect(new Set(keys).size).toBe(20)
  })

  it.each(['RDMA_WRITE', 'RDMA_READ', 'SEND_WITH_INV'] as const)(
    'a wrong one in %s breaks the connection, and the I/O is done again',
    opcode => {
      const rig = new FabricRig({ cpus: 1 })
      const ctrl = rig.connect(`${RDMA_TEXT},reconnect_delay=1`)
      const ns = rig.ns(ctrl)
      const data = pattern(8192, 7)
      if (opcode !== 'RDMA_READ') expect(rig.run(() => rig.write(ns, 0, data))).toBe(0)
      rig.verbs.tamper = wr => {
        if (wr.opcode !== opcode) return wr
        rig.verbs.tamper = null
        if (wr.opcode === 'SEND_WITH_INV') return { ...wr, invalidate_rkey: wr.invalidate_rkey + 1 }
        return 'rkey' in wr ? { ...wr, rkey: wr.rkey + 1 } : wr
      }
      const before = rig.now
      if (opcode === 'RDMA_READ') expect(rig.run(() => rig.write(ns, 0, data))).toBe(0)
      else expect(rig.run(() => rig.read(ns, 0, data.length))).toEqual(data)
      expect(rig.now - before).toBeGreaterThan(0.9e9)
      expect(rig.log().join('\n')).toContain('RECV failed: WR_FLUSH_ERR')
      expect(ctrl.state).toBe('LIVE')
    },
  )

  it('one that was invalidated opens nothing any more', () => {
    const rig = new FabricRig({ cpus: 1 })
    const ctrl = rig.connect(`${RDMA_TEXT},reconnect_delay=1`)
    const ns = rig.ns(ctrl)
    let old: number | null = null
    rig.verbs.tamper = wr => {
      if (wr.opcode !== 'RDMA_WRITE') return wr
      if (old !== null) return { ...wr, rkey: old }
      old = wr.rkey
      return wr
    }
    rig.run(() => rig.read(ns, 0, 4096))
    expect(ctrl.state).toBe('LIVE')
    rig.machine.host!.k.spawn('io', function* () {
      yield* rig.read(ns, 0, 4096)
    })
    rig.pass(0.5)
    expect(ctrl.state).toBe('CONNECTING')
    rig.verbs.tamper = null
    rig.pass(3)
    expect(ctrl.state).toBe('LIVE')
  })

  it('a response that leaves one valid: the host invalidates it before the request ends', () => {
    const { rig, ctrl } = connected()
    const ns = rig.ns(ctrl)
    const posted: string[] = []
    rig.verbs.tamper = wr => {
      posted.push(wr.opcode)
      return wr.opcode === 'SEND_WITH_INV' ? { ...wr, opcode: 'SEND' } : wr
    }
    // More reads than the pool has regions: none may stay registered.
    rig.run(() => reads(rig, ns, 140))
    expect(posted.slice(0, 5)).toEqual([
      'REG_MR',
      'SEND',
      'RDMA_WRITE',
      'SEND_WITH_INV',
      'LOCAL_INV',
    ])
    expect(ctrl.state).toBe('LIVE')
  })

  it('a response that invalidates another request’s is an error', () => {
    const rig = new FabricRig({ cpus: 1 })
    const ctrl = rig.connect(`${RDMA_TEXT},reconnect_delay=1`)
    const ns = rig.ns(ctrl)
    const { blk } = rig.machine.host!
    let first: number | null = null
    rig.verbs.tamper = wr => {
      if (wr.opcode !== 'SEND_WITH_INV') return wr
      if (first === null) {
        first = wr.invalidate_rkey
        return { ...wr, opcode: 'SEND' }
      }
      rig.verbs.tamper = null
      return wr
    }
    const ios = [0, 1].map(n => ({
      ...{ q: ns.queue, write: false, pos: n * 65536, bytes: 4096 },
      data: rig.buffers + n * 8192,
    }))
    rig.run(() => io_submit_wait(blk, ios))
    expect(ctrl.state).toBe('LIVE')
    // The other one's is what the next response invalidates.
    const keys: number[] = []
    rig.verbs.tamper = wr => {
      if (wr.opcode === 'REG_MR') keys.push(wr.key)
      if (wr.opcode !== 'SEND_WITH_INV') return wr
      rig.verbs.tamper = null
      return { ...wr, invalidate_rkey: keys.find(key => key !== wr.invalidate_rkey)! }
    }
    rig.run(() => io_submit_wait(blk, ios))
    expect(rig.log().join('\n')).toContain('the target invalidated another key')
    rig.pass(3)
    expect(ctrl.state).toBe('LIVE')
  })
})

describe('the device', () => {
  const pd = (memory: VerbsMemory) => memory.ib_alloc_pd(false)

  it('gives what was registered, for what it was registered, within its bounds, and no more', () => {
    const memory = new VerbsMemory(2 ** 20, 8)
    const mine = pd(memory)
    const mr = mine.ib_alloc_mr(16)!
    const pieces = [
      { addr: 0x10800, bytes: 0x800 },
      { addr: 0x30000, bytes: 0x1000 },
      { addr: 0x20000, bytes: 0x200 },
    ]
    expect(mr.ib_map_mr_sg(pieces)).toBe(3)
    const key = mr.rkey + 1
    expect(memory.reach(mine, key, { addr: mr.iova, bytes: 1 }, READ)).toBeNull()
    expect(mr.register(key, LOCAL | READ)).toBe(true)
    expect(mr.register(key, LOCAL | READ)).toBe(false)
    const reach = (addr: number, bytes: number, access = READ, of = mine, by = key) =>
      memory.reach(of, by, { addr, bytes }, access)
    expect(reach(mr.iova, mr.length)).toEqual(pieces)
    expect(reach(mr.iova + 0x7f0, 0x20)).toEqual([
      { addr: 0x10ff0, bytes: 0x10 },
      { addr: 0x30000, bytes: 0x10 },
    ])
    expect(reach(mr.iova + mr.length - 1, 1)).toEqual([{ addr: 0x201ff, bytes: 1 }])
    expect(reach(mr.iova + mr.length - 1, 2)).toBeNull()
    expect(reach(mr.iova - 1, 1)).toBeNull()
    expect(reach(mr.iova, 1, WRITE)).toBeNull()
    expect(reach(mr.iova, 1, READ, mine, key ^ 1)).toBeNull()
    expect(reach(mr.iova, 1, READ, pd(memory))).toBeNull()
    expect(memory.invalidate(mine, key ^ 1)).toBe(false)
    expect(memory.invalidate(mine, key)).toBe(true)
    expect(memory.invalidate(mine, key)).toBe(false)
    expect(reach(mr.iova, 1)).toBeNull()
    mr.ib_dereg_mr()
    expect(memory.regions).toBe(0)
  })

  it.each([
    [
      'a gap in a page',
      [
        [0, 512],
        [8192, 4096],
      ],
      1,
    ],
    [
      'an end in the middle',
      [
        [0, 4096],
        [8192, 512],
        [12288, 512],
      ],
      2,
    ],
    [
      'pieces that touch',
      [
        [512, 100],
        [612, 50000],
        [65536, 4096],
      ],
      2,
    ],
    [
      'more pages than there are',
      [
        [0, 4096 * 15],
        [65536 * 2, 4096 * 2],
      ],
      1,
    ],
    [
      'just as many',
      [
        [2048, 4096 * 15],
        [65536, 2048],
      ],
      1,
    ],
  ] as const)('a region cannot have %s', (_, sg, taken) => {
    const memory = new VerbsMemory(2 ** 20, 8)
    const mr = pd(memory).ib_alloc_mr(16)!
    expect(mr.ib_map_mr_sg(sg.map(([addr, bytes]) => ({ addr, bytes })))).toBe(taken)
  })

  it('has so many regions: a host that needs more does not connect, and leaves nothing', () => {
    const rig = new FabricRig({ cpus: 1, verbs: { max_mr: 100 } })
    expect(() => rig.connect(RDMA_TEXT)).toThrow('connect: -12')
    expect(rig.log().join('\n')).toContain('no memory regions for a pool of 128 for queue 1')
    rig.pass(3)
    expect([rig.verbs.memory.regions, rig.verbs.memory.domains]).toEqual([0, 0])
    expect(rig.subsys.ctrls).toEqual([])
    rig.connect(`${RDMA_TEXT},queue_size=32`)
    expect([rig.verbs.memory.regions, rig.verbs.memory.domains]).toEqual([64, 1])
  })
})

it('commands of which many need places in the send queue wait for them', () => {
  const { rig, ctrl } = connected({}, `${QUIET},queue_size=16`)
  const { queue: q } = rig.ns(ctrl)
  const { blk } = rig.machine.host!
  const bytes = 2 ** 19
  let waited = 0
  rig.verbs.tamper = wr => {
    const lists = [...rig.rdma_port.queues].map(one => one.rsp_wr_wait_list.length)
    waited = Math.max(waited, ...lists)
    return wr
  }
  // 4 work requests for data and one for the response, 12 times, where there are 33 places.
  const ios = Array.from({ length: 12 }, (_, n) => ({
    ...{ q, write: false, pos: n * 2 ** 20, bytes },
    data: rig.buffers,
  }))
  rig.run(() => io_submit_wait(blk, ios))
  expect(waited).toBeGreaterThan(0)
  expect(ctrl.state).toBe('LIVE')
})

describe('latency', () => {
  /** ns of one I/O of 8 KiB. */
  const took = (rig: FabricRig, ctrl: nvme_ctrl, write: boolean): number =>
    rig.run(function* () {
      const ns = rig.ns(ctrl)
      const before = rig.now
      const back = yield* write ? rig.write(ns, 0, new Uint8Array(8192)) : rig.read(ns, 0, 8192)
      expect(write ? back : (back as Uint8Array).length).toBe(write ? 0 : 8192)
      return rig.now - before
    })

  it('a read takes one there and one back, a write that is fetched two of each', () => {
    const [none, some] = [0, 300e3].map(latencyNs => {
      const { rig, ctrl } = connected({ verbs: { latencyNs } })
      return [took(rig, ctrl, false), took(rig, ctrl, true)] as const
    })
    for (const [i, ns] of [600e3, 1200e3].entries()) {
      expect(some![i]).toBeGreaterThanOrEqual(ns)
      expect(some![i]).toBeLessThan(ns + 50e3)
      expect(none![i]).toBeLessThan(50e3)
    }
  })

  it('jitter is between none and all of it, and the same for the same seed', () => {
    const times = (seed: number): number[] => {
      const { rig, ctrl } = connected({ verbs: { latencyNs: 100e3, jitterNs: 100e3, seed } })
      return Array.from({ length: 20 }, () => took(rig, ctrl, false))
    }
    const some = times(1)
    expect(Math.min(...some)).toBeGreaterThanOrEqual(200e3)
    expect(Math.max(...some)).toBeLessThan(450e3)
    expect(new Set(some).size).toBeGreaterThan(10)
    expect(times(1)).toEqual(some)
    expect(times(2)).not.toEqual(some)
  })

  it('what is under way when the link breaks is lost, and done again', () => {
    const rig = new FabricRig({ cpus: 1, verbs: { latencyNs: 100e6 } })
    const ctrl = rig.connect(`${RDMA_TEXT},reconnect_delay=1`)
    const ns = rig.ns(ctrl)
    const data = pattern(4096, 9)
    let status = -1
    rig.machine.host!.k.spawn('io', function* () {
      status = yield* rig.write(ns, 0, data)
    })
    const sent = [...rig.rdma_port.queues].map(queue => queue.nvme_sq.sqhd)
    rig.pass(0.05)
    rig.verbs.cut()
    rig.pass(0.2)
    expect([...rig.rdma_port.queues].map(queue => queue.nvme_sq.sqhd)).not.toEqual(sent)
    expect(status).toBe(-1)
    expect(ctrl.state).toBe('CONNECTING')
    rig.pass(20)
    expect(status).toBe(0)
    expect(rig.run(() => rig.read(ns, 0, data.length))).toEqual(data)
  })
})
