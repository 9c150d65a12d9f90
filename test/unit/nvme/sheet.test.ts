// nvme-pci, sections 4 to 15, what section 17 does not number: how each stage of a probe and a reset fails, what is sent in
// which order, what a timeout does in each state, what events, scans and errors of the bus lead to.

import { describe, expect, test } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import { bio_alloc_bioset, bio_put, submit_bio_wait } from '../../../src/block/bio.js'
import { nvme_submit_sync_cmd } from '../../../src/drivers/nvme/host/core-cmd.js'
import { nvme_shutdown_timeout } from '../../../src/drivers/nvme/host/core-identify.js'
import { nvme_dev_ioctl, nvme_sysfs_reset } from '../../../src/drivers/nvme/host/core-ioctl.js'
import { nvme_error_status } from '../../../src/drivers/nvme/host/core.js'
import {
  nvme_change_ctrl_state,
  nvme_reset_ctrl,
} from '../../../src/drivers/nvme/host/core-state.js'
import type { ControllerConfig } from '../../../src/device/nvme/config.js'
import type { FaultRule } from '../../../src/device/nvme/faults.js'
import type { KernelEra } from '../../../src/drivers/nvme/host/era.js'
import { nvme_reset } from '../../../src/drivers/nvme/host/pci.js'
import { nvme_dev_disable } from '../../../src/drivers/nvme/host/pci-disable.js'
import { nvme_timeout } from '../../../src/drivers/nvme/host/pci-timeout.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { ENETRESET, ENODEV } from '../../../src/kernel/errno.js'
import {
  device_release_driver,
  pci_bind,
  pci_pm_resume,
  pci_pm_suspend,
  pci_reset_function,
  pcie_do_recovery,
} from '../../../src/kernel/pci.js'
import { msleep } from '../../../src/kernel/timer-sleep.js'
import { queue_work } from '../../../src/kernel/workqueue-queue.js'
import type { Probed, ProbedOptions } from './probed.js'
import { Wire, wired } from './wire.js'

const SECOND = 1e9
const CAP_HIGH = 4
const CC = 0x14
const CSTS = 0x1c

type Change = (offset: number, value: number) => number

/** A wire whose controller's registers read otherwise than it has them. */
function lying(change: Change, options: ProbedOptions = {}): Wire {
  const wire = new Wire({ ...options, manual: true })
  const { controller } = wire.p
  const { read32 } = controller
  controller.read32 = offset => change(offset, read32.call(controller, offset)) >>> 0
  return wire
}

function withConfig(config: Partial<ControllerConfig>): ProbedOptions {
  return { controller: { config } }
}

function refused(opcode: number, nth: number, status = 6): FaultRule {
  return { match: { opcode, admin: true, nth }, action: { kind: 'status', status } }
}

function says(p: Probed, words: string): boolean {
  return p.log.some(line => line.includes(words))
}

async function goodRead({ p }: Wire, cpu = 0): Promise<void> {
  expect(await p.task(() => blkdev_read_iter(p.io(3)), 60_000, cpu)).toBe(0)
  expect(p.machine.books().problems).toEqual([])
}

describe('nvme-pci 4: probe', () => {
  test('memory regions that cannot be had: -ENODEV, and the driver has nothing', async () => {
    const { p } = await wired()
    const { bus, module } = p.nvme
    const pdev = bus.devices[0]!
    await p.task(() => device_release_driver(pdev))
    p.controller.surpriseRemove()
    expect(await p.task(() => pci_bind(bus, pdev, module!.driver))).toBe(-ENODEV)
    expect(pdev.driver).toBeNull()
    expect(p.nvme.ctrl(0)).toBeNull()
  })

  test('a controller that comes after another went has its number again', async () => {
    const { p } = await wired()
    const { bus, module } = p.nvme
    expect(p.ctrl.device).toBe('nvme0')
    await p.task(() => device_release_driver(bus.devices[0]!))
    await p.task(() => pci_bind(bus, bus.devices[0]!, module!.driver))
    await p.settle()
    expect(p.ctrl.device).toBe('nvme0')
  })
})

describe('nvme-pci 5: asking for a reset', () => {
  test('who waits for one that does not come up gets -ENETRESET', async () => {
    const { p } = await wired(withConfig({ timeout: 2 }))
    const config = p.controller.config as { readyNs: number }
    config.readyNs = 60 * SECOND
    const { ctrl } = p
    expect(await p.task(() => nvme_sysfs_reset(ctrl))).toBe(-ENETRESET)
    expect(ctrl.state).not.toBe('LIVE')
  })
})

describe('nvme-pci 5: as 4.9 asks', () => {
  test.each([
    ['there is no admin queue', -ENODEV],
    ['its admin queue is dying', -ENODEV],
    ['a reset waits or runs', -ENODEV],
    ['nothing of these', 0],
  ] as const)('%s: %i', async (what, answer) => {
    const { p } = await wired({ era: '4.9' })
    const { ctrl, dev } = p
    const { admin_q } = ctrl
    if (what === 'there is no admin queue') ctrl.admin_q = null
    if (what === 'its admin queue is dying') admin_q!.dying = true
    if (what === 'a reset waits or runs') expect(nvme_reset(dev)).toBe(0)
    expect(nvme_reset(dev)).toBe(answer)
    // The state does not change before the work runs.
    expect(ctrl.state).toBe('LIVE')
    ctrl.admin_q = admin_q
    admin_q!.dying = false
    await p.settle()
    expect(ctrl.state).toBe('LIVE')
  })
})

