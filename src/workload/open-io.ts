// What the two ways of a program to a machine's disks (open-machine.ts, io-queue.ts) have in common: which I/Os there are
// and how they end, what a disk takes, and how a bio says it.

import {
  BIO_DATA,
  BIO_DISK,
  BIO_END_IO,
  BIO_OPF,
  BIO_SECTOR,
  BIO_SIZE,
  END_IO_RING,
} from '../../assembly/layout.js'
import {
  BLK_STS_NOSPC,
  BLK_STS_NOTSUPP,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { UserError } from '../core/errors.js'
import type { View } from '../core/view.js'
import { EIO, ENOSPC, EOPNOTSUPP } from '../kernel/errno.js'
import type { Disk } from '../machine/machine.js'
import { errorText } from './error-text.js'

const SECTOR_SHIFT = 9

/** REQ_OP_* and its flags of an I/O. */
export const OPF: Readonly<Record<'read' | 'write' | 'trim' | 'flush', number>> = {
  read: REQ_OP_READ,
  write: REQ_OP_WRITE | REQ_SYNC,
  trim: REQ_OP_DISCARD | REQ_SYNC,
  flush: REQ_OP_WRITE | REQ_PREFLUSH,
}

/** One I/O. Offsets and lengths are bytes, multiples of the disk's block. */
export type Io =
  | { readonly op: 'read' | 'trim'; readonly offset: number; readonly length: number }
  | { readonly op: 'write'; readonly offset: number; readonly data: Uint8Array }
  | { readonly op: 'flush' }

/** An I/O that is over. */
export interface Completion {
  /** What submit() returned. */
  readonly ticket: number
  /** Positive errno, 0 = good. */
  readonly errno: number
  /** What was read; empty for anything else. The caller's own copy. */
  readonly data: Uint8Array
  /** From submit() to completion, ns of the machine's clock. */
  readonly latencyNs: number
}

/** An I/O that failed, from one of the promises. */
export class IoError extends Error {
  override readonly name: string = 'IoError'
  readonly errno: number

  constructor(io: Io, errno: number) {
    const where = 'offset' in io ? ` at offset ${io.offset}` : ''
    super(`${io.op}${where}: ${errorText(errno)}`)
    this.errno = errno
  }
}

/** A stretch of a disk, in bytes. */
export interface Range {
  readonly op: 'read' | 'write' | 'trim'
  readonly offset: number
  readonly length: number
}

/** Bytes of a disk: of its namespace. */
export function bytesOf({ config }: Disk): number {
  return config.controller?.config.namespaces?.[0]?.bytes ?? config.sizeBytes
}

/** @throws UserError for what the disk cannot take: not whole blocks, past the end, more than `maxBytes` of data */
export function checkRange({ op, offset, length }: Range, disk: Disk, maxBytes: number): void {
  const { lbaShift, name } = disk.config
  const sizeBytes = bytesOf(disk)
  const block = 2 ** lbaShift
  const is = `${op} of ${length} bytes at offset ${offset}`
  if (!(length > 0 && offset >= 0 && offset % block === 0 && length % block === 0))
    throw new UserError(`${is}: ${name} takes whole blocks of ${block} bytes`)
  if (offset + length > sizeBytes) throw new UserError(`${is}: ${name} ends at ${sizeBytes}`)
  if (op !== 'trim' && length > maxBytes)
    throw new UserError(`${is}: at most ${maxBytes} bytes (maxBytes)`)
}

/** Writes what submit_bio reads of a bio. `offset` and `length` are bytes, `data` an address. */
export function fillBio(
  view: View,
  bio: number,
  opf: number,
  offset: number,
  length: number,
  data: number,
  q: number,
): void {
  view.setU32(bio + BIO_OPF, opf)
  view.setU64(bio + BIO_SECTOR, offset / 2 ** SECTOR_SHIFT)
  view.setU32(bio + BIO_SIZE, length)
  view.setU32(bio + BIO_DATA, data)
  view.setU32(bio + BIO_DISK, q)
  view.setU32(bio + BIO_END_IO, END_IO_RING)
}

/** blk_status_to_errno, as far as disks say it. */
export function errnoOf(status: number): number {
  if (status === 0) return 0
  if (status === BLK_STS_NOSPC) return ENOSPC
  return status === BLK_STS_NOTSUPP ? EOPNOTSUPP : EIO
}
