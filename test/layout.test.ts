// The rules of assembly/layout.ts, read from its comments: `type writer` behind each field.
//
// Fields of a block do not overlap, are aligned to their type, and end within the block. Words with
// different writers (S, D, A) stand on different cache lines; where they do not, the reason stands here.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as L from '../assembly/layout.js'
import * as N from '../assembly/nvme.js'

const LINE = 64
const BYTES: Readonly<Record<string, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
}

interface Field {
  readonly name: string
  readonly at: number
  readonly bytes: number
  readonly align: number
  readonly writer: string
}

const values = L as unknown as Readonly<Record<string, number>>

/** Blocks inside blocks: their fields carry no type, their length is known here. */
const NESTED: Readonly<Record<string, number>> = {
  SBQ_WS: L.SBQ_WAIT_QUEUES * L.WS_SIZE,
  TAGS_BITMAP: L.SBQ_SIZE,
  TAGS_BRESERVED: L.SBQ_SIZE,
  IOU_BIO: L.BIO_BYTES,
  JOB_STATS: 4 * L.STAT_SIZE,
  JOB_GEN: L.JG_SIZE,
  JOB_VER: L.JV_SIZE,
  STAT_CLAT: L.LS_SIZE,
  STAT_SLAT: L.LS_SIZE,
  STAT_LAT: L.LS_SIZE,
  PR_STAT: L.LS_SIZE,
  JG_FILE0: L.FL_SIZE,
  FL_DIST: 3 * L.DS_SIZE,
}

/** Words that mean different things at different times. */
const UNION = new Set(['RQ_ELV0', 'RQ_ELV1'])

/** A field behind the block: as many as the block says. */
const TRAILING = new Set(['PT_AT'])

/** Atomic words that stand beside other writers' words, and why that costs nothing. */
const SHARED_LINE: Readonly<Record<string, string>> = {
  M_JIFFIES: 'its neighbours are written in virtual time only, by one thread',
  RQ_STATE: "written by the queue's owner; atomic for TypeScript's timeout scan on the same thread",
  CTX_LOCK: 'taken around the list beside it',
  HC_NR_ACTIVE: 'changes only when several disks share the tags',
  HC_WAIT_INDEX: 'changes only when a task is about to sleep',
  HC_STATE: 'changes when a queue is stopped or marked for restart',
  HC_SLOW_LOCK: 'taken around the lists beside it',
  DEV_LOCK: 'taken around the unit table beside it',
  JOB_STATE: 'written from outside only to start a job',
  JOB_IODEPTH: 'lowered a few times a second by latency_target',
  JOB_RECORD: 'changes once, at the end of the ramp',
  JOB_STOP: 'changes once',
}

function parse(file: string): Field[] {
  const text = readFileSync(fileURLToPath(new URL(`../assembly/${file}`, import.meta.url)), 'utf8')
  const line =
    /^export const (\w+) = (\d+)[ \t]*\/\/[ \t]*(?:(\d+) x )?([uif]\d+)(?: x (\d+))?[ \t]+([ISDA])\b/gm
  const typed = [...text.matchAll(line)].map(([, name, at, before, type, after, writer]) => {
    const align = BYTES[type!]!
    const bytes = align * Number(before ?? after ?? 1)
    return { name: name!, at: Number(at), bytes, align, writer: writer! }
  })
  const nested = Object.entries(NESTED).map(([name, bytes]) => {
    return { name, at: values[name]!, bytes, align: 8, writer: 'nested' }
  })
  return [...typed, ...nested]
}

function blocksOf(fields: readonly Field[]): [prefix: string, fields: Field[]][] {
  const blocks = new Map<string, Field[]>()
  for (const field of fields) {
    const prefix = field.name.slice(0, field.name.indexOf('_'))
    const block = blocks.get(prefix) ?? []
    block.push(field)
    blocks.set(prefix, block)
  }
  for (const block of blocks.values()) block.sort((a, b) => a.at - b.at)
  return [...blocks]
}

function sizeOf(prefix: string): number {
  return prefix === 'BIO' ? L.BIO_BYTES : values[`${prefix}_SIZE`]!
}

const fields = parse('layout.ts')
const blocks = blocksOf(fields)

