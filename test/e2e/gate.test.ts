// `phasebit gate` as a shell and a CI server see it: exit status, streams, files.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fioText, type MadeJob } from '../unit/gate/fio-text.js'
import { type Ended, JOB, phasebitHere, phasebitIn, ROOT } from './gate-command.js'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-gate-e2e-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const gate = (...args: string[]): Promise<Ended> => phasebitHere(dir, ['gate', ...args])

function write(name: string, text: string): string {
  writeFileSync(join(dir, name), text)
  return name
}

/** Files of fio with these IOPS. */
function files(name: string, iops: readonly number[], more: MadeJob = {}): string[] {
  return iops.map((value, i) => write(`${name}${i}.json`, fioText([{ iops: value, ...more }])))
}

/** Nothing on standard output, one line on standard error. */
function oneLine(ended: Ended, status: number, line: RegExp): void {
  expect(ended).toMatchObject({ status, stdout: '' })
  expect(ended.stderr.split('\n').length).toBe(2)
  expect(ended.stderr).toMatch(line)
}

describe('files of fio', () => {
  const BASE = [1000, 1002, 998, 1001, 999, 1003]

  it('pass, fail, and are unclear', async () => {
    const base = files('base', BASE)
    const against = (iops: number[], ...more: string[]): Promise<Ended> =>
      gate('--base', ...base, '--head', ...files('head', iops), ...more)
    expect(await against(BASE)).toMatchObject({ status: 0, stderr: '' })
    const slow = await against(BASE.map(value => value * 0.8))
    expect(slow).toMatchObject({ status: 1, stderr: '' })
    expect(slow.stdout).toMatch(
      /^regressed +a: read +iops +1\.000 kIO\/s +800\.\d IO\/s +-20\.0 %/m,
    )
    expect(slow.stdout).toMatch(/nothing is confirmed/)
    const few = await gate('--base', ...base.slice(0, 2), '--head', ...files('few', [990, 1010]))
    expect(few.status).toBe(0)
    expect(few.stdout).toMatch(/^unclear/m)
    expect(
      phasebitIn(dir, ['gate', '--base', ...base, '--head', 'head0.json', '--strict']).status,
    ).toBe(1)
    const strict = await gate('--base', base[0], '--head', ...files('few', [990, 1010]), '--strict')
    expect(strict.status).toBe(2)
  })

  it('are kept as a baseline', async () => {
    const head = files('head', BASE)
    const first = await gate('--head', ...head, '--baseline', 'kept')
    expect(first).toMatchObject({ status: 3, stderr: '' })
    expect(first.stdout).toMatch(/no baseline yet, 6 files stored now/)
    expect(readdirSync(join(dir, 'kept', 'results')).length).toBe(6)
    expect((await gate('--head', ...head, '--baseline', 'kept')).status).toBe(0)
    const slow = files(
      'slow',
      BASE.map(value => value / 2),
    )
    expect((await gate('--head', ...slow, '--baseline', 'kept')).status).toBe(1)
    expect((await gate('--head', ...head, '--baseline', 'other', '--init')).status).toBe(0)
  })

  it('write every form, and tell GitHub', async () => {
    const args = [
      '--base',
      ...files('base', BASE),
      '--head',
      ...files(
        'head',
        BASE.map(v => v / 2),
      ),
    ]
    const outputs = [
      ['--json', 'o.json'],
      ['--junit', 'o.xml'],
      ['--bencher', 'b.json'],
      ['--github-benchmark', 'gh'],
      ['--go-bench', 'go'],
      ['--hyperfine', 'h.json'],
      ['--csv', 'o.csv'],
      ['--summary', 'o.md'],
    ]
    const env = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: join(dir, 'step.md') }
    const { status, stdout } = await phasebitHere(dir, ['gate', ...args, ...outputs.flat()], env)
    expect(status).toBe(1)
    expect(stdout).toMatch(/^::error title=regressed%3A a%3A read::/)
    expect(readFileSync(join(dir, 'step.md'), 'utf8')).toBe(readFileSync(join(dir, 'o.md'), 'utf8'))
    const native = JSON.parse(readFileSync(join(dir, 'o.json'), 'utf8')) as {
      schema: string
      exit_status: number
      results: { head: { samples: number[] } }[]
      fingerprint: { base: object }
    }
    expect(native).toMatchObject({ schema: 'phasebit-gate/1', exit_status: 1 })
    expect(native.results[0].head.samples.length).toBe(6)
    expect(native.fingerprint.base).toHaveProperty('fio version', 'fio-3.33')
    for (const name of [
      'o.xml',
      'b.json',
      'gh.bigger.json',
      'gh.smaller.json',
      'go.base.txt',
      'go.head.txt',
      'h.json',
      'o.csv',
    ])
      expect(existsSync(join(dir, name)), name).toBe(true)
  })

  it('that cannot be used are one line', async () => {
    const [good] = files('good', [1000])
    const text = readFileSync(join(dir, good), 'utf8')
    const against = (name: string, content: string): Promise<Ended> =>
      gate('--base', good, '--head', write(name, content))
    oneLine(await against('cut.json', text.slice(0, 200)), 64, /cut\.json: is cut off/)
    oneLine(await against('empty.json', ''), 64, /empty\.json: is empty/)
    oneLine(await against('foreign.json', '{"a": 1}'), 64, /neither fio's nor the gate's/)
    oneLine(await against('none.json', fioText([{ ios: 0 }])), 64, /not one I\/O/)
    oneLine(
      await against('other.json', text.replace('3.33', '3.36')),
      64,
      /fingerprints differ.*3\.33.*3\.36/,
    )
    oneLine(await gate('--base', good, '--head', 'missing.json'), 64, /missing\.json: no such file/)
    oneLine(await gate('--base', good, '--head', good, '--metric=speed'), 64, /unknown metric/)
  })
})

