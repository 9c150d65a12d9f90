// How often a sector is written to flash for each time that a user writes it: write amplification against spare space, under
// random overwrites of the whole drive, for each translation layer that there is.
//
//   pblk   the host's, on an open-channel device (src/drivers/lightnvm)
//   rrpc   the host's before that. What of the flash it shows is fixed: more spare space is a part of its disk that nobody
//          writes, and less than it keeps cannot be had
//   nand   the one inside of an NVMe drive of model=nand (assembly/nand.ts)
//
// A point is measured between two runs of the same seed, one of which goes on where the other ends: what is between them is
// written when the drive has settled. Data take no memory (one word over and over) and the media no time.
//
// The curve beside the points is that of a log which is collected in the order of its age (FIFO), for T places of flash that
// hold U sectors, each written p of the time. A sector that was written is still valid when the log has gone round, after t
// user writes, with probability exp(-p t), and is then written anew; so it moves p / (exp(p t) - 1) times for each user
// write, and the round is T places long:
//
//   t (1 + sum p / (exp(p t) - 1)) = T          amplification = T / t
//
// For equal p that is A = a / (a + W(-a exp(-a))) with a = T / U and Lambert's W: L. Xiang and B. Kurkoski, "An Improved
// Analytical Expression for Write Amplification in NAND Flash" (2011); P. Desnoyers, "Analytic Modeling of SSD Write
// Performance" (2012), who shows that greedy collection comes to the same when blocks are large. All layers here are greedy
// (the victim is what has the least valid data). Under skewed writes a FIFO log moves what is never written again and again,
// and greedy, which has no such simple curve, does better.
//
// rrpc of its kernels comes to no curve: each round of its timer begins as many collections as blocks are missing, whether those
// of the last round are over or not, until all blocks are in hand, whatever they still hold (quirks). Here it counts those.
//
// The nominal curve takes all of the flash for T. A layer has less: what it keeps free, or open, holds no data that could
// become invalid. pblk keeps much free: its limiter (src/drivers/lightnvm/pblk-rl.ts) gives users less of the ring the fewer
// chunks are free, in steps of 64 entries, and collects as long as fewer than nearly all spare chunks are. The second curve
// is for the places that were really in use.

import {
  DEV_NAND,
  NA_BLOCKS,
  NA_DIE,
  NA_DIES,
  NA_GC_SLOTS,
  NA_HOST_SLOTS,
  ND_FREE,
  ND_SIZE,
} from '../../assembly/layout.js'
import type { pblk } from '../drivers/lightnvm/pblk.js'
import type { rrpc } from '../drivers/lightnvm/rrpc.js'
import type { Machine } from '../machine/booted.js'
import type { RunPlan } from './job.js'
import { machineConfig } from './machine-config.js'
import { executePlan } from './run.js'
import { parseRun } from './run-command.js'

export const AMP_LAYERS = ['pblk', 'rrpc', 'nand'] as const
export type AmpLayer = (typeof AMP_LAYERS)[number]

/** What is swept. */
export interface WriteAmpGrid {
  readonly layers: readonly AmpLayer[]
  /** Spare space, percent of the flash. */
  readonly spares: readonly number[]
  /** Random distributions as fio names them: random, zipf:1.1. */
  readonly distributions: readonly string[]
  /** Lines of pblk, blocks of a die; and their sectors, on each of eight units. */
  readonly blocks: number
  readonly sectors: number
  /** How often the drive is overwritten before it is measured, and while it is. */
  readonly settle: number
  readonly measure: number
  readonly seed: number
}

export interface WriteAmpPoint {
  readonly layer: AmpLayer
  readonly distribution: string
  readonly spare: number
  /** Sectors of the flash that can hold data, and that users see. */
  readonly places: number
  readonly sectors: number
  /** Of the places, those that are free or in open blocks at the end. */
  readonly unused: number
  /** Sectors that users wrote, and that were moved. */
  readonly written: number
  readonly moved: number
  /** (written + moved) / written. */
  readonly amplification: number
  /** What a FIFO log would come to with all places, and with those in use. */
  readonly nominal: number
  readonly inUse: number
}

/** Units that work side by side: two channels of four. */
const CHANNELS = 2
const UNITS = 8
const SECTOR = 4096
const TIMES = 'read-time=0,program-time=0,erase-time=0,transfer-time=0'
const JOB = 'write-amp.fio'
const DISK: Readonly<Record<AmpLayer, string>> = {
  pblk: '/dev/pblk0',
  rrpc: '/dev/rrpc0',
  nand: '/dev/nvme0n1',
}

