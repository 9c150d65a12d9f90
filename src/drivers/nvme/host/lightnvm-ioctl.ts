// Vector commands of programs: the ioctls of drivers/nvme/host/lightnvm.c of Linux 4.19, which nvme_ioctl hands on for a
// namespace that is an open-channel device.
//
//   nvme_nvm_ioctl              which of the three; -ENOTTY for any other
//   nvme_nvm_user_vcmd          ADMIN_VIO, IO_VIO: opcode 0xF2 is for everybody, the rest for CAP_SYS_ADMIN; no flags
//   nvme_nvm_submit_vio         SUBMIT_VIO: as many bytes as the addresses have sectors
//   nvme_nvm_submit_user_cmd    lists and out-of-band data by a block of memory each; the command; what it came to
//
// With one address `ppa_list` is the address. The structure is given back only when the call fails, as in 4.19; what it would
// say else is 0 in any case.
//
// On purpose different from 4.19: a list or out-of-band data that does not fit its block (512 addresses, 4096 bytes) is refused
// with -EINVAL; there it is written past the block's end.

import { RQ_SQE, RQ_TIMEOUT } from '../../../../assembly/layout.js'
import { SQE_CDW10, SQE_MPTR } from '../../../../assembly/nvme.js'
import { blk_execute_rq } from '../../../block/blk-exec.js'
import { blk_rq_map_user, blk_rq_unmap_user } from '../../../block/blk-map.js'
import type { BlockLayer, request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { EACCES, EFAULT, EINVAL, EIO, ENOMEM, ENOTTY, ENXIO } from '../../../kernel/errno.js'
import { enter, leave } from '../../../kernel/trace.js'
import { DMA_BLOCK_BYTES } from '../../lightnvm/lightnvm.js'
import {
  nvme_alloc_request,
  nvme_free_request,
  nvme_is_write,
  nvme_req_end,
  nvme_req_result,
} from './core-cmd.js'
import {
  decode_passthru_vio,
  decode_user_vio,
  NVM_PASSTHRU_VIO_BYTES,
  NVM_USER_VIO_BYTES,
  NVME_NVM_IOCTL_ADMIN_VIO,
  NVME_NVM_IOCTL_IO_VIO,
  NVME_NVM_IOCTL_SUBMIT_VIO,
  type nvm_vio_result,
  put_vio_result,
} from './lightnvm-vio.js'
import { ADMIN_TIMEOUT_S, type nvme_command, type nvme_ns } from './nvme.js'

const OP_GET_BB_TBL = 0xf2
/** Bits of a status that are a code and its type. */
const STATUS_BITS = 0x7ff

/** A program's buffers: 0 bytes are none. */
interface user_buffers {
  readonly addr: number
  readonly data_len: number
  readonly metadata: number
  readonly metadata_len: number
  readonly ppa_list: number
  readonly nppas: number
  /** Jiffies; 0: that of admin commands. */
  readonly timeout: number
}

function reaches({ view }: BlockLayer, at: number, bytes: number): boolean {
  return at > 0 && at + bytes <= view.bytes.length
}

/** Blocks that the command needs beside its data. */
interface blocks {
  list: number
  meta: number
}

/** Copies lists in and writes their places into the command. 0 or a negative error. */
function prepare(blk: BlockLayer, rq: number, write: boolean, u: user_buffers, b: blocks): number {
  const { mem, view } = blk
  const sqe = view.u32(rq + RQ_SQE)
  let spba = u.ppa_list
  if (u.ppa_list !== 0 && u.nppas > 0) {
    const bytes = 8 * (u.nppas + 1)
    if (bytes > DMA_BLOCK_BYTES) return -EINVAL
    b.list = mem.kzalloc(DMA_BLOCK_BYTES)
    if (b.list === 0) return -ENOMEM
    if (!reaches(blk, u.ppa_list, bytes)) return -EFAULT
    view.bytes.copyWithin(b.list, u.ppa_list, u.ppa_list + bytes)
    spba = b.list
  }
  view.setU64(sqe + SQE_CDW10, spba)
  if (u.addr === 0 || u.data_len === 0) return 0
  if (!reaches(blk, u.addr, u.data_len)) return -EFAULT
  if (u.metadata === 0 || u.metadata_len === 0) return 0
  if (u.metadata_len > DMA_BLOCK_BYTES) return -EINVAL
  b.meta = mem.kzalloc(DMA_BLOCK_BYTES)
  if (b.meta === 0) return -ENOMEM
  if (!reaches(blk, u.metadata, u.metadata_len)) return -EFAULT
  if (write) view.bytes.copyWithin(b.meta, u.metadata, u.metadata + u.metadata_len)
  view.setU64(sqe + SQE_MPTR, b.meta)
  return 0
}

/** Executes the command of a prepared request. 0, -EINTR or -EIO. */
function* execute(
  q: request_queue,
  rq: number,
  u: user_buffers,
  end: nvm_vio_result,
): Sleep<number> {
  const { view } = q.blk
  const bio = u.addr !== 0 && u.data_len > 0 ? blk_rq_map_user(q, rq, u.addr, u.data_len) : 0
  if (bio < 0) return bio
  yield* blk_execute_rq(q, rq, false)
  const status = nvme_req_end(view, rq)
  if (bio !== 0) blk_rq_unmap_user(q, bio, u.addr, u.data_len)
  end.result = status < 0 ? 0 : status & STATUS_BITS
  end.status = nvme_req_result(view, rq).u64
  if (status < 0) return status
  return (status & STATUS_BITS) === 0 ? 0 : -EIO
}

function* nvme_nvm_submit_user_cmd(
  q: request_queue,
  cmd: nvme_command,
  u: user_buffers,
  end: nvm_vio_result,
): Sleep<number> {
  const { blk } = q
  const { k, mem, view } = blk
  const t = enter(k, 'nvme_nvm_submit_user_cmd')
  const rq = yield* nvme_alloc_request(q, cmd)
  if (rq < 0) return leave(k, t, rq)
  const write = nvme_is_write(cmd)
  const b: blocks = { list: 0, meta: 0 }
  view.setU32(rq + RQ_TIMEOUT, u.timeout === 0 ? ADMIN_TIMEOUT_S * k.hz : u.timeout)
  let error = prepare(blk, rq, write, u, b)
  if (error === 0) error = yield* execute(q, rq, u, end)
  if (error === 0 && b.meta !== 0 && !write)
    view.bytes.copyWithin(u.metadata, b.meta, b.meta + u.metadata_len)
  for (const at of [b.list, b.meta]) if (at !== 0) mem.kfree(at)
  nvme_free_request(q, rq)
  return leave(k, t, error)
}

/** Dword 12 of a vector command: addresses less one, and control. */
const dword12 = (nppas: number, control: number): number => ((control << 16) | nppas) >>> 0

function* nvme_nvm_submit_vio(ns: nvme_ns, arg: Uint8Array): Sleep<number> {
  const { k } = ns.queue.blk
  const t = enter(k, 'nvme_nvm_submit_vio')
  const vio = decode_user_vio(arg)
  if (vio.flags !== 0) return leave(k, t, -EINVAL)
  const cmd = { opcode: vio.opcode, nsid: ns.ns_id, cdw12: dword12(vio.nppas, vio.control) }
  const data_len = (vio.nppas + 1) * 2 ** ns.lba_shift
  const end: nvm_vio_result = { result: 0, status: 0n }
  const u = { ...vio, data_len, timeout: 0 }
  const error = yield* nvme_nvm_submit_user_cmd(ns.queue, cmd, u, end)
  if (error !== 0) put_vio_result(arg, end)
  return leave(k, t, error)
}

function* nvme_nvm_user_vcmd(
  ns: nvme_ns,
  q: request_queue | null,
  arg: Uint8Array,
  admin: boolean,
): Sleep<number> {
  const { k } = ns.queue.blk
  const t = enter(k, 'nvme_nvm_user_vcmd')
  const vio = decode_passthru_vio(arg)
  if (vio.opcode !== OP_GET_BB_TBL && !admin) return leave(k, t, -EACCES)
  if (vio.flags !== 0) return leave(k, t, -EINVAL)
  if (q === null) return leave(k, t, -ENXIO)
  const { opcode, cdw2, cdw3, cdw13, cdw14, cdw15 } = vio
  const cdw12 = dword12(vio.nppas, vio.control)
  const cmd = { opcode, nsid: ns.ns_id, cdw2, cdw3, cdw12, cdw13, cdw14, cdw15 }
  const end: nvm_vio_result = { result: 0, status: 0n }
  const u = { ...vio, timeout: Math.ceil((vio.timeout_ms * k.hz) / 1000) }
  const error = yield* nvme_nvm_submit_user_cmd(q, cmd, u, end)
  if (error !== 0) put_vio_result(arg, end)
  return leave(k, t, error)
}

/** Bytes of an ioctl's argument. */
const BYTES: ReadonlyMap<number, number> = new Map([
  [NVME_NVM_IOCTL_ADMIN_VIO, NVM_PASSTHRU_VIO_BYTES],
  [NVME_NVM_IOCTL_IO_VIO, NVM_PASSTHRU_VIO_BYTES],
  [NVME_NVM_IOCTL_SUBMIT_VIO, NVM_USER_VIO_BYTES],
])

/**
 * One of the user's vector ioctls on a namespace's disk.
 * @param arg its structure (lightnvm-vio.ts); result and status are put there when the call fails
 * @param admin whether the caller has CAP_SYS_ADMIN
 * @returns 0; -ENOTTY, -EINVAL, -EACCES, -EFAULT, -ENOMEM; -EINTR when the command was given up, -EIO when it failed
 */
export function* nvme_nvm_ioctl(
  ns: nvme_ns,
  cmd: number,
  arg: Uint8Array,
  admin: boolean,
): Sleep<number> {
  const { k } = ns.queue.blk
  const t = enter(k, 'nvme_nvm_ioctl')
  const bytes = BYTES.get(cmd)
  if (bytes === undefined) return leave(k, t, -ENOTTY)
  if (arg.length < bytes) return leave(k, t, -EFAULT)
  if (cmd === NVME_NVM_IOCTL_SUBMIT_VIO)
    return leave(k, t, yield* nvme_nvm_submit_vio(ns, arg.subarray(0, bytes)))
  const q = cmd === NVME_NVM_IOCTL_ADMIN_VIO ? ns.ctrl.admin_q : ns.queue
  return leave(k, t, yield* nvme_nvm_user_vcmd(ns, q, arg.subarray(0, bytes), admin))
}
