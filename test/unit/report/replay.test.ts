// Reading what a replay is made of: fio's logs of versions 2 and 3, and blktrace binaries.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UserError } from '../../../src/core/errors.js'
import { readIolog, writeIolog } from '../../../src/report/iolog.js'
import { readReplay } from '../../../src/report/replay.js'
import type { ReplayAction } from '../../../src/report/replay-types.js'

const io = (
  timeUs: number,
  action: 'read' | 'write' | 'trim' | 'sync' | 'datasync',
  offset = 0,
  length = 0,
): ReplayAction => ({ timeUs, file: 'f', action, offset, length })

const OPENED: ReplayAction[] = [
  { timeUs: 0, file: 'f', action: 'add' },
  { timeUs: 0, file: 'f', action: 'open' },
]

describe('version 3', () => {
  const move = fc.record({
    timeUs: fc.nat(),
    file: fc.constant('f'),
    action: fc.constantFrom('read' as const, 'write' as const, 'trim' as const),
    offset: fc.maxSafeNat(),
    length: fc.integer({ min: 1, max: 2 ** 32 }),
  })

  test('what is written is read back', () => {
    fc.assert(
      fc.property(fc.array(move, { minLength: 1, maxLength: 30 }), moves => {
        const actions: ReplayAction[] = [...OPENED, ...moves, io(9, 'sync'), io(9, 'datasync')]
        expect(readIolog(writeIolog(actions), 'x.log')).toEqual({ actions, notes: [] })
      }),
    )
  })

  test('the text fio writes', () => {
    const text = writeIolog([...OPENED, io(105.9, 'read', 0, 4096), io(120, 'sync')])
    expect(text).toBe('fio version 3 iolog\n0 f add\n0 f open\n105 f read 0 4096\n120 f sync 0 0\n')
  })

  test('the offset of a sync means nothing', () => {
    const { actions } = readIolog('fio version 3 iolog\n0 f add\n0 f open\n1 f sync 36864 0\n', 'x')
    expect(actions.at(-1)).toEqual(io(1, 'sync'))
  })
})

describe('version 2', () => {
  test('waits add up and become times; those below 100 do not count', () => {
    const text =
      'fio version 2 iolog\r\nf add\nf open\nf wait 500 0\nf read 0 512\n' +
      'f wait 99 0\nf write 512 512\nf wait 100 0\n\nf trim 0 4096\nf close\n'
    const { actions, notes } = readIolog(text, 'two.log')
    expect(actions.slice(2)).toEqual([
      io(500, 'read', 0, 512),
      io(500, 'write', 512, 512),
      io(600, 'trim', 0, 4096),
      { timeUs: 600, file: 'f', action: 'close' },
    ])
    expect(notes).toEqual([
      "two.log: waits are taken as microseconds, as fio's manual says; fio 3.33 takes milliseconds",
    ])
  })
})

describe('refused with file and line', () => {
  const start = 'fio version 3 iolog\n0 f add\n0 f open\n'
  test.each([
    ['', 'f.log:1: not an I/O log'],
    ['rw, 0, 4096\n', 'found "rw, 0, 4096"'],
    ['fio version 3 iolog\n', 'f.log: the log holds no read, write, trim or sync'],
    [`${start}1 f discard 0 4096\n`, 'first line not understood: f.log:4: "1 f discard 0 4096"'],
    [`${start}1 f read 0\n`, 'f.log:4: expected "<us> <file> <action> [<offset> <length>]"'],
    [`${start}one f read 0 4096\n`, 'f.log:4: time is not a whole number: "one"'],
    [`${start}1 f read -4096 4096\n`, 'f.log:4: offset is not a whole number: "-4096"'],
    [`${start}1 f read 0 4k\n`, 'f.log:4: length is not a whole number: "4k"'],
    [`${start}1 f read 0 0\n`, 'f.log:4: read of 0 bytes'],
    [`${start}1 f read\n`, 'f.log:4: read needs an offset and a length'],
    [`${start}1 f wait 500 0\n`, 'f.log:4: wait is not allowed in version 3'],
    [`${start}1 g read 0 4096\n`, 'f.log:4: read of "g", which is not open'],
    [`${start}1 g open\n`, 'f.log:4: open of "g" before its add'],
    [`${start}1 f close\n2 f close\n`, 'f.log:5: close of "f", which is not open'],
    [`${start}1 ${'f'.repeat(257)} add\n`, 'f.log:4: file name of 257 characters; at most 256'],
  ])('%j', (text, message) => {
    expect(() => readIolog(text, 'f.log')).toThrow(UserError)
    expect(() => readIolog(text, 'f.log')).toThrow(message)
  })

  test('a line of more than 4096 characters', () => {
    const text = `${start}1 f read ${' '.repeat(4096)}0 512\n`
    expect(() => readIolog(text, 'f.log')).toThrow('f.log:4: line of 4110 characters')
  })

  test('the message is one line', () => {
    try {
      readIolog(`${start}1 f read 0\n`, 'f.log')
      expect.unreachable()
    } catch (error) {
      expect((error as Error).message).not.toContain('\n')
    }
  })
})

