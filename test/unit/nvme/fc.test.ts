// NVMe over Fibre Channel over fcloop, both ends in one kernel, in both eras.

import { describe, expect, it } from 'vitest'
import { nvme_delete_ctrl, nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import type { KernelEra } from '../../../src/drivers/nvme/host/era.js'
import { nvmf_dev_write } from '../../../src/drivers/nvme/host/fabrics.js'
import { nvme_fc_exit_module } from '../../../src/drivers/nvme/host/fc.js'
import {
  nvme_fc_register_localport,
  nvme_fc_register_remoteport,
  nvme_fc_set_remoteport_devloss,
} from '../../../src/drivers/nvme/host/fc-ports.js'
import {
  fcloop_create_local_port,
  fcloop_create_remote_port,
  fcloop_delete_local_port,
  fcloop_delete_remote_port,
} from '../../../src/drivers/nvme/target/fcloop.js'
import { FC_REMOTE, FC_TARGET, FC_TEXT, FabricRig } from './fabric-rig.js'

function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 13 + seed * 19 + (i >> 8)) & 0xff)
}

function lose(rig: FabricRig): void {
  expect(fcloop_delete_remote_port(rig.link, FC_TARGET)).toBe(0)
}

function find(rig: FabricRig): void {
  expect(fcloop_create_remote_port(rig.link, FC_REMOTE)).toBeTypeOf('object')
}

/** Nothing of a controller is left, on either side. */
function gone(rig: FabricRig): void {
  expect(rig.nvme.ctrls.length).toBe(0)
  expect(rig.fc.ctrls.length).toBe(0)
  rig.pass(30)
  expect(rig.subsys.ctrls.length).toBe(0)
  expect(rig.fc_port.assocs.size).toBe(0)
  expect(rig.link.busy.size).toBe(0)
  expect(rig.machine.books().balanced).toBe(true)
}

describe.each<KernelEra>(['4.19', '4.9'])('%s', era => {
  it('connects, moves data, and goes', () => {
    const rig = new FabricRig({ era })
    const ctrl = rig.connect(FC_TEXT)
    expect(ctrl.state).toBe('LIVE')
    expect([ctrl.ioccsz, ctrl.iorcsz]).toEqual([4, 1])
    const ns = rig.ns(ctrl)
    for (const [i, bytes] of [512, 4096, 8192, 131072].entries()) {
      const data = pattern(bytes, i)
      expect(rig.run(() => rig.write(ns, i * 2 ** 18, data))).toBe(0)
      const back = rig.run(() => rig.read(ns, i * 2 ** 18, bytes))
      expect(Buffer.compare(back as Uint8Array, data)).toBe(0)
    }
    expect(rig.run(() => rig.flush(ns))).toBe(0)
    expect(rig.fc.del(ctrl)).toBe(0)
    rig.pass(1)
    gone(rig)
  })
})

describe('4.19', () => {
  it('is reset, with I/O under way', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(FC_TEXT)
    const ns = rig.ns(ctrl)
    let status = -1
    rig.machine.host!.k.spawn('io', function* () {
      status = yield* rig.write(ns, 4096, pattern(8192, 3))
    })
    expect(nvme_reset_ctrl(ctrl)).toBe(0)
    rig.pass(5)
    expect(ctrl.state).toBe('LIVE')
    expect(status).toBe(0)
    expect(rig.run(() => rig.read(ns, 4096, 8192))).toEqual(pattern(8192, 3))
    expect(rig.fc_port.assocs.size).toBe(1)
    rig.disconnect(ctrl)
    gone(rig)
  })

  it('a lost remote port that comes back within dev_loss_tmo: its controllers go on at once', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(FC_TEXT)
    const ns = rig.ns(ctrl)
    lose(rig)
    rig.pass(25)
    expect(ctrl.state).toBe('CONNECTING')
    let status = -1
    rig.machine.host!.k.spawn('io', function* () {
      status = yield* rig.write(ns, 0, pattern(4096, 5))
    })
    rig.pass(20)
    expect(status).toBe(-1)
    find(rig)
    rig.pass(1)
    expect(ctrl.state).toBe('LIVE')
    expect(status).toBe(0)
    expect(rig.run(() => rig.read(ns, 0, 4096))).toEqual(pattern(4096, 5))
    rig.disconnect(ctrl)
    gone(rig)
  })

  it('dev_loss_tmo is over: the controller is deleted, and what waited fails', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(FC_TEXT)
    const ns = rig.ns(ctrl)
    const before = rig.now
    lose(rig)
    let status = -1
    rig.machine.host!.k.spawn('io', function* () {
      status = yield* rig.write(ns, 0, pattern(4096, 5))
    })
    while (rig.nvme.ctrls.length > 0 && rig.now < before + 100e9) rig.pass(1)
    const seconds = (rig.now - before) / 1e9
    expect(seconds).toBeGreaterThan(59)
    expect(seconds).toBeLessThan(63)
    expect(status).not.toBe(0)
    gone(rig)
    expect(rig.run(() => nvmf_dev_write(rig.f, FC_TEXT))).toBe(-2)
    find(rig)
    expect(rig.connect(FC_TEXT).state).toBe('LIVE')
  })

  it('dev_loss_tmo 0: the controller is deleted at once', () => {
    const rig = new FabricRig()
    rig.connect(FC_TEXT)
    expect(nvme_fc_set_remoteport_devloss(rig.fc.lports[0]!.rports[0]!, 0)).toBe(0)
    lose(rig)
    rig.pass(1)
    gone(rig)
  })

  it('nvme-fabrics 16.1: attempts are used up before dev_loss_tmo is over', () => {
    const rig = new FabricRig()
    rig.connect(`${FC_TEXT},reconnect_delay=5,ctrl_loss_tmo=20`)
    lose(rig)
    rig.pass(30)
    gone(rig)
  })

  it('is deleted while it is reconnecting', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(FC_TEXT)
    lose(rig)
    rig.pass(12)
    expect(ctrl.state).toBe('CONNECTING')
    expect(nvme_delete_ctrl(ctrl)).toBe(0)
    rig.pass(1)
    gone(rig)
  })

  it('a target that gave the controller up is found out by the next command', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(FC_TEXT)
    const [theirs] = rig.subsys.ctrls
    theirs!.ops.delete_ctrl(theirs!)
    rig.pass(20)
    expect(ctrl.state).toBe('LIVE')
    expect(rig.subsys.ctrls.length).toBe(1)
    expect(rig.subsys.ctrls[0]!.cntlid === theirs!.cntlid && rig.subsys.ctrls[0] === theirs).toBe(
      false,
    )
    expect(rig.run(() => rig.write(rig.ns(ctrl), 0, pattern(512, 1)))).toBe(0)
  })

  it('no port of these names, no names, twice: refused', () => {
    const rig = new FabricRig()
    const connect = (text: string): unknown => rig.run(() => nvmf_dev_write(rig.f, text))
    expect(connect(FC_TEXT.replace('pn-0x20000000000000aa', 'pn-0x20000000000000cc'))).toBe(-2)
    expect(connect(FC_TEXT.replace('nn-0x10000000000000aa', 'nn-0x1'))).toBe(-22)
    expect(connect(FC_TEXT.replace(/host_traddr=[^,]*,/, ''))).toBe(-22)
    rig.connect(FC_TEXT)
    expect(connect(FC_TEXT)).toBe(-114)
  })
})

