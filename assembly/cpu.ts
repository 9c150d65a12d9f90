// One emulated CPU in real time: its jobs in turn, the hardware queues it owns, and what other CPUs
// completed for it. TypeScript calls cpu_run again and again (a call is short: V8 has no on-stack
// replacement for WASM) and sleeps when the answer says that there is nothing to do.

import {
  CPU_DONE_LIST, CPU_ENDED, CPU_FAILED, CPU_HCTX, CPU_INLINE, CPU_IRQS, CPU_IRQ_DONE, CPU_JOB, CPU_MAIL,
  CPU_NOW, CPU_POLLED, CPU_SLOW, CPU_SPINS, CPU_WAITING, DEV_FAULTS, DEV_MODEL, DSQ_DEV, DSQ_FIFO_COUNT, DSQ_HEAD,
  HC_DRIVER, HC_DRIVER_DATA, HC_NEXT_OWNED, HC_TAGS, IRQ_WORD, JOB_ENDED, JOB_IN_FLIGHT, JOB_NEXT, JOB_POLLING,
  JOB_RUN, JOB_STATE, JOB_STOP, JOB_WAITER, JOB_WAIT_TAG, JOB_WAIT_TIME, JOB_WAKE_NS,
  DRIVER_NVME, MODEL_FIXED, M_BASE, M_STOP, NQ_DSQ, NQ_IRQ, NQ_IRQ_DONE, NQ_IRQ_SEEN, NQ_POLLED, NQ_WAIT, RUN_IDLE, RUN_MORE,
  RUN_POLL, RUN_SLEEP, RUN_SLOW, RUN_TIMER, TAGS_BITMAP, WAIT_INLINE, WAIT_IRQ, WT_WOKEN,
  JOB_DRAIN,
} from './layout'
import { plain_burst } from './burst'
import { now_ns, read_clock } from './clock'
import { complete_done_list, nvme_cqe_pending, nvme_poll, nvme_process_cq } from './cq'
import { INLINE_BURST, dev_run_sq } from './device'
import { dev_next_due, dev_post_due, dev_sq_tail } from './post'
import { NEVER } from './events'
import { job_issue, job_take, job_runnable } from './job'
import { sbitmap_any_bit_set } from './sbitmap'

/** Completions taken in one go. */
const REAP_MAX: u32 = 1024
/** Empty looks before a call gives up and lets TypeScript decide. */
const SPIN_BOUND: u32 = 2000

/** A timed model needs the time to know what is due; the others do not. */
function timed(dsq: u32): bool {
  const dev = load<u32>(dsq, DSQ_DEV)
  return load<u32>(dev, DEV_MODEL) >= <u32>MODEL_FIXED || load<u32>(dev, DEV_FAULTS) != 0
}

function add(counter: u32, n: u32): void {
  store<u64>(counter, load<u64>(counter) + n)
}

/** The device runs here, in the host's thread, and its completions are taken at once. */
function inline_poll(cpu: u32, nq: u32): u32 {
  const dsq = load<u32>(nq, NQ_DSQ)
  if (!timed(dsq)) {
    if (!dev_run_sq(dsq, INLINE_BURST, 0) && !nvme_cqe_pending(nq)) return 0
  } else {
    if (!load<u32>(dsq, DSQ_FIFO_COUNT) && dev_sq_tail(dsq) == load<u32>(dsq, DSQ_HEAD)) return 0
    const now = read_clock(cpu)
    dev_run_sq(dsq, INLINE_BURST, now)
    dev_post_due(dsq, now)
  }
  const n = nvme_process_cq(cpu, nq, REAP_MAX)
  add(cpu + CPU_INLINE, n)
  return n
}

/** Whether a job of this CPU polls for one of its I/Os (hipri), whatever its queues are set to. */
export function cpu_polls(cpu: u32): bool {
  for (let job = load<u32>(cpu, CPU_JOB); job; job = load<u32>(job, JOB_NEXT)) {
    if (load<u32>(job, JOB_POLLING)) return true
  }
  return false
}

