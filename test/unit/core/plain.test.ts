// The short way (assembly/plain.ts, burst.ts) and the chain leave the same machine behind. The trace core has the chain
// only, the release core goes the short way wherever it may: both run the same random job from the same seed, and every
// counter, ring, tag word and generator state is compared.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { diskConfig, machineConfig } from '../machine/helper.js'
import { queueState, wordsAt } from './queue-state.js'

interface Job {
  readonly clock: 'real' | 'virtual'
  readonly depth: number
  readonly queues: 1 | 2
  readonly iodepth: number
  readonly batch: number
  /** iodepth_batch_complete_min and _max; 0 = it does not say. */
  readonly reap: readonly [number, number]
  readonly block: number
  readonly blocks: number
  readonly rw: number
  readonly mix: number
  readonly map: boolean
  readonly ios: number
  readonly bytes: number
  readonly seed: number
  readonly model: 'null' | 'ram' | 'fixed'
  /** The disk is larger than what the job reads and writes: a device without data answers such commands in a row. */
  readonly large: boolean
}

const jobs = fc.record({
  clock: fc.constantFrom('real' as const, 'virtual' as const),
  depth: fc.constantFrom(4, 9, 34, 65, 130, 1024),
  queues: fc.constantFrom(1 as const, 2 as const),
  iodepth: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 70 })),
  batch: fc.integer({ min: 1, max: 40 }),
  reap: fc.oneof(
    fc.constant([1, 0] as const),
    fc
      .integer({ min: 1, max: 40 })
      .chain(max => fc.tuple(fc.integer({ min: 1, max }), fc.constant(max))),
  ),
  block: fc.constantFrom(512, 1024, 4096, 8192),
  blocks: fc.integer({ min: 3, max: 900 }),
  rw: fc.constantFrom(L.RW_READ, L.RW_WRITE, L.RW_READ | L.RW_WRITE),
  mix: fc.integer({ min: 0, max: 100 }),
  map: fc.boolean(),
  ios: fc.integer({ min: 1, max: 600 }),
  bytes: fc.integer({ min: 1, max: 4_000_000 }),
  seed: fc.integer({ min: 1, max: 2 ** 31 }),
  model: fc.constantFrom('null' as const, 'ram' as const, 'fixed' as const),
  large: fc.boolean(),
})

const NEVER = 2n ** 63n

function boot(job: Job, core: 'release' | 'trace', lat?: 'batch'): Machine {
  const sizeBytes = job.large ? 2 ** 26 : job.blocks * job.block
  return bootMachine(
    machineConfig({
      clock: job.clock,
      cpus: job.queues,
      core,
      jobs: 1,
      lat: lat ?? (job.clock === 'virtual' ? 'every' : 'none'),
      stages: job.clock === 'virtual',
      extraBytes: 2 ** 20,
      memBytes: 2 ** 23,
      disks: [
        diskConfig({
          model: job.model === 'fixed' && job.clock === 'real' ? 'null' : job.model,
          depth: job.depth,
          queues: job.queues,
          lbaShift: 9,
          sizeBytes,
        }),
      ],
    }),
  )
}

/** Fills the job's block as the executor would: random, one size. */
function fill(machine: Machine, job: Job): number {
  const { view } = machine
  const disk = machine.disks[0]!
  const at = machine.jobAddress(0)
  const gen = at + L.JOB_GEN
  const big = (where: number, value: bigint): void => {
    view.setU32(where, Number(value & 0xffffffffn))
    view.setU32(where + 4, Number(value >> 32n))
  }
  machine.linkJob(at, 0)
  view.setU32(at + L.JOB_Q, disk.q)
  view.setU32(at + L.JOB_IODEPTH, job.iodepth)
  view.setU32(at + L.JOB_BATCH, Math.min(job.batch, job.iodepth))
  view.setU32(at + L.JOB_LOW, job.iodepth)
  const [min, max] = job.reap
  view.setU32(at + L.JOB_REAP_MIN, Math.min(min, job.iodepth))
  view.setU32(at + L.JOB_REAP_MAX, max)
  view.setU32(at + L.JOB_FEATURES, max > 0 ? L.JF_REAP_MAX : 0)
  for (const limit of [L.JOB_END_NS, L.JOB_MAX_IO]) big(at + limit, NEVER)
  big(at + L.JOB_NUMBER_IOS, BigInt(job.ios))
  big(at + L.JOB_IO_LIMIT, BigInt(job.bytes) * BigInt(job.block))
  view.setU32(at + L.JOB_RECORD, 1)
  view.setU32(at + L.JOB_WAITER, machine.alloc(L.WT_SIZE))
  view.setU32(view.u32(at + L.JOB_WAITER) + L.WT_CPU, machine.cpuAddress(0))
  view.setU32(view.u32(at + L.JOB_WAITER) + L.WT_EXCLUSIVE, 1)
  view.setU32(gen + L.JG_RW, job.rw | L.RW_RANDOM)
  view.setU32(gen + L.JG_MIX_READ, job.mix)
  view.setU32(gen + L.JG_MAP_MODE, job.map ? L.MAP_PERM : L.MAP_NONE)
  view.setU32(gen + L.JG_MAP_UNIT, job.block)
  view.setU32(gen + L.JG_FILE_N, 1)
  view.setU32(gen + L.JG_SEQ_NR, 1)
  view.setU32(gen + L.JG_LOOPS, 1)
  view.setU32(gen + L.JG_TIME_BASED, 1)
  for (const field of [L.JG_MIN_BS, L.JG_MAX_BS, L.JG_ALIGN])
    for (let ddir = 0; ddir < 3; ddir++) view.setU32(gen + field + 4 * ddir, job.block)
  for (let ddir = 0; ddir < 3; ddir++) view.setU32(gen + L.JG_RANDOM_PCT + 4 * ddir, 100)
  for (const [i, rng] of [L.JG_RNG_OFF, L.JG_RNG_BS, L.JG_RNG_MIX].entries()) {
    big(gen + rng, BigInt(job.seed) * 0x9e3779b97f4a7c15n + BigInt(i))
    big(gen + rng + 8, BigInt(job.seed) + 77n)
  }
  const region = gen + L.JG_FILE0
  view.setU64(region + L.FL_BYTES, job.blocks * job.block)
  for (let ddir = 0; ddir < 3; ddir++) view.setU64(region + L.FL_BLOCKS + 8 * ddir, job.blocks)
  const ious = machine.alloc(job.iodepth * L.IOU_SIZE, 128)
  const buffers = machine.alloc(job.iodepth * 8192, 4096)
  for (let i = 0; i < job.iodepth; i++) {
    const iou = ious + i * L.IOU_SIZE
    view.setU32(iou + L.BIO_DISK, disk.q)
    view.setU32(iou + L.IOU_JOB, at)
    view.setU32(iou + L.IOU_BUF, buffers + i * 8192)
    view.setU32(iou + L.IOU_NEXT, i + 1 < job.iodepth ? iou + L.IOU_SIZE : 0)
  }
  view.setU32(at + L.JOB_FREE, ious)
  for (const ddir of [0, 1]) {
    for (const kind of [L.STAT_CLAT, L.STAT_SLAT, L.STAT_LAT]) {
      const ls = at + L.JOB_STATS + ddir * L.STAT_SIZE + kind
      view.setU32(ls + L.LS_HIST, machine.alloc(L.HIST_BUCKETS * 4))
    }
  }
  view.store(disk.q + L.Q_TIMER_ARMED, 1)
  view.store(disk.q + L.Q_TIMER_NEXT, 0)
  return at
}

