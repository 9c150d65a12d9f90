// A lock word for the few places that several threads change together: a shared submission queue
// (sq_lock), the lists of tag waiters, the slow list of a queue that several CPUs fill. Held for a
// few instructions. A thread that finds it taken spins a bounded number of times and then gives its
// core away (`relax` sleeps some tens of microseconds in JavaScript: never inside WASM).

// @ts-ignore: decorator
@external("env", "relax")
declare function relax(): void

const SPINS = 200

export function lock(word: u32): void {
  let spins = 0
  while (atomic.cmpxchg<u32>(word, 0, 1)) {
    if (++spins < SPINS) continue
    relax()
    spins = 0
  }
}

export function unlock(word: u32): void {
  atomic.store<u32>(word, 0)
}
