// The NVMe/TCP host and a target that breaks the rules, one PDU a case: an I/O queue of a connected host talks to a peer that
// is made of drawn bytes. What the host may take of them is judged beside it (nvme-tcp-judge.ts): after each piece it must
// have ended the connection, with a TermReq, exactly when the judge says so.
//
// One machine and one controller live on over all cases. Only the queue is connected anew when the host has ended it: the
// error recovery of the whole controller is replaced by one of the queue, and the ICResp of the new connection is spoiled
// now and then, too. A story ends with good answers to everything; then each I/O must have ended, and once.
//
// Data are not compared: without digests a turned bit in them is for nobody to see.

import { REQ_OP_FLUSH, REQ_OP_READ, REQ_OP_WRITE, REQ_PREFLUSH } from '../../assembly/nvme.js'
import { bio_init, submit_bio_now } from '../../src/block/bio.js'
import type { LinkSocket } from '../../src/device/tcp-link.js'
import { nvme_start_queues } from '../../src/drivers/nvme/host/core-ctrl.js'
import { nvme_change_ctrl_state } from '../../src/drivers/nvme/host/core-state.js'
import { life_of, type nvmf_life } from '../../src/drivers/nvme/host/fabrics-life.js'
import { teardown_io_queues } from '../../src/drivers/nvme/host/fabrics-queues.js'
import { crc32c } from '../../src/drivers/nvme/crc32c.js'
import {
  data_fields_of,
  ic_of,
  icresp_pdu,
  nvme_tcp_c2h_data,
  nvme_tcp_cmd,
  nvme_tcp_h2c_data,
  nvme_tcp_h2c_term,
  nvme_tcp_icreq,
  nvme_tcp_reader,
  type pdu_digests,
  put_data,
  put_r2t,
  put_rsp,
} from '../../src/drivers/nvme/nvme-tcp.js'
import type { Sleep } from '../../src/kernel/core.js'
import type { work_struct } from '../../src/kernel/workqueue-structs.js'
import { ADDRESS, FabricRig, TCP_TEXT } from '../unit/nvme/fabric-rig.js'
import { check, type Fuzz, FuzzFailure, type Story, storyFuzzer } from './fuzzer.js'
import { Judge, type OutCommand } from './nvme-tcp-judge.js'
import { strayPdu } from './nvme-tcp-stray.js'
import type { Prng } from './prng.js'

const BLOCK = 4096
const STEPS = 250
/** I/Os that are out at once; each has a buffer of its own. */
const IOS = 6
const MOST = 8 * BLOCK
const MAXH2CDATA = 8192

// ---------------------------------------------------------------- the other end

/** A connection, from the target's side. */
class Peer {
  readonly sock: LinkSocket
  readonly digests: pdu_digests
  readonly out: Map<number, OutCommand> = new Map()
  readonly judge: Judge
  /** The host has sent a TermReq. */
  terminated = false
  readonly #reader: nvme_tcp_reader
  readonly #icresp: Uint8Array

  constructor(sock: LinkSocket, digests: pdu_digests, icresp: Uint8Array) {
    this.sock = sock
    this.digests = digests
    this.#icresp = icresp
    this.judge = new Judge(this.out, cid => this.out.delete(cid), digests)
    this.#reader = new nvme_tcp_reader('host', {
      header: (header, data) => {
        this.#header(header, data)
        return 'ok'
      },
      data: () => {},
      end: (_, digest) => {
        check(digest, "the host's data digest is wrong")
        return 'ok'
      },
    })
    sock.sk_data_ready = () => {
      for (let chunk = sock.recv(); chunk !== null; chunk = sock.recv()) this.#reader.feed(chunk)
      const { failed } = this.#reader
      check(failed === null, `the host sent what it may not: ${JSON.stringify(failed)}`)
    }
  }

  get ended(): boolean {
    return this.sock.closed || this.sock.peer === null
  }

  send(bytes: Uint8Array): void {
    if (bytes.length > 0 && !this.ended)
      this.sock.sendmsg(bytes.length, (out, at) => out.set(bytes, at))
  }

  #header(header: Uint8Array, data: number): void {
    check(!this.terminated, 'the host went on after a TermReq')
    const pdu = Buffer.from(header.buffer, header.byteOffset, header.length)
    switch (header[0]) {
      case nvme_tcp_icreq:
        this.send(this.#icresp)
        this.#reader.hdr_digest = this.digests.hdr_digest
        this.#reader.data_digest = this.digests.data_digest
        return
      case nvme_tcp_h2c_term: {
        const fes = pdu.readUInt16LE(8)
        check(fes >= 1 && fes <= 6, `a TermReq with code ${fes}`)
        this.terminated = true
        return
      }
      case nvme_tcp_cmd:
        this.#command(pdu, data)
        return
      default:
        check(header[0] === nvme_tcp_h2c_data, `a PDU of type ${header[0]}`)
        this.#h2c(pdu)
    }
  }

  #command(pdu: Buffer, data: number): void {
    const cid = pdu.readUInt16LE(10)
    check(!this.out.has(cid), `command ${cid} twice`)
    const [write, bytes] = [(pdu[8]! & 1) === 1, pdu.readUInt32LE(8 + 32)]
    check(data === 0 || data === bytes, 'a part of the data in a capsule')
    this.out.set(cid, { cid, write, bytes, inline: data > 0, done: 0, asked: false })
  }

  /** Data that an R2T asked for: in order, up to its end and no further. */
  #h2c(pdu: Buffer): void {
    const { cid, offset, length } = data_fields_of(pdu)
    const command = this.out.get(cid)
    // It may have been answered before all was sent.
    if (command === undefined) return
    const last = (pdu[1]! & 4) !== 0
    check(command.asked, `data that nobody asked for: ${cid}`)
    const { limit } = ic_of(this.#icresp)
    check(length <= limit, `${length} bytes at once, of ${limit}`)
    check(last === (offset + length === command.done), 'LAST where it does not belong')
    if (last) command.asked = false
  }
}

