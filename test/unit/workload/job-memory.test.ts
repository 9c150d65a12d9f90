// Where the buffers of jobs go: those that must not be shared are not, and the others are, in virtual time only.

import { describe, expect, it } from 'vitest'
import type { RunPlan } from '../../../src/workload/job.js'
import { type JobMemory, planJobMemory } from '../../../src/workload/job-memory.js'
import { jobsOf } from './plan-of.js'

const HEAD = '[global]\niodepth=4\nbs=4k\n'

function memoryOf(jobs: string, clock: RunPlan['clock']): JobMemory {
  return planJobMemory({ jobs: jobsOf(`${HEAD}${jobs}`), clock })
}

/** First and last byte of all buffers of each job. */
function ranges({ jobs }: JobMemory): [number, number][] {
  return jobs.map(job => [job.buffers, job.buffers + job.nrBuffers * job.stride])
}

const overlap = (a: readonly [number, number], b: readonly [number, number]): boolean =>
  a[0] < b[1] && b[0] < a[1]

describe('virtual time', () => {
  it.each([
    ['only reads', 'rw=randread\n', 1],
    ['only writes, always the same', 'rw=randwrite\n', 1],
    ['writes and reads', 'rw=randrw\n', 4],
    ['reads that are verified', 'rw=randread\nverify=crc32c\n', 4],
    ['writes that are verified', 'rw=randwrite\nverify=crc32c\n', 4],
    ['writes that are filled anew', 'rw=randwrite\nrefill_buffers\n', 4],
  ])('a job of %s', (_, options, buffers) => {
    expect(memoryOf(`[a]\n${options}`, 'virtual').jobs[0]!.nrBuffers).toBe(buffers)
    expect(memoryOf(`[a]\n${options}`, 'real').jobs[0]!.nrBuffers).toBe(4)
  })

  it('jobs that only read have one buffer together, as large as the largest block; nobody else has it', () => {
    const jobs = '[a]\nrw=read\n[b]\nrw=randread\nbs=64k\n[c]\nrw=write\n[d]\nrw=rw\n'
    const memory = memoryOf(jobs, 'virtual')
    const [a, b, c, d] = ranges(memory)
    expect(a![0]).toBe(b![0])
    expect([b![1] - b![0], c![1] - c![0], d![1] - d![0]]).toEqual([65536, 4096, 4 * 4096])
    expect([overlap(b!, c!), overlap(b!, d!), overlap(c!, d!)]).toEqual([false, false, false])
    for (const [from, to] of ranges(memory)) {
      expect(from % 4096).toBe(0)
      expect(to).toBeLessThanOrEqual(memory.bytes)
    }
  })
})

it('real time: jobs that run together have buffers of their own, those of different phases the same', () => {
  const [a, b, c] = ranges(
    memoryOf('[a]\nrw=read\n[b]\nrw=read\n[c]\nstonewall\nrw=read\n', 'real'),
  )
  expect(overlap(a!, b!)).toBe(false)
  expect(c![0]).toBe(a![0])
})
