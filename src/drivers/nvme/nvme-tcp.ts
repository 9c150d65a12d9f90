// The frames of NVMe/TCP: include/linux/nvme-tcp.h, and what both ends must agree on. A pure codec: bytes in, PDUs out.
//
// Common header, 8 bytes: type @0, flags @1, hlen @2, pdo @3, plen @4 (u32).
//
//   | header (hlen) | header digest (4) | padding up to pdo | data | data digest (4) |    plen bytes in all
//
//   type  name          hlen  from        data      own fields, from byte 8
//   0x00  ICReq          128  host        no        pfv u16, hpda u8, digest u8, maxr2t u32
//   0x01  ICResp         128  controller  no        pfv u16, cpda u8, digest u8, maxh2cdata u32
//   0x02  H2CTermReq      24  host        header    fes u16, fei u32 (unaligned), then the header that was wrong
//   0x03  C2HTermReq      24  controller  header    the same
//   0x04  CapsuleCmd      72  host        may       a command of 64 bytes
//   0x05  CapsuleResp     24  controller  no        a completion of 16 bytes
//   0x06  H2CData         24  host        must      cid u16, ttag u16, offset u32, length u32
//   0x07  C2HData         24  controller  must      cid u16, -, offset u32, length u32
//   0x09  R2T             24  controller  no        cid u16, ttag u16, offset u32, length u32
//
// ICReq, ICResp and the two TermReq never carry digests. The header digest covers hlen bytes; the data digest covers the
// data alone, and its flag is set only when there are data. A violation is a pair (fes, fei): what goes into a TermReq.

import { CRC32C_INIT, crc32c, crc32c_final, crc32c_update } from './crc32c.js'
import { get16, get32, put16, put32 } from './bytes.js'

export const nvme_tcp_icreq = 0x00
export const nvme_tcp_icresp = 0x01
export const nvme_tcp_h2c_term = 0x02
export const nvme_tcp_c2h_term = 0x03
export const nvme_tcp_cmd = 0x04
export const nvme_tcp_rsp = 0x05
export const nvme_tcp_h2c_data = 0x06
export const nvme_tcp_c2h_data = 0x07
export const nvme_tcp_r2t = 0x09

export const NVME_TCP_F_HDGST = 1
export const NVME_TCP_F_DDGST = 2
export const NVME_TCP_F_DATA_LAST = 4
export const NVME_TCP_F_DATA_SUCCESS = 8

export const NVME_TCP_HDR_DIGEST_ENABLE = 1
export const NVME_TCP_DATA_DIGEST_ENABLE = 2

export const NVME_TCP_DISC_PORT = 8009
export const NVME_TCP_ADMIN_CCSZ = 8192
export const NVME_TCP_DIGEST_LENGTH = 4
export const NVME_TCP_MIN_MAXH2CDATA = 4096
/** The largest alignment a peer may ask for: hpda and cpda are 0 to 31, in units of 4 bytes, 0's based. */
export const NVME_TCP_MAX_PDA = 31

const COMMON = 8
const IC_BYTES = 128
const TERM_BYTES = 24
const TERM_DATA = 128
const CMD_HLEN = 72
const SHORT_HLEN = 24

// ---------------------------------------------------------------- violations

export const NVME_TCP_FES_INVALID_PDU_HDR = 1
export const NVME_TCP_FES_PDU_SEQ_ERR = 2
export const NVME_TCP_FES_HDR_DIGEST_ERR = 3
export const NVME_TCP_FES_DATA_OUT_OF_RANGE = 4
export const NVME_TCP_FES_DATA_LIMIT_EXCEEDED = 5
export const NVME_TCP_FES_UNSUPPORTED_PARAM = 6

/** Why a connection must end. `fei` is the offset of the wrong field, for the codes 1 and 6. */
export interface pdu_violation {
  readonly fes: number
  readonly fei: number
}

export function violation(fes: number, fei: number = 0): pdu_violation {
  return { fes, fei }
}

function invalid(fei: number): pdu_violation {
  return violation(NVME_TCP_FES_INVALID_PDU_HDR, fei)
}

// ---------------------------------------------------------------- which PDUs there are

interface PduKind {
  readonly hlen: number
  readonly from: 'host' | 'controller'
  readonly data: 'no' | 'may' | 'must'
  /** Digests are used once they are agreed on. */
  readonly digests: boolean
}

