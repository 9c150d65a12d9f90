// Where things stand inside a range of memory whose address is not known yet.

import { alignUp } from '../core/memory.js'

/** Hands out offsets, one after another, each a multiple of 8. */
export class Places {
  /** Bytes handed out. */
  end = 0

  take(bytes: number): number {
    const at = this.end
    this.end = alignUp(at + bytes, 8)
    return at
  }
}
