// What CPU work costs in virtual time, where nothing is measured: one number for each kind of work, in nanoseconds.
//
// They describe a server of the kernel's age (around 3 GHz, page-table isolation on). Only their order of magnitude
// matters, and their sum: an I/O at depth 1 must never be free, or a time-based job would not end. A machine file may
// change each of them.
//
//   name       ns     where the number comes from
//   submit     500    blk-mq and the driver down to the ring entry. One core of the 4.19 era does 1 to 1.6 million
//   complete   300    polled 4 KiB reads a second through libaio or early io_uring (J. Axboe's published runs), so 600
//                     to 1000 ns of CPU for the whole of an I/O; about two thirds of it on the way down
//   syscall    200    entry and exit with page-table isolation (getpid loops give 150 to 250 ns)
//   doorbell   150    one uncached posted write: 50 to 300 ns between such writes are reported on Intel's forum
//                     (community.intel.com, "Why do MemReq TLPs take 100s nanoseconds ..."); it stalls the CPU
//   poll        50    one call of the poll function on an empty queue: a cached load, the loop around it, a reschedule check
//   irq       1200    interrupt entry, handler without completions, exit, and what the pipeline loses
//   switch    2500    io_schedule, the wake-up, two switches. With irq it makes 3.7 us: 3 to 5 us of CPU for each
//                     interrupt-driven I/O were measured natively for this project, and Yang, Minturn and Hady ("When
//                     Poll Is Better than Interrupt", FAST 2012) found the same order
//   copy       400    a page of the page cache found and copied to or from a program, some 10 GB/s
//   ipi       1000    a cross-CPU function call: sent, taken and acknowledged in about a microsecond within one socket

import {
  M_BASE,
  M_COST_COMPLETE,
  M_COST_COPY,
  M_COST_DOORBELL,
  M_COST_IPI,
  M_COST_IRQ,
  M_COST_POLL,
  M_COST_SUBMIT,
  M_COST_SWITCH,
  M_COST_SYSCALL,
} from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import type { View } from '../core/view.js'

export type CostKey =
  | 'submit'
  | 'complete'
  | 'doorbell'
  | 'irq'
  | 'switch'
  | 'ipi'
  | 'poll'
  | 'syscall'
  | 'copy'

/** ns for each kind of work. */
export type Costs = Readonly<Record<CostKey, number>>

export const DEFAULT_COSTS: Costs = {
  submit: 500,
  complete: 300,
  syscall: 200,
  doorbell: 150,
  poll: 50,
  irq: 1200,
  switch: 2500,
  ipi: 1000,
  copy: 400,
}

/**
 * Costs of a machine that keeps pace with the host's clock: what its CPUs do takes the host's time already. Not nothing, so
 * that a loop of I/Os that end at once still gets on.
 */
export const PACED_COSTS: Costs = {
  submit: 1,
  complete: 1,
  syscall: 0,
  doorbell: 0,
  poll: 1,
  irq: 0,
  switch: 0,
  ipi: 0,
  copy: 1,
}

/** The least that submission and completion of one I/O together may cost, ns. */
export const MIN_IO_COST_NS = 500

const MAX_COST_NS = 1_000_000_000

const FIELDS: Readonly<Record<CostKey, number>> = {
  submit: M_COST_SUBMIT,
  complete: M_COST_COMPLETE,
  syscall: M_COST_SYSCALL,
  doorbell: M_COST_DOORBELL,
  poll: M_COST_POLL,
  irq: M_COST_IRQ,
  switch: M_COST_SWITCH,
  ipi: M_COST_IPI,
  copy: M_COST_COPY,
}

/**
 * The costs of a machine: the defaults with what was said otherwise.
 * @throws UserError for a cost that is no whole number of ns, a poll for nothing, or I/O below MIN_IO_COST_NS
 */
export function costsOf(said: Readonly<Partial<Record<CostKey, number>>> = {}): Costs {
  const costs = { ...DEFAULT_COSTS, ...said }
  for (const [name, ns] of Object.entries(costs)) {
    if (!Number.isInteger(ns) || ns < 0 || ns > MAX_COST_NS)
      throw new UserError(`cost ${name}=${ns}: whole nanoseconds from 0 to 1 s are accepted`)
  }
  if (costs.copy === 0) throw new UserError('cost copy=0: a page must take at least 1 ns')
  if (costs.poll === 0) throw new UserError('cost poll=0: a poll must take at least 1 ns')
  if (costs.submit + costs.complete < MIN_IO_COST_NS)
    throw new UserError(
      `costs submit + complete = ${costs.submit + costs.complete} ns: together they must be at least ${MIN_IO_COST_NS} ns`,
    )
  return costs
}

/** Writes the costs where the core reads them. */
export function writeCosts(view: View, costs: Costs): void {
  for (const key of Object.keys(FIELDS) as CostKey[]) {
    view.setU32(M_BASE + FIELDS[key], costs[key])
  }
}
