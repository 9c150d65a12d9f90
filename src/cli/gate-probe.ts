// The benchmarks that a build brings for the gate: the seam at which two builds meet in one process.
//
// The gate imports this file of each build by its path, dist/lib/gate-probe.js, and uses nothing else of them. What is
// exported here is therefore a promise to older and newer builds: PROBE_VERSION says which one.
//
//   PROBES       the benchmarks; two builds may be compared in one only when `does` is the same text in both
//   openProbe    boots what a benchmark needs; run(ops) does at least so many operations and says how long they took
//                A benchmark of all threads is opened once in each of them: every CPU has a machine of its own

import {
  BIO_DATA,
  BIO_DISK,
  BIO_END_IO,
  BIO_OPF,
  BIO_SECTOR,
  BIO_SIZE,
  BIO_STATUS,
  CPU_ENDED,
  CPU_RING,
  DDIR_READ,
  END_IO_RING,
  HIST_BUCKETS,
  IOU_BUF,
  JOB_FREE,
  LS_HIST,
  IOU_NEXT,
  RING_HEAD,
  RING_TAIL,
  STAT_CLAT,
} from '../../assembly/layout.js'
import { REQ_OP_READ } from '../../assembly/nvme.js'
import { clockOrigin, realClock } from '../machine/clock.js'
import type { Machine } from '../machine/machine.js'
import { statAddress } from '../workload/job-view.js'
import { bootRig, type Seat, seatOf, step } from './gate-rig.js'

/** The version of everything exported here. */
export const PROBE_VERSION = 1

/** One benchmark. */
export interface ProbeInfo {
  readonly name: string
  /** What is counted. */
  readonly per: string
  /** Everything that decides what is done, in words. */
  readonly does: string
  /** Whether one thread does it, or one for each core of the host at the same time. */
  readonly threads: 'one' | 'all'
}

/** What some operations took. */
export interface Spent {
  readonly ops: number
  readonly ns: number
}

/** A benchmark that is ready. */
export interface Probe {
  /** At least so many operations. */
  run(ops: number): Spent | Promise<Spent>
  /** Latencies since forget() in the buckets of fio's histogram, where the benchmark records them. */
  latencies?(): Float64Array
  forget?(): void
  close(): Promise<void>
}

const JOB = [
  '--name=gate',
  '--filename=/dev/nvme0n1',
  '--ioengine=libaio',
  '--direct=1',
  '--rw=randread',
  '--bs=4k',
  '--time_based',
  '--runtime=1000h',
] as const

/** Arguments of the job's machine by benchmark. */
const JOBS: Readonly<Record<string, readonly string[]>> = {
  'inline-qd1': ['--device=nvme,size=1G,model=null', '--lat=none', ...JOB, '--iodepth=1'],
  'inline-qd32': [
    '--device=nvme,size=1G,model=null',
    '--lat=none',
    ...JOB,
    '--iodepth=32',
    '--iodepth_batch=8',
  ],
  'latency-qd8': [
    '--device=nvme,size=1G,model=null',
    '--lat=every',
    ...JOB,
    '--iodepth=8',
    '--iodepth_batch=4',
  ],
  'ram-qd32': [
    '--device=nvme,size=4M,model=ram,mem=64M',
    '--lat=none',
    ...JOB,
    '--rw=randrw',
    '--iodepth=32',
    '--iodepth_batch=8',
  ],
  'virtual-qd32': [
    '--clock=virtual',
    '--device=nvme,size=1G,model=fixed,latency=10us,units=8,mem=64M',
    ...JOB,
    '--iodepth=32',
    '--iodepth_batch=8',
  ],
  'all-cpus': [
    '--device=nvme,size=1G,model=null',
    '--lat=none',
    ...JOB,
    '--iodepth=32',
    '--iodepth_batch=8',
  ],
}

const BARE = ['--device=nvme,size=1G,model=null', '--lat=none', ...JOB, '--iodepth=32'] as const

/** Bios of one submission. */
const BATCH = 32

const BARE_DOES: Readonly<Record<string, { per: string; does: string }>> = {
  tags: {
    per: 'tag',
    does: 'from JavaScript: blk_mq_get_tag, blk_mq_put_tag; 1023 tags, none held',
  },
  submit: {
    per: 'IO',
    does: `from JavaScript: plug, ${BATCH} submit_bio of 4 KiB random reads, unplug; null medium`,
  },
  poll: {
    per: 'IO',
    does: `from JavaScript: cpu_run until the ${BATCH} bios of submit have ended`,
  },
}

export const PROBES: readonly ProbeInfo[] = [
  ...Object.entries(BARE_DOES).map(([name, { per, does }]) => info(name, per, does)),
  ...Object.entries(JOBS).map(([name, args]) => info(name, 'IO', args.join(' '))),
]

function info(name: string, per: string, does: string): ProbeInfo {
  return { name, per, does, threads: name === 'all-cpus' ? 'all' : 'one' }
}

/**
 * Makes a benchmark ready.
 * @throws Error for a name that is not in PROBES
 */
export async function openProbe(name: string): Promise<Probe> {
  if (name === 'tags') return tagProbe()
  if (name === 'submit' || name === 'poll') return bioProbe(name)
  const args = JOBS[name]
  if (args === undefined) throw new Error(`no benchmark ${name}`)
  return name.startsWith('virtual') ? virtualProbe(args) : jobProbe(args)
}

function timed(run: () => number): Spent {
  const began = now()
  const ops = run()
  return { ops, ns: now() - began }
}

const now: () => number = realClock(clockOrigin())

