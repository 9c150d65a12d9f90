// Traces of the NVMe PCIe driver against recordings of a real 4.19 kernel, by compare-trace.mjs; and the order of 4.9, for
// which there are no recordings, against what its source text says.

import { describe, expect, test } from 'vitest'
import { NVME_SCENARIOS, parseNvmeScenario } from '../../src/workload/scenario-nvme.js'
import { scenarioOf } from '../../src/workload/scenarios.js'
import { comparison, type Figures, mean, recordingsOf } from './compare.js'

const recordings = recordingsOf('traces', 'nvmepci')

describe('the PCIe driver against a real kernel', () => {
  const compared = comparison()
  const seen: Figures[] = []

  test.each(recordings)('%s', async name => {
    const figures = await compared(name, `traces/${name}.json`)
    seen.push(figures)
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(0.9)
    for (const figure of ['order', 'nesting', 'events'] as const)
      expect(figures[figure], figure).toBeGreaterThanOrEqual(0.85)
  })

  test('on the average', () => {
    expect(seen.length).toBe(recordings.length)
    expect(mean(seen, 'coverage')).toBeGreaterThanOrEqual(0.99)
    expect(mean(seen, 'order')).toBeGreaterThanOrEqual(0.95)
    expect(mean(seen, 'nesting')).toBeGreaterThanOrEqual(0.96)
    expect(mean(seen, 'events')).toBeGreaterThanOrEqual(0.93)
  })
})

describe('4.9', () => {
  test('nvmepci-probe: the stages of the reset, in their order', async () => {
    const { records } = await scenarioOf('nvmepci-probe-4.9').run()
    const names = records.filter(r => r.kind === 'enter').map(r => r.name)
    const stages = [
      'nvme_probe',
      'nvme_reset_work',
      'nvme_pci_enable',
      'nvme_configure_admin_queue',
      'nvme_init_queue',
      'nvme_alloc_admin_tags',
      'blk_mq_alloc_tag_set',
      'blk_mq_init_queue',
      'nvme_admin_init_hctx',
      'blk_get_queue',
      'nvme_init_identify',
      'nvme_setup_io_queues',
      'nvme_start_queues',
      'nvme_dev_add',
      'nvme_queue_scan',
      'nvme_scan_work',
    ]
    let at = -1
    for (const name of stages) {
      const next = names.indexOf(name, at + 1)
      expect(next, name).toBeGreaterThan(at)
      at = next
    }
  })

  test('nvmepci-reset: nvme_reset asks by the work, the queue runs again when it was stopped', async () => {
    const { records } = await scenarioOf('nvmepci-reset-4.9').run()
    const names = records.filter(r => r.kind === 'enter').map(r => r.name)
    expect(names).toContain('nvme_reset')
    expect(names).not.toContain('nvme_start_freeze')
    expect(names).toContain('blk_mq_start_stopped_hw_queues')
  })

  test('every listed name is a scenario', () => {
    for (const name of NVME_SCENARIOS) expect(parseNvmeScenario(name)?.name).toBe(name)
  })
})