describe('nvme-pci 6: stages of the reset and how they fail', () => {
  test('1: in a state that is not RESETTING the controller is given up', async () => {
    const { p } = await wired()
    const { ctrl } = p
    queue_work(p.nvme.module!.nvme.nvme_reset_wq, ctrl.reset_work)
    await p.run(10_000, () => p.nvme.ctrl(0) === null)
    expect(says(p, 'reset in state LIVE')).toBe(true)
    expect(says(p, `probe failure status: ${-ENODEV}`)).toBe(true)
    expect(p.nvme.ctrl(0)).toBeNull()
    expect(p.machine.books().problems).toEqual([])
  })

  test('6.1: CSTS of all ones: -ENODEV', async () => {
    let gone = false
    const wire = lying((offset, value) => (gone && offset === CSTS ? 0xffffffff : value))
    gone = true
    await wire.p.settle()
    expect(says(wire.p, `probe failure status: ${-ENODEV}`)).toBe(true)
    expect(wire.commands).toEqual([])
    expect(wire.p.machine.host!.blk.mem.used).toBe(0)
  })

  test('6.1: no vector at all', async () => {
    const wire = await wired(withConfig({ vectors: 0 }))
    expect(wire.p.nvme.ctrl(0)).toBeNull()
    expect(says(wire.p, 'probe failure status')).toBe(true)
  })

  test.each([
    [{ vendor: 0x106b, device: 0x2001 }, 63, 2],
    [{ vendor: 0x144d, device: 0xa821 }, 0, 64],
    [{ vendor: 0x144d, device: 0xa821 }, 31, 32],
  ])('6.1: depth of the queues of %j, MQES %i: %i', async (ids, mqes, depth) => {
    const change: Change = (at, value) => (at === 0 ? (value & ~0xffff) | mqes : value)
    const wire = lying(change, withConfig(ids))
    await wire.p.settle()
    expect(wire.p.dev.q_depth).toBe(depth)
    await goodRead(wire)
  })

  test('6.2: a smallest page that is larger than ours: not enabled, -ENODEV', async () => {
    const wire = lying((at, value) => (at === CAP_HIGH ? value | (1 << 16) : value))
    await wire.p.settle()
    expect(says(wire.p, 'Minimum device page size 8192 > host 4096')).toBe(true)
    expect(wire.writes.some(w => w.offset === CC && w.value & 1)).toBe(false)
  })

  test('6.2: AQA, ASQ, ACQ, then CC with what sections 1 and 6.2 say', async () => {
    const { writes } = await wired()
    const order = writes.map(w => w.offset).filter(at => at >= CC && at < 0x38)
    expect(order.slice(0, 7)).toEqual([CC, 0x24, 0x28, 0x2c, 0x30, 0x34, CC])
    expect(writes.filter(w => w.offset === CC).map(w => w.value)).toEqual([0, 0x00460001])
  })

  test('6.2: a subsystem reset that occurred is acknowledged', async () => {
    let done = false
    const wire = lying((at, v) => (at === CSTS && !done ? v | 0x10 : v), {})
    const { controller } = wire.p
    const { write32 } = controller
    controller.write32 = (offset, value) => {
      if (offset === CSTS && value === 0x10) done = true
      write32.call(controller, offset, value)
    }
    await wire.p.settle()
    expect(done).toBe(true)
    expect(wire.p.ctrl.state).toBe('LIVE')
  })

  test('6.2: controllers that need it are not asked for RDY before 2.3 s', async () => {
    const wire = await wired(withConfig({ vendor: 0x1bb1, device: 0x0100 }))
    const off = wire.writes.find(w => w.offset === CC)!
    const look = wire.reads.find(r => r.offset === CSTS && r.at > off.at)!
    expect((look.at - off.at) / SECOND).toBeGreaterThanOrEqual(2.3)
    await goodRead(wire)
  })

  test('6.5: Identify Controller fails: -EIO', async () => {
    const { p } = await wired(withConfig({ faults: [refused(6, 1)] }))
    expect(says(p, 'Identify Controller failed (6)')).toBe(true)
    expect(says(p, 'probe failure status: -5')).toBe(true)
    expect(p.nvme.ctrl(0)).toBeNull()
  })

  test('6.5: facts of Identify: limits, aborts, the subsystem and its name', async () => {
    const { p } = await wired({ controller: { config: { mdtsBytes: 65536, abortLimit: 3 } } })
    expect(p.ctrl.max_hw_sectors).toBe(128)
    expect(p.ctrl.abort_limit).toBe(3)
    expect(p.ctrl.subnqn).toBe('nqn.2014-08.org.nvmexpress:phasebit:nvme0')
    expect([...p.nvme.module!.nvme.subsystems.keys()]).toEqual([p.ctrl.subnqn])
  })

  test.each([
    [0x00010300, true],
    [0x00010200, false],
  ])(
    '6.5: version %i without a name: it is made of the ids; said of 1.2.1: %s',
    async (vs, told) => {
      const { p } = await wired(withConfig({ nqn: '', version: vs }))
      expect(p.ctrl.subnqn).toMatch(/^nqn\.2014\.08\.org\.nvmexpress:1b361af4phasebit0/)
      expect(says(p, 'missing or invalid SUBNQN')).toBe(told)
    },
  )

  test.each([
    [0, 5],
    [1, 5],
    [12_900_000, 12],
    [600_000_000, 60],
  ])('6.5: RTD3E of %i µs: %i s for a shutdown', (rtd3e, seconds) => {
    expect(nvme_shutdown_timeout(rtd3e)).toBe(seconds)
  })

  test.each([
    [5, 3, 2],
    [1, 2, 1],
  ])('6.6: opcode %i refused the %i. time: fewer queues, and they work', async (opcode, nth, n) => {
    const wire = await wired({ cpus: 4, ...withConfig({ faults: [refused(opcode, nth)] }) })
    expect(wire.p.dev.online_queues - 1).toBe(n)
    expect(wire.p.ctrl.state).toBe('LIVE')
    // A completion queue without its submission queue goes again.
    expect(wire.of(4, true)).toHaveLength(opcode === 1 ? 1 : 0)
    for (let cpu = 0; cpu < 4; cpu++) await goodRead(wire, cpu)
  })

  test('6.7: doorbell buffers are refused: a warning, real doorbells', async () => {
    const faults = [refused(0x7c, 1)]
    const wire = await wired({ shadow: true, ...withConfig({ faults }) })
    expect(says(wire.p, 'unable to set dbbuf')).toBe(true)
    expect(wire.p.dev.dbbuf_dbs).toBe(0)
    expect(wire.p.machine.view.u32(wire.p.dev.queues[1]!.at + L.NQ_SHADOW_SQ)).toBe(0)
    await goodRead(wire)
  })

  test('6.7: a status for the host memory buffer is tolerated, and the memory given back', async () => {
    const match = { opcode: 9, admin: true }
    const hostMemory = { preferred: 64, minimum: 16 }
    const faults: FaultRule[] = [
      { match: { ...match, nth: 2 }, action: { kind: 'status', status: 2 } },
    ]
    const wire = await wired({ shadow: false, ...withConfig({ hostMemory, faults }) })
    const features = wire.of(9, true).map(c => c.cdw[0]! & 0xff)
    expect(features.indexOf(0x0d)).toBe(1)
    expect(says(wire.p, 'failed to set host mem')).toBe(true)
    expect(wire.p.dev.host_mem).toBeNull()
    await goodRead(wire)
  })

  test('6.7: a host memory buffer for which there is no memory: a warning, and it works without', async () => {
    const hostMemory = { preferred: 8192, minimum: 8192 }
    const wire = await wired(withConfig({ hostMemory }))
    expect(says(wire.p, 'failed to allocate host memory buffer')).toBe(true)
    expect(wire.of(9, true).some(c => (c.cdw[0]! & 0xff) === 0x0d)).toBe(false)
    await goodRead(wire)
  })
})

