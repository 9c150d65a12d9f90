// A look for completions by a program that submits bios itself (openMachine), on a CPU that runs no jobs and whose only
// queue belongs to a device in its own thread that takes no time: the device runs what the doorbell says, and what it
// posted ends. Anything else, and whatever asks for attention, is cpu_run's (test/unit/core/plain-bio.test.ts).

import {
  CPU_CQ_DOORBELLS, CPU_DONE_LIST, CPU_INLINE, CPU_JOB, CPU_PB_NQ, DSQ_COMMANDS, DSQ_CQ, DSQ_DB, DSQ_DEV, M_BASE, M_STOP,
  NQ_CQ_DB, NQ_CQ_HEAD, NQ_DSQ, RUN_MORE, RUN_SLOW,
} from './layout'
import { cpu_run, cpu_wants_host } from './cpu'
import { cq_is_plain, nvme_cqe_pending, nvme_process_cq } from './cq'
import { INLINE_BURST, run_untimed } from './device'
import { plain_bios } from './plain-bio'
import { cq_room } from './post'

/** cpu_run(cpu, 1). Returns RUN_* (layout.ts). */
export function plain_look(cpu: u32): i32 {
  const nq = load<u32>(cpu, CPU_PB_NQ)
  if (!nq || !undisturbed(cpu, nq) || !look(cpu, nq)) return cpu_run(cpu, 1)
  return cpu_wants_host(cpu) ? RUN_MORE | RUN_SLOW : RUN_MORE
}

// @ts-ignore: decorator
@inline
function undisturbed(cpu: u32, nq: u32): bool {
  if (load<u32>(cpu, CPU_JOB) | atomic.load<u32>(cpu, CPU_DONE_LIST) | load<u32>(M_BASE, M_STOP)) return false
  return !cpu_wants_host(cpu) && cq_is_plain(cpu, nq)
}

/** False: nothing plain has ended. */
// @ts-ignore: decorator
@inline
function look(cpu: u32, nq: u32): bool {
  const dsq = load<u32>(nq, NQ_DSQ)
  const room = cq_room(load<u32>(dsq, DSQ_CQ), INLINE_BURST)
  const ran = run_untimed(load<u32>(dsq, DSQ_DEV), dsq, load<u32>(load<u32>(dsq, DSQ_DB)), room)
  let n = plain_bios(cpu, nq, INLINE_BURST)
  add(dsq + DSQ_COMMANDS, ran)
  if (!n) return false
  if (nvme_cqe_pending(nq)) n += nvme_process_cq(cpu, nq, INLINE_BURST) // not plain; rings the doorbell for all
  else {
    store<u32>(load<u32>(nq, NQ_CQ_DB), load<u32>(nq, NQ_CQ_HEAD))
    add(cpu + CPU_CQ_DOORBELLS, 1)
  }
  add(cpu + CPU_INLINE, n)
  return true
}

// @ts-ignore: decorator
@inline
function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}
