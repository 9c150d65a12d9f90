// Contents of verified blocks: what one damage after another makes of the check.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BAD_DATA,
  BAD_KIND,
  BAD_LENGTH,
  BAD_MAGIC,
  BAD_NUMBER,
  BAD_OFFSET,
  BAD_PATTERN,
  BAD_SEED,
  BAD_ZEROES,
  JOB_VER,
  JV_BAD_GOT,
  JV_BAD_OFFSET,
  JV_BAD_WANT,
  JV_BAD_WHY,
  JV_CHECKED,
  JV_ERRORS,
  JV_HEADER,
  JV_INTERVAL,
  VERIFY_ANY,
  VERIFY_ZEROES,
} from '../../../assembly/layout.js'
import { UserError } from '../../../src/core/errors.js'
import type { VerifyMethod, VerifySpec } from '../../../src/workload/job.js'
import {
  checkDigests,
  fillDigests,
  HOST_METHODS,
  hostMethod,
} from '../../../src/workload/verify-host.js'
import { type Ask, BUFFER_SIZE, JOB, KiB, NO_VERIFY, Rig } from './rig.js'

const DISK = 3 * 2 ** 32 + 64 * KiB
const FILES = [{ name: 'x', disk: '/dev/nvme0n1', base: DISK - 64 * KiB, size: 256 * KiB }]
const PATTERN = [{ bytes: [0xde, 0xad] }, { offset: true }, { bytes: [0x55] }] as const
const CHECKSUMS: VerifyMethod[] = ['crc7', 'crc16', 'crc32', 'crc32c', 'crc64', 'xxhash']

function rig(method: VerifyMethod, more: Partial<VerifySpec> = {}, ask: Partial<Ask> = {}): Rig {
  const pattern = method.startsWith('pattern') ? PATTERN : []
  const verify = { ...NO_VERIFY, method, pattern, atEnd: false, ...more }
  return new Rig({ rw: 'write', verify, files: FILES, ...ask })
}

/** A job that reads the block in the buffer of another. */
function reader(r: Rig): Rig {
  const { verify, bsMin, bsMax } = r.params
  const other = new Rig({ rw: 'read', verify, files: FILES, bsMin, bsMax, seed: 99 })
  other.view.bytes.set(r.view.bytes.subarray(r.buffer, r.buffer + BUFFER_SIZE), other.buffer)
  return other
}

/** Writes a block of `len` bytes to the buffer as the write `number` to `disk`. */
function fill(r: Rig, method: VerifyMethod, len: number, number = 7, disk = DISK): void {
  r.core.verify_fill(JOB, r.buffer, BigInt(disk), len, number)
  if (HOST_METHODS.includes(method)) fillDigests(r.view, JOB, method, r.buffer, len)
}

function check(r: Rig, method: VerifyMethod, len: number, number = 7, disk = DISK): number {
  const why = r.core.verify_check(JOB, 0, r.buffer, BigInt(disk), len, number)
  if (why !== 0 || !HOST_METHODS.includes(method)) return why
  const read = { file: 0, buf: r.buffer, disk, len, number }
  return checkDigests(r.core, r.view, JOB, method, read)
}

const everyKind = [...CHECKSUMS, ...HOST_METHODS, 'meta', 'pattern', 'pattern_hdr', 'null'] as const

