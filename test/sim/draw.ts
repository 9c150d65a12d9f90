// One seed becomes a small machine and a few jobs. Everything is drawn from the seed's own stream; the jobs are fio options,
// the machine is what `--device` can say and what it cannot (shadow doorbells, MDTS, few list pages, a small store).

import type { DiskConfig, FaultConfig, MachineConfig } from '../../src/machine/config.js'
import { caseStream, type Prng } from '../fuzz/prng.js'

const KIB = 1024

/** What a seed stands for. */
export interface Draw {
  readonly seed: number
  /** As after `phasebit run`. */
  readonly args: readonly string[]
  readonly machine: Partial<MachineConfig>
  readonly disk: Partial<DiskConfig>
  readonly jobs: readonly JobDraw[]
  /** One byte of one transfer is changed, and some verify job reads it back: it must be found. */
  readonly mustFind: boolean
}

/** One job, as far as the checks must know it. */
export interface JobDraw {
  readonly options: readonly string[]
  readonly verify: boolean
  /** I/Os that it issues if nothing goes wrong; null = not known beforehand. */
  readonly ios: number | null
}

export function draw(seed: number): Draw {
  const random = caseStream(0x51b, seed)
  const mustFind = random.chance(8)
  const jobs = mustFind ? 1 : 1 + random.below(3)
  const verifies = mustFind || random.chance(45)
  const disk = drawDisk(random, verifies, mustFind)
  const region = random.pick([256 * KIB, 512 * KIB, 2 ** 20])
  const list = Array.from({ length: jobs }, (_, i) =>
    drawJob(random, i, region, disk.lbaShift, {
      verify: verifies && (mustFind || random.chance(60)),
      plain: mustFind,
      apart: verifies,
    }),
  )
  const sizeBytes = 4 * 2 ** 20
  const cpus = 1 + random.below(4)
  return {
    seed,
    args: [
      '--clock=virtual',
      `--seed=${seed}`,
      `--cpus=${cpus}`,
      `--device=nvme,size=${sizeBytes},lba=${2 ** disk.lbaShift}`,
      '--filename=/dev/nvme0n1',
      '--ioengine=libaio',
      ...list.flatMap(job => job.options),
    ],
    machine: {
      lat: random.pick(['none', 'sampled', 'batch', 'every']),
      stages: random.chance(50),
      hz: random.pick([100, 250, 1000]),
      memBytes: !mustFind && random.chance(6) ? 64 * KIB : 8 * 2 ** 20,
    },
    disk: { ...disk, sizeBytes },
    jobs: list,
    mustFind,
  }
}

// ---------------------------------------------------------------- the machine

type DiskDraw = Omit<
  DiskConfig,
  'name' | 'driver' | 'sizeBytes' | 'where' | 'empirical' | 'prpPages'
> &
  Pick<Partial<DiskConfig>, 'empirical' | 'prpPages'>

function drawDisk(random: Prng, verifies: boolean, mustFind: boolean): DiskDraw {
  const model = random.pick(
    verifies
      ? (['ram', 'fixed', 'normal', 'lognormal', 'empirical'] as const)
      : (['null', 'ram', 'fixed', 'normal', 'lognormal', 'empirical'] as const),
  )
  const queues = 1 + random.below(4)
  const wait = random.pick(['irq', 'irq', 'poll', 'hybrid'] as const)
  const serviceNs = random.pick([1, 800, 10_000, 90_000])
  const coalesces = random.chance(40)
  return {
    lbaShift: random.pick([9, 12] as const),
    queues,
    pollQueues: wait === 'irq' ? random.below(queues) : 0,
    depth: random.pick([2, 3, 4, 5, 8, 9, 16, 33, 64]),
    model,
    serviceNs,
    sigmaNs: random.below(serviceNs + 1),
    ...(model === 'empirical' ? { empirical: [0, 100, serviceNs, 3 * serviceNs] } : {}),
    units: random.pick([1, 2, 3, 8]),
    wait,
    coalesceCount: coalesces ? 2 + random.below(8) : 1,
    coalesceNs: coalesces ? random.pick([0, 2000, 100_000]) : 0,
    stride: random.pick([0, 1, 4, 15]),
    shadow: random.chance(40),
    mdtsBytes: random.pick([0, 0, 4096, 16 * KIB, 128 * KIB]),
    wc: random.chance(60),
    ...(random.chance(15) ? { prpPages: 1 + random.below(2) } : {}),
    faults: mustFind ? [corruption(random)] : drawFaults(random, verifies),
  }
}

/** One byte of the first, second or third write or read. */
function corruption(random: Prng): FaultConfig {
  return {
    opcode: random.pick([1, 2]),
    nth: 1 + random.below(3),
    action: 'corrupt',
    value: random.below(5000),
  }
}

function drawFaults(random: Prng, verifies: boolean): FaultConfig[] {
  if (!random.chance(35)) return []
  return Array.from({ length: 1 + random.below(2) }, () => {
    const once = random.chance(70) ? { nth: 1 + random.below(40) } : {}
    const lba = random.chance(40)
      ? { lba: [random.below(64), 64 + random.below(200)] as const }
      : {}
    const opcode = random.chance(50) ? { opcode: random.pick([0, 1, 2, 9]) } : {}
    const qid = random.chance(20) ? { qid: 1 + random.below(4) } : {}
    const action = random.pick(
      verifies ? (['status', 'delay'] as const) : (['status', 'delay', 'corrupt'] as const),
    )
    const value = {
      status: random.pick([6, 0x280, 0x281, 0x4281, 0x4006]),
      delay: 10 ** random.below(8),
      corrupt: 77,
    }
    return { ...once, ...lba, ...opcode, ...qid, action, value: value[action] }
  })
}

