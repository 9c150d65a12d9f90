import { describe, expect, it } from 'vitest'
import { BadValue } from '../../../src/workload/bad-value.js'
import {
  oneOf,
  parseBsSplit,
  parseCmdPrioSplit,
  parseContinueOnError,
  parseCpuMask,
  parseCpus,
  parseDistribution,
  parseIgnoreError,
  parseNames,
  parsePattern,
  parsePercentiles,
  parseReplaySkip,
  parseRw,
  parseSteadyState,
} from '../../../src/workload/values.js'

const bad = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    if (error instanceof BadValue) return error.message
    throw error
  }
  throw new Error('no error')
}

describe('rw', () => {
  const rw = (text: string): unknown => parseRw(text, 1024)

  it('takes a count after random patterns and bytes after sequential ones', () => {
    expect(rw('read')).toEqual({ mode: 'read', postfix: null })
    expect(rw('readwrite')).toEqual({ mode: 'rw', postfix: null })
    expect(rw('randread:8')).toEqual({ mode: 'randread', postfix: 8 })
    expect(rw('write:4k')).toEqual({ mode: 'write', postfix: 4096 })
    expect(rw('read:-8k')).toEqual({ mode: 'read', postfix: -8192 })
  })

  it('refuses other words, with the nearest, and postfixes that are none', () => {
    expect(bad(() => rw('raed'))).toContain('did you mean read?')
    expect(bad(() => rw('read:'))).toBe('the value is empty')
    expect(bad(() => rw('randread:-8'))).toContain('takes a count')
    expect(bad(() => rw('randread:x'))).toContain('is not a number')
  })
})

describe('bssplit', () => {
  const split = (text: string): unknown => parseBsSplit(text, 1024)

  it('reads size/percent pairs for reads, writes and trims', () => {
    expect(split('4k/60:8k/40')).toEqual(
      Array(3).fill([
        { bytes: 4096, percent: 60 },
        { bytes: 8192, percent: 40 },
      ]),
    )
    expect(split('4k/100,')).toEqual([[{ bytes: 4096, percent: 100 }], null, null])
  })

  it('shares what is left among empty percents', () => {
    const [list] = split('4k/33:8k:16k/') as [{ percent: number }[]]
    expect(list.map(entry => entry.percent)).toEqual([33, 33.5, 33.5])
  })

  it('gives the last entry what a short sum leaves, as fio draws it', () => {
    const [list] = split('4k/20:8k/20') as [{ percent: number }[]]
    expect(list.map(entry => entry.percent)).toEqual([20, 80])
  })

  it('refuses more than 100 percent, empty sizes and too many entries', () => {
    expect(bad(() => split('4k/60:8k/60'))).toBe('the percentages add up to 120, not to 100')
    expect(bad(() => split('/50:8k/50'))).toBe('the value is empty')
    expect(bad(() => split('0/50:8k/50'))).toBe('a block of 0 bytes')
    expect(bad(() => split('4k/-1:8k'))).toContain('is not a percentage')
    expect(bad(() => split('4k/1/2'))).toContain('is not size/percent')
    expect(bad(() => split(Array(65).fill('4k/1').join(':')))).toBe('more than 64 entries')
  })
})

