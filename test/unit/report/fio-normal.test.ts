// The human-readable form: the figures of a synthetic run stand where fio's readers look for them.

import { describe, expect, test } from 'vitest'
import { normalHeader, normalReport } from '../../../src/report/fio-normal.js'
import { percentileTable } from '../../../src/report/normal-direction.js'
import { formatReport, type OutputFormat } from '../../../src/report/report.js'
import { defaultReportOptions, type JobReportOptions } from '../../../src/report/result.js'
import { DISK, direction, job, latencyOf, run } from './synthetic.js'

describe('the lines at the start', () => {
  test('one per section, dots for clones, version, processes', () => {
    const clones = [0, 1, 2].map(clone => job({ clone, numjobs: 3 }))
    expect(normalHeader([...clones, job({ jobname: 'b', groupid: 1 })])).toBe(
      'mix: (g=0): rw=randrw, bs=(R) 4096B-4096B, (W) 4096B-16.0KiB, (T) 4096B-4096B, ' +
        'ioengine=libaio, iodepth=16\n...\n' +
        'b: (g=1): rw=randrw, bs=(R) 4096B-4096B, (W) 4096B-16.0KiB, (T) 4096B-4096B, ' +
        'ioengine=libaio, iodepth=16\nfio-3.33\nStarting 4 processes\n',
    )
  })

  test('threads are counted apart', () => {
    const threaded = job()
    threaded.header = { ...threaded.header, thread: true }
    expect(normalHeader([threaded])).toContain('\nStarting 1 thread\n')
    expect(normalHeader([threaded, threaded, job()])).toContain(
      'Starting 2 threads and 1 process\n',
    )
  })
})

function lines(options: Partial<JobReportOptions> = {}): string[] {
  return normalReport(run([job({}, options)])).split('\n')
}

