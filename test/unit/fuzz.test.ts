// A short run of every fuzzer: some 90,000 cases in all, and 100,000 of each side of NVMe's wire. `npm run fuzz` runs as many as
// wanted.

import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import { fuzzer, storyFuzzer } from '../fuzz/fuzzer.js'
import { shellWords } from '../fuzz/jobfile.js'
import { caseStream, Prng } from '../fuzz/prng.js'
import { FUZZERS, LONG_CASES } from '../fuzz/registry.js'

const CASES = 100_000
const SEED = 20_261_121

describe('fuzzers', () => {
  const names = Object.keys(FUZZERS)
  const whole = new Set(['nvme-controller', 'nvme-driver'])

  for (const name of names) {
    const share = whole.has(name) ? CASES : Math.ceil(CASES / names.length)
    const cases = Math.ceil(share / (LONG_CASES[name] ?? 1))
    it(`${name}: ${cases} cases`, { timeout: 600_000 }, () => {
      expect(FUZZERS[name]!(SEED, cases)).toEqual({ cases })
    })
  }
})

describe('the fuzz loop', () => {
  it('repeats a case from seed and number alone', () => {
    const seen: number[] = []
    const note = fuzzer('note', random => {
      seen.push(random.next())
    })
    note(7, 10)
    note(7, 1, 4)
    expect(seen[10]).toBe(seen[4])
    expect(new Set(seen.slice(0, 10)).size).toBe(10)
  })

  it('repeats a step of a story by the steps before it', () => {
    const told: string[] = []
    const note = storyFuzzer('story', 4, random => {
      const name = random.below(1000)
      let state = 0
      return {
        step: (r, say) => {
          state += r.below(10)
          say(String(state))
          told.push(`${name}:${state}`)
        },
        end: () => told.push(`${name} ends`),
      }
    })
    expect(note(7, 10)).toEqual({ cases: 10 })
    const all = told.splice(0)
    expect(all.filter(line => line.endsWith('ends')).length).toBe(2)
    note(7, 1, 6)
    expect(told).toEqual(all.slice(5, 8))
    note(7, 2, 7)
    expect(told.slice(3)).toEqual(all.slice(8, 11))
  })

  it('names seed, case and input of a failure, and finds the planted one', () => {
    const planted = fuzzer('planted', (random, remember) => {
      const value = random.below(50)
      remember(`value ${value}`)
      if (value === 33) throw new RangeError('planted')
      if (value === 7) throw new UserError('a clear line')
    })
    expect(() => planted(3, 1000)).toThrow(
      /^planted: seed 3 case \d+: RangeError: planted[\s\S]*value 33/,
    )
  })

  it('fails on an error message of two lines, and on one with leaked values', () => {
    const lines = fuzzer('lines', () => {
      throw Object.assign(new UserError('one'), { message: 'one\ntwo' })
    })
    expect(() => lines(1, 1)).toThrow('bad message')
    const leak = fuzzer('leak', () => {
      throw new UserError('size is undefined')
    })
    expect(() => leak(1, 1)).toThrow('bad message')
  })

  it('fails on a case that hangs', () => {
    let clock = 0
    const slow = fuzzer(
      'slow',
      () => {},
      () => (clock += 5000),
    )
    expect(slow(1, 1)).toEqual({ cases: 1 })
    const slower = fuzzer(
      'slower',
      () => {},
      () => (clock += 20_000),
    )
    expect(() => slower(1, 1)).toThrow('took too long')
  })
})

describe('prng', () => {
  it('is mulberry32', () => {
    // First outputs for seed 1, from the published definition.
    const random = new Prng(1)
    expect([random.next(), random.next(), random.next()]).toEqual([
      2693262067, 11749833, 2265367787,
    ])
  })

  it('keeps within its ranges', () => {
    const random = caseStream(1, 2)
    for (let i = 0; i < 1000; i++) {
      const n = random.below(7)
      expect(n >= 0 && n < 7 && Number.isInteger(n)).toBe(true)
    }
    expect(Array.from({ length: 100 }, () => random.chance(0)).some(hit => hit)).toBe(false)
    expect(Array.from({ length: 100 }, () => random.chance(100)).every(hit => hit)).toBe(true)
  })
})

describe('shellWords', () => {
  it('undoes the quoting of a shell line', () => {
    expect(shellWords(`a 'b c' 'it'\\''s' --x=''`)).toEqual(['a', 'b c', "it's", '--x='])
  })
})
