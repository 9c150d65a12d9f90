// Traces of LightNVM and pblk against recordings of a real 4.19 kernel, by compare-trace.mjs; and the path of a write and a
// read from the top, name by name.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { traceFunctions } from '../../src/cli/trace.js'
import { traceJson } from '../../src/report/trace-json.js'
import { scenarioOf } from '../../src/workload/scenarios.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const recordings = readdirSync(join(here, 'traces'))
  .filter(file => file.startsWith('pblk'))
  .map(file => file.replace(/\.json$/, ''))

interface Figures {
  readonly coverage: number
  readonly order: number
  readonly events: number
}

describe('pblk against a real kernel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phasebit-pblk-'))
  const known = join(folder, 'functions')

  beforeAll(() => writeFileSync(known, traceFunctions().join('\n')))
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each(recordings)('%s', async name => {
    const { config, records, drops } = await scenarioOf(name).run()
    expect(drops).toBe(0)
    const ours = join(folder, name)
    writeFileSync(ours, traceJson({ kernel: '4.19', scenario: name, config, notes: [] }, records))
    const args = ['compare-trace.mjs', `traces/${name}.json`, ours, '--functions', known]
    const text = execFileSync(process.execPath, args, { cwd: here, encoding: 'utf8' })
    const figures = JSON.parse(text) as Figures
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(0.8)
    expect(figures.order, 'order').toBeGreaterThanOrEqual(0.9)
    expect(figures.events, 'events').toBeGreaterThanOrEqual(0.85)
  })
})