/** nvme_irq: the vector fired since the last look. Linux 4.19 raises it for polled commands as well. */
function irq_poll(cpu: u32, nq: u32): u32 {
  if (cpu_polls(cpu) && nvme_cqe_pending(nq)) return spin_poll(cpu, nq)
  const raised = atomic.load<u32>(load<u32>(nq, NQ_IRQ), IRQ_WORD)
  if (raised == load<u32>(nq, NQ_IRQ_SEEN)) return 0
  store<u32>(nq, raised, NQ_IRQ_SEEN)
  add(cpu + CPU_IRQS, 1)
  const n = nvme_process_cq(cpu, nq, REAP_MAX)
  add(cpu + CPU_IRQ_DONE, n)
  add(nq + NQ_IRQ_DONE, n)
  return n
}

/** Looks at the phase bit. */
function spin_poll(cpu: u32, nq: u32): u32 {
  if (!nvme_cqe_pending(nq)) return 0
  const n = nvme_poll(cpu, nq, REAP_MAX)
  add(cpu + CPU_POLLED, n)
  add(nq + NQ_POLLED, n)
  return n
}

/** Takes the completions of the hardware queues that interrupt (`irq`), or of the others as their waiting modes say. */
function reap_queues(cpu: u32, irq: bool): u32 {
  let n: u32 = 0
  for (let hctx = load<u32>(cpu, CPU_HCTX); hctx; hctx = load<u32>(hctx, HC_NEXT_OWNED)) {
    if (load<u32>(hctx, HC_DRIVER) != DRIVER_NVME) continue
    const nq = load<u32>(hctx, HC_DRIVER_DATA)
    const wait = load<u32>(nq, NQ_WAIT)
    if ((wait == WAIT_IRQ) != irq) continue
    if (irq) n += irq_poll(cpu, nq)
    else n += wait == WAIT_INLINE ? inline_poll(cpu, nq) : spin_poll(cpu, nq)
  }
  return n
}

/**
 * One round over everything that this CPU serves: how much was done. Interrupts come first, so that a thread that one has
 * woken ends the I/O and goes on with the next in one round.
 */
function cpu_pass(cpu: u32): u32 {
  let n = reap_queues(cpu, true)
  let job = load<u32>(cpu, CPU_JOB)
  while (job) {
    n += job_take(cpu, job)
    if (job_runnable(cpu, job)) n += job_issue(cpu, job)
    job = load<u32>(job, JOB_NEXT)
  }
  n += reap_queues(cpu, false)
  return n + complete_done_list(cpu)
}

/** A queue that has to be looked at again and again, because nobody will call. */
function must_poll(cpu: u32, hctx: u32): bool {
  if (load<u32>(hctx, HC_DRIVER) != DRIVER_NVME) return false
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  if (load<u32>(nq, NQ_WAIT) == WAIT_IRQ && !cpu_polls(cpu)) return false
  return sbitmap_any_bit_set(load<u32>(hctx, HC_TAGS) + TAGS_BITMAP)
}

/** Why a round did nothing. */
function why_idle(cpu: u32): i32 {
  let hctx = load<u32>(cpu, CPU_HCTX)
  while (hctx) {
    if (must_poll(cpu, hctx)) return RUN_POLL
    hctx = load<u32>(hctx, HC_NEXT_OWNED)
  }
  let reason: i32 = RUN_IDLE
  let job = load<u32>(cpu, CPU_JOB)
  while (job) {
    if (load<u32>(job, JOB_IN_FLIGHT)) return RUN_SLEEP
    if (load<u32>(job, JOB_STATE) == JOB_WAIT_TAG) return RUN_SLEEP
    if (load<u32>(job, JOB_STATE) == JOB_WAIT_TIME) reason = RUN_TIMER
    job = load<u32>(job, JOB_NEXT)
  }
  return reason
}

function bios_ended(cpu: u32): u64 {
  return load<u64>(cpu, CPU_ENDED) + load<u64>(cpu, CPU_FAILED)
}

/** True when TypeScript has to act for this CPU. */
export function cpu_wants_host(cpu: u32): bool {
  return load<u32>(cpu, CPU_SLOW) != 0 || atomic.load<u32>(cpu, CPU_MAIL) != 0
}

/** Runs one CPU for about `budget` ended bios. Returns RUN_* (layout.ts). */
export function cpu_run(cpu: u32, budget: u32): i32 {
  const enough = bios_ended(cpu) + budget
  let empty: u32 = 0
  let rounds: u32 = 0
  while (!atomic.load<u32>(M_BASE, M_STOP)) {
    let n = <u32>plain_burst(cpu, enough - bios_ended(cpu))
    if (!n) n = cpu_pass(cpu)
    if (cpu_wants_host(cpu)) return RUN_MORE | RUN_SLOW
    if (bios_ended(cpu) >= enough || ++rounds >= budget) return RUN_MORE
    if (n) {
      empty = 0
      continue
    }
    const why = why_idle(cpu)
    if (why != RUN_POLL) return why
    add(cpu + CPU_SPINS, 1)
    if (++empty >= SPIN_BOUND) return RUN_POLL
  }
  return RUN_IDLE
}

