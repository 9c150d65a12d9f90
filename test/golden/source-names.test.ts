// Every function that the project's stories name is entered in some scenario of `phasebit trace --list`.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ALL_SCENARIOS, scenarioOf } from '../../src/workload/scenarios.js'

/** Stories whose scenarios are built. */
const BUILT = ['2', '3']

interface Name {
  readonly name: string
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
  const wanted = sourceNames().filter(({ story }) => BUILT.includes(story))
  expect(wanted.length).toBeGreaterThan(30)
  const entered = new Set<string>()
  for (const scenario of ALL_SCENARIOS) {
    const { records } = await scenarioOf(scenario).run()
    for (const record of records) if (record.kind === 'enter') entered.add(record.name)
  }
  expect(wanted.filter(({ name }) => !entered.has(name)).map(({ name }) => name)).toEqual([])
})
