// NVM commands that the controller executes itself: metadata and protection information, unreadable blocks, fused pairs, the
// write cache and what a power loss leaves.

import { describe, expect, it } from 'vitest'
import { NVME_CMD_COMPARE, NVME_CMD_READ, NVME_CMD_WRITE } from '../../../assembly/nvme.js'
import { crc16 } from '../../../src/device/nvme/protection.js'
import { blocks, PAGE, ready, type Rig, type RigOptions } from './rig.js'

const DNR = 0x4000
const PRACT = 1 << 29
const GUARD = 1 << 28
const APP = 1 << 27
const REF = 1 << 26
const FUA = 1 << 30

/** A rig whose namespace has blocks of 512 bytes with metadata. */
function withMetadata(
  protection: number,
  more: { extended?: boolean; first?: boolean; format?: number } = {},
): Rig {
  const namespace = {
    bytes: 2 ** 20,
    format: more.format ?? 1,
    protection,
    extended: more.extended ?? false,
    protectionFirst: more.first ?? false,
  }
  return ready({ config: { namespaces: [namespace] } })
}

function fill(rig: Rig, at: number, bytes: number, seed: number): Uint8Array {
  const data = rig.bytes(at, bytes)
  for (let i = 0; i < bytes; i++) data[i] = (seed + i * 7) & 0xff
  return data.slice()
}

function io(rig: Rig, opcode: number, cdw: number[], more: object = {}): number {
  return rig.execute(1, { opcode, nsid: 1, cdw, ...more }).status
}

describe('commands', () => {
  it('nvme-spec 16: bounds, namespaces, opcodes', () => {
    const rig = ready({ config: { slots: 2, mdtsBytes: 8192 } })
    const prp1 = rig.alloc(PAGE)
    const last = 2 ** 24 / 512 - 1
    for (const opcode of [1, 2, 5, 4, 8, 0x0c]) {
      expect(io(rig, opcode, blocks(last, 2), { prp1 })).toBe(0x080 | DNR)
      expect(io(rig, opcode, blocks(2 ** 40, 1), { prp1 })).toBe(0x080 | DNR)
      expect(io(rig, opcode, [0xffffffff, 0xffffffff, 0], { prp1 })).toBe(0x080 | DNR)
      expect(io(rig, opcode, blocks(0, 1), { prp1, nsid: 0 })).toBe(0x00b | DNR)
      expect(io(rig, opcode, blocks(0, 1), { prp1, nsid: 3 })).toBe(0x00b | DNR)
      expect(io(rig, opcode, blocks(0, 1), { prp1, nsid: 2 })).toBe(0x002 | DNR)
    }
    expect(io(rig, 2, blocks(0, 17), { prp1, prp2: prp1 })).toBe(0x002 | DNR)
    expect(io(rig, 0x77, [])).toBe(0x001 | DNR)
    expect(io(rig, 0, [])).toBe(0)
    expect(io(rig, 0, [], { nsid: 0xffffffff })).toBe(0)
  })

  it('what fails stands in the error log, newest first', () => {
    const rig = ready()
    const prp1 = rig.alloc(PAGE)
    const cid = rig.execute(1, { opcode: 2, nsid: 1, prp1, cdw: blocks(2 ** 24, 1) }).cid
    io(rig, 0x77, [])
    const log = rig.log(1, 128) as Uint8Array
    const words = new DataView(log.buffer)
    expect([words.getUint32(0, true), words.getUint32(64, true)]).toEqual([2, 1])
    expect([words.getUint16(72, true), words.getUint16(74, true)]).toEqual([1, cid])
    expect(words.getUint16(76, true)).toBe(((0x080 | DNR) << 1) & 0xffff)
    expect(words.getUint32(80, true)).toBe(2 ** 24)
    expect(words.getUint32(88, true)).toBe(1)
  })

  it('health counts what was read and written', () => {
    const rig = ready()
    const prp1 = rig.alloc(PAGE)
    for (let i = 0; i < 3; i++) io(rig, NVME_CMD_WRITE, blocks(0, 8), { prp1 })
    io(rig, NVME_CMD_READ, blocks(0, 8), { prp1 })
    const smart = new DataView((rig.log(2, 512) as Uint8Array).buffer)
    expect([smart.getUint32(64, true), smart.getUint32(80, true)]).toEqual([1, 3])
    expect([smart.getUint32(32, true), smart.getUint32(48, true)]).toEqual([1, 1])
  })

  it('a block that was marked cannot be read until it is written', () => {
    const rig = ready()
    const prp1 = rig.alloc(PAGE)
    expect(io(rig, 4, blocks(10, 2))).toBe(0)
    expect(io(rig, NVME_CMD_READ, blocks(8, 8), { prp1 })).toBe(0x281)
    expect(io(rig, 0x0c, blocks(11, 1))).toBe(0x281)
    expect(io(rig, NVME_CMD_READ, blocks(12, 1), { prp1 })).toBe(0)
    expect(io(rig, NVME_CMD_WRITE, blocks(10, 1), { prp1 })).toBe(0)
    expect(io(rig, NVME_CMD_READ, blocks(10, 1), { prp1 })).toBe(0)
    expect(io(rig, 8, blocks(11, 1))).toBe(0)
    expect(io(rig, NVME_CMD_READ, blocks(8, 8), { prp1 })).toBe(0)
  })

  it('write protection refuses what changes blocks', () => {
    const rig = ready()
    const prp1 = rig.alloc(PAGE)
    expect(rig.setFeature(0x84, 1, 0, { nsid: 1 }).status).toBe(0)
    for (const opcode of [1, 4, 8])
      expect(io(rig, opcode, blocks(0, 1), { prp1 })).toBe(0x020 | DNR)
    expect(io(rig, NVME_CMD_READ, blocks(0, 1), { prp1 })).toBe(0)
    expect((rig.identify(0, 1) as Uint8Array)[99]).toBe(1)
    expect(rig.setFeature(0x84, 0, 0, { nsid: 1 }).status).toBe(0)
    expect(io(rig, NVME_CMD_WRITE, blocks(0, 1), { prp1 })).toBe(0)
  })
})

