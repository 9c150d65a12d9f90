// The block layer's tracepoints: kernel/trace/blktrace.c and include/trace/events/block.h of Linux 4.19.

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

const OPS: ReadonlyMap<number, string> = new Map([
  [REQ_OP_READ, 'R'],
  [REQ_OP_WRITE, 'W'],
  [REQ_OP_WRITE_SAME, 'W'],
  [REQ_OP_FLUSH, 'F'],
  [REQ_OP_DISCARD, 'D'],
  [REQ_OP_SECURE_ERASE, 'DE'],
])

/** The letters that stand for an operation and its flags: R, WS, FWS, WFS, FF. */
export function blk_fill_rwbs(opf: number): string {
  const flag = (bit: number, letter: string): string => (opf & bit ? letter : '')
  const op = OPS.get(opf & REQ_OP_MASK) ?? 'N'
  return (
    flag(REQ_PREFLUSH, 'F') +
    op +
    flag(REQ_FUA, 'F') +
    flag(REQ_RAHEAD, 'A') +
    flag(REQ_SYNC, 'S') +
    flag(REQ_META, 'M')
  )
}