describe('random_distribution', () => {
  const first = (text: string): unknown => parseDistribution(text, 1024)[0]

  it('reads the laws with their defaults and centres', () => {
    expect(first('random')).toEqual({ kind: 'random' })
    expect(first('zipf')).toEqual({ kind: 'zipf', theta: 1.1, centre: null })
    expect(first('zipf:1.2:0.5')).toEqual({ kind: 'zipf', theta: 1.2, centre: 0.5 })
    expect(first('pareto')).toEqual({ kind: 'pareto', h: 0.2, centre: null })
    expect(first('normal:25')).toEqual({ kind: 'normal', deviation: 25, centre: null })
  })

  it('reads zones, for each direction if wanted', () => {
    expect(first('zoned:60/10:30/20:8/30:2/40')).toEqual({
      kind: 'zoned',
      zones: [
        { access: 60, size: 10 },
        { access: 30, size: 20 },
        { access: 8, size: 30 },
        { access: 2, size: 40 },
      ],
    })
    const [read, write, trim] = parseDistribution('zoned_abs:60/64k:40/1m,50/4k:50/8k', 1024)
    expect(read).toMatchObject({ zones: [{ size: 65536 }, { size: 2 ** 20 }] })
    expect(write).toEqual(trim)
    expect(first('zoned:50/:50/')).toMatchObject({ zones: [{ size: 50 }, { size: 50 }] })
  })

  it('refuses theta 1, values out of range, sums that are not 100', () => {
    expect(bad(() => first('zipf:1.0'))).toContain('theta 1.0')
    expect(bad(() => first('zipf:-1'))).toContain('theta must be above 0')
    expect(bad(() => first('zipf:1.2:1.5'))).toContain('between 0 and 1')
    expect(bad(() => first('zipf:1.2x'))).toContain('is not a number')
    expect(bad(() => first('pareto:1'))).toContain('between 0 and 1')
    expect(bad(() => first('normal:100'))).toContain('below 100')
    expect(bad(() => first('normal'))).toContain('needs a deviation')
    expect(bad(() => first('random:1'))).toBe('random takes no parameter')
    expect(bad(() => first('zipf:1:2:3'))).toContain('a parameter and a centre')
    expect(bad(() => first('zoned:60/10:30/20'))).toContain('add up to 90')
    expect(bad(() => first('zoned:60/60:40/60'))).toContain('add up to 120')
    expect(bad(() => first('zoned'))).toBe('the value is empty')
    expect(bad(() => first('zoned_abs:50/0:50/4k'))).toContain('needs a size')
    expect(bad(() => first('zoned:1/2/3'))).toContain('is not access/size')
    expect(bad(() => first(`zoned:${Array(257).fill('/').join(':')}`))).toBe('more than 256 zones')
    expect(bad(() => first('foo'))).toContain('must be one of random, zipf')
  })
})

describe('patterns', () => {
  const bytes = (text: string): unknown =>
    parsePattern(text, true).map(piece => ('bytes' in piece ? piece.bytes : 'offset'))

  it('hex in the order written, decimals little-endian, strings, offsets', () => {
    expect(bytes('0xdeadbeef')).toEqual([[0xde, 0xad, 0xbe, 0xef]])
    expect(bytes('0x123')).toEqual([[0x01, 0x23]])
    expect(bytes('300')).toEqual([[0x2c, 0x01]])
    expect(bytes('0')).toEqual([[0]])
    expect(bytes('-300')).toEqual([[0xd4, 0xfe, 0xff, 0xff]])
    expect(bytes('"hello"0x12')).toEqual([[104, 101, 108, 108, 111], [0x12]])
    expect(bytes('0xff%o"ab" -1')).toEqual([[255], 'offset', [97, 98], [255, 255, 255, 255]])
  })

  it('refuses what is none, what is empty, what is too long', () => {
    expect(bad(() => bytes('0xg1'))).toContain('is not a pattern')
    expect(bad(() => bytes('"open'))).toContain('is not a pattern')
    expect(bad(() => bytes('abcd'))).toContain('is not a pattern')
    expect(bad(() => bytes(''))).toBe('the pattern is empty')
    expect(bad(() => bytes('""'))).toBe('the pattern is empty')
    expect(bad(() => bytes('4294967295'))).toContain('31 bits')
    expect(bad(() => bytes(`0x${'ab'.repeat(513)}`))).toContain('longer than 512')
    expect(bad(() => parsePattern('%o', false))).toBe('%o belongs to verify_pattern')
  })
})

describe('errors', () => {
  it('ignore_error takes names and numbers for reads, writes and verifies', () => {
    expect(parseIgnoreError('EIO:5,ENOSPC')).toEqual({ read: [5, 5], write: [28], verify: [] })
    expect(parseIgnoreError(',,EILSEQ')).toEqual({ read: [], write: [], verify: [84] })
    expect(bad(() => parseIgnoreError('EFOO'))).toContain("'EFOO' is not an error")
    expect(bad(() => parseIgnoreError('constructor'))).toContain('is not an error')
    expect(bad(() => parseIgnoreError('1,2,3,4'))).toContain('at most three')
  })

  it('continue_on_error names kinds', () => {
    const none = { read: false, write: false, verify: false }
    expect(parseContinueOnError('none')).toEqual(none)
    expect(parseContinueOnError('io')).toEqual({ read: true, write: true, verify: false })
    expect(parseContinueOnError('1')).toEqual({ read: true, write: true, verify: true })
    expect(parseContinueOnError('verify')).toEqual({ ...none, verify: true })
    expect(bad(() => parseContinueOnError('some'))).toContain('must be one of')
  })
})

