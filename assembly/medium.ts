// A controller in TypeScript moves data between memory and its medium: ranges of any length of a store (store.ts).

import { PAGE_SIZE } from './layout'
import { make_page, store_read, store_write, store_zero } from './store'

/** Bytes to the end of the store's page. */
function rest_of_page(at: u64, len: u32): u32 {
  return min<u32>(len, PAGE_SIZE - (<u32>at & (PAGE_SIZE - 1)))
}

/** Copies `len` bytes at byte `at` of the store to memory. */
export function dev_read(st: u32, at: f64, to: u32, len: u32): void {
  let from = <u64>at
  while (len) {
    const part = rest_of_page(from, len)
    store_read(st, from, to, part)
    from += part
    to += part
    len -= part
  }
}

/** The same from memory to the store; how many bytes, fewer when the budget is spent. */
export function dev_write(st: u32, at: f64, from: u32, len: u32): u32 {
  let to = <u64>at
  let left = len
  while (left) {
    const part = rest_of_page(to, left)
    if (!store_write(st, to, from, part)) break
    to += part
    from += part
    left -= part
  }
  return len - left
}

/** Zeroes a range; whole pages leave the store. */
export function dev_zero(st: u32, at: f64, len: f64): void {
  store_zero(st, <u64>at, <u64>len)
}

/** The page of the store that holds byte `at`, made if it is not there; 0 when the budget is spent. */
export function dev_page(st: u32, at: f64): u32 {
  return make_page(st, <u64>at)
}
