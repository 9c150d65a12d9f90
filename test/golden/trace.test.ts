// Traces of null_blk against recordings of a real 4.19 kernel (test/golden/traces), by compare-trace.mjs.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { comparison, type Figures, mean, recordingsOf } from './compare.js'

describe('traces against a real kernel', () => {
  const compared = comparison()
  const seen: Figures[] = []

  test.each(recordingsOf('traces', 'nullblk', 'laptop'))('%s', async name => {
    const figures = await compared(name, `traces/${name}.json`)
    seen.push(figures)
    expect(figures.coverage, 'coverage').toBeGreaterThanOrEqual(0.9)
    expect(figures.order, 'order').toBeGreaterThanOrEqual(0.85)
    expect(figures.nesting, 'nesting').toBeGreaterThanOrEqual(0.85)
    expect(figures.events, 'events').toBeGreaterThanOrEqual(0.85)
  })

  test('on the average', () => {
    expect(seen.length).toBeGreaterThan(20)
    expect(mean(seen, 'order')).toBeGreaterThanOrEqual(0.95)
    expect(mean(seen, 'nesting')).toBeGreaterThanOrEqual(0.95)
    expect(mean(seen, 'events')).toBeGreaterThanOrEqual(0.9)
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
