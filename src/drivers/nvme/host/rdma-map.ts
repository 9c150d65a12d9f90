// Where the data of an RDMA host's request lie, for the target to move them: nvme_rdma_map_data and what it chooses between,
// drivers/nvme/host/rdma.c of Linux 4.19.
//
//   no data                                    a keyed descriptor of length 0
//   a write, few pieces, little enough         in the capsule                               nvme_rdma_map_sg_inline
//   one piece, and a key to all memory         that key (register_always=N)                 nvme_rdma_map_sg_single
//   everything else                            a region of the queue's, registered before   nvme_rdma_map_sg_fr
//                                              the command is sent; the target may invalidate its key with the response
//
// 4.9 gives each request a region of its own; one of the queue's is as good.

import { EAGAIN, EINVAL } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { put32 } from '../bytes.js'
import { ib_mr_pool_get, ib_mr_pool_put } from '../mr-pool.js'
import {
  CMD_BYTES,
  CMD_SGL_LENGTH,
  CMD_SGL_TYPE,
  NVME_KEY_SGL_FMT_DATA_DESC,
  NVME_KEY_SGL_FMT_INVALIDATE,
  NVME_SGL_FMT_OFFSET,
  nvme_is_write,
  set_sgl,
} from '../nvme.js'
import {
  IB_ACCESS_LOCAL_WRITE,
  IB_ACCESS_REMOTE_READ,
  IB_ACCESS_REMOTE_WRITE,
  type ib_reg_wr,
  type ib_sge,
  ib_inc_rkey,
  ib_update_fast_reg_key,
} from '../verbs.js'
import {
  type nvme_rdma_module,
  type nvme_rdma_queue,
  type nvme_rdma_request,
  SGLS_OFFSET,
} from './rdma-queue.js'
import { nvme_rdma_wr_error } from './rdma-error.js'
import { nvme_cleanup_cmd, type rq_piece, rq_pieces } from './setup-cmd.js'

/** BLK_MAX_SEGMENT_SIZE. */
const MAX_SEGMENT_SIZE = 65536

/** Pieces of memory that a capsule is gathered from: NVME_RDMA_MAX_INLINE_SEGMENTS; one before 4.19. */
const MAX_INLINE_SEGMENTS = 4

/** The data as a device sees them: what is one in memory is one piece, of at most so many bytes. */
function blk_rq_map_sg(pieces: readonly rq_piece[]): ib_sge[] {
  const sg: ib_sge[] = []
  for (const { data, bytes } of pieces) {
    let [addr, left] = [data, bytes]
    const last = sg.at(-1)
    if (last !== undefined && last.addr + last.bytes === addr) {
      sg.pop()
      addr = last.addr
      left += last.bytes
    }
    for (; left > 0; left -= MAX_SEGMENT_SIZE) {
      sg.push({ addr, bytes: Math.min(left, MAX_SEGMENT_SIZE) })
      addr += MAX_SEGMENT_SIZE
    }
  }
  return sg
}

/** Bytes that a command of this queue may carry itself. */
function nvme_rdma_inline_data_size(queue: nvme_rdma_queue): number {
  const { ctrl } = queue.life
  if (queue.qid === 0 || !(ctrl.sgls & SGLS_OFFSET)) return 0
  return Math.max(0, ctrl.ioccsz * 16 - CMD_BYTES)
}

/** What is sent for a request: its capsule, and before it the registration of its memory. */
export interface rdma_capsule {
  readonly message: Uint8Array
  readonly reg_wr: ib_reg_wr | null
}

/** @returns the capsule, or -errno */
export function nvme_rdma_map_data(
  m: nvme_rdma_module,
  queue: nvme_rdma_queue,
  req: nvme_rdma_request,
  cmd: Uint8Array,
): rdma_capsule | number {
  const pieces = rq_pieces(req.q, req.rq)
  if (pieces.length === 0) {
    set_sgl(cmd, NVME_KEY_SGL_FMT_DATA_DESC, 0)
    return { message: cmd, reg_wr: null }
  }
  trace_call(queue.life.ctrl.k, 'blk_rq_map_sg')
  const sg = blk_rq_map_sg(pieces)
  const bytes = sg.reduce((sum, piece) => sum + piece.bytes, 0)
  const few = sg.length <= (m.wq === null ? MAX_INLINE_SEGMENTS : 1)
  if (few && nvme_is_write(cmd) && bytes <= nvme_rdma_inline_data_size(queue))
    return nvme_rdma_map_sg_inline(queue, sg, bytes, cmd)
  const global = m.pd!.unsafe_global_rkey
  if (sg.length === 1 && global !== null) return nvme_rdma_map_sg_single(sg[0]!, global, cmd)
  return nvme_rdma_map_sg_fr(queue, req, sg, cmd)
}

