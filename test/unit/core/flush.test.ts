// Flush sequences, as the device sees them (blk-timers 7.2 policy, 7.5 when a flush is issued, 7.8 order, 7.9 edge cases).

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import { blk_flush_policy } from '../../../src/block/blk-flush.js'
import type { FaultConfig } from '../../../src/machine/machine.js'
import { Stepped } from './stepped.js'

const { REQ_OP_READ: READ, REQ_OP_WRITE: WRITE, REQ_FUA: FUA, REQ_PREFLUSH: PREFLUSH } = N
const NAMES: Readonly<Record<number, string>> = {
  [N.NVME_CMD_FLUSH]: 'FLUSH',
  [N.NVME_CMD_WRITE]: 'WRITE',
  [N.NVME_CMD_READ]: 'READ',
}

/** A host whose drive has a volatile cache, and FUA or not. */
function cached(fua: boolean, faults: readonly FaultConfig[] = [], cpus = 1): Stepped {
  const host = new Stepped({ wc: true, depth: 32, queues: 1, faults }, { cpus })
  const flags = host.view.u32(host.disk.q + L.Q_FLAGS)
  if (!fua) host.view.setU32(host.disk.q + L.Q_FLAGS, flags & ~(1 << N.QUEUE_FLAG_FUA))
  return host
}

/** What the device saw, such as `WRITE+FUA@80`. */
function seen(host: Stepped): string[] {
  return host.sent.map(c => {
    const name = NAMES[c.opcode] ?? String(c.opcode)
    return c.opcode === N.NVME_CMD_FLUSH ? name : `${name}${c.fua ? '+FUA' : ''}@${c.slba * 8}`
  })
}

/** Everything ends; the statuses, in order. */
function settle(host: Stepped): number[] {
  host.settle()
  expect(host.machine.books().problems).toEqual([])
  return host.ended().map(e => e.status)
}

describe('the policy (7.2)', () => {
  const WC = 1 << N.QUEUE_FLAG_WC
  const CAP = 1 << N.QUEUE_FLAG_FUA
  const [PRE, DATA, POST] = [1, 2, 4]
  it.each([
    // bytes, queue, flags, steps
    [0, 0, PREFLUSH, 0],
    [0, WC, PREFLUSH, PRE],
    [0, WC, FUA, POST],
    [0, WC | CAP, FUA, 0],
    [0, WC, PREFLUSH | FUA, PRE | POST],
    [0, WC | CAP, PREFLUSH | FUA, PRE],
    [4096, 0, 0, DATA],
    [4096, 0, PREFLUSH | FUA, DATA],
    [4096, WC, PREFLUSH, PRE | DATA],
    [4096, WC, FUA, DATA | POST],
    [4096, WC | CAP, FUA, DATA],
    [4096, WC, PREFLUSH | FUA, PRE | DATA | POST],
    [4096, WC | CAP, PREFLUSH | FUA, PRE | DATA],
  ])('%i bytes, queue %i, flags %i: steps %i', (bytes, queue, flags, steps) => {
    expect(blk_flush_policy(queue, WRITE | flags, bytes)).toBe(steps)
  })
})

