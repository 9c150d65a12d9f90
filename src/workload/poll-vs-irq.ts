// The question this emulator was begun for: poll, or wait for the interrupt?
//
// A grid of runs: random 4 KiB reads of one job on each CPU, a queue pair for each CPU, a medium that takes the same time for
// every command and serves all of them side by side, so that nothing but the completion differs.
//
//   poll      looks at the completion queue until the entry is there (classic polling)
//   hybrid    sleeps half of the mean first (Linux's adaptive hybrid polling), then polls
//   irq       sleeps until the interrupt
//   coalesce  ... which comes for eight completions, or 100 us after the first; coalesce:N/T for other numbers
//
// Hybrid polling knows nothing until its first window of 100 ms is over, so it runs for some windows before anything is
// measured. In real time all modes do, until the engine has compiled what runs.
//
// Real time runs the device on a thread of its own. Each point says how its I/Os completed, by the counters of the queues;
// a point whose counters tell another story than its mode is an error.
//
// CPU time of an I/O is that of the submitting CPUs' threads (real) or what the CPUs were busy at the costs of the machine
// (virtual): submission, completion, and all looks, interrupts and switches between them.

import { availableParallelism } from 'node:os'
import { percentiles } from '../report/histogram.js'
import { addLatency, newLatency } from '../report/histogram.js'
import type { QueueFacts } from '../report/result.js'
import { executePlan } from './run.js'
import { parseRun } from './run-command.js'

export const COMPLETION_MODES = ['poll', 'hybrid', 'irq', 'coalesce'] as const
export type CompletionMode = (typeof COMPLETION_MODES)[number] | `coalesce:${string}`

/** The mode that a word names; null for none. */
export function completionMode(word: string): CompletionMode | null {
  const known = COMPLETION_MODES.find(mode => mode === word)
  if (known) return known
  const [, entries, us] = /^coalesce:(\d{1,3})\/(\d{1,5})us$/.exec(word) ?? []
  const [n, t] = [Number(entries), Number(us)]
  // what the feature can say (Set Features, interrupt coalescing)
  const good = n >= 1 && n <= 256 && t >= 100 && t <= 25_500 && t % 100 === 0
  return good ? (word as CompletionMode) : null
}

/** What is swept. */
export interface PollVsIrqGrid {
  readonly clock: 'real' | 'virtual'
  /** Service times, us. */
  readonly services: readonly number[]
  readonly depths: readonly number[]
  readonly cpus: readonly number[]
  readonly modes: readonly CompletionMode[]
  /** I/Os of each CPU. */
  readonly ios: number
  readonly seed: number
}

/** One run. Times in ns. */
export interface PollVsIrqPoint {
  readonly serviceUs: number
  readonly depth: number
  readonly cpus: number
  readonly mode: CompletionMode
  readonly ios: number
  readonly iops: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
  /** CPU time of one I/O on the submitting side. */
  readonly cpuPerIo: number
  /** Of one I/O: empty looks at the queue, interrupts taken. */
  readonly spinsPerIo: number
  readonly irqsPerIo: number
  /** I/Os before the measurement began. */
  readonly settling: number
  /** How many I/Os were found by a look, and by an interrupt; settling included. */
  readonly polled: number
  readonly interrupted: number
}

const COALESCE = '8/100us'

function waitOf(mode: CompletionMode): string {
  const [name, when = COALESCE] = mode.split(':')
  return name === 'coalesce' ? `wait=irq,coalesce=${when}` : `wait=${name}`
}

/** Three windows of hybrid polling's statistics, and more than the engine needs to compile. */
const SETTLING = '350ms'

function settles({ clock }: PollVsIrqGrid, mode: CompletionMode): boolean {
  return clock === 'real' || mode === 'hybrid'
}

const SIZE = '64m'
const JOB = 'poll-vs-irq.fio'

