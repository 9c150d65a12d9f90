// Submission and completion rings, doorbells and shadow doorbells (nvme-spec 3, 6, 19 and statements 22.3 to 22.6, 22.13).
// The first half drives the controller's side by hand, the second the driver's.

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import type { Machine } from '../../../src/machine/machine.js'
import { bootDevice, RawQueue } from './raw-queue.js'
import { Stepped } from './stepped.js'

const FLUSH = { opcode: N.NVME_CMD_FLUSH }

function queue(depth: number, change: Parameters<typeof bootDevice>[0] = {}): RawQueue {
  return new RawQueue(bootDevice({ depth, model: 'null', ...change }))
}

describe('the submission ring', () => {
  it.each([2, 3, 5, 64, 1000, 65536])('22.6: of %d entries all but one may be in use', entries => {
    const q = queue(entries)
    for (let i = 0; i < entries - 1; i++) q.write(FLUSH)
    q.ring()
    expect(q.run()).toBe(entries - 1)
    expect(q.reap()).toHaveLength(entries - 1)
  })

  it('takes several entries from one doorbell, in order, and none before it is rung', () => {
    const q = queue(8)
    const cids = [q.write(FLUSH), q.write(FLUSH), q.write(FLUSH)]
    expect(q.run()).toBe(0)
    q.ring()
    expect(q.run(2)).toBe(2)
    expect(q.run()).toBe(1)
    expect(q.run()).toBe(0)
    expect(q.reap().map(c => c.cid)).toEqual(cids)
  })

  it('reports its head with each completion, over the wrap', () => {
    const q = queue(5)
    const heads = Array.from({ length: 12 }, () => q.execute(FLUSH).sqhd)
    expect(heads).toEqual([1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2])
  })

  it('names the queue and the identifier in the completion', () => {
    const machine = bootDevice({ queues: 4 }, 2 ** 26)
    const q = new RawQueue(machine)
    expect(q.execute({ ...FLUSH, cid: 0xffff })).toMatchObject({ cid: 0xffff, sqid: 1, status: 0 })
  })
})

describe('the completion ring', () => {
  it('22.5: of 4 entries, ten completions have the phases 1111 0000 11', () => {
    const q = queue(4)
    const phases = Array.from({ length: 10 }, () => q.execute(FLUSH).phase)
    expect(phases).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 1, 1])
  })

  it.each(['null', 'fixed'] as const)('holds the device back when it is full (%s)', model => {
    const machine = bootDevice({ depth: 8, model, serviceNs: 10 })
    const q = new RawQueue(machine)
    // The host reads completions but keeps its head to itself: seven fit.
    const fill = (): number => {
      for (let i = 0; i < 7; i++) q.write(FLUSH)
      q.ring()
      const fetched = q.run()
      q.post(1e9)
      return fetched
    }
    expect(fill()).toBe(7)
    expect(q.reap(7, false)).toHaveLength(7)
    const fetched = fill()
    expect(fetched).toBe(0)
    expect(q.reap(7, false)).toHaveLength(0)
    q.ringCq()
    q.run()
    q.post(2e9)
    expect(q.reap()).toHaveLength(7)
  })

  it('fetches as many as there is room for', () => {
    const q = queue(8)
    for (let i = 0; i < 7; i++) q.write(FLUSH)
    q.ring()
    q.run(4)
    q.reap(2)
    q.run()
    expect(q.reap()).toHaveLength(5)
  })
})