const KINDS: Readonly<Record<number, PduKind>> = {
  [nvme_tcp_icreq]: { hlen: IC_BYTES, from: 'host', data: 'no', digests: false },
  [nvme_tcp_icresp]: { hlen: IC_BYTES, from: 'controller', data: 'no', digests: false },
  [nvme_tcp_h2c_term]: { hlen: TERM_BYTES, from: 'host', data: 'may', digests: false },
  [nvme_tcp_c2h_term]: { hlen: TERM_BYTES, from: 'controller', data: 'may', digests: false },
  [nvme_tcp_cmd]: { hlen: CMD_HLEN, from: 'host', data: 'may', digests: true },
  [nvme_tcp_rsp]: { hlen: SHORT_HLEN, from: 'controller', data: 'no', digests: true },
  [nvme_tcp_h2c_data]: { hlen: SHORT_HLEN, from: 'host', data: 'must', digests: true },
  [nvme_tcp_c2h_data]: { hlen: SHORT_HLEN, from: 'controller', data: 'must', digests: true },
  [nvme_tcp_r2t]: { hlen: SHORT_HLEN, from: 'controller', data: 'no', digests: true },
}

function isTerm(type: number): boolean {
  return type === nvme_tcp_h2c_term || type === nvme_tcp_c2h_term
}

function isInit(type: number): boolean {
  return type === nvme_tcp_icreq || type === nvme_tcp_icresp
}

// ---------------------------------------------------------------- reading

/** Takes what a reader finds. */
export interface pdu_sink {
  /**
   * A whole header whose digest is right; `data` is the number of bytes that follow. The array is the reader's own.
   * `wait`: not now; the reader stops here and asks again at its next feed().
   */
  header(header: Uint8Array, data: number): 'ok' | 'wait' | pdu_violation
  /** Data in pieces, in order. */
  data(bytes: Uint8Array, from: number, to: number): void
  /** The PDU is complete; `digest` is false when the data digest was wrong. */
  end(header: Uint8Array, digest: boolean): 'ok' | pdu_violation
}

const AT_COMMON = 0
const AT_HEADER = 1
const HELD = 2
const AT_PADDING = 3
const AT_DATA = 4
const AT_DIGEST = 5

/** Cuts a stream of bytes into PDUs and checks what can be checked without knowing the commands. */
export class nvme_tcp_reader {
  hdr_digest = false
  data_digest = false
  /** The first violation; after it nothing is read any more. */
  failed: pdu_violation | null = null
  readonly #from: 'host' | 'controller'
  readonly #sink: pdu_sink
  readonly #header = new Uint8Array(IC_BYTES + NVME_TCP_DIGEST_LENGTH)
  /** The first bytes of #header, by length; #whole is that of the present kind. */
  readonly #views: Uint8Array[] = []
  #whole: Uint8Array
  readonly #digest = new Uint8Array(NVME_TCP_DIGEST_LENGTH)
  #state = AT_COMMON
  /** Bytes of the present part that are there. */
  #have = 0
  #first = true
  #kind: PduKind = KINDS[nvme_tcp_icreq]!
  #padding = 0
  #data = 0
  #hasDigest = false
  #crc = 0

  /** @param from whose PDUs these are */
  constructor(from: 'host' | 'controller', sink: pdu_sink) {
    this.#from = from
    this.#sink = sink
    for (const hlen of [SHORT_HLEN, CMD_HLEN, IC_BYTES])
      this.#views[hlen] = this.#header.subarray(0, hlen)
    this.#whole = this.#views[this.#kind.hlen]!
  }

  /** The header that is being read or was wrong, as far as it is there: what a TermReq quotes. */
  get header(): Uint8Array {
    const whole = this.#state > AT_HEADER
    return this.#header.subarray(0, whole ? this.#kind.hlen : this.#have)
  }

  /** The sink waits with a header in its hands: feed() asks it again, even without new bytes. */
  get held(): boolean {
    return this.#state === HELD && this.failed === null
  }

  /** True between two PDUs. */
  get idle(): boolean {
    return this.#state === AT_COMMON && this.#have === 0
  }

