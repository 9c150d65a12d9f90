// fio's JSON as fio writes it, with figures of one's own.
import { bucketIndex, bucketValue } from '../../../src/report/histogram.js'
import { normals } from './synthetic.js'

export interface MadeJob {
  readonly name?: string
  readonly iops?: number
  /** Latencies, ns, that the histogram is made of. */
  readonly latencies?: readonly number[]
  readonly plus?: boolean
  readonly options?: Record<string, string>
  readonly error?: number
  readonly groupid?: number
  readonly ios?: number
}

function idle(): object {
  return { io_bytes: 0, bw_bytes: 0, iops: 0, runtime: 0, total_ios: 0, clat_ns: { N: 0 } }
}

/** Percentiles and bins of latencies, as fio makes them. */
export function latencyJson(latencies: readonly number[], plus: boolean): object {
  const sorted = [...latencies].sort((a, b) => a - b)
  const at = (percent: number): number =>
    bucketValue(bucketIndex(sorted[Math.ceil((percent / 100) * sorted.length) - 1]))
  const bins = new Map<number, number>()
  for (const ns of sorted) {
    const value = bucketValue(bucketIndex(ns))
    bins.set(value, (bins.get(value) ?? 0) + 1)
  }
  return {
    min: sorted[0],
    max: sorted.at(-1),
    N: sorted.length,
    percentile: { '50.000000': at(50), '99.000000': at(99), '99.900000': at(99.9) },
    ...(plus ? { bins: Object.fromEntries([...bins].map(([k, v]) => [String(k), v])) } : {}),
  }
}

export function jobJson(job: MadeJob): object {
  const { name = 'a', iops = 1000, plus = true, options = { rw: 'randread' } } = job
  const latencies = job.latencies ?? normals(1, 400, 100_000, 5000)
  const ios = job.ios ?? Math.round(iops * 10)
  return {
    jobname: name,
    groupid: job.groupid ?? 0,
    error: job.error ?? 0,
    'job options': options,
    read: {
      io_bytes: ios * 4096,
      bw_bytes: Math.round(iops * 4096),
      iops,
      runtime: 10_000,
      total_ios: ios,
      clat_ns: latencyJson(latencies, plus),
    },
    write: idle(),
    trim: idle(),
  }
}

/** A whole document. */
export function fioText(jobs: readonly MadeJob[], more: Record<string, unknown> = {}): string {
  const document = {
    'fio version': 'fio-3.33',
    'global options': { bs: '4k' },
    jobs: jobs.map(jobJson),
    ...more,
  }
  return `${JSON.stringify(document, null, 2)}\n`
}
