// Virtual time's queue of events: a 4-ary heap of (time, key), smallest first. Equal times keep the
// order in which they were set, so a run repeats exactly.
//
// Only queue-level events stand here (a CPU that has something to do, a doorbell that reaches the
// device, the oldest command of a queue that is due), and each of them once: the block that an event
// is about knows its place in the heap (its event slot), so that a new time moves the event that is
// there. The heap is never larger than the number of CPUs and three times that of queues, however
// many commands are outstanding and however long a job waits.

import {
  CPU_EVENT, CPU_NOW, EVQ_CAP, EVQ_COUNT, EVQ_DONE, EVQ_HEAP, EVQ_SEQ, EV_CPU, EV_KEY, EV_SIZE,
  EV_TIME, M_BASE, M_EVENTS, M_NOW,
} from './layout'
import { BUG_EVENTS, BUG_ON } from './bug'

export const NEVER: u64 = u64.MAX_VALUE

function earlier(a_time: u64, a_key: u64, b: u32): bool {
  const b_time = load<u64>(b, EV_TIME)
  return a_time < b_time || (a_time == b_time && a_key < load<u64>(b, EV_KEY))
}

/** Address of the slot of an event. */
function slot_of(key: u64): u32 {
  return (<u32>key & 0xfffffff) << 4
}

/** Puts an event at place `at` of the heap. */
function put(heap: u32, at: u32, time: u64, key: u64): void {
  const event = heap + at * EV_SIZE
  store<u64>(event, time, EV_TIME)
  store<u64>(event, key, EV_KEY)
  store<u32>(slot_of(key), at + 1)
}

/** Moves the hole at place `at` up to where the event belongs, and puts it there. */
function sift_up(heap: u32, at: u32, time: u64, key: u64): void {
  while (at) {
    const parent = (at - 1) >> 2
    const p = heap + parent * EV_SIZE
    if (!earlier(time, key, p)) break
    put(heap, at, load<u64>(p, EV_TIME), load<u64>(p, EV_KEY))
    at = parent
  }
  put(heap, at, time, key)
}

function smallest_child(heap: u32, first: u32, count: u32): u32 {
  const end = min<u32>(first + 4, count)
  let best = first
  for (let i = first + 1; i < end; i++) {
    const event = heap + i * EV_SIZE
    if (earlier(load<u64>(event, EV_TIME), load<u64>(event, EV_KEY), heap + best * EV_SIZE)) best = i
  }
  return best
}

/** The same downwards, in a heap of `count` events. */
function sift_down(heap: u32, at: u32, count: u32, time: u64, key: u64): void {
  while (true) {
    const first = at * 4 + 1
    if (first >= count) break
    const child = smallest_child(heap, first, count)
    const event = heap + child * EV_SIZE
    if (earlier(time, key, event)) break
    put(heap, at, load<u64>(event, EV_TIME), load<u64>(event, EV_KEY))
    at = child
  }
  put(heap, at, time, key)
}

function new_key(evq: u32, kind: u32, slot: u32): u64 {
  const seq = load<u64>(evq, EVQ_SEQ)
  store<u64>(evq, seq + 1, EVQ_SEQ)
  return (seq << 32) | (<u64>kind << 28) | (<u64>slot >> 4)
}

function add(evq: u32, time: u64, kind: u32, slot: u32): void {
  const count = load<u32>(evq, EVQ_COUNT)
  BUG_ON(count >= load<u32>(evq, EVQ_CAP), BUG_EVENTS)
  store<u32>(evq, count + 1, EVQ_COUNT)
  sift_up(load<u32>(evq, EVQ_HEAP), count, time, new_key(evq, kind, slot))
}

/** The event of a slot comes at `time`, or earlier if it does already. */
export function event_by(time: u64, kind: u32, slot: u32): void {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const place = load<u32>(slot)
  if (!place) {
    add(evq, time, kind, slot)
    return
  }
  const heap = load<u32>(evq, EVQ_HEAP)
  if (time >= load<u64>(heap + (place - 1) * EV_SIZE, EV_TIME)) return
  sift_up(heap, place - 1, time, new_key(evq, kind, slot))
}

/** The event of a slot comes at `time`, be it earlier or later than until now. */
export function event_at(time: u64, kind: u32, slot: u32): void {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const place = load<u32>(slot)
  const heap = load<u32>(evq, EVQ_HEAP)
  if (place && time > load<u64>(heap + (place - 1) * EV_SIZE, EV_TIME)) {
    sift_down(heap, place - 1, load<u32>(evq, EVQ_COUNT), time, new_key(evq, kind, slot))
  } else {
    event_by(time, kind, slot)
  }
}

/** Removes the first event, which the caller has read with event_time and event_key. */
export function event_pop(evq: u32): void {
  const heap = load<u32>(evq, EVQ_HEAP)
  const count = load<u32>(evq, EVQ_COUNT) - 1
  store<u32>(evq, count, EVQ_COUNT)
  store<u64>(evq, load<u64>(evq, EVQ_DONE) + 1, EVQ_DONE)
  store<u32>(slot_of(load<u64>(heap, EV_KEY)), 0)
  if (!count) return
  const last = heap + count * EV_SIZE
  sift_down(heap, 0, count, load<u64>(last, EV_TIME), load<u64>(last, EV_KEY))
}

/** Time of the first event, NEVER if there is none. */
export function event_time(evq: u32): u64 {
  return load<u32>(evq, EVQ_COUNT) ? load<u64>(load<u32>(evq, EVQ_HEAP), EV_TIME) : NEVER
}

/** What the first event is about: its kind, and the address of its slot. */
export function event_kind(evq: u32): u32 {
  return <u32>(load<u64>(load<u32>(evq, EVQ_HEAP), EV_KEY) >> 28) & 15
}

export function event_slot(evq: u32): u32 {
  return slot_of(load<u64>(load<u32>(evq, EVQ_HEAP), EV_KEY))
}

/** Makes a CPU run at `time`, or earlier if it has to anyway; never while it is busy. */
export function event_cpu_at(cpu: u32, time: u64): void {
  const at = max<u64>(time, max<u64>(load<u64>(cpu, CPU_NOW), load<u64>(M_BASE, M_NOW)))
  event_by(at, EV_CPU, cpu + CPU_EVENT)
}

/** Makes a CPU run as soon as it is free. */
export function event_cpu(cpu: u32): void {
  event_cpu_at(cpu, 0)
}