/** `length`: when the job ends. */
function jobText(cpus: number, depth: number, length: readonly string[]): string {
  return [
    '[global]',
    'filename=/dev/nvme0n1',
    'rw=randread',
    'bs=4k',
    `size=${SIZE}`,
    'norandommap=1',
    'ioengine=libaio',
    'direct=1',
    `iodepth=${depth}`,
    ...length,
    ...Array.from({ length: cpus }, (_, cpu) => `[cpu${cpu}]\ncpus_allowed=${cpu}`),
    '',
  ].join('\n')
}

function deviceText(grid: PollVsIrqGrid, serviceUs: number, cpus: number, depth: number): string {
  const units = Math.max(1, cpus * depth)
  const where = grid.clock === 'real' ? ',where=thread' : ''
  const medium =
    serviceUs === 0 && grid.clock === 'real'
      ? 'model=null'
      : `model=fixed,latency=${serviceUs}us,units=${units}`
  return `nvme,size=${SIZE},${medium},queues=${cpus},depth=${Math.max(64, 2 * depth)}${where}`
}

function argvOf(
  grid: PollVsIrqGrid,
  serviceUs: number,
  cpus: number,
  depth: number,
  mode: CompletionMode,
): string[] {
  const device = `${deviceText(grid, serviceUs, cpus, depth)},${waitOf(mode)}`
  const measured = settles(grid, mode)
    ? [`--max-io=${grid.ios}`, `--status-interval=${SETTLING}`]
    : []
  return [
    ...[JOB, `--clock=${grid.clock}`, `--cpus=${cpus}`, `--seed=${grid.seed}`],
    ...['--device', device, ...measured],
  ]
}

/** How the completions of a point must have been found; text of what is wrong, or null. */
function contradiction(point: PollVsIrqPoint): string | null {
  const polls = point.mode === 'poll' || point.mode === 'hybrid'
  const wrong = polls ? point.interrupted : point.polled
  const right = polls ? point.polled : point.interrupted
  const all = point.ios + point.settling
  if (wrong === 0 && right === all) return null
  return `${point.mode} at ${point.serviceUs} us, depth ${point.depth}: ${point.polled} of ${all} I/Os were polled, ${point.interrupted} found by an interrupt`
}

/** Counters of all queues together. */
function totals(
  queues: readonly QueueFacts[],
): Pick<QueueFacts, 'completed' | 'spins' | 'irqs' | 'polled' | 'interrupts'> {
  const sum = { completed: 0, spins: 0, irqs: 0, polled: 0, interrupts: 0 }
  for (const queue of queues)
    for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += queue[key]
  return sum
}

async function runPoint(
  grid: PollVsIrqGrid,
  [serviceUs, depth, cpus, mode]: readonly [number, number, number, CompletionMode],
): Promise<PollVsIrqPoint> {
  const length = settles(grid, mode)
    ? ['time_based=1', 'runtime=1h', `ramp_time=${SETTLING}`]
    : [`number_ios=${grid.ios}`]
  const text = jobText(cpus, depth, length)
  const plan = parseRun(argvOf(grid, serviceUs, cpus, depth, mode), {
    readFile: () => Buffer.from(text),
    env: {},
    hostCpus: availableParallelism(),
  })
  let before: readonly QueueFacts[] | null = settles(grid, mode) ? null : []
  const { result, failures } = await executePlan(plan, {
    onStatus: status => {
      before ??= status.phasebit.queues
    },
  })
  if (before === null) throw new Error('the measurement began before its time')
  if (failures.length > 0) throw new Error(failures[0])
  const latency = newLatency()
  let [ios, iops, busyNs] = [0, 0, 0]
  for (const job of result.jobs) {
    addLatency(latency, job.read.clat)
    ios += job.read.totalIos
    iops += (job.read.totalIos * 1e9) / job.read.runtimeNs
    busyNs += job.usrNs + job.sysNs
  }
  const { queues } = result.phasebit
  const [first, last] = [totals(before), totals(queues)]
  const counted = last.completed - first.completed
  const at = percentiles(latency.buckets!, [50, 99, 99.9]).map(p => p.ns)
  const point: PollVsIrqPoint = {
    serviceUs,
    depth,
    cpus,
    mode,
    ios,
    iops,
    mean: latency.mean,
    p50: at[0]!,
    p99: at[1]!,
    p999: at[2]!,
    cpuPerIo: busyNs / ios,
    spinsPerIo: (last.spins - first.spins) / counted,
    irqsPerIo: (last.irqs - first.irqs) / counted,
    settling: last.completed - ios,
    polled: last.polled,
    interrupted: last.interrupts,
  }
  const wrong = contradiction(point)
  if (wrong !== null) throw new Error(wrong)
  return point
}