  /**
   * Reads bytes; the sink is called for what is complete.
   * @returns how many were used up: fewer than there are when the sink waits or a violation was found
   */
  feed(bytes: Uint8Array, from: number = 0, to: number = bytes.length): number {
    let at = from
    while (this.failed === null && (at < to || this.#state === HELD)) {
      const used = this.#step(bytes, at, to)
      if (used < 0) break
      at += used
    }
    return at - from
  }

  /** One part of a PDU; -1 when the sink waits. */
  #step(bytes: Uint8Array, at: number, to: number): number {
    switch (this.#state) {
      case AT_COMMON: {
        const used = this.#collect(bytes, at, to, COMMON)
        if (this.#have === COMMON) this.#checkCommon()
        return used
      }
      case AT_HEADER: {
        const used = this.#collect(bytes, at, to, this.#headerBytes())
        if (this.#have === this.#headerBytes()) this.#checkHeader()
        return used
      }
      case HELD:
        return this.#ask() ? 0 : -1
      case AT_PADDING:
        return this.#skip(to - at)
      case AT_DATA:
        return this.#takeData(bytes, at, to)
      default:
        return this.#takeDigest(bytes, at, to)
    }
  }

  #headerBytes(): number {
    const digest = this.hdr_digest && this.#kind.digests ? NVME_TCP_DIGEST_LENGTH : 0
    return this.#kind.hlen + digest
  }

  #collect(bytes: Uint8Array, at: number, to: number, want: number): number {
    const n = Math.min(want - this.#have, to - at)
    for (let i = 0; i < n; i++) this.#header[this.#have + i] = bytes[at + i]!
    this.#have += n
    return n
  }

  #fail(what: pdu_violation): void {
    this.failed ??= what
  }

