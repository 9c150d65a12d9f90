// The executor's loop on a machine that only pretends: what it does when jobs end, when a thread dies, and when nothing
// happens any more.
import { describe, expect, it } from 'vitest'
import {
  JOB_DONE,
  JOB_ERROR,
  JOB_FINISH_NS,
  JOB_MEASURE_NS,
  JOB_RECORD,
  JOB_RUN,
  JOB_SIZE,
  JOB_START_NS,
  JOB_STATE,
  JOB_STOP,
} from '../../../assembly/layout.js'
import { OutputError } from '../../../src/core/errors.js'
import { View } from '../../../src/core/view.js'
import type { Machine, RunEnd } from '../../../src/machine/machine.js'
import { Executor, type Periodic } from '../../../src/workload/executor.js'
import type { JobSpec } from '../../../src/workload/job.js'
import { jobLimits } from '../../../src/workload/limits.js'
import { LogFiles } from '../../../src/workload/log-files.js'
import { Phases } from '../../../src/workload/phases.js'
import { RunningJob } from '../../../src/workload/running-job.js'
import { planOf } from '../workload/plan-of.js'

const MS = 1e6
const FIRST = 4096

/** A machine whose jobs end by themselves after `lengthNs`, or when they are stopped; errno by job. */
class Pretender {
  readonly view = new View(new SharedArrayBuffer(1 << 16))
  readonly config = { clock: 'virtual', cpus: 1, lat: 'every' }
  nowNs = 0
  readonly kicked: number[] = []
  readonly #lengths: readonly number[]
  readonly #errors: readonly number[]
  #done: (job: number) => void = () => {}
  dies = false

  constructor(lengths: readonly number[], errors: readonly number[] = []) {
    this.#lengths = lengths
    this.#errors = errors
  }

  now(): number {
    return this.nowNs
  }

  onJobDone(callback: (job: number) => void): void {
    this.#done = callback
  }

  onMessage(): void {}
  interrupt(): void {}

  kick(cpu: number): void {
    this.kicked.push(cpu)
  }

  stopJobs(): void {
    this.#lengths.forEach((_, i) => {
      this.view.store(FIRST + i * JOB_SIZE + JOB_STOP, 1)
    })
  }

  threadTime(): number {
    return Number.NaN
  }

  cpuCounters(): { busyNs: number; switches: number; sleeps: number } {
    return { busyNs: this.nowNs, switches: 0, sleeps: 0 }
  }

  async run(untilNs: number): Promise<RunEnd> {
    if (this.dies) throw new OutputError('CPU 0 died: out of memory')
    const next = this.#running()
      .map(i => ({ i, end: this.#endOf(i) }))
      .sort((a, b) => a.end - b.end)[0]
    if (next && next.end <= untilNs) {
      this.#end(next.i, Math.max(this.nowNs, next.end))
      return 'event'
    }
    this.nowNs = untilNs
    return next && next.end < Number.POSITIVE_INFINITY ? 'time' : 'idle'
  }

  #running(): number[] {
    const state = (i: number): number => this.view.load(FIRST + i * JOB_SIZE + JOB_STATE)
    return this.#lengths.flatMap((_, i) => (state(i) === JOB_RUN ? [i] : []))
  }

  #endOf(i: number): number {
    const job = FIRST + i * JOB_SIZE
    if (this.view.load(job + JOB_STOP)) return this.nowNs
    return this.view.u64(job + JOB_START_NS) + this.#lengths[i]!
  }

  #end(i: number, nowNs: number): void {
    const job = FIRST + i * JOB_SIZE
    this.nowNs = nowNs
    this.view.setU64(job + JOB_FINISH_NS, nowNs)
    this.view.setU32(job + JOB_ERROR, this.#errors[i] ?? 0)
    this.view.store(job + JOB_STATE, JOB_DONE)
    this.#done(job)
  }
}

