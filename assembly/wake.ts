// Waking an emulated CPU. Real clock: its thread may sleep on CPU_WAKE; the count goes up first, so
// that a thread about to sleep sees the change, and the notify is paid only if it says it waits.
// Virtual clock: an event makes the CPU run.

import { CLOCK_VIRTUAL, CPU_CLOCK, CPU_WAITING, CPU_WAKE } from './layout'
import { event_cpu } from './events'

export function wake_cpu(cpu: u32): void {
  if (load<u32>(cpu, CPU_CLOCK) == CLOCK_VIRTUAL) {
    event_cpu(cpu)
    return
  }
  atomic.add<u32>(cpu, 1, CPU_WAKE)
  if (atomic.load<u32>(cpu, CPU_WAITING)) atomic.notify(cpu + CPU_WAKE, 1)
}
