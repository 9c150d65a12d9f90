// Virtual time: one thread serves all CPUs and devices as actors of a discrete-event loop.
//
//   EV_CPU       a CPU takes its interrupts, ends I/Os, issues one batch; each of these adds its
//                cost to the CPU's own clock CPU_NOW, and the CPU is busy until then
//   EV_SQ        a doorbell write reaches the device: it fetches and starts what is new
//   EV_DONE      the oldest command of a queue is due: it is posted, and the interrupt raised
//   EV_COALESCE  a coalescing time is over
//
// A CPU acts at its event's time and thereby reaches into its own future only; what it does to others
// (doorbells, wake-ups) becomes an event at the time reached. A CPU that polls is not simulated look
// by look: it is asleep until the entry is posted, and then charged the looks of the time between.
//
// CPUs that share a thread in real time live by the same events, on the host's clock (shared.ts).

import {
  CLOCK_REAL, CLOCK_VIRTUAL, CPU_BUSY_NS, CPU_CLOCK, CPU_CUR_JOB, CPU_EVENT, CPU_IRQS, CPU_IRQ_DONE, CPU_IRQ_PENDING, CPU_JOB,
  CPU_NOW, CPU_NULLB, CPU_POLLED, CPU_SIZE, CPU_SPINS, CPU_SWITCHES, CTX_HCTX_POLL, CTX_SIZE, DCQ_COAL_NS, DCQ_ENTRIES, DCQ_EVENT, DCQ_HELD, DCQ_IEN,
  DCQ_NQ, DCQ_PEND, DCQ_PEND_NS, DCQ_STEP, DCQ_TAIL, DEV_ARB, DEV_HOST, DEV_PAUSED, DSQ_CQ, DSQ_DEV, DSQ_ERRORS, DSQ_EVENT_DONE, DSQ_EVENT_SQ, DSQ_HEAD, DSQ_SHADOW, DV_ROOM, EV_COALESCE, EV_CPU, EV_DONE, EV_SQ, EV_TIME, EVQ_SERVED, EVQ_UNTIL,
  HB_PBLK_KICK, HC_OWNER, HC_Q, IRQ_CPU, JOB_ENDED, JOB_HELD, JOB_IN_FLIGHT, JOB_NEXT, JOB_STATE, JOB_RUN, JOB_WAIT_IO, JOB_WAIT_TIME, JOB_WAKE_NS, M_BASE,
  M_COST_IRQ, M_COST_POLL, M_COST_SWITCH, M_CPUS, M_EVENTS, M_NOW, M_NR_CPUS, M_RETURN, M_WRITER, NQ_HCTX,
  NQ_IRQ, NQ_IRQ_DONE, NQ_IRQ_LISTED, NQ_IRQ_NEXT, NQ_POLLED, NQ_QID, NQ_SHARED, NQ_SUSPENDED, NQ_WAIT, Q_CTXS, RUN_IDLE, RUN_MORE, RUN_SLOW, RUN_TIMER, WAIT_HYBRID, WAIT_IRQ,
} from './layout'
import { arbitrate } from './arbiter'
import { complete_done_list, nvme_poll, nvme_process_cq } from './cq'
import { cpu_pending, cpu_polls, cpu_wants_host } from './cpu'
import { set_now, spend } from './clock'
import { dev_run_sq } from './device'
import { device_host, host } from './host'
import { cq_has_room, dev_coalesce, dev_next_due, dev_post, dev_post_due, dev_sq_tail, post_ahead } from './post'
import { service_due } from './service'
import {
  NEVER, event_at, event_cpu, event_cpu_at, event_first, event_over, event_take, event_time, key_kind, key_slot,
} from './events'
import { hybrid_rest } from './hybrid'
import { job_issue, job_take, job_runnable } from './job'
import { null_cmd_timers, null_next_due } from './null_blk'
import { pblk_write_ts } from './pblk'
import { enter, irq_event, leave, trace_irq_enter, trace_irq_exit } from './trace'
import { EV_irq_handler_entry, FN_nvme_irq } from './trace-names'

function add(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}

// ---------------------------------------------------------------- the device's side