function executor(
  specs: readonly JobSpec[],
  machine: Pretender,
  periodic: readonly Periodic[] = [],
): { run: Executor; failed: string[] } {
  const { view } = machine
  const files = new LogFiles(specs)
  const places = {
    ious: 0,
    histograms: 0,
    recorded: [],
    log: 0,
    generator: 0,
    extras: { prios: 0, prioHistograms: 0, trims: 0, replay: 0, flow: 0 },
    buffers: 0,
    nrBuffers: 1,
    stride: 0,
  }
  const jobs = specs.map((spec, i) => {
    const site = { job: FIRST + i * JOB_SIZE, q: 0, lbaBytes: 512, base: 0, places, tables: 0 }
    const limits = jobLimits(spec, { maxRuntimeNs: null, maxIo: null })
    return new RunningJob(view, spec, limits, site, 0, files, true)
  })
  const failed: string[] = []
  const phases = new Phases(specs, 0)
  const run = new Executor(machine as unknown as Machine, jobs, phases, periodic, job =>
    failed.push(`${job.spec.name} ${job.errno}`),
  )
  return { run, failed }
}

function jobs(...lines: string[]): readonly JobSpec[] {
  const text = ['[global]', 'ioengine=null', 'size=1m', ...lines].join('\n')
  return planOf(['j.fio'], { 'j.fio': text }).jobs
}

/** When each job started and ended, in ms. */
function times(run: Executor, machine: Pretender): [number, number][] {
  const at = (job: RunningJob, field: number): number => machine.view.u64(job.address + field) / MS
  return run.jobs.map(job => [at(job, JOB_START_NS), at(job, JOB_FINISH_NS)])
}

describe('Executor', () => {
  it('runs phase after phase, with start delays', async () => {
    const machine = new Pretender([30 * MS, 50 * MS, 10 * MS])
    const { run } = executor(jobs('[a]', '[b]', '[c]', 'stonewall', 'startdelay=1s'), machine)
    await run.run()
    expect(times(run, machine)).toEqual([
      [0, 30],
      [0, 50],
      [1050, 1060],
    ])
    expect(run.jobs.map(job => job.ended)).toEqual([true, true, true])
  })

  it('stops the others of a group with exitall, and names a job that failed', async () => {
    const machine = new Pretender([20 * MS, 900 * MS], [5])
    const { run, failed } = executor(jobs('[a]', 'exitall', '[b]'), machine)
    await run.run()
    expect(times(run, machine)).toEqual([
      [0, 20],
      [0, 20],
    ])
    expect(failed).toEqual(['a 5'])
  })

  it('ends everything on an interrupt and starts nothing more', async () => {
    const machine = new Pretender([9e9, 9e9])
    const seen: number[] = []
    const { run } = executor(jobs('[a]', '[b]', 'stonewall'), machine, [
      {
        everyNs: 100 * MS,
        call: now => {
          seen.push(now / MS)
          if (now >= 300 * MS) run.interrupt()
        },
      },
    ])
    await run.run()
    expect(seen).toEqual([100, 200, 300])
    expect(run.jobs.map(job => job.started)).toEqual([true, false])
    expect(run.interrupted).toBe(true)
  })

  it('takes samples while a job runs, from the end of its ramp on', async () => {
    const machine = new Pretender([2600 * MS])
    const { run } = executor(jobs('[a]', 'ramp_time=1s', 'runtime=10s'), machine, [
      {
        everyNs: 1000 * MS,
        call: now => {
          if (now > 1000 * MS) return
          machine.view.setU64(FIRST + JOB_MEASURE_NS, now)
          machine.view.store(FIRST + JOB_RECORD, 1)
        },
      },
    ])
    await run.run()
    const { samples } = run.jobs[0]!.policy!
    expect(samples.bw.nextNs).toBe(3000 * MS)
    expect(run.cpuTime.of(0).sysNs).toBeLessThan(1700 * MS)
  })

  it('lets the death of a thread through', async () => {
    const machine = new Pretender([10 * MS])
    const { run } = executor(jobs('[a]'), machine)
    machine.dies = true
    await expect(run.run()).rejects.toThrow(OutputError)
  })

  it('calls a run in which nothing will ever happen again our own fault', async () => {
    const machine = new Pretender([Number.POSITIVE_INFINITY])
    const { run } = executor(jobs('[a]'), machine)
    await expect(run.run()).rejects.toThrow(/nothing will ever happen again.*a \(state 1\)/)
  })
})
