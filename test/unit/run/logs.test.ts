import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  JOB_LOG,
  JOB_LOG_COUNT,
  JOB_MEASURE_NS,
  LOG_BYTES,
  LOG_DDIR,
  LOG_LAT,
  LOG_OFFSET,
  LOG_SIZE,
  LOG_SLAT,
  LOG_TIME,
  LS_N,
  LS_SUM,
  STAT_BYTES,
  STAT_CLAT,
  STAT_IOS,
} from '../../../assembly/layout.js'
import { OutputError } from '../../../src/core/errors.js'
import { readIolog } from '../../../src/report/iolog.js'
import { IologOut, iologPrelude } from '../../../src/workload/iolog-out.js'
import {
  JobLogs,
  type LogRecord,
  takeRecords,
  wantsRecords,
} from '../../../src/workload/job-logs.js'
import { statAddress } from '../../../src/workload/job-view.js'
import type { JobSpec } from '../../../src/workload/job.js'
import { LogFiles } from '../../../src/workload/log-files.js'
import { jobOf, planOf } from '../workload/plan-of.js'
import { giveHistogram, HISTS, JOB, LOG, newView } from './memory.js'

function jobsOf(text: string): readonly JobSpec[] {
  return planOf(['j.fio'], { 'j.fio': text }).jobs
}

const MS = 1e6

function record(over: Partial<LogRecord> = {}): LogRecord {
  const io = { timeNs: 0, clatNs: 100, slatNs: 20, offset: 8192, bytes: 4096, ddir: 0 }
  return { ...io, prio: 0, file: 0, ...over }
}

/** The lines that a job with these options writes for these I/Os. */
function linesOf(options: string[], records: LogRecord[], timed = true): Record<string, string> {
  const text: Record<string, string> = {}
  const sink = (kind: string) => (t: string) => {
    text[kind] = (text[kind] ?? '') + t
  }
  const kinds = ['bw', 'iops', 'slat', 'clat', 'lat', 'clat_hist']
  const sinks = Object.fromEntries(kinds.map(k => [k, sink(k)]))
  const logs = new JobLogs(jobOf(...options), sinks, timed)
  const view = newView()
  logs.records(records, 0)
  logs.end(view, JOB, 1000 * MS)
  return text
}

describe('JobLogs, one line for each I/O', () => {
  it("writes latencies, bandwidth and iops in fio's columns", () => {
    const r = [
      record({ timeNs: 3.5 * MS, clatNs: 4096, slatNs: 900 }),
      record({ ddir: 1, bytes: 512 }),
    ]
    expect(linesOf(['write_lat_log=x', 'write_bw_log=x', 'write_iops_log=x'], r)).toEqual({
      slat: '3, 900, 0, 4096, 0\n0, 20, 1, 512, 0\n',
      clat: '3, 4096, 0, 4096, 0\n0, 100, 1, 512, 0\n',
      lat: '3, 4996, 0, 4096, 0\n0, 120, 1, 512, 0\n',
      bw: '3, 976562, 0, 4096, 0\n0, 5000000, 1, 512, 0\n',
      iops: '3, 1, 0, 4096, 0\n0, 1, 1, 512, 0\n',
    })
  })

  it('adds the offset and the priority when asked', () => {
    const options = ['write_lat_log=x', 'log_offset=1', 'log_prio=1', 'prioclass=1', 'prio=3']
    expect(linesOf(options, [record()]).clat).toBe('0, 100, 0, 4096, 8192, 0x2003\n')
  })

  it('times a synchronous engine by its whole call, and has no submission for it', () => {
    const lines = linesOf(['ioengine=psync', 'write_lat_log=x'], [record()])
    expect(lines).toMatchObject({ clat: '0, 120, 0, 4096, 0\n', lat: '0, 120, 0, 4096, 0\n' })
    expect(lines.slat).toBe(undefined)
  })

  it('leaves syncs out', () => {
    expect(linesOf(['write_lat_log=x'], [record({ ddir: 3 })])).toEqual({})
  })

  it('keeps the largest value of each window with log_max_value', () => {
    const r = [10, 30, 20, 5].map((clatNs, i) => record({ timeNs: i * 60 * MS, clatNs }))
    const options = ['write_lat_log=x', 'log_avg_msec=100', 'log_max_value=1']
    expect(linesOf(options, r).clat).toBe('100, 30, 0, 0, 0\n200, 20, 0, 0, 0\n')
  })
})

