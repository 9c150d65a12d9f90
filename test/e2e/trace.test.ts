// phasebit trace, and phasebit run --trace.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { traceCommand } from '../../src/cli/trace.js'
import { UserError } from '../../src/core/errors.js'
import { readIolog } from '../../src/report/iolog.js'
import { CLOCKS, succeed } from './run.js'

const folder = mkdtempSync(join(tmpdir(), 'phasebit-trace-'))
afterAll(() => rmSync(folder, { recursive: true }))

const JOB = {
  'a.fio': '[a]\nrw=randwrite\nbs=4k\nsize=1m\nnumber_ios=20\nioengine=libaio\niodepth=4\n',
}

describe.each(CLOCKS)('run --trace, %s', clock => {
  const run = async (format: string): Promise<string> => {
    const path = join(folder, `${clock}.${format}`)
    await succeed(['a.fio', `--clock=${clock}`, `--trace=${path}`, `--trace-format=${format}`], JOB)
    return path
  }

  test('json: every I/O from submit_bio to blk_mq_put_tag', async () => {
    const trace = JSON.parse(readFileSync(await run('json'), 'utf8')) as {
      steps: { fn: string; ctx?: string; repeat?: number }[]
    }
    const names = new Set(trace.steps.map(step => step.fn))
    const wanted = [
      'submit_bio',
      'blk_mq_get_tag',
      'nvme_queue_rq',
      'nvme_complete_rq',
      'bio_endio',
    ]
    for (const name of [...wanted, 'blk_mq_put_tag']) expect(names).toContain(name)
    expect(trace.steps[0]!.ctx).toBe('a')
  })

  test('iolog: what was written', async () => {
    const { actions } = readIolog(readFileSync(await run('iolog'), 'utf8'), 'log')
    const ios = actions.filter(action => 'length' in action)
    expect(ios.map(io => [io.action, io.length])).toEqual(Array(20).fill(['write', 4096]))
  })

  test('blktrace: a file for each CPU', async () => {
    await run('blktrace')
    const files = readdirSync(folder).filter(name => name.startsWith(`${clock}.blktrace.blktrace.`))
    expect(files.length).toBeGreaterThan(0)
  })
})

test('virtual time: the same seed gives the same trace', async () => {
  const texts: string[] = []
  for (const name of ['one', 'two']) {
    const path = join(folder, name)
    await succeed(['a.fio', '--clock=virtual', `--trace=${path}`, '--trace-format=perfetto'], JOB)
    texts.push(readFileSync(path, 'utf8'))
  }
  expect(texts[0]).toBe(texts[1])
})

test('with a scheduler: the functions of both halves, nested in the job that calls them', async () => {
  const path = join(folder, 'sched')
  const device = '--device=null_blk,size=64,sched=mq-deadline'
  const job = { 'a.fio': `${JOB['a.fio']}filename=/dev/nullb0\n` }
  await succeed(['a.fio', '--clock=virtual', device, `--trace=${path}`, '--trace-format=json'], job)
  const { steps } = JSON.parse(readFileSync(path, 'utf8')) as {
    steps: { fn: string; ctx?: string; depth: number }[]
  }
  let ctx = ''
  const who = steps.map(step => ({ ...step, ctx: (ctx = step.ctx ?? ctx) }))
  const inserted = who.find(step => step.fn === 'dd_insert_requests')!
  expect(inserted.ctx).toBe('a')
  expect(inserted.depth).toBeGreaterThan(1)
  expect(who.map(step => step.fn)).toContain('null_queue_rq')
})

describe('phasebit trace', () => {
  test.each([
    [['j.fio'], /j\.fio: is no scenario; a job file is traced by phasebit run j\.fio --trace FILE/],
    [['--list', '--functions'], /one of --list and --functions, not both/],
    [['nullblk-mq-bfq-read'], /unknown scenario 'nullblk-mq-bfq-read'/],
  ])('%s: one clear line', async (args, line) => {
    await expect(traceCommand(args)).rejects.toThrow(line)
    await expect(traceCommand(args)).rejects.toThrow(UserError)
  })
})
