// Forms of a trace: what readers of each need.

import { describe, expect, test } from 'vitest'
import { UserError } from '../../../src/core/errors.js'
import { readBlktrace } from '../../../src/report/blktrace-read.js'
import { readIolog } from '../../../src/report/iolog.js'
import { traceJson, type TraceRecord } from '../../../src/report/trace-json.js'
import { parseScenario, SCENARIOS } from '../../../src/workload/scenario-names.js'
import { runScenario } from '../../../src/workload/scenario-run.js'
import {
  parseTraceFormat,
  traceFiles,
  traceText,
  type WholeTrace,
} from '../../../src/workload/trace-formats.js'

async function whole(name: string): Promise<WholeTrace> {
  const s = parseScenario(name)
  const { config, records, disks } = await runScenario(s)
  return { name, config, notes: [], records, cpus: s.cpus, disks }
}

function step(name: string, depth: number, context = 'io1'): TraceRecord {
  return { kind: 'enter', name, time: 0, cpu: 0, context, depth, fields: {} }
}

describe('blktrace', () => {
  test('one file for each CPU; records of 48 bytes, numbered, in order of time', async () => {
    const trace = await whole('nullblk-cache-irq1-none-wflush')
    const files = traceFiles(trace)
    expect(files.length).toBe(2)
    for (const [cpu, bytes] of files.entries()) {
      let time = -1
      let number = 0
      for (let at = 0; at < bytes.length; at += 48 + bytes.readUInt16LE(at + 46)) {
        expect(bytes.readUInt32LE(at)).toBe(0x65617407)
        expect(bytes.readUInt32LE(at + 4)).toBe(++number)
        expect(Number(bytes.readBigUInt64LE(at + 8))).toBeGreaterThan(time)
        time = Number(bytes.readBigUInt64LE(at + 8))
        expect(bytes.readUInt32LE(at + 40)).toBe(cpu)
      }
      expect(number).toBeGreaterThan(0)
    }
  })

  test('its reader finds the I/O again', async () => {
    const files = traceFiles(await whole('nullblk-mq-irq1-none-batchr4'))
    const replay = readBlktrace(files[1]!, 'trace')
    const ios = replay.actions.filter(action => 'length' in action)
    expect(ios.map(io => [io.action, io.length])).toEqual(Array(4).fill(['read', 4096]))
  })
})

test('iolog: read again, the same I/O', async () => {
  const text = traceText(await whole('nullblk-cache-irq1-none-wflush'), 'iolog')
  const ios = readIolog(text, 'trace').actions.filter(action => 'length' in action)
  expect(ios.map(io => io.action)).toEqual(['write', 'sync'])
})

test('Perfetto: slices of a thread nest, each request begins and ends', async () => {
  const text = traceText(await whole('nullblk-mq-irq1-none-batchr4'), 'perfetto')
  const { traceEvents } = JSON.parse(text) as { traceEvents: Record<string, unknown>[] }
  const of = (ph: string): Record<string, unknown>[] => traceEvents.filter(e => e['ph'] === ph)
  expect(of('b').map(e => e['id'])).toEqual(of('e').map(e => e['id']))
  expect(of('X').every(e => Number(e['dur']) >= 0)).toBe(true)
  expect(of('M').some(e => (e['args'] as { name: string }).name === 'io1')).toBe(true)
})

test('function graph: every brace that opens closes', async () => {
  const text = traceText(await whole('nullblk-mq-depth1-none-batchr4'), 'graph')
  const lines = text.split('\n')
  const opened = lines.filter(line => line.endsWith('{')).length
  expect(opened).toBeGreaterThan(50)
  expect(lines.filter(line => line.endsWith('}')).length).toBe(opened)
})

test('ftrace: an event a line, behind the header that importers look for', async () => {
  const text = traceText(await whole('nullblk-mq-irq1-none-read'), 'ftrace')
  expect(text.startsWith('# tracer: nop\n')).toBe(true)
  expect(text).toMatch(
    / io1-\d+ +\[001\] \.\.\.\. +0\.\d{6}: block_rq_issue: 252,0 R 4096 \(\) 128 \+ 8 \[io1\]\n/,
  )
})

