// `phasebit run --shard I/N` and `phasebit merge` of the results.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Ended, phasebitHere } from './gate-command.js'

const JOB = `[global]
filename=/dev/nvme0n1
direct=1
ioengine=libaio
rw=randread
bs=4k
size=1m
number_ios=40
[a]
numjobs=3
[b]
rw=randwrite
iodepth=4
`

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-shard-'))
  writeFileSync(join(dir, 'j.fio'), JOB)
})
afterEach(() => rmSync(dir, { recursive: true }))

const phasebit = (...args: string[]): Promise<Ended> => phasebitHere(dir, args)

const run = (shard: string, output: string, ...more: string[]): Promise<Ended> =>
  phasebit(
    ...['run', 'j.fio', '--clock=virtual', '--cpus=2', '--output-format=json'],
    ...[`--shard=${shard}`, `--output=${output}`, ...more],
  )

interface Result {
  readonly jobs: readonly { readonly jobname: string; readonly read: { total_ios: number } }[]
  readonly phasebit: Readonly<Record<string, unknown>>
}

const result = (name: string): Result => JSON.parse(readFileSync(join(dir, name), 'utf8')) as Result

describe('a run dealt out to machines', () => {
  it('is every job once, in order, when merged', async () => {
    for (const i of [2, 1])
      expect(await run(`${i}/2`, `${i}.json`)).toMatchObject({ status: 0, stderr: '' })
    expect(result('1.json').jobs.map(job => job.jobname)).toEqual(['a', 'a'])
    expect(result('2.json').phasebit['shard']).toEqual({ index: 2, count: 2, jobs: [1, 3], of: 4 })
    const merged = await phasebit('merge', '2.json', '1.json', '--output', 'all.json')
    expect(merged).toMatchObject({ status: 0, stderr: '' })
    const all = result('all.json')
    expect(all.jobs.map(job => job.jobname)).toEqual(['a', 'a', 'a', 'b'])
    expect(all.jobs.map(job => job.read.total_ios)).toEqual([40, 40, 40, 0])
    expect(all.phasebit['shards']).toHaveLength(2)
    expect(all.phasebit['clock']).toBe('virtual')
  })

  it('may not miss a shard, have one twice, or be of two runs', async () => {
    await run('1/2', '1.json')
    await run('2/2', '2.json', '--seed=5')
    expect((await phasebit('merge', '1.json')).stderr).toBe('phasebit: shard 2/2 is missing\n')
    expect((await phasebit('merge', '1.json', '1.json')).stderr).toBe(
      'phasebit: shard 1/2 is there twice: 1.json and 1.json\n',
    )
    const other = await phasebit('merge', '1.json', '2.json')
    expect(other).toMatchObject({ status: 64 })
    expect(other.stderr).toBe('phasebit: 2.json: is of another run than 1.json: seed differs\n')
  })

  it('is refused where jobs of two shards belong together', async () => {
    expect(await run('5/5', 'x.json')).toMatchObject({
      status: 64,
      stderr: 'phasebit: --shard=5/5: there are 4 jobs; N is at most that\n',
    })
    expect((await run('1/2', 'x.json', '--group_reporting=1')).stderr).toBe(
      'phasebit: --shard=1/2: a: group_reporting adds up jobs of other shards\n',
    )
    writeFileSync(join(dir, 'j.fio'), `${JOB}wait_for=a\n`)
    expect((await run('1/2', 'x.json')).status).toBe(0)
    expect((await run('2/2', 'x.json')).stderr).toBe(
      'phasebit: --shard=2/2: b waits for a, which runs in another shard\n',
    )
  })
})