describe('nvme-pci 7: nvme_queue_rq', () => {
  test('a queue that is suspended takes nothing: IOERR, and its bell is not rung', async () => {
    const wire = await wired({ cpus: 1 })
    const { p } = wire
    const { view } = p.machine
    const { at } = p.dev.queues[1]!
    const tail = view.u32(at + L.NQ_SQ_TAIL)
    view.setU32(at + L.NQ_SHARED, view.u32(at + L.NQ_SHARED) | L.NQ_SUSPENDED)
    expect(await p.task(() => blkdev_read_iter(p.io(1)))).toBe(N.BLK_STS_IOERR)
    expect(view.u32(at + L.NQ_SQ_TAIL)).toBe(tail)
    view.setU32(at + L.NQ_SHARED, view.u32(at + L.NQ_SHARED) & ~L.NQ_SUSPENDED)
    await goodRead(wire)
  })
})

describe('nvme-pci 8: commands', () => {
  /** The command of one bio with these flags. */
  async function sent(opf: number, bytes = 4096): Promise<readonly number[]> {
    const wire = await wired({ cpus: 1, ...withConfig({ writeCache: true, faults: [] }) })
    const { p } = wire
    const q = p.q()
    wire.commands.length = 0
    const make = (end_io: () => void): number =>
      bio_alloc_bioset(q.blk, { q, opf, sector: 24, bytes, data: p.data, end_io })
    const { bio } = await p.task(() => submit_bio_wait(q, make))
    bio_put(q.blk, bio)
    const [command] = wire.commands.filter(c => c.qid === 1)
    return command === undefined ? [] : [command.opcode, ...command.cdw.slice(0, 4)]
  }

  const LR = 2 ** 31
  const FUA = 2 ** 30
  test.each([
    ['read', N.REQ_OP_READ, [2, 24, 0, 7, 0]],
    ['write', N.REQ_OP_WRITE, [1, 24, 0, 7, 0]],
    ['write, FUA', N.REQ_OP_WRITE | N.REQ_FUA, [1, 24, 0, 7 + FUA, 0]],
    ['read that may fail fast', N.REQ_OP_READ | N.REQ_FAILFAST_DEV, [2, 24, 0, 7 + LR, 0]],
    ['readahead', N.REQ_OP_READ | N.REQ_RAHEAD, [2, 24, 0, 7 + LR, 7]],
    ['discard', N.REQ_OP_DISCARD, [9, 0, 4, 0, 0]],
  ])('%s', async (_, opf, words) => {
    expect(await sent(opf)).toEqual(words)
  })

  test('flush: the namespace alone', async () => {
    const wire = await wired({ cpus: 1, ...withConfig({ writeCache: true, faults: [] }) })
    wire.commands.length = 0
    await wire.p.task(() => blkdev_fsync(wire.p.q()))
    expect(wire.commands.map(c => [c.opcode, ...c.cdw])).toEqual([[0, 0, 0, 0, 0, 0, 0]])
  })
})

