// Patterns in shared memory (PT_* in assembly/layout.ts): a header, the positions of its offsets (%o), its bytes.

import { PT_AT, PT_BYTES, PT_LEN, PT_OFFSETS, PT_SIZE } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { PatternPiece } from './job.js'
import type { Places } from './places.js'

/** Bytes that one %o takes. */
const OFFSET_BYTES = 8

function pieceLength(piece: PatternPiece): number {
  return 'bytes' in piece ? piece.bytes.length : OFFSET_BYTES
}

/** Bytes of a pattern before it repeats. */
export function patternLength(pattern: readonly PatternPiece[]): number {
  return pattern.reduce((sum, piece) => sum + pieceLength(piece), 0)
}

function offsets(pattern: readonly PatternPiece[]): number {
  return pattern.filter(piece => 'offset' in piece).length
}

/** A place for the pattern. */
export function placePattern(places: Places, pattern: readonly PatternPiece[]): number {
  return places.take(PT_SIZE + 4 * offsets(pattern) + patternLength(pattern))
}

/** Writes the pattern to the address `at`. */
export function writePattern(view: View, at: number, pattern: readonly PatternPiece[]): void {
  const bytes = at + PT_SIZE + 4 * offsets(pattern)
  view.setU32(at + PT_LEN, patternLength(pattern))
  view.setU32(at + PT_OFFSETS, offsets(pattern))
  view.setU32(at + PT_BYTES, bytes)
  let position = 0
  let nth = 0
  for (const piece of pattern) {
    if ('bytes' in piece) view.bytes.set(piece.bytes, bytes + position)
    else view.setU32(at + PT_AT + 4 * nth++, position)
    position += pieceLength(piece)
  }
}