describe('a unit', () => {
  test('title, rates and counts', () => {
    const text = normalReport(run([job()]))
    expect(text).toContain(
      '\nmix: (groupid=0, jobs=1): err= 0: pid=4242: Thu Jan  1 00:00:00 1970\n' +
        '  read: IOPS=500, BW=2000KiB/s (2048kB/s)(4000KiB/2000msec)\n',
    )
    expect(text).toContain('  write: IOPS=250, BW=1001KiB/s (1025kB/s)(2000KiB/2000msec)\n')
    expect(text).toContain('  trim: IOPS=100k, BW=391MiB/s (410MB/s)(400KiB/1msec)\n')
    expect(text).toContain('  cpu          : usr=25.00%, sys=12.50%, ctx=12, majf=0, minf=7\n')
    expect(text).toContain(
      '     issued rwts: total=1000,500,100,20 short=0,0,0,0 dropped=0,0,0,0\n',
    )
    expect(text).toContain('     latency   : target=0, window=0, percentile=100.00%, depth=16\n')
  })

  test('depths in percent of I/Os, calls in percent of calls, nothing non-zero shown as zero', () => {
    const one = job({
      depth: { level: [1, 0, 1599, 0, 0, 0, 0], submit: [0, 75, 25], complete: [] },
    })
    const text = normalReport(run([one]))
    expect(text).toContain('  IO depths    : 1=0.1%, 2=0.0%, 4=99.9%, 8=0.0%,')
    expect(text).toContain('     submit    : 0=0.0%, 4=75.0%, 8=25.0%, 16=0.0%,')
    expect(text).toContain('     complete  : 0=0.0%, 4=0.0%,')
  })

  test('latency shares, five to a line, empty classes left out', () => {
    const latencyShares = { ns: [16, 16, 16, 16, 16, 16], us: [], ms: [0, 1504] }
    const shares = normalReport(run([job({ latencyShares })])).match(/^ {2}lat \(.*$/gm)
    expect(shares).toEqual([
      '  lat (nsec)   : 2=1.00%, 4=1.00%, 10=1.00%, 20=1.00%, 50=1.00%',
      '  lat (nsec)   : 100=1.00%',
      '  lat (msec)   : 4=94.00%',
    ])
  })

  test('bandwidth and IOPS samples', () => {
    expect(lines()).toContain(
      '   bw (  KiB/s): min= 4000, max= 4400, per=100.00%, avg=4200.00, stdev=200.00, samples=3',
    )
    expect(lines()).toContain(
      '   iops        : min= 1000, max= 1100, avg=1050.00, stdev=50.00, samples=3',
    )
    expect(lines({ unitBase: 1 }).find(line => line.includes('bw ('))).toContain(
      'bw (Kibit/s): min=32000, max=35200,',
    )
    expect(lines({ kbBase: 1000 }).find(line => line.includes('bw ('))).toContain(
      'bw (   kB/s): min= 4096, max= 4505,',
    )
  })

  test('an error is named, also when nothing was moved', () => {
    const none = direction(0, 0)
    const failed = job({
      error: 5,
      errorText: 'Input/output error',
      read: none,
      write: none,
      trim: none,
      sync: { totalIos: 0, lat: latencyOf([]) },
    })
    expect(normalReport(run([failed]))).toContain('err= 5 (Input/output error): pid=4242')
    expect(normalReport(run([{ ...failed, error: 0 }]))).not.toContain('mix: (groupid')
  })

  test('continue_on_error adds its line', () => {
    const one = job(
      { totalErrors: 3, firstError: 84, firstErrorText: 'Invalid or incomplete' },
      { continueOnError: true },
    )
    expect(normalReport(run([one]))).toContain(
      '     errors    : total=3, first_error=84/<Invalid or incomplete>\n',
    )
    expect(lines({ continueOnError: true })).toContain(
      '     errors    : total=0, first_error=0/<Success>',
    )
  })

  test('a latency target in ns, its window in us', () => {
    const latencyTarget = { targetNs: 200_000, windowUs: 250_000, percentile: 99, depth: 12 }
    expect(normalReport(run([job({ latencyTarget })]))).toContain(
      '     latency   : target=200000, window=250000, percentile=99.00%, depth=12\n',
    )
  })

  test('mixed and both', () => {
    expect(lines({ unifiedRw: 'mixed' }).filter(line => line.includes('IOPS='))).toEqual([
      '  mixed: IOPS=800, BW=3200KiB/s (3277kB/s)(6400KiB/2000msec)',
    ])
    const both = lines({ unifiedRw: 'both' }).filter(line => line.includes('IOPS='))
    expect(both.map(line => line.trim().split(':')[0])).toEqual(['read', 'write', 'trim', 'mixed'])
  })

  test('steady state, zone resets and block lifetimes', () => {
    const one = job({
      steadystate: {
        criterion: 'iops',
        limit: 10,
        percent: true,
        durationS: 3,
        attained: true,
        maxDeviation: 20_373,
        slope: 0,
        bw: [9_035_947_263],
        iops: [2_206_041],
      },
      zoneResets: 2,
      block: { percentiles: { '50.000000': 7 }, states: { written: 3, unwritten: 1 } },
    })
    const text = normalReport(run([one]))
    expect(text).toContain(
      '  steadystate  : attained=yes, bw=8617MiB/s (9036MB/s), iops=2206k, iops mean dev=0.924%\n',
    )
    expect(text).toMatch(/ {2}write: .*msec\); 2 zone resets\n/)
    expect(text).toContain(
      '   | 50.00th=7\n        states               : written=3, unwritten=1\n',
    )
  })

  test('priorities only when there are two', () => {
    const latency = latencyOf([100, 200])
    const prios = [1, 2].map(prioclass => ({ prioclass, prio: 3, priohint: 0, latency }))
    const read = { ...direction(4, 1e9), prios }
    const text = normalReport(run([job({ read })]))
    expect(text).toContain('    clat prio 1/3 (nsec): min=100, max=200, avg=150.00, stdev=70.71\n')
    expect(text).toContain('    clat prio 2/3 (50.00% of IOs) percentiles (nsec):\n')
    const single = job({ read: { ...read, prios: prios.slice(1) } })
    expect(normalReport(run([single]))).not.toContain('prio')
  })
})

