import fc from 'fast-check'
import { expect, it } from 'vitest'
import { View } from '../../../src/core/view.js'

const view = new View(new SharedArrayBuffer(4096))

it('holds whole numbers up to 2^53, and powers of two beyond, in a u64', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat({ max: 500 }), (value, slot) => {
      view.setU64(slot * 8, value)
      expect(view.u64(slot * 8)).toBe(value)
      expect(new DataView(view.buffer).getBigUint64(slot * 8, true)).toBe(BigInt(value))
    }),
  )
  view.setU64(0, 2 ** 63)
  expect(view.u64(0)).toBe(2 ** 63)
})

it('writes the time that never comes as all ones', () => {
  view.setNever(16)
  expect(new DataView(view.buffer).getBigUint64(16, true)).toBe(2n ** 64n - 1n)
})

it('reads the same bytes as words, signed words and doubles', () => {
  view.setU32(24, -1)
  expect([view.u32(24), view.i32(24), view.bytes[27]]).toEqual([0xffffffff, -1, 255])
  view.setF64(32, Math.PI)
  expect(view.f64(32)).toBe(Math.PI)
  view.fill(39, 5, 0)
  view.fill(40, 3, 7)
  expect([...view.bytes.subarray(39, 44)]).toEqual([0, 7, 7, 7, 0])
})

it('adds, loads and stores atomically, and does not sleep on a word that has changed', () => {
  view.store(48, 5)
  expect(view.add(48, 2)).toBe(5)
  expect(view.load(48)).toBe(7)
  expect(view.wait(48, 5, 1000)).toBe('not-equal')
  expect(view.wait(48, 7, 0)).toBe('timed-out')
  expect(view.notify(48)).toBe(0)
})
