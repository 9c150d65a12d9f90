// Faults as data: rules on a device (FLT_*) that say to which commands something happens, and what.
//
//   status      the command ends with a status and moves no data
//   delay       it takes longer
//   corrupt     one byte of its data is changed on the way
//
// Rules of a device with a controller are the controller's (src/device): there more can happen, because the host waits with a
// timeout.

import {
  DEV_FAULTS, DEV_NN, DEV_NS, FAULT_CORRUPT, FAULT_STATUS, FLT_ACTION, FLT_FROM, FLT_HITS,
  FLT_MET, FLT_NEXT, FLT_NTH, FLT_OPCODE, FLT_SQ, FLT_TO, FLT_VALUE, NS_LBADS, NS_SIZE, PAGE_SIZE,
} from './layout'
import {
  NVME_CMD_COMPARE, NVME_CMD_READ, NVME_CMD_WRITE, NVME_SC_SUCCESS, SQE_CDW0, SQE_CDW10, SQE_CDW12,
  SQE_NSID, SQE_PRP1,
} from './nvme'
import { execute } from './commands'

const PAGE: u32 = PAGE_SIZE
const ANY: u32 = 0xffffffff

function fault_meets(fault: u32, sq: u32, sqe: u32): bool {
  const opcode = load<u32>(fault, FLT_OPCODE)
  if (opcode != ANY && opcode != (load<u32>(sqe, SQE_CDW0) & 0xff)) return false
  const queue = load<u32>(fault, FLT_SQ)
  if (queue && queue != sq) return false
  const slba = load<u64>(sqe, SQE_CDW10)
  const end = slba + load<u16>(sqe, SQE_CDW12) + 1
  if (end <= load<u64>(fault, FLT_FROM) || slba >= load<u64>(fault, FLT_TO)) return false
  const met = atomic.add<u32>(fault, 1, FLT_MET) + 1
  const nth = load<u32>(fault, FLT_NTH)
  return nth == 0 || met == nth
}

/** The first fault that acts on this command, or 0. */
export function find_fault(dev: u32, sq: u32, sqe: u32): u32 {
  let fault = load<u32>(dev, DEV_FAULTS)
  while (fault && !fault_meets(fault, sq, sqe)) fault = load<u32>(fault, FLT_NEXT)
  if (fault) atomic.add<u32>(fault, 1, FLT_HITS)
  return fault
}

/** Bytes of a command's data in its first page; 0 if it carries none. */
function data_in_first_page(dev: u32, sqe: u32): u32 {
  const opcode = load<u32>(sqe, SQE_CDW0) & 0xff
  const nsid = load<u32>(sqe, SQE_NSID)
  if (opcode != NVME_CMD_READ && opcode != NVME_CMD_WRITE && opcode != NVME_CMD_COMPARE) return 0
  if (nsid - 1 >= load<u32>(dev, DEV_NN)) return 0
  const ns = load<u32>(dev, DEV_NS) + (nsid - 1) * NS_SIZE
  const len = (<u32>load<u16>(sqe, SQE_CDW12) + 1) << load<u32>(ns, NS_LBADS)
  return min<u32>(len, PAGE - (<u32>load<u64>(sqe, SQE_PRP1) & (PAGE - 1)))
}

/** Flips one byte of the data in the command's first page. */
function spoil(dev: u32, sqe: u32, at: u64): void {
  const bytes = data_in_first_page(dev, sqe)
  if (!bytes) return
  const byte = <u32>load<u64>(sqe, SQE_PRP1) + <u32>(at % <u64>bytes)
  store<u8>(byte, ~load<u8>(byte))
}

/** Executes a command under a fault. What is read is spoilt afterwards; of what is written, the medium's copy. */
export function execute_faulty(dev: u32, sqe: u32, fault: u32): u32 {
  const action = load<u32>(fault, FLT_ACTION)
  const value = load<u64>(fault, FLT_VALUE)
  if (action == FAULT_STATUS) return <u32>value
  const corrupt = action == FAULT_CORRUPT
  const write = (load<u32>(sqe, SQE_CDW0) & 0xff) != NVME_CMD_READ
  if (corrupt && write) spoil(dev, sqe, value)
  const status = execute(dev, sqe)
  if (corrupt && (write || status == NVME_SC_SUCCESS)) spoil(dev, sqe, value) // a write's second flip restores the host's byte
  return status
}
