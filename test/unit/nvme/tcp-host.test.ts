// The NVMe/TCP host against our target, both on one emulated kernel in virtual time.

import { describe, expect, it } from 'vitest'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { life_of } from '../../../src/drivers/nvme/host/fabrics-life.js'
import { ADDRESS, FabricRig, RIG_NQN, TCP_TEXT } from './fabric-rig.js'

function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + seed * 31 + (i >> 8)) & 0xff)
}

describe('connect', () => {
  it('finds the disk, and data come back, in capsules and by R2T', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect()
    expect(ctrl.state).toBe('LIVE')
    expect(ctrl.queue_count).toBe(3)
    const ns = rig.ns(ctrl)
    for (const [i, bytes] of [512, 4096, 16384, 65536, 262144].entries()) {
      const data = pattern(bytes, i)
      expect(rig.run(() => rig.write(ns, i * 2 ** 19, data))).toBe(0)
      const back = rig.run(() => rig.read(ns, i * 2 ** 19, bytes))
      expect(Buffer.compare(back as Uint8Array, data)).toBe(0)
    }
    expect(rig.run(() => rig.flush(ns))).toBe(0)
    rig.disconnect(ctrl)
    expect(rig.subsys.ctrls).toEqual([])
    expect(rig.port.queues.size).toBe(0)
    expect(rig.nvme.ctrls).toEqual([])
    expect(rig.pool.used).toBe(0)
    expect(rig.machine.books().balanced).toBe(true)
  })
})

describe('nvme-fabrics 16.17: a lost connection', () => {
  it('is found, and the controller is live again 10 s later', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect()
    const states: string[] = [ctrl.state]
    const times: number[] = []
    rig.network.reset()
    for (const end = rig.now + 12e9; rig.now < end; rig.machine.turn(rig.now + 10e6)) {
      if (ctrl.state === states.at(-1)) continue
      states.push(ctrl.state)
      times.push(rig.now)
    }
    expect(states).toEqual(['LIVE', 'RESETTING', 'CONNECTING', 'LIVE'])
    // the wheel's third level: 64 jiffies of 4 ms
    const waited = times[2]! - times[1]!
    expect(waited).toBeGreaterThanOrEqual(10e9)
    expect(waited).toBeLessThan(10.3e9)
    expect(life_of(ctrl).nr_reconnects).toBe(0)
    const data = pattern(4096, 1)
    const ns = rig.ns(ctrl)
    expect(rig.run(() => rig.write(ns, 0, data))).toBe(0)
    rig.disconnect(ctrl)
    expect(rig.subsys.ctrls).toEqual([])
  })

  it('I/O waits meanwhile, and is done once', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect()
    const ns = rig.ns(ctrl)
    rig.network.unlisten(ADDRESS)
    rig.network.reset()
    rig.pass(1)
    const before = rig.now
    let status = -1
    rig.machine.host!.k.spawn('io', function* () {
      status = yield* rig.write(ns, 0, pattern(4096, 3))
    })
    rig.pass(25)
    expect(status).toBe(-1)
    rig.listen()
    rig.pass(15)
    expect(status).toBe(0)
    expect(rig.now - before).toBeGreaterThan(25e9)
    rig.disconnect(ctrl)
    expect(rig.machine.books().balanced).toBe(true)
  })

  it('nvme-fabrics 16.1: the controller goes when attempts are used up', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect(`${TCP_TEXT},ctrl_loss_tmo=25,reconnect_delay=10`)
    rig.network.unlisten(ADDRESS)
    rig.network.reset()
    rig.pass(29)
    expect(ctrl.state).toBe('CONNECTING')
    rig.pass(10)
    expect(rig.nvme.ctrls).toEqual([])
    expect(rig.log().filter(line => line.includes('Failed reconnect attempt'))).toHaveLength(3)
  })

  it('nvme-fabrics 16.1: with ctrl_loss_tmo 0 nobody tries, with -1 it never ends', () => {
    const rig = new FabricRig({ cpus: 1 })
    rig.connect(`${TCP_TEXT},ctrl_loss_tmo=0,reconnect_delay=1`)
    const endless = rig.connect(`${TCP_TEXT},ctrl_loss_tmo=-1,reconnect_delay=5,duplicate_connect`)
    rig.network.unlisten(ADDRESS)
    rig.network.reset()
    rig.pass(2)
    expect(rig.nvme.ctrls).toEqual([endless])
    expect(rig.log().some(line => line.includes('Failed reconnect attempt'))).toBe(false)
    rig.pass(700)
    expect(endless.state).toBe('CONNECTING')
    expect(rig.log().at(-2)).toMatch(/Failed reconnect attempt 1[23]\d/)
    rig.listen()
    rig.pass(6)
    expect(endless.state).toBe('LIVE')
  })

  it('a half-open connection is found by keep-alive or timeout', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect()
    rig.network.cut()
    rig.pass(120)
    expect(ctrl.state).toBe('LIVE')
    expect(rig.log().some(line => line.includes('reconnected'))).toBe(true)
    rig.disconnect(ctrl)
  })
})

describe('reset and refusal', () => {
  it('a reset brings the controller up again', () => {
    const rig = new FabricRig()
    const ctrl = rig.connect()
    expect(nvme_reset_ctrl(ctrl)).toBe(0)
    rig.pass(2)
    expect(ctrl.state).toBe('LIVE')
    expect(rig.run(() => rig.write(rig.ns(ctrl), 0, pattern(512, 1)))).toBe(0)
    rig.disconnect(ctrl)
  })

  it('the same connection twice is refused, unless asked for', () => {
    const rig = new FabricRig()
    rig.connect()
    expect(() => rig.connect()).toThrow('connect: -114')
    expect(rig.connect(`${TCP_TEXT},duplicate_connect`).state).toBe('LIVE')
  })

  it('nobody there; an unknown name', () => {
    const rig = new FabricRig()
    rig.network.unlisten(ADDRESS)
    expect(() => rig.connect()).toThrow('connect: -111')
    rig.listen()
    expect(() => rig.connect(TCP_TEXT.replace(RIG_NQN, 'nqn.none'))).toThrow('subsysnqn')
    expect(rig.nvme.ctrls).toEqual([])
    expect(rig.nvme.instances.size).toBe(0)
  })
})
