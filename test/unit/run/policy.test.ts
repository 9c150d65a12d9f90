import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addCounters, type JobCounters, NO_COUNTS } from '../../../src/workload/counters.js'
import { DepthSearch } from '../../../src/workload/latency-target.js'
import { JobPolicy, type WatchedJob } from '../../../src/workload/policy.js'
import { RateFloor } from '../../../src/workload/rate-min.js'
import { Sampler } from '../../../src/workload/samples.js'
import { deviation, SteadyState, slope } from '../../../src/workload/steady-state.js'

const MS = 1e6
const S = 1e9

function counters(reads: number, bs = 4096): JobCounters {
  return { ...NO_COUNTS, ios: [reads, 0, 0], bytes: [reads * bs, 0, 0] }
}

describe('Sampler', () => {
  it('takes one sample per window and none of an empty one', () => {
    const s = new Sampler(500 * MS, 0, 1)
    expect(s.tick(499 * MS, [10, 0, 0])).toBe(null)
    expect(s.tick(500 * MS, [1000, 0, 0])).toEqual([2000, null, null])
    expect(s.tick(1000 * MS, [1000, 500, 0])).toEqual([null, 1000, null])
    expect(s.stat(0)).toMatchObject({ n: 1, min: 2000, max: 2000, mean: 2000 })
    expect(s.stat(2).n).toBe(0)
  })

  it('divides by the time that really passed', () => {
    const s = new Sampler(500 * MS, 0, 1024)
    expect(s.tick(1000 * MS, [2048 * 1024, 0, 0])).toEqual([2048, null, null])
    expect(s.nextNs).toBe(1500 * MS)
  })

  it('forgets on restart', () => {
    const s = new Sampler(500 * MS, 0, 1)
    s.tick(500 * MS, [10, 0, 0])
    s.restart(600 * MS)
    expect(s.stat(0).n).toBe(0)
    expect(s.nextNs).toBe(1100 * MS)
  })
})

/** A device of `units` servers of 10 us each: latency at depth d is ceil(d / units) services. */
function searchFor(targetNs: number, iodepth: number, units = 8): { depth: number; ended: string } {
  const spec = { targetNs, windowNs: 250 * MS, percentile: 99, keepAdjusting: false }
  const search = new DepthSearch(spec, iodepth, 0)
  let compared = 0
  let over = 0
  for (let now = 250 * MS, i = 0; i < 200; i++, now += 250 * MS) {
    const latency = Math.ceil(search.depth / units) * 10_000
    compared += 1000
    if (latency > targetNs) over += 1000
    const verdict = search.tick(now, compared, over)
    if (verdict === 'finished' || verdict === 'hopeless')
      return { depth: search.depth, ended: verdict }
  }
  return { depth: search.depth, ended: 'never' }
}

describe('DepthSearch', () => {
  it('finds the deepest queue that meets the target', () => {
    expect(searchFor(20_000, 128)).toEqual({ depth: 16, ended: 'finished' })
    expect(searchFor(50_000, 128)).toEqual({ depth: 40, ended: 'finished' })
  })

  it('ends with the whole depth when that is good enough', () => {
    expect(searchFor(1_000_000, 128)).toEqual({ depth: 128, ended: 'finished' })
  })

  it('gives up when depth 1 is too slow', () => {
    expect(searchFor(5_000, 32)).toEqual({ depth: 1, ended: 'hopeless' })
  })

  it('measures one more window at the depth it settles on, from fresh statistics', () => {
    const search = new DepthSearch(
      { targetNs: 100, windowNs: 10, percentile: 100, keepAdjusting: false },
      2,
      0,
    )
    expect(search.tick(10, 5, 0)).toBe('changed')
    expect(search.tick(15, 7, 0)).toBe('wait')
    expect(search.tick(20, 10, 0)).toBe('settled')
    expect(search.tick(30, 15, 0)).toBe('finished')
  })

  it('stays within 1 and iodepth whatever the device does', () => {
    const windows = fc.array(fc.nat(100), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(windows, fc.integer({ min: 1, max: 300 }), (percents, iodepth) => {
        const spec = { targetNs: 1, windowNs: 1, percentile: 95, keepAdjusting: true }
        const search = new DepthSearch(spec, iodepth, 0)
        let over = 0
        percents.forEach((p, i) => {
          over += 100 - p
          search.tick(i + 1, 100 * (i + 1), over)
          expect(search.depth).toBeGreaterThanOrEqual(1)
          expect(search.depth).toBeLessThanOrEqual(iodepth)
        })
      }),
    )
  })
})

