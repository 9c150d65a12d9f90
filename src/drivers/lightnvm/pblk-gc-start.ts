// Waking pblk's garbage collector: the part of drivers/lightnvm/pblk-gc.c that the rate limiter calls.

import { wake_up_process } from '../../kernel/task.js'
import { enter, leave } from '../../kernel/trace.js'
import type { pblk } from './pblk.js'

export function pblk_gc_writer_kick(pblk: pblk): void {
  if (pblk.gc.gc_writer_ts !== null) wake_up_process(pblk.gc.gc_writer_ts)
}

export function pblk_gc_reader_kick(pblk: pblk): void {
  if (pblk.gc.gc_reader_ts !== null) wake_up_process(pblk.gc.gc_reader_ts)
}

/** Wakes all three threads. */
export function pblk_gc_kick(pblk: pblk): void {
  if (pblk.gc.gc_ts !== null) wake_up_process(pblk.gc.gc_ts)
  pblk_gc_writer_kick(pblk)
  pblk_gc_reader_kick(pblk)
}

export function pblk_gc_should_start(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_gc_should_start')
  const { gc } = pblk
  if (gc.gc_enabled && !gc.gc_active) {
    gc.gc_active = true
    pblk_gc_kick(pblk)
  }
  leave(pblk.k, t)
}

export function pblk_gc_should_stop(pblk: pblk): void {
  const t = enter(pblk.k, 'pblk_gc_should_stop')
  if (pblk.gc.gc_active && !pblk.gc.gc_forced) pblk.gc.gc_active = false
  leave(pblk.k, t)
}
