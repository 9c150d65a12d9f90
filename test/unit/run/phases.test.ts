import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Phases } from '../../../src/workload/phases.js'

type PhasedJob = ConstructorParameters<typeof Phases>[0][number]

function job(over: Partial<PhasedJob> = {}): PhasedJob {
  return {
    phase: 0,
    groupid: 0,
    waitFor: [],
    startDelayNs: 0,
    exitall: false,
    exitWhat: 'group',
    exitallOnError: false,
    ...over,
  }
}

describe('Phases', () => {
  it('starts everything of the first phase together, and the next when all of it has ended', () => {
    const phases = new Phases([job(), job(), job({ phase: 1 })], 0)
    expect(phases.due(0)).toEqual([0, 1])
    expect(phases.due(0)).toEqual([])
    phases.ended(1, 50, false)
    expect(phases.due(50)).toEqual([])
    phases.ended(0, 70, false)
    expect(phases.due(70)).toEqual([2])
    expect(phases.finished).toBe(false)
    phases.ended(2, 90, false)
    expect(phases.finished).toBe(true)
  })

  it('counts a start delay from the moment the wall falls', () => {
    const phases = new Phases([job(), job({ phase: 1, startDelayNs: 100 })], 0)
    phases.due(0)
    expect(phases.nextStartNs).toBe(Number.POSITIVE_INFINITY)
    phases.ended(0, 30, false)
    expect(phases.nextStartNs).toBe(130)
    expect(phases.due(129)).toEqual([])
    expect(phases.due(130)).toEqual([1])
  })

  it('holds a job back until every clone that wait_for names has ended', () => {
    const phases = new Phases([job(), job(), job({ waitFor: [0, 1] })], 0)
    expect(phases.due(0)).toEqual([0, 1])
    phases.ended(0, 10, false)
    expect(phases.due(10)).toEqual([])
    phases.ended(1, 20, false)
    expect(phases.due(20)).toEqual([2])
  })

  it.each([
    ['group' as const, [1], [3, 4]],
    ['stonewall' as const, [1, 2], [4]],
    ['all' as const, [1, 2], []],
  ])('exitall with exit_what=%s', (exitWhat, stopped, later) => {
    const jobs = [
      job({ exitall: true, exitWhat }),
      job(),
      job({ groupid: 1 }),
      job({ groupid: 1, startDelayNs: 1000 }),
      job({ phase: 1, groupid: 2 }),
    ]
    const phases = new Phases(jobs, 0)
    expect(phases.due(0)).toEqual([0, 1, 2])
    expect(phases.ended(0, 10, false)).toEqual(stopped)
    for (const i of [1, 2]) phases.ended(i, 20, false)
    const started: number[] = []
    for (let now = 20; now < 5000; now += 10)
      for (const i of phases.due(now)) {
        started.push(i)
        phases.ended(i, now, false)
      }
    expect(started).toEqual(later)
    expect(phases.finished).toBe(true)
  })

  it('stops the others after an error only when exitall_on_error says so', () => {
    for (const exitallOnError of [false, true]) {
      const phases = new Phases([job({ exitallOnError }), job()], 0)
      phases.due(0)
      expect(phases.ended(0, 1, true)).toEqual(exitallOnError ? [1] : [])
    }
  })

  it('starts nothing more after stopAll', () => {
    const phases = new Phases([job(), job({ phase: 1 })], 0)
    phases.due(0)
    expect(phases.stopAll()).toEqual([0])
    phases.ended(0, 1, false)
    expect(phases.due(1)).toEqual([])
    expect(phases.finished).toBe(true)
  })

  it('runs every job once, never across a wall, whatever the order of the ends', () => {
    const arb = fc.array(fc.record({ wall: fc.boolean(), delay: fc.nat(50), length: fc.nat(40) }), {
      minLength: 1,
      maxLength: 12,
    })
    fc.assert(
      fc.property(arb, list => {
        let phase = 0
        const jobs = list.map((l, i) =>
          job({ phase: (phase += i > 0 && l.wall ? 1 : 0), startDelayNs: l.delay }),
        )
        const phases = new Phases(jobs, 0)
        const running = new Map<number, number>()
        const runs = jobs.map(() => 0)
        for (let now = 0; now < 2000 && !phases.finished; now++) {
          for (const [i, end] of [...running])
            if (end <= now) {
              running.delete(i)
              phases.ended(i, now, false)
            }
          for (const i of phases.due(now)) {
            runs[i] += 1
            running.set(i, now + list[i].length)
          }
          expect(new Set([...running.keys()].map(i => jobs[i].phase)).size).toBeLessThanOrEqual(1)
        }
        expect(phases.finished).toBe(true)
        expect(runs.every(n => n === 1)).toBe(true)
      }),
      { numRuns: 60 },
    )
  })
})
