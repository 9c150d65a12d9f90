// Works and timers of fabrics, by the rows of the sheet: which queue a work goes to, what stops it, which timer begins it.

import { describe, expect, it } from 'vitest'
import { scenarioOf } from '../../../src/workload/scenarios.js'

interface Story {
  /** Works as function@workqueue. */
  readonly queued: ReadonlySet<string>
  /** Jiffies (of 4 ms) of the timers of delayed works. */
  readonly delays: ReadonlySet<number>
  readonly entered: ReadonlySet<string>
}

const told = new Map<string, Promise<Story>>()

async function tell(name: string): Promise<Story> {
  const { records } = await scenarioOf(name).run()
  const of = (event: string) => records.filter(one => one.name === event).map(one => one.fields)
  return {
    queued: new Set(
      of('workqueue_queue_work').map(
        one => `${String(one['function'])}@${String(one['workqueue'])}`,
      ),
    ),
    delays: new Set(
      of('timer_start')
        .filter(one => one['function'] === 'delayed_work_timer_fn')
        .map(one => Number(one['timeout_jiffies'])),
    ),
    entered: new Set(records.filter(one => one.kind === 'enter').map(one => one.name)),
  }
}

function story(name: string): Promise<Story> {
  if (!told.has(name)) told.set(name, tell(name))
  return told.get(name)!
}

describe('workqueue-timers 12: works', () => {
  it.each([
    ['reset_work', 'nvmerdma-reset', 'nvme_rdma_reset_ctrl_work@nvme-reset-wq'],
    ['reset_work', 'nvmefc-reset', 'nvme_fc_reset_ctrl_work@nvme-reset-wq'],
    ['reset_work', 'nvmetcp-reset', 'nvme_reset_ctrl_work@nvme-reset-wq'],
    ['reset_work', 'nvmeloop-reset', 'nvme_loop_reset_ctrl_work@nvme-reset-wq'],
    ['reset_work, 4.9', 'nvmerdma-reset-4.9', 'nvme_rdma_reset_ctrl_work@nvme_rdma_wq'],
    ['scan_work', 'nvmerdma-connect', 'nvme_scan_work@nvme-wq'],
    ['async_event_work', 'nvmerdma-connect', 'nvme_async_event_work@nvme-wq'],
    ['scan_work, 4.9', 'nvmerdma-connect-4.9', 'nvme_scan_work@events'],
    ['ka_work', 'nvmerdma-keepalive', 'nvme_keep_alive_work@events'],
    ['delete_work', 'nvmerdma-disconnect', 'nvme_delete_ctrl_work@nvme-delete-wq'],
    ['delete_work, 4.9', 'nvmerdma-disconnect-4.9', 'nvme_rdma_del_ctrl_work@nvme_rdma_wq'],
    ['delete_work, 4.10', 'nvmefc-disconnect-4.9', 'nvme_fc_del_ctrl_work@nvme_fc_wq'],
    ['err_work', 'nvmerdma-link-lost', 'nvme_rdma_error_recovery_work@nvme-wq'],
    ['err_work, TCP', 'nvmetcp-link-lost', 'nvme_tcp_error_recovery_work@nvme-reset-wq'],
    ['reconnect_work', 'nvmerdma-link-lost', 'nvme_rdma_reconnect_ctrl_work@nvme-wq'],
    ['connect_work', 'nvmefc-connect', 'nvme_fc_connect_ctrl_work@nvme-wq'],
    ['timeout_work', 'nvmerdma-keepalive', 'blk_mq_timeout_work@kblockd'],
    ['run_work', 'nvmerdma-connect', 'blk_mq_run_work_fn@kblockd'],
    ['io_work', 'nvmetcp-read', 'nvme_tcp_io_work@nvme_tcp_wq'],
    ['io_work of the target', 'nvmetcp-read', 'nvmet_tcp_io_work@nvmet_tcp_wq'],
  ])('%s: in %s, %s', async (_, name, work) => {
    expect((await story(name)).queued).toContain(work)
  })

  it('err_work is queued once, though each work request that is flushed asks for it', async () => {
    const { records } = await scenarioOf('nvmerdma-link-lost').run()
    const queued = records.filter(
      one =>
        one.name === 'workqueue_queue_work' &&
        one.fields['function'] === 'nvme_rdma_error_recovery_work',
    )
    expect(queued).toHaveLength(1)
    expect(records.filter(one => one.name === 'nvme_rdma_wr_error').length).toBeGreaterThan(1)
  })

  it('what ends a controller stops its works', async () => {
    const { entered } = await story('nvmerdma-disconnect')
    for (const name of ['flush_work', 'cancel_work_sync', 'cancel_delayed_work_sync'])
      expect(entered).toContain(name)
  })
})

describe('workqueue-timers 13: timers', () => {
  it.each([
    ['ka_work: 5 s', 'nvmerdma-keepalive', 1250],
    ['the target’s keep-alive: 15 s', 'nvmerdma-keepalive', 3750],
    ['reconnect: a second, as asked for', 'nvmerdma-link-lost', 250],
  ])('%s', async (_, name, jiffies) => {
    expect((await story(name)).delays).toContain(jiffies)
  })
})
