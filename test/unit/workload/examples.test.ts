// The example job files expand to what their comments say.

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { JobSpec, RunPlan } from '../../../src/workload/job.js'
import { planOf } from './plan-of.js'

const FOLDER = new URL('../../../examples/jobs/', import.meta.url)
const MIB = 2 ** 20
const GIB = 2 ** 30

const planFor = (name: string): RunPlan =>
  planOf([name], { [name]: readFileSync(new URL(name, FOLDER)) }, { DEPTH: '24' })
const jobsFor = (name: string): readonly JobSpec[] => planFor(name).jobs
const column = <K extends keyof JobSpec>(jobs: readonly JobSpec[], key: K): JobSpec[K][] =>
  jobs.map(job => job[key])

describe('example job files', () => {
  it('all of them expand, without warnings', () => {
    const names = readdirSync(FOLDER).filter(name => name.endsWith('.fio'))
    expect(names).toHaveLength(12)
    for (const name of names) {
      const { notes, diskNeeds, jobs } = planFor(name)
      expect(notes.filter(note => !note.includes('Linux 4.19 has none'))).toEqual([])
      expect([...diskNeeds.keys()]).toEqual(['/dev/nvme0n1'])
      expect(jobs.every(job => job.direct)).toBe(true)
    }
  })

  it('01: nine depths behind walls', () => {
    const jobs = jobsFor('01-randread-qd-sweep.fio')
    expect(column(jobs, 'iodepth')).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256])
    expect(column(jobs, 'phase')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    expect(column(jobs, 'groupid')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    expect(jobs[8]).toMatchObject({
      name: 'qd256',
      rw: 'randread',
      bsMin: [4096, 4096, 4096],
      size: 8 * GIB,
      norandommap: true,
      randseed: 8675309,
      timeBased: true,
      runtimeNs: 2e9,
      rampTimeNs: 5e8,
      cpusAllowed: [0],
      engineKind: 'async',
      queueDepth: 256,
    })
  })

  it('02: four clones on four CPUs, one result', () => {
    const jobs = jobsFor('02-mixed-70-30-4jobs.fio')
    expect(column(jobs, 'cpusAllowed')).toEqual([[0], [1], [2], [3]])
    expect(jobs[3]).toMatchObject({
      name: 'oltp',
      cloneIndex: 3,
      groupid: 0,
      groupReporting: true,
      rwmixread: 70,
      bsMax: [8192, 8192, 8192],
      percentileList: [50, 90, 99, 99.9, 99.99],
      ioengine: 'io_uring',
    })
  })

  it('03: splits of reads and of writes', () => {
    const [job] = jobsFor('03-bssplit-fileserver.fio')
    expect(job).toMatchObject({ numberIos: 200_000, rwmixread: 80, blockAlign: [4096, 4096, 4096] })
    expect(job!.bssplit[0]).toEqual([
      { bytes: 512, percent: 5 },
      { bytes: 4096, percent: 60 },
      { bytes: 16384, percent: 20 },
      { bytes: 65536, percent: 15 },
    ])
    expect(job!.bssplit[1].map(entry => entry.percent)).toEqual([70, 20, 10])
    expect([job!.bsMin, job!.bsMax]).toEqual([
      [512, 4096, 4096],
      [65536, 131072, 131072],
    ])
  })

  it('04: four distributions', () => {
    const jobs = jobsFor('04-zipf-hotspot.fio')
    expect(jobs.map(job => job.distribution[0])).toMatchObject([
      { kind: 'zipf', theta: 1.2 },
      { kind: 'pareto', h: 0.3 },
      { kind: 'normal', deviation: 25 },
      { kind: 'zoned', zones: [{ access: 60, size: 10 }, {}, {}, { access: 2, size: 40 }] },
    ])
    expect(jobs[3]).toMatchObject({ rw: 'randwrite', numberIos: 100_000 })
  })

  it('05: two jobs beside each other, syncing differently', () => {
    const jobs = jobsFor('05-fsync-heavy-wal.fio')
    expect(jobs).toMatchObject([
      { name: 'wal', fdatasync: 1, fsync: 0, queueDepth: 1, phase: 0, engineKind: 'sync' },
      {
        name: 'checkpoint',
        fdatasync: 0,
        fsync: 64,
        thinktimeNs: 200_000,
        thinktimeBlocks: 16,
        phase: 0,
      },
    ])
    expect(jobs[1]!.files[0]).toMatchObject({ base: 256 * MIB, size: 256 * MIB })
  })

  it('06: verification at the end and on the way', () => {
    expect(jobsFor('06-verify-crc32c.fio')).toMatchObject([
      { verify: { method: 'crc32c', fatal: true, atEnd: true, backlog: 0 }, size: 64 * MIB },
      { verify: { backlog: 256, backlogBatch: 64 }, bsMin: [16384, 16384, 16384], phase: 1 },
    ])
  })

  it('07: rates', () => {
    expect(jobsFor('07-rate-limited.fio')).toMatchObject([
      { rateIops: [51200, 51200, 51200], rateProcess: 'linear' },
      { rateIops: [20480, 20480, 20480], rateProcess: 'poisson' },
      { rate: [64 * MIB, 16 * MIB, 16 * MIB], rateMin: [MIB, MIB, MIB], rateIops: [0, 0, 0] },
    ])
  })

  it('08: a depth is searched for', () => {
    expect(jobsFor('08-latency-target.fio')[0]).toMatchObject({
      iodepth: 128,
      latencyTarget: { targetNs: 200_000, windowNs: 250_000_000, percentile: 99 },
      runtimeNs: 1e10,
      timeBased: true,
    })
  })

  it('09: interrupts, polling, and half of each', () => {
    const jobs = jobsFor('09-poll-vs-irq.fio')
    expect(column(jobs, 'hipriPercentage')).toEqual([0, 100, 50, 0, 100])
    expect(column(jobs, 'queueDepth')).toEqual([1, 1, 1, 32, 32])
    expect(column(jobs, 'latPercentiles')).toEqual([true, true, true, true, true])
  })

  it('10: trims', () => {
    const jobs = jobsFor('10-trim.fio')
    expect(column(jobs, 'uses')).toEqual([
      [false, false, true],
      [false, false, true],
      [true, false, false],
      [false, true, true],
    ])
    expect(column(jobs, 'phase')).toEqual([0, 1, 1, 2])
    expect(column(jobs, 'numberIos')).toEqual([0, 4096, 20480, 0])
    expect(jobs[3]).toMatchObject({ size: 512 * MIB, ioSize: 128 * MIB })
  })

  it('11: streams, strides and holes', () => {
    const jobs = jobsFor('11-sequential-streams.fio')
    expect(jobs.map(job => job.files[0]!.base)).toEqual([
      0,
      0,
      256 * MIB,
      512 * MIB,
      768 * MIB,
      0,
      0,
    ])
    expect(column(jobs, 'groupid')).toEqual([0, 1, 1, 1, 1, 2, 3])
    expect(jobs[5]).toMatchObject({
      zonemode: 'strided',
      zonesize: MIB,
      zoneskip: 3 * MIB,
      ioSize: 256 * MIB,
    })
    expect(jobs[6]).toMatchObject({ ddirSeqAdd: 112 * 1024, bsMin: [16384, 16384, 16384] })
  })

  it('12: phases, environment, a keyword, two global sections', () => {
    const jobs = jobsFor('12-phases-env-include.fio')
    expect(jobs).toMatchObject([
      { name: 'fill', iodepth: 8, loops: 2, timeBased: false, phase: 0, groupid: 0 },
      { name: 'warm-up', iodepth: 24, timeBased: true, phase: 1, groupid: 1, exitall: true },
      { name: 'measure-read', phase: 2, groupid: 2, description: 'measured phase' },
      { name: 'measure-write', phase: 2, groupid: 3, waitFor: [2], bsMin: [4096, 4096, 4096] },
    ])
    expect(jobs[2]!.log).toMatchObject({ lat: 'measure', averageNs: 100_000_000 })
    expect(jobs[0]!.globalOptions['runtime']).toBeUndefined()
    expect(jobs[1]!.globalOptions['runtime']).toBe('1s')
  })
})
