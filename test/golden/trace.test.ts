// Traces of null_blk against recordings of a real 4.19 kernel (test/golden/traces), by compare-trace.mjs.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { traceFunctions } from '../../src/cli/trace.js'
import { traceJson } from '../../src/report/trace-json.js'
import { scenarioOf } from '../../src/workload/scenarios.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const recordings = readdirSync(join(here, 'traces'))
  .map(file => file.replace(/\.json$/, ''))
  .filter(name => !name.startsWith('nvme') && !name.startsWith('pblk'))

interface Figures {
  readonly coverage: number
  readonly order: number
  readonly nesting: number
  readonly events: number
}

describe('traces against a real kernel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phasebit-trace-'))
  const known = join(folder, 'functions')
  const seen: Figures[] = []

  beforeAll(() => writeFileSync(known, traceFunctions().join('\n')))
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each(recordings)('%s', async name => {
    const { config, records, drops } = await scenarioOf(name).run()
    expect(drops).toBe(0)
    const ours = join(folder, name)
    writeFileSync(ours, traceJson({ kernel: '4.19', scenario: name, config, notes: [] }, records))
    const args = ['compare-trace.mjs', `traces/${name}.json`, ours]
    const ignore = ['--ignore', 'ignore.txt']
    const text = execFileSync(process.execPath, [...args, '--functions', known, ...ignore], {
      cwd: here,
      encoding: 'utf8',
    })
    const figures = JSON.parse(text) as Figures
    seen.push(figures)
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(0.9)
    expect(figures.order, 'order').toBeGreaterThanOrEqual(0.85)
    expect(figures.nesting, 'nesting').toBeGreaterThanOrEqual(0.85)
    expect(figures.events, 'events').toBeGreaterThanOrEqual(0.85)
  })

  test('on the average', () => {
    const mean = (of: (f: Figures) => number): number =>
      seen.reduce((sum, figures) => sum + of(figures), 0) / seen.length
    expect(seen.length).toBeGreaterThan(20)
    expect(mean(f => f.order)).toBeGreaterThanOrEqual(0.95)
    expect(mean(f => f.nesting)).toBeGreaterThanOrEqual(0.95)
    expect(mean(f => f.events)).toBeGreaterThanOrEqual(0.9)
  })
})

describe('functions that can be recorded', () => {
  test('are those that the sources name', () => {
    const file = fileURLToPath(new URL('../../src/workload/trace-functions.ts', import.meta.url))
    const script = fileURLToPath(new URL('../../scripts/trace-functions.mjs', import.meta.url))
    const print = execFileSync(process.execPath, [script, '--print'], { encoding: 'utf8' })
    expect(readFileSync(file, 'utf8')).toBe(print)
  })
})