describe('job files in virtual time', () => {
  it('make a baseline, equal it, differ from it, and accept the difference', async () => {
    write('j.fio', JOB)
    const run = (...more: string[]): Promise<Ended> => gate('j.fio', '--baseline', 'kept', ...more)
    const first = await run()
    expect(first).toMatchObject({ status: 3, stderr: '' })
    expect(first.stdout).toMatch(/no baseline yet, written now/)
    expect(await run()).toMatchObject({ status: 0, stderr: '' })
    const path = join(dir, 'kept', 'j.exact.json')
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace(/"clat_max": \d+/, '"clat_max": 1'))
    const changed = await run('--junit', 'j.xml')
    expect(changed.status).toBe(2)
    expect(changed.stdout).toMatch(/^changed +j\.fio: a: read +clat_max +1 /m)
    expect(readFileSync(join(dir, 'j.xml'), 'utf8')).toMatch(/<failure message="changed"/)
    expect((await run('--update')).status).toBe(0)
    expect(readFileSync(path, 'utf8')).toBe(text)
    expect((await gate('j.fio', '--baseline', 'new', '--init')).status).toBe(0)
  })

  it('refuse another job, other options, and a damaged baseline', async () => {
    write('j.fio', JOB)
    const run = (...more: string[]): Promise<Ended> => gate('j.fio', '--baseline', 'kept', ...more)
    await run()
    oneLine(
      await run('--iodepth=8'),
      64,
      /fingerprints differ: .*options="", this run has options="--iodepth=8"/,
    )
    oneLine(await run('--seed', '4'), 64, /seed="0", this run has seed="4"/)
    write('j.fio', JOB.replace('iodepth=4', 'iodepth=5'))
    oneLine(await run(), 64, /fingerprints differ: .*job file=/)
    write('j.fio', JOB)
    const path = join(dir, 'kept', 'j.exact.json')
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.slice(0, 99))
    oneLine(await run(), 64, /j\.exact\.json: is cut off/)
    writeFileSync(path, text.replace('clat_max', 'speed'))
    oneLine(await run(), 64, /unknown metric "speed"/)
  })
})

