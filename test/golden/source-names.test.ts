// Every function that the project's stories name is entered in some scenario of `phasebit trace --list`.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ALL_SCENARIOS, scenarioOf } from '../../src/workload/scenarios.js'

interface Name {
  readonly name: string
  /** 4.9, 4.19 or both. */
  readonly era: string
  readonly story: string
}

function sourceNames(): Name[] {
  const lines = readFileSync(new URL('source-names.txt', import.meta.url), 'utf8').split('\n')
  return lines
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.split(' '))
    .map(([name, era, story]) => ({ name: name!, era: era!, story: story! }))
}

test('every named function is entered', async () => {
  const wanted = sourceNames()
  expect(wanted.length).toBeGreaterThan(100)
  const entered = new Set<string>()
  for (const scenario of ALL_SCENARIOS) {
    const { records } = await scenarioOf(scenario).run()
    for (const record of records) if (record.kind === 'enter') entered.add(record.name)
  }
  const missing = wanted.map(({ name }) => name).filter(name => !entered.has(name))
  expect(missing).toEqual([])
})
