// Arbitration: whose entries a controller fetches first when several submission queues have some (NVMe: Command Arbitration).
//
//   round robin   all queues, the admin queue among them, in turn; up to DEV_BURST entries each
//   weighted      the admin queue before all others, then the urgent class; then, round by round, as many entries of the
//                 classes high, medium and low as their weights say. Inside a class queues take turns as above
//
// Only the order of fetching is decided here, never that of completion. The controller may have DEV_SLOTS commands in service
// at most: then entries wait in their rings, and the order matters. `fetch` does the work on one queue: how many it took.

import {
  ARB_WEIGHTED, DEV_ARB, DEV_BURST, DEV_FIRST_SQ, DEV_SLOTS, DEV_TURNS, DEV_WEIGHTS, DSQ_CLASS, DSQ_FIFO_COUNT, DSQ_ID, DSQ_NEXT,
} from './layout'

const ALL: u32 = u32.MAX_VALUE
/** In place of a class: every queue, in the turns of all. */
const ANY_CLASS: u32 = 4
const URGENT: u32 = 0
const LOW: u32 = 3

/** How many more commands may be in service. */
function free_slots(dev: u32): u32 {
  const slots = load<u32>(dev, DEV_SLOTS)
  if (!slots) return ALL
  let busy: u32 = 0
  for (let dsq = load<u32>(dev, DEV_FIRST_SQ); dsq; dsq = load<u32>(dsq, DSQ_NEXT)) busy += load<u32>(dsq, DSQ_FIFO_COUNT)
  return busy < slots ? slots - busy : 0
}

/** The queue behind another one, beginning again at the end. */
function following(dev: u32, dsq: u32): u32 {
  const next: u32 = dsq ? load<u32>(dsq, DSQ_NEXT) : 0
  return next ? next : load<u32>(dev, DEV_FIRST_SQ)
}

function belongs(dsq: u32, rank: u32): bool {
  return rank == ANY_CLASS || (load<u32>(dsq, DSQ_ID) != 0 && load<u32>(dsq, DSQ_CLASS) == rank)
}

/** Serves the queues of a class in turn, `budget` entries at most: how many. */
function serve_class(dev: u32, rank: u32, budget: u32, now: u64, fetch: (dsq: u32, max: u32, now: u64) => u32): u32 {
  const turn = dev + DEV_TURNS + rank * 4
  const burst = load<u32>(dev, DEV_BURST)
  let left = budget
  let idle: u32 = 0 // the first queue in a row of those that had nothing
  let dsq = following(dev, load<u32>(turn))
  while (left && dsq && dsq != idle) {
    let n: u32 = 0
    if (belongs(dsq, rank)) n = fetch(dsq, burst ? min<u32>(burst, left) : left, now)
    if (n) {
      left -= n
      idle = 0
      store<u32>(turn, dsq)
    } else if (!idle) idle = dsq
    dsq = following(dev, dsq)
  }
  return budget - left
}

/** The admin queue, then the urgent class. */
function serve_first(dev: u32, budget: u32, now: u64, fetch: (dsq: u32, max: u32, now: u64) => u32): u32 {
  const admin = load<u32>(dev, DEV_FIRST_SQ)
  const n: u32 = admin && !load<u32>(admin, DSQ_ID) ? fetch(admin, budget, now) : 0
  return n + serve_class(dev, URGENT, budget - n, now, fetch)
}

/** Fetches what there is, as far as commands may be in service. */
export function arbitrate(dev: u32, now: u64, fetch: (dsq: u32, max: u32, now: u64) => u32): void {
  let left = free_slots(dev)
  if (load<u32>(dev, DEV_ARB) != ARB_WEIGHTED) {
    serve_class(dev, ANY_CLASS, left, now, fetch)
    return
  }
  let took: u32 = 1
  while (left && took) {
    took = serve_first(dev, left, now, fetch)
    left -= took
    for (let rank: u32 = 1; rank <= LOW && left; rank++) {
      const n = serve_class(dev, rank, min<u32>(left, load<u32>(dev + DEV_WEIGHTS + (rank - 1) * 4)), now, fetch)
      left -= n
      took += n
    }
  }
}
