// The NVMe driver and its controller under random trouble, from seeds: tasks on several CPUs write and read back their own
// blocks while commands are dropped, delayed, completed twice or under a wrong identifier, the controller is reset, loses its
// power, and sometimes stops for good or is pulled out. Every I/O ends once; what was written is read; what was acknowledged and flushed is
// there after the power was gone, and no block is torn; no tag, no memory and no work is left; the controller is LIVE, or gone.
// In a quarter of the seeds the bus has its say too: function level resets, suspend and resume, errors, one in the middle of another.

import assert from 'node:assert/strict'
import { Prng } from '../../src/core/prng.js'
import type { FaultRule } from '../../src/device/nvme/faults.js'
import { nvme_reset_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter } from '../../src/fs/block_dev.js'
import type { Sleep } from '../../src/kernel/core.js'
import { NVME_CSTS_RDY, NVME_REG_CSTS } from '../../src/drivers/nvme/host/nvme.js'
import {
  pci_pm_resume,
  pci_pm_suspend,
  pci_reset_function,
  pci_stop_and_remove_bus_device,
  pcie_do_recovery,
  readl,
} from '../../src/kernel/pci.js'
import { msleep } from '../../src/kernel/timer-sleep.js'
import { Probed } from '../unit/nvme/probed.js'
import type { SimFacts } from './simulate.js'

const ROUNDS = 6
const BLOCK = 4096
const BLOCKS = 16
const BUS_SEED = 0x62757300
const IO_TIMEOUT_NS = 30e9

function draw(r: Prng, n: number): number {
  return r.below(n)
}

function faults(r: Prng): FaultRule[] {
  const kinds: FaultRule['action'][] = [
    { kind: 'drop' },
    { kind: 'duplicate' },
    { kind: 'delay', ns: 40e9 },
    { kind: 'corrupt', what: 'cid' },
    { kind: 'corrupt', what: 'phase' },
    { kind: 'status', status: 0x0006 },
  ]
  return Array.from({ length: draw(r, 3) }, () => ({
    match: { nth: 1 + draw(r, 20) },
    action: kinds[draw(r, kinds.length)]!,
  }))
}

/** The controller stops at one of its commands, with or without saying so. */
function silence(r: Prng): FaultRule {
  const match = draw(r, 2) === 0 ? { nth: 1 + draw(r, 40) } : { admin: true, nth: 1 + draw(r, 30) }
  return { match, action: { kind: 'stuck', fatal: draw(r, 2) === 0 } }
}

interface Story {
  readonly p: Probed
  readonly r: Prng
  ended: number
  begun: number
  failed: number
  wrong: number
  /** Tasks of the bus at work, and whether one suspended the controller. */
  bus: number
  suspended: boolean
  /** Times that the power went. */
  epoch: number
  readonly lba: number
}

/** What a block of a worker may hold: after the power went, anything since the last flush, or what that made sure. */
interface Content {
  durable: ReadonlySet<number>
  since: Set<number>
}

/** Every logical block is of one write, one that it may be; the byte of the first. */
function whole(s: Story, data: number, may: (byte: number) => boolean): boolean {
  const { bytes } = s.p.machine.view
  for (let at = data; at < data + BLOCK; at += s.lba) {
    const byte = bytes[at]!
    if (!may(byte) || !PAGES[byte]!.equals(bytes.subarray(at, at + s.lba), s.lba)) return false
  }
  return true
}

/** A page of each byte, to compare with. */
const PAGES = Array.from({ length: 256 }, (_, byte) => {
  const page = Buffer.alloc(BLOCK, byte)
  return {
    equals: (other: Uint8Array, length: number): boolean =>
      page.compare(other, 0, length, 0, length) === 0,
  }
})

/**
 * Runs an I/O to its end. 4.9 does not try again what has taken its whole timeout: with a word in the log or, behind a channel
 * that is offline, without.
 */
