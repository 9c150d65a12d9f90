// nvme-pci, section 17: the numbers that the driver of Linux 4.19 comes to, from probe to removal.

import { describe, expect, test } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { BLK_STS_IOERR, BLK_STS_NOTSUPP, BLK_STS_OK } from '../../../assembly/nvme.js'
import { nvme_change_ctrl_state } from '../../../src/drivers/nvme/host/core-state.js'
import { NVME_ERAS } from '../../../src/drivers/nvme/host/era.js'
import type { nvme_ctrl_state } from '../../../src/drivers/nvme/host/nvme.js'
import { db_bar_size, nvme_process_cq } from '../../../src/drivers/nvme/host/pci-queue.js'
import { nvme_remap_bar } from '../../../src/drivers/nvme/host/pci-reset.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import { bootDevice, RawQueue } from '../core/raw-queue.js'
import { Probed } from './probed.js'
import { type Wire, wired } from './wire.js'

const SECOND = 1e9
const device = (words: string): string => `nvme,size=64M,model=fixed,${words}`

describe('what the controller says it can', () => {
  test.each([
    [0, 0x1018, 0x101c],
    [2, 0x1060, 0x1070],
  ])('nvme-pci 17.1: doorbells of queue 3, DSTRD %i', async (stride, sq, cq) => {
    const words = `depth=64${stride ? `,stride=${stride}` : ''}`
    const { p } = await wired({ cpus: 4, device: device(words) })
    const { at } = p.dev.queues[3]!
    const { bar } = p.dev.memory
    const { view } = p.machine
    expect(view.u32(at + L.NQ_SQ_DB) - bar).toBe(sq)
    expect(view.u32(at + L.NQ_CQ_DB) - bar).toBe(cq)
    expect(await p.task(() => blkdev_read_iter(p.io(1)), 1000, 2)).toBe(0)
  })

  test('nvme-pci 17.2, nvme-spec 22.4: 64 queues fit what probe mapped, 512 do not', async () => {
    const { p } = await wired()
    expect(p.dev.bar_mapped_size).toBe(8192)
    expect(db_bar_size(p.dev, 8)).toBe(4168)
    expect(db_bar_size(p.dev, 64)).toBe(4616)
    nvme_remap_bar(p.dev, db_bar_size(p.dev, 64))
    expect(p.dev.bar_mapped_size).toBe(8192)
    expect(db_bar_size(p.dev, 511)).toBe(8192)
    expect(db_bar_size(p.dev, 512)).toBe(8200)
    nvme_remap_bar(p.dev, db_bar_size(p.dev, 512))
    expect(p.dev.bar_mapped_size).toBe(8200)
  })

  test.each([
    [1024, 65536, 16384, 1023],
    [64, 4096, 1024, 63],
  ])('nvme-pci 17.3: MQES of %i entries', async (entries, sqBytes, cqBytes, tags) => {
    const wire = await wired({ device: device(`depth=${entries}`) })
    const { dev } = wire.p
    expect(wire.p.controller.read32(0) & 0xffff).toBe(entries - 1)
    expect(dev.q_depth).toBe(entries)
    expect(wire.sqBytes(dev.queues[1]!)).toBe(sqBytes)
    expect(dev.queues[1]!.q_depth * 16).toBe(cqBytes)
    expect(wire.of(1, true).map(c => c.cdw[0]! >>> 16)).toContain(entries - 1)
    expect(dev.tagset!.queue_depth).toBe(tags)
    expect(wire.p.machine.view.u32(dev.tagset!.tags[0]! + L.TAGS_NR)).toBe(tags)
  })

  test.each([
    ['4.19', 0x001f001f, 30, 31],
    ['4.9', 0x00ff00ff, 254, 255],
  ] as const)('nvme-pci 17.4, 17.5: the admin queue of %s', async (era, aqa, tags, aen) => {
    const wire = await wired({ era })
    expect(wire.p.controller.read32(0x24)).toBe(aqa)
    expect(wire.p.dev.admin_tagset!.queue_depth).toBe(tags)
    const events = wire.of(0x0c, true)
    expect(new Set(events.map(c => c.cid))).toEqual(new Set([aen]))
    const ids = wire.commands.filter(c => c.qid === 0 && c.opcode !== 0x0c).map(c => c.cid)
    expect(Math.max(...ids)).toBeLessThan(tags)
  })

  test('nvme-pci 17.6: queues as many as both sides give', async () => {
    const wire = await wired({
      cpus: 8,
      controller: { config: { ioQueues: 6, ioCompletionQueues: 4 } },
    })
    const asked = wire.of(9, true).filter(c => (c.cdw[0]! & 0xff) === 7)
    expect(asked.map(c => c.cdw[1])).toEqual([0x00070007])
    expect(wire.p.dev.online_queues - 1).toBe(4)
    expect(wire.p.dev.tagset!.nr_hw_queues).toBe(4)
    expect(await wire.p.task(() => blkdev_read_iter(wire.p.io(1)), 1000, 7)).toBe(0)
  })

  test('nvme-pci 17.7: no answer to how many queues: an admin queue alone, not removed', async () => {
    const faults = [
      { match: { opcode: 9, admin: true }, action: { kind: 'status', status: 6 } },
    ] as const
    const { p } = await wired({ controller: { config: { faults } } })
    expect(p.ctrl.state).toBe('ADMIN_ONLY')
    expect(p.dev.online_queues).toBe(1)
    expect(p.ctrl.namespaces).toEqual([])
    expect(p.log.some(line => line.includes('IO queues not created'))).toBe(true)
  })

  test('nvme-pci 17.8: CAP.TO of 20: 10.5 s of looking, ten times a second', async () => {
    const wire = await wired({ controller: { config: { timeout: 20, readyNs: 60 * SECOND } } })
    expect(wire.p.nvme.ctrl(0)).toBeNull()
    const enabled = wire.writes.find(w => w.offset === 0x14 && (w.value & 1) === 1)!.at
    const given_up = wire.writes.find(w => w.offset === 0x14 && w.at > enabled)?.at ?? Infinity
    const looks = wire.reads.filter(
      r => r.offset === 0x1c && r.at >= enabled && r.at < Math.min(given_up, enabled + 20 * SECOND),
    )
    const last = looks.filter(r => r.at < enabled + 11 * SECOND).at(-1)!
    expect((last.at - enabled) / SECOND).toBeGreaterThanOrEqual(10.5)
    expect((last.at - enabled) / SECOND).toBeLessThan(10.7)
    expect(looks.length).toBeGreaterThanOrEqual(90)
    expect(looks.length).toBeLessThanOrEqual(108)
    expect(wire.p.log.some(line => line.includes('Device not ready'))).toBe(true)
  })

  test.each([
    [9, 8],
    [3, 2],
    [1, 1],
  ])('nvme-pci 17.20: 8 CPUs and %i vectors', async (vectors, max_qid) => {
    const { p } = await wired({ cpus: 8, controller: { config: { vectors } } })
    expect(p.dev.max_qid).toBe(max_qid)
    expect(p.dev.queues[max_qid]!.cq_vector).toBe(vectors === 1 ? 0 : max_qid)
    for (let cpu = 0; cpu < 8; cpu++)
      expect(await p.task(() => blkdev_read_iter(p.io(cpu)), 1000, cpu)).toBe(0)
    expect(p.machine.books().problems).toEqual([])
  })
})