async function jobProbe(args: readonly string[]): Promise<Probe> {
  const machine = await bootRig(args)
  const seat = seatOf(machine)
  const run = (ops: number): Spent => timed(() => step(seat, ops))
  const close = (): Promise<void> => machine.stop()
  return args.includes('--lat=every') ? { ...recording(machine, seat, run), close } : { run, close }
}

/** I/Os at the beginning of a slice whose latencies are not counted: some have waited through the other build's slice. */
const CARRIED_OVER = 64

/** Completion latencies of the job's reads, from its histogram, over all slices. */
function recording(
  machine: Machine,
  seat: Seat,
  run: (ops: number) => Spent,
): Omit<Required<Probe>, 'close'> {
  const { view } = machine
  const histogram = view.u32(statAddress(machine.jobAddress(0), DDIR_READ) + STAT_CLAT + LS_HIST)
  const sum = new Float64Array(HIST_BUCKETS)
  const add = (sign: number): void => {
    for (let i = 0; i < HIST_BUCKETS; i++) sum[i] += sign * view.u32(histogram + 4 * i)
  }
  return {
    run: ops => {
      step(seat, CARRIED_OVER)
      add(-1)
      const spent = run(ops)
      add(1)
      return spent
    },
    latencies: () => sum,
    forget: () => {
      sum.fill(0)
    },
  }
}

/** Virtual time goes on in steps of the machine's clock, each as long as its I/Os are expected to take. */
async function virtualProbe(args: readonly string[]): Promise<Probe> {
  const machine = await bootRig(args)
  await machine.start()
  machine.kick(0)
  let nsPerIo = 1000
  const run = async (ops: number): Promise<Spent> => {
    const [began, before] = [now(), ended(machine)]
    const virtualBegan = machine.now()
    while (ended(machine) - before < ops) {
      const rest = ops - (ended(machine) - before)
      if ((await machine.run(machine.now() + rest * nsPerIo + 1)) === 'idle')
        throw new Error('virtual time has come to its end')
    }
    const done = ended(machine) - before
    nsPerIo = (machine.now() - virtualBegan) / done
    return { ops: done, ns: now() - began }
  }
  return { run, close: () => machine.stop() }
}

function ended(machine: Machine): number {
  return machine.view.u64(machine.cpuAddress(0) + CPU_ENDED)
}

// ------------------------------------------------------------------ single parts

async function tagProbe(): Promise<Probe> {
  const machine = await bootRig(BARE)
  const { core } = machine
  const { hctx, tags } = machine.disks[0].queues[0]
  const cpu = machine.cpuAddress(0)
  const pairs = (ops: number): number => {
    for (let i = 0; i < ops; i++) core.blk_mq_put_tag(tags, cpu, core.blk_mq_get_tag(hctx, cpu, 0))
    return ops
  }
  return { run: ops => timed(() => pairs(ops)), close: () => machine.stop() }
}

/** Bios of this thread's own, made of the io_us of the job, which never runs. */
class Bios {
  readonly machine: Machine
  readonly #bios: number[] = []
  readonly #cpu: number
  readonly #ring: number
  #random = 1

  constructor(machine: Machine) {
    const { view } = machine
    this.machine = machine
    this.#cpu = machine.cpuAddress(0)
    this.#ring = view.u32(this.#cpu + CPU_RING)
    const job = machine.jobAddress(0)
    for (let iou = view.u32(job + JOB_FREE); iou; iou = view.u32(iou + IOU_NEXT))
      this.#bios.push(iou)
    // the job must not run: its io_us are ours
    machine.stopJobs()
    for (const bio of this.#bios) {
      view.setU32(bio + BIO_OPF, REQ_OP_READ)
      view.setU32(bio + BIO_END_IO, END_IO_RING)
      view.setU32(bio + BIO_DISK, machine.disks[0].q)
    }
  }

  /** Submits BATCH reads of random blocks. */
  submit(): void {
    const { core, view } = this.machine
    core.blk_start_plug(this.#cpu)
    for (const bio of this.#bios) {
      this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0
      view.setU64(bio + BIO_SECTOR, (this.#random >>> 14) * 8)
      view.setU32(bio + BIO_SIZE, 4096)
      view.setU32(bio + BIO_DATA, view.u32(bio + IOU_BUF))
      if (core.submit_bio(this.#cpu, bio) < -1) throw new Error('no tag was free')
    }
    core.blk_finish_plug(this.#cpu)
  }

  /** Looks until all of them have ended. */
  poll(): void {
    const { core, view } = this.machine
    const before = view.u32(this.#ring + RING_HEAD)
    for (let looks = 0; view.u32(this.#ring + RING_TAIL) - before < BATCH; looks++) {
      core.cpu_run(this.#cpu, BATCH)
      if (looks > 10_000) throw new Error('bios do not end')
    }
    view.setU32(this.#ring + RING_HEAD, view.u32(this.#ring + RING_TAIL))
    for (const bio of this.#bios) if (view.u32(bio + BIO_STATUS)) throw new Error('an I/O failed')
  }
}

async function bioProbe(what: 'submit' | 'poll'): Promise<Probe> {
  const bios = new Bios(await bootRig(BARE))
  const run = (ops: number): Spent => {
    let [submitting, polling, done] = [0, 0, 0]
    for (; done < ops; done += BATCH) {
      const began = now()
      bios.submit()
      const submitted = now()
      bios.poll()
      submitting += submitted - began
      polling += now() - submitted
    }
    return { ops: done, ns: what === 'submit' ? submitting : polling }
  }
  return { run, close: () => bios.machine.stop() }
}