describe('assembly/layout.ts', () => {
  it('is read: all blocks of the core are found, with their fields', () => {
    const found = new Set(blocks.map(([prefix]) => prefix))
    for (const prefix of 'M CPU SBQ TAGS RQ BIO CTX HC Q NQ IRQ DEV NS DSQ DCQ ST POOL EVQ EV RING IOU JOB STAT LS LOG JG JV'.split(
      ' ',
    )) {
      expect(found, prefix).toContain(prefix)
    }
    expect(fields.length).toBeGreaterThan(350)
  })

  it('is in agreement with itself: the numbers in the text are the values of the module', () => {
    for (const field of fields) expect(values[field.name], field.name).toBe(field.at)
  })

  it.each(blocks)(
    '%s: fields do not overlap, are aligned, and end within the block',
    (prefix, block) => {
      const size = sizeOf(prefix)
      expect(size, `${prefix}_SIZE`).toBeGreaterThan(0)
      let end = 0
      for (const field of block) {
        expect(field.at % field.align, `${field.name} is not aligned`).toBe(0)
        if (UNION.has(field.name) || TRAILING.has(field.name)) continue
        expect(field.at, `${field.name} overlaps the field before it`).toBeGreaterThanOrEqual(end)
        end = field.at + field.bytes
      }
      expect(end, `${prefix} is longer than its size`).toBeLessThanOrEqual(size)
    },
  )

  it.each(blocks)('%s: words with different writers stand on different lines', (_, block) => {
    const lines = new Map<number, Map<string, string[]>>()
    for (const field of block) {
      if (field.writer === 'I' || field.writer === 'nested' || SHARED_LINE[field.name]) continue
      for (let line = Math.floor(field.at / LINE); line * LINE < field.at + field.bytes; line++) {
        const writers = lines.get(line) ?? new Map<string, string[]>()
        writers.set(field.writer, [...(writers.get(field.writer) ?? []), field.name])
        lines.set(line, writers)
      }
    }
    for (const [line, writers] of lines) {
      const names = [...writers].map(([writer, list]) => `${writer}: ${list.join(' ')}`)
      expect(names.length, `line ${line} has ${names.join('; ')}`).toBe(1)
    }
  })

  it('lists no exception that is not needed any more', () => {
    for (const name of Object.keys(SHARED_LINE)) {
      const field = fields.find(f => f.name === name)
      expect(field?.writer, name).toBe('A')
      const [, block] = blocks.find(([, b]) => b.includes(field!))!
      const line = Math.floor(field!.at / LINE)
      const others = block.filter(f => Math.floor(f.at / LINE) === line && 'SD'.includes(f.writer))
      expect(others.length, `${name} has no other writer beside it`).toBeGreaterThan(0)
    }
  })

  it('gives blocks that different threads write side by side whole lines', () => {
    for (const size of [
      L.CPU_SIZE,
      L.CTX_SIZE,
      L.HC_SIZE,
      L.NQ_SIZE,
      L.DSQ_SIZE,
      L.DCQ_SIZE,
      L.JOB_SIZE,
      L.RQ_SIZE,
      L.SBW_SIZE,
      L.SBQ_HINT_SIZE,
      L.WS_SIZE,
      L.DEV_SIZE,
    ]) {
      expect(size % LINE).toBe(0)
    }
  })
})

describe('assembly/nvme.ts', () => {
  it('has entries of the sizes of the specification, with fields inside them', () => {
    expect([N.SQE_BYTES, N.CQE_BYTES, N.DSM_RANGE_BYTES]).toEqual([64, 16, 16])
    expect(N.SQE_CDW15 + 4).toBe(N.SQE_BYTES)
    expect(N.CQE_DW3 + 4).toBe(N.CQE_BYTES)
    expect(N.SQE_PRP2 + 8).toBe(N.SQE_CDW10)
  })

  it('has queue flags and request flags that are different bits', () => {
    const entries = Object.entries(N as unknown as Record<string, number>)
    for (const prefix of ['QUEUE_FLAG_', 'RQF_', 'NVME_CMD_']) {
      const all = entries.filter(([name]) => name.startsWith(prefix)).map(([, value]) => value)
      expect(all.length).toBeGreaterThan(3)
      expect(new Set(all).size).toBe(all.length)
    }
  })
})
