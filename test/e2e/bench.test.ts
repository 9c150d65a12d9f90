// `phasebit bench` as a user types it, and its page in a real browser.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { installed, requireInCi } from '../unit/report/fio-tool.js'
import { ROOT } from '../tidy/files.js'

const place = mkdtempSync(join(tmpdir(), 'phasebit-bench-'))
afterAll(() => rmSync(place, { recursive: true, force: true }))

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const cli = join(ROOT, 'dist', 'lib', 'cli.js')
  return spawnSync(process.execPath, [cli, 'bench', ...args], { cwd: place, encoding: 'utf8' })
}

const SMALL = ['--service=5,50', '--depth=1,4', '--cpus=1', '--ios=100']

describe('phasebit bench probe', () => {
  test('brings up a controller of so many queues and says how long it took', () => {
    const { status, stdout } = bench('probe', '--queues=3', '--json=probe.json')
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^probe to LIVE, 3 queues: [\d.]+ ms of this host, .* of virtual time\n$/,
    )
    const json = JSON.parse(readFileSync(join(place, 'probe.json'), 'utf8')) as { queues: number }
    expect(json.queues).toBe(3)
  })
})

describe('phasebit bench poll-vs-irq', () => {
  test('prints a row for each point and writes JSON and a page', () => {
    const { status, stdout } = bench('poll-vs-irq', ...SMALL, '--json=p.json', '--html=p.html')
    expect(status).toBe(0)
    expect(stdout.split('\n').filter(line => / (looks|entries)$/.test(line))).toHaveLength(16)
    expect(stdout).toContain('1 CPUs, depth 1: equal CPU time at')
    const json = JSON.parse(readFileSync(join(place, 'p.json'), 'utf8')) as { points: object[] }
    expect(json.points).toHaveLength(16)
    const page = readFileSync(join(place, 'p.html'), 'utf8')
    expect(page).not.toMatch(/(src|href)="/)
    expect(page).not.toMatch(/fetch\(|XMLHttpRequest|@import|url\(/)
  })

  test('runs in real time, on a thread of the device', () => {
    const { status, stdout, stderr } = bench(
      ...['poll-vs-irq', '--clock=real', '--service=20', '--depth=4', '--ios=200'],
      ...['--mode=poll,irq'],
    )
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout.split('\n').filter(line => / (looks|entries)$/.test(line))).toHaveLength(2)
  })

  test.each([
    [[], 'which one'],
    [['fast'], "no benchmark 'fast'"],
    [['poll-vs-irq', '--depth=0'], '--depth=0'],
    [['poll-vs-irq', '--mode=spin'], 'poll, hybrid, irq, coalesce'],
    [['poll-vs-irq', '--mode=irq,coalesce:8/50us'], '100us to 25500us in steps of 100'],
    [['poll-vs-irq', '--clock=moon'], 'real and virtual'],
    [['poll-vs-irq', '--nonsense'], '--nonsense'],
    [['probe', '--queues=65'], 'from 1 to 64'],
    [['probe', '--cpus=2'], '--queues and --json'],
  ])('%j is one line and exit status 64', (args, text) => {
    const { status, stderr } = bench(...args)
    expect(status).toBe(64)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain(text)
  })

  test('an output that cannot be written leaves nothing behind', () => {
    const { status } = bench('poll-vs-irq', ...SMALL, '--json=q.json', '--html=/no/such/q.html')
    expect(status).toBe(1)
    expect(existsSync(join(place, 'q.json'))).toBe(false)
  })
})

test('phasebit bench mq-vs-sq prints a row for each number of CPUs', () => {
  const { status, stdout } = bench('mq-vs-sq', '--cpus=1,2', '--ios=200', '--json=m.json')
  expect(status).toBe(0)
  expect(stdout.trim().split('\n')).toHaveLength(3)
  const json = JSON.parse(readFileSync(join(place, 'm.json'), 'utf8')) as { points: object[] }
  expect(json.points).toHaveLength(4)
  expect(bench('mq-vs-sq', '--html=x').status).toBe(64)
})

const chromium = installed('chromium')
requireInCi({ chromium })

test.skipIf(!chromium)('a browser draws the plots of the page, from disk', () => {
  expect(bench('poll-vs-irq', ...SMALL, '--html=r.html').status).toBe(0)
  const dom = execFileSync(
    'chromium',
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=5000'],
      ...[`--user-data-dir=${join(place, 'profile')}`, '--dump-dom', `file://${place}/r.html`],
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 26 },
  )
  expect(dom).toContain('data-plots="3"')
  expect(dom.match(/<tr>/g)!.length).toBeGreaterThan(16)
})