/** Whether a disk has queues for polled I/O, which alone are polled then. */
function has_poll_queues(hctx: u32): bool {
  return load<u32>(load<u32>(load<u32>(hctx, HC_Q), Q_CTXS), CTX_HCTX_POLL) != 0
}

/** The CPU that looks at a queue without an interrupt: one whose job polls there, else its owner. */
function poller_of(hctx: u32): u32 {
  const owner = load<u32>(hctx, HC_OWNER)
  if (!has_poll_queues(hctx) || cpu_polls(owner)) return owner
  const ctxs = load<u32>(load<u32>(hctx, HC_Q), Q_CTXS)
  for (let i: u32 = 0; i < load<u32>(M_BASE, M_NR_CPUS); i++) {
    const cpu = load<u32>(M_BASE, M_CPUS) + i * CPU_SIZE
    if (load<u32>(ctxs + i * CTX_SIZE, CTX_HCTX_POLL) == hctx && cpu_polls(cpu)) return cpu
  }
  return owner
}

/** A queue whose completions a CPU shall look at: by interrupt, or because it polls. */
export function signal_host(dcq: u32, now: u64): void {
  const nq = load<u32>(dcq, DCQ_NQ)
  if (!nq) return
  const cpu = load<u32>(dcq, DCQ_IEN) ? load<u32>(load<u32>(nq, NQ_IRQ), IRQ_CPU) : poller_of(load<u32>(nq, NQ_HCTX))
  if (!load<u32>(nq, NQ_IRQ_LISTED)) {
    store<u32>(nq, 1, NQ_IRQ_LISTED)
    store<u32>(nq, load<u32>(cpu, CPU_IRQ_PENDING), NQ_IRQ_NEXT)
    store<u32>(cpu, nq, CPU_IRQ_PENDING)
  }
  event_cpu_at(cpu, now)
}

/** After entries were posted: the interrupt, now or when its coalescing says. */
function posted(dsq: u32, n: u32, now: u64): void {
  const dcq = load<u32>(dsq, DSQ_CQ)
  if (!load<u32>(dcq, DCQ_IEN) || dev_coalesce(dcq, n, now)) {
    if (n || load<u32>(dcq, DCQ_IEN)) signal_host(dcq, now)
  } else if (load<u32>(dcq, DCQ_PEND)) arm_coalesce(dcq)
}

/** An event for the end of the coalescing time of the oldest entry that is held back. */
function arm_coalesce(dcq: u32): void {
  event_at(load<u64>(dcq, DCQ_PEND_NS) + load<u64>(dcq, DCQ_COAL_NS), EV_COALESCE, dcq + DCQ_EVENT)
}

/** Sees to it that an event stands for the oldest command in service, which is due later than `now`. */
function arm_done(dsq: u32, now: u64): void {
  const due = dev_next_due(dsq)
  if (due <= now) {
    // Without room what is due waits for the host's head (nvme_ring_cq_doorbell), not for a time.
    store<u32>(load<u32>(dsq, DSQ_CQ), 1, DCQ_HELD)
  } else if (due != NEVER) event_at(due, EV_DONE, dsq + DSQ_EVENT_DONE)
}

const FETCH_ALL: u32 = u32.MAX_VALUE

/** Works on one queue: fetches up to `max` entries and posts what is due. How many it fetched. */
function work(dsq: u32, max: u32, now: u64): u32 {
  const fetched = work_now(dsq, max, now)
  if (load<u32>(load<u32>(dsq, DSQ_CQ), DCQ_ENTRIES)) arm_done(dsq, now)
  return fetched
}

/**
 * The same, and goes on while the next thing that happens in the machine is another completion of this queue for which no
 * interrupt is raised yet: no event is needed for those.
 */
function work_on(dsq: u32, now: u64): void {
  work_now(dsq, FETCH_ALL, now)
  let until = alone_until(dsq)
  while (dev_next_due(dsq) <= until) {
    const last = quiet(dsq) ? post_ahead(dsq, until) : 0
    const due = dev_next_due(dsq)
    now = due <= until ? due : last
    set_now(now)
    if (now != due) break
    work_now(dsq, FETCH_ALL, now)
    until = alone_until(dsq)
  }
  if (load<u32>(load<u32>(dsq, DSQ_CQ), DCQ_ENTRIES)) arm_done(dsq, now)
}

