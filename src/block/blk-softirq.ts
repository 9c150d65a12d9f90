// Completion of requests in a softirq: block/blk-softirq.c of Linux 4.19, of single queues.
//
//   blk_complete_request    once; onto the done list of a CPU, whose softirq is raised when the list was empty
//   blk_done_softirq        the driver's softirq_done_fn for each of the list

import { cpuhp_setup_state } from '../kernel/cpu.js'
import type { Kernel } from '../kernel/kernel.js'
import { BLOCK_SOFTIRQ, open_softirq, raise_softirq_irqoff } from '../kernel/softirq.js'
import { enter, leave } from '../kernel/trace.js'
import { blk_mark_rq_complete } from './blk-timeout-sq.js'
import type { sq_queue } from './sq.js'

/** Requests that are complete, by CPU. */
const lists = new WeakMap<Kernel, { q: sq_queue; rq: number }[][]>()

/** Boot: the softirq. */
export function blk_softirq_init(k: Kernel): void {
  if (lists.has(k)) return
  lists.set(
    k,
    k.cpus.map(() => []),
  )
  cpuhp_setup_state(k, { name: 'block/softirq:dead', dead: cpu => blk_softirq_cpu_dead(k, cpu) })
  open_softirq(k, BLOCK_SOFTIRQ, () => blk_done_softirq(k))
}

/** What was complete on a CPU that is gone ends on this one. */
function blk_softirq_cpu_dead(k: Kernel, cpu: number): void {
  const t = enter(k, 'blk_softirq_cpu_dead')
  lists.get(k)![k.cpu.id]!.push(...lists.get(k)![cpu]!.splice(0))
  raise_softirq_irqoff(k, BLOCK_SOFTIRQ)
  leave(k, t)
}

function blk_done_softirq(k: Kernel): void {
  const t = enter(k, 'blk_done_softirq')
  for (const { q, rq } of lists.get(k)![k.cpu.id]!.splice(0)) q.driver.softirq_done_fn(q, rq)
  leave(k, t)
}

/** The request is complete; nobody else may say so any more. */
export function __blk_complete_request(q: sq_queue, rq: number): void {
  const { k } = q.blk
  const t = enter(k, '__blk_complete_request')
  const list = lists.get(k)![k.cpu.id]!
  list.push({ q, rq })
  if (list.length === 1) raise_softirq_irqoff(k, BLOCK_SOFTIRQ)
  leave(k, t)
}

export function blk_complete_request(q: sq_queue, rq: number): void {
  const { k } = q.blk
  const t = enter(k, 'blk_complete_request')
  if (blk_mark_rq_complete(q, rq)) __blk_complete_request(q, rq)
  leave(k, t)
}
