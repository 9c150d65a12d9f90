import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { evaluate } from '../../../src/workload/arith.js'
import { BadValue } from '../../../src/workload/bad-value.js'
import { didYouMean, editDistance, nearest } from '../../../src/workload/suggest.js'
import {
  formatBytes,
  NS_PER_S,
  NS_PER_US,
  parseFloatValue,
  parseRange,
  parseSize,
  parseTime,
  parseTriple,
  splitTop,
} from '../../../src/workload/units.js'

const size = (text: string): number => parseSize(text, 1024)
const bad = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    if (error instanceof BadValue) return error.message
    throw error
  }
  throw new Error('no error')
}

describe('sizes', () => {
  it('k and kb are powers of 1024, kib a power of 1000, under kb_base=1024', () => {
    expect(['4k', '4kb', '4ki', '4kib'].map(size)).toEqual([4096, 4096, 4096, 4000])
    expect(['1m', '1g', '1t', '1p'].map(size)).toEqual([2 ** 20, 2 ** 30, 2 ** 40, 2 ** 50])
    expect(['1mib', '2gib', '1tib'].map(size)).toEqual([1e6, 2e9, 1e12])
  })

  it('kb_base=1000 swaps the two', () => {
    const si = (text: string): number => parseSize(text, 1000)
    expect(['4k', '4kb', '4ki', '4kib', '1mib'].map(si)).toEqual([4000, 4000, 4000, 4096, 2 ** 20])
  })

  it('case does not matter, hex has no unit, a plus sign is allowed', () => {
    expect(['4K', '4KB', '4KiB', '0x1000', '0XfF', '+4k', '512b', '010'].map(size)).toEqual([
      4096, 4096, 4000, 4096, 255, 4096, 512, 10,
    ])
  })

  it('refuses what fio would shorten silently: fractions, unknown units, trailing text', () => {
    expect(bad(() => size('1.5g'))).toContain('has a fraction')
    expect(bad(() => size('8x'))).toBe("unknown unit 'x'; units are k, m, g, t, p")
    expect(bad(() => size('8kk'))).toContain("unknown unit 'kk'")
    expect(bad(() => size('4k/8k'))).toContain('is not a number')
    expect(bad(() => size('0x1k'))).toContain("unknown unit 'k'")
  })

  it('refuses the empty, the negative and the too large', () => {
    expect(bad(() => size(''))).toBe('the value is empty')
    expect(bad(() => size('-1'))).toContain('is negative')
    expect(bad(() => size('8192p'))).toContain('is too large')
    expect(bad(() => size('99999999999999999999'))).toContain('is too large')
    expect(size('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER)
  })
})

describe('times', () => {
  const seconds = (text: string): number => parseTime(text, NS_PER_S)

  it('knows us usec ms msec s m h d', () => {
    const all = ['3us', '3usec', '3ms', '3msec', '3s', '3m', '3h', '3d']
    expect(all.map(seconds)).toEqual([3e3, 3e3, 3e6, 3e6, 3e9, 180e9, 10800e9, 259200e9])
  })

  it('without a unit each option has its own; 1m is a minute here and a mebibyte in a size', () => {
    expect(seconds('5')).toBe(5e9)
    expect(parseTime('5', NS_PER_US)).toBe(5000)
    expect(seconds('1m')).toBe(60e9)
    expect(size('1m')).toBe(2 ** 20)
  })

  it('inside parentheses a bare number counts in microseconds', () => {
    expect(seconds('(3*2)')).toBe(6000)
    expect(seconds('(2*3s)')).toBe(6e9)
    expect(seconds('(3s+1)')).toBe(3e9 + 1000)
    expect(seconds('((1+1)*1ms)')).toBe(2e6)
  })

  it('refuses unknown units and overflow', () => {
    expect(bad(() => seconds('5x'))).toBe("unknown unit 'x'; units are us, ms, s, m, h, d")
    expect(bad(() => seconds('1sec'))).toContain("unknown unit 'sec'")
    expect(bad(() => seconds('365d'))).toContain('too large')
  })
})

describe('arithmetic', () => {
  it('evaluates in parentheses, units inside', () => {
    expect(['(4*1k)', '(1m/4k)', '(2^10)', '(7%4+1)', '((1+2)*(3-1))'].map(size)).toEqual([
      4096, 256, 1024, 4, 6,
    ])
    expect(size('(1.5*4k)')).toBe(6144)
    expect(size('(2^3^2)')).toBe(512)
  })

  it('refuses what has no whole result', () => {
    expect(bad(() => size('(1/3)'))).toContain('not a whole number')
    expect(bad(() => size('(1-2)'))).toContain('negative')
    expect(bad(() => size('(1/0)'))).toBe('division by zero')
    expect(bad(() => size('(1'))).toBe("a ')' is missing")
    expect(bad(() => size('(1)x'))).toBe("unexpected 'x' in the arithmetic")
    expect(bad(() => size('(2*)'))).toContain('a number is missing')
    expect(bad(() => size('(2x)'))).toContain("unknown unit 'x'")
    expect(bad(() => size('(2^0.5)'))).toContain('exponent')
    expect(bad(() => size(`${'('.repeat(99)}1${')'.repeat(99)}`))).toContain('too deep')
    expect(bad(() => size(`(${'2^'.repeat(99)}1)`))).toContain('too deep')
    expect(bad(() => size('(9^999)'))).toContain('no finite result')
  })

  it('agrees with JavaScript on sums of products', () => {
    const number = fc.integer({ min: 0, max: 1000 })
    fc.assert(
      fc.property(number, number, number, number, (a, b, c, d) => {
        expect(evaluate(`(${a} + ${b}*${c} - ${d})`, () => undefined, 1)).toBe(a + b * c - d)
      }),
      { seed: 5 },
    )
  })
})

describe('triples', () => {
  const triple = (text: string): unknown => parseTriple(text, ',:-', size)

  it('a value not followed by a comma applies to the rest', () => {
    expect(triple('8k')).toEqual([8192, 8192, 8192])
    expect(triple('8k,32k')).toEqual([8192, 32768, 32768])
    expect(triple('1k,2k,3k')).toEqual([1024, 2048, 3072])
  })

  it('an empty place stays open', () => {
    expect(triple('8k,')).toEqual([8192, null, null])
    expect(triple(',8k')).toEqual([null, 8192, 8192])
    expect(triple(',,8k')).toEqual([null, null, 8192])
    expect(triple('8k,,16k')).toEqual([8192, null, 16384])
    expect(triple('4k,8k,')).toEqual([4096, 8192, null])
  })

  it('a colon or a dash separates too, but not inside parentheses', () => {
    expect(triple('4k-8k')).toEqual([4096, 8192, 8192])
    expect(triple('4k:8k')).toEqual([4096, 8192, 8192])
    expect(triple('(8k-4k),(1k+1k)')).toEqual([4096, 2048, 2048])
    expect(splitTop('(1,2),3', ',')).toEqual(['(1,2)', '3'])
  })

  it('refuses more than three and nothing at all', () => {
    expect(bad(() => triple('1k,2k,3k,4k'))).toContain('at most three')
    expect(bad(() => triple(',,'))).toBe('the value is empty')
  })
})

describe('ranges', () => {
  it('takes a dash or a colon and swaps a reversed one', () => {
    expect(parseRange('1k-4k', false, size)).toEqual({ lo: 1024, hi: 4096 })
    expect(parseRange('4k:1k', false, size)).toEqual({ lo: 1024, hi: 4096 })
    expect(parseRange('4k', true, size)).toEqual({ lo: 4096, hi: 4096 })
    expect(bad(() => parseRange('4k', false, size))).toContain('is not a range')
    expect(bad(() => parseRange('1-2-3', true, size))).toContain('is not a range')
  })
})

describe('other numbers', () => {
  it('reads decimal fractions', () => {
    expect(['99.9', '.5', '-1', '+3.'].map(parseFloatValue)).toEqual([99.9, 0.5, -1, 3])
    expect(bad(() => parseFloatValue('1e3'))).toContain('is not a number')
  })

  it('writes bytes by their largest whole unit', () => {
    expect([0, 1000, 4096, 2 ** 30, 3 * 2 ** 40].map(formatBytes)).toEqual([
      '0 bytes',
      '1000 bytes',
      '4 KiB',
      '1 GiB',
      '3 TiB',
    ])
  })
})

describe('the nearest name', () => {
  it('counts insertions, deletions, substitutions and swaps', () => {
    expect(editDistance('iodepth', 'iodepth', 3)).toBe(0)
    expect(editDistance('iodept', 'iodepth', 3)).toBe(1)
    expect(editDistance('ioedpth', 'iodepth', 3)).toBe(1)
    expect(editDistance('abc', 'xyz', 3)).toBe(3)
    expect(editDistance('a', 'abcdef', 3)).toBe(4)
  })

  it('is a metric below its limit', () => {
    const word = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', 'b', 'c') })
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(editDistance(a, b, 9)).toBe(editDistance(b, a, 9))
        expect(editDistance(a, b, 9) === 0).toBe(a === b)
      }),
      { seed: 6 },
    )
  })

  it('suggests the nearest, ignoring case and - or _, and nothing when all are far', () => {
    expect(nearest('io-depth', ['iodepth', 'io_depth'])).toBe('io_depth')
    expect(nearest('BS', ['bs', 'rw'])).toBe('bs')
    expect(nearest('zzzzzz', ['bs', 'rw'])).toBeUndefined()
    expect(nearest('x'.repeat(100), ['x'.repeat(100)])).toBeUndefined()
    expect(didYouMean('iodept', ['iodepth'])).toBe('; did you mean iodepth?')
    expect(didYouMean('qqq', ['iodepth'])).toBe('')
  })
})