// ---------------------------------------------------------------- what it sends

/** A header digest that fits to what was changed. */
function seal(pdu: Uint8Array): void {
  if (pdu.length < 28 || !(pdu[1]! & 1)) return
  const digest = crc32c(pdu, 0, 24)
  for (let i = 0; i < 4; i++) pdu[24 + i] = digest >>> (8 * i)
}

const OUT = new Uint8Array(2 * MOST)

/** A PDU that may come now. */
function goodPdu(random: Prng, command: OutCommand, digests: pdu_digests): Uint8Array {
  const { cid, write, bytes, inline, done, asked } = command
  const left = bytes - done
  const length = random.chance(50) ? left : Math.min(left, 512 * (1 + random.below(16)))
  if (left > 0 && !write && random.chance(70)) {
    const flags = length < left ? 0 : random.chance(30) ? 12 : 4
    const data = OUT.subarray(MOST, MOST + length)
    const place = { cid, ttag: 0, offset: done, length }
    return OUT.slice(0, put_data(OUT, 0, nvme_tcp_c2h_data, flags, place, data, digests))
  }
  if (left > 0 && write && !inline && !asked && random.chance(70))
    return OUT.slice(
      0,
      put_r2t(OUT, 0, { cid, ttag: random.below(9), offset: done, length }, digests),
    )
  const rsp = new Uint8Array(16)
  rsp[12] = cid
  rsp[13] = cid >> 8
  if (random.chance(10)) {
    rsp[14] = random.next()
    rsp[15] = random.next()
  }
  return OUT.slice(0, put_rsp(OUT, 0, rsp, digests))
}

/** Changes a PDU somewhere, for the most part in its header. */
function spoil(random: Prng, pdu: Uint8Array): Uint8Array {
  const at = random.below(random.chance(80) ? Math.min(24, pdu.length) : pdu.length)
  switch (random.below(6)) {
    case 0:
    case 1:
      pdu[at]! ^= 1 << random.below(8)
      break
    case 2:
      pdu[at] = random.next()
      break
    case 3:
      for (let i = at; i < Math.min(at + 4, pdu.length); i++) pdu[i] = random.next()
      break
    case 4:
      return pdu.slice(0, at)
    default:
      return Buffer.concat([pdu, pdu.subarray(0, at)])
  }
  if (random.chance(70)) seal(pdu)
  return pdu
}

function icresp(random: Prng, digests: pdu_digests): Uint8Array {
  const pdu = icresp_pdu({ pfv: 0, pda: 0, ...digests, limit: MAXH2CDATA })
  if (random.chance(90)) return pdu
  const at = random.below(16)
  pdu[at]! ^= 1 << random.below(8)
  return pdu
}

// ---------------------------------------------------------------- the host

/** A connected host whose I/O queue is ours. */
class Host {
  readonly rig: FabricRig = new FabricRig({ cpus: 1 })
  readonly life: nvmf_life
  /** Connections in the order in which they came. */
  peer: Peer | null = null
  random: Prng | null = null
  /** I/Os under way, by their buffers. */
  readonly busy: Set<number> = new Set()

  constructor() {
    const { rig } = this
    const ctrl = rig.connect(`${TCP_TEXT},keep_alive_tmo=0,queue_size=16`)
    this.life = life_of(ctrl)
    this.life.err_work.func = item => this.#recover(item as work_struct<nvmf_life>)
    rig.network.listen(ADDRESS, sock => {
      const { random } = this
      const { hdr_digest, data_digest } = this.life.opts
      const digests = { hdr_digest, data_digest }
      this.peer = new Peer(sock, digests, icresp(random!, digests))
    })
  }

