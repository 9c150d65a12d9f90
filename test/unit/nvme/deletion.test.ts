// Deletions that come while a fabrics controller is being reset, or after a reset that never succeeds: I/O that waits on
// stopped queues must end, and the controller go.

import { describe, expect, it } from 'vitest'
import { BLK_STS_IOERR } from '../../../assembly/nvme.js'
import { nvme_delete_ctrl, nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import type { nvme_ctrl } from '../../../src/drivers/nvme/host/nvme.js'
import { FC_TEXT, FabricRig, RDMA_TEXT, TCP_TEXT } from './fabric-rig.js'

/** Writes one block; the statuses of those that have ended are in the list. */
function write(rig: FabricRig, ctrl: nvme_ctrl, ended: number[]): void {
  const ns = rig.ns(ctrl)
  rig.machine.host!.k.spawn('io', function* () {
    ended.push(yield* rig.write(ns, 0, new Uint8Array(4096).fill(7)))
  })
}

function expectGone(rig: FabricRig): void {
  expect(rig.nvme.ctrls).toEqual([])
  expect(rig.subsys.ctrls).toEqual([])
  expect(rig.pool.used).toBe(0)
  const { balanced, problems } = rig.machine.books()
  expect(problems).toEqual([])
  expect(balanced).toBe(true)
}

describe('a deletion', () => {
  it('while a reset waits for an answer that does not come (fabrics seed 6127)', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect()
    const ended: number[] = []
    rig.network.cut()
    write(rig, ctrl, ended)
    rig.pass(0.1)
    expect(nvme_reset_ctrl(ctrl)).toBe(0)
    rig.pass(0.1)
    expect(nvme_delete_ctrl(ctrl)).toBe(0)
    rig.pass(70)
    expect(ended).toEqual([BLK_STS_IOERR])
    rig.pass(60)
    expectGone(rig)
  })

  it.each([
    ['tcp', TCP_TEXT],
    ['rdma', RDMA_TEXT],
  ])('after a reset that finds nobody any more, and attempts in vain, over %s', (_, text) => {
    const rig = new FabricRig()
    const ctrl = rig.connect(`${text},reconnect_delay=1,ctrl_loss_tmo=3`)
    const ended: number[] = []
    expect(nvme_reset_ctrl(ctrl)).toBe(0)
    rig.lose()
    rig.pass(1)
    write(rig, ctrl, ended)
    rig.pass(59)
    expect(ended).toEqual([])
    rig.pass(20)
    expect(ended).toEqual([BLK_STS_IOERR])
    rig.back()
    rig.pass(30)
    expectGone(rig)
  })
  it('with I/O on a silent FC link: it ends when its time is over (fabrics seed 26701)', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(FC_TEXT)
    const ended: number[] = []
    rig.link.silent = true
    write(rig, ctrl, ended)
    rig.pass(0.1)
    expect(nvme_delete_ctrl(ctrl)).toBe(0)
    rig.pass(20)
    expect(ended).toEqual([])
    rig.link.silent = false
    rig.pass(30)
    expect(ended).toEqual([BLK_STS_IOERR])
    rig.pass(30)
    expectGone(rig)
  })
})