/**
 * Up to when nothing happens in the machine but completions of a queue whose interrupt waits for more of them; 0 when the
 * next one is none of these.
 */
function alone_until(dsq: u32): u64 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  if (!load<u32>(dcq, DCQ_PEND) || !load<u32>(dcq, DCQ_ENTRIES) || load<u32>(load<u32>(dsq, DSQ_DEV), DEV_HOST)) return 0
  const evq = load<u32>(M_BASE, M_EVENTS)
  const now = load<u64>(M_BASE, M_NOW)
  const other = event_time(evq)
  return other > now && dev_next_due(dsq) > now ? min<u64>(other - 1, load<u64>(evq, EVQ_UNTIL)) : 0
}

/** The device has nothing to fetch, and nothing to say but completions. */
function quiet(dsq: u32): bool {
  if (load<u32>(dsq, DSQ_SHADOW) | load<u32>(load<u32>(dsq, DSQ_CQ), DCQ_HELD)) return false
  return !arrived(dsq) || dev_sq_tail(dsq) == load<u32>(dsq, DSQ_HEAD)
}

/** The doorbell that a CPU has written is here: what a CPU does in its future is in memory already, its event stands. */
// @ts-ignore: decorator
@inline
function arrived(dsq: u32): bool {
  return !load<u32>(dsq, DSQ_EVENT_SQ)
}

/** Fetches and posts: how many it fetched. An event for what is in service is the caller's. */
function work_now(dsq: u32, max: u32, now: u64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  const before = load<u32>(dcq, DCQ_TAIL)
  store<u32>(dcq, 1, DCQ_STEP)
  if (load<u32>(dcq, DCQ_HELD) && cq_has_room(dcq)) {
    store<u32>(dcq, 0, DCQ_HELD)
    device_host(DV_ROOM, dsq, 0, 0)
  }
  // It fetches as much as it knows of room for; when it looks again it may know of more.
  let fetched: u32 = 0
  while (fetched < max && arrived(dsq)) {
    const n = dev_run_sq(dsq, max - fetched, now)
    fetched += n
    if (!n || dev_sq_tail(dsq) == load<u32>(dsq, DSQ_HEAD)) break
  }
  dev_post_due(dsq, now)
  store<u32>(dcq, 0, DCQ_STEP)
  const entries = load<u32>(dcq, DCQ_ENTRIES)
  if (!entries) return 0 // a fault took the controller away
  const tail = load<u32>(dcq, DCQ_TAIL)
  const n = tail >= before ? tail - before : tail + entries - before
  if (n) posted(dsq, n, now)
  return fetched
}

/** Something happened to a queue: its doorbell, or the end of a command in service. */
function device_step(dsq: u32, now: u64): void {
  const dev = load<u32>(dsq, DSQ_DEV)
  if (load<u32>(dev, DEV_PAUSED)) return
  if (!load<u32>(dev, DEV_ARB)) {
    work_on(dsq, now)
    return
  }
  work(dsq, 0, now)
  arbitrate(dev, now, work)
}

/** The same for a controller whose doorbell was written from TypeScript. */
export function dev_step(dsq: u32, now: f64): void {
  device_step(dsq, <u64>now)
}

/**
 * A controller ends a command of its own: status without phase, and 64 bits of result.
 * @returns 0 = no room, the controller keeps it (DCQ_HELD); 1 = posted; 2 = posted, and no host is wired to the
 * interrupt that is due now
 */
export function dev_complete(dsq: u32, cid: u32, status: u32, dw0: u32, dw1: u32, now: f64): u32 {
  const dcq = load<u32>(dsq, DSQ_CQ)
  if (!load<u32>(dcq, DCQ_ENTRIES)) return 1
  if (!cq_has_room(dcq)) {
    store<u32>(dcq, 1, DCQ_HELD)
    return 0
  }
  dev_post(dsq, dcq, cid, status, <u64>dw0 | (<u64>dw1 << 32), 0)
  if (status) store<u64>(dsq, load<u64>(dsq, DSQ_ERRORS) + 1, DSQ_ERRORS)
  if (load<u32>(dcq, DCQ_STEP)) return 1
  if (!load<u32>(dcq, DCQ_NQ)) return dev_coalesce(dcq, 1, <u64>now) ? 2 : 1
  posted(dsq, 1, <u64>now)
  return 1
}

