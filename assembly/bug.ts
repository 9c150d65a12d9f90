// Broken invariants stop the machine: the code is kept in memory and the thread traps. TypeScript
// reads M_TRAP and says which rule was broken (src/core/wasm.ts holds the texts).

import { M_BASE, M_TRAP } from './layout'

export const BUG_TAG_RANGE = 1 //     a tag outside of its map was freed
export const BUG_TAG_FREE = 2 //      a free tag was freed again
export const BUG_RQ_STATE = 3 //      a request was started twice
export const BUG_SQ_FULL = 4 //       more commands than the submission queue holds
export const BUG_PRP_POOL = 5 //      a PRP page was needed that the plan does not hold
export const BUG_EVENTS = 6 //        the event queue overflowed
export const BUG_IN_FLIGHT = 7 //     more completions than commands
export const BUG_FLASH = 8 //         flash without a free block

/** Keeps the code (the first one wins) and traps. */
export function BUG(code: u32): void {
  atomic.cmpxchg<u32>(M_BASE + M_TRAP, 0, code)
  unreachable()
}

/** BUG() if the condition holds. */
// @ts-ignore: decorator
@inline
export function BUG_ON(condition: bool, code: u32): void {
  if (condition) BUG(code)
}
