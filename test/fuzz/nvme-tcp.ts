// NVMe/TCP streams, two ways.
//
// nvme-tcp-codec: PDUs written by the codec, cut into pieces at random, must be read as what they were; spoiled ones must
// end in a violation of a known code or be read as PDUs, never more bytes than came, never an exception.
//
// nvme-tcp-target: conversations of a host with the target in virtual time, spoiled at random places. The target answers
// what is good, ends what is not with one TermReq, and afterwards holds no memory, no queue and no controller.

import {
  type data_fields,
  data_fields_of,
  icreq_pdu,
  icresp_pdu,
  nvme_tcp_c2h_data,
  nvme_tcp_h2c_data,
  nvme_tcp_reader,
  type pdu_digests,
  type pdu_sink,
  put_cmd,
  put_data,
  put_r2t,
  put_rsp,
} from '../../src/drivers/nvme/nvme-tcp.js'
import {
  connect_command,
  connect_data,
  property_set,
  set_sgl,
} from '../../src/drivers/nvme/nvme.js'
import { put16, put32 } from '../../src/drivers/nvme/bytes.js'
import { VirtualTarget, VNQN } from '../unit/nvme/virtual-target.js'
import { type Fuzz, FuzzFailure, fuzzer } from './fuzzer.js'
import type { Prng } from './prng.js'

function bytesOf(random: Prng, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = random.next()
  return bytes
}

function check(good: boolean, what: string): void {
  if (!good) throw new FuzzFailure(what)
}

const LENGTHS = [1, 4, 16, 64, 100, 512, 1000]

interface Written {
  readonly header: Uint8Array
  readonly data: Uint8Array
}

/** A stream of PDUs of one side, and what it holds. */
function stream(
  random: Prng,
  side: 'host' | 'controller',
  digests: pdu_digests,
): { bytes: Uint8Array; pdus: Written[]; init: number } {
  const out = new Uint8Array(16384)
  const fields = { pfv: 0, pda: 0, limit: random.below(65536), ...digests }
  const init = side === 'host' ? icreq_pdu(fields) : icresp_pdu(fields)
  out.set(init)
  let at = init.length
  const pdus: Written[] = [{ header: init, data: new Uint8Array(0) }]
  for (let n = random.below(6); n > 0; n--) {
    const begin = at
    const data = random.chance(60) ? bytesOf(random, random.pick(LENGTHS)) : new Uint8Array(0)
    const place: data_fields = {
      cid: random.below(65536),
      ttag: random.below(65536),
      offset: random.below(100_000),
      length: data.length,
    }
    const pda = random.below(32)
    if (side === 'host') {
      if (data.length > 0 && random.chance(50))
        at = put_data(out, at, nvme_tcp_h2c_data, 4, place, data, digests, pda)
      else at = put_cmd(out, at, bytesOf(random, 64), data, digests, pda)
    } else if (data.length > 0)
      at = put_data(out, at, nvme_tcp_c2h_data, 12, place, data, digests, pda)
    else if (random.chance(50)) at = put_rsp(out, at, bytesOf(random, 16), digests)
    else at = put_r2t(out, at, place, digests)
    pdus.push({ header: out.slice(begin, begin + out[begin + 2]!), data })
  }
  return { bytes: out.slice(0, at), pdus, init: init.length }
}

class Collector implements pdu_sink {
  readonly pdus: { header: Uint8Array; data: Uint8Array[]; digest: boolean }[] = []
  readonly #random: Prng
  bytes = 0

  constructor(random: Prng) {
    this.#random = random
  }