/** What a layer tells of itself. */
interface Counts {
  readonly places: number
  readonly sectors: number
  readonly unused: number
  readonly written: number
  readonly moved: number
}

// ---------------------------------------------------------------- the analytic curve

/** How likely each of `n` sectors is to be written next. Equal ones are one entry. */
export function popularity(distribution: string, n: number): Float64Array {
  if (distribution === 'random') return new Float64Array([1 / n])
  const theta = Number(distribution.slice('zipf:'.length))
  const weights = Float64Array.from({ length: n }, (_, i) => (i + 1) ** -theta)
  const sum = weights.reduce((total, w) => total + w, 0)
  return weights.map(w => w / sum)
}

/**
 * Write amplification of a log of `places` that is collected in the order of its age and holds `sectors`.
 * @param p how likely each sector is to be written next; one entry stands for all of them
 */
export function fifoAmplification(places: number, sectors: number, p: Float64Array): number {
  if (places <= sectors) return Number.POSITIVE_INFINITY
  const each = sectors / p.length
  const round = (t: number): number => {
    let sum = t
    for (const one of p) {
      const x = one * t
      sum += (each * x) / Math.expm1(x)
    }
    return sum
  }
  let [low, high] = [1e-6, places]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (round(middle) < places) low = middle
    else high = middle
  }
  return places / low
}

// ---------------------------------------------------------------- the drives

/** The devices of a point, and the disk that is written. */
function devicesOf(grid: WriteAmpGrid, layer: AmpLayer, spare: number): readonly string[] {
  const { blocks, sectors } = grid
  if (layer === 'nand') {
    const bytes = UNITS * blocks * sectors * SECTOR * (1 - spare / 100)
    const size = Math.floor(bytes / 2 ** 20)
    const shape = `channels=${CHANNELS},dies=${UNITS / CHANNELS},planes=1,blocks=${blocks},pages=${sectors},page-size=4k`
    return [`nvme,size=${size}M,lba=4096,model=nand,op=1,${shape},fill=100,data=0,${TIMES}`]
  }
  if (layer === 'rrpc') {
    const shape = `channels=${CHANNELS},luns=${UNITS / CHANNELS},planes=1,sectors=1,pages=${sectors},blocks=${blocks}`
    return [`nvme,ocssd=1.2,${shape},${TIMES}`, 'rrpc,parent=nvme0n1']
  }
  const shape = `groups=${CHANNELS},pus=${UNITS / CHANNELS},chunks=${blocks},clba=${sectors}`
  return [`nvme,ocssd=2.0,${shape},${TIMES}`, `pblk,parent=nvme0n1,op=${spare}`]
}

function jobText(layer: AmpLayer, distribution: string, sectors: number, passes: number): string {
  const fill = ['[fill]', 'rw=write', 'bs=64k', 'iodepth=1']
  return [
    '[global]',
    `filename=${DISK[layer]}`,
    `size=${sectors * SECTOR}`,
    'direct=1',
    'ioengine=libaio',
    'zero_buffers=1',
    ...(layer === 'nand' ? [] : fill),
    '[overwrite]',
    'stonewall',
    'rw=randwrite',
    'bs=4k',
    'iodepth=32',
    'norandommap=1',
    `random_distribution=${distribution}`,
    `io_size=${Math.round(passes * sectors) * SECTOR}`,
    '',
  ].join('\n')
}

function targetOf(machine: Machine): unknown {
  return machine.host!.lightnvm!.lnvm.devices[0]!.targets[0]!.private_data
}

/** What rrpc says; its free blocks, and those that are open. */
function countsOfRrpc(rrpc: rrpc, sectors: number): Counts {
  const { luns, sec_per_blk, nr_blks, stats } = rrpc
  const unused = luns.reduce(
    (sum, { nr_free_blocks, cur, gc_cur }) =>
      sum + nr_free_blocks + Number(cur !== null) + Number(gc_cur !== null),
    0,
  )
  return {
    places: luns.length * nr_blks * sec_per_blk,
    sectors,
    unused: unused * sec_per_blk,
    written: stats.written,
    moved: stats.gc_written,
  }
}