describe('nvme-pci 11: timeouts', () => {
  /** The first read is lost; rules for what else goes wrong. */
  const lost = (...more: FaultRule[]): ProbedOptions =>
    withConfig({ faults: [{ match: { opcode: 2, nth: 1 }, action: { kind: 'drop' } }, ...more] })

  test('1: the channel is offline: the timer runs on, and nothing is sent', async () => {
    const wire = await wired(lost())
    const { p } = wire
    const pdev = p.nvme.bus.devices[0]!
    pdev.offline = true
    let status = -1
    p.k.spawn('reader', function* () {
      status = yield* blkdev_read_iter(p.io(1))
    })
    await p.run(100_000)
    expect(wire.of(8, true)).toEqual([])
    expect(status).toBe(-1)
    pdev.offline = false
    await p.run(100_000, () => status !== -1)
    expect(status).toBe(0)
    expect(wire.of(8, true)).toHaveLength(1)
  })

  test('1: not so for a controller that goes: nobody will recover it (seed 900877)', async () => {
    const { p } = await wired(lost())
    const { queue } = p.ctrl.namespaces[0]!
    p.nvme.bus.devices[0]!.offline = true
    let status = -1
    p.k.spawn('reader', function* () {
      status = yield* blkdev_read_iter({ ...p.io(1), q: queue })
    })
    await p.run(10)
    expect(nvme_change_ctrl_state(p.ctrl, 'DELETING')).toBe(true)
    await p.run(100_000, () => status !== -1)
    expect(status).toBe(N.BLK_STS_IOERR)
    expect(p.dev.online_queues).toBe(0)
  })

  test('3: an entry that nobody was interrupted for ends its request', async () => {
    const wire = await wired({ cpus: 1, ...lost() })
    const { p } = wire
    const nvmeq = p.dev.queues[1]!
    let status = -1
    p.k.spawn('reader', function* () {
      status = yield* blkdev_read_iter(p.io(1))
    })
    await p.run(1000)
    const { view } = p.machine
    const [read] = wire.of(2).slice(-1)
    wire.post(
      nvmeq,
      view.u32(nvmeq.at + L.NQ_CQ_HEAD),
      view.u32(nvmeq.at + L.NQ_CQ_PHASE),
      read!.cid,
    )
    await p.run(100_000, () => status !== -1)
    expect(status).toBe(0)
    expect(says(p, 'completion polled')).toBe(true)
    expect(wire.of(8, true)).toEqual([])
    expect(p.ctrl.state).toBe('LIVE')
  })

  test('5: an admin command: the controller is reset, who waits gets -EINTR', async () => {
    const rule: FaultRule = { match: { opcode: 0xa, admin: true }, action: { kind: 'drop' } }
    const { p } = await wired(withConfig({ faults: [rule] }))
    const cmd = { opcode: 0xa, cdw10: 7 }
    const q = p.ctrl.admin_q!
    const from = p.machine.now()
    expect(await p.task(() => nvme_submit_sync_cmd(q, cmd))).toBe(-4)
    expect((p.machine.now() - from) / SECOND).toBeGreaterThanOrEqual(59.99)
    expect(says(p, 'QID 0 timeout, reset controller')).toBe(true)
    await p.settle()
    expect(p.ctrl.state).toBe('LIVE')
  })

  test('7: the limit of aborts goes down for one, and up when it ended', async () => {
    const rule: FaultRule = {
      match: { opcode: 8, admin: true },
      action: { kind: 'delay', ns: 5 * SECOND },
    }
    const wire = await wired(lost(rule))
    const { p } = wire
    const before = p.ctrl.abort_limit
    p.k.spawn('reader', function* () {
      yield* blkdev_read_iter(p.io(1))
    })
    await p.run(100_000, () => wire.of(8, true).length > 0)
    expect(p.ctrl.abort_limit).toBe(before - 1)
    const [abort] = wire.of(8, true)
    const [read] = wire.of(2).slice(-1)
    expect(abort!.cdw[0]).toBe((read!.cid << 16) | read!.qid)
    await p.run(20_000)
    expect(p.ctrl.abort_limit).toBe(before)
    expect(says(p, 'Abort status: 0x0')).toBe(true)
  })

  test.each(['RESETTING', 'CONNECTING'] as const)(
    '4: in state %s: disabled, cancelled',
    async state => {
      const { p } = await wired(lost())
      let status = -1
      p.k.spawn('reader', function* () {
        status = yield* blkdev_read_iter(p.io(1))
      })
      await p.run(10)
      const { ctrl, dev } = p
      const { view } = p.machine
      const hctx = p.q().queue_hw_ctx.find(h => view.u32(h.at + L.HC_NR_ACTIVE) >= 0)!
      expect(hctx).toBeDefined()
      expect(nvme_change_ctrl_state(ctrl, 'RESETTING')).toBe(true)
      if (state === 'CONNECTING') expect(nvme_change_ctrl_state(ctrl, 'CONNECTING')).toBe(true)
      const rq = inFlight(p)
      expect(await p.task(() => nvme_timeout(dev, p.q(), rq))).toBe(0)
      expect(says(p, 'timeout, disable controller')).toBe(true)
      expect(dev.online_queues).toBe(0)
      // While it connects nobody would ever try again: it is given up, and what waited fails.
      if (state === 'CONNECTING') expect(ctrl.state).toBe('DELETING')
      await p.run(10)
      expect(status).toBe(state === 'CONNECTING' ? N.BLK_STS_IOERR : -1)
    },
  )

  /** The request of the one I/O that is under way. */
  function inFlight(p: Probed): number {
    const { view } = p.machine
    const { tags } = p.dev.tagset!
    for (const one of tags)
      for (let i = 0; i < view.u32(one + L.TAGS_NR); i++) {
        const rq = view.u32(one + L.TAGS_STATIC_RQS) + i * L.RQ_SIZE
        if (view.load(rq + L.RQ_STATE) === L.MQ_RQ_IN_FLIGHT) return rq
      }
    throw new Error('nothing is in flight')
  }
})

