// Machines and jobs filled by hand, for tests that need no job file.
import * as L from '../../../assembly/layout.js'
import type { Disk, DiskConfig, Machine, MachineConfig } from '../../../src/machine/machine.js'

const NO_LIMIT = 2 ** 63

export function diskConfig(change: Partial<DiskConfig> = {}): DiskConfig {
  return {
    name: 'nvme0n1',
    driver: 'nvme',
    sizeBytes: 2 ** 26,
    lbaShift: 12,
    queues: 64,
    pollQueues: 0,
    depth: 64,
    model: 'ram',
    serviceNs: 10_000,
    units: 8,
    where: 'inline',
    wait: 'irq',
    coalesceCount: 1,
    coalesceNs: 0,
    stride: null,
    shadow: false,
    mdtsBytes: 0,
    wc: true,
    ...change,
  }
}

export function machineConfig(change: Partial<MachineConfig> = {}): MachineConfig {
  return {
    clock: 'virtual',
    cpus: 1,
    hz: 250,
    seed: 0,
    lat: 'batch',
    stages: false,
    trace: false,
    memBytes: 2 ** 26,
    disks: [diskConfig()],
    extraBytes: 2 ** 22,
    jobs: 4,
    ...change,
  }
}

export interface JobShape {
  readonly ios: number
  readonly depth: number
  readonly batch?: number
  readonly bytes?: number
  readonly write?: boolean
  readonly seed?: number
  /** Stop at this time, ns. */
  readonly endNs?: number
}

/** Fills job block `index` with a random job over the whole disk, links it and makes it runnable. */
export function startJob(
  machine: Machine,
  index: number,
  cpu: number,
  disk: Disk,
  shape: JobShape,
): number {
  const { view } = machine
  const job = machine.jobAddress(index)
  fillLimits(machine, job, disk, shape)
  fillGenerator(machine, job, disk, shape)
  for (let i = 0; i < shape.depth; i++) addIou(machine, job, disk, i, shape)
  machine.linkJob(job, cpu)
  view.setU64(job + L.JOB_START_NS, machine.now())
  view.setU32(job + L.JOB_RECORD, 1)
  view.store(job + L.JOB_STATE, L.JOB_RUN)
  machine.kick(cpu)
  return job
}

function fillLimits(machine: Machine, job: number, disk: Disk, shape: JobShape): void {
  const { view } = machine
  const batch = shape.batch ?? 1
  for (const [field, value] of [
    [L.JOB_Q, disk.q],
    [L.JOB_IODEPTH, shape.depth],
    [L.JOB_BATCH, batch],
    [L.JOB_REAP_MIN, 1],
    [L.JOB_REAP_MAX, shape.depth],
    [L.JOB_LOW, shape.depth],
    [L.JOB_LBA_MASK, 2 ** disk.config.lbaShift - 1],
  ] as const) {
    view.setU32(job + field, value)
  }
  view.setU64(job + L.JOB_NUMBER_IOS, shape.ios)
  view.setU64(job + L.JOB_END_NS, shape.endNs ?? NO_LIMIT)
  for (const field of [L.JOB_IO_LIMIT, L.JOB_MAX_IO, L.JOB_TICK_NS]) {
    view.setU64(job + field, NO_LIMIT)
  }
  for (const ddir of [L.DDIR_READ, L.DDIR_WRITE, L.DDIR_TRIM, L.DDIR_SYNC]) {
    const hist = machine.alloc(L.HIST_BUCKETS * 4)
    view.setU32(job + L.JOB_STATS + ddir * L.STAT_SIZE + L.STAT_CLAT + L.LS_HIST, hist)
  }
}

function fillGenerator(machine: Machine, job: number, disk: Disk, shape: JobShape): void {
  const { view } = machine
  const g = job + L.JOB_GEN
  const bytes = shape.bytes ?? 4096
  view.setU32(g + L.JG_RW, (shape.write ? L.RW_WRITE : L.RW_READ) | L.RW_RANDOM)
  for (let ddir = 0; ddir < 3; ddir++) {
    view.setU32(g + L.JG_RANDOM_PCT + ddir * 4, 100)
    for (const field of [L.JG_MIN_BS, L.JG_MAX_BS, L.JG_BS_STEP, L.JG_ALIGN]) {
      view.setU32(g + field + ddir * 4, bytes)
    }
  }
  for (let i = 0; i < 10; i++) {
    view.setU64(g + L.JG_RNG_OFF + i * 8, (shape.seed ?? 1) * 1_000_003 + i)
  }
  view.setU32(g + L.JG_SEQ_NR, 1)
  view.setU32(g + L.JG_MAP_MODE, L.MAP_NONE)
  view.setU32(g + L.JG_MAP_UNIT, bytes)
  view.setU32(g + L.JG_FILE_N, 1)
  view.setU32(g + L.JG_TIME_BASED, 1)
  view.setU64(g + L.JG_FILE0 + L.FL_BYTES, disk.config.sizeBytes)
}

function addIou(machine: Machine, job: number, disk: Disk, index: number, shape: JobShape): void {
  const { view } = machine
  const iou = machine.alloc(L.IOU_SIZE, 128)
  const buffer = machine.alloc(shape.bytes ?? 4096, 4096)
  view.setU32(iou + L.BIO_DISK, disk.q)
  view.setU32(iou + L.BIO_END_IO, L.END_IO_JOB)
  view.setU32(iou + L.IOU_JOB, job)
  view.setU32(iou + L.IOU_BUF, buffer)
  view.setU32(iou + L.IOU_INDEX, index)
  view.setU32(iou + L.IOU_NEXT, view.u32(job + L.JOB_FREE))
  view.setU32(job + L.JOB_FREE, iou)
}

/** Read and write I/Os that a job's statistics count. */
export function countedIos(machine: Machine, job: number): number {
  const at = (ddir: number): number => job + L.JOB_STATS + ddir * L.STAT_SIZE + L.STAT_IOS
  return machine.view.u64(at(L.DDIR_READ)) + machine.view.u64(at(L.DDIR_WRITE))
}

/** Bios that joined the request of another one. */
export function countedMerges(machine: Machine, disk: Disk): number {
  const ctxs = machine.view.u32(disk.q + L.Q_CTXS)
  return disk.map.reduce((n, _, cpu) => {
    return n + machine.view.u64(ctxs + cpu * L.CTX_SIZE + L.CTX_MERGED)
  }, 0)
}

/** Runs until all of these jobs are done. */
export async function runJobs(machine: Machine, jobs: readonly number[]): Promise<void> {
  const done = (): boolean => jobs.every(j => machine.view.load(j + L.JOB_STATE) === L.JOB_DONE)
  while (!done()) {
    const end = await machine.run(machine.now() + 20e9)
    if (end !== 'event' && !done()) throw new Error(`the machine stands still (${end})`)
  }
}
