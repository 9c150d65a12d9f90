// What a work costs: queued, run by a worker, done; and a delayed one with its timer. Workqueues are TypeScript themselves: there
// is no twin.

import { Kernel } from '../../src/kernel/kernel.js'
import { alloc_workqueue, WQ_MEM_RECLAIM, WQ_UNBOUND } from '../../src/kernel/workqueue.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  mod_delayed_work,
  queue_work,
} from '../../src/kernel/workqueue.js'
import { delayed_work, work_struct } from '../../src/kernel/workqueue-structs.js'
import type { Size } from '../cell.js'
import { type Micro, opsOf } from './micro.js'

class Bed {
  ns = 0
  done = 0
  readonly k: Kernel = new Kernel({ hz: 250, now: () => this.ns })

  run(flags: number, ops: number): void {
    const wq = alloc_workqueue(this.k, 'bench', flags, 0)
    if (wq === null) throw new Error('the workqueue could not be made')
    const work = new work_struct<Bed>(this.k, this)
    // biome-ignore lint/correctness/useYield: a work that need not sleep
    INIT_WORK(work, function* () {
      work.container.done++
    })
    for (let i = 0; i < ops; i++) {
      queue_work(wq, work)
      while (this.k.runReady(64));
    }
    this.#check(ops)
  }

  delayed(ops: number): void {
    const wq = alloc_workqueue(this.k, 'bench', WQ_MEM_RECLAIM, 0)
    if (wq === null) throw new Error('the workqueue could not be made')
    const dwork = new delayed_work<Bed>(this.k, this)
    // biome-ignore lint/correctness/useYield: a work that need not sleep
    INIT_DELAYED_WORK(dwork, function* () {
      dwork.work.container.done++
    })
    for (let i = 0; i < ops; i++) {
      mod_delayed_work(wq, dwork, 1)
      this.ns += 8_000_000
      this.k.advance()
      while (this.k.runReady(64));
    }
    this.#check(ops)
  }

  #check(ops: number): void {
    if (this.done !== ops) throw new Error(`${this.done} of ${ops} works were done`)
    this.done = 0
  }
}

export function workqueueMicros(size: Size): Micro[] {
  const ops = opsOf(size) / 10
  const row = (name: string, run: (bed: Bed) => void): Micro => ({
    name: `workqueue: ${name}`,
    ops,
    run: () => run(new Bed()),
  })
  return [
    row('bound, queued and done', bed => bed.run(WQ_MEM_RECLAIM, ops)),
    row('unbound, queued and done', bed => bed.run(WQ_UNBOUND | WQ_MEM_RECLAIM, ops)),
    row('delayed by a tick', bed => bed.delayed(ops)),
  ]
}