describe('protection information', () => {
  it('guard is CRC-16 of T10', () => {
    expect(crc16(new TextEncoder().encode('123456789'))).toBe(0xd0db)
    expect(crc16(new Uint8Array(512))).toBe(0)
  })

  it.each([1, 2, 3])('type %i: inserted on a write, checked and taken off on a read', type => {
    const rig = withMetadata(type)
    const prp1 = rig.alloc(PAGE)
    const data = fill(rig, prp1, 4096, type)
    const ref = type === 1 ? 64 : 1000
    const command = (flags: number): number[] => {
      const cdw = blocks(64, 8, flags)
      cdw[4] = ref
      cdw[5] = 0xffff1234
      return cdw
    }
    expect(io(rig, NVME_CMD_WRITE, command(PRACT), { prp1 })).toBe(0)
    const to = rig.alloc(PAGE)
    const meta = rig.alloc(PAGE)
    const checks = GUARD | APP | (type === 3 ? 0 : REF)
    expect(io(rig, NVME_CMD_READ, command(checks), { prp1: to, mptr: meta })).toBe(0)
    expect(rig.bytes(to, 4096)).toEqual(data)
    for (let i = 0; i < 8; i++) {
      const tuple = new DataView(rig.bytes(meta + i * 8, 8).slice().buffer)
      expect(tuple.getUint16(0)).toBe(crc16(data.subarray(i * 512, (i + 1) * 512)))
      expect(tuple.getUint16(2)).toBe(0x1234)
      expect(tuple.getUint32(4)).toBe(type === 3 ? ref : ref + i)
    }
    expect(io(rig, NVME_CMD_READ, command(PRACT | checks), { prp1: to })).toBe(0)
    expect(io(rig, 0x0c, command(checks))).toBe(0)
  })

  it('each check has its status; type 1 wants the address, type 3 no reference', () => {
    const rig = withMetadata(1)
    const prp1 = rig.alloc(PAGE)
    const mptr = rig.alloc(PAGE)
    const command = (flags: number, ref: number, app: number): number[] => {
      const cdw = blocks(5, 1, flags)
      cdw[4] = ref
      cdw[5] = (0xffff0000 | app) >>> 0
      return cdw
    }
    expect(io(rig, NVME_CMD_WRITE, command(PRACT, 5, 7), { prp1 })).toBe(0)
    expect(io(rig, NVME_CMD_READ, command(APP, 5, 8), { prp1, mptr })).toBe(0x283)
    expect(io(rig, NVME_CMD_READ, command(REF, 6, 7), { prp1, mptr })).toBe(0x181 | DNR)
    expect(io(rig, NVME_CMD_WRITE, command(0, 5, 7), { prp1, mptr })).toBe(0) // zeroes for metadata
    expect(io(rig, NVME_CMD_READ, command(REF, 5, 7), { prp1, mptr })).toBe(0x284)
    fill(rig, prp1, 512, 1)
    expect(io(rig, NVME_CMD_WRITE, command(GUARD, 5, 7), { prp1, mptr })).toBe(0x282)
    const third = withMetadata(3)
    const at = { prp1: third.alloc(PAGE), mptr: third.alloc(PAGE) }
    expect(io(third, NVME_CMD_READ, command(REF, 5, 7), at)).toBe(0x181 | DNR)
  })

  it('blocks never written, or zeroed, are not checked', () => {
    const rig = withMetadata(1)
    const at = { prp1: rig.alloc(PAGE), mptr: rig.alloc(PAGE) }
    const cdw = blocks(3, 1, GUARD | REF)
    cdw[4] = 3
    expect(io(rig, NVME_CMD_READ, cdw, at)).toBe(0)
    const write = blocks(3, 1, PRACT)
    write[4] = 3
    expect(io(rig, NVME_CMD_WRITE, write, at)).toBe(0)
    expect(io(rig, 8, blocks(3, 1))).toBe(0)
    expect(io(rig, NVME_CMD_READ, cdw, at)).toBe(0)
    expect([...rig.bytes(at.mptr, 8)]).toEqual(new Array(8).fill(0xff))
  })

  it('extended metadata go behind each block, with protection first the guard leaves them out', () => {
    const rig = withMetadata(2, { extended: true, format: 4, first: true })
    const prp1 = rig.alloc(4 * PAGE)
    const list = rig.alloc(PAGE)
    const data = fill(rig, prp1, 2 * 4160, 3)
    for (let i = 1; i < 4; i++) rig.view.setU64(list + (i - 1) * 8, prp1 + i * PAGE)
    const cdw = blocks(0, 2, PRACT)
    cdw[4] = 77
    expect(io(rig, NVME_CMD_WRITE, cdw, { prp1, prp2: list })).toBe(0)
    rig.view.fill(prp1, 3 * PAGE, 0)
    const read = blocks(0, 2, GUARD | REF)
    read[4] = 77
    expect(io(rig, NVME_CMD_READ, read, { prp1, prp2: list })).toBe(0)
    const got = rig.bytes(prp1, 2 * 4160)
    expect(got.subarray(0, 4096)).toEqual(data.subarray(0, 4096))
    expect(got.subarray(4104, 4160)).toEqual(data.subarray(4104, 4160))
    const tuple = new DataView(got.slice(4096, 4104).buffer)
    expect(tuple.getUint16(0)).toBe(crc16(data.subarray(0, 4096)))
    expect(tuple.getUint32(4)).toBe(77)
    expect(io(rig, NVME_CMD_COMPARE, read, { prp1, prp2: list })).toBe(0)
    got[4110]! ^= 1
    expect(io(rig, NVME_CMD_COMPARE, read, { prp1, prp2: list })).toBe(0x285 | DNR)
  })

  it('metadata without protection come back as they were written, also by SGL', () => {
    const rig = withMetadata(0)
    const prp1 = rig.alloc(PAGE)
    const mptr = rig.alloc(PAGE)
    const meta = fill(rig, mptr, 16, 9)
    expect(io(rig, NVME_CMD_WRITE, blocks(1, 2), { prp1, mptr })).toBe(0)
    const sgl = rig.alloc(PAGE)
    const to = rig.alloc(PAGE)
    rig.view.setU64(sgl, to)
    rig.view.setU32(sgl + 8, 16)
    // data block in the command: address, length in the low dword of the second half
    const status = io(rig, NVME_CMD_READ, blocks(1, 2), {
      flags: 0x80,
      mptr: sgl,
      prp1,
      prp2: 1024,
    })
    expect(status).toBe(0)
    expect(rig.bytes(to, 16)).toEqual(meta)
    expect(io(rig, NVME_CMD_READ, blocks(1, 2), { prp1, mptr: 2 ** 33 })).toBe(0x004 | DNR)
  })
})