  /** Of its I/O queue alone: it goes, comes again, and what was under way is sent again. */
  *#recover({ container: c }: work_struct<nvmf_life>): Sleep<void> {
    const { ctrl, lower, opts } = c
    yield* teardown_io_queues(c, false)
    nvme_change_ctrl_state(ctrl, 'CONNECTING')
    for (let error = -1; error !== 0; ) {
      const both = this.random!.chance(30)
      Object.assign(opts, { hdr_digest: both, data_digest: both || this.random!.chance(10) })
      const made = lower.alloc_queue(c, 1, ctrl.sqsize + 1)
      error = typeof made === 'number' ? made : yield* made
    }
    c.live[1] = true
    nvme_change_ctrl_state(ctrl, 'LIVE')
    nvme_start_queues(ctrl)
  }

  /** Lets happen what can happen now. */
  settle(ns = 100_000): void {
    const { machine } = this.rig
    const end = machine.now() + ns
    while (machine.now() < end) machine.turn(end)
  }

  /** A connection that is there, and carries commands. */
  connected(): Peer {
    for (let n = 0; n < 40; n++) {
      const { peer } = this
      if (peer !== null && !peer.ended && this.life.ctrl.state === 'LIVE') return peer
      this.settle(n < 4 ? 1e6 : 1e9)
    }
    throw new FuzzFailure(`the queue is not connected again: ${this.rig.log().at(-1)}`)
  }

  /** One more I/O, if there is a buffer for it. */
  submit(random: Prng): void {
    const { rig, busy } = this
    const slot = Array.from({ length: IOS }, (_, i) => i).find(i => !busy.has(i))
    if (slot === undefined) return
    const { queue } = this.life.ctrl.namespaces[0]!
    const { blk, k } = rig.machine.host!
    const op = random.pick([REQ_OP_READ, REQ_OP_WRITE, REQ_OP_FLUSH])
    const flush = op === REQ_OP_FLUSH
    busy.add(slot)
    const bio = bio_init(blk, {
      q: queue,
      opf: flush ? REQ_OP_WRITE | REQ_PREFLUSH : op,
      sector: 8 * random.below(64),
      bytes: flush ? 0 : BLOCK * (1 + random.below(8)),
      data: rig.buffers + slot * MOST,
      end_io: () => {
        check(busy.delete(slot), 'an I/O ended twice')
        blk.bios.bios.push(bio)
      },
    })
    k.spawn('io', function* () {
      const rest = submit_bio_now(queue, bio)
      if (rest !== undefined) yield* rest
    })
  }
}

let kept: Host | null = null

class HostStory implements Story {
  readonly #host: Host

  constructor(random: Prng) {
    this.#host = kept ?? new Host()
    // Until this story has ended well, nobody else has it.
    kept = null
    this.#host.random = random
    this.#host.peer?.sock.sock_release()
    if (this.#host.peer === null) this.#host.rig.network.reset()
    this.#host.settle(1e6)
  }

  step(random: Prng, say: (line: string) => void): void {
    const host = this.#host
    const peer = host.connected()
    if (peer.out.size === 0 || random.chance(25)) {
      host.submit(random)
      host.settle()
    }
    if (random.chance(1)) {
      say('the peer goes')
      peer.sock.sock_release()
      host.settle()
      return
    }
    const pdu = this.#draw(random, peer)
    say(Buffer.from(pdu.subarray(0, 32)).toString('hex'))
    const cut = random.chance(20) ? random.below(pdu.length + 1) : pdu.length
    this.#give(peer, pdu.subarray(0, cut))
    if (cut < pdu.length && !peer.ended) this.#give(peer, pdu.subarray(cut))
  }

  #draw(random: Prng, peer: Peer): Uint8Array {
    const { out, digests } = peer
    // The rest of a PDU that was cut off, or of one that was said to be longer.
    if (peer.judge.middle && random.chance(50)) return new Uint8Array(1 + random.below(BLOCK))
    const [...commands] = out.values()
    if (commands.length === 0 || random.chance(10)) return strayPdu(random, digests)
    const pdu = goodPdu(random, random.pick(commands), digests)
    return random.chance(35) ? spoil(random, pdu) : pdu
  }

  /** The host gets a piece, and does what it must. */
  #give(peer: Peer, bytes: Uint8Array): void {
    const { judge } = peer
    judge.feed(bytes)
    peer.send(bytes)
    this.#host.settle()
    if (judge.wrong === '') {
      check(!peer.ended && !peer.terminated, 'the host ended a good connection')
      return
    }
    for (let n = 0; n < 10 && !peer.ended; n++) this.#host.settle(1e6)
    check(peer.ended, `the host did not mind: ${judge.wrong}`)
    check(peer.terminated, `the host ended it without a word: ${judge.wrong}`)
  }

  /** Good answers to everything. */
  end(): void {
    const host = this.#host
    const { rig, busy } = host
    host.connected().sock.sock_release()
    for (let n = 0; n < 100 && busy.size > 0; n++) {
      host.settle(1e6)
      const peer = host.connected()
      host.settle(1e6)
      for (const { cid } of [...peer.out.values()]) {
        const rsp = new Uint8Array(16)
        rsp[12] = cid
        this.#give(peer, OUT.slice(0, put_rsp(OUT, 0, rsp, peer.digests)))
      }
    }
    check(busy.size === 0, `I/O has not ended: ${rig.log().slice(-4).join('; ')}`)
    const books = rig.machine.books()
    const mine = books.problems.filter(line => !line.includes('asynchronous'))
    check(mine.length === 0, mine.join('; '))
    kept = host
  }
}

export const host: Fuzz = storyFuzzer('nvme-tcp-host', STEPS, random => new HostStory(random))
