import { describe, expect, it } from 'vitest'
import { formatReport, openMachine, plan, run, UserError } from '../../src/index.js'

const JOB = '[a]\nfilename=/dev/nvme0n1\nioengine=libaio\ndirect=1\nrw=read\nbs=4k\nsize=1m\n'

describe('the public API', () => {
  it('runs a job that came as text', async () => {
    const { result, failures } = await run(plan(['--clock=virtual'], { job: JOB }))
    expect(failures).toEqual([])
    expect(result.jobs[0]!.read.totalIos).toBe(256)
    expect(formatReport(result, { formats: ['terse'] })).toMatch(/^3;/)
  })

  it('refuses text that is wrong, naming the line', async () => {
    expect(() => plan([], { job: `${JOB}bs=x\n` })).toThrow(UserError)
    expect(() => plan([], { job: `${JOB}bs=x\n` })).toThrow(/^job:8: /)
    await expect(run(['missing.fio'])).rejects.toThrow(UserError)
  })

  it('calls its hooks, and ends early when told to', async () => {
    const controller = new AbortController()
    const seen: string[] = []
    const job = plan(['--clock=virtual', '--time_based', '--runtime=1h'], { job: JOB })
    const { result } = await run(job, {
      signal: controller.signal,
      onStart: jobs => seen.push(`start ${jobs.length}`),
      onProgress: progress => {
        seen.push(`progress ${progress.jobs.length}`)
        controller.abort()
      },
    })
    expect(seen).toEqual(['start 1', 'progress 1'])
    expect(result.phasebit.shortened).toBe('interrupted')
    expect(result.phasebit.books.balanced).toBe(true)
    expect(result.jobs[0]!.read.totalIos).toBeGreaterThan(0)
  })

  it('runs machines beside each other', async () => {
    const jobs = [1, 2, 3].map(seed =>
      run(plan([`--seed=${seed}`, '--clock=virtual', '--rw=randread'], { job: JOB })),
    )
    for (const { result } of await Promise.all(jobs))
      expect(result.jobs[0]!.read.totalIos).toBe(256)
  })

  it('opens a machine for single I/Os', async () => {
    const machine = await openMachine({ devices: ['nvme,size=16M'] })
    await machine.write(0, new Uint8Array(512).fill(9))
    expect((await machine.read(0, 512))[511]).toBe(9)
    await machine.close()
  })
})
