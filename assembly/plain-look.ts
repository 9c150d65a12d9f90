// A look for completions by a program that submits bios itself (openMachine), on a CPU that runs no jobs and whose only
// queue belongs to a device in its own thread that takes no time: the device runs what the doorbell says, and what it
// posted ends. Anything else, and whatever asks for attention, is cpu_run's (test/unit/core/plain-bio.test.ts).

import {
  CPU_CQ_DOORBELLS, CPU_DONE_LIST, CPU_INLINE, CPU_JOB, CPU_MAIL, CPU_PB_NQ, CPU_SLOW, DSQ_COMMANDS, DSQ_CQ, DSQ_DB, DSQ_DEV,
  HC_GATE, M_BASE, M_STOP, NQ_CQ_DB, NQ_CQ_HEAD, NQ_DSQ, NQ_HCTX, NQ_TAGS, RUN_MORE, RUN_SLOW, SBQ_WAITERS, TAGS_BITMAP,
} from './layout'
import { cpu_run } from './cpu'
import { nvme_cqe_pending, nvme_process_cq } from './cq'
import { INLINE_BURST, run_untimed } from './device'
import { plain_bios } from './plain-bio'
import { cq_room } from './post'

/** cpu_run(cpu, 1). Returns RUN_* (layout.ts). */
export function plain_look(cpu: u32): i32 {
  const nq = load<u32>(cpu, CPU_PB_NQ)
  if (!nq || disturbed(cpu, nq) || !look(cpu, nq)) return cpu_run(cpu, 1)
  return load<u32>(cpu, CPU_SLOW) | load<u32>(cpu, CPU_MAIL) ? RUN_MORE | RUN_SLOW : RUN_MORE
}

/** Anything but plain completions to look after. What others write is read plainly: if not this look, the next one sees it. */
// @ts-ignore: decorator
@inline
function disturbed(cpu: u32, nq: u32): u32 {
  const hctx = load<u32>(nq, NQ_HCTX)
  const here = load<u32>(cpu, CPU_JOB) | load<u32>(cpu, CPU_SLOW) | load<u32>(cpu, CPU_MAIL) | load<u32>(cpu, CPU_DONE_LIST)
  const waiters = load<u32>(load<u32>(nq, NQ_TAGS) + TAGS_BITMAP, SBQ_WAITERS)
  return here | load<u32>(M_BASE, M_STOP) | load<u32>(hctx, HC_GATE) | waiters
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
