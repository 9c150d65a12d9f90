// The JSON document against the list of paths of test/golden/fio-json-schema.json, and its layout.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { fioJson } from '../../../src/report/fio-json.js'
import type { JobResult, RunResult, SteadyStateResult } from '../../../src/report/result.js'
import { DISK, direction, job, latencyOf, run } from './synthetic.js'

interface SchemaPath {
  path: string
  type: string
}

const GOLDEN = new URL('../../golden/fio-json-schema.json', import.meta.url)
const SCHEMA = JSON.parse(readFileSync(GOLDEN, 'utf8')) as { paths: SchemaPath[] }

/** A number kept as its text, so that 1 and 1.000000 differ. */
class NumberText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Tree = string | boolean | null | NumberText | Tree[] | { [key: string]: Tree }

/** Parses a document in which each number stands at the end of a line. */
function parseKeepingNumbers(text: string): { [key: string]: Tree } {
  const marked = text.replace(/(^\s*|: )(-?\d+(?:\.\d+)?)(,?)$/gm, '$1"#$2"$3')
  return JSON.parse(marked, (_, value) =>
    typeof value === 'string' && value.startsWith('#') ? new NumberText(value.slice(1)) : value,
  ) as { [key: string]: Tree }
}

function typeOf(tree: Tree): string {
  if (tree instanceof NumberText) return /\.\d{6}$/.test(tree.text) ? 'float6' : 'int'
  if (typeof tree === 'string') return 'string'
  if (!Array.isArray(tree)) return 'object'
  const kinds = new Set(tree.map(item => (typeOf(item) === 'int' ? 'int' : 'object')))
  return `array<${[...kinds].join('|') || 'int'}>`
}

const OPEN = /^(object<|array<)/
const known = new Map(SCHEMA.paths.map(p => [p.path, p]))

function schemaPath(path: string): string {
  return path.replace(/\.cpu-\d+$/, '.cpu-<n>')
}

/** Every path of the document that the schema treats as a leaf, with its type. */
function leaves(tree: Tree, path: string, out: Map<string, string>): void {
  const entry = known.get(schemaPath(path))
  const closed = entry && OPEN.test(entry.type) && entry.type !== 'array<object>'
  const isArray = Array.isArray(tree)
  if (entry) out.set(schemaPath(path), closed ? openType(tree, entry.type) : typeOf(tree))
  if (closed || tree === null || typeof tree !== 'object' || tree instanceof NumberText) {
    if (!entry) out.set(path, typeOf(tree))
    return
  }
  if (isArray) {
    if (path.endsWith('.prios')) return
    for (const item of tree) leaves(item, `${path}[]`, out)
  } else if (!path.endsWith('mixed')) {
    for (const [key, value] of Object.entries(tree)) {
      leaves(value, path === '' ? key : `${path}.${key}`, out)
    }
  }
}

/** The declared type when the object's or array's items have it. */
function openType(tree: Tree, declared: string): string {
  const item = declared.includes('string,string') ? 'string' : 'int'
  const values = Array.isArray(tree) ? tree : Object.values(tree as { [key: string]: Tree })
  return values.length > 0 && values.every(v => typeOf(v) === item) ? declared : 'wrong items'
}

const STEADY: SteadyStateResult = {
  criterion: 'lat_slope',
  limit: 10,
  percent: true,
  durationS: 3,
  attained: true,
  maxDeviation: 0,
  slope: -1.5,
  bw: [4096, 8192],
  iops: [1, 2],
  latNs: [100, 200],
}

const EVERYTHING = {
  slatPercentiles: true,
  latPercentiles: true,
  continueOnError: true,
  description: 'all of it',
}

/** A job with every optional part. */
function fullJob(): JobResult {
  const prios = [1, 2].map(prioclass => ({
    prioclass,
    prio: 4,
    priohint: 0,
    latency: latencyOf([10, 20, 30]),
  }))
  const full = (seed: number) => ({ ...direction(50, 1e9, seed), prios, cachehit: 12.5 })
  return job(
    {
      read: full(1),
      write: full(2),
      trim: full(3),
      steadystate: STEADY,
      block: { percentiles: { '1.000000': 3 }, states: { written: 5, 'trim failure': 0 } },
      zoneResets: 4,
    },
    EVERYTHING,
  )
}

