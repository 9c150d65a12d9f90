// The NVMe driver and its controller under random trouble, from seeds: tasks on several CPUs write and read back their own
// blocks while commands are dropped, delayed, completed twice or under a wrong identifier, the controller is reset, and
// sometimes pulled out. Every I/O ends once; what was written is read; no tag, no memory and no work is left; the controller
// is LIVE, or gone.
//
// A seed that fails: SIM_NVME_SEED=n npx vitest run --config test/vitest.config.ts test/sim/nvme.test.ts

import { describe, expect, test } from 'vitest'
import { Prng } from '../../src/core/prng.js'
import type { FaultRule } from '../../src/device/nvme/faults.js'
import { nvme_reset_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter } from '../../src/fs/block_dev.js'
import type { Sleep } from '../../src/kernel/core.js'
import { pci_stop_and_remove_bus_device } from '../../src/kernel/pci.js'
import { msleep } from '../../src/kernel/timer-sleep.js'
import { Probed } from '../unit/nvme/probed.js'

const SEEDS = 200
const ROUNDS = 6
const BLOCK = 4096

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

interface Story {
  readonly p: Probed
  readonly r: Prng
  ended: number
  begun: number
  failed: number
  wrong: number
}

/** Writes its own blocks and reads them back. */
function* worker(s: Story, task: number, io: ReturnType<Probed['io']>): Sleep<void> {
  const { p, r } = s
  const { view } = p.machine
  const data = p.data + task * BLOCK
  const count = (status: number): boolean => {
    s.ended++
    if (status !== 0) s.failed++
    return status === 0
  }
  for (let round = 0; round < ROUNDS; round++) {
    const at = { ...io, pos: (task * 16 + draw(r, 16)) * BLOCK, data }
    const byte = 1 + draw(r, 255)
    view.bytes.fill(byte, data, data + BLOCK)
    s.begun++
    if (!count(yield* blkdev_write_iter({ ...at, write: true }))) return
    if (draw(r, 4) === 0) {
      s.begun++
      if (!count(yield* blkdev_fsync(at.q))) return
    }
    view.bytes.fill(0, data, data + BLOCK)
    s.begun++
    if (!count(yield* blkdev_read_iter(at))) return
    if (!view.bytes.subarray(data, data + BLOCK).every(b => b === byte)) s.wrong++
    if (draw(r, 3) === 0) yield* msleep(p.k, draw(r, 20))
  }
}

async function simulate(seed: number): Promise<void> {
  const r = new Prng(seed)
  const cpus = 1 + draw(r, 4)
  const shadow = draw(r, 2) === 0
  const era = draw(r, 4) === 0 ? '4.9' : '4.19'
  const removes = draw(r, 8) === 0
  const config = { faults: faults(r), readyNs: draw(r, 3) * 1e6, adminNs: draw(r, 2) * 50_000 }
  const p = new Probed({
    cpus,
    era,
    shadow,
    seed,
    device: `nvme,size=16M,depth=${8 + draw(r, 24)},model=fixed`,
    controller: { config },
  })
  await p.settle(400_000)
  const s: Story = { p, r, ended: 0, begun: 0, failed: 0, wrong: 0 }
  const tasks = 1 + draw(r, 6)
  const io = p.io(0)
  for (let t = 0; t < tasks; t++) p.k.spawn(`w${t}`, () => worker(s, t, io), [t % cpus])
  for (let n = draw(r, 3); n > 0; n--) {
    await p.run(draw(r, 20) / 10)
    const ctrl = p.nvme.ctrl(0)
    if (ctrl) nvme_reset_ctrl(ctrl)
  }
  if (removes) {
    await p.run(draw(r, 10) / 10)
    p.controller.surpriseRemove()
    const dev = p.nvme.bus.devices[0]!
    await p.task(() => pci_stop_and_remove_bus_device(p.nvme.bus, dev), 400_000)
  }
  const workers = (): boolean => [...p.k.tasks].some(task => /^w\d$/.test(task.name))
  await p.run(600_000, () => !workers() && p.nvme.settled)
  expect(workers(), 'tasks that wait for ever').toBe(false)
  expect(s.ended, 'I/Os ended').toBe(s.begun)
  expect(s.wrong, 'blocks with wrong data').toBe(0)
  if (!removes) expect(p.nvme.ctrl(0)?.state ?? 'gone', p.log.join('\n')).toMatch(/LIVE|gone/)
  if (!removes && p.nvme.ctrl(0)) expect(s.failed, p.log.join('\n')).toBe(0)
  await p.run(100)
  expect(p.machine.books().problems).toEqual([])
  if (p.nvme.ctrl(0) === null) expect(p.machine.host!.blk.mem.used).toBe(0)
}

describe('the NVMe driver and its controller', () => {
  const only = process.env.SIM_NVME_SEED
  const seeds = only ? [Number(only)] : Array.from({ length: SEEDS }, (_, i) => i + 1)
  test(`${seeds.length} seeds`, async () => {
    for (const seed of seeds) {
      try {
        await simulate(seed)
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
  }, 120_000)
})
