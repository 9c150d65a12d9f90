// The keys that say how long an I/O takes: model=null|ram|fixed|normal|lognormal|empirical|nand and what belongs to each.
//
//   fixed                latency=10us, or read= write= trim= flush=; units=8
//   normal, lognormal    the same, each MEAN/DEVIATION (20us/4us)
//   empirical            read=50:80us/99:120us/100:1ms (percent:time, ascending, ending with 100), likewise write, trim, flush
//   nand                 channels dies planes blocks pages page-size op cell read-time program-time erase-time transfer-time
//                        fill=PERCENT (what holds data at boot) data=0 (times only, no content)
//
// A key that belongs to another model is unknown.

import type {
  LatencyPoint,
  LatencySpec,
  MediaSpec,
  NandCell,
  NandGeometry,
  NandTiming,
} from './spec.js'
import { SPARE_BLOCKS } from './nand.js'
import { formatNs, formatSize, type Keys, parseNs } from './spec-values.js'

const MODELS = ['null', 'ram', 'fixed', 'normal', 'lognormal', 'empirical', 'nand'] as const
const OPERATIONS = ['read', 'write', 'trim', 'flush'] as const
const CELLS: readonly NandCell[] = ['slc', 'mlc', 'tlc', 'qlc']

/** Keys that mean nothing without a model. */
const MODEL_KEYS = [
  'latency',
  ...OPERATIONS,
  'units',
  'channels',
  'dies',
  'planes',
  'blocks',
  'pages',
  'page-size',
  'op',
  'cell',
  'read-time',
  'program-time',
  'erase-time',
  'transfer-time',
  'fill',
  'data',
] as const

/** The default timed disk: 10 us, 8 I/Os at once. */
const DEFAULT_NS = 10_000
const DEFAULT_UNITS = 8

/** Media of an ordinary NVMe disk; null when no model was named. */
export function readMedia(keys: Keys): MediaSpec | null {
  const model = keys.choice('model', MODELS)
  if (model === undefined) {
    const orphan = MODEL_KEYS.find(key => keys.has(key))
    if (orphan !== undefined) keys.fail(`${orphan} needs model=, one of ${MODELS.join(', ')}`)
    return null
  }
  if (model === 'null' || model === 'ram') return { model }
  if (model === 'nand') {
    const fillPercent = keys.whole('fill', 0, 100) ?? 0
    const keepsData = keys.bool('data') ?? true
    return { model, geometry: readGeometry(keys), timing: readTiming(keys), fillPercent, keepsData }
  }
  const units = keys.whole('units', 1, 1024) ?? DEFAULT_UNITS
  if (model === 'empirical') return { model, ...readCurves(keys), units }
  return { model, ...readLatencies(keys, model), units }
}

type PerOperation<T> = Readonly<Record<(typeof OPERATIONS)[number], T>>

function readLatencies(
  keys: Keys,
  model: 'fixed' | 'normal' | 'lognormal',
): PerOperation<LatencySpec> {
  const accepts = model === 'fixed' ? 'a time, such as 10us' : 'MEAN/DEVIATION, such as 20us/4us'
  const parse = (text: string): LatencySpec | undefined => parseLatency(text, model)
  const devNs = model === 'fixed' ? 0 : DEFAULT_NS / 5
  const common = keys.form('latency', parse, accepts) ?? { meanNs: DEFAULT_NS, devNs }
  const one = (key: (typeof OPERATIONS)[number]): LatencySpec =>
    keys.form(key, parse, accepts) ?? common
  return { read: one('read'), write: one('write'), trim: one('trim'), flush: one('flush') }
}

/** A deviation left out is a fifth of the mean. */
function parseLatency(text: string, model: string): LatencySpec | undefined {
  const [mean, dev, ...more] = text.split('/')
  const meanNs = parseNs(mean!)
  if (meanNs === undefined || more.length > 0) return undefined
  if (model === 'fixed') return dev === undefined ? { meanNs, devNs: 0 } : undefined
  const devNs = dev === undefined ? Math.round(meanNs / 5) : parseNs(dev)
  return devNs === undefined || meanNs === 0 ? undefined : { meanNs, devNs }
}

function readCurves(keys: Keys): PerOperation<readonly LatencyPoint[]> {
  const accepts = 'percent:time/percent:time/..., ascending, ending with 100:TIME'
  const read = keys.form('read', parseCurve, accepts)
  if (read === undefined) keys.fail('model=empirical needs read=')
  const one = (key: 'write' | 'trim' | 'flush'): readonly LatencyPoint[] =>
    keys.form(key, parseCurve, accepts) ?? read
  return { read, write: one('write'), trim: one('trim'), flush: one('flush') }
}

