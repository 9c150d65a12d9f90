// The core has no clock: the host's monotonic one is imported and read at most once per batch. In
// virtual time the CPU's own CPU_NOW is the clock, and work adds its cost to it. A machine whose CPUs share one thread in
// real time (CLOCK_SHARED) has the events of virtual time and the host's clock.

import { CLOCK_VIRTUAL, CPU_CLOCK, CPU_NOW, M_BASE, M_JIFFIES, M_JIFFY_NS, M_NEXT_JIFFY, M_NOW } from './layout'

// @ts-ignore: decorator
@external("env", "now")
declare function host_now(): f64

/** Reads the clock of a CPU and stamps CPU_NOW. */
export function read_clock(cpu: u32): u64 {
  if (load<u32>(cpu, CPU_CLOCK) != CLOCK_VIRTUAL) store<u64>(cpu, <u64>host_now(), CPU_NOW)
  return load<u64>(cpu, CPU_NOW)
}

/** The host's monotonic clock, ns (real time only). */
export function now_ns(): u64 {
  return <u64>host_now()
}

/** Virtual time: this CPU is busy for `ns`. In real time the work itself takes its time. */
// @ts-ignore: decorator
@inline
export function spend(cpu: u32, ns: u32): void {
  if (load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL) store<u64>(cpu, load<u64>(cpu, CPU_NOW) + ns, CPU_NOW)
}

/** Virtual time: so much went by in the midst of what this CPU does, as when functions are recorded. */
export function time_passed(cpu: u32, ns: u32): void {
  const now = max<u64>(load<u64>(cpu, CPU_NOW), load<u64>(M_BASE, M_NOW)) + ns
  store<u64>(cpu, now, CPU_NOW)
  set_now(now)
}

/** Virtual time: the clock moves there, and jiffies with it. Recording takes time (trace.ts): what was due meanwhile is late. */
export function set_now(now: u64): void {
  if (isDefined(TRACE_BUILD)) if (now < load<u64>(M_BASE, M_NOW)) return
  store<u64>(M_BASE, now, M_NOW)
  if (now < load<u64>(M_BASE, M_NEXT_JIFFY)) return
  const jiffy = load<u64>(M_BASE, M_JIFFY_NS)
  const steps = (now - load<u64>(M_BASE, M_NEXT_JIFFY)) / jiffy + 1
  store<u64>(M_BASE, load<u64>(M_BASE, M_NEXT_JIFFY) + steps * jiffy, M_NEXT_JIFFY)
  store<u32>(M_BASE, load<u32>(M_BASE, M_JIFFIES) + <u32>steps, M_JIFFIES)
}