// ---------------------------------------------------------------- jobs

interface JobKind {
  readonly verify: boolean
  /** Nothing that could keep a written block from being read back. */
  readonly plain: boolean
  /** Each job has a region of its own. */
  readonly apart: boolean
}

function drawJob(
  random: Prng,
  index: number,
  region: number,
  lbaShift: number,
  kind: JobKind,
): JobDraw {
  const rw = random.pick(
    kind.plain
      ? ['write', 'randwrite']
      : kind.verify
        ? ['write', 'randwrite', 'rw', 'randrw']
        : [
            'read',
            'write',
            'randread',
            'randwrite',
            'rw',
            'randrw',
            'trim',
            'randtrim',
            'trimwrite',
          ],
  )
  const sizes = [4 * KIB, 4 * KIB, 8 * KIB, 16 * KIB, 64 * KIB, 128 * KIB]
  if (lbaShift === 9) sizes.push(512, 1536)
  const bs = random.pick(sizes)
  const mixed = !kind.plain && random.chance(15)
  const size = Math.min(region, (mixed ? 32 * KIB : bs) * (4 + random.below(200)))
  const iodepth = random.pick([1, 1, 2, 3, 4, 8, 16, 32, 64])
  const offset = kind.apart || random.chance(50) ? index * 2 ** 20 : 0
  const options = [
    `--name=job${index}`,
    `--rw=${rw}`,
    mixed ? `--bsrange=4k-${random.pick([8, 16, 32])}k` : `--bs=${bs}`,
    `--size=${size}`,
    `--offset=${offset}`,
    `--iodepth=${iodepth}`,
    ...optional(random, kind, iodepth),
    ...(kind.verify ? drawVerify(random, kind, mixed ? 4 * KIB : bs) : []),
  ]
  const limits = kind.plain ? { options: [], ios: null } : drawLimits(random, size, bs, mixed, rw)
  return { options: [...options, ...limits.options], verify: kind.verify, ios: limits.ios }
}

function optional(random: Prng, kind: JobKind, iodepth: number): string[] {
  const some = (percent: number, text: () => string): string[] =>
    random.chance(percent) ? [text()] : []
  return [
    ...some(40, () => `--iodepth_batch=${1 + random.below(iodepth)}`),
    ...some(15, () => `--iodepth_low=${1 + random.below(iodepth)}`),
    ...some(20, () => `--fsync=${1 + random.below(12)}`),
    ...some(10, () => '--sync=1'),
    ...(kind.plain ? [] : some(25, () => '--norandommap=1')),
    ...some(15, () => `--rate_iops=${10 ** (3 + random.below(4))}`),
    ...some(12, () => `--thinktime=${1 + random.below(300)}`),
    ...some(10, () => `--startdelay=${random.below(2)}`),
    ...(kind.plain ? [] : some(35, () => '--continue_on_error=all')),
    ...some(20, () => '--refill_buffers=1'),
    ...some(12, () => '--end_fsync=1'),
    ...some(10, () => `--write_barrier=${1 + random.below(9)}`),
    ...some(12, () => '--serialize_overlap=1'),
    ...some(10, () => '--io_submit_mode=offload'),
    ...some(12, () => `--iodepth_batch_complete_max=${1 + random.below(iodepth)}`),
    ...some(10, () => `--flow=${1 + random.below(5)}`),
    ...some(8, () => `--cmdprio_percentage=${random.below(101)}`),
    ...some(8, () => '--thinktime_spin=20'),
  ]
}

function drawVerify(random: Prng, kind: JobKind, bs: number): string[] {
  const interval =
    random.chance(40) && bs >= 4 * KIB
      ? [`--verify_interval=${random.pick([1024, 2048, 4096])}`]
      : []
  const backlog =
    !kind.plain && random.chance(25) ? [`--verify_backlog=${1 + random.below(20)}`] : []
  const trim =
    !kind.plain && random.chance(20)
      ? [`--trim_percentage=${random.below(101)}`, `--trim_backlog=${1 + random.below(20)}`]
      : []
  return ['--verify=crc32c', '--do_verify=1', ...interval, ...backlog, ...trim]
}

/** How long the job goes on, and how many I/Os that makes. */
function drawLimits(
  random: Prng,
  size: number,
  bs: number,
  mixed: boolean,
  rw: string,
): { options: string[]; ios: number | null } {
  // what is left of a region that is not whole blocks may be one I/O more
  const unsure = mixed || rw === 'trimwrite' || size % bs !== 0
  const known = (ios: number): number | null => (unsure ? null : ios)
  const pass = Math.floor(size / bs)
  const choice = random.below(10)
  if (choice < 2) {
    const n = 1 + random.below(2 * pass)
    return { options: [`--number_ios=${n}`], ios: n < pass ? known(n) : null }
  }
  if (choice < 4) {
    const blocks = 1 + random.below(pass)
    return { options: [`--io_size=${blocks * bs}`], ios: known(blocks) }
  }
  if (choice < 5)
    return { options: ['--time_based=1', `--runtime=${1 + random.below(3)}ms`], ios: null }
  return { options: [], ios: known(pass) }
}
