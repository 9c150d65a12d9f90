// `phasebit sweep` and `phasebit merge` as a shell sees them: resumed, killed, sharded.
import { spawn } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CLI, type Ended, JOB, phasebitHere } from './gate-command.js'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-sweep-e2e-'))
  writeFileSync(join(dir, 'j.fio'), JOB)
})
afterEach(() => rmSync(dir, { recursive: true }))

const phasebit = (...args: string[]): Promise<Ended> => phasebitHere(dir, args)

function sweepFile(more: object = {}): void {
  const sweep = {
    jobs: ['j.fio'],
    options: { clock: 'virtual' },
    grid: { iodepth: [1, 2, 4] },
    ...more,
  }
  writeFileSync(join(dir, 's.json'), JSON.stringify(sweep))
}

function points(folder = 's.results'): string[] {
  return readdirSync(join(dir, folder, 'points')).filter(name => !name.startsWith('.'))
}

const results = (name = 's.results/results.jsonl'): string => readFileSync(join(dir, name), 'utf8')

/** An environment in which every run of a point first does something; `before` is how many there were before it. */
function hooked(body: string): NodeJS.ProcessEnv {
  const file = join(dir, 'hook.mjs')
  writeFileSync(
    file,
    `import { appendFileSync, existsSync, statSync } from 'node:fs'
if (process.argv[2] === 'run') {
  const count = ${JSON.stringify(join(dir, 'count'))}
  const before = existsSync(count) ? statSync(count).size : 0
  appendFileSync(count, '.')
  ${body}
}
`,
  )
  return { ...process.env, NODE_OPTIONS: `--import=${file}` }
}

/** The third run of a point waits until whoever started it is gone. */
const THIRD_WAITS = `
  const parent = process.ppid
  const word = new Int32Array(new SharedArrayBuffer(4))
  while (before === 2 && process.ppid === parent) Atomics.wait(word, 0, 0, 20)
  if (process.ppid !== parent) process.exit(1)`

/** The third run has begun. */
async function third(): Promise<void> {
  const count = join(dir, 'count')
  while (!existsSync(count) || statSync(count).size < 3)
    await new Promise(resolve => setTimeout(resolve, 5))
}

