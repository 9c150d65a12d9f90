// The scheduler that does nothing but keep the order: block/noop-iosched.c of Linux 4.19, of single queues.
//
// Requests leave as they came; a bio that continues one of them joins it.

import { rq_end_sector, rq_mergeable } from './blk-merge.js'
import type { rq_list } from './blkdev.js'
import type { View } from '../core/view.js'
import { enter, leave, type TraceHost } from '../kernel/trace.js'
import type { sq_elevator } from './sq.js'

/** A new scheduler, empty. */
export function noop_init_queue(k: TraceHost, view: View): sq_elevator {
  const t = enter(k, 'noop_init_queue')
  const queue: rq_list = []
  return leave(k, t, {
    name: 'noop',
    add(rq) {
      const a = enter(k, 'noop_add_request')
      queue.push(rq)
      leave(k, a)
    },
    dispatch(to) {
      const d = enter(k, 'noop_dispatch')
      const rq = queue.shift()
      if (rq !== undefined) to(rq)
      return leave(k, d, rq !== undefined)
    },
    merge: sector =>
      queue.find(rq => rq_end_sector(view, rq) === sector && rq_mergeable(view, rq)) ?? 0,
    get size() {
      return queue.length
    },
  })
}