describe('steadystate', () => {
  const steady = (text: string): unknown => parseSteadyState(text, 1024)

  it('reads metric, slope and limit in the units of the metric', () => {
    expect(steady('iops:10%')).toEqual({
      metric: 'iops',
      slope: false,
      limit: 10,
      limitIsPercent: true,
    })
    expect(steady('bw_slope:1m')).toEqual({
      metric: 'bw',
      slope: true,
      limit: 2 ** 20,
      limitIsPercent: false,
    })
    expect(steady('lat:200')).toMatchObject({ metric: 'lat', limit: 200_000 })
    expect(steady('iops:0.5')).toMatchObject({ limit: 0.5, limitIsPercent: false })
  })

  it('refuses a missing or impossible limit', () => {
    expect(bad(() => steady('iops'))).toContain('a limit is missing')
    expect(bad(() => steady('iops:-4'))).toBe('the limit is negative')
    expect(bad(() => steady('iops:101%'))).toContain('between 0% and 100%')
    expect(bad(() => steady('foo:1'))).toContain('must be one of')
  })
})

describe('lists', () => {
  it('CPUs: ranges, commas, colons, each once', () => {
    expect(parseCpus('0-2,6:1')).toEqual([0, 1, 2, 6])
    expect(bad(() => parseCpus('3-1'))).toContain('runs backwards')
    expect(bad(() => parseCpus('a'))).toContain('is not a CPU')
    expect(bad(() => parseCpus('0-'))).toContain('is not a CPU')
    expect(bad(() => parseCpus('9999'))).toContain('beyond 1023')
    expect(parseCpuMask('0x80000005')).toEqual([0, 2, 31])
    expect(bad(() => parseCpuMask('0'))).toContain('1 to 32 bits')
  })

  it('percentiles: ascending, at most 20', () => {
    expect(parsePercentiles('99:50:99.9:50')).toEqual([50, 99, 99.9])
    expect(bad(() => parsePercentiles('101'))).toContain('is not a percentile')
    expect(bad(() => parsePercentiles(''))).toContain('is not a number')
    expect(bad(() => parsePercentiles(Array(21).fill('1').join(':')))).toContain('more than 20')
  })

  it('names: a colon separates unless a backslash stands before it', () => {
    expect(parseNames('a:b')).toEqual(['a', 'b'])
    expect(parseNames('a\\:b:c')).toEqual(['a:b', 'c'])
    expect(parseNames('a:a')).toEqual(['a'])
    expect(bad(() => parseNames('a:'))).toBe('an empty name')
  })

  it('replay_skip and cmdprio_bssplit', () => {
    expect(parseReplaySkip('read,sync')).toEqual({ skip: [true, false, false], sync: true })
    expect(bad(() => parseReplaySkip('foo'))).toContain('must be one of')
    const entry = { bytes: 4096, percent: 50, class: 1, level: 3 }
    expect(parseCmdPrioSplit('4k/50/1/3', 1024)).toEqual([[entry], [entry]])
    expect(parseCmdPrioSplit('4k/50/1/3,', 1024)).toEqual([[entry], []])
    expect(parseCmdPrioSplit('8k/10', 1024)[0]).toEqual([
      { bytes: 8192, percent: 10, class: 1, level: 0 },
    ])
    expect(bad(() => parseCmdPrioSplit('4k', 1024))).toContain('is not bs/percentage')
    expect(bad(() => parseCmdPrioSplit('4k/101', 1024))).toContain('out of range')
    expect(bad(() => parseCmdPrioSplit('4k/1/9/0', 1024))).toContain('classes are 0 to 3')
    expect(bad(() => parseCmdPrioSplit('4k/1,4k/1,4k/1', 1024))).toContain('at most two')
  })

  it('words: all of them are listed, and the nearest', () => {
    expect(oneOf('a', ['a', 'b'])).toBe('a')
    expect(bad(() => oneOf('linaer', ['linear', 'poisson']))).toBe(
      'must be one of linear, poisson; did you mean linear?',
    )
  })
})
