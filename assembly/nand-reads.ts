// The short way of a drive with flash that keeps times only (`model=nand`, `data=0`): random reads of one place each are what
// million-IOPS runs on it consist of. What run_timed (device.ts), nand_due (nand.ts) and fifo_insert (post.ts) do for a command
// is done here in one loop, with what does not change loaded once. Anything else is the caller's.

import {
  DEV_NAND, DEV_NS, DSQ_BASE, DSQ_ENTRIES, DSQ_FIFO, DSQ_FIFO_COUNT, DSQ_FIFO_HEAD, FIFO_DUE, FIFO_SIZE, NA_BLOCKS, NA_DIE, NA_L2P,
  NA_READ_NS, NA_ROWS, NA_ROW_SHIFT, NA_XFER_NS, ND_CHANNEL, ND_FREE_NS, ND_SIZE, NS_BASE, NS_LBADS, NS_NSZE, PAGE_SHIFT, PAGE_SIZE,
} from './layout'
import { NVME_CMD_READ, SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_NSID } from './nvme'
import { OVERHEAD_NS } from './nand'

/** A record of a command in service is stored as one word, so that it can be loaded as one soon after. */
// @ts-ignore: decorator
@inline
function record(due: u64, cid: u32): v128 {
  return i64x2.replace_lane(i64x2.splat(<i64>due), 1, <i64>cid)
}

/**
 * Takes up to `room` reads of one place from the ring, beginning at entry `head`: how many, fewer when the next command is
 * another. The caller knows that so many may be in service, and moves the head.
 */
export function flash_reads(dev: u32, dsq: u32, head: u32, room: u32, now: u64): u32 {
  const na = load<u32>(dev, DEV_NAND)
  const ns = load<u32>(dev, DEV_NS)
  const nsze = load<u64>(ns, NS_NSZE)
  const lba = <u64>load<u32>(ns, NS_LBADS)
  const first = load<u64>(ns, NS_BASE)
  const nlb = (<u32>PAGE_SIZE >> <u32>lba) - 1
  const l2p = load<u32>(na, NA_L2P)
  const dies = load<u32>(na, NA_DIE)
  const per_die = (load<u32>(na, NA_BLOCKS) * load<u32>(na, NA_ROWS)) << load<u32>(na, NA_ROW_SHIFT)
  const sense = load<u64>(na, NA_READ_NS)
  const carry = load<u64>(na, NA_XFER_NS)
  const ready = now + OVERHEAD_NS
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const base = load<u32>(dsq, DSQ_BASE)
  const end = base + entries * SQE_BYTES
  const fifo = load<u32>(dsq, DSQ_FIFO)
  const fifo_end = fifo + entries * FIFO_SIZE
  let count = load<u32>(dsq, DSQ_FIFO_COUNT)
  let tail = fifo + (load<u32>(dsq, DSQ_FIFO_HEAD) + count) * FIFO_SIZE
  if (tail >= fifo_end) tail -= entries * FIFO_SIZE
  let sqe = base + head * SQE_BYTES
  let n: u32 = 0
  while (n < room) {
    const cdw0 = load<u32>(sqe, SQE_CDW0)
    const slba = load<u64>(sqe, SQE_CDW10)
    const at = (slba << lba) + first
    const other = ((cdw0 & 0xff) ^ NVME_CMD_READ) | (load<u32>(sqe, SQE_NSID) - 1) | (load<u16>(sqe, SQE_CDW12) ^ nlb)
    if (other | (<u32>at & (PAGE_SIZE - 1)) | <u32>(slba >= nsze) | <u32>(<u64>nlb >= nsze - slba)) break
    const place = load<u32>(l2p + (<u32>(at >> PAGE_SHIFT) << 2))
    let due = ready
    if (place) {
      const die = dies + (place - 1) / per_die * ND_SIZE
      const sensed = max<u64>(ready, load<u64>(die, ND_FREE_NS)) + sense
      const channel = load<u32>(die, ND_CHANNEL)
      due = max<u64>(sensed, load<u64>(channel)) + carry
      store<u64>(die, sensed, ND_FREE_NS)
      store<u64>(channel, due)
    }
    // Those that are due later make room; ties keep their order.
    let slot = tail
    for (let left = count; left; left--) {
      const before = (slot == fifo ? fifo_end : slot) - FIFO_SIZE
      if (load<u64>(before, FIFO_DUE) <= due) break
      v128.store(slot, v128.load(before))
      slot = before
    }
    v128.store(slot, record(due, cdw0 >> 16))
    tail += FIFO_SIZE
    if (tail == fifo_end) tail = fifo
    sqe += SQE_BYTES
    if (sqe == end) sqe = base
    count++
    n++
  }
  store<u32>(dsq, count, DSQ_FIFO_COUNT)
  return n
}