describe('fused commands', () => {
  const pair = (rig: Rig, cdw: number[], compare: number, write: number): number[] => {
    rig.push(1, { opcode: NVME_CMD_COMPARE, flags: 1, nsid: 1, cdw, prp1: compare })
    rig.push(1, { opcode: NVME_CMD_WRITE, flags: 2, nsid: 1, cdw, prp1: write })
    rig.ring(1)
    return rig.reap(1).map(c => c.status)
  }

  it('nvme-spec 16: compare and write, both or none', () => {
    const rig = ready()
    const [zeroes, ones, to] = [rig.alloc(PAGE), rig.alloc(PAGE), rig.alloc(PAGE)]
    rig.view.fill(ones, PAGE, 1)
    expect(pair(rig, blocks(0, 8), zeroes, ones)).toEqual([0, 0])
    expect(pair(rig, blocks(0, 8), zeroes, zeroes)).toEqual([0x285 | DNR, 0x009 | DNR])
    expect(io(rig, NVME_CMD_READ, blocks(0, 8), { prp1: to })).toBe(0)
    expect(rig.bytes(to, PAGE)).toEqual(rig.bytes(ones, PAGE))
  })

  it('nvme-spec 16: the partner must stand behind it, under the same doorbell', () => {
    const rig = ready()
    const prp1 = rig.alloc(PAGE)
    const first = { opcode: NVME_CMD_COMPARE, flags: 1, nsid: 1, cdw: blocks(0, 1), prp1 }
    const second = { ...first, opcode: NVME_CMD_WRITE, flags: 2 }
    expect(rig.execute(1, first).status).toBe(0x00a | DNR)
    expect(rig.execute(1, second).status).toBe(0x00a | DNR)
    rig.push(1, first)
    rig.push(1, { ...second, flags: 0 })
    rig.ring(1)
    expect(rig.reap(1).map(c => c.status)).toEqual([0x00a | DNR, 0])
    rig.push(1, first)
    rig.push(1, { ...second, cdw: blocks(1, 1) })
    rig.ring(1)
    expect(rig.reap(1).map(c => c.status)).toEqual([0x002 | DNR, 0x009 | DNR])
  })
})

