// Bitmaps in text: the *_show functions of lib/sbitmap.c, Linux 4.19, in its words.

import * as L from '../../assembly/layout.js'
import type { View } from '../core/view.js'

const BYTES_A_LINE = 16

/** Numbers of the bits that are set in a bitmap (SBQ_*). */
export function set_bits(view: View, bitmap: number): number[] {
  const bits: number[] = []
  const per_word = 2 ** view.u32(bitmap + L.SBQ_SHIFT)
  for (let w = 0; w < view.u32(bitmap + L.SBQ_MAP_NR); w++) {
    const word = view.u32(bitmap + L.SBQ_MAP) + w * L.SBW_SIZE
    for (let bit = 0; bit < per_word; bit++)
      if ((view.u32(word + 4 * (bit >> 5)) >>> (bit & 31)) & 1) bits.push(w * per_word + bit)
  }
  return bits
}

/** A bitmap as lines of bytes, the lowest bit of the first byte first. */
export function sbitmap_bitmap_show(depth: number, bits: readonly number[]): string {
  const bytes = new Uint8Array(Math.ceil(depth / 8))
  for (const bit of bits) bytes[bit >> 3]! |= 1 << (bit & 7)
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += BYTES_A_LINE) {
    const pairs: string[] = []
    for (const [i, byte] of bytes.subarray(at, at + BYTES_A_LINE).entries())
      pairs.push((i % 2 ? '' : ' ') + byte.toString(16).padStart(2, '0'))
    lines.push(`${at.toString(16).padStart(8, '0')}:${pairs.join('')}\n`)
  }
  return lines.join('')
}

/** A bitmap with wait queues (SBQ_*). */
export function sbitmap_queue_show(view: View, sbq: number, nr_cpus: number): string {
  const hints = view.u32(sbq + L.SBQ_HINTS)
  const hint = (cpu: number): number => (hints ? view.u32(hints + cpu * L.SBQ_HINT_SIZE) : 0)
  const ws = Array.from({ length: L.SBQ_WAIT_QUEUES }, (_, i) => {
    const one = sbq + L.SBQ_WS + i * L.WS_SIZE
    const wait = view.u32(one + L.WS_HEAD) ? 'active' : 'inactive'
    return `\t{.wait_cnt=${view.i32(one + L.WS_WAIT_CNT)}, .wait=${wait}},\n`
  })
  return [
    `depth=${view.u32(sbq + L.SBQ_DEPTH)}\n`,
    `busy=${set_bits(view, sbq).length}\n`,
    `bits_per_word=${2 ** view.u32(sbq + L.SBQ_SHIFT)}\n`,
    `map_nr=${view.u32(sbq + L.SBQ_MAP_NR)}\n`,
    `alloc_hint={${Array.from({ length: nr_cpus }, (_, cpu) => hint(cpu)).join(', ')}}\n`,
    `wake_batch=${view.u32(sbq + L.SBQ_WAKE_BATCH)}\n`,
    `wake_index=${view.u32(sbq + L.SBQ_WAKE_INDEX)}\n`,
    `ws={\n${ws.join('')}}\n`,
    `round_robin=${view.u32(sbq + L.SBQ_ROUND_ROBIN)}\n`,
    `min_shallow_depth=${view.u32(sbq + L.SBQ_MIN_SHALLOW)}\n`,
  ].join('')
}
