// The examples of gate and sweep say what the commands understand.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseGate } from '../../../src/cli/gate-args.js'
import { readSweep } from '../../../src/cli/sweep-spec.js'
import { ROOT } from '../../tidy/files.js'

it('the workflow calls the gate with options that it has', () => {
  const text = readFileSync(join(ROOT, 'examples', 'gate-github.yml'), 'utf8')
  const calls = [...text.matchAll(/(?:phasebit|cli\.js) gate (.+)$/gm)].map(match => match[1])
  expect(calls.length).toBe(3)
  for (const call of calls) expect(parseGate(call.split(' ')).runOptions, call).toEqual([])
  expect(parseGate(calls[1].split(' '))).toMatchObject({
    base: ['base-*.json'],
    head: ['head-*.json'],
    exports: { json: 'gate.json', 'github-benchmark': 'gate' },
  })
})

it('the sweep has points that can run', () => {
  const { points, clock } = readSweep(join(ROOT, 'examples', 'sweep.json'))
  expect(clock).toBe('virtual')
  expect(points.length).toBe(12)
})
