// A machine with a kernel in real time: the kernel, all CPUs and the devices on one thread, the main one. The kernel's objects
// are not shared memory, so that its CPUs cannot have threads of their own.
//
// The loop is that of virtual time (virtual.ts), with the host's clock: what the clock has reached is done, the kernel's part
// and the core's in turn, until nothing is due. Then the thread rests:
//
//   up to 90 us         it looks again: a timed sleep would overshoot
//   up to 3 ms          Atomics.wait, which sleeps exactly enough; longer when a device has a thread of its own, which wakes it
//   longer              a timer of the event loop, which also wakes for messages
//
// The event loop gets a turn every 2 ms. Between two runs (Machine.run) the machine stands still while its clock goes on.

import { CPU_WAITING, CPU_WAKE } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { RunEnd } from './config.js'
import type { HostKernel } from './host-kernel.js'
import type { VirtualTime } from './virtual.js'

/** Longest time between two turns of the event loop, ns. */
const TURN_NS = 2_000_000
/** A timed sleep may end so late; what is nearer is spun away. */
const OVERSHOOT_NS = 90_000
/** From here on a rest is a timer's. */
const LONG_NS = 3_000_000
/** Longest sleep while a device's thread may have something that it does not call for. */
const NAP_NS = 50_000
/** A timer of the event loop may end so late. */
const TIMER_NS = 1_500_000
/** Longest timer that is set, ms. */
const LONGEST_MS = 60_000

/** What the loop needs of its machine. */
export interface SharedThread {
  readonly view: View
  readonly core: Core
  readonly host: HostKernel
  readonly time: VirtualTime
  /** The block of CPU 0: threads of devices wake the machine there. */
  readonly cpu: number
  /** Devices with threads of their own: there are none, all interrupt, or some are polled. */
  readonly devices: 'none' | 'irq' | 'poll'
  readonly stopped: () => boolean
  /** Whether something happened that ends the run; asked once. */
  readonly takeEvent: () => boolean
  /** Waits for so many ms, or until something happens. */
  readonly pause: (ms: number) => Promise<void>
  /** Gives the event loop a turn. */
  readonly turn: () => Promise<void>
}

/** Runs the machine until the clock says `untilNs`, or something happens. */
export async function runShared(on: SharedThread, untilNs: number): Promise<RunEnd> {
  const { time, host, core } = on
  let turned = time.now()
  while (!on.stopped()) {
    if (on.takeEvent()) return 'event'
    time.step()
    if (on.takeEvent()) return 'event'
    const end = time.slice(untilNs)
    if (on.takeEvent()) return 'event'
    if (time.now() >= untilNs) return 'time'
    if (end === 'time') {
      const next = Math.min(untilNs, host.deadline(), core.shared_deadline())
      if (next === Number.POSITIVE_INFINITY && on.devices === 'none') return 'idle'
      if (await rested(on, next - time.now())) turned = time.now()
    }
    if (time.now() - turned < TURN_NS) continue
    await on.turn()
    turned = time.now()
  }
  return 'idle'
}

/** Nothing is to be done for so many ns. @returns whether the event loop had a turn */
async function rested(on: SharedThread, ns: number): Promise<boolean> {
  if (on.devices === 'none' && ns >= LONG_NS) {
    await on.pause(Math.min((ns - TIMER_NS) / 1e6, LONGEST_MS))
    return true
  }
  const most = on.devices === 'poll' ? NAP_NS : TURN_NS
  const sleep = Math.min(ns - OVERSHOOT_NS, most)
  if (sleep > 0) snooze(on, sleep)
  return false
}

/** Sleeps, unless a device's thread has called since the last look. */
function snooze({ view, core, time, cpu }: SharedThread, ns: number): void {
  const seen = view.load(cpu + CPU_WAKE)
  view.store(cpu + CPU_WAITING, 1)
  core.look_at_threads(time.now())
  if (core.shared_deadline() > time.now()) view.wait(cpu + CPU_WAKE, seen, ns / 1e6)
  view.store(cpu + CPU_WAITING, 0)
}
