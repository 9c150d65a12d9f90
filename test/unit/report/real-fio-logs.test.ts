// Our logs held against a real fio: its log files read and written again give the same text, and each side's I/O log is
// accepted by the other. Skipped where fio is not installed, except in CI.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeIolog } from '../../../src/report/iolog.js'
import {
  formatLog,
  type LogColumns,
  type LogSample,
  logFileName,
} from '../../../src/report/logs.js'
import { readReplay } from '../../../src/report/replay.js'
import { isIo } from '../../../src/report/replay-types.js'
import { installed, requireInCi } from './fio-tool.js'

const hasFio = installed('fio')
requireInCi({ fio: hasFio })

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-logs-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function fio(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('fio', args, { encoding: 'utf8', cwd: dir })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}

/** A log line's samples when the columns are known. */
function parse(text: string, columns: LogColumns): LogSample[] {
  return text
    .trimEnd()
    .split('\n')
    .map(line => {
      const [timeMs, value, direction, bs, ...rest] = line.split(', ').map(Number)
      const offset = columns.offset ? rest.shift()! : 0
      return { timeMs, value, direction: direction as 0 | 1 | 2, bs, offset, ioprio: rest[0] }
    })
}

describe.runIf(hasFio)('sample logs', () => {
  test.each([
    ['plain', [], {}, 1],
    [
      'with offset and priority',
      ['--log_offset=1', '--log_prio=1'],
      { offset: true, prio: true },
      1,
    ],
    ['one file for all clones', ['--per_job_logs=0'], {}, undefined],
  ] as const)('%s: the same names and lines', (_, options, columns, jobNumber) => {
    const job = ['--name=l', '--ioengine=null', '--size=64k', '--bs=4k', '--rw=randrw']
    fio(...job, '--write_bw_log=l', '--write_iops_log=l', '--write_lat_log=l', ...options)
    for (const kind of ['bw', 'iops', 'clat', 'lat'] as const) {
      const text = readFileSync(join(dir, logFileName('l', kind, jobNumber)), 'utf8')
      expect(text.split('\n')).toHaveLength(17)
      expect(formatLog(parse(text, columns), columns)).toBe(text)
    }
  })
})

describe.runIf(hasFio)('I/O logs', () => {
  test('ours reads what fio wrote', () => {
    const job = ['--name=w', '--ioengine=null', '--filename=disk', '--size=64k', '--bs=4k']
    fio(...job, '--rw=randwrite', '--fsync=4', '--write_iolog=w.iolog')
    const { actions, notes } = readReplay(readFileSync(join(dir, 'w.iolog')), 'w.iolog')
    expect(notes).toEqual([])
    const of = (action: string): number => actions.filter(a => a.action === action).length
    expect([of('add'), of('open'), of('write'), of('close')]).toEqual([1, 1, 16, 1])
    expect(of('sync')).toBeGreaterThanOrEqual(3)
    const offsets = actions.flatMap(a => (a.action === 'write' ? [a.offset] : []))
    expect(new Set(offsets).size).toBe(16)
  })

  test('fio replays what ours wrote', () => {
    const file = 'disk'
    const moves = Array.from({ length: 20 }, (_, i) => ({
      timeUs: i * 10,
      file,
      action: i % 4 === 0 ? ('write' as const) : ('read' as const),
      offset: i * 4096,
      length: 4096,
    }))
    const text = writeIolog([
      { timeUs: 0, file, action: 'add' },
      { timeUs: 0, file, action: 'open' },
      ...moves,
      { timeUs: 300, file, action: 'close' },
    ])
    writeFileSync(join(dir, 'ours.iolog'), text)
    const out = fio(
      '--name=r',
      '--ioengine=null',
      '--read_iolog=ours.iolog',
      '--output-format=json',
    )
    const [{ read, write }] = (JSON.parse(out.slice(out.indexOf('{'))) as ReplayReport).jobs
    expect([read.total_ios, write.total_ios]).toEqual([15, 5])
    expect(readReplay(new TextEncoder().encode(text), 'ours').actions.filter(isIo)).toEqual(moves)
  })

  interface ReplayReport {
    jobs: Record<'read' | 'write', { total_ios: number }>[]
  }
})
