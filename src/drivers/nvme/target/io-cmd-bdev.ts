// I/O commands on a block device: drivers/nvme/target/io-cmd-bdev.c of Linux 4.19, statuses as 5.10 gives them.
//
// Read and Write become one bio over the request's data, Flush a bio with PREFLUSH, Dataset Management with AD and Write
// Zeroes discards. The bios are the block layer's own; a request for which none is free waits for one.
//
// Linux cuts a request into bios of 256 pages; here a bio takes it whole and the queue splits it. What another than the
// NVMe driver cannot discard is refused with 001, as the device said it. A range past the end gets 080 here, before a
// bio is made.

import * as L from '../../../../assembly/layout.js'
import {
  BLK_STS_IOERR,
  BLK_STS_MEDIUM,
  BLK_STS_NOSPC,
  BLK_STS_NOTSUPP,
  BLK_STS_TARGET,
  DSM_RANGE_BYTES,
  NVME_CMD_DSM,
  NVME_CMD_FLUSH,
  NVME_CMD_READ,
  NVME_CMD_WRITE,
  NVME_CMD_WRITE_ZEROES,
  NVME_DSMGMT_AD,
  NVME_RW_FUA,
  NVME_SC_CAP_EXCEEDED,
  NVME_SC_DNR,
  NVME_SC_INTERNAL,
  NVME_SC_INVALID_OPCODE,
  NVME_SC_LBA_RANGE,
  NVME_SC_READ_ERROR,
  REQ_FUA,
  REQ_IDLE,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../../../assembly/nvme.js'
import { bio_init, bio_status, submit_bio, submit_bio_now } from '../../../block/bio.js'
import type { request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import type { Kernel } from '../../../kernel/kernel.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { wait_event, wake_up } from '../../../kernel/wait.js'
import { get16, get32, get64 } from '../bytes.js'
import { CMD_CDW10, CMD_CDW11, CMD_CDW12, CMD_OPCODE, NVME_SC_SGL_INVALID_DATA } from '../nvme.js'
import {
  nvmet_check_ctrl_status,
  nvmet_check_data_len,
  nvmet_copy_from_sgl,
  nvmet_find_namespace,
  nvmet_req_complete,
  req_target,
} from './core.js'
import type { nvmet_ns, nvmet_req } from './nvmet.js'

const DNR = NVME_SC_DNR
const SECTOR = 512
/** The largest bio: its size is 32 bits. */
const MAX_BIO = 2 ** 31

const STATUS: Readonly<Record<number, number>> = {
  0: 0,
  [BLK_STS_NOSPC]: NVME_SC_CAP_EXCEEDED | DNR,
  [BLK_STS_TARGET]: NVME_SC_LBA_RANGE | DNR,
  [BLK_STS_NOTSUPP]: NVME_SC_INVALID_OPCODE | DNR,
  [BLK_STS_MEDIUM]: NVME_SC_READ_ERROR,
  [BLK_STS_IOERR]: NVME_SC_INTERNAL | DNR,
}

/** The NVMe status for a block status. */
function blk_to_nvme_status(status: number): number {
  return STATUS[status] ?? NVME_SC_INTERNAL | DNR
}

interface Bio {
  readonly opf: number
  readonly sector: number
  readonly bytes: number
  readonly data: number
}

/** Makes a bio for the namespace's disk; `done` gets its block status. There is one free. */
function make(req: nvmet_req, bio: Bio, done: (status: number) => void): number {
  const { blk, bio_wait } = req_target(req)
  const at = bio_init(blk, {
    q: req.ns!.bdev,
    opf: bio.opf,
    sector: bio.sector,
    bytes: bio.bytes,
    data: bio.data,
    end_io: address => {
      const t = enter(blk.k, 'nvmet_bio_done')
      const status = bio_status(blk, address)
      blk.bios.bios.push(address)
      wake_up(bio_wait)
      done(status)
      leave(blk.k, t)
    },
  })
  if (bio.bytes > 0 && bio.data !== 0) {
    const a = enter(blk.k, 'bio_add_page')
    trace_call(blk.k, '__bio_add_page')
    leave(blk.k, a)
  }
  return at
}

/** Sends a bio to the namespace's disk, and sleeps while there is none, or no tag. */
function* send(req: nvmet_req, bio: Bio, done: (status: number) => void): Sleep<void> {
  const { blk, bio_wait } = req_target(req)
  if (blk.bios.bios.length === 0) yield* wait_event(bio_wait, () => blk.bios.bios.length > 0)
  const q = req.ns!.bdev
  yield* submit_bio(q, make(req, bio, done))
}

/** The same where there is nothing to sleep for, as a rule: then it returns nothing, else what is left to do. */
function send_now(
  req: nvmet_req,
  bio: Bio,
  done: (status: number) => void,
): Sleep<unknown> | undefined {
  const { blk } = req_target(req)
  if (blk.bios.bios.length === 0) return send(req, bio, done)
  return submit_bio_now(req.ns!.bdev, make(req, bio, done))
}

/** Byte offset and length of a Read, Write or Write Zeroes; null when it leaves the namespace. */
function extent(req: nvmet_req): { offset: number; bytes: number } | null {
  const shift = req.ns!.blksize_shift
  const slba = get64(req.cmd, CMD_CDW10)
  const blocks = get16(req.cmd, CMD_CDW12) + 1
  const unit = 1 << shift
  if (slba + blocks > Math.floor(req.ns!.bytes / unit)) return null
  return { offset: slba * unit, bytes: blocks * unit }
}

// ---------------------------------------------------------------- read and write

function data_of(req: nvmet_req): Uint8Array {
  return req_target(req).blk.view.bytes.subarray(req.sg, req.sg + req.transfer_len)
}

/** What a write leaves behind beside its disk; a status. */
function persisted(req: nvmet_req, ns: nvmet_ns, offset: number, fua: boolean): number {
  const { persist } = ns
  if (persist === null) return 0
  const errno = persist.write(offset, data_of(req)) || (fua ? persist.flush() : 0)
  return errno ? NVME_SC_INTERNAL | DNR : 0
}

function rw(req: nvmet_req, offset: number): Sleep<void> | undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_bdev_execute_rw')
  const ns = req.ns!
  const write = req.cmd[CMD_OPCODE] === NVME_CMD_WRITE
  const fua = (get32(req.cmd, CMD_CDW12) & NVME_RW_FUA) !== 0
  const opf = write ? REQ_OP_WRITE | REQ_SYNC | REQ_IDLE | (fua ? REQ_FUA : 0) : REQ_OP_READ
  const bytes = req.transfer_len
  if (write) {
    ns.writes++
    ns.written_bytes += bytes
  } else {
    ns.reads++
    ns.read_bytes += bytes
  }
  const bio = { opf, sector: offset / SECTOR, bytes, data: req.sg }
  const sleep = send_now(req, bio, blkStatus => {
    const status = blk_to_nvme_status(blkStatus)
    nvmet_req_complete(req, status || (write ? persisted(req, ns, offset, fua) : 0))
  })
  return sleep === undefined ? after_rw(k, t) : slow_rw(k, t, sleep)
}

function after_rw(k: Kernel, t: number): undefined {
  trace_call(k, 'blk_poll')
  leave(k, t)
}

function* slow_rw(k: Kernel, t: number, sleep: Sleep<unknown>): Sleep<void> {
  yield* sleep
  after_rw(k, t)
}

function nvmet_bdev_execute_rw(req: nvmet_req): Sleep<void> | undefined {
  if (!nvmet_check_data_len(req)) return undefined
  const place = extent(req)
  if (place !== null) return rw(req, place.offset)
  nvmet_req_complete(req, NVME_SC_LBA_RANGE | DNR)
  return undefined
}

// ---------------------------------------------------------------- flush

function* nvmet_bdev_execute_flush(req: nvmet_req): Sleep<void> {
  if (!nvmet_check_data_len(req)) return
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_bdev_execute_flush')
  const { persist } = req.ns!
  const bio = { opf: REQ_OP_WRITE | REQ_PREFLUSH, sector: 0, bytes: 0, data: 0 }
  yield* send(req, bio, blkStatus => {
    const errno = persist?.flush() ?? 0
    nvmet_req_complete(req, blk_to_nvme_status(blkStatus) || (errno ? NVME_SC_INTERNAL | DNR : 0))
  })
  leave(k, t)
}

// ---------------------------------------------------------------- discard

interface Range {
  readonly offset: number
  readonly bytes: number
}

/** Discards ranges, all at once, and answers when the last has ended. */
function* discard(req: nvmet_req, ranges: readonly Range[]): Sleep<void> {
  const pieces = ranges.flatMap(({ offset, bytes }) =>
    Array.from({ length: Math.ceil(bytes / MAX_BIO) }, (_, i) => ({
      offset: offset + i * MAX_BIO,
      bytes: Math.min(MAX_BIO, bytes - i * MAX_BIO),
    })),
  )
  const { persist } = req.ns!
  let left = pieces.length + 1
  let worst = 0
  const ended = (status: number): void => {
    worst ||= status
    if (--left === 0) nvmet_req_complete(req, worst)
  }
  for (const { offset, bytes } of pieces) {
    const sector = offset / SECTOR
    yield* send(req, { opf: REQ_OP_DISCARD, sector, bytes, data: 0 }, blkStatus => {
      const errno = blkStatus ? 0 : (persist?.discard(offset, bytes) ?? 0)
      ended(errno ? NVME_SC_INTERNAL | DNR : blk_to_nvme_status(blkStatus))
    })
  }
  ended(0)
}

/** The ranges of a Dataset Management command, or a status. */
function dsm_ranges(req: nvmet_req): Range[] | number {
  const count = req.cmd[CMD_CDW10]! + 1
  const list = new Uint8Array(count * DSM_RANGE_BYTES)
  const status = nvmet_copy_from_sgl(req, 0, list)
  if (status) return status
  const unit = 1 << req.ns!.blksize_shift
  const blocks = Math.floor(req.ns!.bytes / unit)
  const ranges: Range[] = []
  for (let i = 0; i < count; i++) {
    const length = get32(list, i * DSM_RANGE_BYTES + 4)
    const slba = get64(list, i * DSM_RANGE_BYTES + 8)
    if (slba + length > blocks) return NVME_SC_LBA_RANGE | DNR
    if (length > 0) ranges.push({ offset: slba * unit, bytes: length * unit })
  }
  return ranges
}

function nvmet_bdev_execute_dsm(req: nvmet_req): Sleep<void> | undefined {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_bdev_execute_dsm')
  const enough = req.data_len <= req.transfer_len
  const ranges = enough ? dsm_ranges(req) : NVME_SC_SGL_INVALID_DATA | DNR
  const deallocate = (get32(req.cmd, CMD_CDW11) & NVME_DSMGMT_AD) !== 0
  leave(k, t)
  if (typeof ranges !== 'number' && deallocate) return discard(req, ranges)
  // The other hints are taken note of, and that is all.
  nvmet_req_complete(req, typeof ranges === 'number' ? ranges : 0)
  return undefined
}

function nvmet_bdev_execute_write_zeroes(req: nvmet_req): Sleep<void> | undefined {
  if (!nvmet_check_data_len(req)) return undefined
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_bdev_execute_write_zeroes')
  const place = extent(req)
  leave(k, t)
  if (place !== null) return discard(req, [place])
  nvmet_req_complete(req, NVME_SC_LBA_RANGE | DNR)
  return undefined
}

// ---------------------------------------------------------------- parsing

export function nvmet_bdev_parse_io_cmd(req: nvmet_req): number {
  const { k } = req_target(req).blk
  const t = enter(k, 'nvmet_bdev_parse_io_cmd')
  switch (req.cmd[CMD_OPCODE]) {
    case NVME_CMD_READ:
    case NVME_CMD_WRITE:
      req.execute = nvmet_bdev_execute_rw
      req.data_len = (get16(req.cmd, CMD_CDW12) + 1) << req.ns!.blksize_shift
      return leave(k, t, 0)
    case NVME_CMD_FLUSH:
      req.execute = nvmet_bdev_execute_flush
      return leave(k, t, 0)
    case NVME_CMD_DSM:
      req.execute = nvmet_bdev_execute_dsm
      req.data_len = (req.cmd[CMD_CDW10]! + 1) * DSM_RANGE_BYTES
      return leave(k, t, 0)
    case NVME_CMD_WRITE_ZEROES:
      req.execute = nvmet_bdev_execute_write_zeroes
      return leave(k, t, 0)
    default:
      return leave(k, t, NVME_SC_INVALID_OPCODE | DNR)
  }
}

/** What a command of an I/O queue means; a status. */
export function nvmet_parse_io_cmd(req: nvmet_req): number {
  return nvmet_check_ctrl_status(req) || nvmet_find_namespace(req) || nvmet_bdev_parse_io_cmd(req)
}

/** What a namespace over a disk is made of. `bytes` of it are whole blocks. */
export type nvmet_bdev_fields = Pick<
  nvmet_ns,
  'nsid' | 'subsys' | 'bdev' | 'uuid' | 'nguid' | 'persist' | 'bytes'
>

/** A namespace over a disk that is open. */
export function nvmet_bdev_ns(ns: nvmet_bdev_fields): nvmet_ns {
  const { k } = ns.bdev.blk
  return leave(k, enter(k, 'nvmet_bdev_ns_enable'), bdev_ns(ns))
}

/** The same, over one that is opened for it. */
export function* nvmet_bdev_ns_enable(
  ns: nvmet_bdev_fields,
  open: (bdev: request_queue) => Sleep<void>,
): Sleep<nvmet_ns> {
  const { k } = ns.bdev.blk
  const t = enter(k, 'nvmet_bdev_ns_enable')
  yield* open(ns.bdev)
  return leave(k, t, bdev_ns(ns))
}

function bdev_ns(ns: nvmet_bdev_fields): nvmet_ns {
  const { blk, at } = ns.bdev
  const blksize_shift = blk.view.u32(at + L.Q_LBA_SHIFT)
  const counters = { read_bytes: 0, written_bytes: 0, reads: 0, writes: 0 }
  return { ...ns, blksize_shift, enabled: false, ...counters }
}
