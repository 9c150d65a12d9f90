// Virtual time's queue of events: a 4-ary heap of (time, key), smallest first. Equal times keep the
// order in which they were added, so a run repeats exactly.
//
// Only queue-level events stand here (a CPU that has something to do, a doorbell that reaches the
// device, the oldest command of a queue that is due), so the heap stays as small as the number of
// CPUs and queues, however many commands are outstanding.

import {
  CPU_EV_TIME, CPU_NOW, EVQ_CAP, EVQ_COUNT, EVQ_DONE, EVQ_HEAP, EVQ_SEQ, EV_CPU, EV_KEY, EV_SIZE,
  EV_TIME, M_BASE, M_EVENTS, M_NOW,
} from './layout'
import { BUG_EVENTS, BUG_ON } from './bug'

export const NEVER: u64 = u64.MAX_VALUE

function earlier(a_time: u64, a_key: u64, b: u32): bool {
  const b_time = load<u64>(b, EV_TIME)
  return a_time < b_time || (a_time == b_time && a_key < load<u64>(b, EV_KEY))
}

function put(slot: u32, time: u64, key: u64): void {
  store<u64>(slot, time, EV_TIME)
  store<u64>(slot, key, EV_KEY)
}

/** Adds an event. `address` is that of the block it is about. */
export function event_add(time: u64, kind: u32, address: u32): void {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const heap = load<u32>(evq, EVQ_HEAP)
  const count = load<u32>(evq, EVQ_COUNT)
  BUG_ON(count >= load<u32>(evq, EVQ_CAP), BUG_EVENTS)
  const seq = load<u64>(evq, EVQ_SEQ)
  store<u64>(evq, seq + 1, EVQ_SEQ)
  store<u32>(evq, count + 1, EVQ_COUNT)
  const key = (seq << 32) | (<u64>kind << 28) | (<u64>address >> 4)
  let at = count
  while (at) {
    const parent = (at - 1) >> 2
    const p = heap + parent * EV_SIZE
    if (!earlier(time, key, p)) break
    put(heap + at * EV_SIZE, load<u64>(p, EV_TIME), load<u64>(p, EV_KEY))
    at = parent
  }
  put(heap + at * EV_SIZE, time, key)
}

function smallest_child(heap: u32, first: u32, count: u32): u32 {
  const end = min<u32>(first + 4, count)
  let best = first
  for (let i = first + 1; i < end; i++) {
    const slot = heap + i * EV_SIZE
    if (earlier(load<u64>(slot, EV_TIME), load<u64>(slot, EV_KEY), heap + best * EV_SIZE)) best = i
  }
  return best
}

/** Removes the first event, which the caller has read with event_time and event_key. */
export function event_pop(evq: u32): void {
  const heap = load<u32>(evq, EVQ_HEAP)
  const count = load<u32>(evq, EVQ_COUNT) - 1
  store<u32>(evq, count, EVQ_COUNT)
  store<u64>(evq, load<u64>(evq, EVQ_DONE) + 1, EVQ_DONE)
  const last = heap + count * EV_SIZE
  const time = load<u64>(last, EV_TIME)
  const key = load<u64>(last, EV_KEY)
  let at: u32 = 0
  while (true) {
    const first = at * 4 + 1
    if (first >= count) break
    const child = smallest_child(heap, first, count)
    const slot = heap + child * EV_SIZE
    if (earlier(time, key, slot)) break
    put(heap + at * EV_SIZE, load<u64>(slot, EV_TIME), load<u64>(slot, EV_KEY))
    at = child
  }
  put(heap + at * EV_SIZE, time, key)
}

/** Time of the first event, NEVER if there is none. */
export function event_time(evq: u32): u64 {
  return load<u32>(evq, EVQ_COUNT) ? load<u64>(load<u32>(evq, EVQ_HEAP), EV_TIME) : NEVER
}

export function event_key(evq: u32): u64 {
  return load<u64>(load<u32>(evq, EVQ_HEAP), EV_KEY)
}

/** Makes a CPU run at `time`, or earlier if it has to anyway. Later events of it become stale. */
export function event_cpu_at(cpu: u32, time: u64): void {
  const at = max<u64>(time, max<u64>(load<u64>(cpu, CPU_NOW), load<u64>(M_BASE, M_NOW)))
  if (at >= load<u64>(cpu, CPU_EV_TIME)) return
  store<u64>(cpu, at, CPU_EV_TIME)
  event_add(at, EV_CPU, cpu)
}

/** Makes a CPU run as soon as it is free. */
export function event_cpu(cpu: u32): void {
  event_cpu_at(cpu, 0)
}
