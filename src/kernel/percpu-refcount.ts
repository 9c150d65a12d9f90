// A reference count that can be killed, after lib/percpu-refcount.c.
//
//   alive    get and put count; the base reference of the owner keeps it above 0
//   killed   percpu_ref_kill has dropped the base reference: tryget_live fails, and the last put
//            calls `release`
//   revived  percpu_ref_reinit (only at 0) or percpu_ref_resurrect (at any count): alive again
//
// Linux spreads the count over the CPUs to make get and put cheap while it lives, and switches to
// one counter when it is killed; with one thread there is only the one counter, and a kill is
// complete when percpu_ref_kill returns.

import { BUG_ON } from './bug.js'
import type { KernelCore } from './core.js'
import { enter, leave } from './trace.js'

export class percpu_ref {
  readonly k: KernelCore
  count = 1
  dead = false
  readonly release: (ref: percpu_ref) => void

  /** @param release called each time the count falls to 0 */
  constructor(k: KernelCore, release: (ref: percpu_ref) => void) {
    this.k = k
    this.release = release
  }
}

export function percpu_ref_get(ref: percpu_ref): void {
  ref.count++
}

/** Takes a reference unless the count is 0. */
export function percpu_ref_tryget(ref: percpu_ref): boolean {
  if (ref.count === 0) return false
  ref.count++
  return true
}

/** Takes a reference unless it was killed. */
export function percpu_ref_tryget_live(ref: percpu_ref): boolean {
  if (ref.dead) return false
  ref.count++
  return true
}

export function percpu_ref_put(ref: percpu_ref): void {
  BUG_ON(ref.count <= 0, 'percpu_ref_put: no reference left')
  if (--ref.count === 0) ref.release(ref)
}

/** Ends its life; once only. */
export function percpu_ref_kill(ref: percpu_ref): void {
  const t = enter(ref.k, 'percpu_ref_kill')
  BUG_ON(ref.dead, 'percpu_ref_kill: it is dead already')
  ref.dead = true
  percpu_ref_put(ref)
  leave(ref.k, t)
}

export function percpu_ref_is_dying(ref: percpu_ref): boolean {
  return ref.dead
}

export function percpu_ref_is_zero(ref: percpu_ref): boolean {
  return ref.count === 0
}

/** Makes a killed reference live again, whatever its count. */
export function percpu_ref_resurrect(ref: percpu_ref): void {
  const t = enter(ref.k, 'percpu_ref_resurrect')
  BUG_ON(!ref.dead, 'percpu_ref_resurrect: it is alive')
  ref.dead = false
  ref.count++
  leave(ref.k, t)
}

/** Makes a killed reference live again after its count has come to 0. */
export function percpu_ref_reinit(ref: percpu_ref): void {
  const t = enter(ref.k, 'percpu_ref_reinit')
  BUG_ON(ref.count !== 0, 'percpu_ref_reinit: there are references left')
  percpu_ref_resurrect(ref)
  leave(ref.k, t)
}
