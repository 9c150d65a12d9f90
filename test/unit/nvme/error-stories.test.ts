// Every story of an error, by its trace: which states the controller goes through, and what Linux's functions do about it.

import { describe, expect, it } from 'vitest'
import { ERROR_STORIES, hasErrorStory } from '../../../src/workload/scenario-fabric-errors.js'
import { scenarioOf } from '../../../src/workload/scenarios.js'
import type { TraceRecord } from '../../../src/report/trace-json.js'

/**
 * Where a story ends: the last states that the controller took, of those that are seen (what asks for a reset or a deletion
 * changes the state unseen); none: not looked at.
 */
const ENDS: Readonly<Record<string, readonly string[]>> = {
  'link-lost': ['CONNECTING', 'LIVE'],
  refused: [],
  'half-open': ['CONNECTING', 'LIVE'],
  'keepalive-expiry': ['CONNECTING', 'LIVE'],
  'digest-error': ['RESETTING', 'CONNECTING', 'LIVE'],
  'wrong-key': ['RESETTING', 'CONNECTING', 'LIVE'],
  'kept-key': [],
  'delete-while-reconnecting': ['CONNECTING'],
  'reset-while-reconnecting': ['CONNECTING', 'LIVE'],
  'delete-while-resetting': [],
  'reconnect-limit': ['CONNECTING'],
  'reset-limit': ['CONNECTING'],
}

/** Functions that a story must have entered, whatever the transport; -: must not. */
const ENTERED: Readonly<Record<string, readonly string[]>> = {
  'link-lost': ['nvme_start_ctrl'],
  refused: ['-nvme_start_ctrl'],
  'half-open': ['nvme_keep_alive_end_io', 'nvmet_ctrl_fatal_error', 'nvme_start_ctrl'],
  'keepalive-expiry': ['nvmet_keep_alive_timer', 'nvmet_ctrl_fatal_error', 'nvme_start_ctrl'],
  'digest-error': ['nvme_tcp_error_recovery_work', 'nvme_start_ctrl', 'blkdev_bio_end_io_simple'],
  'wrong-key': ['nvme_rdma_qp_event', 'nvme_rdma_wr_error', 'nvme_start_ctrl'],
  'kept-key': ['nvme_rdma_inv_rkey_done', '-nvme_rdma_wr_error'],
  'delete-while-reconnecting': ['nvme_delete_ctrl_work', 'nvme_free_ctrl', '-nvme_start_ctrl'],
  'reset-while-reconnecting': ['nvme_reset_ctrl', 'nvme_start_ctrl'],
  'delete-while-resetting': ['nvme_delete_ctrl_work', 'nvme_free_ctrl', '-nvme_start_ctrl'],
  'reconnect-limit': ['nvmf_should_reconnect', 'nvme_delete_ctrl_work', 'nvme_free_ctrl'],
  'reset-limit': ['nvmf_should_reconnect', 'nvme_delete_ctrl_work', 'nvme_free_ctrl'],
}

/** States that the controller took, in their order; those of a connection in NEW are left out. */
function states(records: readonly TraceRecord[]): string[] {
  const taken: string[] = []
  let asked = ''
  for (const { name, fields } of records) {
    if (name === 'nvme_ctrl_state') asked = String(fields['asked'])
    if (name === 'nvme_ctrl_state_result' && fields['changed'] === true) taken.push(asked)
  }
  return taken
}

describe.each(['tcp', 'rdma', 'fc'])('errors over %s', transport => {
  it.each(ERROR_STORIES.filter(story => hasErrorStory(transport, story)))('%s', async story => {
    const { records, drops } = await scenarioOf(`nvme${transport}-${story}`).run()
    expect(drops).toBe(0)
    const end = ENDS[story]!
    expect(
      states(records)
        .slice(-end.length || records.length)
        .slice(0, end.length),
    ).toEqual(end)
    const names = new Set(records.filter(one => one.kind === 'enter').map(one => one.name))
    for (const wanted of ENTERED[story]!) {
      if (wanted.startsWith('-')) expect(names).not.toContain(wanted.slice(1))
      else expect(names).toContain(wanted)
    }
  })
})

describe('keep-alive', () => {
  it.each(['loop', 'rdma', 'fc', 'tcp'])(
    'goes to the target over %s, and its end begins the next period',
    async transport => {
      const { records } = await scenarioOf(`nvme${transport}-keepalive`).run()
      const entered = records.filter(one => one.kind === 'enter').map(one => one.name)
      const steps = [
        'nvme_keep_alive_work',
        'nvmet_execute_keep_alive',
        'nvme_complete_rq',
        'nvme_keep_alive_end_io',
        'blk_mq_free_request',
        'queue_delayed_work_on',
      ]
      const places = steps.map((name, i) =>
        entered.indexOf(name, i === 0 ? 0 : entered.indexOf(steps[i - 1]!)),
      )
      expect(places).not.toContain(-1)
      expect(places).toEqual(places.toSorted((a, b) => a - b))
    },
  )

  it('a target over FC that goes and comes back is connected to again', async () => {
    const { records } = await scenarioOf('nvmefc-target-lost-reconnect').run()
    expect(states(records).slice(-2)).toEqual(['CONNECTING', 'LIVE'])
  })
})