describe('RateFloor', () => {
  const job = {
    rateMin: [0, 0, 0] as const,
    rateIopsMin: [1000, 0, 0] as const,
    rateCycleNs: S,
    uses: [true, false, false] as const,
  }

  it('does not judge the first two seconds, then each cycle', () => {
    const floor = new RateFloor(job, 0)
    expect(floor.tick(1.5 * S, counters(0))).toBe(null)
    expect(floor.nextNs).toBe(2 * S)
    expect(floor.tick(2 * S, counters(10))).toBe(null)
    expect(floor.tick(3 * S, counters(1010))).toBe(null)
    expect(floor.tick(4 * S, counters(2009))).toMatch(/rate_iops_min=1000 not met, got 999/)
  })

  it('leaves directions alone that the job does not use', () => {
    const floor = new RateFloor({ ...job, rateIopsMin: [0, 1000, 0] }, 0)
    floor.tick(2 * S, counters(0))
    expect(floor.tick(3 * S, counters(0))).toBe(null)
  })

  it('is wanted only with a floor', () => {
    expect(RateFloor.wanted(job)).toBe(true)
    expect(RateFloor.wanted({ ...job, rateIopsMin: [0, 0, 0] })).toBe(false)
  })
})

describe('SteadyState', () => {
  const spec = {
    metric: 'iops' as const,
    slope: false,
    limit: 5,
    limitIsPercent: true,
    durationNs: 4 * S,
    rampNs: 0,
    intervalNs: S,
  }

  function run(values: readonly number[], over: Partial<typeof spec> = {}): number {
    const ss = new SteadyState({ ...spec, ...over }, 0)
    let sum = 0
    for (let i = 0; i < values.length; i++) {
      sum += values[i]
      if (ss.tick((i + 1) * S, counters(sum))) return i + 1
    }
    return 0
  }

  it('is reached when the window is full and no value is far from the mean', () => {
    expect(run([100, 100, 100, 100])).toBe(4)
    expect(run([10, 50, 100, 100, 101, 99])).toBe(6)
    expect(run([100, 200, 100, 200, 100, 200])).toBe(0)
  })

  it('does not use the values of its ramp', () => {
    expect(run([100, 100, 100, 100, 100, 100], { rampNs: 2 * S })).toBe(6)
  })

  it('judges the slope instead', () => {
    expect(run([90, 110, 110, 90], { slope: true })).toBe(4)
    expect(run([100, 120, 140, 160, 180], { slope: true })).toBe(0)
  })

  it('reports its window', () => {
    const ss = new SteadyState(spec, 0)
    for (let i = 1; i <= 5; i++) ss.tick(i * S, counters(100 * i))
    expect(ss.result()).toMatchObject({
      criterion: 'iops',
      attained: true,
      durationS: 4,
      maxDeviation: 0,
      iops: [100, 100, 100, 100],
      bw: [400, 400, 400, 400],
    })
  })

  it('measures deviation and slope', () => {
    expect(deviation([90, 100, 110], false)).toBe(10)
    expect(deviation([90, 100, 110], true)).toBe(10)
    expect(slope([1, 3, 5, 7], false)).toBeCloseTo(2, 12)
    expect(slope([5, 5, 5], true)).toBe(0)
  })
})

describe('JobPolicy', () => {
  const job: WatchedJob = {
    bwAvgNs: 500 * MS,
    iopsAvgNs: 500 * MS,
    latencyTarget: { targetNs: 100, windowNs: 100 * MS, percentile: 99, keepAdjusting: false },
    queueDepth: 4,
    rateMin: [0, 0, 0],
    rateIopsMin: [100, 0, 0],
    rateCycleNs: S,
    uses: [true, false, false],
  }

  it('wants to be called at the nearest of its times', () => {
    expect(new JobPolicy(job, 0).nextNs).toBe(100 * MS)
    expect(new JobPolicy({ ...job, latencyTarget: null }, 0).nextNs).toBe(500 * MS)
  })

  it('lowers the depth, restarts the statistics, and ends the job', () => {
    const policy = new JobPolicy(job, 0)
    const verdicts = [1, 2, 3, 4].map(i =>
      policy.tick(i * 100 * MS, { ...counters(i * 10), compared: i * 10, overTarget: 0 }),
    )
    expect(verdicts).toEqual([{ depth: 2 }, { depth: 4 }, { restart: true }, { stop: true }])
    expect(policy.depth).toBe(4)
  })

  it('fails a job below its floor with EIO', () => {
    const policy = new JobPolicy({ ...job, latencyTarget: null }, 0)
    policy.tick(2 * S, counters(10))
    expect(policy.tick(3 * S, counters(20))).toMatchObject({ stop: true, error: { errno: 5 } })
  })
})

it('addCounters adds member by member', () => {
  const a: JobCounters = { ...counters(3), latencies: 2, latencySumNs: 5, compared: 1 }
  expect(addCounters(a, a)).toMatchObject({
    ios: [6, 0, 0],
    latencies: 4,
    latencySumNs: 10,
    compared: 2,
  })
})
