// Faults as data: each action, by configuration and while the controller runs, for I/O and admin commands.

import { describe, expect, it } from 'vitest'
import type { FaultRule } from '../../../src/device/nvme/faults.js'
import { blocks, PAGE, ready, type Rig } from './rig.js'

const READ = 2
const WRITE = 1

function rigWith(...faults: FaultRule[]): Rig {
  const rig = ready({ serviceNs: 1000 })
  for (const rule of faults) rig.controller.inject(rule)
  return rig
}

function submit(rig: Rig, opcode = READ, lba = 0): number {
  const cid = rig.push(1, { opcode, nsid: 1, prp1: rig.alloc(512, 512), cdw: blocks(lba, 1) })
  rig.ring(1)
  return cid
}

function results(rig: Rig, ns = 1e6): (readonly [number, number])[] {
  rig.run(ns)
  return rig.reap(1).map(c => [c.cid, c.status] as const)
}

describe('faults', () => {
  it('status, for the n-th command that matches, once or as often as it says', () => {
    const rig = rigWith({
      match: { opcode: READ, nth: 2 },
      action: { kind: 'status', status: 0x281 },
    })
    const ids = [submit(rig), submit(rig, WRITE), submit(rig), submit(rig)]
    expect(new Map(results(rig))).toEqual(
      new Map([
        [ids[0], 0],
        [ids[1], 0],
        [ids[2], 0x281],
        [ids[3], 0],
      ]),
    )
    const most = rigWith({ match: { count: 2 }, action: { kind: 'status', status: 6 } })
    for (let i = 0; i < 4; i++) submit(most)
    expect(
      results(most)
        .map(r => r[1])
        .sort(),
    ).toEqual([0, 0, 6, 6])
  })

  it('blocks and queues', () => {
    const rig = rigWith({
      match: { lba: [8, 9], queue: 1 },
      action: { kind: 'status', status: 0x281 },
    })
    for (const lba of [7, 8, 9, 10]) submit(rig, READ, lba)
    expect(results(rig).map(r => r[1])).toEqual([0, 0x281, 0x281, 0])
    const other = rigWith({ match: { queue: 2 }, action: { kind: 'drop' } })
    submit(other)
    expect(results(other)).toHaveLength(1)
  })

  it('delay: later than the medium alone; Abort finds it', () => {
    const rig = rigWith({ match: { nth: 1 }, action: { kind: 'delay', ns: 1e6 } })
    const [slow, fast] = [submit(rig), submit(rig)]
    expect(results(rig, 5000)).toEqual([[fast, 0]])
    expect(rig.admin({ opcode: 8, cdw: [(1 | (slow << 16)) >>> 0] }).dw0).toBe(0)
    expect(results(rig, 0)).toEqual([[slow, 7]])
    expect(results(rig, 1e7)).toEqual([])
  })

  it('drop: never heard of again, and Abort does not find it', () => {
    const rig = rigWith({ match: { nth: 1 }, action: { kind: 'drop' } })
    const [lost, other] = [submit(rig), submit(rig)]
    expect(results(rig, 1e9)).toEqual([[other, 0]])
    expect(rig.admin({ opcode: 8, cdw: [(1 | (lost << 16)) >>> 0] }).dw0).toBe(1)
  })

  it('duplicate and corrupt identifier', () => {
    const rig = rigWith({ match: { nth: 1 }, action: { kind: 'duplicate' } })
    const cid = submit(rig)
    expect(results(rig)).toEqual([
      [cid, 0],
      [cid, 0],
    ])
    const other = rigWith({ match: { nth: 1 }, action: { kind: 'corrupt', what: 'cid' } })
    const id = submit(other)
    expect(results(other)).toEqual([[id ^ 0x7fff, 0]])
  })

  it('corrupt phase: the host does not see that entry', () => {
    const rig = rigWith({ match: { nth: 1 }, action: { kind: 'corrupt', what: 'phase' } })
    submit(rig)
    expect(results(rig)).toEqual([])
    submit(rig)
    expect(results(rig)).toEqual([])
  })

  it('corrupt data: a byte of what is read, or of what the medium keeps', () => {
    const rig = rigWith()
    const [to, from] = [rig.alloc(PAGE), rig.alloc(PAGE)]
    rig.view.fill(from, PAGE, 0x55)
    const run = (opcode: number, prp1: number): number =>
      rig.execute(1, { opcode, nsid: 1, prp1, cdw: blocks(0, 8) }).status
    const spoil: FaultRule = { match: { nth: 1 }, action: { kind: 'corrupt' } }
    run(WRITE, from)
    rig.controller.inject(spoil)
    run(READ, to)
    expect([...rig.bytes(to, 2)]).toEqual([0xaa, 0x55])
    run(READ, to)
    expect(rig.bytes(to, 1)[0]).toBe(0x55)
    rig.controller.inject(spoil)
    run(WRITE, from)
    expect(rig.bytes(from, 1)[0]).toBe(0x55)
    run(READ, to)
    expect([...rig.bytes(to, 2)]).toEqual([0xaa, 0x55])
  })

  it('a rule can be taken back', () => {
    const rig = rigWith()
    const remove = rig.controller.inject({ match: {}, action: { kind: 'drop' } })
    submit(rig)
    expect(results(rig)).toEqual([])
    remove()
    submit(rig)
    expect(results(rig)).toHaveLength(1)
  })

  it('admin commands have rules of their own', () => {
    const rig = rigWith({ match: { admin: true, opcode: 6 }, action: { kind: 'drop' } })
    expect(results(rig)).toEqual([])
    rig.push(0, { opcode: 6, prp1: rig.alloc(PAGE), cdw: [1] })
    rig.ring(0)
    rig.run(1e9)
    expect(rig.reap(0)).toEqual([])
    expect(rig.feature(1).status).toBe(0)
    const late = ready()
    late.controller.inject({ match: { admin: true }, action: { kind: 'status', status: 6 } })
    expect(late.feature(1).status).toBe(6)
  })

  it('stuck: registers stand still; fatal: CFS as well; only the power helps', () => {
    for (const fatal of [false, true]) {
      const rig = rigWith({ match: { nth: 1 }, action: { kind: 'stuck', fatal } })
      submit(rig)
      submit(rig)
      expect(results(rig)).toEqual([])
      expect(rig.read(0x1c)).toBe(fatal ? 3 : 1)
      rig.write(0x14, 0x00460000)
      rig.run(1e9)
      expect(rig.read(0x1c) & 1).toBe(1)
      rig.controller.powerLoss()
      rig.controller.busMaster(true)
      rig.enable()
      expect(rig.read(0x1c)).toBe(1)
    }
  })

  it('surprise removal: reads are all ones, nothing comes any more', () => {
    const rig = rigWith({ match: { nth: 2 }, action: { kind: 'remove' } })
    submit(rig)
    submit(rig)
    expect(results(rig)).toEqual([])
    expect(rig.controller.present()).toBe(false)
    expect([rig.read(0x1c), rig.read(0)]).toEqual([0xffffffff, 0xffffffff])
    expect(rig.controller.read64(0)).toBe(0xffffffffffffffffn)
    rig.write(0x14, 0x00460001)
    expect(rig.read(0x14)).toBe(0xffffffff)
  })

  it('rules of the configuration work from the start', () => {
    const rig = ready({
      config: { faults: [{ match: { opcode: READ }, action: { kind: 'status', status: 0x281 } }] },
    })
    submit(rig)
    expect(results(rig).map(r => r[1])).toEqual([0x281])
  })
})