describe('nvme-pci 12: what becomes of errors', () => {
  const all = (statuses: readonly number[], end: number): (readonly [number, number])[] =>
    statuses.map(status => [status, end])

  test.each<readonly [number, number]>([
    [0x000, N.BLK_STS_OK],
    [0x081, N.BLK_STS_NOSPC],
    [0x080, N.BLK_STS_TARGET],
    ...all([0x001, 0x002, 0x00b, 0x180, 0x183], N.BLK_STS_NOTSUPP),
    ...all([0x280, 0x281, 0x286, 0x287, 0x182, 0x285], N.BLK_STS_MEDIUM),
    ...all([0x282, 0x283, 0x284, 0x181], N.BLK_STS_PROTECTION),
    [0x083, N.BLK_STS_NEXUS],
    ...all([0x006, 0x007, 0x004, 0x370, 0x021], N.BLK_STS_IOERR),
  ])('status %i', (status, end) => {
    expect(nvme_error_status(status)).toBe(end)
    // DNR and More are not looked at.
    expect(nvme_error_status(status | 0x6000)).toBe(end)
  })

  test('commands of the driver and of programs are not tried again', async () => {
    const match = { opcode: 0xa, admin: true, nth: 1, count: 2 }
    const faults: FaultRule[] = [{ match, action: { kind: 'status', status: 6 } }]
    const wire = await wired(withConfig({ faults }))
    const { p } = wire
    wire.commands.length = 0
    const cmd = { opcode: 0xa, cdw10: 7 }
    expect(await p.task(() => nvme_submit_sync_cmd(p.ctrl.admin_q!, cmd))).toBe(6)
    const passthru = { cmd, addr: 0, data_len: 0 }
    const result = { u32: 0, u64: 0n }
    const ioctl = (): ReturnType<typeof nvme_dev_ioctl> =>
      nvme_dev_ioctl(p.ctrl, { op: 'admin', passthru, result })
    expect(await p.task(ioctl)).toBe(6)
    expect(wire.of(0xa, true)).toHaveLength(2)
  })

  test('CRD: the controller says after which of its delays a command is tried again', async () => {
    const status = 0x006 | (2 << 11)
    const rule: FaultRule = { match: { opcode: 2, nth: 1 }, action: { kind: 'status', status } }
    const wire = await wired(withConfig({ retryDelays: [1, 7, 0], faults: [rule] }))
    expect(await wire.p.task(() => blkdev_read_iter(wire.p.io(1)))).toBe(0)
    const [first, second] = wire.of(2).slice(-2)
    expect((second!.at - first!.at) / SECOND).toBeGreaterThanOrEqual(0.696)
    expect((second!.at - first!.at) / SECOND).toBeLessThan(0.72)
  })

  test.each([
    ['4.19', 0, 2],
    ['4.9', N.BLK_STS_IOERR, 1],
  ] as const)('%s: a read that took its whole timeout', async (era: KernelEra, end, tries) => {
    const late: FaultRule = { match: { opcode: 2, nth: 1 }, action: { kind: 'drop' } }
    const wire = await wired({ era, ...withConfig({ faults: [late] }) })
    const { p } = wire
    wire.commands.length = 0
    expect(await p.task(() => blkdev_read_iter(p.io(1)))).toBe(end)
    expect(wire.of(2)).toHaveLength(tries)
    expect(p.machine.books().problems).toEqual([])
  })

  test('4.9: one that failed sooner is tried again', async () => {
    const early: FaultRule = { match: { opcode: 2, nth: 1 }, action: { kind: 'status', status: 6 } }
    const wire = await wired({ era: '4.9', ...withConfig({ faults: [early] }) })
    await goodRead(wire)
  })
})

