// The NVMe driver and its controller under random trouble, from seeds (nvme.ts).

import { expect, it } from 'vitest'
import { simulateNvme } from './nvme.js'

const SEEDS = 500

it(`${SEEDS} seeds: every I/O ends once, data are whole, nothing is left`, async () => {
  let ios = 0
  for (let seed = 1; seed <= SEEDS; seed++) ios += (await simulateNvme(seed)).ios
  expect(ios).toBeGreaterThan(SEEDS * 10)
})

it('seed 2004: Linux 4.9 has no command to wait for when a reset is over, and so no time in which it cannot be reset', async () => {
  expect((await simulateNvme(2004)).ios).toBeGreaterThan(0)
})

it('seed 1026: a reset is asked for while the last one enables events, whose command is lost', async () => {
  expect((await simulateNvme(1026)).ios).toBeGreaterThan(0)
})

it('seed 13582: Linux 4.9 sends no time of day, and waits for no command of a controller that it has stopped', async () => {
  expect((await simulateNvme(13582)).ios).toBeGreaterThan(0)
})

it('seed 18383: Linux 4.9 starts the queues of a dead controller again, whenever they were stopped after their end', async () => {
  expect((await simulateNvme(18383)).ios).toBeGreaterThan(0)
})

it('seed 22137: I/O for a namespace that a scan has dropped fails, though its memory is that of the one found after it', async () => {
  expect((await simulateNvme(22137)).ios).toBeGreaterThan(0)
})

it('the same seed is the same run', async () => {
  expect(await simulateNvme(42)).toEqual(await simulateNvme(42))
})

it('seed 77971: a controller that a timeout disables while a reset waits for its queues keeps them for a scan', async () => {
  expect((await simulateNvme(77971)).ios).toBeGreaterThan(0)
})

it.each([20049583, 20037378])(
  'seed %i: a reset whose command an error of the bus cancels asks nothing of the queue that it stopped',
  async seed => {
    expect((await simulateNvme(seed)).ios).toBeGreaterThan(0)
  },
)

it('seed 905330: queues that were killed are open however often their controller is stopped, in 4.9 too', async () => {
  expect((await simulateNvme(905330)).ios).toBeGreaterThan(0)
})

it('seed 20047434: Linux 4.9 does not try again what took its whole timeout behind a frozen channel, where nobody speaks of it', async () => {
  expect((await simulateNvme(20047434)).ios).toBeGreaterThan(0)
})