describe('one bio (7.8)', () => {
  it.each([
    ['an empty flush', true, PREFLUSH, 0, ['FLUSH']],
    ['FUA that the drive has', true, FUA, 4096, ['WRITE+FUA@80']],
    ['FUA that it has not', false, FUA, 4096, ['WRITE@80', 'FLUSH']],
    ['PREFLUSH', true, PREFLUSH, 4096, ['FLUSH', 'WRITE@80']],
    ['both, with FUA', true, PREFLUSH | FUA, 4096, ['FLUSH', 'WRITE+FUA@80']],
    ['both, without', false, PREFLUSH | FUA, 4096, ['FLUSH', 'WRITE@80', 'FLUSH']],
    ['both, empty, without', false, PREFLUSH | FUA, 0, ['FLUSH', 'FLUSH']],
    ['FUA alone, empty, with', true, FUA, 0, []],
  ])('%s', (_, fua, flags, bytes, wanted) => {
    const host = cached(fua)
    host.submit(host.bio(WRITE | flags, 80, bytes))
    expect(settle(host)).toEqual([0])
    expect(seen(host)).toEqual(wanted)
    expect(host.view.load(host.queue.hctx + L.HC_GATE)).toBe(0)
  })

  it('ends only when the last step has', () => {
    const host = cached(false)
    host.submit(host.bio(WRITE | PREFLUSH | FUA, 80, 4096))
    for (const step of [1, 2, 3]) {
      expect(host.ended()).toEqual([])
      expect(host.fetch()).toBe(1)
      expect(host.sent).toHaveLength(step)
      host.reap()
    }
    host.slow()
    expect(host.ended()).toHaveLength(1)
  })

  it('takes the tag of the write for its flushes, and gives it back once', () => {
    const host = cached(false)
    const tag = host.submit(host.bio(WRITE | PREFLUSH | FUA, 80, 4096))
    settle(host)
    expect(host.sent.map(c => c.cid)).toEqual([tag, tag, tag])
    expect(host.held()).toBe(0)
  })

  it('keeps the data of a flushed write', () => {
    const host = cached(false)
    const write = host.bio(WRITE | PREFLUSH | FUA, 80, 65536)
    host.bytes(host.view.u32(write + L.BIO_DATA), 65536).fill(0x3c)
    host.submit(write)
    settle(host)
    const read = host.bio(READ, 80, 65536)
    host.submit(read)
    settle(host)
    const data = host.bytes(host.view.u32(read + L.BIO_DATA), 65536)
    expect(data.every(byte => byte === 0x3c)).toBe(true)
  })
})