describe('a block that comes back as it was written', () => {
  it.each(everyKind)('is good with verify=%s', method => {
    for (const more of [{}, { interval: KiB }, { interval: KiB, offset: 301 }]) {
      const r = rig(method, more)
      fill(r, method, 4 * KiB)
      expect(check(r, method, 4 * KiB)).toBe(0)
      expect(check(reader(r), method, 4 * KiB, VERIFY_ANY)).toBe(0)
      expect(r.view.u64(JOB + JOB_VER + JV_ERRORS)).toBe(0)
    }
  })

  it('is good with random data and with a pattern, and counts its intervals', () => {
    const r = rig('crc32c', { interval: 512, pattern: PATTERN })
    fill(r, 'crc32c', 64 * KiB)
    expect(check(r, 'crc32c', 64 * KiB)).toBe(0)
    expect(r.view.u64(JOB + JOB_VER + JV_CHECKED)).toBe(128)
    // header of 40 bytes, then the pattern from the interval's start on: position 40 is 7 of 11, byte 5 of the offset
    const offset = new DataView(new ArrayBuffer(8))
    offset.setBigUint64(0, BigInt(DISK), true)
    expect(r.view.bytes[r.buffer + 40]).toBe(offset.getUint8(5))
    expect([...r.view.bytes.subarray(r.buffer + 43, r.buffer + 46)]).toEqual([0x55, 0xde, 0xad])
  })

  it('holds other data for every place and every write', () => {
    const r = rig('crc32c')
    const seen = new Set<string>()
    for (const [number, disk] of [
      [1, DISK],
      [2, DISK],
      [1, DISK + 4 * KiB],
      [2, DISK + 4 * KiB],
    ] as const) {
      fill(r, 'crc32c', 4 * KiB, number, disk)
      seen.add(r.view.bytes.slice(r.buffer + 100, r.buffer + 200).join())
    }
    expect(seen.size).toBe(4)
  })
})

describe('one damaged byte', () => {
  const strong = [
    ...CHECKSUMS.filter(m => m !== 'crc7'),
    ...HOST_METHODS,
    'pattern',
    'pattern_hdr',
  ] as const

  it.each(strong)('is found at every place with verify=%s', method => {
    const r = rig(method, { interval: 512, offset: 100 }, { bs: 512 })
    fill(r, method, 512)
    for (let i = 0; i < 512; i++) {
      const was = r.view.bytes[r.buffer + i]!
      r.view.bytes[r.buffer + i] = was ^ (1 + (i % 255))
      expect(check(r, method, 512)).not.toBe(0)
      r.view.bytes[r.buffer + i] = was
    }
    expect(check(r, method, 512)).toBe(0)
  })

  it('is found when it is one bit, with crc7', () => {
    const r = rig('crc7', {}, { bs: 512 })
    fill(r, 'crc7', 512)
    for (let i = 0; i < 4096; i++) {
      r.view.bytes[r.buffer + (i >> 3)]! ^= 1 << (i & 7)
      expect(check(r, 'crc7', 512)).not.toBe(0)
      r.view.bytes[r.buffer + (i >> 3)]! ^= 1 << (i & 7)
    }
  })

  it('is found in the header only, with meta', () => {
    const r = rig('meta', {}, { bs: 512 })
    fill(r, 'meta', 512)
    for (let i = 0; i < 512; i++) {
      r.view.bytes[r.buffer + i]! ^= 0x10
      expect(check(r, 'meta', 512) !== 0).toBe(i < 32)
      r.view.bytes[r.buffer + i]! ^= 0x10
    }
  })

  it('is never found with null', () => {
    const r = rig('null')
    expect(check(r, 'null', 4 * KiB)).toBe(0)
  })
})

