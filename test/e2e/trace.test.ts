// phasebit trace, and phasebit run --trace.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
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
    [['--list', '--functions'], /one of --list and --functions, not both/],
    [['--list', 'a.fio'], /trace --list: takes neither scenario nor job file/],
    [['--list=5'], /trace --list: takes no value/],
    [[], /which scenario, or which job file\? phasebit trace --list shows scenarios/],
    [['nullblk-mq-bfq-read'], /unknown scenario 'nullblk-mq-bfq-read'/],
    [['nullblk-mq-irq1-none-read', '--cpus=4'], /unknown option --cpus; the options are --format,/],
    [['nullblk-mq-read', '--format=xml'], /--format xml: must be one of json, graph, perfetto,/],
    [['missing.fio'], /missing\.fio/],
    [['missing.fio', '--format=blktrace'], /--format blktrace: --output BASE is needed/],
    [['--name=a', '--eta=always'], /--eta is for phasebit run: here the output is the trace alone/],
    [['--name=a', '--trace=x'], /--trace is for phasebit run: here it is --format and --output/],
    [['--name=a', '--rw=walk'], /rw=walk/],
  ])('%s: one clear line', async (args, line) => {
    await expect(traceCommand(args)).rejects.toThrow(line)
    await expect(traceCommand(args)).rejects.toThrow(UserError)
  })
})

describe('phasebit trace JOBFILE', () => {
  const words = ['--clock=virtual', '--seed=3']
  const file = join(folder, 'b.fio')
  writeFileSync(file, `${JOB['a.fio']}filename=/dev/nvme0n1\ndirect=1\n`)

  test.each(['graph', 'json', 'perfetto', 'ftrace', 'iolog'])(
    '%s: as run --trace writes it',
    async format => {
      const [one, two] = [join(folder, `one.${format}`), join(folder, `two.${format}`)]
      await succeed([file, ...words, `--trace=${one}`, `--trace-format=${format}`])
      expect(await traceCommand([file, ...words, '--format', format, '--output', two])).toBe(0)
      const text = readFileSync(two, 'utf8')
      expect(text.length).toBeGreaterThan(500)
      expect(text).toBe(readFileSync(one, 'utf8'))
    },
  )

  test('to standard output, and jobs of the command line', async () => {
    const parts: string[] = []
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text, ...rest) => {
      parts.push(String(text))
      const done = rest.at(-1)
      if (typeof done === 'function') (done as () => void)()
      return true
    })
    try {
      const job = [
        '--name=c',
        '--rw=read',
        '--bs=4k',
        '--size=16k',
        '--direct=1',
        '--filename=/dev/nvme0n1',
      ]
      expect(await traceCommand([...job, '--clock=virtual', '--format=iolog'])).toBe(0)
    } finally {
      spy.mockRestore()
    }
    const { actions } = readIolog(parts.join(''), 'log')
    expect(actions.filter(action => 'length' in action).length).toBe(4)
  })

  test('a long run: the last half a million records, and a note that says so', async () => {
    const notes: string[] = []
    const spy = vi.spyOn(process.stderr, 'write').mockImplementation(text => {
      notes.push(String(text))
      return true
    })
    const log = join(folder, 'long')
    try {
      const more = ['--number_ios=90000', '--size=512m', '--format=iolog', '--output', log]
      expect(await traceCommand([file, ...words, ...more])).toBe(0)
    } finally {
      spy.mockRestore()
    }
    const said = /the trace has the last (\d+) of (\d+) records/.exec(notes.join(''))!
    const [kept, all] = said.slice(1).map(Number) as [number, number]
    expect(kept).toBeLessThan(all)
    const { actions } = readIolog(readFileSync(log, 'utf8'), 'log')
    const ios = actions.filter(action => 'length' in action).length
    expect(ios).toBeGreaterThan(0)
    expect(ios).toBeLessThan(90_000)
  })

  test('a place that cannot be written is found before any I/O', async () => {
    const path = join(folder, 'no', 'such')
    for (const format of ['graph', 'blktrace'])
      await expect(traceCommand([file, `--format=${format}`, '--output', path])).rejects.toThrow(
        /cannot write .*: its folder does not exist/,
      )
  })

  test('blktrace: no file of an earlier trace of more CPUs is left to be read with it', async () => {
    const base = join(folder, 'cpus')
    const files = (): number => readdirSync(folder).filter(name => name.startsWith('cpus.')).length
    for (const cpus of [3, 2]) {
      const more = ['--clock=virtual', `--cpus=${cpus}`, '--format=blktrace']
      expect(await traceCommand([file, ...more, '--output', base])).toBe(0)
      expect(files()).toBe(cpus)
    }
  })
})
