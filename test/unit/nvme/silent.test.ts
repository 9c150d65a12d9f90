// A controller that stops answering at the n-th admin command of a probe or of a reset, for every n: neither waits for ever.
//
//   stuck  the controller stops, and no register changes any more
//   drop   one command is never heard of again
//
// Linux 4.19 has one wait without an end there: after Doorbell Buffer Config has timed out, nvme_start_ctrl sends Set Features
// on the queue that the timeout stopped. Here the controller is given up then, as later kernels do.

import { describe, expect, test } from 'vitest'
import type { FaultAction } from '../../../src/device/nvme/faults.js'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import type { KernelEra } from '../../../src/drivers/nvme/host/era.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import type { Sleep } from '../../../src/kernel/core.js'
import { Probed } from './probed.js'

/** More admin commands than a probe or a reset sends. */
const MANY = 40
/** Longer than four timeouts, s. */
const LONG_S = 600

interface Story {
  readonly era: KernelEra
  readonly action: FaultAction
  readonly reset: boolean
}

function boot(era: KernelEra, config: object): Probed {
  const device = 'nvme,size=16M,depth=16,model=fixed,queues=2'
  return new Probed({
    era,
    device,
    shadow: true,
    controller: { config: { hostMemory: { preferred: 64, minimum: 16 }, ...config } },
  })
}

/** Two tasks read until a read fails. @returns how many of these tasks are left, and whether one was stopped by an error */
function readers(p: Probed): { left: number; failed: boolean } {
  const facts = { left: 2, failed: false }
  const io = p.io(1)
  const reads = (task: number) =>
    function* (): Sleep<void> {
      for (let n = 0; n < 50 && !facts.failed; n++) {
        const status = yield* blkdev_read_iter({ ...io, data: p.data + task * 4096 })
        if (status !== 0) facts.failed = true
      }
      facts.left--
    }
  for (const task of [0, 1]) p.k.spawn(`reader${task}`, reads(task), [task])
  return facts
}

/** True if the command of that number was sent: something happened. */
async function goesSilent({ era, action, reset }: Story, nth: number): Promise<boolean> {
  const rule = { match: { admin: true, nth }, action }
  const p = boot(era, reset ? {} : { faults: [rule] })
  let tasks = { left: 0, failed: false }
  if (reset) {
    await p.settle()
    tasks = readers(p)
    await p.run(0.2)
    p.controller.inject(rule)
    nvme_reset_ctrl(p.ctrl)
  }
  await p.run(LONG_S * 1000, () => tasks.left === 0 && p.nvme.settled)
  const name = `${era} ${reset ? 'reset' : 'probe'} ${action.kind} ${nth}`
  expect(p.nvme.settled, `${name}: ${p.log.join(' | ')}`).toBe(true)
  expect(tasks.left, name).toBe(0)
  const state = p.nvme.ctrl(0)?.state ?? 'gone'
  expect(state, name).toMatch(/^(LIVE|gone)$/)
  if (state === 'LIVE') expect(tasks.failed, name).toBe(false)
  await p.run(100)
  expect(p.machine.books().problems, name).toEqual([])
  if (state === 'gone') expect(p.machine.host!.blk.mem.used, name).toBe(0)
  return p.machine.now() > 5e9
}

/** The first command for which nothing happens: how many commands were looked at. */
async function everyCommand(story: Story): Promise<number> {
  let looked = 0
  for (let nth = 1, idle = 0; nth < MANY && idle < 2; nth++) {
    if (await goesSilent(story, nth)) [looked, idle] = [nth, 0]
    else idle++
  }
  return looked
}

describe('a controller that goes silent at any admin command', () => {
  const stuck = { kind: 'stuck' } as const
  const drop = { kind: 'drop' } as const

  test.each([
    ['4.19', 'probe', stuck, 16],
    ['4.19', 'reset', stuck, 20],
    ['4.19', 'reset', drop, 16],
    ['4.9', 'reset', stuck, 14],
  ] as const)(
    '%s: a %s ends with LIVE or without a controller (%j)',
    async (era, what, action, least) => {
      const looked = await everyCommand({ era, action, reset: what === 'reset' })
      expect(looked).toBeGreaterThanOrEqual(least)
    },
  )
})
