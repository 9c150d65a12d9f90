// An open-channel device behind an NVMe controller: what its commands look like on the wire.
//
//   admin  E2h identity or geometry, F1h set and F2h get bad-block table (1.2), log page CAh (2.0)
//   I/O    90h erase, 91h write, 92h read, 93h copy
//   1.2 with a table of its own: 81h hybrid write, EAh get the table
//   2.0 has two features: 05h with DULBE (a read of what was never written fails), CAh media feedback (0: no warnings)
//
//   command   metadata pointer 16, PRPs 24, address or list of addresses 40, length - 1 at 48 (u16), control 50 (u16)
//
// One address stands in the command, more come by a list of 64-bit words. Dwords 0 and 1 of the completion are the map of
// failed addresses. A reset (2.0) that goes well puts the descriptors of its chunks where its metadata pointer says, if it
// has one. A command's data move when it is fetched; it ends when the media have done their part.

import type { Answer, Command } from '../nvme/command.js'
import type { ControllerServices, Extension } from '../nvme/extension.js'
import { FEAT_ERR_RECOVERY, FEAT_MEDIA_FEEDBACK } from '../nvme/spec.js'
import { DESCRIPTOR_BYTES } from './chunks.js'
import type { OpenChannelDevice, VectorCommand } from './device.js'
import { MAX_VECTOR, namespaceSectors, OOB_BYTES, SECTOR_BYTES } from './geometry.js'
import { DNR, SC_INVALID_FIELD, type VectorResult } from './status.js'

export const OCSSD_VENDOR = 0x1d1d
export const OCSSD_DEVICE = 0x1f1f

/** Bit of dom: the device keeps a table. */
const DOM_L2P = 1
const OP_HYBRID_WRITE = 0x81
const OP_ERASE = 0x90
const OP_WRITE = 0x91
const OP_READ = 0x92
const OP_COPY = 0x93
const ADMIN_IDENTITY = 0xe2
const ADMIN_GET_L2P = 0xea
const ADMIN_SET_BB = 0xf1
const ADMIN_GET_BB = 0xf2
const LOG_CHUNKS = 0xca
/** Entries of one answer to EAh. */
const MAX_L2P = 32768
/** Identify Namespace: where the first LBA format stands, and the byte that says "open channel". */
const ID_NS_LBAF = 128
const ID_NS_VS = 384
/** Namespace features and what deallocated sectors read as: the error can be asked for, else zeros. */
const ID_NS_NSFEAT = 24
const NSFEAT_DULBE = 4
const ID_NS_DLFEAT = 33
const DLFEAT_ZEROS = 1
/** Bits of Error Recovery and of Media Feedback. */
const DULBE = 0x10000
const HIGH_ECC = 1
/** Identify Controller: events, log attributes, optional commands. */
const ID_CTRL_OAES = 92
const ID_CTRL_LPA = 261
const ID_CTRL_ONCS = 520
const ONCS_TIMESTAMP = 0x40

const FEATURES: ReadonlySet<number> = new Set([FEAT_ERR_RECOVERY, FEAT_MEDIA_FEEDBACK])

const INVALID = SC_INVALID_FIELD | DNR

/** The addresses of a command, to `list`. @returns a status: the list may be out of reach */
function addresses(c: Command, s: ControllerServices, count: number, list: Float64Array): number {
  const at = c.u64(10)
  if (count === 1) list[0] = at
  else {
    if (at % 8 !== 0 || !s.dma.reaches(at, 8 * count)) return INVALID
    for (let i = 0; i < count; i++) list[i] = s.view.u64(at + 8 * i)
  }
  return 0
}

/** Where the pages of a command are, if its PRPs name them all without a second list page; nothing is made for it. */
function whole_pages(
  c: Command,
  { dma, view }: ControllerServices,
  count: number,
  to: Float64Array,
): boolean {
  if (c.psdt !== 0 || dma.page !== SECTOR_BYTES) return false
  const list = c.prp2
  const in_list = count > 2
  if (in_list && (list % 8 !== 0 || (list % dma.page) + 8 * (count - 1) > dma.page)) return false
  if (in_list && !dma.reaches(list, 8 * (count - 1))) return false
  for (let i = 0; i < count; i++) {
    const at = i === 0 ? c.prp1 : in_list ? view.u64(list + 8 * (i - 1)) : list
    if (at % SECTOR_BYTES !== 0 || !dma.reaches(at, SECTOR_BYTES)) return false
    to[i] = at
  }
  return true
}

/** What decoding a command needs, made once: one command is decoded at a time. */
class Scratch {
  readonly addresses: Float64Array = new Float64Array(MAX_VECTOR)
  readonly data: Float64Array = new Float64Array(MAX_VECTOR)
  readonly command: { -readonly [K in keyof VectorCommand]: VectorCommand[K] } = {
    count: 0,
    addresses: this.addresses,
    mem: new Uint32Array(0),
    data: this.data,
    oob: -1,
    control: 0,
  }
}