describe('nvme-pci 13: events, firmware, scans', () => {
  test('an event with an error is not asked for again', async () => {
    const wire = await wired()
    const { p } = wire
    await p.run(100)
    const before = wire.of(0xc, true).length
    const nvmeq = p.dev.queues[0]!
    const { view, core } = { view: p.machine.view, core: p.machine.host!.blk.core }
    const head = view.u32(nvmeq.at + L.NQ_CQ_HEAD)
    wire.post(nvmeq, head, view.u32(nvmeq.at + L.NQ_CQ_PHASE), 31, 0x105)
    core.nvme_process_cq(p.machine.cpuAddress(0), nvmeq.at, 0xffffffff)
    await p.run(100)
    expect(wire.of(0xc, true)).toHaveLength(before)
  })

  test('a namespace goes and comes: the log of changes is read each time, and its disk goes and comes', async () => {
    const wire = await wired()
    const { p } = wire
    /** Attaches the namespace (0) or takes it away (1), as another controller's host would. */
    const attach = (select: number): Promise<number> =>
      p.task(function* () {
        const q = p.ctrl.admin_q!
        const at = q.blk.mem.kzalloc(4096)
        q.blk.view.setU32(at, 1)
        const status = yield* nvme_submit_sync_cmd(
          q,
          { opcode: 0x15, nsid: 1, cdw10: select },
          at,
          4096,
        )
        q.blk.mem.kfree(at)
        return status
      })
    for (const [select, nsids] of [
      [1, []],
      [0, [1]],
    ] as const) {
      wire.commands.length = 0
      expect(await attach(select)).toBe(0)
      await p.run(1000)
      expect(p.ctrl.namespaces.map(ns => ns.ns_id)).toEqual(nsids)
      expect(wire.of(2, true).map(c => c.cdw[0]! & 0xff)).toEqual([4])
    }
    await goodRead(wire)
  })

  test.each([
    ['lists from 1.1 on', {}, [2]],
    ['version 1.0', { version: 0x00010000 }, []],
    ['a controller whose lists do not work', { vendor: 0x8086, device: 0x5845 }, []],
  ] as const)('a scan: %s', async (_, config, lists) => {
    const wire = await wired(withConfig(config))
    const cns = wire.of(6, true).map(c => c.cdw[0]! & 0xff)
    expect(cns.filter(n => n === 2)).toEqual(lists)
    expect(wire.p.ctrl.namespaces.map(ns => ns.ns_id)).toEqual([1])
    await goodRead(wire)
  })

  test('a scan whose list fails asks for one after the other', async () => {
    const wire = await wired()
    const { p } = wire
    // Of the next scan, Identify Controller comes first.
    const takeBack = p.controller.inject(refused(6, 2))
    wire.commands.length = 0
    p.ctrl.events.changed_ns = true
    queue_work(p.nvme.module!.nvme.nvme_wq, p.ctrl.scan_work)
    await p.run(1000)
    takeBack()
    const cns = wire.of(6, true).map(c => c.cdw[0]! & 0xff)
    expect(cns.slice(0, 2)).toEqual([1, 2])
    // NN is 4: namespace 1 and three that are not there.
    expect(wire.of(6, true).filter(c => (c.cdw[0]! & 0xff) === 0)).toHaveLength(4)
    expect(p.ctrl.namespaces.map(ns => ns.ns_id)).toEqual([1])
  })

  test('descriptors of a namespace are read from 1.3 on', async () => {
    for (const [version, n] of [
      [0x00010300, true],
      [0x00010200, false],
    ] as const) {
      const wire = await wired(withConfig({ version }))
      expect(wire.of(6, true).some(c => (c.cdw[0]! & 0xff) === 3)).toBe(n)
    }
  })

  test('firmware that is not active in time: the controller is reset, and goes on', async () => {
    const wire = await wired(withConfig({ activateNs: 90 * SECOND }))
    const { p } = wire
    p.ctrl.mtfa = 20
    const commit = { opcode: 0x10, cdw10: 1 | (3 << 3) }
    const from = p.machine.now()
    expect(await p.task(() => nvme_submit_sync_cmd(p.ctrl.admin_q!, commit))).toBe(0)
    await p.run(30_000, () => says(p, 'Fw activation timeout'))
    expect((p.machine.now() - from) / SECOND).toBeGreaterThanOrEqual(2)
    expect((p.machine.now() - from) / SECOND).toBeLessThan(4)
    await p.settle(300_000)
    await goodRead(wire)
    expect(p.ctrl.state).toBe('LIVE')
  })

  test('after an activation the log of firmware slots is read', async () => {
    const wire = await wired(withConfig({ activateNs: 50e6 }))
    const { p } = wire
    wire.commands.length = 0
    const commit = { opcode: 0x10, cdw10: 1 | (3 << 3) }
    await p.task(() => nvme_submit_sync_cmd(p.ctrl.admin_q!, commit))
    await p.run(2000)
    // 4.19.71 swaps two arguments: page 0, and 3 as its parameter.
    expect(wire.of(2, true).map(c => c.cdw[0]! & 0xffff)).toContain(0x0300)
  })
})