describe('4.9', () => {
  it('has no reset, and a lost port deletes its controllers', () => {
    const rig = new FabricRig({ era: '4.9' })
    const ctrl = rig.connect(FC_TEXT)
    expect(nvme_reset_ctrl(ctrl)).toBe(-5)
    lose(rig)
    rig.pass(1)
    gone(rig)
  })
})

describe('ports that come and go', () => {
  const LOCAL = 'wwnn=0x10000000000000bb,wwpn=0x20000000000000bb'

  it('registrations that are refused', () => {
    const rig = new FabricRig()
    const { lports } = rig.fc
    const { k } = rig.nvme
    const [lport] = lports
    const { template, nn, pn, dev } = lport!
    const register = (
      change: Partial<typeof template>,
      port: Partial<Pick<typeof lport & object, 'nn' | 'pn' | 'dev'>> = {},
    ): unknown =>
      nvme_fc_register_localport(
        k,
        lports,
        Object.keys(change).length > 0 ? { ...template, ...change } : template,
        { nn, pn, dev, ...port },
      )
    expect(register({ max_hw_queues: 0 })).toBe(-22)
    expect(register({ max_sgl_segments: 0 })).toBe(-22)
    expect(register({ fcp_abort: undefined as never })).toBe(-22)
    expect(register({})).toBe(-17)
    expect(register({}, { dev: {} })).toBe(-18)
    expect(fcloop_create_local_port(rig.link, LOCAL)).toBe(-17)
    expect(fcloop_create_local_port(rig.link, 'wwnn=1')).toBe(-22)
    expect(fcloop_create_remote_port(rig.link, FC_REMOTE)).toBe(-22)
    expect(lports).toEqual([lport])
  })

  it('a local port that is unregistered takes nobody in, and goes with its last remote port', () => {
    const rig = new FabricRig()
    const [lport] = rig.fc.lports
    rig.connect(FC_TEXT)
    expect(fcloop_delete_local_port(rig.link, LOCAL)).toBe(0)
    expect(fcloop_delete_local_port(rig.link, LOCAL)).toBe(-22)
    expect(nvme_fc_register_remoteport(lport!, '0x1', '0x2')).toBe(-108)
    expect(rig.fc.lports).toEqual([lport])
    lose(rig)
    rig.pass(70)
    gone(rig)
    expect(rig.fc.lports).toEqual([])
    expect(fcloop_delete_local_port(rig.link, LOCAL)).toBe(-2)
    expect(typeof fcloop_create_local_port(rig.link, LOCAL)).toBe('object')
  })

  it('it may be registered again before it has gone', () => {
    const rig = new FabricRig()
    const [lport] = rig.fc.lports
    expect(fcloop_delete_local_port(rig.link, LOCAL)).toBe(0)
    expect(fcloop_create_local_port(rig.link, LOCAL)).toBe(lport)
    expect(rig.connect(FC_TEXT).state).toBe('LIVE')
  })

  it.each(['4.19', '4.9'] as const)('the module is unloaded, %s', era => {
    const rig = new FabricRig({ era })
    lose(rig)
    expect(fcloop_delete_local_port(rig.link, LOCAL)).toBe(0)
    rig.run(() => nvme_fc_exit_module(rig.fc))
    expect(rig.fc.lports).toEqual([])
    expect(rig.run(() => nvmf_dev_write(rig.f, FC_TEXT))).toBe(-22)
    expect(rig.log().some(line => line.includes('not empty'))).toBe(false)
  })
})