describe('JSON', () => {
  const about = { kernel: '4.19', scenario: 's', config: {}, notes: [] }

  test('groups that repeat stand there once, with the events of the first', () => {
    const pair = [step('a', 0), step('b', 1)]
    const event: TraceRecord = { ...step('e', 0), kind: 'event' }
    const records = [...pair, event, ...pair, event, ...pair, step('c', 0), step('c', 0)]
    const { steps, events } = JSON.parse(traceJson(about, records))
    expect(steps).toEqual([
      { fn: 'a', depth: 0, ctx: 'io1', repeat: 3, span: 2 },
      { fn: 'b', depth: 1 },
      { fn: 'c', depth: 0, repeat: 2 },
    ])
    expect(events.map((e: { at: number }) => e.at)).toEqual([1])
  })

  test('is cut where recordings are, if that is asked for, and says so', () => {
    const event: TraceRecord = { ...step('e', 0), kind: 'event' }
    const records = [step('a', 0), event, step('b', 0), step('c', 0)]
    expect(JSON.parse(traceJson(about, records, 3))).toMatchObject({
      steps: [{ fn: 'a' }, { fn: 'b' }],
      events: [{ event: 'e', at: 0 }],
      notes: ['cut after the first 3 calls and events'],
    })
    expect(JSON.parse(traceJson(about, records, 4))).toMatchObject({ notes: [] })
    expect(JSON.parse(traceJson(about, records)).steps).toHaveLength(3)
  })

  test('what calls handlers of interrupts is left out, and they begin at depth 0', () => {
    const softirq = (fn: string, depth: number): TraceRecord => step(fn, depth, 'softirq')
    const records = [
      ...[softirq('__do_softirq', 0), softirq('run_timer_softirq', 1), softirq('call_timer_fn', 2)],
      ...[softirq('blk_rq_timed_out_timer', 3), softirq('queue_work_on', 4)],
      ...[softirq('call_timer_fn', 2), softirq('laptop_mode_timer_fn', 3)],
      ...[softirq('__do_softirq', 0), softirq('blk_done_softirq', 1), step('a', 2)],
    ]
    const { steps } = JSON.parse(traceJson(about, records))
    expect(steps).toEqual([
      { fn: 'blk_rq_timed_out_timer', depth: 0, ctx: 'softirq' },
      { fn: 'queue_work_on', depth: 1 },
      { fn: 'laptop_mode_timer_fn', depth: 0 },
      { fn: 'blk_done_softirq', depth: 0 },
      { fn: 'a', depth: 2, ctx: 'io1' },
    ])
  })

  test('a group may end in another context than it begins in', () => {
    const irq = step('b', 0, 'hardirq')
    const records = [step('a', 0), irq, step('a', 0), irq]
    const folded = [
      { fn: 'a', depth: 0, ctx: 'io1', repeat: 2, span: 2 },
      { fn: 'b', depth: 0, ctx: 'hardirq' },
    ]
    expect(JSON.parse(traceJson(about, records)).steps).toEqual(folded)
    // Without callers, its first step says in any case where it runs.
    const before = { fn: 'c', depth: 0, ctx: 'io1' }
    expect(JSON.parse(traceJson(about, [step('c', 0), ...records])).steps).toEqual([
      before,
      ...folded,
    ])
    const deeper = [step('c', 0), step('a', 1), irq, step('a', 1), irq]
    expect(JSON.parse(traceJson(about, deeper)).steps).toEqual([
      before,
      { fn: 'a', depth: 1, repeat: 2, span: 2 },
      { fn: 'b', depth: 0, ctx: 'hardirq' },
    ])
  })
})

describe('stories without a recording', () => {
  const entered = async (name: string): Promise<string[]> =>
    (await whole(name)).records.filter(r => r.kind === 'enter').map(r => r.name)

  test('a read waits at the door of a frozen queue', async () => {
    const names = await entered('nullblk-mq-none-freeze')
    const at = (name: string): number => names.indexOf(name)
    expect(at('blk_freeze_queue_start')).toBeGreaterThanOrEqual(0)
    expect(at('blkdev_read_iter')).toBeGreaterThan(at('blk_mq_freeze_queue_wait'))
    expect(at('submit_bio')).toBeGreaterThan(at('blk_mq_unfreeze_queue'))
  })

  test.each(['mq-deadline', 'kyber'])('%s is attached, then asked', async sched => {
    const names = await entered(`nullblk-mq-${sched}-switch`)
    const order = ['elv_iosched_store', 'blk_mq_freeze_queue', 'blk_mq_quiesce_queue']
    order.push('blk_mq_init_sched', 'blk_mq_unfreeze_queue', 'submit_bio')
    const places = order.map(name => names.indexOf(name))
    expect(places).toEqual([...places].sort((a, b) => a - b))
    expect(places.every(place => place >= 0)).toBe(true)
    expect(names.some(name => name.startsWith(sched === 'kyber' ? 'kyber_' : 'dd_'))).toBe(true)
  })
})

describe('names', () => {
  test('the grammar, in any combination', () => {
    const s = parseScenario('nullblk-cache-depth8-irq0-kyber-batchw16-4cpu')
    expect(s).toMatchObject({ kind: 'cache', depth: 8, irqmode: 0, sched: 'kyber', op: 'batchw' })
    expect([s.count, s.cpus]).toEqual([16, 4])
    for (const name of SCENARIOS) expect(parseScenario(name).name).toBe(name)
  })

  test.each([
    'nullblk',
    'nullblk-mq-irq3-none-read',
    'nullblk-mq-cfq-read',
    'nullblk-mq-read-0cpu',
  ])('%s is none', name => expect(() => parseScenario(name)).toThrow(UserError))

  test('of forms', () => {
    expect(() => parseTraceFormat('xml', '--format')).toThrow(
      '--format xml: must be one of json, graph, perfetto, ftrace, blktrace, iolog',
    )
  })
})