function hctx_pending(hctx: u32): bool {
  if (load<u32>(hctx, HC_DRIVER) != DRIVER_NVME) return false
  const nq = load<u32>(hctx, HC_DRIVER_DATA)
  const wait = load<u32>(nq, NQ_WAIT)
  if (wait == WAIT_INLINE) {
    const dsq = load<u32>(nq, NQ_DSQ)
    if (dev_sq_tail(dsq) != load<u32>(dsq, DSQ_HEAD) || dev_next_due(dsq) <= now_ns()) return true
  } else if (wait == WAIT_IRQ) {
    return atomic.load<u32>(load<u32>(nq, NQ_IRQ), IRQ_WORD) != load<u32>(nq, NQ_IRQ_SEEN)
  }
  return nvme_cqe_pending(nq)
}

/** A job that runs and has I/Os in flight, and did nothing in the last round, waits for one of these, or for a stop. */
function job_pending(job: u32): bool {
  const state = atomic.load<u32>(job, JOB_STATE)
  if (load<u32>(job, JOB_ENDED)) return true
  if (state == JOB_RUN) return !load<u32>(job, JOB_IN_FLIGHT) || atomic.load<u32>(job, JOB_STOP) != 0
  if (state == JOB_DRAIN) return !load<u32>(job, JOB_IN_FLIGHT)
  if (state == JOB_WAIT_TAG) return atomic.load<u32>(load<u32>(job, JOB_WAITER), WT_WOKEN) != 0
  return state == JOB_WAIT_TIME && atomic.load<u32>(job, JOB_STOP) != 0
}

/** True if cpu_run would find something to do now. */
export function cpu_pending(cpu: u32): bool {
  if (atomic.load<u32>(cpu, CPU_DONE_LIST) || cpu_wants_host(cpu)) return true
  let hctx = load<u32>(cpu, CPU_HCTX)
  while (hctx) {
    if (hctx_pending(hctx)) return true
    hctx = load<u32>(hctx, HC_NEXT_OWNED)
  }
  let job = load<u32>(cpu, CPU_JOB)
  while (job) {
    if (job_pending(job)) return true
    job = load<u32>(job, JOB_NEXT)
  }
  return false
}

/** When this CPU has something to do by itself: a job's wake time, an inline device's next completion. */
export function next_deadline(cpu: u32): u64 {
  let when = NEVER
  let job = load<u32>(cpu, CPU_JOB)
  while (job) {
    if (load<u32>(job, JOB_STATE) == JOB_WAIT_TIME) when = min<u64>(when, load<u64>(job, JOB_WAKE_NS))
    job = load<u32>(job, JOB_NEXT)
  }
  let hctx = load<u32>(cpu, CPU_HCTX)
  while (hctx) {
    if (load<u32>(hctx, HC_DRIVER) == DRIVER_NVME) {
      const nq = load<u32>(hctx, HC_DRIVER_DATA)
      if (load<u32>(nq, NQ_WAIT) == WAIT_INLINE) when = min<u64>(when, dev_next_due(load<u32>(nq, NQ_DSQ)))
    }
    hctx = load<u32>(hctx, HC_NEXT_OWNED)
  }
  return when
}

/**
 * Before the thread sleeps: from now on who brings work wakes it, and a last look. Returns when the CPU has something to do by
 * itself, ns, infinity = never; -1 = now. The caller has read CPU_WAKE before, and clears CPU_WAITING.
 */
export function cpu_arm(cpu: u32): f64 {
  // Sequentially consistent: whoever does not see it has brought what the look finds.
  atomic.store<u32>(cpu, 1, CPU_WAITING)
  if (cpu_pending(cpu) || atomic.load<u32>(M_BASE, M_STOP)) return -1
  const when = next_deadline(cpu)
  return when == NEVER ? Infinity : <f64>when
}

/** TypeScript stamps the time before each call, so that a run without latencies reads no clock. */
export function cpu_set_now(cpu: u32, ns: f64): void {
  store<u64>(cpu, <u64>ns, CPU_NOW)
}