/** When a unit of the medium is done with a command that the controller gives it now, ns. */
export function dev_service(dev: u32, opcode: u32, now: f64): f64 {
  return <f64>service_due(dev, <u64>now, 0, opcode)
}

function coalesce_over(dcq: u32, now: u64): void {
  if (!load<u32>(dcq, DCQ_PEND)) return
  if (load<u64>(dcq, DCQ_PEND_NS) + load<u64>(dcq, DCQ_COAL_NS) > now) arm_coalesce(dcq)
  else if (dev_coalesce(dcq, 0, now)) signal_host(dcq, now)
}

// ---------------------------------------------------------------- the CPU's side

/** Charges a polling CPU, which was idle until `from`, for the looks since it last did something. */
function charge_polls(cpu: u32, idle_since: u64, from: u64): void {
  const cost = load<u32>(M_BASE, M_COST_POLL)
  if (load<u32>(cpu, CPU_CLOCK) != CLOCK_VIRTUAL || from <= idle_since) return
  const looks = (from - idle_since + cost - 1) / cost
  add(cpu + CPU_SPINS, looks)
  // The last look ends a little later; cpu_step counts that as busy, here it is what was idle.
  spend(cpu, <u32>(idle_since + looks * cost - from))
  add(cpu + CPU_BUSY_NS, from - idle_since)
}

/** Takes a queue that this CPU polls. `first`: the CPU has not been charged for its looks yet. */
function take_polled(cpu: u32, nq: u32, idle_since: u64, from: u64, first: bool): void {
  let since = idle_since
  if (load<u32>(nq, NQ_WAIT) == WAIT_HYBRID && from > idle_since) {
    const rest = hybrid_rest(nq, from)
    if (first && rest) since = hybrid_sleep(cpu, idle_since + rest, from)
  }
  if (first) charge_polls(cpu, since, from)
  const n = nvme_poll(cpu, nq, FETCH_ALL)
  add(cpu + CPU_POLLED, n)
  add(nq + NQ_POLLED, n)
}

/** The CPU sleeps until `until`, wakes, and polls from then on: when that is. */
function hybrid_sleep(cpu: u32, until: u64, from: u64): u64 {
  const woken = until + load<u32>(M_BASE, M_COST_IRQ) + load<u32>(M_BASE, M_COST_SWITCH)
  add(cpu + CPU_SWITCHES, 1)
  // Sleep is not busy time; cpu_step counts what comes after `from`.
  store<u64>(cpu, load<u64>(cpu, CPU_BUSY_NS) + min<u64>(from, woken) - until, CPU_BUSY_NS)
  store<u64>(cpu, max<u64>(load<u64>(cpu, CPU_NOW), woken), CPU_NOW)
  return woken
}

/** The vector of a queue fired. */
function take_irq(cpu: u32, nq: u32): void {
  if (load<u32>(nq, NQ_SHARED) & NQ_SUSPENDED) return
  add(cpu + CPU_IRQS, 1)
  spend(cpu, load<u32>(M_BASE, M_COST_IRQ))
  const before = trace_irq_enter(cpu)
  irq_event(cpu, EV_irq_handler_entry, load<u32>(load<u32>(nq, NQ_HCTX), HC_Q), load<u32>(nq, NQ_QID))
  const t = enter(cpu, FN_nvme_irq)
  const n = nvme_process_cq(cpu, nq, FETCH_ALL)
  leave(cpu, t)
  trace_irq_exit(cpu, before)
  add(cpu + CPU_IRQ_DONE, n)
  add(nq + NQ_IRQ_DONE, n)
}

