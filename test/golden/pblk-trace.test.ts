// Traces of LightNVM and pblk against recordings of a real 4.19 kernel, by compare-trace.mjs; and the path of a write and a
// read from the top, name by name.

import { describe, expect, test } from 'vitest'
import { scenarioOf } from '../../src/workload/scenarios.js'
import { comparison, type Figures, mean, recordingsOf } from './compare.js'

const recordings = recordingsOf('traces', 'pblk')

/**
 * What is below the usual. The recording of an unregistering folds two rounds of which only the second says its context:
 * unfolded, a request of the task stands among the interrupts.
 */
const LOWER: Readonly<Record<string, { readonly order?: number; readonly events?: number }>> = {
  'pblk-nvme-unregister': { order: 0.86 },
}

describe('pblk against a real kernel', () => {
  const compared = comparison()
  const seen: Figures[] = []

  test.each(recordings)('%s', async name => {
    const figures = await compared(name, `traces/${name}.json`)
    seen.push(figures)
    const { order = 0.9, events = 0.9 } = LOWER[name] ?? {}
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(0.97)
    expect(figures.order, 'order').toBeGreaterThanOrEqual(order)
    expect(figures.nesting, 'nesting').toBeGreaterThanOrEqual(0.9)
    expect(figures.events, 'events').toBeGreaterThanOrEqual(events)
  })

  test('on the average', () => {
    expect(seen.length).toBe(recordings.length)
    expect(mean(seen, 'order')).toBeGreaterThanOrEqual(0.955)
    expect(mean(seen, 'nesting')).toBeGreaterThanOrEqual(0.95)
    expect(mean(seen, 'events')).toBeGreaterThanOrEqual(0.95)
  })
})

