// Every bench works: at its small size each side of each cell comes to a finite number above zero.
// How large it is says nothing and is not looked at.

import { spawnSync } from 'node:child_process'
import { beforeAll, describe, expect, it } from 'vitest'
import { atLeast, atMost, type Cell, ratio, reached, type Side, spread } from '../../bench/cell.js'
import { withoutHooks } from '../../bench/bare.js'
import { cellResult, runCell } from '../../bench/harness.js'
import { CELLS } from '../../bench/macro/cells.js'
import { coreMicros } from '../../bench/micro/core.js'
import { buildLoops } from '../../bench/micro/loops.js'
import { runMicros } from '../../bench/micro/micro.js'
import { timerMicros } from '../../bench/micro/timer.js'
import { workqueueMicros } from '../../bench/micro/workqueue.js'
import { buildYardstick } from '../../bench/native.js'
import { median, summarize } from '../../bench/stats.js'
import { short, tableRow } from '../../bench/table.js'

const LONG = 180_000

function cell(change: Partial<Cell>): Cell {
  return {
    name: 'made-up',
    title: 'a cell of this test',
    unit: 'ns',
    sides: [],
    figure: ratio,
    figureUnit: '',
    goal: null,
    needs: [],
    ...change,
  }
}

/** A side that comes to these values in turn, and notes that it was asked. */
function side(name: string, values: number[], asked: string[] = []): Side {
  const measure = async (): Promise<{ value: number }> => {
    asked.push(name)
    return { value: values.shift()! }
  }
  return { name, where: 'here', measure }
}

describe('cells at their small size', () => {
  let yardstick: string | null = null
  let fio = false

  beforeAll(async () => {
    yardstick = await buildYardstick()
    fio = spawnSync('fio', ['--version']).status === 0
    await buildLoops()
  }, LONG)

  it('has no two cells of one name', () => {
    expect(new Set(CELLS.map(one => one.name)).size).toBe(CELLS.length)
  })

  it.each(CELLS.map(one => [one.name, one] as const))(
    '%s',
    async (_, one) => {
      for (const each of one.sides) {
        if (each.name.startsWith('yardstick') && yardstick !== null) continue
        if (each.name === 'fio' && !fio) continue
        // compiling a core takes too long here
        if (each.name === 'without hooks') continue
        const { value, cpu } = await each.measure('small')
        expect(value, each.name).toBeGreaterThan(0)
        expect(value, each.name).toBeLessThan(Number.POSITIVE_INFINITY)
        if (cpu !== undefined) expect(typeof cpu, each.name).toBe('number')
      }
    },
    LONG,
  )

  it(
    'measures in a process of its own',
    async () => {
      const sbitmap = CELLS.find(one => one.name === 'sbitmap')!
      const outcome = await runCell(sbitmap, { processes: 1, rounds: 2, size: 'small' })
      expect(outcome).toHaveProperty('summary.n', 2)
    },
    LONG,
  )

  it(
    'times every microbenchmark',
    async () => {
      const micros = [
        ...(await coreMicros('small')),
        ...timerMicros('small'),
        ...workqueueMicros('small'),
      ]
      for (const result of await runMicros(micros, 'small')) {
        expect(result.p50, result.name).toBeGreaterThan(0)
        expect(result.p50, result.name).toBeLessThan(Number.POSITIVE_INFINITY)
        const own = /^(timer|workqueue):/.test(result.name)
        expect(result.twin === null, `${result.name} has a twin`).toBe(own)
        if (result.twin !== null) expect(result.twin, result.name).toBeGreaterThan(0)
      }
    },
    LONG,
  )
})

it('finds every hook of the core to build one without', () => {
  const text = 'const t = enter(cpu, FN_a(1))\n  bio_event(cpu, f(g(2)), b)\n  leave(cpu, t)\n'
  expect(withoutHooks(text)).toBe('const t = 0\n  {}\n  {}\n')
})

describe('figures', () => {
  it('knows medians of even and odd numbers of values', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(median([])).toBeNaN()
  })

  it('leaves rounds out that say nothing', () => {
    const { n, median: middle, min, max } = summarize([Number.NaN, 1, Number.POSITIVE_INFINITY, 3])
    expect([n, middle, min, max]).toEqual([2, 2, 1, 3])
    expect(summarize([Number.NaN])).toMatchObject({ n: 0, median: Number.NaN })
  })

  it('judges by the goal', () => {
    expect(reached(atMost(2), 2)).toBe(true)
    expect(reached(atMost(2), 2.01)).toBe(false)
    expect(reached(atLeast(6), 6)).toBe(true)
    expect(reached(atLeast(6), 5.9)).toBe(false)
  })

  it('compares the sides of a round, not of different rounds', () => {
    const rounds = [
      [{ value: 10 }, { value: 5 }],
      [{ value: 100 }, { value: 50 }],
      [{ value: 9 }, { value: 3 }],
    ]
    const made = cellResult(cell({ sides: [side('a', []), side('b', [])] }), rounds)
    expect(made.figures).toEqual([2, 2, 3])
    expect(made.summary).toMatchObject({ median: 2, min: 2, max: 3 })
    expect(made.byCpu).toBeNull()
    expect(made.sides[0]).toEqual({ name: 'a', values: [10, 100, 9] })
  })

  it('has the figure by CPU time where every side has one', () => {
    const rounds = [
      [
        { value: 8, cpu: 6 },
        { value: 4, cpu: 2 },
      ],
    ]
    const made = cellResult(cell({ sides: [side('a', []), side('b', [])] }), rounds)
    expect(made.byCpu).toMatchObject({ median: 3 })
    expect(spread([4, 2, 8])).toBe(4)
  })
})

describe('rounds', () => {
  it('begins each round with another side', async () => {
    const asked: string[] = []
    const sides = ['a', 'b', 'c'].map(name => side(name, [1, 1, 1, 1], asked))
    await runCell(cell({ sides }), { processes: 2, rounds: 2, size: 'small' })
    expect(asked.join('')).toBe('abcbcaabcbca')
  })

  it('says why a cell failed, in the table too', async () => {
    const broken: Side = {
      name: 'broken',
      where: 'here',
      measure: () => Promise.reject(new Error('no such thing')),
    }
    const outcome = await runCell(cell({ sides: [broken] }), {
      processes: 1,
      rounds: 1,
      size: 'small',
    })
    expect(outcome).toMatchObject({ failed: 'no such thing' })
    expect(tableRow(outcome)).toMatch(/^made-up +FAILED: no such thing$/)
  })

  it('prints figure, range, goal and verdict', async () => {
    const sides = [side('ours', [30, 50]), side('theirs', [10, 10])]
    const outcome = await runCell(cell({ sides, goal: atMost(2.5) }), {
      processes: 1,
      rounds: 2,
      size: 'small',
    })
    expect(tableRow(outcome).split('\n')).toEqual([
      expect.stringMatching(/^made-up +4\.00 \(3\.00\.\.5\.00\) +<= 2\.5 +MISSED$/),
      '    a cell of this test',
      '    ours 40.0, theirs 10.0 ns',
    ])
    expect([short(1.234), short(12.34), short(1234.5), short(Number.NaN)]).toEqual([
      '1.23',
      '12.3',
      '1235',
      '-',
    ])
  })
})
