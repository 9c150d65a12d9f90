// What the core does for one NVM command: Read, Write, Compare, Write Zeroes, Dataset Management (deallocate), Flush and
// Verify, with data by PRP. Anything else is an Invalid Command Opcode here; a device with a controller (hosted.ts) asks
// the controller first. Namespaces are ranges of the device's store only there: here each has a store of its own.

import {
  DEV_MAX_LBAS, DEV_NN, DEV_NS, NS_LBADS, NS_NSZE, NS_SIZE, NS_STORE, PAGE_SIZE,
} from './layout'
import {
  DSM_RANGE_BYTES, NVME_CMD_COMPARE, NVME_CMD_DSM, NVME_CMD_FLUSH, NVME_CMD_READ, NVME_CMD_VERIFY,
  NVME_CMD_WRITE, NVME_CMD_WRITE_ZEROES, NVME_DSMGMT_AD, NVME_SC_DNR, NVME_SC_INVALID_FIELD,
  NVME_SC_INVALID_NS, NVME_SC_INVALID_OPCODE, NVME_SC_LBA_RANGE, NVME_SC_PRP_OFFSET_INVALID,
  NVME_SC_SUCCESS, SQE_CDW0, SQE_CDW10, SQE_CDW12, SQE_NSID, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { move_data } from './prp'
import { store_zero } from './store'

const PAGE: u32 = PAGE_SIZE
const ANY: u32 = 0xffffffff

// @ts-ignore: decorator
@inline
export function out_of_range(ns: u32, slba: u64, blocks: u64): bool {
  const nsze = load<u64>(ns, NS_NSZE)
  return slba >= nsze || blocks > nsze - slba
}

/** MDTS is a page at least, so that small transfers need not ask. */
export function exceeds_mdts(dev: u32, len: u32): bool {
  const most = load<u32>(dev, DEV_MAX_LBAS)
  return most != 0 && len > most
}

// @ts-ignore: decorator
@inline
export function read_write(dev: u32, ns: u32, sqe: u32, opcode: u32): u32 {
  const slba = load<u64>(sqe, SQE_CDW10)
  const blocks: u32 = <u32>load<u16>(sqe, SQE_CDW12) + 1
  if (out_of_range(ns, slba, blocks)) return NVME_SC_LBA_RANGE | NVME_SC_DNR
  const st = load<u32>(ns, NS_STORE)
  if (!st || opcode == NVME_CMD_VERIFY) return NVME_SC_SUCCESS
  const shift = load<u32>(ns, NS_LBADS)
  const at = slba << shift
  const len = blocks << shift
  if (opcode != NVME_CMD_WRITE_ZEROES) {
    if (len > PAGE && exceeds_mdts(dev, len)) return NVME_SC_INVALID_FIELD | NVME_SC_DNR
    return move_data(sqe, opcode, st, at, len)
  }
  store_zero(st, at, len)
  return NVME_SC_SUCCESS
}

function deallocate(ns: u32, sqe: u32): u32 {
  const ranges: u32 = <u32>load<u8>(sqe, SQE_CDW10) + 1
  if (!(load<u32>(sqe, SQE_CDW10 + 4) & NVME_DSMGMT_AD)) return NVME_SC_SUCCESS
  const shift = load<u32>(ns, NS_LBADS)
  const st = load<u32>(ns, NS_STORE)
  let range = <u32>load<u64>(sqe, SQE_PRP1)
  if (range & (DSM_RANGE_BYTES - 1)) return NVME_SC_PRP_OFFSET_INVALID | NVME_SC_DNR
  for (let i: u32 = 0; i < ranges; i++) {
    const blocks = <u64>load<u32>(range, 4)
    const slba = load<u64>(range, 8)
    if (blocks) {
      if (out_of_range(ns, slba, blocks)) return NVME_SC_LBA_RANGE | NVME_SC_DNR
      if (st) store_zero(st, slba << shift, blocks << shift)
    }
    range += DSM_RANGE_BYTES
    // The list goes on in the page of PRP2.
    if (!(range & (PAGE - 1))) range = <u32>load<u64>(sqe, SQE_PRP2)
  }
  return NVME_SC_SUCCESS
}

/** Executes one command: its status. Data are moved at once; the time it takes is the medium's. */
// @ts-ignore: decorator
@inline
export function execute(dev: u32, sqe: u32): u32 {
  const opcode = load<u32>(sqe, SQE_CDW0) & 0xff
  const nsid = load<u32>(sqe, SQE_NSID)
  if (nsid - 1 >= load<u32>(dev, DEV_NN)) {
    if (opcode == NVME_CMD_FLUSH && nsid == ANY) return NVME_SC_SUCCESS
    return NVME_SC_INVALID_NS | NVME_SC_DNR
  }
  const ns = load<u32>(dev, DEV_NS) + (nsid - 1) * NS_SIZE
  if (opcode == NVME_CMD_READ || opcode == NVME_CMD_WRITE) return read_write(dev, ns, sqe, opcode)
  if (opcode == NVME_CMD_FLUSH) return NVME_SC_SUCCESS
  if (opcode == NVME_CMD_DSM) return deallocate(ns, sqe)
  if (opcode == NVME_CMD_COMPARE || opcode == NVME_CMD_WRITE_ZEROES || opcode == NVME_CMD_VERIFY) {
    return read_write(dev, ns, sqe, opcode)
  }
  return NVME_SC_INVALID_OPCODE | NVME_SC_DNR
}
