// Traces in blktrace's format, read by the real tools: blkparse, btt and blkrawverify.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { installed, requireInCi } from '../unit/report/fio-tool.js'
import { ROOT } from '../tidy/files.js'

const tools = {
  blkparse: installed('blkparse'),
  btt: installed('btt'),
  blkrawverify: installed('blkrawverify'),
}
requireInCi(tools)
const all = Object.values(tools).every(there => there)

const IOS = 500

const JOB = `[a]
filename=/dev/nvme0n1
rw=randrw
bs=4k
iodepth=4
size=64m
number_ios=${IOS}
ioengine=libaio
direct=1
`

describe.skipIf(!all)('blktrace recordings', () => {
  const place = mkdtempSync(join(tmpdir(), 'phasebit-blktrace-'))
  afterAll(() => rmSync(place, { recursive: true, force: true }))

  function run(tool: string, ...args: string[]): string {
    return execFileSync(tool, args, { cwd: place, encoding: 'utf8', stdio: 'pipe' })
  }

  function phasebit(...args: string[]): void {
    const cli = join(ROOT, 'dist', 'lib', 'cli.js')
    const { status, stderr } = spawnSync(process.execPath, [cli, ...args], {
      cwd: place,
      encoding: 'utf8',
    })
    expect(stderr).toBe('')
    expect(status).toBe(0)
  }

  beforeAll(() => {
    writeFileSync(join(place, 'j.fio'), JOB)
    phasebit(
      'run',
      'j.fio',
      '--clock=virtual',
      '--trace=run',
      '--trace-format=blktrace',
      '--output=j.txt',
    )
    phasebit('trace', 'nullblk-mq-irq1-none-batchr4', '--format=blktrace', '--output=story')
  })

  test('blkrawverify finds no event that is not in its place', () => {
    for (const name of ['run', 'story']) {
      run('blkrawverify', name)
      const report = readFileSync(join(place, `${name}.verify.out`), 'utf8')
      const counts = [...report.matchAll(/(\d+) valid \+\s+(\d+) invalid/g)]
      expect(counts.length).toBeGreaterThan(0)
      expect(counts.reduce((sum, [, valid]) => sum + Number(valid), 0)).toBeGreaterThan(10)
      expect(counts.every(([, , invalid]) => invalid === '0')).toBe(true)
    }
  })

  test('blkparse counts the I/Os of the run, each queued, issued and completed once', () => {
    const text = run('blkparse', '-i', 'run')
    const sum = (what: string): number =>
      [
        ...text.matchAll(new RegExp(`(?:Reads?|Writes?|Read|Write) ${what}:\\s+(\\d+)`, 'g')),
      ].reduce((total, [, n]) => total + Number(n), 0)
    expect([sum('Queued'), sum('Dispatches'), sum('Completed')]).toEqual([IOS, IOS, IOS])
    expect(text).toMatch(/Skips: 0 forward/)
  })

  test('blkparse shows the story of four reads and one unplug', () => {
    const lines = run('blkparse', '-i', 'story')
      .split('\n')
      .filter(line => /^252,0/.test(line))
    const actions = lines.map(line => line.trim().split(/\s+/)[5])
    const count = (action: string): number => actions.filter(a => a === action).length
    expect(['Q', 'G', 'D', 'C'].map(count)).toEqual([4, 4, 4, 4])
    expect(count('U')).toBe(1)
  })

  test('btt finds the stages of every I/O, and the medium in them', () => {
    run('blkparse', '-i', 'run', '-d', 'run.bin', '-q')
    const text = run('btt', '-i', 'run.bin')
    const stage = (name: string): number[] =>
      new RegExp(`^${name}\\s+(\\S+)\\s+(\\S+)\\s+(\\S+)\\s+(\\d+)`, 'm')
        .exec(text)!
        .slice(1)
        .map(Number)
    for (const name of ['Q2G', 'D2C', 'Q2C']) expect(stage(name)[3]).toBe(IOS)
    // the default medium of virtual time takes 10 us
    expect(stage('D2C')[1]).toBeGreaterThan(8e-6)
    expect(stage('Q2C')[1]).toBeGreaterThan(stage('D2C')[1]!)
  })
})