describe('JobLogs, windows', () => {
  it('takes means and rates from what the counters have grown by', () => {
    const job = jobOf('write_lat_log=x', 'write_bw_log=x', 'write_iops_log=x', 'log_avg_msec=500')
    expect(wantsRecords(job)).toBe(false)
    const text: Record<string, string> = {}
    const sink = (kind: string) => (t: string) => {
      text[kind] = (text[kind] ?? '') + t
    }
    const logs = new JobLogs(
      job,
      { bw: sink('bw'), iops: sink('iops'), clat: sink('clat'), lat: sink('lat') },
      false,
    )
    const view = newView()
    const stat = statAddress(JOB, 0)
    const count = (ios: number, sumNs: number): void => {
      view.setU64(stat + STAT_IOS, ios)
      view.setU64(stat + STAT_BYTES, ios * 4096)
      view.setU64(stat + STAT_CLAT + LS_N, ios)
      view.setF64(stat + STAT_CLAT + LS_SUM, sumNs)
    }
    view.setU64(JOB + JOB_MEASURE_NS, 1000 * MS)
    count(1000, 50_000)
    logs.window(view, JOB, 1500 * MS)
    count(1500, 80_000)
    logs.window(view, JOB, 2000 * MS)
    logs.window(view, JOB, 2500 * MS)
    expect(text).toEqual({
      bw: '500, 8000, 0, 0, 0\n1000, 4000, 0, 0, 0\n',
      iops: '500, 2000, 0, 0, 0\n1000, 1000, 0, 0, 0\n',
      clat: '500, 50, 0, 0, 0\n1000, 60, 0, 0, 0\n',
      lat: '500, 50, 0, 0, 0\n1000, 60, 0, 0, 0\n',
    })
  })

  it("writes the histogram's growth", () => {
    const job = jobOf('write_hist_log=x', 'log_hist_msec=500', 'log_hist_coarseness=6')
    let text = ''
    const logs = new JobLogs(job, { clat_hist: t => (text += t) }, false)
    const view = newView()
    const stat = statAddress(JOB, 0)
    giveHistogram(view, stat + STAT_CLAT, 0)
    const count = (n: number, bucket: number, of: number): void => {
      view.setU64(stat + STAT_CLAT + LS_N, n)
      view.setU64(stat + STAT_IOS, n)
      view.setU64(stat + STAT_BYTES, n * 4096)
      view.setU32(HISTS + 4 * bucket, of)
    }
    count(7, 3, 7)
    logs.histogram(view, JOB, 500 * MS)
    count(12, 70, 5)
    logs.histogram(view, JOB, 1000 * MS)
    logs.histogram(view, JOB, 1500 * MS)
    const lines = text.trimEnd().split('\n')
    expect(lines.length).toBe(2)
    expect(lines[0]).toMatch(/^500, 0, 4096, 7, 0, 0, /)
    expect(lines[1]).toMatch(/^1000, 0, 4096, 0, 5, 0, /)
    expect(lines[0].split(', ').length).toBe(3 + 1856 / 64)
  })
})

describe('takeRecords', () => {
  it('empties the buffer in order', () => {
    const view = newView()
    view.setU32(JOB + JOB_LOG, LOG)
    view.setU32(JOB + JOB_LOG_COUNT, 2)
    for (let i = 0; i < 2; i++) {
      const at = LOG + i * LOG_SIZE
      view.setU64(at + LOG_TIME, 5e12 + i)
      view.setU64(at + LOG_LAT, 100 + i)
      view.setU64(at + LOG_SLAT, 7)
      view.setU64(at + LOG_OFFSET, 2 ** 40)
      view.setU32(at + LOG_BYTES, 512)
      view.setU32(at + LOG_DDIR, 1 | (3 << 8) | (2 << 16))
    }
    const common = { slatNs: 7, offset: 2 ** 40, bytes: 512, ddir: 1, prio: 3, file: 2 }
    expect(takeRecords(view, JOB)).toEqual([
      { timeNs: 5e12, clatNs: 100, ...common },
      { timeNs: 5e12 + 1, clatNs: 101, ...common },
    ])
    expect(takeRecords(view, JOB)).toEqual([])
  })
})

