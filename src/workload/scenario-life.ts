// A null_blk disk is made and removed again, for phasebit trace: the `power` file of configfs, a page cache over the disk.
//
//   create    the disk was there, and has been switched off
//   destroy   it is switched off

import { nullb_device_power_store, type nullb_device } from '../drivers/block/null_blk-dev.js'
import { page_cache_init } from '../fs/page-cache.js'
import type { request_queue } from '../block/blkdev.js'
import type { Sleep } from '../kernel/core.js'
import type { Machine } from '../machine/booted.js'
import { PAGE_SIZE } from '../mm/mm.js'
import type { Story } from './scenario-laptop.js'
import type { NullBlkScenario } from './scenario-names.js'

const FRAMES = 8

/** Memory that a story takes of the machine. */
export function lifeBytes(): number {
  return (FRAMES + 1) * PAGE_SIZE
}

/** The tasks of the story on a booted machine with a kernel. */
export function lifeStory(machine: Machine, q: request_queue, s: NullBlkScenario): Story {
  const { blk, at, name, ops } = q
  page_cache_init(blk, { at: machine.alloc(FRAMES * PAGE_SIZE, PAGE_SIZE), count: FRAMES })
  const [submit_queues, hw_queue_depth] = [s.cpus, s.depth ?? 64]
  const dev: nullb_device = { blk, name, at, ops, submit_queues, hw_queue_depth, q, tag_set: null }
  const task = (on: boolean): { name: string; cpu: number; body: () => Sleep<void> } => ({
    name: 'init',
    cpu: s.cpus - 1,
    *body() {
      const error = yield* nullb_device_power_store(dev, on)
      if (error !== 0) throw new Error(`power=${Number(on)}: error ${error}`)
    },
  })
  const before = s.op === 'create' ? [task(false)] : [task(false), task(true)]
  return { before, tasks: [task(s.op === 'create')], restNs: 10e6 }
}