describe('units of latencies', () => {
  const table = (ns: number[], percentileList: number[]): string =>
    percentileTable('clat', latencyOf(ns), { ...defaultReportOptions(), percentileList })

  test('lines and tables scale only when smallest and largest are large', () => {
    const read = { ...direction(2, 1e9), clat: latencyOf([3_000_000, 200_000_000]) }
    const text = normalReport(run([job({ read })]))
    expect(text).toContain('    clat (msec): min=3, max=200, avg=101.50, stdev=139.30\n')
    expect(table([150, 90_000_000], [50, 99])).toContain('clat percentiles (nsec)')
    expect(table([3000, 200_000], [50, 99])).toBe(
      '    clat percentiles (usec):\n     |  50th=[    3],  99th=[  200]\n',
    )
  })

  test('entries per line follow their width', () => {
    const long = table(
      [1, 2],
      [1, 2, 3, 4, 5].map(p => p / 100),
    )
    expect(long.split('\n')[1].split(',')).toHaveLength(5)
    expect(long.split('\n')[1]).toBe(
      '     |  0.01th=[    1],  0.02th=[    1],  0.03th=[    1],  0.04th=[    1],',
    )
  })
})

describe('groups and disks', () => {
  test('status lines', () => {
    const text = normalReport(run([job(), job({ groupid: 1 }, { unifiedRw: 'both' })]))
    expect(text).toContain(
      '\nRun status group 0 (all jobs):\n' +
        '   READ: bw=2000KiB/s (2048kB/s), 2000KiB/s-2000KiB/s (2048kB/s-2048kB/s), ' +
        'io=4000KiB (4096kB), run=2000-2000msec\n',
    )
    expect(text).toMatch(/group 1 [\s\S]*\n {2}MIXED: bw=394MiB\/s/)
  })

  test('disks, with those below a stacked one', () => {
    const text = normalReport(run([job()], { disks: [DISK, { ...DISK, aggregate: DISK }] }))
    expect(text).toContain(
      '\nDisk stats (read/write):\n  nvme0n1: ios=1000/500, merge=3/4, ticks=15/9, in_queue=24, util=87.65%\n' +
        '    nvme0n1: ios=1000/500, merge=3/4, ticks=15/9, in_queue=24, util=87.65%, ' +
        'aggrios=1000/500, aggrmerge=3/4, aggrticks=15/9, aggrin_queue=24, aggrutil=87.65%\n',
    )
  })

  test('idleness', () => {
    const cpuIdleness = {
      system: 43.46,
      percpu: [28.48, 58.45],
      unitMeanUs: 19.82,
      unitStddevUs: 0.17,
    }
    expect(normalReport(run([job()], { cpuIdleness }))).toContain(
      '\nCPU idleness:\n  system: 43.46%\n  percpu: 28.48%, 58.45%\n' +
        '  unit work: mean=19.82us, stddev=0.17\n',
    )
  })
})

test('the last block says what fio has no words for', () => {
  const result = run([job()])
  result.phasebit.shortened = '--max-io 1600'
  expect(normalReport(result)).toMatch(
    /\nphasebit: clock=virtual, kernel=4\.19, cpus=2, seed=42, lat=every, completion=irq\n {2}books {8}: submitted=1600, completed=1600, failed=0, in flight=0, balanced\n {2}shortened {4}: --max-io 1600\n {4}Q2C \(/,
  )
})

describe('formats in one stream', () => {
  const report = (...formats: OutputFormat[]): string => formatReport(run([job()]), { formats })

  test('terse, JSON, normal, whatever order was asked for', () => {
    const text = report('normal', 'json', 'terse')
    const order = ['fio-3.33\nStarting', '\n3;fio-3.33', '\n{\n', '\nmix: (groupid'].map(part =>
      text.indexOf(part),
    )
    expect(order).toEqual(order.toSorted((a, b) => a - b))
    expect(order).not.toContain(-1)
  })

  test('json+ takes the place of json', () => {
    expect(report('json', 'json+')).toBe(report('json+'))
    expect(report('json+')).toContain('"bins"')
  })

  test('the header can be left to the caller', () => {
    const text = formatReport(run([job()]), { formats: ['normal'], header: false })
    expect(text.startsWith('\nmix: (groupid')).toBe(true)
  })
})