function* good(s: Story, io: Sleep<number>): Sleep<boolean> {
  const { machine, nvme } = s.p
  const asked = machine.now()
  s.begun++
  const status = yield* io
  s.ended++
  const late = machine.now() - asked >= IO_TIMEOUT_NS && nvme.module!.nvme.era.retries_in_time
  if (status !== 0 && !late) s.failed++
  return status === 0
}

/** Writes its own blocks and reads them back. */
function* worker(s: Story, task: number, io: ReturnType<Probed['io']>): Sleep<void> {
  const { p, r } = s
  const { view } = p.machine
  const data = p.data + task * BLOCK
  const contents = Array.from({ length: BLOCKS }, (): Content => {
    return { durable: new Set([0]), since: new Set() }
  })
  for (let round = 0; round < ROUNDS; round++) {
    const block = draw(r, BLOCKS)
    const at = { ...io, pos: (task * BLOCKS + block) * BLOCK, data }
    const byte = 1 + draw(r, 255)
    const content = contents[block]!
    const began = s.epoch
    view.bytes.fill(byte, data, data + BLOCK)
    content.since.add(byte)
    if (!(yield* good(s, blkdev_write_iter({ ...at, write: true })))) return
    const sure = s.epoch === began
    if (draw(r, 3) === 0) {
      const before = s.epoch
      if (!(yield* good(s, blkdev_fsync(at.q)))) return
      if (s.epoch === before && sure && before === began) {
        content.durable = new Set([byte])
        content.since.clear()
      }
    }
    view.bytes.fill(0, data, data + BLOCK)
    if (!(yield* good(s, blkdev_read_iter(at)))) return
    const { durable, since } = content
    const known = sure && s.epoch === began
    const may = (b: number): boolean => (known ? b === byte : durable.has(b) || since.has(b))
    if (!whole(s, data, may)) s.wrong++
    if (draw(r, 3) === 0) yield* msleep(p.k, draw(r, 20))
  }
}

/** Of what was not flushed some blocks are kept, as a drive may have written them by itself. */
function lose(s: Story): void {
  s.epoch++
  s.p.controller.powerLoss(() => draw(s.r, 2) === 0)
}

/** Resets and losses of power while the tasks work. */
async function disturb(s: Story, powers: boolean): Promise<void> {
  const { p, r } = s
  for (let n = draw(r, 3) + (powers ? 1 : 0); n > 0; n--) {
    await p.run(draw(r, 20) / 10)
    const loses = powers && draw(r, 3) > 0
    if (loses) lose(s)
    // Without a reset the driver finds out by its timeouts.
    const ctrl = p.nvme.ctrl(0)
    if (ctrl && (!loses || draw(r, 2) === 0)) nvme_reset_ctrl(ctrl)
  }
}

/** Runs a seed. @throws Error that names it and what is wrong */
export async function simulateNvme(seed: number): Promise<SimFacts> {
  try {
    return await run(seed)
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
  }
}

async function run(seed: number): Promise<SimFacts> {
  const r = new Prng(seed)
  const cpus = 1 + draw(r, 4)
  const shadow = draw(r, 2) === 0
  const era = draw(r, 4) === 0 ? '4.9' : '4.19'
  const removes = draw(r, 8) === 0
  const powers = draw(r, 3) === 0
  const lba = draw(r, 2) === 0 ? 512 : 4096
  const config = {
    faults: faults(r),
    readyNs: draw(r, 3) * 1e6,
    adminNs: draw(r, 2) * 50_000,
    trackCache: powers,
  }
  const p = new Probed({
    cpus,
    era,
    shadow,
    seed,
    device: `nvme,size=16M,lba=${lba},depth=${8 + draw(r, 24)},model=fixed`,
    controller: { config },
  })
  await p.settle(400_000)
  const s: Story = {
    ...{ p, r, ended: 0, begun: 0, failed: 0, wrong: 0, epoch: 0, lba },
    ...{ bus: 0, suspended: false },
  }
  const tasks = 1 + draw(r, 6)
  const io = p.io(0)
  for (let t = 0; t < tasks; t++) p.k.spawn(`w${t}`, () => worker(s, t, io), [t % cpus])
  if (draw(r, 6) === 0) p.controller.inject(silence(r))
  await disturb(s, powers)
  // Drawn from a stream of its own: what other seeds do stays as it was.
  const own = new Prng(seed ^ BUS_SEED)
  if (draw(own, 4) === 0) await disturbBus(s, own)
  if (removes) {
    await p.run(draw(r, 10) / 10)
    p.controller.surpriseRemove()
    const dev = p.nvme.bus.devices[0]!
    await p.task(() => pci_stop_and_remove_bus_device(p.nvme.bus, dev), 400_000)
  }
  const workers = (): boolean => [...p.k.tasks].some(task => /^w\d$/.test(task.name))
  await p.run(600_000, () => !workers() && s.bus === 0 && p.nvme.settled)
  assert.equal(workers(), false, 'tasks wait for ever')
  assert.equal(s.bus, 0, 'a reset of the function, a suspend or a recovery waits for ever')
  if (powers && !removes) await notice(p)
  await check(s, removes)
  return { ios: s.ended, virtualNs: p.machine.now() }
}

