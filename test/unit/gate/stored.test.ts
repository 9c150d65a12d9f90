// What the gate keeps in files: baselines, limits, histories; and fingerprints.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { UserError } from '../../../src/core/errors.js'
import { baselinePath, baselineText, readBaseline } from '../../../src/gate/baseline.js'
import { compareExact } from '../../../src/gate/exact.js'
import { differences, fingerprintName, requireSame } from '../../../src/gate/fingerprint.js'
import { compareHistory, historyPath, parseHistory } from '../../../src/gate/history.js'
import { LIMITS_SCHEMA, readLimits } from '../../../src/gate/limits.js'

const place = mkdtempSync(join(tmpdir(), 'phasebit-gate-test-'))
afterAll(() => rmSync(place, { recursive: true }))

let count = 0
function file(text: string): string {
  const path = join(place, `${count++}.json`)
  writeFileSync(path, text)
  return path
}

const FACTS = { 'job file': 'abc', seed: '0' }
const VALUES = { 'a: read': { ios: 7, clat_histogram: 'x' } }

describe('a baseline', () => {
  const text = baselineText(FACTS, VALUES)

  it('is read as it was written', () => {
    expect(readBaseline(file(text), FACTS)).toEqual(VALUES)
    expect(readBaseline(join(place, 'none.json'), FACTS)).toBeNull()
    expect(baselinePath('dir', 'x/y.fio')).toBe(join('dir', 'y.exact.json'))
  })

  it('of another job is refused, with both fingerprints', () => {
    const path = file(text)
    expect(() => readBaseline(path, { ...FACTS, 'job file': 'def' })).toThrow(
      /has job file="abc", this run has job file="def"; --update/,
    )
  })

  it.each([
    ['', /is empty/],
    [text.slice(0, 100), /is cut off/],
    ['{"schema": "x"}', /is no phasebit-gate-baseline\/1 file/],
    [text.replace('"seed": "0"', '"seed": 0'), /has no fingerprint/],
    [text.replace('"ios"', '"speed"'), /a: read: unknown metric "speed"/],
    [text.replace('7', '[7]'), /neither a number nor a text/],
    [baselineText(FACTS, {}), /holds no values/],
  ])('%j is refused', (damaged, line) => {
    const path = file(damaged)
    expect(() => readBaseline(path, FACTS)).toThrow(UserError)
    expect(() => readBaseline(path, FACTS)).toThrow(line)
  })
})

describe('exact metrics', () => {
  const verdicts = (base: typeof VALUES | null, head: object): string[] =>
    compareExact('j', base, head as typeof VALUES).map(
      ({ benchmark, metric, verdict }) => `${benchmark} ${metric} ${verdict}`,
    )

  it('are new, the same, or changed by whatever differs', () => {
    expect(verdicts(null, VALUES)).toEqual(['j: a: read ios new', 'j: a: read clat_histogram new'])
    expect(verdicts(VALUES, { 'a: read': { ios: 7.000001, clat_histogram: 'x' } })).toEqual([
      'j: a: read ios changed',
      'j: a: read clat_histogram same',
    ])
  })

  it('are changed when one side lacks them', () => {
    expect(verdicts(VALUES, { 'a: read': { ios: 7 }, 'b: read': { ios: 1 } })).toEqual([
      'j: a: read ios same',
      'j: a: read clat_histogram changed',
      'j: b: read ios changed',
    ])
  })
})

describe('fingerprints', () => {
  it('differ in what both sides know', () => {
    expect(differences({ a: '1', b: '2' }, { a: '1', b: '3', c: '4' })).toEqual(['b'])
    expect(differences({ a: 'unknown' }, { a: '1' })).toEqual([])
    expect(() => requireSame({ a: '1' }, { a: '2' }, ['x', 'y'])).toThrow(
      'cannot compare, the fingerprints differ: x has a="1", y has a="2"',
    )
  })

  it('have a name that does not depend on their order', () => {
    expect(fingerprintName({ a: '1', b: '2' })).toBe(fingerprintName({ b: '2', a: '1' }))
    expect(fingerprintName({ a: '1' })).not.toBe(fingerprintName({ a: '2' }))
  })
})

describe('limits', () => {
  const limits = { schema: LIMITS_SCHEMA, fingerprint: { cpu: 'x' }, limits: { tags: 0.02 } }

  it('hold on the machine they were found on', () => {
    const path = file(JSON.stringify(limits))
    expect(readLimits(path, { cpu: 'x' })).toEqual(limits)
    expect(readLimits(path, { cpu: 'y' })).toBe('foreign')
    expect(readLimits(join(place, 'none.json'), {})).toBeNull()
  })

  it.each(['{}', '[]', JSON.stringify({ ...limits, limits: { tags: 0 } })])(
    '%s is refused',
    text => {
      expect(() => readLimits(file(text), {})).toThrow(UserError)
    },
  )
})

describe('a history', () => {
  const line = (rate: number): string =>
    JSON.stringify({
      schema: 'phasebit-gate-history/1',
      version: '1',
      core: 'c',
      rates: { tags: rate },
    })
  const entries = parseHistory('h', [10, 20, 30, 40].map(line).join('\n'))

  it('places a rate among those before it, and never fails', () => {
    const result = compareHistory('tags', 'tag', [35], 35, entries)
    expect(result).toMatchObject({ verdict: 'advisory', gated: false, base: { value: 25 } })
    expect(result.notes).toEqual(['above 3 of 4 stored runs of this machine'])
    expect(compareHistory('submit', 'IO', [1], 1, entries).verdict).toBe('new')
  })

  it('has a file for each machine', () => {
    expect(historyPath('d', { cpu: 'x' })).not.toBe(historyPath('d', { cpu: 'y' }))
  })

  it.each(['{"schema": 1}', '{', line(-1)])('with the line %s is refused', text => {
    expect(() => parseHistory('h', `${line(1)}\n${text}`)).toThrow(/^h:2: /)
  })
})
