// One queue under a lock against a queue for each CPU.

import { expect, test } from 'vitest'
import { DEFAULT_COSTS } from '../../../src/machine/costs.js'
import { mqVsSq } from '../../../src/workload/mq-vs-sq.js'

test('the single queue is as fast as its lock lets it, the multi-queue grows with the CPUs', async () => {
  const points = await mqVsSq([1, 4, 8], 500, 1, () => {})
  const iops = (cpus: number, queue: string): number =>
    points.find(p => p.cpus === cpus && p.queue === queue)!.iops
  const most = 1e9 / (DEFAULT_COSTS.submit + DEFAULT_COSTS.complete)
  for (const cpus of [4, 8]) {
    expect(iops(cpus, 'sq')).toBeGreaterThan(0.9 * most)
    expect(iops(cpus, 'sq')).toBeLessThan(1.1 * most)
    expect(iops(cpus, 'mq') / iops(1, 'mq')).toBeCloseTo(cpus, 1)
  }
  expect(iops(1, 'sq') / iops(1, 'mq')).toBeCloseTo(1, 1)
})
