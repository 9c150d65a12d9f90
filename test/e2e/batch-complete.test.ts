// iodepth_batch_complete_min: a full queue is filled again only when so many I/Os have ended.
import { describe, expect, it } from 'vitest'
import type { JobResult } from '../../src/report/result.js'
import { succeed } from './run.js'

const JOB = ['--name=j', '--filename=/dev/nvme0n1', '--direct=1', '--rw=randread', '--bs=4k']
const MORE = ['--size=64m', '--iodepth=16', '--number_ios=1600', '--ioengine=libaio']
// Slow enough that the queue is full before the first completion.
const DISK = '--device=nvme,model=fixed,latency=1ms,units=16'

async function run(...args: string[]): Promise<JobResult> {
  const { jobs } = await succeed([DISK, ...JOB, ...MORE, ...args, '--clock', 'virtual'])
  return jobs[0] as JobResult
}

describe('iodepth_batch_complete_min', () => {
  it('1: the queue stays nearly full', async () => {
    const { read, depth } = await run()
    expect(read.totalIos).toBe(1600)
    expect(depth.level[0]).toBeLessThan(10)
  })

  it('the depth: the queue runs empty before it is filled again', async () => {
    const { read, depth } = await run('--iodepth_batch_complete_min=16')
    expect(read.totalIos).toBe(1600)
    expect(depth.level[0]).toBe(100)
  })
})