describe('nvme-pci 14: the controller is stopped', () => {
  test('all submission queues are deleted, then all completion queues, the last one first', async () => {
    const wire = await wired({ cpus: 3 })
    const { p } = wire
    wire.commands.length = 0
    nvme_reset_ctrl(p.ctrl)
    await p.settle()
    const deletions = wire.commands.filter(c => c.qid === 0 && (c.opcode === 0 || c.opcode === 4))
    expect(deletions.map(c => [c.opcode, c.cdw[0]])).toEqual([
      [0, 3],
      [0, 2],
      [0, 1],
      [4, 3],
      [4, 2],
      [4, 1],
    ])
  })

  test.each([
    ['fatal', 2, 0],
    ['not ready', 0, 1],
  ])('a controller that is %s is asked nothing', async (_, set, clear) => {
    let dead = false
    const change: Change = (at, v) => (at === CSTS && dead ? (v | set) & ~clear : v)
    const wire = lying(change)
    const { p } = wire
    await p.settle()
    wire.commands.length = 0
    dead = true
    nvme_change_ctrl_state(p.ctrl, 'RESETTING')
    const cc = wire.writes.filter(w => w.offset === CC).length
    await p.task(() => nvme_dev_disable(p.dev, false))
    expect(wire.commands).toEqual([])
    expect(wire.writes.filter(w => w.offset === CC)).toHaveLength(cc)
    expect(p.dev.online_queues).toBe(0)
  })

  test.each([
    ['a minute', {}, 60],
    ['as long as admin_timeout says', { admin_timeout: 2 }, 2],
  ])(
    'a deletion that is not answered is waited for %s; the queues go without',
    async (_, has, s) => {
      const rule: FaultRule = { match: { opcode: 0, admin: true }, action: { kind: 'drop' } }
      const { controller } = withConfig({ faults: [rule] })
      const wire = await wired({ cpus: 2, controller: { ...controller, ...has } })
      const { p } = wire
      nvme_change_ctrl_state(p.ctrl, 'RESETTING')
      wire.commands.length = 0
      const from = p.machine.now()
      await p.task(() => nvme_dev_disable(p.dev, false))
      expect((p.machine.now() - from) / SECOND).toBeGreaterThanOrEqual(s - 0.1)
      expect((p.machine.now() - from) / SECOND).toBeLessThan(s + 2)
      expect(wire.of(4, true)).toEqual([])
      expect(p.dev.online_queues).toBe(0)
    },
  )

  test.each([
    ['half a minute', {}, 30],
    ['as long as io_timeout says', { io_timeout: 10 }, 10],
  ])('a shutdown waits %s for what is under way, then it is cancelled', async (_, has, s) => {
    const rule: FaultRule = { match: { opcode: 2, nth: 1 }, action: { kind: 'drop' } }
    const { p } = await wired({ controller: { ...has, config: { faults: [rule] } } })
    let status = -1
    p.k.spawn('reader', function* () {
      status = yield* blkdev_read_iter(p.io(1))
    })
    await p.run(10)
    const from = p.machine.now()
    await p.task(() => p.nvme.module!.driver.shutdown!(p.nvme.bus.devices[0]!))
    expect((p.machine.now() - from) / SECOND).toBeGreaterThanOrEqual(s - 0.1)
    expect((p.machine.now() - from) / SECOND).toBeLessThan(s + 2)
    await p.run(100)
    // It was tried again on queues that are gone.
    expect(status).toBe(N.BLK_STS_IOERR)
    expect(p.machine.books().problems).toEqual([])
  })

  test('14.1: frozen once however often it is disabled; thawed by the reset', async () => {
    const wire = await wired()
    const { p } = wire
    nvme_change_ctrl_state(p.ctrl, 'RESETTING')
    await p.task(() => nvme_dev_disable(p.dev, false))
    await p.task(() => nvme_dev_disable(p.dev, false))
    expect(p.q().mq_freeze_depth).toBe(1)
    queue_work(p.nvme.module!.nvme.nvme_reset_wq, p.ctrl.reset_work)
    await p.settle()
    expect(p.q().mq_freeze_depth).toBe(0)
    await goodRead(wire)
  })

  test('14.1: who comes while it is frozen waits at the door, and goes in when it is thawed', async () => {
    const wire = await wired(withConfig({ readyNs: 2 * SECOND }))
    const { p } = wire
    nvme_reset_ctrl(p.ctrl)
    await p.run(100)
    expect(p.q().mq_freeze_depth).toBe(1)
    const reads = wire.of(2).length
    const from = p.machine.now()
    expect(await p.task(() => blkdev_read_iter(p.io(2)))).toBe(0)
    expect(p.machine.now() - from).toBeGreaterThan(SECOND)
    expect(wire.of(2).length - reads).toBe(1)
  })

  test('a reset that fails: no capacity, and who waits is sent away', async () => {
    const { p } = await wired(withConfig({ timeout: 2 }))
    const { view } = p.machine
    const q = p.q()
    const config = p.controller.config as { readyNs: number }
    config.readyNs = 60 * SECOND
    nvme_reset_ctrl(p.ctrl)
    await p.run(100)
    expect(await p.task(() => blkdev_read_iter({ ...p.io(1), q }))).toBe(N.BLK_STS_IOERR)
    expect(view.u64(q.at + L.Q_CAPACITY)).toBe(0)
  })
})