/** Memory of a command's sectors: their own places where they are whole pages, else a copy. */
interface Sectors {
  readonly mem: Uint32Array
  readonly data: number[]
  /** Puts a copy back where it belongs. */
  readonly back: (() => void) | null
}

function sectors(
  c: Command,
  s: ControllerServices,
  count: number,
  write: boolean,
): Sectors | number {
  const pieces = s.dma.pieces(c, count * SECTOR_BYTES)
  if (typeof pieces === 'number') return pieces
  const data: number[] = []
  for (const { at, bytes } of pieces) {
    if (at === 0 || bytes % SECTOR_BYTES !== 0) break
    for (let i = 0; i < bytes; i += SECTOR_BYTES) data.push(at + i)
  }
  if (data.length === count) return { mem: s.view.words, data, back: null }
  const oob = count * SECTOR_BYTES
  const copy = new Uint8Array(oob + count * OOB_BYTES)
  if (write) copy.set(s.dma.read(pieces))
  const places = Array.from({ length: count }, (_, i) => i * SECTOR_BYTES)
  const back = write ? null : () => s.dma.write(pieces, copy.subarray(0, oob))
  return { mem: new Uint32Array(copy.buffer), data: places, back }
}

/** Nothing is left to be done when the command was executed. */
const NOTHING = (): void => {}

/** Where the descriptors of the chunks that a reset empties are wanted; 0: nowhere, null: it cannot be reached. */
function descriptors_at(
  device: OpenChannelDevice,
  c: Command,
  s: ControllerServices,
): number | null {
  const { mptr } = c
  if (c.opcode !== OP_ERASE || device.geometry.version === 12 || mptr === 0) return 0
  const bytes = ((c.cdw(12) & 0xffff) + 1) * DESCRIPTOR_BYTES
  return mptr % 4 === 0 && s.dma.reaches(mptr, bytes) ? mptr : null
}

/** Fills in `scratch.command`: what comes after it was executed, or a status if something cannot be reached. */
function decode(c: Command, s: ControllerServices, scratch: Scratch): (() => void) | number {
  const count = (c.cdw(12) & 0xffff) + 1
  if (count > MAX_VECTOR) return INVALID
  const { command } = scratch
  const wrong = addresses(c, s, count, scratch.addresses)
  if (wrong !== 0) return wrong
  command.count = count
  command.control = c.cdw(12) >>> 16
  const moves = c.opcode !== OP_ERASE && c.opcode !== OP_COPY
  if (moves && !whole_pages(c, s, count, scratch.data)) return decode_pieces(c, s, command)
  const mptr = moves ? c.mptr : 0
  if (mptr !== 0 && (mptr % 4 !== 0 || !s.dma.reaches(mptr, count * OOB_BYTES))) return INVALID
  command.mem = s.view.words
  command.data = scratch.data
  command.oob = mptr === 0 ? -1 : mptr
  return NOTHING
}

/** The same for sectors that are not whole pages, or come by an SGL. */
function decode_pieces(
  c: Command,
  s: ControllerServices,
  command: Scratch['command'],
): (() => void) | number {
  const { count } = command
  const where = sectors(c, s, count, c.opcode === OP_WRITE || c.opcode === OP_HYBRID_WRITE)
  if (typeof where === 'number') return where
  const { mptr } = c
  if (mptr !== 0 && (mptr % 4 !== 0 || !s.dma.reaches(mptr, count * OOB_BYTES))) return INVALID
  const { mem, data, back } = where
  const own = mem === s.view.words
  const oobAt = count * SECTOR_BYTES
  const bytes = s.view.bytes
  const inside = own ? null : new Uint8Array(mem.buffer, oobAt, count * OOB_BYTES)
  if (inside !== null && mptr !== 0) inside.set(bytes.subarray(mptr, mptr + inside.length))
  command.mem = mem
  command.data = data
  command.oob = mptr === 0 ? -1 : own ? mptr : oobAt
  return () => {
    back?.()
    if (inside !== null && mptr !== 0 && c.opcode === OP_READ) bytes.set(inside, mptr)
  }
}

function ended(c: Command, s: ControllerServices, result: VectorResult, now: number): Answer {
  const answer = { status: result.status, dw0: result.low, dw1: result.high }
  if (result.due <= now) return answer
  s.later(result.due - now, () => s.complete(c, answer))
  return 'pending'
}

function vector(
  device: OpenChannelDevice,
  scratch: Scratch,
  c: Command,
  s: ControllerServices,
): Answer {
  const done = decode(c, s, scratch)
  if (typeof done === 'number') return { status: done }
  const { command } = scratch
  const described = descriptors_at(device, c, s)
  if (described === null) return { status: INVALID }
  const now = s.now()
  if (c.opcode === OP_COPY) return copied(device, c, s, command, now)
  const result =
    c.opcode === OP_ERASE
      ? device.erase(command, now)
      : c.opcode === OP_WRITE
        ? device.write(command, now)
        : c.opcode === OP_HYBRID_WRITE
          ? device.hybridWrite(command, c.u64(14), now)
          : device.read(command, now)
  done()
  if (described !== 0 && result.status === 0)
    s.view.bytes.set(device.descriptors(command.addresses, command.count), described)
  return ended(c, s, result, now)
}