describe('errors and time', () => {
  test('nvme-pci 17.9: of five lost reads four are aborted, all are there after the reset at 60 s', async () => {
    const faults = [
      { match: { opcode: 2, nth: 1, count: 5 }, action: { kind: 'drop' } },
      { match: { opcode: 8, admin: true }, action: { kind: 'drop' } },
    ] as const
    const wire = await wired({ cpus: 1, controller: { config: { faults, abortLimit: 4 } } })
    const { p } = wire
    const from = p.machine.now()
    const ends: number[] = []
    for (let n = 0; n < 5; n++)
      p.k.spawn(`r${n}`, function* () {
        ends.push(yield* blkdev_read_iter(p.io(n)))
      })
    await p.run(200_000, () => ends.length === 5)
    expect(ends).toEqual([0, 0, 0, 0, 0])
    const aborts = wire.of(8, true).map(c => (c.at - from) / SECOND)
    expect(aborts).toHaveLength(4)
    // Deadlines are whole jiffies of 4 ms, counted from the jiffy that has begun.
    expect(Math.min(...aborts)).toBeGreaterThanOrEqual(29.996)
    expect(Math.max(...aborts)).toBeLessThan(45)
    const disabled = wire.writes.find(w => w.offset === 0x14 && w.at > from)!
    expect((disabled.at - from) / SECOND).toBeGreaterThanOrEqual(59.992)
  })

  test.each([
    [0x4002, 1, BLK_STS_NOTSUPP, 1],
    [0x0006, 5, BLK_STS_OK, 6],
    // Code 0 with another bit: nothing went wrong.
    [0x2000, 1, BLK_STS_OK, 1],
    [0x0006, 6, BLK_STS_IOERR, 6],
  ])('nvme-pci 17.10: status %i, %i times', async (status, count, end, tries) => {
    const faults = [
      { match: { opcode: 2, nth: 1, count }, action: { kind: 'status', status } },
    ] as const
    const wire = await wired({ controller: { config: { faults } } })
    const before = wire.of(2).length
    expect(await wire.p.task(() => blkdev_read_iter(wire.p.io(1)))).toBe(end)
    expect(wire.of(2).length - before).toBe(tries)
    expect(wire.p.machine.books().problems).toEqual([])
  })
})