/** What pblk says; its free lines, and the one that is open. */
function countsOfPblk(pblk: pblk): Counts {
  const { lm, lines, rl } = pblk
  const sec_in_line = lm.sec_per_line - lm.smeta_sec - lm.emeta_sec
  const places = lines.length * sec_in_line
  const unused = (rl.free_user_blocks / lm.blk_per_line + 1) * sec_in_line
  const { capacity: sectors, user_wa: written, gc_wa: moved } = pblk
  return { places, sectors, unused, written, moved }
}

/** What the drive's flash says; its free blocks, and the two of each die that are open. */
function countsOfNand({ view, disks }: Machine, sectors: number, grid: WriteAmpGrid): Counts {
  const na = view.u32(disks[0]!.dev + DEV_NAND)
  const dies = view.u32(na + NA_DIES)
  let free = 2 * dies
  for (let i = 0; i < dies; i++) free += view.u32(view.u32(na + NA_DIE) + i * ND_SIZE + ND_FREE)
  return {
    places: dies * view.u32(na + NA_BLOCKS) * grid.sectors,
    sectors,
    unused: free * grid.sectors,
    written: view.u64(na + NA_HOST_SLOTS),
    moved: view.u64(na + NA_GC_SLOTS),
  }
}

// ---------------------------------------------------------------- a point

function planOf(devices: readonly string[], text: string, seed: number): RunPlan {
  const argv = [JOB, '--clock=virtual', '--cpus=1', `--seed=${seed}`, '--lat=none']
  for (const device of devices) argv.push('--device', device)
  return parseRun(argv, { readFile: () => Buffer.from(text), env: {}, hostCpus: 1 })
}

/** Sectors that are written: the disk, of rrpc what leaves so much of the flash spare; 0 if it keeps more than that. */
function sizeOf(grid: WriteAmpGrid, [layer, spare]: Place, devices: readonly string[]): number {
  const plan = planOf(devices, `[none]\nfilename=${DISK[layer]}\nsize=4k\n`, 0)
  const { disks } = machineConfig(plan, { nrCpus: 1, jobs: 1, extraBytes: 0 })
  const shown = disks.at(-1)!.sizeBytes / SECTOR
  if (layer !== 'rrpc') return shown
  const wanted = Math.floor(UNITS * grid.blocks * grid.sectors * (1 - spare / 100))
  return wanted <= shown ? wanted : 0
}

/** What the layer tells after so many passes over the drive; null if it cannot have so little spare space. */
async function countsAfter(
  grid: WriteAmpGrid,
  place: Place,
  passes: number,
): Promise<Counts | null> {
  const [layer, spare, distribution] = place
  const devices = devicesOf(grid, layer, spare)
  const sectors = sizeOf(grid, place, devices)
  if (sectors === 0) return null
  const plan = planOf(devices, jobText(layer, distribution, sectors, passes), grid.seed)
  let counts: Counts | null = null
  const onEnd = (machine: Machine): void => {
    if (layer === 'nand') counts = countsOfNand(machine, sectors, grid)
    else if (layer === 'rrpc') counts = countsOfRrpc(targetOf(machine) as rrpc, sectors)
    else counts = countsOfPblk(targetOf(machine) as pblk)
  }
  const { failures } = await executePlan(plan, { onEnd })
  if (counts === null || failures.length > 0) throw new Error(failures[0] ?? 'the jobs did not end')
  return counts
}

type Place = readonly [AmpLayer, spare: number, distribution: string]

async function runPoint(grid: WriteAmpGrid, place: Place): Promise<WriteAmpPoint | null> {
  const [layer, spare, distribution] = place
  const before = await countsAfter(grid, place, grid.settle)
  const after = await countsAfter(grid, place, grid.settle + grid.measure)
  if (before === null || after === null) return null
  const { places, sectors, unused } = after
  const written = after.written - before.written
  const moved = after.moved - before.moved
  const p = popularity(distribution, sectors)
  return {
    layer,
    distribution,
    spare,
    places,
    sectors,
    unused,
    written,
    moved,
    amplification: (written + moved) / written,
    nominal: fifoAmplification(places, sectors, p),
    inUse: fifoAmplification(places - unused, sectors, p),
  }
}

/** Runs every combination, layer by layer. */
export async function writeAmp(
  grid: WriteAmpGrid,
  onPoint: (point: WriteAmpPoint) => void,
): Promise<WriteAmpPoint[]> {
  const points: WriteAmpPoint[] = []
  for (const layer of grid.layers)
    for (const distribution of grid.distributions)
      for (const spare of grid.spares) {
        const point = await runPoint(grid, [layer, spare, distribution])
        if (point === null) continue
        points.push(point)
        onPoint(point)
      }
  return points
}