test('an unknown action is skipped with a note when there is other I/O', () => {
  const text =
    'fio version 3 iolog\n0 f add\n0 f open\n1 f discard 0 512\n2 f unlink\n3 f read 0 512\n'
  const { actions, notes } = readIolog(text, 'f.log')
  expect(actions).toHaveLength(3)
  expect(notes.map(note => note.split(' skipped')[0])).toEqual([
    'f.log:4: "1 f discard 0 512"',
    'f.log:5: "2 f unlink"',
  ])
})

interface Record {
  timeNs?: number
  sector?: number
  bytes?: number
  action?: number
  device?: number
  pdu?: number
}

const Q = 1
const READ = 1 << 16
const WRITE = 1 << 17
const FLUSH = 1 << 18
const QUEUE = 1 << 20
const PC = 1 << 25
const NOTIFY = 1 << 26
const DISCARD = 1 << 29

function trace(records: Record[], little = true): Uint8Array {
  const parts = records.map((record, i) => {
    const bytes = new Uint8Array(48 + (record.pdu ?? 0))
    const view = new DataView(bytes.buffer)
    view.setUint32(0, 0x65617407, little)
    view.setUint32(4, i + 1, little)
    view.setBigUint64(8, BigInt(record.timeNs ?? 0), little)
    view.setBigUint64(16, BigInt(record.sector ?? 0), little)
    view.setUint32(24, record.bytes ?? 0, little)
    view.setUint32(28, record.action ?? 0, little)
    view.setUint32(36, record.device ?? 259 << 20, little)
    view.setUint16(46, record.pdu ?? 0, little)
    return bytes
  })
  const total = new Uint8Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    total.set(part, at)
    at += part.length
  }
  return total
}

const FILE = '/dev/block/259:0'

describe('blktrace binaries (trace-formats 1)', () => {
  const records: Record[] = [
    { action: 1 | NOTIFY, pdu: 8 },
    { action: Q | QUEUE | READ, timeNs: 5000, sector: 8, bytes: 4096 },
    { action: 4 | QUEUE | READ, timeNs: 5100, sector: 8, bytes: 4096 },
    { action: Q | QUEUE | WRITE, timeNs: 9000, sector: 2 ** 33, bytes: 512 },
    { action: Q | QUEUE | WRITE | FLUSH, timeNs: 10_000 },
    { action: Q | QUEUE | WRITE | FLUSH, timeNs: 11_000, sector: 1, bytes: 512 },
    { action: Q | QUEUE | DISCARD | WRITE, timeNs: 12_000, sector: 16, bytes: 8192 },
    { action: Q | QUEUE | READ, timeNs: 13_000 },
    { action: Q | QUEUE | READ | PC, timeNs: 14_000, bytes: 4096 },
  ]
  const move = (timeUs: number, action: string, offset = 0, length = 0): object => ({
    timeUs,
    file: FILE,
    action,
    offset,
    length,
  })
  const expected = [
    { timeUs: 0, file: FILE, action: 'add' },
    { timeUs: 0, file: FILE, action: 'open' },
    move(0, 'read', 4096, 4096),
    move(4, 'write', 2 ** 42, 512),
    move(5, 'sync'),
    move(6, 'sync'),
    move(6, 'write', 512, 512),
    move(7, 'trim', 8192, 8192),
  ]

  test.each([true, false])('little endian %s: only queued I/O, flush as sync', little => {
    expect(readReplay(trace(records, little), 't')).toEqual({ actions: expected, notes: [] })
  })

  test('a record that is cut off is dropped, wherever the cut is', () => {
    const whole = trace(records.slice(0, 4))
    for (const cut of [1, 20, 47]) {
      const { actions } = readReplay(whole.subarray(0, whole.length - cut), 't')
      expect(actions).toEqual(expected.slice(0, 3))
    }
  })

  test('records out of order are sorted by time', () => {
    const { actions } = readReplay(trace([records[3], records[1]]), 't')
    expect(actions.slice(2)).toEqual(expected.slice(2, 4))
  })

  test('devices are named by their numbers', () => {
    const { actions } = readReplay(trace([{ ...records[1], device: (253 << 20) | 7 }]), 't')
    expect(actions[2].file).toBe('/dev/block/253:7')
  })

  test('garbage in the middle and a trace without I/O are refused', () => {
    const broken = trace(records.slice(1, 4))
    broken[48] ^= 0xff
    broken[50] ^= 0xff
    expect(() => readReplay(broken, 't')).toThrow('t: byte 48: no blktrace record begins here')
    expect(() => readReplay(trace([records[2]]), 't')).toThrow('t: the trace holds no queued (Q)')
  })
})

test('readReplay refuses an empty file', () => {
  expect(() => readReplay(new Uint8Array(), 'e')).toThrow('e: the file is empty')
  expect(() => readReplay(new Uint8Array([1, 2, 3, 4, 5]), 'e')).toThrow('e:1: not an I/O log')
})
