// Virtual time's queue of events: 4-ary heaps of (time, key), smallest first. Equal times keep the
// order in which they were set, so a run repeats exactly.
//
// Only queue-level events stand here (a CPU that has something to do, a doorbell that reaches the
// device, the oldest command of a queue that is due), and each of them once: the block that an event
// is about knows its place in its heap (its event slot), so that a new time moves the event that is
// there. There are never more than the number of CPUs and three times that of queues, however
// many commands are outstanding and however long a job waits.
//
// What CPUs do comes soon (EV_CPU, EV_SQ), what devices do lies far ahead (EV_DONE, EV_COALESCE), so each
// kind has a heap of its own: the near one holds a few events, however many queues wait in the far one.
// A far event stays where it is while it is handled (EVQ_TAKEN): mostly it gets a new time, and goes down
// from the top once.

import {
  CPU_EVENT, CPU_NOW, EVQ_CAP, EVQ_COUNT, EVQ_DONE, EVQ_FAR, EVQ_HEAP, EVQ_NEAR, EVQ_SEQ, EVQ_TAKEN, EV_CPU, EV_DONE, EV_KEY,
  EV_SIZE, EV_TIME, M_BASE, M_EVENTS, M_NOW,
} from './layout'
import { BUG_EVENTS, BUG_ON } from './bug'

export const NEVER: u64 = u64.MAX_VALUE

// @ts-ignore: decorator
@inline
function earlier(a_time: u64, a_key: u64, b: u32): bool {
  const b_time = load<u64>(b, EV_TIME)
  return a_time < b_time || (a_time == b_time && a_key < load<u64>(b, EV_KEY))
}

/** Address of the slot of an event. */
// @ts-ignore: decorator
@inline
function slot_of(key: u64): u32 {
  return (<u32>key & 0xfffffff) << 4
}

/** Puts an event at place `at` of the heap. */
// @ts-ignore: decorator
@inline
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