describe('power loss', () => {
  const options: RigOptions = { config: { writeCache: true, trackCache: true } }

  function restart(rig: Rig): void {
    rig.controller.powerLoss()
    expect([rig.read(0x1c), rig.read(0x14)]).toEqual([0, 0])
    rig.controller.busMaster(true)
    rig.enable()
    rig.pair()
  }

  function value(rig: Rig, lba: number): number {
    const at = rig.alloc(512, 512)
    expect(io(rig, NVME_CMD_READ, blocks(lba, 1), { prp1: at })).toBe(0)
    return rig.bytes(at, 1)[0]!
  }

  function put(rig: Rig, lba: number, byte: number, flags = 0): void {
    const at = rig.alloc(512, 512)
    rig.view.fill(at, 512, byte)
    expect(io(rig, NVME_CMD_WRITE, blocks(lba, 1, flags), { prp1: at })).toBe(0)
  }

  it('what was not flushed is what it was before; flushed and FUA writes stay', () => {
    const rig = ready(options)
    put(rig, 0, 1)
    put(rig, 1, 1)
    expect(io(rig, 0, [])).toBe(0)
    put(rig, 0, 2)
    put(rig, 2, 2)
    put(rig, 3, 3, FUA)
    expect(io(rig, 8, blocks(1, 1))).toBe(0)
    expect([0, 1, 2, 3].map(lba => value(rig, lba))).toEqual([2, 0, 2, 3])
    restart(rig)
    expect([0, 1, 2, 3].map(lba => value(rig, lba))).toEqual([1, 1, 0, 3])
    const smart = new DataView((rig.log(2, 512) as Uint8Array).buffer)
    expect(smart.getUint32(144, true)).toBe(1)
  })

  it('a cache that is off, or was shut down, loses nothing', () => {
    const rig = ready(options)
    put(rig, 0, 1)
    expect(rig.setFeature(6, 0).status).toBe(0)
    put(rig, 1, 1)
    restart(rig)
    expect([0, 1].map(lba => value(rig, lba))).toEqual([1, 1])
    put(rig, 2, 9)
    rig.write(0x14, 0x00464001)
    restart(rig)
    expect(value(rig, 2)).toBe(9)
  })

  it('the drive may have written some blocks: those are new, whole', () => {
    const rig = ready(options)
    for (let lba = 0; lba < 8; lba++) put(rig, lba, 5)
    rig.controller.powerLoss((_, lba) => lba % 2 === 0)
    rig.controller.busMaster(true)
    rig.enable()
    rig.pair()
    expect([0, 1, 2, 3].map(lba => value(rig, lba))).toEqual([5, 0, 5, 0])
  })
})
