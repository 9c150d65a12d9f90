// NVMe over RDMA over emulated verbs, both ends in one kernel, in both eras.

import { describe, expect, it } from 'vitest'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { nvme_rdma_cleanup_module } from '../../../src/drivers/nvme/host/rdma.js'
import type { KernelEra } from '../../../src/drivers/nvme/host/era.js'
import { FabricRig, RDMA_TEXT } from './fabric-rig.js'

function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 11 + seed * 17 + (i >> 8)) & 0xff)
}

describe.each<KernelEra>(['4.19', '4.9'])('%s', era => {
  it('connects, moves data, is reset, and goes', () => {
    const rig = new FabricRig({ era })
    const ctrl = rig.connect(RDMA_TEXT)
    expect(ctrl.state).toBe('LIVE')
    const ns = rig.ns(ctrl)
    for (const [i, bytes] of [512, 4096, 8192, 131072].entries()) {
      const data = pattern(bytes, i)
      expect(rig.run(() => rig.write(ns, i * 2 ** 18, data))).toBe(0)
      const back = rig.run(() => rig.read(ns, i * 2 ** 18, bytes))
      expect(Buffer.compare(back as Uint8Array, data)).toBe(0)
    }
    expect(rig.run(() => rig.flush(ns))).toBe(0)
    expect(nvme_reset_ctrl(ctrl)).toBe(0)
    rig.pass(3)
    expect(ctrl.state).toBe('LIVE')
    expect(rig.run(() => rig.read(ns, 0, 512))).toEqual(pattern(512, 0))
    rig.run(() => nvme_rdma_cleanup_module(rig.rdma))
    rig.pass(1)
    expect(rig.nvme.ctrls).toEqual([])
    expect(rig.subsys.ctrls).toEqual([])
    expect(rig.rdma_port.queues.size).toBe(0)
    expect(rig.machine.books().balanced).toBe(true)
  })

  it('nvme-fabrics 16.17, nvme-fabrics 16.18: a lost connection comes back after reconnect_delay', () => {
    const rig = new FabricRig({ era })
    const ctrl = rig.connect(RDMA_TEXT)
    const ns = rig.ns(ctrl)
    rig.rdma_port.remove()
    rig.pass(1)
    expect(ctrl.state).toBe(era === '4.9' ? 'RECONNECTING' : 'CONNECTING')
    let status = -1
    rig.machine.host!.k.spawn('io', function* () {
      status = yield* rig.write(ns, 0, pattern(4096, 5))
    })
    rig.pass(35)
    expect(status).toBe(-1)
    rig.rdma_port.listen()
    rig.pass(12)
    expect(ctrl.state).toBe('LIVE')
    expect(status).toBe(0)
    rig.verbs.cut()
    rig.pass(15)
    expect(ctrl.state).toBe('LIVE')
  })
})

it('nvme-fabrics 16.1: attempts are counted in 4.19, and never end in 4.9', () => {
  const text = `${RDMA_TEXT},ctrl_loss_tmo=25,reconnect_delay=10`
  const states = (['4.19', '4.9'] as const).map(era => {
    const rig = new FabricRig({ era })
    const ctrl = rig.connect(text)
    rig.rdma_port.remove()
    rig.pass(200)
    return [ctrl.state, rig.nvme.ctrls.length]
  })
  expect(states).toEqual([
    ['DELETING', 0],
    ['RECONNECTING', 1],
  ])
})