/** The first of up to four children. Which it is cannot be guessed, so it is chosen without branches. */
// @ts-ignore: decorator
@inline
function smallest_child(heap: u32, first: u32, count: u32): u32 {
  const begin = heap + first * EV_SIZE
  const end = heap + min<u32>(first + 4, count) * EV_SIZE
  let best = begin
  let time = load<u64>(begin, EV_TIME)
  let key = load<u64>(begin, EV_KEY)
  for (let event = begin + EV_SIZE; event < end; event += EV_SIZE) {
    const t = load<u64>(event, EV_TIME)
    const k = load<u64>(event, EV_KEY)
    const less = <u32>(t < time) | (<u32>(t == time) & <u32>(k < key))
    best = select<u32>(event, best, less)
    time = select<u64>(t, time, less)
    key = select<u64>(k, key, less)
  }
  return (best - heap) / EV_SIZE
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

// @ts-ignore: decorator
@inline
function new_key(evq: u32, kind: u32, slot: u32): u64 {
  const seq = load<u64>(evq, EVQ_SEQ)
  store<u64>(evq, seq + 1, EVQ_SEQ)
  return (seq << 32) | (<u64>kind << 28) | (<u64>slot >> 4)
}

/** The heap of a kind of event: a field of the queue that counts its events. */
// @ts-ignore: decorator
@inline
function heap_of(kind: u32): u32 {
  return kind < <u32>EV_DONE ? EVQ_NEAR : EVQ_FAR
}

/** Address of the events of a heap. */
// @ts-ignore: decorator
@inline
function events_of(evq: u32, which: u32): u32 {
  return load<u32>(evq, EVQ_HEAP) + (which == EVQ_FAR ? load<u32>(evq, EVQ_CAP) * EV_SIZE : 0)
}

// @ts-ignore: decorator
@inline
function add(evq: u32, time: u64, kind: u32, slot: u32): void {
  const which = heap_of(kind)
  const count = load<u32>(evq + which)
  BUG_ON(count >= load<u32>(evq, EVQ_CAP), BUG_EVENTS)
  store<u32>(evq + which, count + 1)
  store<u32>(evq, load<u32>(evq, EVQ_COUNT) + 1, EVQ_COUNT)
  const key = new_key(evq, kind, slot)
  const heap = events_of(evq, which)
  if (count) sift_up(heap, count, time, key)
  else put(heap, 0, time, key)
}

/** The event that is being handled comes again at `time`. */
function add_taken(evq: u32, time: u64, kind: u32, slot: u32): void {
  store<u32>(evq, 0, EVQ_TAKEN)
  store<u32>(evq, load<u32>(evq, EVQ_COUNT) + 1, EVQ_COUNT)
  move(events_of(evq, EVQ_FAR), load<u32>(slot) - 1, load<u32>(evq, EVQ_FAR), time, new_key(evq, kind, slot))
}

/** Gives what stands at place `at` another time. */
function move(heap: u32, at: u32, count: u32, time: u64, key: u64): void {
  if (at && earlier(time, key, heap + ((at - 1) >> 2) * EV_SIZE)) sift_up(heap, at, time, key)
  else sift_down(heap, at, count, time, key)
}

/** The event of a slot comes at `time`, or earlier if it does already. */
export function event_by(time: u64, kind: u32, slot: u32): void {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const place = load<u32>(slot)
  if (!place) {
    add(evq, time, kind, slot)
    return
  }
  if (slot == load<u32>(evq, EVQ_TAKEN)) {
    add_taken(evq, time, kind, slot)
    return
  }
  const heap = events_of(evq, heap_of(kind))
  if (time >= load<u64>(heap + (place - 1) * EV_SIZE, EV_TIME)) return
  sift_up(heap, place - 1, time, new_key(evq, kind, slot))
}

/** The event of a slot comes at `time`, be it earlier or later than until now. */
export function event_at(time: u64, kind: u32, slot: u32): void {
  const evq = load<u32>(M_BASE, M_EVENTS)
  const place = load<u32>(slot)
  if (place && slot != load<u32>(evq, EVQ_TAKEN)) {
    const which = heap_of(kind)
    const heap = events_of(evq, which)
    if (time > load<u64>(heap + (place - 1) * EV_SIZE, EV_TIME)) {
      sift_down(heap, place - 1, load<u32>(evq + which), time, new_key(evq, kind, slot))
      return
    }
  }
  event_by(time, kind, slot)
}

/** Removes what stands at place `at`. */
function remove(evq: u32, which: u32, at: u32): void {
  const heap = events_of(evq, which)
  const count = load<u32>(evq + which) - 1
  store<u32>(evq + which, count)
  store<u32>(slot_of(load<u64>(heap + at * EV_SIZE, EV_KEY)), 0)
  if (at == count) return
  const last = heap + count * EV_SIZE
  move(heap, at, count, load<u64>(last, EV_TIME), load<u64>(last, EV_KEY))
}

/** The first event of all: its address, 0 = there is none. */
// @ts-ignore: decorator
@inline
export function event_first(evq: u32): u32 {
  const far = first_far(evq)
  if (!load<u32>(evq, EVQ_NEAR)) return far
  const near = load<u32>(evq, EVQ_HEAP)
  return far && earlier(load<u64>(far, EV_TIME), load<u64>(far, EV_KEY), near) ? far : near
}

/** The first of the far heap, without the one that is being handled. */
// @ts-ignore: decorator
@inline
function first_far(evq: u32): u32 {
  const count = load<u32>(evq, EVQ_FAR)
  const heap = events_of(evq, EVQ_FAR)
  const taken = load<u32>(evq, EVQ_TAKEN)
  // It stands at the top, unless something earlier was set since.
  if (!taken || load<u32>(taken) != 1) return count ? heap : 0
  return count > 1 ? heap + smallest_child(heap, 1, count) * EV_SIZE : 0
}

/** Begins to handle the first event, which the caller has from event_first; returns its key. */
// @ts-ignore: decorator
@inline
export function event_take(evq: u32, event: u32): u64 {
  const key = load<u64>(event, EV_KEY)
  store<u32>(evq, load<u32>(evq, EVQ_COUNT) - 1, EVQ_COUNT)
  store<u64>(evq, load<u64>(evq, EVQ_DONE) + 1, EVQ_DONE)
  if (heap_of(key_kind(key)) == EVQ_FAR) store<u32>(evq, slot_of(key), EVQ_TAKEN)
  else remove(evq, EVQ_NEAR, 0)
  return key
}

/** The event that was taken has been handled. */
// @ts-ignore: decorator
@inline
export function event_over(evq: u32): void {
  const slot = load<u32>(evq, EVQ_TAKEN)
  if (!slot) return
  store<u32>(evq, 0, EVQ_TAKEN)
  remove(evq, EVQ_FAR, load<u32>(slot) - 1)
}

/** What an event is about: its kind, and the address of its slot. */
// @ts-ignore: decorator
@inline
export function key_kind(key: u64): u32 {
  return <u32>(key >> 28) & 15
}

// @ts-ignore: decorator
@inline
export function key_slot(key: u64): u32 {
  return slot_of(key)
}

/** Time of the first event, NEVER if there is none. */
export function event_time(evq: u32): u64 {
  const first = event_first(evq)
  return first ? load<u64>(first, EV_TIME) : NEVER
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
