import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UserError } from '../../../src/core/errors.js'
import { placeJobs } from '../../../src/workload/cpus.js'
import { jobLimits } from '../../../src/workload/limits.js'
import { quantiles } from '../../../src/workload/machine-config.js'

function placed(cpusAllowed: readonly number[] | null, phase = 0) {
  return { name: 'j', source: 'x.fio:1', phase, cpusAllowed }
}

describe('placeJobs', () => {
  it('gives jobs that name nothing one CPU each, up to the cores of the host', () => {
    const jobs = [placed(null), placed(null), placed(null)]
    expect(placeJobs(jobs, null, 2)).toEqual({ nrCpus: 2, cpuOfJob: [0, 1, 0] })
    expect(placeJobs(jobs, null, 8)).toEqual({ nrCpus: 3, cpuOfJob: [0, 1, 2] })
  })

  it('does not look at the host in virtual time', () => {
    const jobs = Array.from({ length: 40 }, () => placed(null))
    expect(placeJobs(jobs, null, null).nrCpus).toBe(16)
  })

  it('makes every CPU that is named, even beyond the cores of the host', () => {
    expect(placeJobs([placed([5])], null, 2)).toEqual({ nrCpus: 6, cpuOfJob: [5] })
  })

  it('spreads jobs over the CPUs they share, phase by phase', () => {
    const jobs = [placed([2, 3]), placed([2, 3]), placed([2, 3]), placed([2, 3], 1)]
    expect(placeJobs(jobs, null, 8).cpuOfJob).toEqual([2, 3, 2, 2])
  })

  it('counts jobs of different phases on the same CPUs', () => {
    const jobs = [placed(null), placed(null, 1), placed(null, 2)]
    expect(placeJobs(jobs, null, 8).nrCpus).toBe(1)
  })

  it('obeys --cpus and refuses a job that fits on none of them', () => {
    expect(placeJobs([placed([0, 1, 2, 3])], 2, 8)).toEqual({ nrCpus: 2, cpuOfJob: [0] })
    expect(() => placeJobs([placed([2, 3])], 2, 8)).toThrow(UserError)
    expect(() => placeJobs([placed([2, 3])], 2, 8)).toThrow(/x\.fio:1.*CPUs 0 to 1/)
  })

  it('never places a job outside its list', () => {
    const arb = fc.array(fc.option(fc.uniqueArray(fc.nat(7), { minLength: 1 })), { minLength: 1 })
    fc.assert(
      fc.property(arb, fc.integer({ min: 1, max: 8 }), (lists, cores) => {
        const { nrCpus, cpuOfJob } = placeJobs(
          lists.map(l => placed(l)),
          null,
          cores,
        )
        lists.forEach((list, i) => {
          expect(cpuOfJob[i]).toBeLessThan(nrCpus)
          if (list) expect(list).toContain(cpuOfJob[i])
        })
      }),
    )
  })
})

const S = 1e9
function limited(over: Partial<Parameters<typeof jobLimits>[0]>) {
  const job = {
    rampTimeNs: 0,
    runtimeNs: 0,
    timeBased: false,
    ioSize: 4096,
    loops: 1,
    numberIos: 0,
    rw: 'read' as const,
    replay: null,
    ...over,
  }
  return (maxRuntimeNs: number | null, maxIo: number | null = null) =>
    jobLimits(job, { maxRuntimeNs, maxIo })
}

describe('jobLimits', () => {
  it('leaves a job alone that fits', () => {
    const limits = limited({ rampTimeNs: S, runtimeNs: 2 * S })(3 * S)
    expect(limits).toMatchObject({ rampNs: S, runtimeNs: 2 * S, clipped: false, capped: false })
  })

  it('scales a ramp with the runtime it belongs to', () => {
    const limits = limited({ rampTimeNs: S, runtimeNs: 3 * S, timeBased: true })(S)
    expect(limits).toMatchObject({ rampNs: S / 4, runtimeNs: (3 * S) / 4, clipped: true })
  })

  it('ends a job that has no runtime, and leaves half for measuring', () => {
    expect(limited({ rampTimeNs: 5 * S })(2 * S)).toMatchObject({
      rampNs: S,
      runtimeNs: S,
      clipped: false,
      capped: true,
    })
  })

  it('counts the bytes of all passes, unless time decides', () => {
    expect(limited({ loops: 3 })(null).bytes).toBe(3 * 4096)
    expect(limited({ timeBased: true })(null).bytes).toBe(Number.POSITIVE_INFINITY)
    expect(limited({})(null, 17).maxIo).toBe(17)
    expect(limited({ numberIos: 5 })(null).numberIos).toBe(5)
    expect(limited({ numberIos: 5, rw: 'trimwrite' })(null).numberIos).toBe(10)
  })

  it('never lets a job run longer than the cap', () => {
    fc.assert(
      fc.property(
        fc.nat(1e12),
        fc.nat(1e12),
        fc.integer({ min: 2, max: 1e12 }),
        (ramp, run, cap) => {
          const l = limited({ rampTimeNs: ramp, runtimeNs: run })(cap)
          expect(l.rampNs + l.runtimeNs).toBeLessThanOrEqual(cap)
          expect(l.runtimeNs).toBeGreaterThan(0)
        },
      ),
    )
  })
})

describe('quantiles', () => {
  it('follows the curve', () => {
    const table = quantiles([
      { percent: 50, ns: 1000 },
      { percent: 99, ns: 2000 },
      { percent: 100, ns: 10_000 },
    ])
    const share = (ns: number): number => table.filter(v => v <= ns).length / table.length
    expect(share(1000)).toBeCloseTo(0.5, 2)
    expect(share(2000)).toBeCloseTo(0.99, 2)
    expect(Math.max(...table)).toBeLessThanOrEqual(10_000)
    expect([...table].sort((a, b) => a - b)).toEqual(table)
  })
})