describe('the way of an I/O from the top', () => {
  const WRITE = [
    'blkdev_write_iter',
    'submit_bio',
    'generic_make_request',
    'pblk_make_rq',
    'pblk_write_to_cache',
    'pblk_rb_may_write_user',
    'pblk_rb_write_entry_user',
    'pblk_write_should_kick',
    'bio_endio',
    'bio_alloc_bioset',
    'pblk_map_rq',
    'pblk_submit_io',
  ]
  const DOWN = [
    'nvm_submit_io',
    'nvme_nvm_submit_io',
    'blk_execute_rq_nowait',
    'blk_mq_sched_insert_request',
    'blk_mq_run_hw_queue',
    '__blk_mq_delay_run_hw_queue',
    '__blk_mq_run_hw_queue',
    'blk_mq_sched_dispatch_requests',
    'blk_mq_dispatch_rq_list',
    'nvme_queue_rq',
    'nvme_irq',
    'nvme_pci_complete_rq',
    'nvme_complete_rq',
    'nvme_nvm_end_io',
    'nvm_end_io',
  ]
  const RRPC = ['submit_bio', 'generic_make_request', 'rrpc_make_rq', 'rrpc_submit_io']
  const READ = ['blkdev_read_iter', 'submit_bio', 'generic_make_request', 'pblk_make_rq']

  test.each([
    ['lightnvm-write', [...WRITE, ...DOWN, 'pblk_end_io_write', 'pblk_rb_sync_advance']],
    ['lightnvm-read', [...READ, 'pblk_submit_read', ...DOWN, 'pblk_end_io_read', 'bio_endio']],
    [
      'rrpc-create',
      [
        'nvm_create_tgt',
        'rrpc_init',
        'rrpc_luns_init',
        'rrpc_map_init',
        'rrpc_blocks_init',
        'rrpc_luns_configure',
        'rrpc_capacity',
      ],
    ],
    [
      'rrpc-write1',
      [...RRPC, 'rrpc_map_page', ...DOWN, 'rrpc_end_io', 'rrpc_end_io_write', 'bio_endio'],
    ],
    ['rrpc-read1', [...RRPC, 'rrpc_read_ppalist_rq', ...DOWN, 'rrpc_end_io', 'bio_endio']],
    ['rrpc-locked', [...RRPC, 'rrpc_make_rq', 'rrpc_end_io', 'rrpc_requeue', 'rrpc_end_io_write']],
    ['rrpc-discard', ['rrpc_make_rq', 'rrpc_discard', 'rrpc_invalidate_range', 'bio_endio']],
    [
      'rrpc-gc',
      [
        'rrpc_gc_timer',
        'rrpc_gc_kick',
        'rrpc_lun_gc',
        'rrpc_block_gc',
        'rrpc_move_valid_pages',
        'nvm_submit_io_sync',
        'rrpc_put_blk',
      ],
    ],
    [
      'pblk-nvme-unregister',
      [
        ...['blk_cleanup_queue', 'blk_release_queue', '__blk_release_queue'],
        ...['blk_free_queue_rcu', 'blk_free_queue_rcu'],
      ],
    ],
    ['rrpc-remove', ['__nvm_remove_tgt', 'rrpc_exit', 'rrpc_free']],
    [
      'lightnvm-ioctl',
      [
        ...['blkdev_ioctl', 'nvme_ioctl', 'nvme_nvm_ioctl', 'nvme_nvm_user_vcmd'],
        ...['nvme_nvm_submit_user_cmd', 'nvme_alloc_request', 'blk_rq_map_user', 'blk_execute_rq'],
        ...['nvme_queue_rq', 'nvme_complete_rq', 'blk_rq_unmap_user', 'nvme_nvm_submit_vio'],
      ],
    ],
  ])('%s', async (name, path) => {
    const { records } = await scenarioOf(name).run()
    const names = records.filter(r => r.kind === 'enter').map(r => r.name)
    let at = -1
    for (const step of path) {
      const next = names.indexOf(step, at + 1)
      expect(next, step).toBeGreaterThan(at)
      at = next
    }
  })

  test.each([
    ['pblk-batchw', 32, 4],
    ['pblk-batchw8-4cpu', 8, 1],
    ['pblk-write1-4cpu', 1, 0],
    ['pblk-discard', 0, 0],
  ])('%s: %d writes go into the buffer, and %d units of it to the media', async (name, writes, units) => {
    const { records } = await scenarioOf(name).run()
    const count = (fn: string): number =>
      records.filter(r => r.kind === 'enter' && r.name === fn).length
    expect(['pblk_write_to_cache', 'pblk_rb_write_entry_user', 'nvme_queue_rq'].map(count)).toEqual([
      ...[writes, writes, units],
    ])
    expect(count('pblk_make_rq')).toBe(Math.max(1, writes))
  })

  const SCHEDULED: Readonly<Record<string, readonly string[]>> = {
    'mq-deadline': ['dd_insert_requests', 'dd_dispatch_request', 'nvme_queue_rq', 'dd_finish_request'],
    kyber: [
      ...['kyber_prepare_request', 'kyber_insert_requests', 'kyber_dispatch_request'],
      ...['nvme_queue_rq', 'kyber_completed_request', 'kyber_finish_request'],
    ],
    none: ['blk_mq_sched_insert_request', 'nvme_queue_rq'],
  }
  test.each(Object.keys(SCHEDULED))('vector commands go through the scheduler %s of the drive', async sched => {
    for (const story of ['lightnvm-write', 'lightnvm-read', 'pblk-create', 'pblk-flush']) {
      const { records } = await scenarioOf(`${story}-${sched}`).run()
      const names = records.filter(r => r.kind === 'enter').map(r => r.name)
      let at = -1
      for (const step of SCHEDULED[sched]!) {
        const next = names.indexOf(step, at + 1)
        expect(next, `${story}: ${step}`).toBeGreaterThan(at)
        at = next
      }
      const others = names.filter(name => /^(dd|kyber)_/.test(name)).length
      expect(others > 0).toBe(sched !== 'none')
    }
  })

  test('a scheduler stands behind no name whose drive is not there yet', () => {
    expect(() => scenarioOf('pblk-nvme-register-kyber')).toThrow('pblk-{create|')
    expect(() => scenarioOf('pblk-write1-bfq')).toThrow('pblk-{create|')
  })
})