describe('nvme-pci 15: the function is reset, the bus has errors', () => {
  const content = (p: Probed): void => {
    p.machine.view.bytes.fill(7, p.data, p.data + 4096)
  }

  test('a function level reset: stopped before, up again when it returns', async () => {
    const wire = await wired()
    const { p } = wire
    content(p)
    expect(await p.task(() => blkdev_write_iter(p.io(3, true)))).toBe(0)
    p.machine.view.bytes.fill(0, p.data, p.data + 4096)
    await p.task(() => pci_reset_function(p.nvme.bus.devices[0]!))
    expect(p.ctrl.state).toBe('LIVE')
    await goodRead(wire)
    expect(p.machine.view.bytes[p.data]).toBe(7)
  })

  test.each([0, 5, 50, 150, 250])(
    'a function level reset %i ms into another reset waits for it; the queues are thawed',
    async ms => {
      const wire = await wired(withConfig({ readyNs: 100e6 }))
      const { p } = wire
      const q = p.q()
      expect(nvme_reset_ctrl(p.ctrl)).toBe(0)
      await p.run(ms)
      const resets: number[] = []
      const reset = function* () {
        yield* pci_reset_function(p.nvme.bus.devices[0]!)
        resets.push(q.mq_freeze_depth)
      }
      for (let n = 0; n < 2; n++) p.k.spawn('flr', reset)
      await p.run(60_000, () => resets.length === 2)
      expect(resets).toEqual([0, 0])
      expect(p.ctrl.state).toBe('LIVE')
      await goodRead(wire)
    },
  )

  test('who sleeps is neither reset nor recovered before it wakes up', async () => {
    const wire = await wired()
    const { p } = wire
    const dev = p.nvme.bus.devices[0]!
    const ends: (string | number)[] = []
    p.k.spawn('sleep', function* () {
      ends.push(yield* pci_pm_suspend(dev))
      yield* msleep(p.k, 100_000)
      ends.push(yield* pci_pm_resume(dev))
    })
    await p.run(1000)
    expect(ends).toEqual([0])
    p.k.spawn('flr', function* () {
      yield* pci_reset_function(dev)
      ends.push('reset')
    })
    p.k.spawn('aer', function* () {
      ends.push(yield* pcie_do_recovery(dev, 'frozen'))
    })
    await p.run(60_000)
    expect(ends).toEqual([0])
    await p.run(120_000, () => ends.length === 4)
    expect(ends).toEqual([0, 0, 'reset', 'recovered'])
    expect(p.q().mq_freeze_depth).toBe(0)
    await goodRead(wire)
  })

  test('a frozen channel in the middle of a reset: the controller is given up, and nobody waits', async () => {
    const { p } = await wired(withConfig({ readyNs: SECOND }))
    const q = p.q()
    nvme_reset_ctrl(p.ctrl)
    await p.run(500)
    let status = -1
    p.k.spawn('reader', function* () {
      status = yield* blkdev_read_iter({ ...p.io(1), q })
    })
    const dev = p.nvme.bus.devices[0]!
    expect(await p.task(() => pcie_do_recovery(dev, 'frozen'))).toBe('disconnect')
    await p.run(60_000, () => p.nvme.ctrl(0) === null && status !== -1)
    expect(p.nvme.ctrl(0)).toBe(null)
    expect(status).toBe(N.BLK_STS_IOERR)
    expect(p.machine.books().problems).toEqual([])
  })

  test('a frozen channel: nothing is asked of the controller; it is reset, I/O goes on', async () => {
    const wire = await wired()
    const { p } = wire
    let ended = 0
    for (let n = 0; n < 4; n++)
      p.k.spawn(`r${n}`, function* () {
        if ((yield* blkdev_read_iter(p.io(n))) === 0) ended++
      })
    wire.commands.length = 0
    expect(await p.task(() => pcie_do_recovery(p.nvme.bus.devices[0]!, 'frozen'))).toBe('recovered')
    // The queues went with the reset of the slot: none was deleted.
    expect(wire.commands.filter(c => c.qid === 0 && (c.opcode === 0 || c.opcode === 4))).toEqual([])
    await p.run(1000)
    expect(ended).toBe(4)
    expect(says(p, 'restart after slot reset')).toBe(true)
    await goodRead(wire)
  })

  test.each([
    ['normal', 'can_recover', 'LIVE'],
    ['perm_failure', 'disconnect', 'LIVE'],
  ] as const)('an error with the channel %s: %s', async (state, answer, ends) => {
    const { p } = await wired()
    const online = p.dev.online_queues
    expect(await p.task(() => pcie_do_recovery(p.nvme.bus.devices[0]!, state))).toBe(answer)
    expect(p.ctrl.state).toBe(ends)
    expect(p.dev.online_queues).toBe(online)
  })
})
