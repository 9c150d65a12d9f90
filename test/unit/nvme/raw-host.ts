// A small NVMe/TCP host of its own, for tests of the target: PDUs are written by hand from the tables of the
// specification, nothing of src/drivers is used.

import { connect, type Socket } from 'node:net'

export const HOSTNQN = 'nqn.2014-08.org.nvmexpress:uuid:test-host'

/** Nobody sends Keep Alive here, and a busy host may leave a test without CPU for a minute. */
const KATO_MS = 15 * 60_000

/** CRC32C, one bit at a time. */
export function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

export interface Pdu {
  readonly type: number
  readonly flags: number
  readonly header: Buffer
  readonly data: Buffer
}

export interface Rsp {
  readonly status: number
  readonly dw0: number
  readonly result: bigint
  readonly sqhd: number
  readonly sqid: number
  readonly cid: number
  readonly data: Buffer
}

export interface Digests {
  readonly header: boolean
  readonly data: boolean
}

/** One PDU; `plen` and digests are made here. */
export function pdu(header: Buffer, data: Uint8Array, digests: Digests, flags = 0): Buffer {
  const out = Buffer.from(header)
  const head = digests.header ? 4 : 0
  const tail = digests.data && data.length > 0 ? 4 : 0
  out[1] = flags | (head ? 1 : 0) | (tail ? 2 : 0)
  out[3] = data.length > 0 ? out.length + head : 0
  out.writeUInt32LE(out.length + head + data.length + tail, 4)
  const sum = (bytes: Uint8Array): Buffer => {
    const b = Buffer.alloc(4)
    b.writeUInt32LE(slowCrc(bytes))
    return b
  }
  return Buffer.concat([out, ...(head ? [sum(out)] : []), data, ...(tail ? [sum(data)] : [])])
}

export function icreq(fields: {
  pfv?: number
  hpda?: number
  digest?: number
  maxr2t?: number
}): Buffer {
  const b = Buffer.alloc(128)
  b[2] = 128
  b.writeUInt32LE(128, 4)
  b.writeUInt16LE(fields.pfv ?? 0, 8)
  b[10] = fields.hpda ?? 0
  b[11] = fields.digest ?? 0
  b.writeUInt32LE(fields.maxr2t ?? 0, 12)
  return b
}

export interface Cmd {
  readonly opcode: number
  readonly cid?: number
  readonly nsid?: number
  readonly flags?: number
  /** Dwords 10 to 15. */
  readonly cdw?: readonly number[]
  /** Bytes wanted, or to be sent by H2CData. */
  readonly length?: number
  /** Data that go in the capsule. */
  readonly inline?: Uint8Array
  /** Data that go by H2CData. */
  readonly out?: Uint8Array
  /** More bytes written into the command. */
  readonly patch?: (cmd: Buffer) => void
}