  header(header: Uint8Array): 'ok' | 'wait' {
    if (this.#random.chance(10)) return 'wait'
    this.pdus.push({ header: header.slice(), data: [], digest: true })
    return 'ok'
  }

  data(bytes: Uint8Array, from: number, to: number): void {
    this.bytes += to - from
    this.pdus.at(-1)!.data.push(bytes.slice(from, to))
  }

  end(_header: Uint8Array, digest: boolean): 'ok' {
    this.pdus.at(-1)!.digest = digest
    return 'ok'
  }
}

function readAll(random: Prng, reader: nvme_tcp_reader, bytes: Uint8Array): void {
  let at = 0
  while ((at < bytes.length || reader.held) && reader.failed === null) {
    const piece = 1 + random.below(random.chance(50) ? 8 : bytes.length)
    const used = reader.feed(bytes, at, Math.min(bytes.length, at + piece))
    check(used >= 0 && used <= piece, `${used} of ${piece} bytes were used`)
    at += used
  }
}

function codecCase(random: Prng, remember: (input: string) => void): void {
  const side = random.chance(50) ? 'host' : 'controller'
  const digests = { hdr_digest: random.chance(50), data_digest: random.chance(50) }
  const { bytes, pdus, init } = stream(random, side, digests)
  const spoiled = random.chance(50)
  const at = spoiled ? random.below(bytes.length) : 0
  if (spoiled) bytes[at]! ^= 1 << random.below(8)
  remember(Buffer.from(bytes).toString('hex'))
  const sink = new Collector(random)
  const reader = new nvme_tcp_reader(side, sink)
  // Digests begin after the first PDU.
  readAll(random, reader, bytes.subarray(0, init))
  reader.hdr_digest = digests.hdr_digest
  reader.data_digest = digests.data_digest
  readAll(random, reader, bytes.subarray(init))
  check(sink.bytes <= bytes.length, 'more data than bytes')
  if (reader.failed) {
    check(spoiled, `a good stream was refused: ${JSON.stringify(reader.failed)}`)
    check(reader.failed.fes >= 1 && reader.failed.fes <= 6, 'a code that there is not')
    check(reader.header.length <= 128, 'a header longer than any')
    return
  }
  if (!spoiled) compare(sink, pdus)
  else if (digests.hdr_digest && digests.data_digest && at >= init) checkNoticed(sink, bytes, at)
}

function compare(sink: Collector, pdus: readonly Written[]): void {
  check(sink.pdus.length === pdus.length, `${sink.pdus.length} PDUs of ${pdus.length}`)
  for (const [i, { header, data }] of pdus.entries()) {
    const read = sink.pdus[i]!
    check(Buffer.compare(read.header, header) === 0, `header ${i}`)
    check(Buffer.compare(Buffer.concat(read.data), data) === 0, `data ${i}`)
    check(read.digest, `digest ${i}`)
    check(header.length < 24 || data_fields_of(header).cid >= 0, 'fields')
  }
}

/** With both digests a spoiled bit that did no harm to the frame was in data, a digest or padding. */
function checkNoticed(sink: Collector, bytes: Uint8Array, at: number): void {
  let begin = 0
  for (const read of sink.pdus) {
    const plen = Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32LE(begin + 4)
    const head = bytes[begin + 2]! + (begin === 0 ? 0 : 4)
    const pdo = bytes[begin + 3]! || plen
    if (at >= begin && at < begin + plen) {
      const inPadding = at >= begin + head && at < begin + pdo
      check(inPadding || !read.digest, 'a spoiled bit went unnoticed')
    }
    begin += plen
  }
}

export const codec: Fuzz = fuzzer('nvme-tcp-codec', codecCase)

// ---------------------------------------------------------------- the target

/** Commands after Connect, good ones for the most part. */
function someCommand(random: Prng, admin: boolean): { cmd: Uint8Array; data: Uint8Array } {
  const cmd = new Uint8Array(64)
  let data = new Uint8Array(0)
  cmd[0] = random.pick(admin ? [2, 6, 8, 9, 10, 0x0c, 0x18, 0x7f, 0xc0] : [0, 1, 2, 8, 9, 0x33])
  cmd[1] = random.chance(95) ? 0x40 : random.next()
  put16(cmd, 2, random.below(65536))
  put32(cmd, 4, random.chance(90) ? 1 : random.next())
  if (cmd[0] === 0x7f) cmd[4] = random.below(8)
  for (let i = 40; i < 64; i += 4)
    put32(cmd, i, random.chance(70) ? random.below(9) : random.next())
  if (random.chance(40)) {
    data = new Uint8Array(random.pick([16, 512, 1024, 4096]))
    set_sgl(cmd, 1, random.chance(95) ? data.length : random.below(70_000))
  } else set_sgl(cmd, 0x5a, random.pick([0, 16, 512, 4096, 4608, 65536, 2 ** 21]))
  return { cmd, data }
}

function conversation(random: Prng, digests: pdu_digests): Uint8Array {
  const out = new Uint8Array(65536)
  out.set(icreq_pdu({ pfv: 0, pda: 0, limit: 0, ...digests }))
  let at = 128
  const none = new Uint8Array(0)
  const connect = connect_command({ qid: 0, sqsize: 31, kato: random.chance(50) ? 5000 : 0 })
  const data = connect_data(new Uint8Array(16), 0xffff, VNQN, 'nqn.fuzz')
  set_sgl(connect, 1, data.length)
  at = put_cmd(out, at, connect, data, digests)
  const enable = property_set(0x14, 0x00460001)
  set_sgl(enable, 0x5a, 0)
  if (random.chance(90)) at = put_cmd(out, at, enable, none, digests)
  for (let n = random.below(4); n > 0; n--) {
    const { cmd, data: payload } = someCommand(random, true)
    at = put_cmd(out, at, cmd, payload, digests)
  }
  if (random.chance(20)) {
    const length = random.pick([1, 512, 4096])
    const place = { cid: random.below(9), ttag: random.below(4), offset: 0, length }
    at = put_data(out, at, nvme_tcp_h2c_data, 4, place, new Uint8Array(length), digests)
  }
  return out.slice(0, at)
}

let virtual: VirtualTarget | undefined

function targetCase(random: Prng, remember: (input: string) => void): void {
  virtual ??= new VirtualTarget()
  const digests = { hdr_digest: random.chance(20), data_digest: random.chance(20) }
  const bytes = conversation(random, digests)
  for (let n = random.below(4); n > 0; n--) {
    const at = random.chance(50)
      ? random.below(Math.min(300, bytes.length))
      : random.below(bytes.length)
    bytes[at] = random.next()
  }
  remember(Buffer.from(bytes).toString('hex'))
  const { sock } = virtual.accept()
  const cuts = random.below(3)
  let at = 0
  for (let n = 0; n <= cuts; n++) {
    const end = n === cuts ? bytes.length : at + random.below(bytes.length - at)
    if (end > at) sock.bring(bytes.slice(at, end))
    at = end
    if (random.chance(30)) virtual.settle()
  }
  virtual.settle()
  checkAnswers(sock.take())
  if (random.chance(50)) {
    sock.hangUp()
    virtual.settle()
  } else
    for (const queue of virtual.port.queues) {
      queue.sock.kernel_sock_shutdown()
      sock.hangUp()
      virtual.settle()
    }
  // A queue goes when a grace period is over.
  virtual.pass(0.02)
  check(virtual.port.queues.size === 0, 'a queue is left')
  check(virtual.subsys.ctrls.length === 0, 'a controller is left')
  check(virtual.pool.used === 0, `${virtual.pool.used} bytes are held`)
  check(virtual.target.cntlids.size === 0, 'a controller identifier is left')
}

/** Whole PDUs, at most one TermReq, and that as the last. */
function checkAnswers(bytes: Buffer): void {
  let at = 0
  let terminated = false
  while (at < bytes.length) {
    check(!terminated, 'something came after a TermReq')
    check(at + 8 <= bytes.length, 'a PDU is cut off')
    const [type, plen] = [bytes[at]!, bytes.readUInt32LE(at + 4)]
    check([1, 3, 5, 7, 9].includes(type), `a PDU of type ${type}`)
    check(plen >= 24 && at + plen <= bytes.length, `a PDU of ${plen} bytes`)
    terminated = type === 3
    at += plen
  }
}

export const target: Fuzz = fuzzer('nvme-tcp-target', targetCase)
