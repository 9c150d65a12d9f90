// What a target may not send to the NVMe/TCP host: each of these ends the connection, the controller reconnects, and the I/O
// that was under way is done again and once.

import { describe, expect, it } from 'vitest'
import { put16, put32 } from '../../../src/drivers/nvme/bytes.js'
import {
  NVME_TCP_F_DATA_SUCCESS,
  nvme_tcp_c2h_data,
  nvme_tcp_c2h_term,
  nvme_tcp_icresp,
  nvme_tcp_r2t,
  nvme_tcp_rsp,
  term_pdu,
  violation,
} from '../../../src/drivers/nvme/nvme-tcp.js'
import type { nvme_ctrl } from '../../../src/drivers/nvme/host/nvme.js'
import { FabricRig, TCP_TEXT } from './fabric-rig.js'

const rig = new FabricRig({ cpus: 1 })

type Change = (bytes: Uint8Array) => Uint8Array | undefined

/** The `nth` PDU of a type that comes to the host is changed, in place or for another. */
function tamper(type: number, change: Change, nth = 1): { seen: number } {
  const count = { seen: 0 }
  rig.network.tamper = (bytes, end) => {
    if (end !== 'connector' || bytes[0] !== type || ++count.seen !== nth) return bytes
    rig.network.tamper = null
    const copy = bytes.slice()
    return change(copy) ?? copy
  }
  return count
}

const set =
  (at: number, value: number): Change =>
  bytes => {
    bytes[at] = value
    return undefined
  }
const set16 =
  (at: number, value: number): Change =>
  bytes => {
    put16(bytes, at, value)
    return undefined
  }
const set32 =
  (at: number, value: number): Change =>
  bytes => {
    put32(bytes, at, value)
    return undefined
  }

/** Runs an I/O that meets the change, and expects recovery; then all is well. */
function expectRecovery(
  io: (ctrl: nvme_ctrl) => Generator<string, unknown, void>,
  type: number,
  change: Change,
  nth = 1,
): void {
  const ctrl = rig.connect(`${TCP_TEXT},reconnect_delay=2`)
  const count = tamper(type, change, nth)
  const ended: unknown[] = []
  rig.machine.host!.k.spawn('io', function* () {
    ended.push(yield* io(ctrl))
  })
  rig.pass(1)
  expect(count.seen).toBe(nth)
  expect(ctrl.state).toBe('CONNECTING')
  expect(ended).toEqual([])
  rig.pass(3)
  expect(ctrl.state).toBe('LIVE')
  expect(ended).toEqual([0])
  rig.disconnect(ctrl)
  expect(rig.pool.used).toBe(0)
  expect(rig.machine.books().balanced).toBe(true)
}

function* writes(ctrl: nvme_ctrl): Generator<string, unknown, void> {
  return yield* rig.write(rig.ns(ctrl), 0, new Uint8Array(131072).fill(3))
}

function* reads(ctrl: nvme_ctrl): Generator<string, unknown, void> {
  const back = yield* rig.read(rig.ns(ctrl), 0, 4096)
  return typeof back === 'number' ? back : 0
}

function* flushes(ctrl: nvme_ctrl): Generator<string, unknown, void> {
  return yield* rig.flush(rig.ns(ctrl))
}

describe('nvme-fabrics 12: an R2T', () => {
  it.each([
    ['of no bytes', set32(16, 0), 1],
    ['for more than the command has', set32(16, 131073), 1],
    ['that begins behind the end', set32(12, 2 ** 31), 1],
    ['for what was sent already', set32(12, 0), 2],
    ['for a command that is not out', set16(8, 0x3ff), 1],
    ['of another header length', set(2, 20), 1],
    ['with data', set32(4, 28), 1],
  ] as const)('%s', (_, change, nth) => {
    expectRecovery(writes, nvme_tcp_r2t, change, nth)
  })
})

describe('nvme-fabrics 12: data', () => {
  it.each([
    ['for a command that is not out', set16(8, 0x3ff)],
    ['SUCCESS that are not the last', set(1, NVME_TCP_F_DATA_SUCCESS)],
    ['that are not as long as their frame', set32(16, 4092)],
    ['with a digest nobody agreed on', set(1, 4 | 2)],
  ] as const)('%s', (_, change) => {
    expectRecovery(reads, nvme_tcp_c2h_data, change)
  })

  it('for a command that has none', () => {
    expectRecovery(flushes, nvme_tcp_rsp, rsp => {
      const data = new Uint8Array(24 + 512)
      data.set([nvme_tcp_c2h_data, 4, 24, 24])
      put32(data, 4, data.length)
      data.set(rsp.subarray(20, 22), 8)
      put32(data, 16, 512)
      return data
    })
  })
})

describe('nvme-fabrics 12: what else', () => {
  it.each([
    ['a response to a command that is not out', set16(20, 0x3ff)],
    ['a PDU that there is not', set(0, 0x55)],
    ['a PDU of hosts', set(0, 4)],
    ['a second ICResp', set(0, nvme_tcp_icresp)],
    ['a termination', () => term_pdu(nvme_tcp_c2h_term, violation(2), new Uint8Array(24))],
  ] as const)('%s', (_, change) => {
    expectRecovery(flushes, nvme_tcp_rsp, change)
  })
})

describe('nvme-fabrics 12: ICResp', () => {
  it.each([
    ['of another format', set16(8, 1)],
    ['with an alignment', set(10, 1)],
    ['with a digest that was not asked for', set(11, 1)],
    ['that is too long', set32(4, 132)],
    ['that takes less than 4096 bytes', set32(12, 2048)],
    ['that takes no multiple of 4', set32(12, 65537)],
    ['that is another PDU', set(0, nvme_tcp_rsp)],
  ] as const)('%s: the queue is given up', (_, change) => {
    tamper(nvme_tcp_icresp, change)
    expect(() => rig.connect()).toThrow('connect: -22')
    expect(rig.nvme.ctrls).toEqual([])
    rig.pass(31)
    expect(rig.port.queues.size).toBe(0)
  })

  it('that never comes: after 10 s', () => {
    rig.network.tamper = (bytes, end) => (end === 'connector' ? new Uint8Array(0) : bytes)
    const before = rig.now
    expect(() => rig.connect()).toThrow('connect: -22')
    expect(Math.round((rig.now - before) / 1e9)).toBe(10)
    rig.network.tamper = null
    expect(rig.connect().state).toBe('LIVE')
  })
})
