// Waking an emulated CPU. Real clock: its thread may sleep on CPU_WAKE; the count goes up first, so
// that a thread about to sleep sees the change, and the notify is paid only if it says it waits.
// Virtual clock, and CPUs that share a thread: an event makes the CPU run.

import { CLOCK_SHARED, CLOCK_REAL, CPU_CLOCK, CPU_WAITING, CPU_WAKE, M_BASE, M_CPUS } from './layout'
import { event_cpu } from './events'

export function wake_cpu(cpu: u32): void {
  if (load<u32>(cpu, CPU_CLOCK) == CLOCK_REAL) wake_thread(cpu)
  else event_cpu(cpu)
}

/** From another thread: CPUs that share one all sleep on the word of the first. */
export function wake_thread(whose: u32): void {
  const cpu = load<u32>(whose, CPU_CLOCK) == CLOCK_SHARED ? load<u32>(M_BASE, M_CPUS) : whose
  atomic.add<u32>(cpu, 1, CPU_WAKE)
  if (atomic.load<u32>(cpu, CPU_WAITING)) atomic.notify(cpu + CPU_WAKE, 1)
}