describe('doorbells', () => {
  it.each(Array.from({ length: 16 }, (_, i) => i))('22.3: stand 4 << %d bytes apart', stride => {
    const machine = bootDevice({ stride, depth: 4, queues: 2 })
    const step = 4 * 2 ** stride
    const disk = machine.disks[0]!
    disk.queues.forEach((one, i) => {
      const qid = i + 1
      expect(machine.view.u32(one.dsq + L.DSQ_DB) - disk.bar).toBe(0x1000 + 2 * qid * step)
      expect(machine.view.u32(one.dcq + L.DCQ_DB) - disk.bar).toBe(0x1000 + (2 * qid + 1) * step)
    })
    const q = new RawQueue(machine)
    for (let i = 0; i < 9; i++) expect(q.execute(FLUSH).status).toBe(0)
  })

  it('22.3: DSTRD 4 puts the completion doorbell of queue 1 at 0x10c0', () => {
    const machine = bootDevice({ stride: 4 })
    const disk = machine.disks[0]!
    expect(machine.view.u32(disk.queues[0]!.dcq + L.DCQ_DB) - disk.bar).toBe(0x10c0)
  })

  it.each([8, 9, 0xffff, 0xffffffff])('a tail of %d in a ring of 8 is ignored', value => {
    const q = queue(8)
    q.write(FLUSH)
    q.ring(value)
    expect(q.run()).toBe(0)
    q.ring()
    expect(q.run()).toBe(1)
    expect(q.reap()).toHaveLength(1)
  })

  it.each([8, 9, 0xffff, 0xffffffff])('a head of %d in a ring of 8 gives no room', value => {
    const machine = bootDevice({ depth: 8, model: 'null' })
    const q = new RawQueue(machine)
    for (let i = 0; i < 7; i++) q.write(FLUSH)
    q.ring()
    q.run()
    const before = machine.view.bytes.slice(q.cq, q.cq + 8 * N.CQE_BYTES)
    expect(q.reap(7, false)).toHaveLength(7)
    q.ringCq(value)
    for (let i = 0; i < 7; i++) q.write(FLUSH)
    q.ring()
    expect(q.run()).toBe(0)
    expect(machine.view.bytes.slice(q.cq, q.cq + 8 * N.CQE_BYTES)).toEqual(before)
    q.ringCq()
    expect(q.run()).toBe(7)
  })
})

describe('shadow doorbells', () => {
  const need = new RawQueue(bootDevice()).core.nvme_dbbuf_need_event

  it.each([
    // old, new, event index, the register is wanted
    [5, 6, 5, true],
    [5, 6, 4, false],
    [1023, 0, 1023, true],
    [1023, 0, 1022, false],
    [1023, 0, 10, false],
    [5, 9, 5, true],
    [5, 9, 8, true],
    [5, 9, 9, false],
  ])('22.13: from %d to %d with event index %d: %s', (old, value, eventIndex, wanted) => {
    expect(need(eventIndex, value, old)).toBe(wanted ? 1 : 0)
  })

  it('the device follows the shadow, and says up to where when it finds nothing', () => {
    const machine = bootDevice({ depth: 16, shadow: true, model: 'null' })
    const q = new RawQueue(machine)
    const shadow = machine.view.u32(q.dsq + L.DSQ_SHADOW)
    const event = machine.view.u32(q.dsq + L.DSQ_EI)
    for (let i = 0; i < 3; i++) q.write(FLUSH)
    q.ring()
    expect(q.run()).toBe(0)
    machine.view.store(shadow, 3)
    expect(q.run()).toBe(3)
    expect(q.run()).toBe(0)
    expect(machine.view.u32(event)).toBe(3)
  })

  it('the driver leaves out the registers that nobody waits for, and nothing is lost', () => {
    const host = new Stepped({ shadow: true, depth: 16, model: 'null' })
    const count = 100
    for (let i = 0; i < count; i++) {
      host.submit(host.bio(N.REQ_OP_READ, i * 8, 4096))
      if (i % 5 === 4) {
        // A device that does not stop looking asks for no register: three times it finds something at once.
        host.fetch()
        host.reap()
      }
      if (i % 20 === 19) host.fetch()
    }
    const counters = host.machine.cpuCounters(0)
    expect(host.ended()).toHaveLength(count)
    expect(counters.doorbells + counters.bellsSaved).toBeGreaterThanOrEqual(count)
    expect(counters.bellsSaved).toBeGreaterThan(80)
    expect(counters.doorbells).toBeGreaterThan(0)
    expect(host.machine.books().problems).toEqual([])
  })

  it('the driver rings the register after the device went to sleep', () => {
    const host = new Stepped({ shadow: true, depth: 16, model: 'null' })
    const register = host.view.u32(host.queue.dsq + L.DSQ_DB)
    for (let i = 0; i < 40; i++) {
      expect(host.fetch()).toBe(0)
      host.submit(host.bio(N.REQ_OP_READ, 0, 4096))
      expect(host.view.u32(register)).toBe((i + 1) % 16)
      host.fetch()
      host.reap()
    }
    expect(host.ended()).toHaveLength(40)
  })
})