/** Every combination of the grid, in its order. */
export function gridPoints(
  grid: PollVsIrqGrid,
): (readonly [serviceUs: number, depth: number, cpus: number, mode: CompletionMode])[] {
  return grid.cpus.flatMap(cpus =>
    grid.depths.flatMap(depth =>
      grid.services.flatMap(service =>
        grid.modes.map(mode => [service, depth, cpus, mode] as const),
      ),
    ),
  )
}

/** Runs the grid, one point after the other. */
export async function pollVsIrq(
  grid: PollVsIrqGrid,
  onPoint: (point: PollVsIrqPoint, done: number, of: number) => void,
): Promise<PollVsIrqPoint[]> {
  const wanted = gridPoints(grid)
  const points: PollVsIrqPoint[] = []
  for (const one of wanted) {
    const point = await runPoint(grid, one)
    points.push(point)
    onPoint(point, points.length, wanted.length)
  }
  return points
}

// ---------------------------------------------------------------- crossover

/** From which service time on waiting for the interrupt is the better choice, for one depth and number of CPUs. */
export interface Crossover {
  readonly depth: number
  readonly cpus: number
  /** Service time at which both use the same CPU time for an I/O, us; null: they do not within the grid. */
  readonly cpuUs: number | null
  /** Service time from which the interrupt's mean latency is within 10 % of polling's, us; null: never. */
  readonly latencyUs: number | null
  /** The later one of the two: less CPU at equal latency. */
  readonly crossoverUs: number | null
}

/** "Equal" latency. */
const EQUAL = 1.1

/** Where a quantity that is positive first and then stays below zero crosses it, straight between the points. */
function crossing(at: readonly (readonly [x: number, y: number])[]): number | null {
  let last = at.length
  while (last > 0 && at[last - 1]![1] <= 0) last--
  if (last === at.length) return null
  if (last === 0) return at[0]![0]
  const [[x0, y0], [x1, y1]] = [at[last - 1]!, at[last]!]
  return x0 + ((x1 - x0) * y0) / (y0 - y1)
}

/** The crossovers of `poll` and `irq`, as far as both were run. */
export function crossovers(points: readonly PollVsIrqPoint[]): Crossover[] {
  const keys = new Set(points.map(p => `${p.cpus}/${p.depth}`))
  return [...keys].map(key => {
    const here = points.filter(p => `${p.cpus}/${p.depth}` === key)
    const of = (mode: CompletionMode): PollVsIrqPoint[] =>
      here.filter(p => p.mode === mode).sort((a, b) => a.serviceUs - b.serviceUs)
    const irq = of('irq')
    const pairs = of('poll').flatMap(poll => {
      const other = irq.find(p => p.serviceUs === poll.serviceUs)
      return other ? [{ poll, irq: other }] : []
    })
    const cpuUs = crossing(pairs.map(p => [p.poll.serviceUs, p.irq.cpuPerIo - p.poll.cpuPerIo]))
    const latencyUs = crossing(pairs.map(p => [p.poll.serviceUs, p.irq.mean - EQUAL * p.poll.mean]))
    const crossoverUs = cpuUs === null || latencyUs === null ? null : Math.max(cpuUs, latencyUs)
    const [{ depth, cpus }] = here as [PollVsIrqPoint]
    return { depth, cpus, cpuUs, latencyUs, crossoverUs }
  })
}
