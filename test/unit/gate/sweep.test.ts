// Sweep files and the points they stand for; results of shards, merged.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  finishedPoints,
  headerOf,
  loadPoint,
  mergeResults,
  type ResultLine,
  readResults,
  resultsText,
  storePoint,
} from '../../../src/cli/sweep-results.js'
import { parseShard, readSweep, shardPoints } from '../../../src/cli/sweep-spec.js'
import { UserError } from '../../../src/core/errors.js'
import { fioText } from './fio-text.js'

const place = mkdtempSync(join(tmpdir(), 'phasebit-sweep-test-'))
afterAll(() => rmSync(place, { recursive: true }))

const JOB = '[a]\nfilename=/dev/nvme0n1\nioengine=libaio\ndirect=1\nrw=randread\nbs=4k\nsize=1m\n'
writeFileSync(join(place, 'a.fio'), JOB)
writeFileSync(join(place, 'b.fio'), JOB.replace('randread', 'read'))
writeFileSync(join(place, 'm.json'), '{"cpus": 2}')

let count = 0
function file(value: unknown): string {
  const path = join(place, `${count++}.json`)
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value))
  return path
}

const SWEEP = {
  jobs: ['a.fio'],
  options: { clock: 'virtual' },
  grid: { iodepth: [1, 4], bs: ['4k', '8k'] },
}

describe('a sweep', () => {
  it('is every combination of its grid, the last name turning fastest', () => {
    const { points, clock } = readSweep(file(SWEEP))
    expect(clock).toBe('virtual')
    expect(points.map(point => point.overrides)).toEqual([
      { iodepth: 1, bs: '4k' },
      { iodepth: 1, bs: '8k' },
      { iodepth: 4, bs: '4k' },
      { iodepth: 4, bs: '8k' },
    ])
    expect(points[3].args).toEqual([
      join(place, 'a.fio'),
      '--clock=virtual',
      '--iodepth=4',
      '--bs=8k',
      '--seed=0',
    ])
    expect(new Set(points.map(point => point.hash)).size).toBe(4)
  })

  it('has a list beside the grid, files among its values, and seeds', () => {
    const { points } = readSweep(
      file({
        ...SWEEP,
        grid: { jobs: ['a.fio', 'b.fio'], machine: ['m.json'] },
        list: [{ device: ['nvme,size=64M', 'nvme,size=32M'], stages: true, readonly: false }],
        seeds: [7, 9],
      }),
    )
    expect(points.length).toBe(6)
    expect(points[2].args[0]).toBe(join(place, 'b.fio'))
    expect(points[1].args.slice(1)).toEqual([
      '--randrepeat=0',
      '--clock=virtual',
      `--machine=${join(place, 'm.json')}`,
      '--seed=9',
    ])
    expect(points[5].args).toContain('--device=nvme,size=32M')
    expect(points[5].args).toContain('--stages')
  })

  it('knows its points by what they run, not by how they are written', () => {
    const hashes = (sweep: object): string[] => readSweep(file(sweep)).points.map(p => p.hash)
    const plain = hashes(SWEEP)
    expect(hashes({ ...SWEEP, grid: { bs: ['4096'], iodepth: [1] } })).not.toEqual(plain)
    expect(hashes({ ...SWEEP, grid: { iodepth: [1], bs: ['4k'] } })).toEqual([plain[0]])
    expect(hashes({ ...SWEEP, options: { clock: 'virtual', 'max-io': 5 } })).not.toContain(plain[0])
    expect(hashes({ ...SWEEP, seeds: [1] })).not.toContain(plain[0])
  })

  it.each([
    ['', /is empty, not a sweep file/],
    ['{"jobs": ["a.fio"', /is cut off/],
    ['[]', /a sweep is an object/],
    [{ jbos: ['a.fio'] }, /unknown key "jbos"/],
    [{ ...SWEEP, jobs: [3] }, /jobs: file names are expected/],
    [{ ...SWEEP, jobs: ['none.fio'] }, /none\.fio/],
    [{ ...SWEEP, grid: { iodepth: 4 } }, /grid: iodepth: a list of values/],
    [{ ...SWEEP, grid: { iodepth: [] } }, /grid: iodepth: a list of values/],
    [{ ...SWEEP, grid: { iodepth: [null] } }, /grid: iodepth: a text, a number/],
    [{ ...SWEEP, grid: { iodepth: ['x'] } }, /point \{"iodepth":"x"\}: .*iodepth=x/],
    [{ ...SWEEP, grid: { iodpeth: [1] } }, /unknown option --iodpeth/],
    [{ ...SWEEP, grid: { seed: [1] } }, /seed is set by the sweep itself/],
    [{ ...SWEEP, list: [] }, /list: a list of objects/],
    [{ ...SWEEP, seeds: [-1] }, /seeds: a list of whole numbers/],
    [{ ...SWEEP, grid: { iodepth: [1, 1] } }, /two points are the same run/],
    [{ jobs: ['a.fio'], grid: { clock: ['real', 'virtual'] } }, /need the same clock/],
    [
      {
        ...SWEEP,
        grid: {
          iodepth: Array.from({ length: 400 }, (_, i) => i + 1),
          size: Array.from({ length: 400 }, (_, i) => `${i + 1}m`),
        },
      },
      /more than 100000 points/,
    ],
  ])('%j is refused', (value, line) => {
    const path = file(value)
    expect(() => readSweep(path)).toThrow(UserError)
    expect(() => readSweep(path)).toThrow(line)
  })

  it('falls into shards, each point in one', () => {
    const sweep = readSweep(file(SWEEP))
    const parts = [1, 2, 3].map(index => shardPoints(sweep, { index, count: 3 }))
    expect(parts.map(part => part.map(point => point.index))).toEqual([[0, 3], [1], [2]])
    expect(parseShard('2/3')).toEqual({ index: 2, count: 3 })
    for (const bad of ['0/3', '4/3', '1', '1/0', 'a/b'])
      expect(() => parseShard(bad)).toThrow(UserError)
  })
})

