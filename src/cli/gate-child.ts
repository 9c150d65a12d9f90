// One process of the gate: loads one or two builds, warms them up, and times them in turns.
//
//   argv[2]   a ChildRequest as JSON
//   stdout    a ChildAnswer as JSON, or nothing and one line on standard error
//
// Two builds take turns in slices of half a millisecond, in the order A B B A: what disturbs the machine for longer than a slice
// meets both. Each four slices give a ratio, and the median of these is what the process has to say. Not each two: of two
// slices that follow one another the second finds the caches full of the other build and takes some 4 % longer, so that ratios of
// pairs lie in two heaps and their median, between the two, scatters. The caller alternates which build is loaded first.

import { writeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { finePercentile } from '../gate/fio-file.js'
import { median } from '../gate/stats.js'
import { AllThreads } from './gate-all.js'
import { PROBE_VERSION, type Probe, type ProbeInfo, type Spent } from './gate-probe.js'

/** What is to be measured. */
export interface ChildRequest {
  /** URLs of the probes: one build, or two in the order of loading. */
  readonly builds: readonly { readonly side: Side; readonly probe: string }[]
  /** Benchmarks; none = only say which there are. */
  readonly names: readonly string[]
}

export type Side = 'base' | 'head'

/** Rates in operations a second; the median ratio of the slices where there were two builds. */
export interface ChildAnswer {
  readonly rates: Readonly<Record<string, Partial<Record<Side, number>>>>
  readonly logRatios: Readonly<Record<string, number>>
  /** Percentiles of host latency in ns by benchmark, percentile and side, where they are recorded. */
  readonly latencies: Readonly<
    Record<string, Readonly<Record<string, Partial<Record<Side, number>>>>>
  >
  /** Benchmarks of the first build; none when it speaks another version of them. */
  readonly probes: readonly ProbeInfo[]
}

/** How long and how often. Slices of all threads are longer, because threads have to begin together. */
const ONE = { warmNs: 120e6, sliceNs: 0.5e6, pairs: 300 } as const
const ALL = { warmNs: 200e6, sliceNs: 8e6, pairs: 40 } as const

/** Operations of the first call: the code is not warm, and nobody knows how long one takes. */
const FIRST_OPS = 64

interface Module {
  readonly PROBE_VERSION: number
  readonly PROBES: readonly ProbeInfo[]
  openProbe(name: string): Promise<Probe>
}

interface Opened {
  readonly side: Side
  readonly probe: Probe
  /** ns of each operation in each slice. */
  readonly times: number[]
  /** ns of one operation, as of late. */
  pace: number
}

async function measure(request: ChildRequest): Promise<ChildAnswer> {
  const modules: { side: Side; probe: string; module: Module }[] = []
  for (const { side, probe } of request.builds)
    modules.push({ side, probe, module: (await import(probe)) as Module })
  const rates: Record<string, Partial<Record<Side, number>>> = {}
  const logRatios: Record<string, number> = {}
  const latencies: Record<string, Record<string, Partial<Record<Side, number>>>> = {}
  for (const name of request.names) {
    const all = modules[0].module.PROBES.find(one => one.name === name)?.threads === 'all'
    const opened: Opened[] = []
    for (const { side, probe: url, module } of modules) {
      const probe = all
        ? await AllThreads.open(url, name, availableParallelism())
        : await module.openProbe(name)
      opened.push({ side, probe, times: [], pace: 0 })
    }
    const ratio = await takeTurns(opened, all ? ALL : ONE)
    rates[name] = Object.fromEntries(opened.map(({ side, times }) => [side, 1e9 / median(times)]))
    if (ratio !== null) logRatios[name] = ratio
    for (const { side, probe } of opened) {
      const buckets = probe.latencies?.()
      if (buckets === undefined) continue
      const found = (latencies[name] ??= {})
      for (const percent of PERCENTILES)
        (found[`p${percent}`] ??= {})[side] = finePercentile(buckets, percent)
    }
    for (const { probe } of opened) await probe.close()
  }
  const [{ module }] = modules
  return {
    rates,
    logRatios,
    latencies,
    probes: module.PROBE_VERSION === PROBE_VERSION ? module.PROBES : [],
  }
}

/** Percentiles that are compared; the last one is advisory. */
const PERCENTILES = [50, 99, 99.9] as const

/** Warm-up, then slices in turns; the median log ratio of head to base when there are two. */
async function takeTurns(
  opened: readonly Opened[],
  { warmNs, sliceNs, pairs }: typeof ONE | typeof ALL,
): Promise<number | null> {
  await warmUp(opened, warmNs, sliceNs)
  for (const { probe } of opened) probe.forget?.()
  // both sides do the same work in a slice
  const ops = Math.max(1, Math.round(sliceNs / opened[0].pace))
  const ratios: number[] = []
  const turned = [...opened].reverse()
  for (let pair = 0; pair < pairs; pair += 2) {
    const there = await logRatio(opened, ops)
    const back = await logRatio(turned, ops)
    if (there !== null && back !== null) ratios.push((there + back) / 2)
  }
  return ratios.length > 0 ? median(ratios) : null
}

/** A slice of each in this order; null when there is one build only. */
async function logRatio(order: readonly Opened[], ops: number): Promise<number | null> {
  const took: Partial<Record<Side, number>> = {}
  for (const one of order) took[one.side] = await slice(one, ops)
  return took.base === undefined || took.head === undefined ? null : Math.log(took.base / took.head)
}

async function slice(one: Opened, ops: number): Promise<number> {
  const spent: Spent = await one.probe.run(ops)
  const ns = spent.ns / spent.ops
  one.times.push(ns)
  return ns
}

async function warmUp(opened: readonly Opened[], warmNs: number, sliceNs: number): Promise<void> {
  for (const one of opened) {
    let ops = FIRST_OPS
    for (let spent = 0; spent < warmNs; ) {
      const { ops: did, ns } = await one.probe.run(ops)
      spent += ns
      one.pace = ns / did
      // at most twice as much as before, so that a slow first call is not followed by a long one
      ops = Math.max(1, Math.min(ops * 2, Math.round(sliceNs / one.pace)))
    }
  }
}

try {
  const answer = await measure(JSON.parse(process.argv[2]) as ChildRequest)
  writeSync(1, JSON.stringify(answer))
  process.exit(0)
} catch (error) {
  writeSync(2, `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exit(1)
}