function fullRun(): RunResult {
  const aggregate = { ...DISK }
  return run([fullJob(), job({}, { ...EVERYTHING, unifiedRw: 'both' })], {
    disks: [DISK, { ...DISK, name: 'pblk0', aggregate }],
    cpuIdleness: { system: 50, percpu: [40, 60], unitMeanUs: 19.5, unitStddevUs: 0.25 },
  })
}

describe('paths (fio-json-schema paths)', () => {
  const document = parseKeepingNumbers(fioJson(fullRun(), true))
  const found = new Map<string, string>()
  leaves(document, '', found)

  test('a full result has every path, with its type', () => {
    const expected = Object.fromEntries(
      SCHEMA.paths.map(({ path, type }) => [
        path,
        path.endsWith('.prios') ? 'array<object>' : type,
      ]),
    )
    for (const path of [...found.keys()]) {
      if (path.startsWith('phasebit')) found.delete(path)
    }
    expect(Object.fromEntries(found)).toEqual(expected)
  })

  test('nothing else stands at the top but phasebit', () => {
    expect(Object.keys(document).at(-1)).toBe('phasebit')
    expect(Object.keys(document).slice(0, -1)).toEqual([
      'fio version',
      'timestamp',
      'timestamp_ms',
      'time',
      'global options',
      'jobs',
      'disk_util',
      'cpu_idleness',
    ])
  })

  test('the mixed object has the members of read', () => {
    const [, both] = document['jobs'] as { [key: string]: Tree }[]
    expect(Object.keys(both['mixed']!)).toEqual(Object.keys(both['read']!))
  })

  test('priorities carry their latency', () => {
    const [first] = document['jobs'] as { [key: string]: { [key: string]: Tree } }[]
    const prios = first['read']['prios'] as { [key: string]: Tree }[]
    expect(prios.map(p => Object.keys(p))).toEqual([
      ['prioclass', 'prio', 'priohint', 'lat_ns'],
      ['prioclass', 'prio', 'priohint', 'lat_ns'],
    ])
  })
})

interface Latency {
  N: number
  percentile?: Record<string, number>
  bins?: Record<string, number>
}
type DirectionJson = Record<string, number> & Record<'slat_ns' | 'clat_ns' | 'lat_ns', Latency>
type JobJson = Record<'read' | 'write' | 'trim' | 'mixed', DirectionJson> & {
  'job options': Record<string, string>
  sync: { total_ios: number; lat_ns: Latency }
  steadystate: { ss: string; criterion: string }
  usr_cpu: number
  latency_ns: Record<string, number>
}

function jobsOf(result: RunResult, plus = false): JobJson[] {
  return (JSON.parse(fioJson(result, plus)) as { jobs: JobJson[] }).jobs
}

describe('values', () => {
  test('rates are over the exact runtime, the printed runtime is rounded up', () => {
    const [{ read }] = jobsOf(run([job({ read: direction(1000, 1_250_000) })]))
    expect(read).toMatchObject({ runtime: 2, iops: 800_000, bw_bytes: 3_276_800_000 })
    expect(read['bw']).toBe(3_200_000)
  })

  test('bins add up to N, and only json+ has them', () => {
    const [plus] = jobsOf(run([job()]), true)
    const bins = plus.read.clat_ns.bins!
    expect(Object.values(bins).reduce((a, b) => a + b, 0)).toBe(plus.read.clat_ns.N)
    expect(Object.keys(bins).map(Number)).toEqual(
      Object.keys(bins)
        .map(Number)
        .toSorted((a, b) => a - b),
    )
    const [plain] = jobsOf(run([job()]))
    expect(plain.read.clat_ns.bins).toBeUndefined()
    expect(plain.read.clat_ns.percentile).toEqual(plus.read.clat_ns.percentile)
  })

  test('distributions appear for the latencies whose percentiles are on', () => {
    const [d] = jobsOf(run([job({}, { clatPercentiles: false, latPercentiles: true })]))
    expect(d.read.clat_ns.percentile).toBeUndefined()
    expect(Object.keys(d.read.lat_ns.percentile!)).toHaveLength(17)
    expect(Object.keys(d.sync.lat_ns.percentile!)).toHaveLength(17)
    const [none] = jobsOf(run([job({}, { clatPercentiles: false })]))
    expect(none.sync.lat_ns.percentile).toBeUndefined()
  })

  test('percentile keys have six decimals and come sorted', () => {
    const [{ read }] = jobsOf(run([job({}, { percentileList: [99.9, 50, 99] })]))
    expect(Object.keys(read.clat_ns.percentile!)).toEqual(['50.000000', '99.000000', '99.900000'])
  })

  test('rw, bs, iodepth and numjobs are always among the job options', () => {
    const [{ 'job options': options }] = jobsOf(run([job({ jobOptions: {} })]))
    expect(options).toEqual({ rw: 'randrw', bs: '4k,4k-16k,4k', iodepth: '16', numjobs: '1' })
    const globals = { bs: '8K', numjobs: '3' }
    const [inherited] = jobsOf(run([job({ jobOptions: { rw: 'rw' } })], { globalOptions: globals }))
    expect(inherited['job options']).toEqual({ rw: 'rw', bs: '8K', iodepth: '16', numjobs: '3' })
  })

  test('mixed reporting replaces the directions', () => {
    const [mixed] = jobsOf(run([job({}, { unifiedRw: 'mixed' })]))
    expect(mixed.read).toBeUndefined()
    expect(mixed.mixed['total_ios']).toBe(1600)
  })

  test('the steady-state criterion is relative to the mean of its series', () => {
    const [{ steadystate }] = jobsOf(run([job({ steadystate: STEADY })]))
    expect(steadystate).toMatchObject({ ss: 'lat_slope:10.000000%', criterion: '1.000000%' })
  })

  test('a job that did nothing has zeroes, not NaN', () => {
    const idle = job({ jobRuntimeNs: 0, read: direction(0, 0), write: direction(0, 0) })
    idle.trim = direction(0, 0)
    const [json] = jobsOf(run([idle]))
    expect(json.usr_cpu).toBe(0)
    expect(json.read['iops']).toBe(0)
    expect(Object.values(json.latency_ns)).toEqual(new Array(10).fill(0))
  })
})

