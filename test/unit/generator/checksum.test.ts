// Checksums against published check values and against the plain algorithms, bit by bit.

import { crc32 as zlibCrc32 } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PLAN_BASE, VT_SIZE } from '../../../assembly/layout.js'
import { instantiate } from './core.js'

const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true })
const core = instantiate(memory)
const bytes = new Uint8Array(memory.buffer)
const T = PLAN_BASE
const AT = T + VT_SIZE
core.checksum_tables(T)

function put(text: string | Uint8Array): number {
  const data = typeof text === 'string' ? new TextEncoder().encode(text) : text
  bytes.set(data, AT)
  return data.length
}

const data = fc.uint8Array({ maxLength: 100 })

/** A register of `width` bits over the bits of `input` from the lowest up. */
function reflected(input: Uint8Array, poly: bigint, from: bigint): bigint {
  let c = from
  for (const byte of input) {
    c ^= BigInt(byte)
    for (let i = 0; i < 8; i++) c = c & 1n ? (c >> 1n) ^ poly : c >> 1n
  }
  return c
}

describe('check values of "123456789"', () => {
  const n = put('123456789')
  it('crc32c', () => expect(core.crc32c(T, AT, n, 0) >>> 0).toBe(0xe3069283))
  it('crc32', () => expect(core.crc32(T, AT, n, 0) >>> 0).toBe(0xcbf43926))
  it('crc16', () => expect(core.crc16(T, AT, n, 0)).toBe(0xbb3d))
  it('crc7', () => expect(core.crc7(T, AT, n, 0)).toBe(0x75))
  it('crc64', () => {
    expect(BigInt.asUintN(64, core.crc64(T, AT, n, 0n))).toBe(0xe9c6d914c4b8d9can)
  })
})

describe('xxhash32', () => {
  it.each([
    ['', 0, 0x02cc5d05],
    ['abc', 0, 0x32d153ff],
    ['123456789', 0, 0x937bad67],
    ['Nobody inspects the spammish repetition', 0, 0xe2293b2f],
    ['', 0x9e3779b1, 0x36b78ae7],
  ])('of %j with seed %d', (text, seed, want) => {
    expect(core.xxhash32(AT, put(text), seed) >>> 0).toBe(want)
  })
})

describe('against the plain algorithm', () => {
  it.each([
    ['crc32c', 0x82f63b78n, true],
    ['crc32', 0xedb88320n, true],
    ['crc16', 0xa001n, false],
  ] as const)('%s', (name, poly, inverted) => {
    fc.assert(
      fc.property(data, input => {
        const ones = inverted ? 0xffffffffn : 0n
        const want = reflected(input, poly, ones) ^ ones
        expect(BigInt(core[name](T, AT, put(input), 0) >>> 0)).toBe(want)
      }),
    )
  })

  it('crc64', () => {
    fc.assert(
      fc.property(data, input => {
        const got = BigInt.asUintN(64, core.crc64(T, AT, put(input), 0n))
        expect(got).toBe(reflected(input, 0x95ac9329ac4bc9b5n, 0n))
      }),
    )
  })

  it('crc7', () => {
    fc.assert(
      fc.property(data, input => {
        let c = 0
        for (const byte of input) {
          for (let bit = 7; bit >= 0; bit--) {
            const top = (c >> 6) ^ ((byte >> bit) & 1)
            c = ((c << 1) & 0x7f) ^ (top ? 0x09 : 0)
          }
        }
        expect(core.crc7(T, AT, put(input), 0)).toBe(c)
      }),
    )
  })

  it('crc32 of the host', () => {
    fc.assert(
      fc.property(data, input => {
        expect(core.crc32(T, AT, put(input), 0) >>> 0).toBe(zlibCrc32(input))
      }),
    )
  })
})

it('goes on over a second range as over one', () => {
  fc.assert(
    fc.property(data, fc.nat(100), (input, cut) => {
      const n = put(input)
      const k = Math.min(cut, n)
      for (const name of ['crc32c', 'crc32', 'crc16', 'crc7'] as const) {
        const first = core[name](T, AT, k, 0)
        expect(core[name](T, AT + k, n - k, first)).toBe(core[name](T, AT, n, 0))
      }
      const first = core.crc64(T, AT, k, 0n)
      expect(core.crc64(T, AT + k, n - k, first)).toBe(core.crc64(T, AT, n, 0n))
    }),
  )
})