/** Takes the completion queues that called; true if the CPU was not asleep, because it polled for all of them. */
function take_completions(cpu: u32, idle_since: u64, from: u64): bool {
  let nq = load<u32>(cpu, CPU_IRQ_PENDING)
  const hipri = nq != 0 && cpu_polls(cpu)
  let first = true
  let awake = nq != 0
  store<u32>(cpu, 0, CPU_IRQ_PENDING)
  while (nq) {
    const next = load<u32>(nq, NQ_IRQ_NEXT)
    const irq = load<u32>(nq, NQ_WAIT) == WAIT_IRQ
    store<u32>(nq, 0, NQ_IRQ_LISTED)
    const polls = !irq || (hipri && !has_poll_queues(load<u32>(nq, NQ_HCTX)))
    if (polls) {
      take_polled(cpu, nq, idle_since, from, first)
      first = false
    }
    if (irq) take_irq(cpu, nq) // also for what was polled, and then finds nothing
    if (!polls) awake = false
    nq = next
  }
  return awake
}

function spend_switch(cpu: u32): void {
  spend(cpu, load<u32>(M_BASE, M_COST_SWITCH))
  add(cpu + CPU_SWITCHES, 1)
}

/** Ends and issues I/Os of one job; true if it can go on at once. */
function run_job(cpu: u32, job: u32, woken: bool): bool {
  const state = load<u32>(job, JOB_STATE)
  const in_flight = load<u32>(job, JOB_IN_FLIGHT)
  // Who sleeps for I/O sees its end when he is awake again: the wake-up is part of the latency.
  const sleeps = state == JOB_WAIT_IO || (state == JOB_RUN && in_flight)
  const wakes = woken && sleeps && load<u32>(job, JOB_ENDED)
  if (wakes) spend_switch(cpu)
  const ended = job_take(cpu, job)
  if (!job_runnable(cpu, job)) return false
  if (ended && woken && !wakes && (state != JOB_RUN || in_flight)) spend_switch(cpu)
  const more = job_issue(cpu, job) != 0 || load<u32>(job, JOB_HELD) != 0
  // It may have found that nothing is left to do: then it is over now. Or what it waits for has come while it was busy.
  if (load<u32>(job, JOB_STATE) != JOB_RUN && job_runnable(cpu, job)) return true
  return more
}

/**
 * Runs every job; true if one of them can go on at once. The one behind the last that issued something
 * comes first: always the same first one would take every free tag, and those behind it would starve.
 */
function run_jobs(cpu: u32, woken: bool): bool {
  const turn = load<u32>(cpu, CPU_CUR_JOB)
  const first = turn ? turn : load<u32>(cpu, CPU_JOB)
  let more = false
  let job = first
  while (job) {
    const next = load<u32>(job, JOB_NEXT)
    const following = next ? next : load<u32>(cpu, CPU_JOB)
    if (run_job(cpu, job, woken)) {
      more = true
      store<u32>(cpu, following, CPU_CUR_JOB)
    }
    job = following != first ? following : 0
  }
  return more
}

/** The next time at which a job of this CPU wakes by itself. */
function next_wake(cpu: u32): u64 {
  let when = NEVER
  let job = load<u32>(cpu, CPU_JOB)
  while (job) {
    if (load<u32>(job, JOB_STATE) == JOB_WAIT_TIME) when = min<u64>(when, load<u64>(job, JOB_WAKE_NS))
    job = load<u32>(job, JOB_NEXT)
  }
  return when
}

function cpu_step(cpu: u32, now: u64): void {
  const idle_since = load<u64>(cpu, CPU_NOW)
  const from = max<u64>(idle_since, now)
  store<u64>(cpu, from, CPU_NOW)
  const awake = take_completions(cpu, idle_since, from)
  const woken = now > idle_since && !awake
  complete_done_list(cpu)
  if (load<u32>(cpu, CPU_NULLB)) null_cmd_timers(cpu)
  const more = run_jobs(cpu, woken)
  add(cpu + CPU_BUSY_NS, load<u64>(cpu, CPU_NOW) - from)
  if (more) event_cpu_at(cpu, load<u64>(cpu, CPU_NOW))
  const due = null_next_due(cpu)
  if (due != NEVER) event_cpu_at(cpu, due)
  const wake = next_wake(cpu)
  if (wake != NEVER) event_cpu_at(cpu, wake)
}