function parseCurve(text: string): readonly LatencyPoint[] | undefined {
  const points: LatencyPoint[] = []
  for (const part of text.split('/')) {
    const match = /^(\d+(?:\.\d+)?):(\w+)$/.exec(part)
    const ns = parseNs(match?.[2] ?? '')
    const percent = Number(match?.[1])
    const before = points.at(-1) ?? { percent: -1, ns: 0 }
    if (ns === undefined || percent <= before.percent || ns < before.ns) return undefined
    points.push({ percent, ns })
  }
  return points.length >= 2 && points.at(-1)!.percent === 100 ? points : undefined
}

function readGeometry(keys: Keys): NandGeometry {
  const planes = keys.whole('planes', 1, 4) ?? 2
  if (planes === 3) keys.fail('planes=3: must be 1, 2 or 4')
  return {
    channels: keys.whole('channels', 1, 64) ?? 8,
    dies: keys.whole('dies', 1, 64) ?? 4,
    planes,
    blocks: keys.whole('blocks', 1, 65536) ?? null,
    pages: keys.whole('pages', 1, 65536) ?? 256,
    pageBytes: powerOfTwo(keys, 'page-size', 4096, 65536) ?? 16384,
    overProvisioning: keys.whole('op', 1, 100) ?? 7,
  }
}

/** A size that must be a power of two. */
export function powerOfTwo(keys: Keys, key: string, min: number, max: number): number | undefined {
  const value = keys.size(key, min, max)
  if (value !== undefined && (value & (value - 1)) !== 0) {
    keys.fail(`${key}=${value}: must be a power of two`)
  }
  return value
}

/** Times of flash; null where the cell's table decides. */
export function readTiming(keys: Keys): NandTiming {
  return {
    cell: keys.choice('cell', CELLS) ?? 'mlc',
    readNs: keys.time('read-time') ?? null,
    programNs: keys.time('program-time') ?? null,
    eraseNs: keys.time('erase-time') ?? null,
    transferNs: keys.time('transfer-time') ?? null,
  }
}

/** Bytes that a flash of this shape can show; null while its blocks are not known. */
export function nandCapacity(g: NandGeometry): number | null {
  if (g.blocks === null) return null
  const raw = g.channels * g.dies * g.planes * g.blocks * g.pages * g.pageBytes
  const spare = (raw / g.blocks) * Math.max(0, g.blocks - SPARE_BLOCKS)
  const shown = Math.floor(Math.min((raw * 100) / (100 + g.overProvisioning), spare))
  return shown - (shown % 2 ** 20)
}

/** The keys that readMedia reads as this media. */
export function formatMedia(media: MediaSpec): string[] {
  const keys = [`model=${media.model}`]
  if (media.model === 'null' || media.model === 'ram') return keys
  if (media.model === 'nand')
    return [
      ...keys,
      ...formatNand(media.geometry),
      ...formatTiming(media.timing),
      `fill=${media.fillPercent}`,
      `data=${Number(media.keepsData)}`,
    ]
  for (const operation of OPERATIONS) {
    const value =
      media.model === 'empirical'
        ? media[operation].map(point => `${point.percent}:${formatNs(point.ns)}`).join('/')
        : formatLatency(media[operation], media.model)
    keys.push(`${operation}=${value}`)
  }
  return [...keys, `units=${media.units}`]
}

function formatLatency({ meanNs, devNs }: LatencySpec, model: string): string {
  return model === 'fixed' ? formatNs(meanNs) : `${formatNs(meanNs)}/${formatNs(devNs)}`
}

function formatNand(g: NandGeometry): string[] {
  const keys = [`channels=${g.channels}`, `dies=${g.dies}`, `planes=${g.planes}`]
  if (g.blocks !== null) keys.push(`blocks=${g.blocks}`)
  keys.push(`pages=${g.pages}`, `page-size=${formatSize(g.pageBytes)}`, `op=${g.overProvisioning}`)
  return keys
}

/** The keys that readTiming reads as these times. */
export function formatTiming(timing: NandTiming): string[] {
  const keys = [`cell=${timing.cell}`]
  const times = {
    'read-time': timing.readNs,
    'program-time': timing.programNs,
    'erase-time': timing.eraseNs,
    'transfer-time': timing.transferNs,
  }
  for (const [key, ns] of Object.entries(times)) {
    if (ns !== null) keys.push(`${key}=${formatNs(ns)}`)
  }
  return keys
}
