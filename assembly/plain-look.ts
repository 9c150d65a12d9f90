// A look for completions by a program that submits bios itself (openMachine), on a CPU that runs no jobs and whose only
// queue belongs to a device in its own thread that takes no time: the device runs what the doorbell says, and what it
// posted ends. Anything else, and whatever asks for attention, is cpu_run's (test/unit/core/plain-bio.test.ts).
//
// A device that keeps no data goes with its host step by step, entry by entry (run_null): both are this thread, and what
// each of them reads the other has just written.

import {
  CPU_CQ_DOORBELLS, CPU_DONE_LIST, CPU_ENDED, CPU_INLINE, CPU_JOB, CPU_MAIL, CPU_PB_CQ, CPU_PB_CQ_DB, CPU_PB_CTX, CPU_PB_DCQ,
  CPU_PB_DSQ, CPU_PB_ENTRIES, CPU_PB_HCTX, CPU_PB_HINT, CPU_PB_MAP, CPU_PB_NQ, CPU_PB_NR, CPU_PB_NS, CPU_PB_SHIFT, CPU_PB_SLOTS,
  CPU_PB_SQ, CPU_PB_SQ_DB, CPU_PB_WAITERS, CPU_SLOW, DCQ_HEAD_SEEN, DCQ_PHASE, DCQ_TAIL, DSQ_COMMANDS, DSQ_DEV, DSQ_HEAD,
  DSQ_ID, HC_GATE, M_BASE, M_STOP, NQ_CQ_HEAD, NQ_CQ_PHASE, RQ_SIZE, RUN_MORE, RUN_SLOW,
} from './layout'
import { CQE_BYTES, CQE_DW0, CQE_SQHD, SQE_BYTES, SQE_CDW0, SQE_NSID } from './nvme'
import { cpu_run } from './cpu'
import { nvme_cqe_pending, nvme_process_cq } from './cq'
import { execute_null, INLINE_BURST, run_untimed } from './device'
import { end_request, is_plain_bio, plain_bios, put_tag } from './plain-bio'
import { pair } from './request'
import { cq_room } from './post'

/** cpu_run(cpu, 1). Returns RUN_* (layout.ts). */
export function plain_look(cpu: u32): i32 {
  const nq = load<u32>(cpu, CPU_PB_NQ)
  if (!nq || disturbed(cpu)) return cpu_run(cpu, 1)
  const dsq = load<u32>(cpu, CPU_PB_DSQ)
  const tail = load<u32>(load<u32>(cpu, CPU_PB_SQ_DB))
  const n = load<u32>(cpu, CPU_PB_NS) ? run_null(cpu, nq, dsq, tail) : 0
  if (!n || load<u32>(dsq, DSQ_HEAD) != tail) return look(cpu, nq, dsq, tail, n)
  ring(cpu, dsq, load<u32>(nq, NQ_CQ_HEAD), n, n)
  return RUN_MORE
}

/** Anything but plain completions to look after. What others write is read plainly: if not this look, the next one sees it. */
// @ts-ignore: decorator
@inline
function disturbed(cpu: u32): u32 {
  const here = load<u32>(cpu, CPU_JOB) | load<u32>(cpu, CPU_SLOW) | load<u32>(cpu, CPU_MAIL) | load<u32>(cpu, CPU_DONE_LIST)
  const gate = load<u32>(load<u32>(cpu, CPU_PB_HCTX), HC_GATE)
  return here | load<u32>(M_BASE, M_STOP) | gate | load<u32>(load<u32>(cpu, CPU_PB_WAITERS))
}

/**
 * The device executes and posts, the driver takes the entry, for each command in turn, as long as it is a good read or write
 * by a plain bio and nothing else waits in the completion queue. How many.
 */