describe("the driver's rings", () => {
  it('write several entries and ring once for a plug, once for each bio without', () => {
    const host = new Stepped({ depth: 32, model: 'null' })
    const bells = (): number => host.machine.cpuCounters(0).doorbells
    for (let i = 0; i < 4; i++) host.submit(host.bio(N.REQ_OP_READ, i * 80, 4096))
    expect(bells()).toBe(4)
    host.plugged(() => {
      for (let i = 0; i < 4; i++) host.submit(host.bio(N.REQ_OP_READ, 8000 - i * 80, 4096))
      expect(bells()).toBe(4)
    })
    expect(bells()).toBe(5)
    expect(host.fetch()).toBe(8)
    host.reap()
    expect([host.ended().length, host.machine.cpuCounters(0).cqDoorbells]).toEqual([8, 1])
  })

  it.each([2, 3, 4, 7, 64])('of %d entries hold one command less, and go round', entries => {
    const host = new Stepped({ depth: entries, model: 'null' })
    for (let round = 0; round < 5; round++) {
      const cookies: number[] = []
      for (let i = 0; i < entries; i++)
        cookies.push(host.submit(host.bio(N.REQ_OP_READ, i * 80, 4096)))
      expect(cookies.filter(cookie => cookie === -2)).toHaveLength(1)
      expect(host.fetch()).toBe(entries - 1)
      host.reap()
      expect(host.ended()).toHaveLength(entries - 1)
    }
    // The bios that found no tag were never told to end; only they are missing.
    expect(host.machine.books().problems).toEqual(['5 bios lost'])
  })

  it('take at most as many completions as they are asked for', () => {
    const host = new Stepped({ depth: 16, model: 'null' })
    for (let i = 0; i < 10; i++) host.submit(host.bio(N.REQ_OP_READ, i * 80, 4096))
    host.fetch()
    expect([host.reap(3), host.reap(100), host.reap(1)]).toEqual([3, 7, 0])
  })

  it('a cookie is hardware queue and tag (sbitmap-tags 9.19)', () => {
    const host = new Stepped({ depth: 16, queues: 4 }, { cpus: 4 })
    const cookies = Array.from({ length: 6 }, (_, i) =>
      host.submit(host.bio(N.REQ_OP_READ, i * 80, 4096, 3), 3),
    )
    expect(cookies.map(c => c >> 16)).toEqual([3, 3, 3, 3, 3, 3])
    expect(cookies[5]).toBe(0x30005)
  })
})

describe('completions that name nothing', () => {
  /** Posts one completion as the device would, for any identifier. */
  function post(machine: Machine, cid: number, status = 0): void {
    const { view } = machine
    const { dcq } = machine.disks[0]!.queues[0]!
    const tail = view.u32(dcq + L.DCQ_TAIL)
    const at = view.u32(dcq + L.DCQ_BASE) + tail * N.CQE_BYTES
    view.setU32(at + N.CQE_DW3, (cid | (view.u32(dcq + L.DCQ_PHASE) << 16) | (status << 17)) >>> 0)
    view.setU32(dcq + L.DCQ_TAIL, tail + 1)
  }

  it.each([
    ['beyond the tags', 4000],
    ['no tag at all', 0xffff],
    ['never used', 9],
  ])('%s: counted, and harmless', (_, cid) => {
    const host = new Stepped({ depth: 16 })
    post(host.machine, cid)
    post(host.machine, cid, N.NVME_SC_INTERNAL)
    expect(host.reap()).toBe(2)
    host.submit(host.bio(N.REQ_OP_READ, 0, 4096))
    host.fetch()
    host.reap()
    expect(host.ended()).toHaveLength(1)
    expect(host.machine.queueFacts()[0]!.spurious).toBe(2)
    expect(host.machine.books().problems).toEqual([])
  })

  it('the second completion of a command changes nothing (blk-mq 20.18)', () => {
    const host = new Stepped({ depth: 16 })
    const tag = host.submit(host.bio(N.REQ_OP_READ, 0, 4096))
    host.fetch()
    post(host.machine, tag, N.NVME_SC_INTERNAL)
    expect(host.reap()).toBe(2)
    expect(host.ended().map(bio => bio.status)).toEqual([0])
    expect(host.machine.queueFacts()[0]!.spurious).toBe(1)
    expect(host.machine.books().problems).toEqual([])
  })
})