describe('IologOut', () => {
  it('writes issues in their order, in a form that can be read back', () => {
    const job = jobOf('write_iolog=x')
    let text = iologPrelude([job])
    const out = new IologOut(job.files, t => (text += t))
    out.records([record({ timeNs: 9000, clatNs: 1000, slatNs: 0 })], 1000)
    out.records(
      [
        record({ timeNs: 9500, clatNs: 5000, slatNs: 500, offset: 4096, ddir: 1 }),
        record({ timeNs: 9600, clatNs: 100, slatNs: 0, ddir: 3, bytes: 0, offset: 0 }),
      ],
      1000,
    )
    out.end(1000)
    const ios = readIolog(text, 'x').actions.filter(a => 'length' in a)
    const file = '/dev/nvme0n1'
    expect(ios).toEqual([
      { timeUs: 3, file, action: 'write', offset: 4096, length: 4096 },
      { timeUs: 7, file, action: 'read', offset: 8192, length: 4096 },
      { timeUs: 8, file, action: 'datasync', offset: 0, length: 0 },
    ])
  })

  it('counts offsets of a plain file from its own start', () => {
    const job = jobsOf('[a]\nsize=1m\ndirect=1\nwrite_iolog=x\n')[0]!
    let text = iologPrelude([job])
    const out = new IologOut(job.files, t => (text += t))
    out.records([record({ offset: job.files[0]!.base + 4096 })], 0)
    out.end(0)
    const io = readIolog(text, 'x').actions.find(a => 'length' in a)
    expect(io).toMatchObject({ file: 'a.0.0', offset: 4096 })
  })
})

describe('LogFiles', () => {
  let dir = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'phasebit-logs-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  function twoJobs(...lines: string[]): readonly JobSpec[] {
    return jobsOf(['[global]', 'size=1m', 'direct=1', ...lines, '[a]', '[b]'].join('\n'))
  }

  it("names files after the job's number, and makes them at the end", () => {
    const jobs = twoJobs(`write_lat_log=${dir}/x`)
    const files = new LogFiles(jobs)
    files.sinks(jobs[1]!).clat!('1, 2, 0, 4096, 0\n')
    files.commit()
    const kinds = ['clat', 'lat', 'slat']
    const names = kinds.flatMap(k => [`x_${k}.1.log`, `x_${k}.2.log`])
    expect(readdirSync(dir).sort()).toEqual(names.sort())
    expect(readFileSync(join(dir, 'x_clat.2.log'), 'utf8')).toBe('1, 2, 0, 4096, 0\n')
  })

  it("joins the jobs' parts of one file in job order", () => {
    const jobs = twoJobs(`write_bw_log=${dir}/x`, 'per_job_logs=0')
    const files = new LogFiles(jobs)
    files.sinks(jobs[1]!).bw!('second\n')
    files.sinks(jobs[0]!).bw!('first\n')
    files.commit()
    expect(readFileSync(join(dir, 'x_bw.log'), 'utf8')).toBe('first\nsecond\n')
  })

  it('leaves nothing behind when one place cannot be written', () => {
    const jobs = [...twoJobs(`write_bw_log=${dir}/x`), ...twoJobs(`write_bw_log=${dir}/missing/x`)]
    expect(() => new LogFiles(jobs)).toThrow(OutputError)
    expect(readdirSync(dir)).toEqual([])
  })

  it('leaves nothing behind when the run fails', () => {
    const jobs = twoJobs(`write_iolog=${dir}/x`)
    const files = new LogFiles(jobs)
    files.iolog(jobs[0]!)!('0 a read 0 4096\n')
    files.discard()
    expect(readdirSync(dir)).toEqual([])
  })
})