/** What the bus does to a function, beside everything else. */
function* trouble_of_bus(s: Story, kind: number, ms: number): Sleep<void> {
  const { p } = s
  const dev = p.nvme.bus.devices[0]
  if (dev && kind === 0) yield* pci_reset_function(dev)
  if (dev && kind === 1) yield* pcie_do_recovery(dev, 'frozen')
  if (dev && kind === 2) {
    s.suspended = true
    if ((yield* pci_pm_suspend(dev)) === 0) {
      yield* msleep(p.k, ms)
      yield* pci_pm_resume(dev)
    }
  }
  s.bus--
}

/** One to three of these while the tasks work, and maybe while another reset is under way. */
async function disturbBus(s: Story, r: Prng): Promise<void> {
  const { p } = s
  for (let n = 1 + draw(r, 3); n > 0; n--) {
    await p.run(draw(r, 30) / 10)
    const [kind, ms] = [draw(r, 3), draw(r, 50)]
    s.bus++
    p.k.spawn('bus', () => trouble_of_bus(s, kind, ms))
    const ctrl = p.nvme.ctrl(0)
    if (ctrl && draw(r, 2) === 0) nvme_reset_ctrl(ctrl)
  }
}

/** The power went when no I/O was left whose timeout would tell the driver: somebody resets the controller. */
async function notice(p: Probed): Promise<void> {
  const ctrl = p.nvme.ctrl(0)
  if (ctrl?.state !== 'LIVE' || readl(p.dev.pdev, NVME_REG_CSTS) & NVME_CSTS_RDY) return
  nvme_reset_ctrl(ctrl)
  await p.run(600_000, () => p.nvme.settled)
}

async function check({ p, ...s }: Story, removes: boolean): Promise<void> {
  const log = p.log.join('\n')
  assert.equal(s.ended, s.begun, 'I/Os ended')
  assert.equal(s.wrong, 0, 'blocks with wrong data')
  if (!removes) assert.match(p.nvme.ctrl(0)?.state ?? 'gone', /LIVE|gone/, log)
  // A scan whose Identify a reset cuts off drops the namespace with what waits for it, as 4.19 does.
  // 4.9 takes the end of a command that an error of the bus has cancelled for the controller's word, and goes without queues.
  const dropped = /Identify namespace failed|IO queues not created/.test(log)
  // Going to sleep cancels what is under way for longer than a shutdown waits, or if the controller is dead, as 4.19 does: it
  // finds no queue when it is tried again.
  const cancelled = s.suspended && (p.machine.now() > 30e9 || s.epoch > 0)
  if (!removes && !dropped && !cancelled && p.nvme.ctrl(0)) assert.equal(s.failed, 0, log)
  await p.run(100)
  assert.deepEqual(p.machine.books().problems, [])
  if (p.nvme.ctrl(0) === null) assert.equal(p.machine.host!.blk.mem.used, 0)
}