  #checkCommon(): void {
    const wrong = this.#commonViolation()
    if (wrong) this.#fail(wrong)
    else this.#state = AT_HEADER
  }

  #commonViolation(): pdu_violation | null {
    const header = this.#header
    const type = header[0]!
    const kind = KINDS[type]
    if (kind === undefined || kind.from !== this.#from) return invalid(0)
    if (isInit(type) !== this.#first && !isTerm(type)) return violation(NVME_TCP_FES_PDU_SEQ_ERR)
    this.#kind = kind
    this.#whole = this.#views[kind.hlen]!
    if (header[2] !== kind.hlen) return invalid(2)
    const digests = NVME_TCP_F_HDGST | NVME_TCP_F_DDGST
    const flags = header[1]! & digests
    const hdgst = kind.digests && this.hdr_digest ? NVME_TCP_F_HDGST : 0
    if ((flags & NVME_TCP_F_HDGST) !== hdgst) return invalid(1)
    return this.#lengthViolation(flags, this.#headerBytes())
  }

  #lengthViolation(flags: number, head: number): pdu_violation | null {
    const header = this.#header
    const type = header[0]!
    const pdo = header[3]!
    const plen = get32(header, 4)
    if (plen < head) return invalid(4)
    this.#padding = 0
    this.#data = plen - head
    this.#hasDigest = false
    if (isTerm(type)) return this.#data > TERM_DATA ? invalid(4) : null
    if (this.#data === 0) {
      if (this.#kind.data === 'must') return invalid(4)
      return flags & NVME_TCP_F_DDGST ? invalid(1) : null
    }
    if (this.#kind.data === 'no') return invalid(4)
    const wantsDigest = this.data_digest && this.#kind.digests
    if (((flags & NVME_TCP_F_DDGST) !== 0) !== wantsDigest) return invalid(1)
    const tail = wantsDigest ? NVME_TCP_DIGEST_LENGTH : 0
    if (pdo < head || pdo % 4 !== 0) return invalid(3)
    if (pdo + tail >= plen) return invalid(4)
    this.#padding = pdo - head
    this.#data = plen - pdo - tail
    this.#hasDigest = wantsDigest
    return null
  }

  #checkHeader(): void {
    const { hlen, data } = this.#kind
    const header = this.#header
    if (this.#headerBytes() > hlen && crc32c(header, 0, hlen) !== get32(header, hlen)) {
      this.#fail(violation(NVME_TCP_FES_HDR_DIGEST_ERR))
      return
    }
    if (data === 'must' && get32(header, 16) !== this.#data) {
      this.#fail(violation(NVME_TCP_FES_INVALID_PDU_HDR, 16))
      return
    }
    this.#first = false
    this.#state = HELD
  }

  /** Offers the header to the sink; false when it waits. */
  #ask(): boolean {
    const answer = this.#sink.header(this.#whole, this.#data)
    if (answer === 'wait') return false
    if (answer !== 'ok') {
      this.#fail(answer)
      return true
    }
    this.#have = 0
    this.#crc = CRC32C_INIT
    this.#state = this.#padding > 0 ? AT_PADDING : AT_DATA
    if (this.#data === 0) this.#complete(true)
    return true
  }

  #skip(there: number): number {
    const n = Math.min(this.#padding - this.#have, there)
    this.#have += n
    if (this.#have === this.#padding) {
      this.#have = 0
      this.#state = AT_DATA
    }
    return n
  }

  #takeData(bytes: Uint8Array, at: number, to: number): number {
    const n = Math.min(this.#data - this.#have, to - at)
    if (this.#hasDigest) this.#crc = crc32c_update(this.#crc, bytes, at, at + n)
    this.#sink.data(bytes, at, at + n)
    this.#have += n
    if (this.#have < this.#data) return n
    this.#have = 0
    if (this.#hasDigest) this.#state = AT_DIGEST
    else this.#complete(true)
    return n
  }

  #takeDigest(bytes: Uint8Array, at: number, to: number): number {
    const n = Math.min(NVME_TCP_DIGEST_LENGTH - this.#have, to - at)
    for (let i = 0; i < n; i++) this.#digest[this.#have + i] = bytes[at + i]!
    this.#have += n
    if (this.#have === NVME_TCP_DIGEST_LENGTH)
      this.#complete(get32(this.#digest, 0) === crc32c_final(this.#crc))
    return n
  }

  #complete(digest: boolean): void {
    const answer = this.#sink.end(this.#whole, digest)
    if (answer !== 'ok') {
      this.#fail(answer)
      return
    }
    this.#state = AT_COMMON
    this.#have = 0
  }
}

// ---------------------------------------------------------------- writing

/** Which digests a connection uses. */
export interface pdu_digests {
  readonly hdr_digest: boolean
  readonly data_digest: boolean
}

export const NO_DIGESTS: pdu_digests = { hdr_digest: false, data_digest: false }

/** Bytes before the data of a PDU with this header, for a peer that wants them at a multiple of 4 * (pda + 1). */
export function pdu_data_offset(hlen: number, digests: pdu_digests, pda: number = 0): number {
  const head = hlen + (digests.hdr_digest ? NVME_TCP_DIGEST_LENGTH : 0)
  const unit = 4 * (pda + 1)
  return Math.ceil(head / unit) * unit
}

/** Bytes of a PDU. */
export function pdu_length(
  hlen: number,
  data: number,
  digests: pdu_digests,
  pda: number = 0,
): number {
  if (data === 0) return hlen + (digests.hdr_digest ? NVME_TCP_DIGEST_LENGTH : 0)
  const tail = digests.data_digest ? NVME_TCP_DIGEST_LENGTH : 0
  return pdu_data_offset(hlen, digests, pda) + data + tail
}

/** Writes the common header at `at`; the caller writes all that comes after it, then calls seal(). */
function common(
  out: Uint8Array,
  at: number,
  type: number,
  flags: number,
  data: number,
  digests: pdu_digests,
  pda = 0,
): void {
  const { hlen } = KINDS[type]!
  const ddgst = data > 0 && digests.data_digest ? NVME_TCP_F_DDGST : 0
  const own = (digests.hdr_digest ? NVME_TCP_F_HDGST : 0) | ddgst
  out[at] = type
  out[at + 1] = flags | own
  out[at + 2] = hlen
  out[at + 3] = data ? pdu_data_offset(hlen, digests, pda) : 0
  put32(out, at + 4, pdu_length(hlen, data, digests, pda))
}

/** Header digest and padding; returns where the data go. */
function seal(out: Uint8Array, at: number, digests: pdu_digests): number {
  const hlen = out[at + 2]!
  let end = at + hlen
  if (digests.hdr_digest) {
    put32(out, end, crc32c(out, at, end))
    end += NVME_TCP_DIGEST_LENGTH
  }
  const pdo = out[at + 3]!
  while (end < at + pdo) out[end++] = 0
  return end
}

/** Copies data behind a header that common() and seal() wrote; returns the end of the PDU. */
function append(out: Uint8Array, at: number, data: Uint8Array, digests: pdu_digests): number {
  if (data.length === 0) return at
  out.set(data, at)
  const end = at + data.length
  if (!digests.data_digest) return end
  put32(out, end, crc32c(data))
  return end + NVME_TCP_DIGEST_LENGTH
}

/** What an ICReq or ICResp says. `limit` is maxr2t (0's based) of the one, maxh2cdata (bytes) of the other. */
export interface ic_fields extends pdu_digests {
  readonly pfv: number
  readonly pda: number
  readonly limit: number
}

function ic(type: number, fields: ic_fields): Uint8Array {
  const out = new Uint8Array(IC_BYTES)
  common(out, 0, type, 0, 0, NO_DIGESTS)
  put16(out, 8, fields.pfv)
  out[10] = fields.pda
  out[11] =
    (fields.hdr_digest ? NVME_TCP_HDR_DIGEST_ENABLE : 0) |
    (fields.data_digest ? NVME_TCP_DATA_DIGEST_ENABLE : 0)
  put32(out, 12, fields.limit)
  return out
}

export function icreq_pdu(fields: ic_fields): Uint8Array {
  return ic(nvme_tcp_icreq, fields)
}

export function icresp_pdu(fields: ic_fields): Uint8Array {
  return ic(nvme_tcp_icresp, fields)
}

/** The fields of an ICReq or ICResp. */
export function ic_of(header: Uint8Array): ic_fields {
  const digest = header[11]!
  return {
    pfv: get16(header, 8),
    pda: header[10]!,
    hdr_digest: (digest & NVME_TCP_HDR_DIGEST_ENABLE) !== 0,
    data_digest: (digest & NVME_TCP_DATA_DIGEST_ENABLE) !== 0,
    limit: get32(header, 12),
  }
}

/** H2CTermReq or C2HTermReq, with the beginning of the header that was wrong. */
export function term_pdu(type: number, { fes, fei }: pdu_violation, wrong: Uint8Array): Uint8Array {
  const quoted = wrong.subarray(0, TERM_DATA)
  const out = new Uint8Array(TERM_BYTES + quoted.length)
  common(out, 0, type, 0, 0, NO_DIGESTS)
  put32(out, 4, out.length)
  put16(out, 8, fes)
  put32(out, 10, fei)
  out.set(quoted, TERM_BYTES)
  return out
}

/** A command with its data in the capsule, if any; returns the end. */
export function put_cmd(
  out: Uint8Array,
  at: number,
  cmd: Uint8Array,
  data: Uint8Array,
  digests: pdu_digests,
  pda: number = 0,
): number {
  common(out, at, nvme_tcp_cmd, 0, data.length, digests, pda)
  out.set(cmd, at + COMMON)
  return append(out, seal(out, at, digests), data, digests)
}

export function put_rsp(
  out: Uint8Array,
  at: number,
  rsp: Uint8Array,
  digests: pdu_digests,
): number {
  common(out, at, nvme_tcp_rsp, 0, 0, digests)
  for (let i = 0; i < SHORT_HLEN - COMMON; i++) out[at + COMMON + i] = rsp[i]!
  return seal(out, at, digests)
}

export function put_r2t(
  out: Uint8Array,
  at: number,
  fields: data_fields,
  digests: pdu_digests,
): number {
  common(out, at, nvme_tcp_r2t, 0, 0, digests)
  put_fields(out, at, fields)
  return seal(out, at, digests)
}

/** The fields of R2T, H2CData and C2HData. */
export interface data_fields {
  readonly cid: number
  readonly ttag: number
  readonly offset: number
  readonly length: number
}

function put_fields(out: Uint8Array, at: number, { cid, ttag, offset, length }: data_fields): void {
  put16(out, at + 8, cid)
  put16(out, at + 10, ttag)
  put32(out, at + 12, offset)
  put32(out, at + 16, length)
  put32(out, at + 20, 0)
}

export function data_fields_of(header: Uint8Array): data_fields {
  return {
    cid: get16(header, 8),
    ttag: get16(header, 10),
    offset: get32(header, 12),
    length: get32(header, 16),
  }
}

/** H2CData or C2HData; returns the end. `data.length` is fields.length. */
export function put_data(
  out: Uint8Array,
  at: number,
  type: number,
  flags: number,
  fields: data_fields,
  data: Uint8Array,
  digests: pdu_digests,
  pda: number = 0,
): number {
  common(out, at, type, flags, data.length, digests, pda)
  put_fields(out, at, fields)
  return append(out, seal(out, at, digests), data, digests)
}

export const RSP_HLEN: number = SHORT_HLEN
export const CMD_PDU_HLEN: number = CMD_HLEN
/** The longest header of a TermReq's quote. */
export const TERM_QUOTE: number = TERM_DATA