// @ts-ignore: decorator
@inline
function run_null(cpu: u32, nq: u32, dsq: u32, tail: u32): u32 {
  const dcq = load<u32>(cpu, CPU_PB_DCQ)
  let at = load<u32>(dsq, DSQ_HEAD)
  let head = load<u32>(nq, NQ_CQ_HEAD)
  if (load<u32>(dcq, DCQ_TAIL) != head) return 0
  let phase = load<u32>(nq, NQ_CQ_PHASE)
  let n: u32 = 0
  while (at != tail) {
    const sqe = load<u32>(cpu, CPU_PB_SQ) + at * SQE_BYTES
    const cdw0 = load<u32>(sqe, SQE_CDW0)
    const cid = cdw0 >> 16
    const rq = load<u32>(cpu, CPU_PB_SLOTS) + cid * RQ_SIZE
    if (((cdw0 - 1) & 0xfe) | (load<u32>(sqe, SQE_NSID) - 1)) break // no Read (2) or Write (1) of namespace 1
    if (execute_null(load<u32>(cpu, CPU_PB_NS), sqe)) break
    if (cid >= load<u32>(cpu, CPU_PB_NR)) break
    if (!is_plain_bio(rq)) break
    at = at + 1 == load<u32>(cpu, CPU_PB_ENTRIES) ? 0 : at + 1
    const cqe = load<u32>(cpu, CPU_PB_CQ) + head * CQE_BYTES
    store<u64>(cqe, 0, CQE_DW0)
    store<u64>(cqe, pair(at | (load<u32>(dsq, DSQ_ID) << 16), cid | (phase << 16)), CQE_SQHD) // and dword 3
    end_request(cpu, load<u32>(cpu, CPU_PB_CTX), rq, 0)
    put_tag(load<u32>(cpu, CPU_PB_MAP), load<u32>(cpu, CPU_PB_SHIFT), cid)
    store<u32>(load<u32>(cpu, CPU_PB_HINT), cid)
    if (++head == load<u32>(cpu, CPU_PB_ENTRIES)) {
      head = 0
      phase ^= 1
    }
    if (++n == INLINE_BURST) break
  }
  if (!n) return 0
  store<u32>(dsq, at, DSQ_HEAD)
  store<u32>(dcq, head, DCQ_TAIL)
  store<u32>(dcq, phase, DCQ_PHASE)
  store<u32>(dcq, head, DCQ_HEAD_SEEN)
  store<u32>(nq, head, NQ_CQ_HEAD)
  store<u32>(nq, phase, NQ_CQ_PHASE)
  store<u64>(cpu, load<u64>(cpu, CPU_ENDED) + n, CPU_ENDED)
  return n
}

/** The completion doorbell, and the counters of a look. */
// @ts-ignore: decorator
@inline
function ring(cpu: u32, dsq: u32, head: u32, ran: u32, n: u32): void {
  store<u32>(load<u32>(cpu, CPU_PB_CQ_DB), head)
  store<u64>(cpu, load<u64>(cpu, CPU_CQ_DOORBELLS) + 1, CPU_CQ_DOORBELLS)
  store<u64>(dsq, load<u64>(dsq, DSQ_COMMANDS) + ran, DSQ_COMMANDS)
  store<u64>(cpu, load<u64>(cpu, CPU_INLINE) + n, CPU_INLINE)
}

/** The device runs first, and then the driver, when they have gone `begun` entries together; what is not plain is the chain's. */
function look(cpu: u32, nq: u32, dsq: u32, tail: u32, begun: u32): i32 {
  const room = cq_room(load<u32>(cpu, CPU_PB_DCQ), INLINE_BURST - begun)
  const ran = begun + run_untimed(load<u32>(dsq, DSQ_DEV), dsq, tail, room)
  let n = begun + plain_bios(cpu, nq, INLINE_BURST - begun)
  if (!n) {
    store<u64>(dsq, load<u64>(dsq, DSQ_COMMANDS) + ran, DSQ_COMMANDS)
    return cpu_run(cpu, 1)
  }
  if (nvme_cqe_pending(nq)) {
    n += nvme_process_cq(cpu, nq, INLINE_BURST) // not plain; rings the doorbell for all
    store<u64>(dsq, load<u64>(dsq, DSQ_COMMANDS) + ran, DSQ_COMMANDS)
    store<u64>(cpu, load<u64>(cpu, CPU_INLINE) + n, CPU_INLINE)
  } else ring(cpu, dsq, load<u32>(nq, NQ_CQ_HEAD), ran, n)
  return load<u32>(cpu, CPU_SLOW) | load<u32>(cpu, CPU_MAIL) ? RUN_MORE | RUN_SLOW : RUN_MORE
}