describe('many (7.5, 7.9)', () => {
  const flush = (host: Stepped, cpu = 0) => host.submit(host.bio(WRITE | PREFLUSH, 0, 0), cpu)

  it('flushes that arrive while one runs are served by one more', () => {
    const host = cached(true)
    flush(host)
    host.slow()
    for (let i = 0; i < 7; i++) flush(host)
    host.slow()
    expect(host.fetch()).toBe(1)
    expect(settle(host)).toEqual(Array(8).fill(0))
    expect(seen(host)).toEqual(['FLUSH', 'FLUSH'])
  })

  it('plain I/O does not wait for a flush', () => {
    const host = cached(true)
    flush(host)
    host.submit(host.bio(READ, 80, 4096))
    host.slow()
    expect(host.fetch()).toBe(2)
    expect(seen(host)).toEqual(['FLUSH', 'READ@80'])
    expect(settle(host)).toHaveLength(2)
  })

  it('a flush that fails fails all who waited for it, and their data are not written', () => {
    const host = cached(false, [
      { opcode: N.NVME_CMD_FLUSH, nth: 1, action: 'status', value: 0x4006 },
    ])
    host.plugged(() => {
      for (const sector of [80, 160]) host.submit(host.bio(WRITE | PREFLUSH, sector, 4096))
    })
    host.slow()
    const statuses = settle(host)
    expect(statuses).toEqual([N.BLK_STS_IOERR, 0])
    expect(seen(host)).toEqual(['FLUSH', 'FLUSH', 'WRITE@160'])
  })

  it('data that fail end the sequence', () => {
    const host = cached(false, [{ opcode: N.NVME_CMD_WRITE, action: 'status', value: 0x4280 }])
    host.submit(host.bio(WRITE | PREFLUSH | FUA, 80, 4096))
    expect(settle(host)).toEqual([N.BLK_STS_MEDIUM])
    expect(seen(host)).toEqual(['FLUSH', 'WRITE@80'])
  })

  it('blk-timers 10.20: a flush after data waits until no data are in flight, and serves all (C2)', () => {
    const host = cached(false)
    for (const sector of [80, 160, 240]) host.submit(host.bio(WRITE | FUA, sector, 4096))
    host.slow()
    expect(host.fetch()).toBe(3)
    for (const left of [2, 1]) {
      host.reap(1)
      host.slow()
      expect([left, host.fetch()]).toEqual([left, 0])
    }
    host.reap(1)
    host.slow()
    expect(host.fetch()).toBe(1)
    expect(settle(host)).toEqual([0, 0, 0])
    expect(seen(host)).toEqual(['WRITE@80', 'WRITE@160', 'WRITE@240', 'FLUSH'])
  })

  it('blk-timers 10.22: after five seconds it waits no longer, at the next event (C3)', () => {
    const host = cached(false)
    const hz = host.view.u32(L.M_BASE + L.M_HZ)
    const jiffies = (value: number) => host.view.store(L.M_BASE + L.M_JIFFIES, value)
    jiffies(1000)
    for (const sector of [80, 160, 240, 320]) host.submit(host.bio(WRITE | FUA, sector, 4096))
    host.slow()
    host.fetch()
    const oneEnds = () => {
      host.reap(1)
      host.slow()
      return host.fetch()
    }
    expect(oneEnds()).toBe(0)
    jiffies(1000 + 5 * hz - 1)
    expect(oneEnds()).toBe(0)
    jiffies(1000 + 5 * hz)
    host.slow()
    expect(host.fetch()).toBe(0)
    expect(oneEnds()).toBe(1)
    expect(settle(host)).toEqual([0, 0, 0, 0])
    expect(seen(host).filter(s => s === 'FLUSH')).toHaveLength(2)
  })

  it('a flush is tried again without DNR, like any command', () => {
    const host = cached(true, [{ opcode: N.NVME_CMD_FLUSH, nth: 1, action: 'status', value: 6 }])
    flush(host)
    expect(settle(host)).toEqual([0])
    expect(seen(host)).toEqual(['FLUSH', 'FLUSH'])
  })

  it('from several CPUs on one queue: all end where they began', () => {
    const host = cached(false, [], 3)
    for (let i = 0; i < 6; i++) {
      if (i % 2) flush(host, i % 3)
      else host.submit(host.bio(WRITE | PREFLUSH | FUA, 80 * i, 4096), i % 3)
    }
    expect(settle(host)).toEqual(Array(6).fill(0))
    const ended = [0, 1, 2].map(cpu => host.machine.cpuCounters(cpu).ended)
    expect(ended).toEqual([2, 2, 2])
  })

  it('any mixture ends, in an order that keeps what each write asked for', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const host = cached(seed % 2 === 0)
      let random = seed
      const next = (n: number): number => {
        random = (Math.imul(random, 1103515245) + 12345) >>> 0
        return (random >>> 16) % n
      }
      const wanted: { sector: number; flags: number }[] = []
      for (let i = 0; i < 60; i++) {
        const flags = [0, PREFLUSH, FUA, PREFLUSH | FUA][next(4)]!
        const empty = flags & PREFLUSH && next(3) === 0
        const cookie = host.submit(
          host.bio(WRITE | flags, empty ? 0 : i * 80 + 80, empty ? 0 : 4096),
        )
        if (cookie === -2) break
        if (!empty) wanted.push({ sector: i * 80 + 80, flags })
        if (next(3) === 0) host.slow()
        if (next(3) === 0) host.fetch(next(4))
        if (next(3) === 0) host.reap(next(4))
      }
      host.settle()
      const list = seen(host)
      const has = host.view.u32(host.disk.q + L.Q_FLAGS) & (1 << N.QUEUE_FLAG_FUA)
      for (const { sector, flags } of wanted) {
        const fua = flags & FUA && has ? '+FUA' : ''
        const at = list.indexOf(`WRITE${fua}@${sector}`)
        expect(at).toBeGreaterThanOrEqual(0)
        if (flags & PREFLUSH) expect(list.slice(0, at)).toContain('FLUSH')
        if (flags & FUA && !has) expect(list.slice(at + 1)).toContain('FLUSH')
      }
      expect(host.held()).toBe(0)
    }
  })
})