describe('the reason of a failure', () => {
  const v = JOB + JOB_VER

  function damage(r: Rig, at: number): number {
    r.view.bytes[r.buffer + at]! ^= 1
    return check(r, 'crc32c', 4 * KiB)
  }

  it('names magic and data', () => {
    const r = rig('crc32c')
    fill(r, 'crc32c', 4 * KiB)
    expect(damage(r, 0)).toBe(BAD_MAGIC)
    expect(r.view.u32(v + JV_BAD_WHY)).toBe(BAD_MAGIC)
    expect(r.view.u64(v + JV_BAD_GOT)).toBe(0xaccb)
    expect(r.view.u64(v + JV_BAD_WANT)).toBe(0xacca)
    r.view.bytes[r.buffer]! ^= 1
    expect(damage(r, 4095)).toBe(BAD_DATA)
    // the first stays
    expect(r.view.u32(v + JV_BAD_WHY)).toBe(BAD_MAGIC)
    expect(r.view.u64(v + JV_ERRORS)).toBe(2)
  })

  it('names the first bad interval', () => {
    const r = rig('crc32c', { interval: KiB })
    fill(r, 'crc32c', 4 * KiB)
    expect(damage(r, 2 * KiB + 500)).toBe(BAD_DATA)
    expect(r.view.u64(v + JV_BAD_OFFSET)).toBe(DISK + 2 * KiB)
  })

  it('names a misplaced block', () => {
    const r = rig('crc32c')
    fill(r, 'crc32c', 4 * KiB, 7, DISK + 4 * KiB)
    expect(check(r, 'crc32c', 4 * KiB)).toBe(BAD_OFFSET)
    expect(check(reader(r), 'crc32c', 4 * KiB, VERIFY_ANY)).toBe(BAD_OFFSET)
    expect(r.view.u64(v + JV_BAD_WANT)).toBe(DISK)
  })

  it('names a stale block, if a number is expected', () => {
    const r = rig('crc32c')
    fill(r, 'crc32c', 4 * KiB, 6)
    expect(check(r, 'crc32c', 4 * KiB)).toBe(BAD_NUMBER)
    expect(check(reader(r), 'crc32c', 4 * KiB, VERIFY_ANY)).toBe(0)
  })

  it('names a block of another job', () => {
    const other = rig('crc32c', {}, { seed: 2 })
    const r = rig('crc32c')
    fill(other, 'crc32c', 4 * KiB)
    r.view.bytes.set(other.view.bytes.subarray(other.buffer, other.buffer + 4 * KiB), r.buffer)
    expect(check(r, 'crc32c', 4 * KiB)).toBe(BAD_SEED)
    expect(check(reader(r), 'crc32c', 4 * KiB, VERIFY_ANY)).toBe(0)
  })

  it('names another kind, and another interval', () => {
    const r = rig('crc32c')
    fill(r, 'crc32c', 4 * KiB)
    const data = r.view.bytes.slice(r.buffer, r.buffer + 4 * KiB)
    for (const [method, more, why] of [
      ['crc32', {}, BAD_KIND],
      ['md5', {}, BAD_KIND],
      ['crc32c', { interval: KiB }, BAD_LENGTH],
    ] as const) {
      const other = rig(method, more)
      other.view.bytes.set(data, other.buffer)
      expect(check(other, method, 4 * KiB)).toBe(why)
    }
  })

  it('names a wrong pattern: the byte, and where', () => {
    const r = rig('pattern')
    fill(r, 'pattern', 4 * KiB)
    r.view.bytes[r.buffer + 1000] = 0x99
    expect(check(r, 'pattern', 4 * KiB)).toBe(BAD_PATTERN)
    expect(r.view.u64(v + JV_BAD_GOT)).toBe(0x99)
    expect(r.view.u64(v + JV_BAD_WANT)).toBe(1000)
  })

  it('names a wrong place in a pattern with %o', () => {
    const r = rig('pattern')
    fill(r, 'pattern', 4 * KiB, 7, DISK + 4 * KiB)
    expect(check(r, 'pattern', 4 * KiB)).toBe(BAD_PATTERN)
  })

  it('is told to a job that only reads; a job that writes may read anything', () => {
    for (const method of ['crc32c', 'md5'] as const) {
      const r = rig(method)
      fill(r, method, 4 * KiB)
      r.view.bytes[r.buffer + 2000]! ^= 1
      expect(check(reader(r), method, 4 * KiB, VERIFY_ANY)).toBe(BAD_DATA)
      expect(check(r, method, 4 * KiB, VERIFY_ANY)).toBe(0)
    }
  })

  it('names data in a trimmed block', () => {
    const r = rig('crc32c')
    r.view.bytes.fill(0, r.buffer, r.buffer + 4 * KiB)
    expect(check(r, 'crc32c', 4 * KiB, VERIFY_ZEROES)).toBe(0)
    expect(damage(r, 4000)).toBe(BAD_MAGIC)
    expect(check(r, 'crc32c', 4 * KiB, VERIFY_ZEROES)).toBe(BAD_ZEROES)
  })
})

it('the job block names its digest', () => {
  for (const method of HOST_METHODS) expect(hostMethod(rig(method).view, JOB)).toBe(method)
})

