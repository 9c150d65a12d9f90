// Traces of LightNVM and pblk against recordings of a real 4.19 kernel, by compare-trace.mjs; and the path of a write and a
// read from the top, name by name.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { traceFunctions } from '../../src/cli/trace.js'
import { traceJson } from '../../src/report/trace-json.js'
import { scenarioOf } from '../../src/workload/scenarios.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const recordings = readdirSync(join(here, 'traces'))
  .filter(file => file.startsWith('pblk'))
  .map(file => file.replace(/\.json$/, ''))

/**
 * What is below the usual. Timers of the instance, of requests and of the collector fall where they fell once. The drive of
 * `nvme-register` answers other features than ours. The removal pads a line in 2048 requests whose ends come in between as
 * the recorded drive was fast: only its functions are compared.
 */
const LOWER: Readonly<Record<string, { readonly order?: number; readonly events?: number }>> = {
  'pblk-create': { events: 0.75 },
  'pblk-flush': { order: 0.8, events: 0.6 },
  'pblk-read-from-buffer': { events: 0.5 },
  'pblk-read-from-device': { events: 0.5 },
  'pblk-nvme-register': { order: 0.65, events: 0.5 },
  'pblk-nvme-unregister': { order: 0.8, events: 0.6 },
  'pblk-remove': { order: 0.02, events: 0.03 },
}

interface Figures {
  readonly coverage: number
  readonly order: number
  readonly events: number
}

describe('pblk against a real kernel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phasebit-pblk-'))
  const known = join(folder, 'functions')

  beforeAll(() => writeFileSync(known, traceFunctions().join('\n')))
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each(recordings)('%s', async name => {
    const { config, records, drops } = await scenarioOf(name).run()
    expect(drops).toBe(0)
    const ours = join(folder, name)
    writeFileSync(ours, traceJson({ kernel: '4.19', scenario: name, config, notes: [] }, records))
    const args = ['compare-trace.mjs', `traces/${name}.json`, ours, '--functions', known]
    const text = execFileSync(process.execPath, args, { cwd: here, encoding: 'utf8' })
    const figures = JSON.parse(text) as Figures
    const { order = 0.9, events = 0.85 } = LOWER[name] ?? {}
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(0.9)
    expect(figures.order, 'order').toBeGreaterThanOrEqual(order)
    expect(figures.events, 'events').toBeGreaterThanOrEqual(events)
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
  const READ = ['blkdev_read_iter', 'submit_bio', 'generic_make_request', 'pblk_make_rq']

  test.each([
    ['lightnvm-write', [...WRITE, ...DOWN, 'pblk_end_io_write', 'pblk_rb_sync_advance']],
    ['lightnvm-read', [...READ, 'pblk_submit_read', ...DOWN, 'pblk_end_io_read', 'bio_endio']],
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

  test.each(['pblk-batchw', 'pblk-discard', 'pblk-write1-4cpu'])('%s runs', async name => {
    const { records } = await scenarioOf(name).run()
    expect(records.some(r => r.kind === 'enter' && r.name === 'pblk_make_rq')).toBe(true)
  })
})