// ---------------------------------------------------------------- the loop

/** Handles one event; returns the CPU that acted, 0 for a device. */
function dispatch(kind: u32, slot: u32, now: u64): u32 {
  if (kind == EV_CPU) {
    const cpu = slot - CPU_EVENT
    store<u32>(M_BASE, 1, M_WRITER)
    cpu_step(cpu, now)
    return cpu
  }
  if (kind == EV_SQ) device_step(slot - DSQ_EVENT_SQ, now)
  else if (kind == EV_DONE) device_step(slot - DSQ_EVENT_DONE, now)
  else coalesce_over(slot - DCQ_EVENT, now)
  return 0
}

/** In place of RUN_*: TypeScript has nothing to do. */
export const GO_ON: i32 = -1

/** Takes the first event (event_first) off and handles it at `now`: GO_ON, or why the run ends here. */
export function handle_event(evq: u32, event: u32, now: u64): i32 {
  const key = event_take(evq, event)
  const cpu = dispatch(key_kind(key), key_slot(key), now)
  event_over(evq)
  const writer = load<u32>(M_BASE, M_WRITER)
  store<u32>(M_BASE, 0, M_WRITER)
  if (writer > 1) writer_turn(cpu, writer)
  if (load<u32>(M_BASE, M_RETURN)) {
    store<u32>(M_BASE, 0, M_RETURN)
    if (!cpu || !cpu_wants_host(cpu)) return RUN_MORE
  }
  if (!cpu || !cpu_wants_host(cpu)) return GO_ON
  store<u32>(evq, cpu, EVQ_SERVED)
  return RUN_MORE | RUN_SLOW
}

/**
 * pblk's writer was kicked by the event of a machine's only CPU, and has its turn: as its task would have, which is woken if
 * the core cannot do it all, or if TypeScript is called anyway.
 */
function writer_turn(cpu: u32, pb: u32): void {
  store<u64>(cpu, max<u64>(load<u64>(cpu, CPU_NOW), load<u64>(M_BASE, M_NOW)), CPU_NOW)
  if (cpu_wants_host(cpu) || load<u32>(M_BASE, M_RETURN) || !pblk_write_ts(cpu, pb)) {
    host(cpu, HB_PBLK_KICK, pb, 0)
    return
  }
  if (load<u32>(cpu, CPU_JOB) && cpu_pending(cpu)) event_cpu(cpu)
}

/** TypeScript was called for a CPU. I/Os that it ended there have no interrupt to say so. */
export function after_host(evq: u32): void {
  const cpu = load<u32>(evq, EVQ_SERVED)
  if (!cpu) return
  store<u32>(evq, 0, EVQ_SERVED)
  for (let job = load<u32>(cpu, CPU_JOB); job; job = load<u32>(job, JOB_NEXT)) {
    if (!load<u32>(job, JOB_ENDED)) continue
    event_cpu(cpu)
    return
  }
}

/**
 * Handles events until `budget` of them are done, none is left, or the next is later than `until`
 * (ns; the clock then moves there). Returns RUN_* (layout.ts).
 */
export function virtual_run(budget: u32, until: f64): i32 {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const limit: u64 = until >= 1.8e19 ? NEVER : <u64>until
  store<u64>(evq, limit, EVQ_UNTIL)
  after_host(evq)
  for (let n: u32 = 0; n < budget; n++) {
    const event = event_first(evq)
    const now = event ? load<u64>(event, EV_TIME) : NEVER
    if (now > limit || now == NEVER) {
      if (limit != NEVER) set_now(limit)
      return now == NEVER ? RUN_IDLE : RUN_TIMER
    }
    set_now(now)
    const end = handle_event(evq, event, now)
    if (end != GO_ON) return end
  }
  return RUN_MORE
}

/** TypeScript gave a CPU something to do: it runs as soon as it is free. In real time its thread looks anyway. */
export function virtual_kick(cpu: u32): void {
  if (load<u32>(cpu, CPU_CLOCK) != CLOCK_REAL) event_cpu_at(cpu, 0)
}
