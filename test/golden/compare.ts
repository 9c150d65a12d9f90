// Holds the document that `phasebit trace SCENARIO --format json` writes against a recording, by compare-trace.mjs.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect } from 'vitest'
import { recordScenario, traceFunctions } from '../../src/cli/trace.js'
import { traceText } from '../../src/workload/trace-formats.js'

const here = fileURLToPath(new URL('.', import.meta.url))

/** Shares, 0 to 1. */
export interface Figures {
  readonly coverage: number
  readonly order: number
  readonly nesting: number
  readonly events: number
}

/** The scenarios of a folder of recordings whose names begin in one of these ways. */
export function recordingsOf(folder: string, ...beginnings: string[]): string[] {
  return readdirSync(join(here, folder))
    .map(file => file.replace(/\.json$/, ''))
    .filter(name => beginnings.some(beginning => name.startsWith(beginning)))
}

/** What compares a scenario with a recording (a path in this folder); its files go with the tests that call it. */
export function comparison(): (scenario: string, recording: string) => Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'phasebit-golden-'))
  const known = join(folder, 'functions')
  writeFileSync(known, traceFunctions().join('\n'))
  afterAll(() => rmSync(folder, { recursive: true }))
  return async (scenario, recording) => {
    const trace = await recordScenario(scenario)
    expect(trace.notes).toEqual([])
    const ours = join(folder, scenario)
    writeFileSync(ours, traceText(trace, 'json'))
    const lists = ['--functions', known, '--ignore', 'ignore.txt']
    const args = ['compare-trace.mjs', recording, ours, ...lists]
    return JSON.parse(execFileSync(process.execPath, args, { cwd: here, encoding: 'utf8' }))
  }
}

export function mean(seen: readonly Figures[], figure: keyof Figures): number {
  return seen.reduce((sum, figures) => sum + figures[figure], 0) / seen.length
}