/** Vector copy: the second list of addresses stands in dwords 14 and 15. */
function copied(
  device: OpenChannelDevice,
  c: Command,
  s: ControllerServices,
  command: VectorCommand,
  now: number,
): Answer {
  const { count } = command
  const to = new Float64Array(count)
  const at = c.u64(14)
  if (count === 1) to[0] = at
  else if (at % 8 !== 0 || !s.dma.reaches(at, 8 * count)) return { status: INVALID }
  else for (let i = 0; i < count; i++) to[i] = s.view.u64(at + 8 * i)
  const mem = new Uint32Array((count * (SECTOR_BYTES + OOB_BYTES)) / 4)
  return ended(c, s, device.copy({ ...command, mem }, to, 0, now), now)
}

function set_bad_blocks(device: OpenChannelDevice, c: Command, s: ControllerServices): Answer {
  const count = (c.cdw(12) & 0xffff) + 1
  if (count > MAX_VECTOR) return { status: INVALID }
  const list = new Float64Array(count)
  const wrong = addresses(c, s, count, list)
  if (wrong !== 0) return { status: wrong }
  return { status: device.setBadBlocks(list, count, (c.cdw(12) >>> 16) & 0xff) }
}

function get_bad_blocks(device: OpenChannelDevice, c: Command, s: ControllerServices): Answer {
  const table = device.badBlockTable(c.u64(10))
  return { status: table === null ? INVALID : s.dma.deliver(c, table) }
}

/** Logical sectors from dwords 10 and 11 on, as many as dword 12 says. */
function get_l2p(device: OpenChannelDevice, c: Command, s: ControllerServices): Answer {
  const [slba, n] = [c.u64(10), c.cdw(12)]
  if (n < 1 || n > MAX_L2P || slba + n > namespaceSectors(device.geometry))
    return { status: INVALID }
  return { status: s.dma.deliver(c, device.l2pTable(slba, n)) }
}

/** Get Log Page answers parts of a page; this is the whole one. */
function chunk_log(device: OpenChannelDevice): Uint8Array {
  const { groups, pus, chunks } = device.geometry
  return device.chunkLog(0, groups * pus * chunks * 32) ?? new Uint8Array(0)
}

/** The drive has no log of command effects, no timestamp and reports no changes of namespaces. */
function identify_controller(data: Uint8Array): void {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  view.setUint32(ID_CTRL_OAES, 0, true)
  data[ID_CTRL_LPA] = 0
  view.setUint16(ID_CTRL_ONCS, view.getUint16(ID_CTRL_ONCS, true) & ~ONCS_TIMESTAMP, true)
}

/** What is set for the device: errors for sectors that were never written, warnings of its media. */
function feature(device: OpenChannelDevice, fid: number, value: number): void {
  if (fid === FEAT_ERR_RECOVERY) device.dulbe = (value & DULBE) !== 0
  else device.warns = (value & HIGH_ECC) !== 0
}

function identify_namespace(device: OpenChannelDevice, data: Uint8Array): void {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const size = BigInt(namespaceSectors(device.geometry))
  for (const at of [0, 8, 16]) view.setBigUint64(at, size, true)
  data[25] = 0
  data[26] = 0
  view.setUint32(ID_NS_LBAF, OOB_BYTES | (12 << 16), true)
  data[ID_NS_VS] = 1
  if (device.geometry.version === 12) return
  data[ID_NS_NSFEAT] |= NSFEAT_DULBE
  data[ID_NS_DLFEAT] = DLFEAT_ZEROS
}

/** What makes a controller one of an open-channel device. */
export function openChannelExtension(device: OpenChannelDevice): Extension {
  const scratch = new Scratch()
  const io = (c: Command, s: ControllerServices): Answer => vector(device, scratch, c, s)
  const old = device.geometry.version === 12
  const admin = new Map([
    [
      ADMIN_IDENTITY,
      (c: Command, s: ControllerServices): Answer => ({
        status: s.dma.deliver(c, device.identity()),
      }),
    ],
  ])
  if (old) {
    admin.set(ADMIN_SET_BB, (c, s) => set_bad_blocks(device, c, s))
    admin.set(ADMIN_GET_BB, (c, s) => get_bad_blocks(device, c, s))
  }
  const table = old && (device.geometry.dom & DOM_L2P) !== 0
  if (table) admin.set(ADMIN_GET_L2P, (c, s) => get_l2p(device, c, s))
  const opcodes = [OP_ERASE, OP_WRITE, OP_READ, OP_COPY, ...(table ? [OP_HYBRID_WRITE] : [])]
  return {
    adminOpcodes: admin,
    ioOpcodes: new Map(opcodes.map(op => [op, io])),
    ...(old ? {} : { features: FEATURES, feature: (fid, value) => feature(device, fid, value) }),
    logPages: old ? new Map() : new Map([[LOG_CHUNKS, () => chunk_log(device)]]),
    identifyController: identify_controller,
    identifyNamespace: (_nsid, data) => identify_namespace(device, data),
  }
}
