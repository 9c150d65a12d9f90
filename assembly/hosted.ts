// The queues of a device with a controller in TypeScript (DEV_HOST): a probed machine's.
//
//   run_hosted   fetches the new entries of one queue
//
//   admin queue               every entry goes to the controller (DV_ADMIN), which posts by dev_complete
//   plain Read and Write      executed here: PRPs only, a namespace without metadata, no write cache to be lost
//   vector Read and Write      of an open-channel device, if it is plain (ocssd.ts)
//   any other command         the controller's (DV_IO): it answers with a status, which is posted when the medium's time
//                             is over, or posts later by itself
//
// Nothing that the host wrote is trusted: pointers are checked before data move (check_prps), and a queue may be gone or
// begin anew after each call of the controller.

import {
  CTRL_PLAIN, DCQ_ENTRIES, DEV_HOST, DEV_NN, DEV_NS, DEV_OCSSD, DEV_PAUSED, DEV_READS, DEV_READ_BLOCKS, DEV_WRITES,
  DEV_WRITTEN_BLOCKS, DSQ_BASE, DSQ_COMMANDS, DSQ_CQ, DSQ_ENTRIES, DSQ_ERRORS, DSQ_FIFO_COUNT, DSQ_HEAD,
  DSQ_ID, DV_ADMIN, DV_IO, DV_PENDING, NS_BASE, NS_FLAGS, NS_LBADS, NS_SIZE, NS_STORE, SECTOR_SHIFT,
} from './layout'
import {
  NVME_CMD_READ, NVME_CMD_WRITE, NVME_SC_DNR, NVME_SC_INVALID_FIELD, NVME_SC_LBA_RANGE, NVME_SC_SUCCESS,
  SQE_BYTES, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_NSID,
} from './nvme'
import { device_host } from './host'
import { exceeds_mdts, out_of_range } from './commands'
import { cq_has_room, dev_sq_tail } from './post'
import { ocssd_execute, ocssd_look_ahead } from './ocssd'
import { check_prps, move_data } from './prp'
import { end_entry } from './service'

const FLAGS: u32 = 0xff00

function count(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n)
}

/** Read or Write of a plain namespace. */
function plain_io(dev: u32, ns: u32, sqe: u32, opcode: u32): u32 {
  const slba = load<u64>(sqe, SQE_CDW10)
  const blocks: u32 = <u32>load<u16>(sqe, SQE_CDW12) + 1
  const shift = load<u32>(ns, NS_LBADS)
  const len = blocks << shift
  if (exceeds_mdts(dev, len)) return NVME_SC_INVALID_FIELD | NVME_SC_DNR
  if (out_of_range(ns, slba, blocks)) return NVME_SC_LBA_RANGE | NVME_SC_DNR
  const wrong = check_prps(dev, sqe, len)
  if (wrong) return wrong
  count(dev + (opcode == NVME_CMD_READ ? DEV_READS : DEV_WRITES), 1)
  count(dev + (opcode == NVME_CMD_READ ? DEV_READ_BLOCKS : DEV_WRITTEN_BLOCKS), len >> SECTOR_SHIFT)
  const st = load<u32>(ns, NS_STORE)
  if (!st) return wrong
  return move_data(sqe, opcode, st, (slba << shift) + load<u64>(ns, NS_BASE), len)
}

// @ts-ignore: decorator
@inline
function execute_hosted(dev: u32, dsq: u32, sqe: u32): u32 {
  const cdw0 = load<u32>(sqe, SQE_CDW0)
  const opcode = cdw0 & 0xff
  if (!(cdw0 & FLAGS) && load<u32>(dev, DEV_HOST) == CTRL_PLAIN) {
    const media = load<u32>(dev, DEV_OCSSD)
    const moves = opcode == NVME_CMD_READ || opcode == NVME_CMD_WRITE
    // What ends badly is the controller's as well: it has a log of errors.
    if (moves ? moved(dev, sqe, opcode) : media != 0 && ocssd_execute(dev, media, sqe, opcode)) return NVME_SC_SUCCESS
  }
  return device_host(DV_IO, dsq, sqe, 0)
}

/** A Read or Write of a plain namespace: whether all is well. */
function moved(dev: u32, sqe: u32, opcode: u32): bool {
  const nsid = load<u32>(sqe, SQE_NSID)
  if (nsid - 1 >= load<u32>(dev, DEV_NN)) return false
  const ns = load<u32>(dev, DEV_NS) + (nsid - 1) * NS_SIZE
  return !load<u32>(ns, NS_FLAGS) && plain_io(dev, ns, sqe, opcode) == NVME_SC_SUCCESS
}

/** One entry of an I/O queue. */
// @ts-ignore: decorator
@inline
function run_io(dev: u32, dsq: u32, dcq: u32, sqe: u32, now: u64): void {
  const status = execute_hosted(dev, dsq, sqe)
  if (status == DV_PENDING || !load<u32>(dsq, DSQ_ENTRIES)) return
  if (status) store<u64>(dsq, load<u64>(dsq, DSQ_ERRORS) + 1, DSQ_ERRORS)
  end_entry(dev, dsq, dcq, sqe, status, now, 0)
}

/** True if another entry may be fetched: there is one, room for its completion, and a record for its service. */
// @ts-ignore: decorator
@inline
function may_fetch(dev: u32, dsq: u32, dcq: u32): bool {
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  if (load<u32>(dev, DEV_PAUSED) || !entries || !load<u32>(dcq, DCQ_ENTRIES)) return false
  const tail = dev_sq_tail(dsq)
  if (tail >= entries || tail == load<u32>(dsq, DSQ_HEAD)) return false
  return load<u32>(dsq, DSQ_FIFO_COUNT) < entries && cq_has_room(dcq)
}

/** The entries up to the tail, or the ring's end, if there are several. */
function look_ahead(dev: u32, dsq: u32): void {
  const head = load<u32>(dsq, DSQ_HEAD)
  const entries = load<u32>(dsq, DSQ_ENTRIES)
  const tail = dev_sq_tail(dsq)
  const end = tail >= head ? min<u32>(tail, entries) : entries
  if (end > head + 1) ocssd_look_ahead(load<u32>(dev, DEV_OCSSD), dsq, head, end)
}

/** Fetches up to `max` entries: how many. */
export function run_hosted(dev: u32, dsq: u32, max: u32, now: u64): u32 {
  let n: u32 = 0
  const dcq = load<u32>(dsq, DSQ_CQ)
  if (load<u32>(dev, DEV_OCSSD)) look_ahead(dev, dsq)
  while (n < max && may_fetch(dev, dsq, dcq)) {
    const head = load<u32>(dsq, DSQ_HEAD)
    const sqe = load<u32>(dsq, DSQ_BASE) + head * SQE_BYTES
    store<u32>(dsq, head + 1 == load<u32>(dsq, DSQ_ENTRIES) ? 0 : head + 1, DSQ_HEAD)
    store<u64>(dsq, load<u64>(dsq, DSQ_COMMANDS) + 1, DSQ_COMMANDS)
    if (load<u32>(dsq, DSQ_ID)) run_io(dev, dsq, dcq, sqe, now)
    else device_host(DV_ADMIN, dsq, sqe, 0)
    n++
  }
  return n
}
