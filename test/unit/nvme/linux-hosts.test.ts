// Whole lives of hosts, command by command with their dwords, as Linux 5.10, 5.15, 6.1, 6.6 and 6.12 send them over NVMe/TCP:
// connect, scan, I/O, keep-alive, shutdown. Every answer is compared byte by byte.
//
//            Connect asks  CC                       limits of the command set   scan of a namespace
//   5.10     15 s          EN at once               -                           descriptors, namespace
//   5.15     5 s           EN at once               before the queues           descriptors, namespace
//   6.1 ...  5 s           written, read, then EN   with the scan               descriptors, namespace twice

import { describe, expect, it } from 'vitest'
import type { Target } from '../../../src/workload/serve.js'
import { closeHost, type Cmd, connectHost, type Digests, RawQueue, type Rsp } from './raw-host.js'
import { withTarget } from './with-target.js'

const NQN = 'nqn.2026-11.io.phasebit:linux'
const SIZE = 64 * 2 ** 20
const ALL = 0xffffffff
const INVALID_FIELD = 0x4002

let target: Target

withTarget({ nqn: NQN, devices: [`nvme,size=${SIZE},model=ram`] }, opened => {
  target = opened
})

/** One queue of a host, which knows what every completion must look like. */
class Queue {
  readonly raw: RawQueue
  readonly #qid: number
  readonly #size: number
  readonly #flow: boolean
  #head = 0
  #cid = 0

  private constructor(raw: RawQueue, qid: number, sqsize: number, flow: boolean) {
    this.raw = raw
    this.#qid = qid
    this.#size = sqsize + 1
    this.#flow = flow
  }

  static async open(
    qid: number,
    sqsize: number,
    kato: number,
    options: { cntlid?: number; digests: Digests; cattr?: number },
  ): Promise<{ q: Queue; cntlid: number }> {
    const { cntlid = 0xffff, digests, cattr = 0 } = options
    const raw = await RawQueue.open(target.port)
    await raw.init(digests)
    const q = new Queue(raw, qid, sqsize, (cattr & 4) === 0)
    const rsp = await raw.connect({ subnqn: NQN, qid, sqsize, kato, cntlid, cattr })
    if (qid > 0) expect(rsp.dw0).toBe(cntlid)
    q.#check(rsp, rsp.dw0 & 0xffff, 0)
    return { q, cntlid: rsp.dw0 }
  }

