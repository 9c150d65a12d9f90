// The gate of phasebit itself: small runs in virtual time must come to what is stored, to the last number.
//
// A change that is meant is accepted by writing the baselines anew, in the same commit:
//
//   npm run build && node dist/lib/cli.js gate test/golden/gate/*.fio --baseline test/golden/gate --update

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runExact } from '../../src/cli/gate-exact.js'
import { baselinePath, readBaseline } from '../../src/gate/baseline.js'
import { compareExact } from '../../src/gate/exact.js'
import { ROOT } from './gate-command.js'

const FOLDER = join(ROOT, 'test', 'golden', 'gate')
const UPDATE =
  'if it is meant: npm run build && node dist/lib/cli.js gate test/golden/gate/*.fio --baseline test/golden/gate --update'

it.each(readdirSync(FOLDER).filter(name => name.endsWith('.fio')))('%s', async name => {
  const path = join(FOLDER, name)
  const { fingerprint, values } = await runExact(path, { runOptions: [], seed: 0 })
  const stored = readBaseline(baselinePath(FOLDER, path), fingerprint)
  expect(stored, 'a baseline').not.toBeNull()
  const differing = compareExact(name, stored, values).filter(one => one.verdict !== 'same')
  const lines = differing.map(
    ({ benchmark, metric, base, head }) =>
      `${benchmark}: ${metric}: ${base?.value} became ${head?.value}`,
  )
  expect(lines, UPDATE).toEqual([])
})

it('comes to the same again', async () => {
  const path = join(FOLDER, 'mixed.fio')
  const run = (seed: number) => runExact(path, { runOptions: ['--randrepeat=0'], seed })
  const [one, again, other] = [await run(3), await run(3), await run(4)]
  expect(again).toEqual(one)
  expect(other.values['run']['order']).not.toBe(one.values['run']['order'])
  expect(one.values['mix: read']['ios']).toBeGreaterThan(600)
})
