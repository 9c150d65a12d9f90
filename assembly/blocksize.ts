// How long the next I/O is.
//
//   bs        one size
//   bsrange   any multiple of the smallest size (or of a sector, when unaligned) up to the
//             largest that fits before the end of the region, each as likely
//   bssplit   the sizes of the list by their shares, among those that fit

import {
  BS_BYTES, BS_SHARE, BS_SIZE, JG_BSSPLIT, JG_BSSPLIT_N, JG_BS_STEP, JG_MAX_BS, JG_MIN_BS,
  JG_RNG_BS,
} from './layout'
import { prng_below } from './prng'

/** A size of the list that is not larger than `room`; at least one is. */
function split_length(g: usize, ddir: u32, room: u64): u32 {
  const list = <usize>load<u32>(g + (ddir << 2), JG_BSSPLIT)
  const end = list + load<u32>(g + (ddir << 2), JG_BSSPLIT_N) * BS_SIZE
  let shares: u32 = 0
  for (let e = list; e < end; e += BS_SIZE) {
    if (load<u32>(e, BS_BYTES) <= room) shares += load<u32>(e, BS_SHARE)
  }
  let draw = <u32>prng_below(g + JG_RNG_BS, shares)
  let bytes: u32 = 0
  for (let e = list; e < end; e += BS_SIZE) {
    if (load<u32>(e, BS_BYTES) > room) continue
    bytes = load<u32>(e, BS_BYTES)
    const share = load<u32>(e, BS_SHARE)
    if (draw < share) break
    draw -= share
  }
  return bytes
}

/**
 * Bytes of the next I/O of a direction, `room` bytes before the end; 0 when the smallest does not
 * fit.
 */
export function next_length(g: usize, ddir: u32, room: u64): u32 {
  const at = g + (ddir << 2)
  const least = load<u32>(at, JG_MIN_BS)
  const most = load<u32>(at, JG_MAX_BS)
  if (<u64>least > room) return 0
  if (least == most) return least
  if (load<u32>(at, JG_BSSPLIT_N)) return split_length(g, ddir, room)
  const step = load<u32>(at, JG_BS_STEP)
  const steps = (<u32>min(room, <u64>most) - least) / step
  return least + step * <u32>prng_below(g + JG_RNG_BS, <u64>steps + 1)
}