  /** The completion's sixteen bytes, in the last PDU. */
  #check(rsp: Rsp, result: number | bigint, status: number): void {
    this.#head = (this.#head + 1) % this.#size
    const cqe = Buffer.alloc(16)
    cqe.writeBigUInt64LE(BigInt(result), 0)
    cqe.writeUInt16LE(this.#flow ? this.#head : 0xffff, 8)
    cqe.writeUInt16LE(this.#qid, 10)
    cqe.writeUInt16LE(rsp.cid, 12)
    cqe.writeUInt16LE(status << 1, 14)
    const pdu = this.raw.pdus.at(-1)!
    const digest = this.raw.digests.header ? 1 : 0
    expect([...pdu.header.subarray(0, 8)]).toEqual([5, digest, 24, 0, 24 + 4 * digest, 0, 0, 0])
    expect(pdu.header.subarray(8).toString('hex')).toBe(cqe.toString('hex'))
  }

  /** Runs a command; identifiers carry a generation, as from 5.14 on. */
  async run(cmd: Cmd, result: number | bigint = 0, status = 0): Promise<Buffer> {
    const n = this.#cid++
    const cid = ((n % 15) + 1) * 4096 + (n % 128)
    const before = this.raw.pdus.length
    const rsp = await this.raw.run({ cid, ...cmd })
    this.#check(rsp, result, status)
    const data = this.raw.pdus.slice(before).filter(({ type }) => type === 7)
    const wanted = status === 0 && cmd.length !== undefined
    expect(data.map(({ data }) => data.length)).toEqual(wanted ? [cmd.length] : [])
    if (wanted) {
      expect(data[0]!.flags & 0x0c).toBe(4)
      // offset 0, and all of it in one piece
      const { header } = data[0]!
      expect([header.readUInt32LE(12), header.readUInt32LE(16)]).toEqual([0, cmd.length])
    }
    return rsp.data
  }

  property(offset: number, value: number | bigint, wide = false): Promise<Buffer> {
    const patch = (sqe: Buffer): void => {
      sqe[4] = 4
      sqe[40] = wide ? 1 : 0
      sqe.writeUInt32LE(offset, 44)
    }
    return this.run({ opcode: 0x7f, patch }, value)
  }

  setCc(value: number): Promise<Buffer> {
    const patch = (sqe: Buffer): void => {
      sqe[4] = 0
      sqe.writeUInt32LE(0x14, 44)
      sqe.writeUInt32LE(value, 48)
    }
    return this.run({ opcode: 0x7f, patch })
  }
}

/** The keep-alive time is real and the 5 or 15 seconds of these hosts are not much on a busy machine: so many times as long. */
const PATIENCE = 60

interface Host {
  readonly kato: number
  readonly enable: 'at once' | 'in two steps'
  readonly limits: 'none' | 'before queues' | 'at scan'
  readonly namespaceTwice: boolean
  readonly digests: Digests
}

const NONE = { header: false, data: false }
const BOTH = { header: true, data: true }
const NEWER = {
  kato: 5000,
  enable: 'in two steps',
  limits: 'at scan',
  namespaceTwice: true,
} as const

const HOSTS: Readonly<Record<string, Host>> = {
  '5.10': {
    kato: 15000,
    enable: 'at once',
    limits: 'none',
    namespaceTwice: false,
    digests: NONE,
  },
  '5.15': {
    kato: 5000,
    enable: 'at once',
    limits: 'before queues',
    namespaceTwice: false,
    digests: { header: true, data: false },
  },
  '6.1': { ...NEWER, digests: NONE },
  '6.6': { ...NEWER, digests: NONE },
  '6.12': { ...NEWER, digests: BOTH },
}

const identify = (cns: number, nsid = 0): Cmd => ({ opcode: 6, nsid, cdw: [cns], length: 4096 })
const log = (lid: number, bytes: number): Cmd => ({
  opcode: 2,
  nsid: ALL,
  cdw: [lid | ((bytes / 4 - 1) << 16), 0, 0, 0, 0],
  length: bytes,
})

async function enable(admin: Queue, host: Host): Promise<void> {
  const cap = 0x0000_0020_0f00_03ffn
  await admin.property(0, cap, true)
  if (host.enable === 'in two steps') {
    await admin.setCc(0x00460000)
    await admin.property(0x14, 0x00460000)
    await admin.property(0, cap, true)
  }
  await admin.setCc(0x00460001)
  await admin.property(0x1c, 1)
  await admin.property(8, 0x10300)
}

async function scan(admin: Queue, host: Host): Promise<void> {
  if (host.limits === 'at scan') await admin.run(identify(6), 0, INVALID_FIELD)
  const list = await admin.run(identify(2))
  expect([list.readUInt32LE(0), list.readUInt32LE(4)]).toEqual([1, 0])
  const descriptors = await admin.run(identify(3, 1))
  expect([descriptors[0], descriptors[20], descriptors[40]]).toEqual([3, 2, 0])
  const ns = await admin.run(identify(0, 1))
  if (host.namespaceTwice) expect((await admin.run(identify(0, 1))).equals(ns)).toBe(true)
  // NSZE, NCAP, NUSE; FLBAS, MC, DPC, DPS; LBAF 0
  for (const at of [0, 8, 16]) expect(ns.readBigUInt64LE(at)).toBe(BigInt(SIZE / 512))
  expect([...ns.subarray(25, 30), ns.readUInt32LE(128)]).toEqual([0, 0, 0, 0, 0, 0x00090000])
}

/** CDW12 of reads and writes: blocks, and control in the upper half; CDW13: hints. */
const rw = (opcode: number, slba: number, bytes: number, control = 0, dsm = 0): Cmd => ({
  opcode,
  nsid: 1,
  cdw: [slba, 0, (bytes / 512 - 1) | (control << 16), dsm, 0, 0],
})
const FUA = 0x4000
const LIMITED_RETRY = 0x8000
const PREFETCH = 7
const DEAC = 0x0200

async function io(q: Queue): Promise<void> {
  // the partition table, read ahead; then what mkfs and fio send
  await q.run({ ...rw(2, 0, 4096, 0, PREFETCH), length: 4096 })
  await q.run({ ...rw(2, SIZE / 512 - 8, 4096, LIMITED_RETRY), length: 4096 })
  const small = Buffer.alloc(4096, 0x11)
  await q.run({ ...rw(1, 8, 4096, FUA), inline: small })
  const capsule = Buffer.alloc(16384, 0x22)
  await q.run({ ...rw(1, 16, 16384), inline: capsule })
  const large = Buffer.alloc(2 ** 20, 0x33)
  const r2ts = q.raw.r2ts.length
  await q.run({ ...rw(1, 2048, 2 ** 20), out: large })
  expect(q.raw.r2ts.slice(r2ts).map(({ offset, length }) => [offset, length])).toEqual(
    Array.from({ length: 8 }, (_, i) => [i * 131072, 131072]),
  )
  await q.run({ opcode: 0, nsid: 1 })
  expect((await q.run({ ...rw(2, 8, 4096), length: 4096 })).equals(small)).toBe(true)
  expect((await q.run({ ...rw(2, 2048, 2 ** 20), length: 2 ** 20 })).equals(large)).toBe(true)
}

async function discards(q: Queue): Promise<void> {
  // 256 ranges are the most; the whole device is one
  const ranges = Buffer.alloc(4096)
  for (let i = 0; i < 256; i++) {
    ranges.writeUInt32LE(1, 16 * i + 4)
    ranges.writeBigUInt64LE(BigInt(2048 + 2 * i), 16 * i + 8)
  }
  await q.run({ opcode: 9, nsid: 1, cdw: [255, 4], inline: ranges })
  const holes = await q.run({ ...rw(2, 2048, 262144), length: 262144 })
  for (let i = 0; i < 512; i++) expect(holes[i * 512]).toBe(i % 2 ? 0x33 : 0)
  // Write Zeroes of no whole page, and of as much as one command can say
  await q.run(rw(8, 2049, 512 * 6, DEAC))
  const zeroed = await q.run({ ...rw(2, 2048, 8192), length: 8192 })
  expect(Array.from({ length: 16 }, (_, i) => zeroed[i * 512]! & 0xff)).toEqual([
    ...[0, 0, 0, 0, 0, 0, 0, 0x33, 0, 0x33, 0, 0x33, 0, 0x33, 0, 0x33],
  ])
  await q.run(rw(8, 0, 65536 * 512))
  ranges.fill(0)
  ranges.writeUInt32LE(SIZE / 512, 4)
  await q.run({ opcode: 9, nsid: 1, cdw: [0, 4], inline: ranges })
  const empty = await q.run({ ...rw(2, 2048, 2 ** 20), length: 2 ** 20 })
  expect(empty.every(byte => byte === 0)).toBe(true)
}

describe.each(Object.entries(HOSTS))('Linux %s', (_, host) => {
  it('connects, looks, writes, discards, lives on and goes', async () => {
    const { kato, digests } = host
    const { q: admin, cntlid } = await Queue.open(0, 31, kato * PATIENCE, { digests })
    await enable(admin, host)
    const id = await admin.run(identify(1))
    expect(id.readUInt16LE(78)).toBe(cntlid)
    const effects = await admin.run(log(5, 4096))
    expect([effects[4 * 0x0c], effects[1024 + 4 * 2], effects[1024 + 4]]).toEqual([1, 1, 3])
    if (host.limits === 'before queues') await admin.run(identify(6), 0, INVALID_FIELD)
    await admin.run(log(2, 512))
    await admin.run({ opcode: 9, cdw: [7, 0x00010001] }, 0x007f007f)
    const options = { digests, cntlid }
    const first = (await Queue.open(1, 127, 0, options)).q
    const second = (await Queue.open(2, 1023, 0, options)).q
    await admin.run({ opcode: 9, cdw: [0x0b, 0x100] }, 0x100)
    admin.raw.send({ opcode: 0x0c, cid: 31 })
    await scan(admin, host)
    await io(first)
    await discards(second)
    await admin.run({ opcode: 0x18 })
    await admin.setCc(0x00464001)
    await admin.property(0x1c, 8)
    for (const { raw } of [admin, first, second]) raw.socket.destroy()
  })
})

it('a host of 128 CPUs: a queue each, and more data at once than the target has room for', async () => {
  const host = await connectHost(target.port, NQN, { queues: 128, sqsize: 1023 })
  const bytes = 2 ** 20
  // 80 MiB wait for R2Ts, the pool has 64
  const writes = host.io.slice(0, 80).map((q, i) => {
    const out = Buffer.alloc(bytes, i + 1)
    return q.run({ ...rw(1, (i % 40) * 2048, bytes), out })
  })
  const small = host.io
    .slice(80)
    .map((q, i) => q.run({ ...rw(1, 40 * 2048 + 8 * i, 4096), inline: Buffer.alloc(4096, i + 1) }))
  for (const { status } of await Promise.all([...writes, ...small])) expect(status).toBe(0)
  for (const i of [0, 39]) {
    const { data } = await host.io[127 - i]!.run({ ...rw(2, i * 2048, bytes), length: bytes })
    // one of its two writers was the last
    expect([i + 1, i + 41]).toContain(data[0])
    expect(data.equals(Buffer.alloc(bytes, data[0]))).toBe(true)
  }
  const last = await host.io[0]!.run({ ...rw(2, 40 * 2048 + 8 * 47, 4096), length: 4096 })
  expect(last.data.equals(Buffer.alloc(4096, 48))).toBe(true)
  expect(target.facts().heldBytes).toBe(0)
  closeHost(host)
})