function run(machine: Machine, at: number): void {
  const { view, core } = machine
  const cpu = machine.cpuAddress(0)
  view.store(at + L.JOB_STATE, L.JOB_RUN)
  if (machine.config.clock === 'virtual') core.virtual_kick(cpu)
  for (let calls = 0; view.load(at + L.JOB_STATE) !== L.JOB_DONE; calls++) {
    if (calls > 10_000) throw new Error(`stuck in state ${view.load(at + L.JOB_STATE)}`)
    view.setU32(cpu + L.CPU_SLOW, 0)
    if (machine.config.clock === 'virtual') core.virtual_run(1000, Number.POSITIVE_INFINITY)
    else core.cpu_run(cpu, 300)
  }
}

/** Everything that must not depend on the way. */
function state(machine: Machine, at: number): Record<string, unknown> {
  const { view } = machine
  const words = (from: number, bytes: number): number[] => wordsAt(machine, from, bytes)
  return {
    job: words(at + L.JOB_ISSUED, L.JOB_END_NS - L.JOB_ISSUED),
    measured: [view.u64(at + L.JOB_MEASURED), view.u64(at + L.JOB_ISSUED_MEASURED)],
    depths: words(at + L.JOB_DEPTHS, 3 * 56),
    statistics: [0, 1, 2, 3].map(d => words(at + L.JOB_STATS + d * L.STAT_SIZE, L.STAT_SIZE / 4)),
    histograms: [0, 1].flatMap(d =>
      [L.STAT_CLAT, L.STAT_SLAT, L.STAT_LAT].map(kind => {
        const ls = at + L.JOB_STATS + d * L.STAT_SIZE + kind
        return words(view.u32(ls + L.LS_HIST), L.HIST_BUCKETS)
      }),
    ),
    spans: words(at + L.JOB_FIRST_NS, 48),
    random: words(at + L.JOB_GEN + L.JG_RNG_OFF, 80),
    pass: view.u64(at + L.JOB_GEN + L.JG_FILE0 + L.FL_PASS),
    ...queueState(machine),
  }
}

describe('the short way', () => {
  it('leaves the machine as the chain does', () => {
    let short = 0
    fc.assert(
      fc.property(jobs, job => {
        const [a, b] = (['release', 'trace'] as const).map(core => {
          const machine = boot(job, core)
          const at = fill(machine, job)
          run(machine, at)
          if (core === 'release' && machine.view.u32(at + L.JOB_PLAIN) === L.PLAIN_YES) short++
          return state(machine, at)
        })
        if (JSON.stringify(a) !== JSON.stringify(b)) expect(a).toEqual(b)
      }),
      { numRuns: 60 },
    )
    expect(short).toBeGreaterThan(30)
  })

  it('records a latency of every I/O in real time', () => {
    fc.assert(
      fc.property(jobs, drawn => {
        const job: Job = { ...drawn, clock: 'real' }
        const machine = boot(job, 'release', 'batch')
        const at = fill(machine, job)
        machine.view.store(machine.cpuAddress(0) + L.CPU_NOW, 1) // 0 is no time
        run(machine, at)
        for (const ddir of [0, 1]) {
          const stat = at + L.JOB_STATS + ddir * L.STAT_SIZE
          const clat = stat + L.STAT_CLAT
          const ios = machine.view.u64(stat + L.STAT_IOS)
          expect(machine.view.u64(clat + L.LS_N)).toBe(ios)
        }
      }),
      { numRuns: 30 },
    )
  })
})
