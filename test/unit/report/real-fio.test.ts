// Our three output forms held against a real fio: fio runs small jobs with its null engine and prints terse, json+ and normal
// about them in one stream; its json+ is read back into a RunResult (from-fio.ts), and what we print about that run must be
// what fio printed. Skipped where fio is not installed, except in CI, where its absence is a failure.
//
// Known and accepted differences: fio 3.33 ends write lines in "; 0 zone resets" on devices without zones and gives no keys of
// later versions; every version rounds the bandwidth mean to a whole number before it takes the share. Versions up to 3.42
// agree too, but for their number and for the units of the latency target.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fioJson } from '../../../src/report/fio-json.js'
import { normalReport } from '../../../src/report/fio-normal.js'
import { fioTerse, type TerseVersion } from '../../../src/report/fio-terse.js'
import { FIO_VERSION, type RunResult } from '../../../src/report/result.js'
import { installed, requireInCi } from './fio-tool.js'
import { type FioDocument, fromFio } from './from-fio.js'
import { job, run } from './synthetic.js'

const hasFio = installed('fio')
const hasCsv = installed('fio_jsonplus_clat2csv')
requireInCi({ fio: hasFio, fio_jsonplus_clat2csv: hasCsv })

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-report-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

interface Printed {
  terse: string[]
  document: FioDocument
  normal: string
}

/** Runs fio and cuts its stream into the three forms. */
function runFio(jobFile: string, terseVersion = 3): Printed {
  const path = join(dir, 'job.fio')
  writeFileSync(path, jobFile)
  const args = [path, '--output-format=terse,json+,normal', `--terse-version=${terseVersion}`]
  const { stdout, status, stderr } = spawnSync('fio', args, { encoding: 'utf8', cwd: dir })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const begin = stdout.indexOf('\n{\n') + 1
  const end = stdout.indexOf('\n}\n', begin) + 3
  return {
    terse: stdout
      .slice(0, begin)
      .split('\n')
      .filter(line => line.startsWith(`${terseVersion};`)),
    document: JSON.parse(stdout.slice(begin, end)) as FioDocument,
    normal: stdout.slice(end),
  }
}

const ALL_LATENCIES = 'slat_percentiles=1\nclat_percentiles=1\nlat_percentiles=1'
const JOBS: Record<string, string> = {
  'random mix with syncs': `[mix]\nioengine=null\nsize=24m\nbs=4k\nrw=randrw\niodepth=8\nfsync=32\n${ALL_LATENCIES}\n`,
  'two groups, one with errors counted': `[global]\nioengine=null\nsize=16m\nbs=8k\n${ALL_LATENCIES}\n[a]\nrw=write\ncontinue_on_error=all\ndescription=first\n[b]\nstonewall\nrw=trim\npercentile_list=99.9:50\nlatency_target=10ms\nlatency_window=1s\niodepth=4\n`,
  'other bases and figures': `[bits]\nioengine=null\nsize=16m\nbs=16k\nrw=read\nkb_base=1000\nunit_base=1\nsignificant_figures=6\n${ALL_LATENCIES}\n`,
  'samples of bandwidth': `[timed]\nioengine=null\nsize=1g\nbs=4k\nrw=rw\nthinktime=20\ntime_based\nruntime=1200ms\n${ALL_LATENCIES}\n`,
}

type Leaf = string | number
/** Leaves of a document by path, array items numbered. */
function flat(value: unknown, path: string, out: Map<string, Leaf>): Map<string, Leaf> {
  if (typeof value !== 'object' || value === null) return out.set(path, value as Leaf)
  for (const [key, item] of Object.entries(value)) flat(item, `${path}/${key}`, out)
  return out
}

interface Schema {
  paths: { path: string; since?: string }[]
}
const SCHEMA = JSON.parse(
  readFileSync(new URL('../../golden/fio-json-schema.json', import.meta.url), 'utf8'),
) as Schema
const LATER = SCHEMA.paths
  .filter(p => p.since)
  .map(p => p.path.replace('[]', '/N').replaceAll('.', '/'))

function isOurs(path: string): boolean {
  const plain = path.slice(1).replace(/^jobs\/\d+/, 'jobs/N')
  return (
    LATER.includes(plain) ||
    plain.startsWith('phasebit/') ||
    /\/job options\/(rw|bs|iodepth|numjobs)$/.test(path)
  )
}

function close(ours: Leaf | undefined, fios: Leaf, tolerance: number): boolean {
  if (typeof ours !== 'number' || typeof fios !== 'number') return ours === fios
  return Math.abs(ours - fios) <= tolerance * Math.max(1, Math.abs(fios))
}

/** Shares were rounded when fio printed them, and the share of the group is taken of a whole number. */
function toleranceFor(path: string): number {
  if (path.endsWith('bw_agg')) return 0.01
  return /\/(latency_[num]s|iodepth_\w+)\//.test(path) ? 0.005 : 1e-5
}

