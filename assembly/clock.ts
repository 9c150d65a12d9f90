// The core has no clock: the host's monotonic one is imported and read at most once per batch. In
// virtual time the CPU's own CPU_NOW is the clock, and work adds its cost to it. A machine whose CPUs share one thread in
// real time (CLOCK_SHARED) has the events of virtual time and the host's clock.

import { CLOCK_VIRTUAL, CPU_CLOCK, CPU_NOW } from './layout'

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