describe('completion entries', () => {
  function counted(wire: Wire): { q: ReturnType<typeof queue>; doorbells: () => number } {
    const { machine, k } = wire.p
    const at = wire.p.machine.host!.blk.cpus[k.cpu.id]!
    return { q: queue(wire), doorbells: () => machine.view.u64(at + L.CPU_CQ_DOORBELLS) }
  }
  const queue = (wire: Wire) => wire.p.dev.queues[1]!

  test('nvme-pci 17.14: a queue of four entries; one doorbell for a batch', async () => {
    const wire = await wired({ cpus: 1, device: device('depth=4') })
    const { view } = wire.p.machine
    const { q, doorbells } = counted(wire)
    const seen: [head: number, phase: number][] = []
    for (let n = 0; n < 4; n++) {
      await wire.p.task(() => blkdev_read_iter(wire.p.io(n)))
      seen.push([view.u32(q.at + L.NQ_CQ_HEAD), view.u32(q.at + L.NQ_CQ_PHASE)])
    }
    expect(seen).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [0, 0],
    ])
    for (let n = 0; n < 3; n++) wire.post(q, n, 0, 3)
    const before = doorbells()
    expect(nvme_process_cq(q)).toBe(3)
    expect(doorbells() - before).toBe(1)
    expect(view.u32(q.at + L.NQ_CQ_HEAD)).toBe(3)
  })

  test('nvme-pci 17.18: an interrupt without a new entry changes nothing', async () => {
    const wire = await wired({ cpus: 1 })
    const { q, doorbells } = counted(wire)
    await wire.p.task(() => blkdev_read_iter(wire.p.io(1)))
    const before = doorbells()
    const head = wire.p.machine.view.u32(q.at + L.NQ_CQ_HEAD)
    expect(nvme_process_cq(q)).toBe(0)
    expect(doorbells()).toBe(before)
    expect(wire.p.machine.view.u32(q.at + L.NQ_CQ_HEAD)).toBe(head)
  })

  test('nvme-pci 17.19: identifier 2000 is consumed and completes nothing', async () => {
    const wire = await wired({ cpus: 1, device: device('depth=1024') })
    const { view } = wire.p.machine
    const { q } = counted(wire)
    const ended = view.u64(wire.p.machine.host!.blk.cpus[0]! + L.CPU_ENDED)
    const head = view.u32(q.at + L.NQ_CQ_HEAD)
    wire.post(q, head, 1, 2000)
    expect(nvme_process_cq(q)).toBe(1)
    expect(view.u32(q.at + L.NQ_CQ_HEAD)).toBe(head + 1)
    expect(view.u64(wire.p.machine.host!.blk.cpus[0]! + L.CPU_ENDED)).toBe(ended)
    expect(wire.p.log.at(-1)).toContain('invalid id 2000 completed on queue 1')
  })
})

describe('shadow doorbells', () => {
  const need = new RawQueue(bootDevice()).core.nvme_dbbuf_need_event

  test.each([
    [11, true],
    [9, false],
    [14, false],
  ])('nvme-pci 17.15: from 10 to 14 with event index %i', (ei, ring) => {
    expect(need(ei, 14, 10)).toBe(Number(ring))
  })
})

describe('nvme-pci 17.16: states', () => {
  const all: nvme_ctrl_state[] = [
    'NEW',
    'LIVE',
    'ADMIN_ONLY',
    'RESETTING',
    'CONNECTING',
    'RECONNECTING',
    'DELETING',
    'DEAD',
  ]
  test.each([
    [
      '4.19',
      'ADMIN_ONLY<CONNECTING LIVE<NEW LIVE<RESETTING LIVE<CONNECTING RESETTING<NEW RESETTING<LIVE RESETTING<ADMIN_ONLY ' +
        'CONNECTING<NEW CONNECTING<RESETTING DELETING<LIVE DELETING<ADMIN_ONLY DELETING<RESETTING DELETING<CONNECTING ' +
        'DEAD<DELETING',
    ],
    [
      '4.9',
      'RECONNECTING<LIVE RESETTING<NEW RESETTING<LIVE RESETTING<RECONNECTING LIVE<NEW LIVE<RESETTING LIVE<RECONNECTING ' +
        'DELETING<LIVE DELETING<RESETTING DELETING<RECONNECTING DEAD<DELETING',
    ],
  ] as const)('the whole table of %s; what it has not is refused', async (era, table) => {
    const p = new Probed({ era })
    await p.settle()
    const moves: string[] = []
    for (const from of all)
      for (const to of all) {
        p.ctrl.state = from
        const moved = nvme_change_ctrl_state(p.ctrl, to)
        expect(p.ctrl.state).toBe(moved ? to : from)
        if (moved) moves.push(`${to}<${from}`)
      }
    expect(moves.sort()).toEqual(table.split(' ').sort())
    expect(NVME_ERAS[era].name).toBe(era)
  })
})
