// The block layer's tracepoints, as TypeScript's half emits them (include/trace/events/block.h). The core writes its own
// into the same rings; both are shown alike.

import {
  Q_INDEX,
  RQ_CMD_FLAGS,
  RQ_DATA_LEN,
  RQ_SECTOR,
  SECTOR_SHIFT,
} from '../../assembly/layout.js'
import {
  REQ_FUA,
  REQ_META,
  REQ_OP_DISCARD,
  REQ_OP_FLUSH,
  REQ_OP_MASK,
  REQ_OP_READ,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
  REQ_RAHEAD,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { trace_event } from '../kernel/trace.js'
import type { request_queue } from './blkdev.js'

const OPERATION: Readonly<Record<number, string>> = {
  [REQ_OP_WRITE]: 'W',
  [REQ_OP_WRITE_SAME]: 'W',
  [REQ_OP_DISCARD]: 'D',
  [REQ_OP_SECURE_ERASE]: 'DE',
  [REQ_OP_FLUSH]: 'F',
  [REQ_OP_READ]: 'R',
}

/** The kernel's letters for a request: R, W, D, F flush, N neither; F before for PREFLUSH, F after for FUA, S, M, A. */
export function blk_fill_rwbs(opf: number, _bytes = 0): string {
  const operation = OPERATION[opf & REQ_OP_MASK] ?? 'N'
  const pre = opf & REQ_PREFLUSH ? 'F' : ''
  const fua = opf & REQ_FUA ? 'F' : ''
  const ahead = opf & REQ_RAHEAD ? 'A' : ''
  const sync = opf & REQ_SYNC ? 'S' : ''
  const meta = opf & REQ_META ? 'M' : ''
  return pre + operation + fua + ahead + sync + meta
}

/** A tracepoint about a request. */
export function rq_event(
  q: request_queue,
  name: 'block_rq_insert' | 'block_rq_issue' | 'block_rq_requeue' | 'block_rq_complete',
  rq: number,
): void {
  const { k, view } = q.blk
  if (!k.trace.on) return
  const bytes = view.u32(rq + RQ_DATA_LEN)
  trace_event(k, name, {
    rwbs: blk_fill_rwbs(view.u32(rq + RQ_CMD_FLAGS)),
    sectors: bytes >>> SECTOR_SHIFT,
    bytes,
    sector: view.u64(rq + RQ_SECTOR),
    dev: view.u32(q.at + Q_INDEX),
  })
}