describe('what is asked for', () => {
  it.each([
    [[], /nothing to compare/],
    [['j.fio'], /need --baseline DIR/],
    [['none.fio', '--baseline', 'kept'], /none\.fio/],
    [['--head', 'a.json'], /files mode needs what is missing here: --base/],
    [['--base', 'a.json', '--head', 'a.json', '--update'], /--update has no meaning in files mode/],
    [['--base', 'nowhere'], /nowhere: no such folder or tarball, and no version/],
    [['--base', '9.9.9'], /9\.9\.9: not installed/],
    [['--base', '.'], /is no phasebit/],
    [['--calibrate'], /--calibrate needs --baseline DIR/],
    [['--mode=history'], /history mode needs --baseline DIR/],
    [['--mode=exact', '--baseline', 'kept'], /exact mode needs what is missing here: job file/],
    [['j.fio', '--baseline', 'kept', '--clock=real'], /the gate sets this itself/],
    [['j.fio', '--baseline', 'kept', '--metric=iops'], /--metric has no meaning in exact mode/],
  ])('%j is one line', async (args, line) => {
    write('j.fio', JOB)
    oneLine(await gate(...args), 64, line)
  })

  it('is explained', async () => {
    expect((await gate('--help')).stdout).toMatch(/^usage: phasebit gate[\s\S]*exit status/)
    expect((await gate('--list')).stdout).toMatch(/^tags[\s\S]*metrics of files: iops/)
  })
})

describe('two builds in one process', () => {
  it('are measured in turns', async () => {
    const args = ['--base', ROOT, '--head', ROOT, '--bench=tags', '--count=2']
    const { status, stderr } = await gate(
      ...args,
      '--doublings=0',
      '--limit=40',
      '--json',
      'o.json',
    )
    expect(stderr).toBe('')
    expect([0, 1]).toContain(status)
    const { results, fingerprint } = JSON.parse(readFileSync(join(dir, 'o.json'), 'utf8')) as {
      results: { benchmark: string; base: { samples: number[] }; selfCheck: object }[]
      fingerprint: { head: object }
    }
    expect(results.map(result => result.benchmark)).toEqual(['tags'])
    for (const { base, selfCheck } of results) {
      expect(base.samples.length).toBe(2)
      for (const rate of base.samples) expect(rate).toBeGreaterThan(0)
      expect(selfCheck).not.toBeNull()
    }
    expect(fingerprint.head).toHaveProperty('Node version', process.version)
  })

  it('need benchmarks that are there', async () => {
    oneLine(
      await gate('--base', ROOT, '--bench=speed'),
      64,
      /--bench=speed: unknown benchmark; there are tags/,
    )
  })
})

describe('two builds in processes of their own', () => {
  it('run job files', async () => {
    write('j.fio', JOB)
    const args = ['--base', ROOT, 'j.fio', '--count=2', '--doublings=0', '--json', 'o.json']
    const good = await gate(...args, '--loops=4', '--fio-json=runs')
    expect(good.stderr).toBe('')
    expect([0, 1]).toContain(good.status)
    const kept = readdirSync(join(dir, 'runs')).sort()
    expect(kept).toContain('base-001.json')
    expect(kept).toContain('head-003.json')
    const files = kept.map(name => join('runs', name))
    const side = (name: string): string[] => files.filter(file => file.includes(name))
    const again = await gate('--base', ...side('base'), '--head', ...side('head'))
    expect([0, 1]).toContain(again.status)
    const { mode, results } = JSON.parse(readFileSync(join(dir, 'o.json'), 'utf8')) as {
      mode: string
      results: { benchmark: string; notes: string[] }[]
    }
    expect(mode).toBe('process')
    expect(results.map(result => result.benchmark)).toEqual(['a: read', 'a: write'])
    expect(results[0].notes.join()).toMatch(/median of the pairs/)
  })
})