describe.runIf(hasFio).each(Object.entries(JOBS))('%s', (_, jobFile) => {
  let printed: Printed
  let result: RunResult
  beforeAll(() => {
    printed = runFio(jobFile)
    result = fromFio(printed.document)
  })

  test('json+: the same paths in the same order, the same values', () => {
    const ours = flat(JSON.parse(fioJson(result, true)), '', new Map())
    const fios = flat({ ...printed.document, 'fio version': FIO_VERSION }, '', new Map())
    const same = [...ours.keys()].filter(path => fios.has(path) || !isOurs(path))
    expect(same).toEqual([...fios.keys()])
    const different = [...fios].filter(([path, value]) => {
      return !close(ours.get(path), value, toleranceFor(path))
    })
    expect(different.map(([path, value]) => [path, value, ours.get(path)])).toEqual([])
  })

  test('normal: the same lines', () => {
    const [ours, fios] = [comparable(normalReport(result)), comparable(printed.normal)]
    expect(ours.map(withoutDecimals)).toEqual(fios.map(withoutDecimals))
    expect(fios.map((line, i) => decimalsDiffer(ours[i], line))).toEqual(fios.map(() => false))
  })

  test('terse: the same columns', () => {
    const ours = fioTerse(result).trimEnd().split('\n')
    expect(ours).toHaveLength(printed.terse.length)
    ours.forEach((line, i) => {
      expectColumns(line, printed.terse[i])
    })
  })
})

/** Lines of the normal form without what cannot be the same. */
function comparable(text: string): string[] {
  return text
    .replace(/\nphasebit: [\s\S]*$/, '')
    .split('\n')
    .map(line => line.replace('; 0 zone resets', '').replace(/pid=\d+: .*/, 'pid=N'))
    .map(line => line.replace(/per=[\d.]+%/, 'per=N').replace('/syncfs:', ':'))
    .map(line => line.replace(/(latency {3}: )target=.*(percentile=.*)/, '$1$2'))
    .filter(line => line !== '')
}

const DECIMALS = /\d+\.\d{2,}/g

/** The line with its padded decimal figures taken out. */
function withoutDecimals(line: string): string {
  return line.replace(DECIMALS, 'D').replace(/= +/g, '=')
}

/** True when two figures differ by more than the last digit: means were rounded once already when read back. */
function decimalsDiffer(ours: string, fios: string): boolean {
  const [a, b] = [ours, fios].map(line => (line.match(DECIMALS) ?? []).map(Number))
  return a.some((figure, i) => Math.abs(figure - b[i]) > 0.011)
}

function expectColumns(ours: string, fios: string): void {
  const [a, b] = [ours.split(';'), fios.replace(/fio-[\d.]+/, FIO_VERSION).split(';')]
  expect(a).toHaveLength(b.length)
  const different = a.flatMap((column, i) => (sameColumn(column, b[i]) ? [] : [[i, column, b[i]]]))
  expect(different).toEqual([])
}

/** Equal, or numbers that differ in the last printed digit; percentages of a rounded mean are given a little more. */
function sameColumn(ours: string, fios: string): boolean {
  if (ours === fios) return true
  const tolerance = fios.endsWith('%') ? 0.01 : 2e-6
  return close(Number.parseFloat(ours), Number.parseFloat(fios), tolerance)
}

describe.runIf(hasFio)('terse versions', () => {
  test.each([2, 4, 5])('version %d has as many columns as fio gives it', version => {
    const { terse, document } = runFio(JOBS['random mix with syncs'], version)
    expectColumns(fioTerse(fromFio(document), version as TerseVersion).trimEnd(), terse[0])
  })

  test.each(['mixed', 'both'])(
    'unified_rw_reporting=%s has as many columns as fio gives it',
    how => {
      const { terse } = runFio(
        `[u]\nioengine=null\nsize=1m\nrw=randrw\nunified_rw_reporting=${how}\n`,
      )
      const unifiedRw = how as 'mixed' | 'both'
      const ours = fioTerse(run([job({}, { unifiedRw })], { disks: [] }))
      expect(ours.split(';')).toHaveLength(terse[0].split(';').length)
    },
  )
})

describe.runIf(hasCsv)('fio_jsonplus_clat2csv', () => {
  test('turns our json+ into CSV whose counts are ours', () => {
    const options = { slatPercentiles: true, latPercentiles: true }
    const result = run([job({}, options), job({ jobname: 'second' }, options)])
    writeFileSync(join(dir, 'result.json'), fioJson(result, true))
    for (const validate of [[], ['--validate']]) {
      const args = [...validate, join(dir, 'result.json'), join(dir, 'out.csv')]
      const { status, stderr } = spawnSync('fio_jsonplus_clat2csv', args, { encoding: 'utf8' })
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    }
    const files = readdirSync(dir).filter(name => /^out_job\d\.csv$/.test(name))
    expect(files.sort()).toEqual(['out_job0.csv', 'out_job1.csv'])
    const [head, ...rows] = readFileSync(join(dir, files[0]), 'utf8').trimEnd().split('\n')
    const column = head.split(',').findIndex(name => name.trim() === 'read_clat_ns_count')
    const counts = rows.map(row => Number(row.split(',')[column]))
    expect(counts.reduce((a, b) => a + b, 0)).toBe(1000)
  })
})