const FACTS = { version: '1', core: 'c', clock: 'virtual' }

function line(index: number, seed = 0, latencies: readonly number[] = [1000]): ResultLine {
  const result = JSON.parse(fioText([{ latencies, iops: 100 + index }])) as Record<string, unknown>
  return { index, hash: `h${index}`, overrides: { depth: seed ? 0 : index }, seed, result }
}

/** A results file of these points. */
function shard(
  index: number,
  of: number,
  lines: readonly ResultLine[],
  points: number,
  more: { sweep?: string; facts?: typeof FACTS } = {},
): ReturnType<typeof readResults> {
  const path = join(place, `r${count++}.jsonl`)
  const header = headerOf(
    more.sweep ?? 's',
    points,
    { index, count: of },
    lines.length,
    more.facts ?? FACTS,
  )
  writeFileSync(path, resultsText(header, lines))
  return readResults(path)
}

describe('shards', () => {
  const first = shard(1, 2, [line(0), line(2)], 3)
  const second = shard(2, 2, [line(1)], 3)

  it('merge to what a whole sweep would have written, in any order', () => {
    const whole = shard(1, 1, [line(0), line(1), line(2)], 3)
    const text = resultsText(whole.header, whole.lines)
    expect(mergeResults([first, second])).toBe(text)
    expect(mergeResults([second, first])).toBe(text)
    expect(mergeResults([whole])).toBe(text)
  })

  it.each([
    ['one is missing', [first], /shard 2\/2 is missing/],
    ['one is there twice', [first, second, first], /shard 1\/2 is there twice/],
    ['another sweep', [first, shard(2, 2, [line(1)], 3, { sweep: 't' })], /is of another sweep/],
    ['another number of shards', [first, shard(2, 3, [line(1)], 3)], /is one of 3 shards/],
    [
      'another build',
      [first, shard(2, 2, [line(1)], 3, { facts: { ...FACTS, core: 'd' } })],
      /fingerprints differ/,
    ],
    [
      'a point is there twice',
      [first, shard(2, 2, [line(1), line(2)], 3)],
      /point 2 is there twice/,
    ],
    ['a point is missing', [first, shard(2, 2, [], 3)], /point 1 is missing/],
    [
      'a point too many',
      [first, shard(2, 2, [line(1), line(3)], 3)],
      /point 3: the sweep has only 3/,
    ],
  ])('%s', (_, files, message) => {
    expect(() => mergeResults(files)).toThrow(UserError)
    expect(() => mergeResults(files)).toThrow(message)
  })

  it('add the histograms of points that differ in their seed', () => {
    const quick = Array.from({ length: 99 }, () => 1000)
    const slow = Array.from({ length: 99 }, () => 9000)
    const whole = shard(1, 1, [line(0, 1, quick), line(1, 2, quick), line(2, 3, slow)], 3)
    const merged = JSON.parse(mergeResults([whole]).trimEnd().split('\n').at(-1)!) as {
      merged: number[]
      seeds: number[]
      jobs: Record<
        string,
        {
          total_ios: number
          iops: number[]
          clat_ns: { N: number; percentile: Record<string, number> }
        }
      >
    }
    expect(merged.merged).toEqual([0, 1, 2])
    expect(merged.seeds).toEqual([1, 2, 3])
    const read = merged.jobs['a: read']
    expect(read.iops).toEqual([100, 101, 102])
    expect(read.clat_ns.N).toBe(297)
    // the mean of the three medians would be 3667
    expect(read.clat_ns.percentile['50.000000']).toBeLessThan(1010)
    expect(read.clat_ns.percentile['90.000000']).toBeGreaterThan(8900)
  })

  it.each([
    ['', /is empty/],
    ['{"a": 1}\n', /is no phasebit-sweep\/1 file/],
    ['hello\n', /:1: is no JSON/],
  ])('a file %j is refused', (text, message) => {
    const path = file(text)
    expect(() => readResults(path)).toThrow(UserError)
    expect(() => readResults(path)).toThrow(message)
  })

  it('that are cut off are refused, between lines and within one', () => {
    const header = headerOf('s', 2, { index: 1, count: 2 }, 2, FACTS)
    const text = resultsText(header, [line(0), line(2)])
    const cut = (end: number) => () => readResults(file(text.slice(0, end)))
    expect(cut(text.lastIndexOf('\n', text.length - 2) + 1)).toThrow(/cut off: 1 of 2 points/)
    expect(cut(text.length - 20)).toThrow(/cut off/)
  })
})

describe('finished points', () => {
  const folder = join(place, 'points-test')
  const point = { hash: 'abc', fingerprint: FACTS, result: { x: 1 } }
  const points = [{ index: 0, hash: 'abc', overrides: {}, seed: 0, args: [] }]

  it('are found again', () => {
    storePoint(folder, point)
    expect(loadPoint(folder, 'abc')).toMatchObject(point)
    expect(loadPoint(folder, 'def')).toBeNull()
    expect(finishedPoints(folder, points, FACTS).size).toBe(1)
  })

  it('of another build are refused', () => {
    expect(() => finishedPoints(folder, points, { ...FACTS, core: 'd' })).toThrow(
      /core="c", this build has core="d"; take another --output/,
    )
  })

  it('that are damaged are run again', () => {
    const damaged = join(place, 'damaged')
    mkdirSync(join(damaged, 'points'), { recursive: true })
    writeFileSync(join(damaged, 'points', 'abc.json'), '{"schema": "phasebit-sweep-po')
    expect(finishedPoints(damaged, points, FACTS).size).toBe(0)
  })
})