/** One queue over one socket. */
export class RawQueue {
  readonly socket: Socket
  readonly pdus: Pdu[] = []
  digests: Digests = { header: false, data: false }
  closed = false
  maxh2cdata = 0
  #bytes: Buffer = Buffer.alloc(0)
  #cid = 0
  readonly #waiters: (() => void)[] = []
  /** Data in, by command. */
  readonly #data = new Map<number, Buffer[]>()
  readonly #out = new Map<number, Uint8Array>()
  readonly #done = new Map<number, Rsp>()
  /** Data of every R2T: offset and length. */
  readonly r2ts: { cid: number; offset: number; length: number }[] = []

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#parse()
      this.#wake()
    })
    const over = (): void => {
      this.closed = true
      this.#wake()
    }
    socket.on('close', over)
    socket.on('error', over)
  }

  static async open(port: number, address = '127.0.0.1'): Promise<RawQueue> {
    const socket = connect({ port, host: address, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawQueue(socket)
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter()
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.closed) await new Promise<void>(r => this.#waiters.push(r))
    if (!condition()) throw new Error('the connection was closed')
  }

  /** Waits for the end of the connection. */
  async end(): Promise<void> {
    while (!this.closed) await new Promise<void>(r => this.#waiters.push(r))
  }

  #parse(): void {
    while (this.#bytes.length >= 8) {
      const plen = this.#bytes.readUInt32LE(4)
      if (this.#bytes.length < plen) return
      const raw = this.#bytes.subarray(0, plen)
      this.#bytes = this.#bytes.subarray(plen)
      this.#take(raw)
    }
  }

  #take(raw: Buffer): void {
    const [type, flags, hlen, pdo] = [raw[0]!, raw[1]!, raw[2]!, raw[3]!]
    const header = raw.subarray(0, hlen)
    if (flags & 1 && slowCrc(header) !== raw.readUInt32LE(hlen)) throw new Error('header digest')
    const data = pdo ? raw.subarray(pdo, raw.length - (flags & 2 ? 4 : 0)) : raw.subarray(hlen)
    if (flags & 2 && slowCrc(data) !== raw.readUInt32LE(raw.length - 4))
      throw new Error('data digest')
    this.pdus.push({ type, flags, header, data: pdo ? data : Buffer.alloc(0) })
    if (type === 7) this.#dataIn(header, data, flags)
    else if (type === 9) this.#r2t(header)
    else if (type === 5) this.#response(header)
  }

  #dataIn(header: Buffer, data: Buffer, flags: number): void {
    const cid = header.readUInt16LE(8)
    const parts = this.#data.get(cid) ?? []
    parts.push(Buffer.from(data))
    this.#data.set(cid, parts)
    if (!(flags & 8)) return
    const all = Buffer.concat(parts)
    this.#data.delete(cid)
    this.#done.set(cid, { status: 0, dw0: 0, result: 0n, sqhd: 0xffff, sqid: 0, cid, data: all })
  }

  #r2t(header: Buffer): void {
    const cid = header.readUInt16LE(8)
    const ttag = header.readUInt16LE(10)
    const offset = header.readUInt32LE(12)
    const length = header.readUInt32LE(16)
    this.r2ts.push({ cid, offset, length })
    const out = this.#out.get(cid)
    if (out) this.sendData(cid, ttag, offset, out.subarray(offset, offset + length))
  }

  /** H2CData, in PDUs of at most `most` bytes. */
  sendData(
    cid: number,
    ttag: number,
    offset: number,
    data: Uint8Array,
    most = this.maxh2cdata,
  ): void {
    for (let at = 0; at < data.length; at += most) {
      const part = data.subarray(at, at + most)
      const h = Buffer.alloc(24)
      h[0] = 6
      h[2] = 24
      h.writeUInt16LE(cid, 8)
      h.writeUInt16LE(ttag, 10)
      h.writeUInt32LE(offset + at, 12)
      h.writeUInt32LE(part.length, 16)
      const last = at + most >= data.length ? 4 : 0
      this.socket.write(pdu(h, part, this.digests, last))
    }
  }

  #response(header: Buffer): void {
    const cid = header.readUInt16LE(20)
    const data = Buffer.concat(this.#data.get(cid) ?? [])
    this.#data.delete(cid)
    this.#out.delete(cid)
    this.#done.set(cid, {
      status: header.readUInt16LE(22) >> 1,
      dw0: header.readUInt32LE(8),
      result: header.readBigUInt64LE(8),
      sqhd: header.readUInt16LE(16),
      sqid: header.readUInt16LE(18),
      cid,
      data,
    })
  }

  async init(digests: Digests = { header: false, data: false }): Promise<Buffer> {
    const digest = (digests.header ? 1 : 0) | (digests.data ? 2 : 0)
    this.socket.write(icreq({ digest }))
    await this.until(() => this.pdus.some(p => p.type === 1))
    const { header } = this.pdus.find(p => p.type === 1)!
    this.digests = digests
    this.maxh2cdata = header.readUInt32LE(12)
    return header
  }

  /** Sends a command; its identifier. */
  send(cmd: Cmd): number {
    const cid = cmd.cid ?? (this.#cid = (this.#cid + 1) % 0x1000)
    const h = Buffer.alloc(72)
    h[0] = 4
    h[2] = 72
    const sqe = h.subarray(8)
    sqe[0] = cmd.opcode
    sqe[1] = cmd.flags ?? 0x40
    sqe.writeUInt16LE(cid, 2)
    sqe.writeUInt32LE(cmd.nsid ?? 0, 4)
    for (const [i, value] of (cmd.cdw ?? []).entries()) sqe.writeUInt32LE(value >>> 0, 40 + 4 * i)
    const inline = cmd.inline ?? Buffer.alloc(0)
    sqe.writeUInt32LE(cmd.inline ? inline.length : (cmd.out?.length ?? cmd.length ?? 0), 32)
    sqe[39] = cmd.inline ? 0x01 : 0x5a
    cmd.patch?.(sqe)
    if (cmd.out) this.#out.set(cid, cmd.out)
    this.socket.write(pdu(h, inline, this.digests))
    return cid
  }

  /** Whether a command was answered. */
  answered(cid: number): boolean {
    return this.#done.has(cid)
  }

  async result(cid: number): Promise<Rsp> {
    await this.until(() => this.#done.has(cid))
    const rsp = this.#done.get(cid)!
    this.#done.delete(cid)
    return rsp
  }

  run(cmd: Cmd): Promise<Rsp> {
    return this.result(this.send(cmd))
  }

  connect(fields: {
    qid?: number
    sqsize?: number
    kato?: number
    cntlid?: number
    subnqn: string
    hostnqn?: string
    cattr?: number
    recfmt?: number
  }): Promise<Rsp> {
    const { qid = 0, sqsize = 31, kato = KATO_MS, cntlid = 0xffff, hostnqn = HOSTNQN } = fields
    const data = Buffer.alloc(1024)
    data.fill(7, 0, 16)
    data.writeUInt16LE(cntlid, 16)
    data.write(fields.subnqn, 256, 'latin1')
    data.write(hostnqn, 512, 'latin1')
    const patch = (sqe: Buffer): void => {
      sqe[4] = 1
      sqe.writeUInt16LE(fields.recfmt ?? 0, 40)
      sqe.writeUInt16LE(qid, 42)
      sqe.writeUInt16LE(sqsize, 44)
      sqe[46] = fields.cattr ?? 0
      sqe.writeUInt32LE(kato, 48)
    }
    return this.run({ opcode: 0x7f, inline: data, patch })
  }

  property(offset: number, wide = false): Promise<Rsp> {
    return this.run({
      opcode: 0x7f,
      patch: sqe => {
        sqe[4] = 4
        sqe[40] = wide ? 1 : 0
        sqe.writeUInt32LE(offset, 44)
      },
    })
  }

  setProperty(offset: number, value: number, wide = false): Promise<Rsp> {
    return this.run({
      opcode: 0x7f,
      patch: sqe => {
        sqe[4] = 0
        sqe[40] = wide ? 1 : 0
        sqe.writeUInt32LE(offset, 44)
        sqe.writeUInt32LE(value, 48)
      },
    })
  }

  identify(cns: number, nsid = 0): Promise<Rsp> {
    return this.run({ opcode: 6, nsid, cdw: [cns], length: 4096 })
  }
}

/** A host that is connected: an admin queue, enabled, and I/O queues. */
export interface RawHost {
  readonly admin: RawQueue
  readonly io: readonly RawQueue[]
  readonly cntlid: number
}

export async function connectHost(
  port: number,
  subnqn: string,
  options: {
    queues?: number
    digests?: Digests
    sqsize?: number
    cattr?: number
    hostnqn?: string
  } = {},
): Promise<RawHost> {
  const { queues = 1, digests, sqsize = 127, cattr = 0 } = options
  const host = options.hostnqn === undefined ? {} : { hostnqn: options.hostnqn }
  const admin = await RawQueue.open(port)
  await admin.init(digests)
  const answer = await admin.connect({ subnqn, ...host })
  if (answer.status !== 0) throw new Error(`connect: ${answer.status.toString(16)}`)
  const cntlid = answer.dw0 & 0xffff
  await admin.setProperty(0x14, 0x00460001)
  const io: RawQueue[] = []
  for (let qid = 1; qid <= queues; qid++) {
    const q = await RawQueue.open(port)
    await q.init(digests)
    const rsp = await q.connect({ subnqn, qid, sqsize, kato: 0, cntlid, cattr, ...host })
    if (rsp.status !== 0) throw new Error(`connect of queue ${qid}: ${rsp.status.toString(16)}`)
    io.push(q)
  }
  return { admin, io, cntlid }
}

export function closeHost(host: RawHost): void {
  host.admin.socket.destroy()
  for (const q of host.io) q.socket.destroy()
}