describe('phasebit sweep', () => {
  it('runs each point once, and skips what is finished', async () => {
    sweepFile()
    const first = await phasebit('sweep', 's.json')
    expect(first).toMatchObject({ status: 0, stderr: '' })
    expect(first.stdout).toBe(
      `3 points, 0 of them done before: ${join('s.results', 'results.jsonl')}\n`,
    )
    const before = points().map(name => statSync(join(dir, 's.results', 'points', name)).mtimeMs)
    const text = results()
    expect(text.trimEnd().split('\n').length).toBe(4)
    expect((await phasebit('sweep', 's.json')).stdout).toMatch(/^3 points, 3 of them done before/)
    expect(points().map(name => statSync(join(dir, 's.results', 'points', name)).mtimeMs)).toEqual(
      before,
    )
    expect(results()).toBe(text)
  })

  it('goes on when points are added, and repeats what was lost', async () => {
    sweepFile()
    await phasebit('sweep', 's.json')
    const whole = results()
    rmSync(join(dir, 's.results', 'points', points()[1]))
    expect((await phasebit('sweep', 's.json')).stdout).toMatch(/^3 points, 2 of them done before/)
    expect(results()).toBe(whole)
    sweepFile({ grid: { iodepth: [1, 2, 4, 8] } })
    expect((await phasebit('sweep', 's.json')).stdout).toMatch(/^4 points, 3 of them done before/)
  })

  it('is resumed after it was killed, with the same results', async () => {
    sweepFile({ grid: { iodepth: [1, 2, 3, 4] } })
    await phasebit('sweep', 's.json', '--output', 'whole')
    const child = spawn(process.execPath, [CLI, 'sweep', 's.json', '--workers', '1'], {
      cwd: dir,
      stdio: 'ignore',
      env: hooked(THIRD_WAITS),
    })
    const ended = new Promise(resolve => child.once('close', resolve))
    await third()
    child.kill('SIGKILL')
    await ended
    expect(points().length).toBe(2)
    const again = await phasebit('sweep', 's.json')
    expect(again.status).toBe(0)
    expect(again.stdout).toMatch(/^4 points, 2 of them done before/)
    expect(results()).toBe(results('whole/results.jsonl'))
  })

  it('runs a point again whose worker was killed, and has every point once', async () => {
    sweepFile({ grid: { iodepth: [1, 2, 3, 4] } })
    await phasebit('sweep', 's.json', '--output', 'whole')
    const env = hooked('if (before === 1 || before === 2) process.kill(process.pid, "SIGKILL")')
    const child = spawn(process.execPath, [CLI, 'sweep', 's.json', '--workers', '1'], {
      cwd: dir,
      stdio: 'ignore',
      env,
    })
    expect(await new Promise(resolve => child.once('close', resolve))).toBe(0)
    expect(statSync(join(dir, 'count')).size).toBe(6)
    expect(points().length).toBe(4)
    expect(results()).toBe(results('whole/results.jsonl'))
  })

  it('ends by a signal with what is done, and says how to go on', async () => {
    sweepFile({ grid: { iodepth: [1, 2, 3, 4] } })
    const child = spawn(process.execPath, [CLI, 'sweep', 's.json', '--workers', '1'], {
      cwd: dir,
      env: hooked(THIRD_WAITS),
    })
    let text = ''
    child.stderr.on('data', (data: Buffer) => (text += data.toString()))
    const ended = new Promise(resolve => child.once('close', resolve))
    await third()
    child.kill('SIGTERM')
    expect(await ended).toBe(1)
    expect(text).toMatch(/^phasebit: 2 of 4 points are not done; the same command goes on\n$/)
  })

  it('reports points that fail, and runs the others', async () => {
    // reads end in an error that no retry removes
    sweepFile({ grid: { device: ['nvme,size=64M,fault=status:0x4281/op:read', 'nvme,size=64M'] } })
    const { status, stdout, stderr } = await phasebit('sweep', 's.json')
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/^phasebit: point 0 .*a: /)
    expect(stderr).toMatch(/1 of 2 points are not done/)
    expect(points().length).toBe(1)
  })

  it('refuses before it runs anything', async () => {
    sweepFile({ grid: { iodepth: [1, 'x'] } })
    const { status, stderr } = await phasebit('sweep', 's.json')
    expect(status).toBe(64)
    expect(stderr).toMatch(/^phasebit: s\.json: point \{"iodepth":"x"\}: .*\n$/)
    expect(readdirSync(dir).sort()).toEqual(['j.fio', 's.json'])
    expect((await phasebit('sweep')).status).toBe(64)
    expect((await phasebit('sweep', 's.json', '--shard', '3/2')).status).toBe(64)
    expect((await phasebit('sweep', 's.json', '--wrokers', '3')).status).toBe(64)
    expect((await phasebit('sweep', 'none.json')).stderr).toBe(
      'phasebit: none.json: no such file\n',
    )
  })

  it('lists its points', async () => {
    sweepFile()
    const lines = (await phasebit('sweep', 's.json', '--dry-run', '--shard', '1/2')).stdout.split(
      '\n',
    )
    expect(lines[0]).toMatch(/^[0-9a-f]{32} \{"iodepth":1\} seed 0$/)
    expect(lines.length).toBe(3)
  })
})

describe('phasebit merge', () => {
  it('makes of shards what the whole sweep is', async () => {
    sweepFile({ grid: { iodepth: [1, 2] }, seeds: [1, 2] })
    await phasebit('sweep', 's.json', '--output', 'whole')
    for (const shard of ['1/2', '2/2'])
      expect(
        (await phasebit('sweep', 's.json', '--shard', shard, '--output', 'parts')).status,
      ).toBe(0)
    expect(await phasebit('merge', 'parts', '--output', 'm.jsonl')).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    })
    expect(results('m.jsonl')).toBe(results('whole/results.jsonl'))
    expect(results('m.jsonl').trimEnd().split('\n').at(-1)).toMatch(/^\{"merged":\[2,3\],/)
    const one = join('parts', 'results.1-of-2.jsonl')
    expect(await phasebit('merge', one)).toMatchObject({
      status: 64,
      stderr: 'phasebit: shard 2/2 is missing\n',
    })
    expect((await phasebit('merge', 'parts', one)).stderr).toMatch(/shard 1\/2 is there twice/)
    expect((await phasebit('merge')).status).toBe(64)
    expect((await phasebit('merge', 'nothing')).stderr).toBe(
      'phasebit: nothing: no such file or folder\n',
    )
  })

  it('is explained', async () => {
    expect((await phasebit('merge', '--help')).stdout).toMatch(/^usage: phasebit merge/)
    expect((await phasebit('sweep', '--help')).stdout).toMatch(/^usage: phasebit sweep/)
  })
})