describe('a torn write', () => {
  it('is found wherever it stopped, if the block has one interval', () => {
    const r = rig('crc32c')
    fill(r, 'crc32c', 4 * KiB, 1)
    const old = r.view.bytes.slice(r.buffer, r.buffer + 4 * KiB)
    for (const cut of [512, 1024, 3584]) {
      fill(r, 'crc32c', 4 * KiB, 2)
      r.view.bytes.set(old.subarray(cut), r.buffer + cut)
      expect(check(r, 'crc32c', 4 * KiB, 2)).toBe(BAD_DATA)
    }
  })

  it('is found by its numbers, if it has several', () => {
    const r = rig('crc32c', { interval: 512 })
    fill(r, 'crc32c', 4 * KiB, 1)
    const old = r.view.bytes.slice(r.buffer, r.buffer + 4 * KiB)
    fill(r, 'crc32c', 4 * KiB, 2)
    r.view.bytes.set(old.subarray(2048), r.buffer + 2048)
    expect(check(r, 'crc32c', 4 * KiB, 2)).toBe(BAD_NUMBER)
    expect(r.view.u64(JOB + JOB_VER + JV_BAD_OFFSET)).toBe(DISK + 2048)
  })
})

describe('the interval', () => {
  function interval(ask: Partial<Ask>, more: Partial<VerifySpec> = {}): number {
    return rig('crc32c', more, ask).view.u32(JOB + JOB_VER + JV_INTERVAL)
  }

  it('is the block, the one asked for, or what divides all sizes', () => {
    const bsMin = [4 * KiB, 12 * KiB, 4 * KiB] as const
    const bsMax = [4 * KiB, 32 * KiB, 4 * KiB] as const
    expect(interval({ bs: 16 * KiB })).toBe(16 * KiB)
    expect(interval({ bs: 16 * KiB }, { interval: 2 * KiB })).toBe(2 * KiB)
    expect(interval({ bs: 16 * KiB }, { interval: 3 * KiB })).toBe(16 * KiB)
    expect(interval({ bsMin, bsMax })).toBe(4 * KiB)
    expect(interval({ bsMin, bsMax, bsUnaligned: true })).toBe(512)
  })

  it('divides every offset: holes, blockalign, zones', () => {
    expect(interval({ bs: 16 * KiB, ddirSeqAdd: 6 * KiB })).toBe(2 * KiB)
    expect(interval({ rw: 'randwrite', bs: 16 * KiB, blockAlign: [512, 512, 512] })).toBe(512)
    const strided = { zonemode: 'strided', zonesize: 9 * KiB, zonerange: 9 * KiB } as const
    expect(interval({ bs: 4 * KiB, ...strided, zoneskip: 0 })).toBe(KiB)
  })

  it('must have room for the header', () => {
    expect(() => rig('sha512', {}, { bs: 512 })).not.toThrow()
    expect(() => rig('sha512', { offset: 417 }, { bs: 512 })).toThrow(UserError)
    expect(() => rig('sha512', { offset: 416 }, { bs: 512 })).not.toThrow()
    expect(rig('sha512').view.u32(JOB + JOB_VER + JV_HEADER)).toBe(96)
  })

  it('needs a pattern for verify=pattern', () => {
    expect(() => rig('pattern', { pattern: [] })).toThrow(/verify_pattern/)
  })
})

describe('buffers that nothing verifies', () => {
  const filled = (ask: Partial<Ask>) => {
    const r = new Rig({ rw: 'write', ...ask })
    const next = () => {
      r.core.fill_buffer(JOB, r.buffer, 1000)
      return [...r.view.bytes.subarray(r.buffer, r.buffer + 1001)]
    }
    return { next }
  }

  it('hold random data, other data each time', () => {
    const { next } = filled({})
    const [one, two] = [next(), next()]
    expect(one).not.toEqual(two)
    expect(new Set(one).size).toBeGreaterThan(200)
    expect(one[1000]).toBe(0)
    expect(filled({}).next()).toEqual(one)
  })

  it('hold zeros with zero_buffers', () => {
    expect(filled({ zeroBuffers: true }).next()).toEqual(new Array(1001).fill(0))
  })

  it('hold the pattern of buffer_pattern', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(255), { minLength: 1, maxLength: 1200 }), bytes => {
        const got = filled({ bufferPattern: [{ bytes }] }).next()
        const want = Array.from({ length: 1000 }, (_, i) => bytes[i % bytes.length])
        expect(got).toEqual([...want, 0])
      }),
      { numRuns: 20 },
    )
  })

  it('refuse %o outside of verify_pattern', () => {
    expect(() => filled({ bufferPattern: [{ offset: true }] })).toThrow(UserError)
  })
})
