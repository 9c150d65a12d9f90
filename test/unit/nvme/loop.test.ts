// nvme-loop: host and target in one kernel, in virtual time.

import { expect, it } from 'vitest'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { FabricRig, LOOP_TEXT } from './fabric-rig.js'

it('connects, reads what was written, is reset, and goes', () => {
  const rig = new FabricRig()
  const ctrl = rig.connect(LOOP_TEXT)
  expect(ctrl.state).toBe('LIVE')
  const ns = rig.ns(ctrl)
  const data = Uint8Array.from({ length: 65536 }, (_, i) => i * 13 + (i >> 8))
  expect(rig.run(() => rig.write(ns, 8192, data))).toBe(0)
  expect(Buffer.compare(rig.run(() => rig.read(ns, 8192, 65536)) as Uint8Array, data)).toBe(0)
  expect(rig.run(() => rig.flush(ns))).toBe(0)
  expect(nvme_reset_ctrl(ctrl)).toBe(0)
  rig.pass(1)
  expect(ctrl.state).toBe('LIVE')
  expect(Buffer.compare(rig.run(() => rig.read(ns, 8192, 65536)) as Uint8Array, data)).toBe(0)
  rig.pass(60)
  expect(ctrl.state).toBe('LIVE')
  rig.disconnect(ctrl)
  expect(rig.nvme.ctrls).toEqual([])
  expect(rig.subsys.ctrls).toEqual([])
  expect(rig.machine.books().balanced).toBe(true)
})
