// A queue pair's memory regions, free and taken: drivers/infiniband/core/mr_pool.c of Linux 4.19.
//
// A request that was cancelled may complete on another CPU when its queue pair is gone: 4.19 does not wait for it (5.4 does),
// and puts the region into a list that is no more. Here such a region goes by itself.

import { ENOMEM } from '../../kernel/errno.js'
import type { ib_mr, ib_pd } from './verbs.js'

export class ib_mr_pool {
  readonly free: ib_mr[] = []
  used = 0
  gone = false
}

/** @returns 0 or -ENOMEM, with nothing allocated */
export function ib_mr_pool_init(
  pool: ib_mr_pool,
  pd: ib_pd,
  count: number,
  max_num_sg: number,
): number {
  for (let n = 0; n < count; n++) {
    const mr = pd.ib_alloc_mr(max_num_sg)
    if (mr === null) {
      ib_mr_pool_destroy(pool)
      return -ENOMEM
    }
    pool.free.push(mr)
  }
  return 0
}

export function ib_mr_pool_get(pool: ib_mr_pool): ib_mr | null {
  const mr = pool.free.pop() ?? null
  if (mr !== null) pool.used++
  return mr
}

export function ib_mr_pool_put(pool: ib_mr_pool, mr: ib_mr): void {
  pool.used--
  if (pool.gone) mr.ib_dereg_mr()
  else pool.free.push(mr)
}

export function ib_mr_pool_destroy(pool: ib_mr_pool): void {
  pool.gone = true
  for (const mr of pool.free.splice(0)) mr.ib_dereg_mr()
}
