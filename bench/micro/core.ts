// The parts of the core that every I/O passes: tags, rings, doorbells, the histogram, the generator, the boundary. Beside each
// stands its twin in plain JavaScript (twins.ts).

import type { Size } from '../cell.js'
import {
  bitmapOf,
  boundaryLoops,
  churnLoop,
  doorbellLoop,
  type Loop,
  LoopMachine,
} from './loops.js'
import { type Micro, opsOf } from './micro.js'
import { type Crowd, crowdedBitmap } from './threads.js'
import * as twins from './twins.js'

/** Percent of the accesses, percent of the blocks. */
const ZONES = [
  [60, 10],
  [30, 20],
  [8, 30],
  [2, 40],
] as const

/** Patterns of the generator, as options of a job, and their twins for so many blocks. */
const PATTERNS: Readonly<
  Record<string, readonly [options: readonly string[], twin: (blocks: number) => Loop]>
> = {
  'random, each block once': [[], twins.randomMapTwin],
  'random, norandommap': [['--norandommap'], twins.uniformTwin],
  sequential: [['--rw=read'], twins.sequentialTwin],
  'zipf:1.1': [['--random_distribution=zipf:1.1'], blocks => twins.zipfTwin(blocks, 1.1)],
  'pareto:0.2': [['--random_distribution=pareto:0.2'], blocks => twins.paretoTwin(blocks, 0.2)],
  'normal:20': [['--random_distribution=normal:20'], blocks => twins.normalTwin(blocks, 20)],
  'zoned:60/10:30/20:8/30:2/40': [
    ['--random_distribution=zoned:60/10:30/20:8/30:2/40'],
    blocks => twins.zonedTwin(blocks, ZONES),
  ],
}

/** Entries of a batch on the rings. */
const BATCHES = [1, 8, 32] as const
const ENTRIES = 1024
/** A bitmap of so many bits, and how many of them are held. */
const DEPTH = 1024
const FILLS = [1, 256, 512, 922, 1014, 1023] as const
/** CAP.DSTRD: every one that there is. */
const STRIDES = { small: [0, 15], large: Array.from({ length: 16 }, (_, dstrd) => dstrd) } as const
/** Descriptors that one call takes. */
const DESCRIBED = 32
/** 1 GiB in blocks of 4 KiB. */
const BLOCKS = 262_144

type Row = (name: string, loop: Loop, twin: Loop) => Micro

async function tagRows(row: Row): Promise<Micro[]> {
  const machine = (): Promise<LoopMachine> => LoopMachine.boot()
  const rows = [
    row('tag: get and put', (await machine()).tags(0), twins.tagTwin(DEPTH, 0)),
    row('tag: put the oldest of 32, get', (await machine()).tags(32), twins.tagTwin(DEPTH, 32)),
    row('tag: put the oldest of 512, get', (await machine()).tags(512), twins.tagTwin(DEPTH, 512)),
  ]
  for (const held of FILLS) {
    const loop = await churnLoop(await bitmapOf(DEPTH, held, 1))
    const twin = twins.bitmapTwin(DEPTH, held)
    rows.push(row(`sbitmap: put and get, ${held} of ${DEPTH} held`, loop, twin))
  }
  return rows
}

/** The same with company. The others spin, so they begin when it is their turn and end after it: they would disturb every other row. */
function crowdRow(held: number, threads: number, ops: number): Micro {
  let crowd: Crowd | undefined
  return {
    name: `sbitmap: put and get, ${held} of ${DEPTH} held, ${threads} threads`,
    ops,
    begin: async () => {
      crowd = await crowdedBitmap(DEPTH, held, threads)
    },
    run: () => crowd!.loop(ops),
    twin: () => crowd!.twin(ops),
    end: () => crowd!.end(),
  }
}

function crowdRows(size: Size): Micro[] {
  const [fills, crowds] = size === 'small' ? [[512], [2]] : [FILLS, [2, 4]]
  return crowds.flatMap(threads =>
    fills
      // each thread holds one at least
      .filter(held => held >= threads)
      .map(held => crowdRow(held, threads, opsOf(size))),
  )
}

async function ringRows(row: Row, size: Size): Promise<Micro[]> {
  const rows: Micro[] = []
  const machine = (): Promise<LoopMachine> => LoopMachine.withRings(ENTRIES)
  for (const batch of BATCHES) {
    const sq = (await machine()).submission(batch)
    rows.push(row(`SQ: entry written, batch ${batch}`, sq, twins.submissionTwin(ENTRIES, batch)))
    const cq = (await machine()).completion(batch)
    rows.push(row(`CQ: entry reaped, batch ${batch}`, cq, twins.completionTwin(ENTRIES, batch)))
    const rings = (await machine()).rings(batch)
    rows.push(
      row(`rings: entry down and up, batch ${batch}`, rings, twins.ringsTwin(ENTRIES, batch)),
    )
  }
  for (const dstrd of STRIDES[size])
    for (const shadow of [false, true]) {
      const name = `doorbell: DSTRD ${dstrd}${shadow ? ', shadow' : ''}`
      rows.push(row(name, await doorbellLoop(dstrd, shadow), twins.doorbellTwin(dstrd, shadow)))
    }
  return rows
}

/** Every part. Each has a machine of its own, because what they leave behind in it differs. */
export async function coreMicros(size: Size): Promise<Micro[]> {
  const ops = opsOf(size)
  const row: Row = (name, loop, twin) => ({
    name,
    ops,
    run: () => loop(ops),
    twin: () => twin(ops),
  })
  const rows = [...(await tagRows(row)), ...crowdRows(size), ...(await ringRows(row, size))]
  const histogram = (await LoopMachine.boot()).histogram()
  rows.push(row('histogram: one latency', histogram, twins.histogramTwin()))
  for (const [pattern, [more, twin]] of Object.entries(PATTERNS)) {
    const generator = (await LoopMachine.boot({ more })).generator()
    rows.push(row(`generator: ${pattern}`, generator, twin(BLOCKS)))
  }
  const random = (await LoopMachine.boot()).random()
  rows.push(row('generator: 64 random bits', random, twins.randomTwin()))
  const { call, big, described } = await boundaryLoops(DESCRIBED)
  rows.push(row('boundary: a call from JavaScript', call, twins.callTwin()))
  rows.push(row('boundary: a call with a BigInt', big, twins.bigCallTwin()))
  const batch = `boundary: an I/O described in memory, a call for ${DESCRIBED}`
  rows.push(row(batch, described, twins.describedTwin(DESCRIBED)))
  return rows
}