function nvme_rdma_map_sg_inline(
  queue: nvme_rdma_queue,
  sg: readonly ib_sge[],
  bytes: number,
  cmd: Uint8Array,
): rdma_capsule {
  set_sgl(cmd, NVME_SGL_FMT_OFFSET, bytes, 0)
  const message = new Uint8Array(CMD_BYTES + bytes)
  message.set(cmd)
  const { view } = queue.life.ctrl.blk
  let at = CMD_BYTES
  for (const piece of sg) {
    message.set(view.bytes.subarray(piece.addr, piece.addr + piece.bytes), at)
    at += piece.bytes
  }
  return { message, reg_wr: null }
}

/** A keyed descriptor: 24 bits of length, then the key. */
function set_keyed_sgl(cmd: Uint8Array, type: number, { addr, bytes }: ib_sge, key: number): void {
  set_sgl(cmd, type, bytes, addr)
  put32(cmd, CMD_SGL_LENGTH + 3, key)
  cmd[CMD_SGL_TYPE] = type
}

function nvme_rdma_map_sg_single(piece: ib_sge, key: number, cmd: Uint8Array): rdma_capsule {
  set_keyed_sgl(cmd, NVME_KEY_SGL_FMT_DATA_DESC, piece, key)
  return { message: cmd, reg_wr: null }
}

function nvme_rdma_map_sg_fr(
  queue: nvme_rdma_queue,
  req: nvme_rdma_request,
  sg: readonly ib_sge[],
  cmd: Uint8Array,
): rdma_capsule | number {
  const mr = ib_mr_pool_get(queue.rdma_mrs)
  if (mr === null) return -EAGAIN
  if (mr.ib_map_mr_sg(sg) < sg.length) {
    ib_mr_pool_put(queue.rdma_mrs, mr)
    return -EINVAL
  }
  ib_update_fast_reg_key(mr, ib_inc_rkey(mr.rkey))
  req.mr = mr
  req.need_inval = true
  const where = { addr: mr.iova, bytes: mr.length }
  set_keyed_sgl(cmd, NVME_KEY_SGL_FMT_INVALIDATE, where, mr.rkey)
  const reg_wr: ib_reg_wr = {
    opcode: 'REG_MR',
    mr,
    key: mr.rkey,
    access: IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_WRITE,
    signaled: false,
    done: ({ status }) => {
      const t = enter(queue.life.ctrl.k, 'nvme_rdma_memreg_done')
      nvme_rdma_wr_error(queue, 'MEMREG', status)
      leave(queue.life.ctrl.k, t)
      return undefined
    },
  }
  return { message: cmd, reg_wr }
}

/** The request's key is made worthless here, if the target did not; `done` hears how it went. */
export function nvme_rdma_inv_rkey(
  queue: nvme_rdma_queue,
  { mr }: nvme_rdma_request,
  good: () => void,
): void {
  const { k } = queue.life.ctrl
  queue.cm_id.ib_post_send([
    {
      opcode: 'LOCAL_INV',
      invalidate_rkey: mr!.rkey,
      signaled: true,
      done: ({ status }) => {
        const t = enter(k, 'nvme_rdma_inv_rkey_done')
        if (status === 'SUCCESS') good()
        else nvme_rdma_wr_error(queue, 'LOCAL_INV', status)
        leave(k, t)
        return undefined
      },
    },
  ])
}

/** Region and command are given back. */
export function nvme_rdma_unmap_data(m: nvme_rdma_module, req: nvme_rdma_request): void {
  const { q, rq, queue } = req
  const t = enter(q.blk.k, 'nvme_rdma_unmap_data')
  if (req.mr !== null) {
    if (m.wq !== null && req.need_inval && !queue.stopped)
      nvme_rdma_inv_rkey(queue, req, () => undefined)
    ib_mr_pool_put(queue.rdma_mrs, req.mr)
    req.mr = null
  }
  if (rq_pieces(q, rq).length > 0) nvme_cleanup_cmd(q, rq)
  leave(q.blk.k, t)
}
