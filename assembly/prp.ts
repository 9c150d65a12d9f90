// Data by PRP: the command's two pointers and the lists behind them (NVMe: Physical Region Page Entry and List).
//
// A transfer is walked page by page. The cursor is the address of the next PRP entry: first the field PRP2 of the
// command itself when it is a data pointer, else an entry of the list. move_data trusts the host to name its own memory;
// a controller that must not trust it (hosted.ts) lets check_prps walk first.

import {
  DEV_DMA_FROM, DEV_DMA_TO, PAGE_SIZE,
} from './layout'
import {
  NVME_CMD_READ, NVME_CMD_WRITE, NVME_SC_CAP_EXCEEDED, NVME_SC_COMPARE_FAILED, NVME_SC_DATA_XFER_ERROR,
  NVME_SC_DNR, NVME_SC_PRP_OFFSET_INVALID, NVME_SC_SUCCESS, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { store_equals, store_read, store_write } from './store'

const PAGE: u32 = PAGE_SIZE
const PAGE_MASK: u32 = PAGE_SIZE - 1
const LAST_SLOT: u32 = PAGE_SIZE - 8

/** Moves what lies within one page of the medium. Returns a status. */
// @ts-ignore: decorator
@inline
function move_part(opcode: u32, st: u32, at: u64, mem: u32, len: u32): u32 {
  if (opcode == NVME_CMD_READ) store_read(st, at, mem, len)
  else if (opcode == NVME_CMD_WRITE) {
    if (!store_write(st, at, mem, len)) return NVME_SC_CAP_EXCEEDED | NVME_SC_DNR
  } else if (!store_equals(st, at, mem, len)) return NVME_SC_COMPARE_FAILED | NVME_SC_DNR
  return NVME_SC_SUCCESS
}

/** Moves one piece between memory and the medium. Returns a status. */
function move_piece(opcode: u32, st: u32, at: u64, mem: u32, len: u32): u32 {
  while (len) {
    const part = min<u32>(len, PAGE - (<u32>at & PAGE_MASK))
    const status = move_part(opcode, st, at, mem, part)
    if (status != NVME_SC_SUCCESS) return status
    at += part
    mem += part
    len -= part
  }
  return NVME_SC_SUCCESS
}

/** Moves `len` bytes at byte `at` of the namespace as the command's PRPs say. */
// @ts-ignore: decorator
@inline
export function move_data(sqe: u32, opcode: u32, st: u32, at: u64, len: u32): u32 {
  const prp1 = <u32>load<u64>(sqe, SQE_PRP1)
  if (prp1 & 3) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  const first = min<u32>(len, PAGE - (prp1 & PAGE_MASK))
  if (first == len && len <= PAGE - (<u32>at & PAGE_MASK)) return move_part(opcode, st, at, prp1, len)
  return move_pieces(sqe, opcode, st, at, len, prp1, first)
}

/** The same of more than one page, here or there. */
function move_pieces(sqe: u32, opcode: u32, st: u32, at: u64, len: u32, prp1: u32, first: u32): u32 {
  let status = move_piece(opcode, st, at, prp1, first)
  let done = first
  let cursor = sqe + SQE_PRP2
  if (len - first > PAGE) {
    cursor = <u32>load<u64>(sqe, SQE_PRP2)
    if (cursor & 7) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  }
  while (done < len && status == NVME_SC_SUCCESS) {
    // The last slot of a list page leads on when more than one page of data is left.
    if ((cursor & PAGE_MASK) == LAST_SLOT && len - done > PAGE) {
      cursor = <u32>load<u64>(cursor)
      if (cursor & PAGE_MASK) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
    }
    const page = <u32>load<u64>(cursor)
    if (page & PAGE_MASK) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
    const part = min<u32>(len - done, PAGE)
    status = move_piece(opcode, st, at + done, page, part)
    done += part
    cursor += 8
  }
  return status
}

/** True if `len` bytes at `at` lie in the memory that the device may reach. */
// @ts-ignore: decorator
@inline
export function reachable(dev: u32, at: u64, len: u32): bool {
  const from = <u64>load<u32>(dev, DEV_DMA_FROM)
  const to = <u64>load<u32>(dev, DEV_DMA_TO)
  return at >= from && at <= to && <u64>len <= to - at
}

/**
 * Walks the PRPs of a transfer without moving anything. NVME_SC_SUCCESS means that move_data finds every pointer aligned
 * and inside of what the device may reach.
 */
export function check_prps(dev: u32, sqe: u32, len: u32): u32 {
  const prp1 = load<u64>(sqe, SQE_PRP1)
  if (prp1 & 3) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  const first = min<u32>(len, PAGE - (<u32>prp1 & PAGE_MASK))
  if (!reachable(dev, prp1, first)) return NVME_SC_DATA_XFER_ERROR | NVME_SC_DNR
  let done = first
  let cursor = sqe + SQE_PRP2
  if (len - first > PAGE) {
    const list = load<u64>(sqe, SQE_PRP2)
    if (list & 7) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
    if (!reachable(dev, list, 8)) return NVME_SC_DATA_XFER_ERROR | NVME_SC_DNR
    cursor = <u32>list
  }
  while (done < len) {
    if ((cursor & PAGE_MASK) == LAST_SLOT && len - done > PAGE) {
      const next = load<u64>(cursor)
      if (next & PAGE_MASK) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
      if (!reachable(dev, next, PAGE)) return NVME_SC_DATA_XFER_ERROR | NVME_SC_DNR
      cursor = <u32>next
    }
    const page = load<u64>(cursor)
    const part = min<u32>(len - done, PAGE)
    if (page & PAGE_MASK) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
    if (!reachable(dev, page, part)) return NVME_SC_DATA_XFER_ERROR | NVME_SC_DNR
    done += part
    cursor += 8
  }
  return NVME_SC_SUCCESS
}