describe('layout', () => {
  const text = fioJson(fullRun(), true)

  test('two spaces a level, " : " between key and value, one trailing newline', () => {
    expect(text.startsWith('{\n  "fio version" : "fio-3.33",\n  "timestamp" : 0,\n')).toBe(true)
    expect(text.endsWith('\n}\n')).toBe(true)
    expect(text).not.toMatch(/[ \t]$/m)
    const badIndent = text.split('\n').filter(line => line.search(/\S|$/) % 2 === 1)
    expect(badIndent).toEqual([])
  })

  test('is a function of its input alone', () => {
    expect(fioJson(fullRun(), true)).toBe(text)
  })

  test('the keys of a job come in fio order', () => {
    const [first] = (JSON.parse(text) as { jobs: object[] }).jobs
    expect(Object.keys(first)).toEqual([
      ...['jobname', 'groupid', 'job_start', 'error', 'eta', 'elapsed', 'job options'],
      ...['read', 'write', 'trim', 'sync', 'job_runtime', 'usr_cpu', 'sys_cpu', 'ctx', 'majf'],
      ...['minf', 'iodepth_level', 'iodepth_submit', 'iodepth_complete', 'latency_ns'],
      ...['latency_us', 'latency_ms', 'total_err', 'first_error', 'latency_depth'],
      ...['latency_target', 'latency_target_ns', 'latency_percentile', 'latency_window'],
      ...['latency_window_us', 'desc', 'block', 'steadystate', 'zone_resets'],
    ])
  })
})

describe('phasebit', () => {
  interface Facts {
    phasebit: Record<string, unknown>
  }
  const facts = (result: RunResult): Record<string, unknown> =>
    (JSON.parse(fioJson(result, false)) as Facts).phasebit

  test('says how I/O was completed and that the books balance', () => {
    const json = facts(run([job()]))
    expect(json).toMatchObject({ clock: 'virtual', seed: '42', completion: 'irq' })
    expect(json['books']).toMatchObject({ submitted: 1600, in_flight: 0, balanced: true })
    expect(json['queues']).toEqual([expect.objectContaining({ sq_doorbells: 200, irqs: 400 })])
  })

  test('what was not measured is absent', () => {
    const bare = run([job()])
    delete bare.phasebit.stages
    bare.phasebit.queues = []
    const keys = Object.keys(facts(bare))
    for (const key of ['stages', 'completion', 'shortened', 'host', 'core']) {
      expect(keys).not.toContain(key)
    }
  })

  test('extra facts are copied', () => {
    const more = run([job()])
    more.phasebit.extra = { bells: { total: 3, rate: 0.5 }, list: [1, 'a', null, true] }
    expect(facts(more)).toMatchObject(more.phasebit.extra)
  })
})
