// What an NVMe/TCP host may take from a target, told PDU by PDU and apart from the host's own code: the rules of the
// specification and of Linux's host for one I/O queue. Who feeds it learns, after each piece of the stream, whether the
// connection has to end.

import { crc32c } from '../../src/drivers/nvme/crc32c.js'

const HLEN = 24
const DIGEST = 4

/** A command that the host has sent and the target has not answered. */
export interface OutCommand {
  readonly cid: number
  readonly write: boolean
  readonly bytes: number
  /** Its data came with it. */
  readonly inline: boolean
  /** Bytes that came, or were asked for. */
  done: number
  /** An R2T whose data have not all been sent. */
  asked: boolean
}

export class Judge {
  /** Why the connection has to end. */
  wrong = ''
  /** PDUs that were complete and good. */
  good = 0
  readonly #out: ReadonlyMap<number, OutCommand>
  readonly #answered: (cid: number) => void
  readonly #hdgst: boolean
  readonly #ddgst: boolean
  #rest: Buffer = Buffer.alloc(0)
  /** The header of the PDU at the beginning of `rest` was looked at. */
  #seen = false

  /** @param answered takes the command off `out` */
  constructor(
    out: ReadonlyMap<number, OutCommand>,
    answered: (cid: number) => void,
    digests: { readonly hdr_digest: boolean; readonly data_digest: boolean },
  ) {
    this.#out = out
    this.#answered = answered
    this.#hdgst = digests.hdr_digest
    this.#ddgst = digests.data_digest
  }

  /** In the middle of a PDU. */
  get middle(): boolean {
    return this.#rest.length > 0
  }

  feed(bytes: Uint8Array): void {
    this.#rest = Buffer.concat([this.#rest, bytes])
    while (this.wrong === '' && this.#one()) this.good++
  }

  /** One whole PDU; false when it is not all there, or wrong. */
  #one(): boolean {
    const pdu = this.#rest
    if (pdu.length < 8) return false
    this.wrong = this.#common(pdu)
    if (this.wrong !== '') return false
    const head = HLEN + (this.#hdgst && pdu[0] !== 3 ? DIGEST : 0)
    if (pdu.length < head) return false
    if (!this.#seen) {
      this.wrong = this.#header(pdu, head)
      if (this.wrong !== '') return false
      this.#seen = true
    }
    const plen = pdu.readUInt32LE(4)
    if (pdu.length < plen) return false
    this.wrong = this.#end(pdu.subarray(0, plen))
    this.#rest = pdu.subarray(plen)
    this.#seen = false
    return this.wrong === ''
  }

  #common(pdu: Buffer): string {
    const [type, flags, hlen, pdo] = pdu
    const plen = pdu.readUInt32LE(4)
    if (![3, 5, 7, 9].includes(type!)) return 'type'
    if (hlen !== HLEN) return 'hlen'
    if (type === 3) return this.#term(flags!, plen)
    const head = HLEN + (this.#hdgst ? DIGEST : 0)
    if ((flags! & 1) !== Number(this.#hdgst)) return 'HDGSTF'
    if (type !== 7) {
      if (flags! & 2) return 'DDGSTF without data'
      return plen === head ? '' : 'plen'
    }
    if (plen <= head) return 'data that are not there'
    if ((flags! & 2) >> 1 !== Number(this.#ddgst)) return 'DDGSTF'
    if (pdo! < head || pdo! % 4 !== 0) return 'pdo'
    return pdo! + (this.#ddgst ? DIGEST : 0) < plen ? '' : 'plen'
  }

  /** Ends everything, once it is there, or at once when it is none. */
  #term(flags: number, plen: number): string {
    return flags & 1 || plen < HLEN || plen > HLEN + 128 ? 'a bad termination' : ''
  }

  #header(pdu: Buffer, head: number): string {
    if (pdu[0] === 3) return 'a termination'
    if (head > HLEN && crc32c(pdu, 0, HLEN) !== pdu.readUInt32LE(HLEN)) return 'header digest'
    if (pdu[0] === 5) return ''
    const command = this.#out.get(pdu.readUInt16LE(8))
    return pdu[0] === 7 ? this.#data(pdu, command) : this.#r2t(pdu, command)
  }

  #data(pdu: Buffer, command: OutCommand | undefined): string {
    const bytes = pdu.readUInt32LE(4) - pdu[3]! - (this.#ddgst ? DIGEST : 0)
    if (pdu.readUInt32LE(16) !== bytes) return 'length of data'
    if (command === undefined) return 'data for nobody'
    if (command.write || command.bytes === 0) return 'data for a command that has none'
    if (command.done + bytes > command.bytes) return 'too much data'
    if (pdu[1]! & 8 && !(pdu[1]! & 4)) return 'SUCCESS without LAST'
    command.done += bytes
    return ''
  }

  #r2t(pdu: Buffer, command: OutCommand | undefined): string {
    const [offset, length] = [pdu.readUInt32LE(12), pdu.readUInt32LE(16)]
    if (command === undefined || !command.write) return 'R2T for nobody'
    if (length === 0 || offset + length > command.bytes) return 'length of an R2T'
    if (command.inline || command.asked || offset < command.done) return 'offset of an R2T'
    command.done = offset + length
    command.asked = true
    return ''
  }

  #end(pdu: Buffer): string {
    if (pdu[0] === 9) return ''
    if (pdu[0] === 7) {
      const end = pdu.length - (this.#ddgst ? DIGEST : 0)
      if (this.#ddgst && crc32c(pdu, pdu[3]!, end) !== pdu.readUInt32LE(end)) return 'data digest'
      if (pdu[1]! & 8) this.#answered(pdu.readUInt16LE(8))
      return ''
    }
    const cid = pdu.readUInt16LE(8 + 12)
    if (!this.#out.has(cid)) return 'an answer to nobody'
    this.#answered(cid)
    return ''
  }
}
