// A scalable bitmap written from its rules alone (sbitmap-tags 1 to 3), as slow and plain as can be: an array of
// booleans, one hint for each CPU, eight lists of waiters.

const QUEUES = 8

/** One sleeper. */
export interface ModelWaiter {
  readonly exclusive: boolean
  woken: boolean
}

export interface SbitmapShape {
  readonly depth: number
  /** -1: chosen by depth. */
  readonly shift: number
  readonly roundRobin: boolean
  readonly cpus: number
  readonly seed: number
}

/** At least four words once there are four bits, of at most 64 bits each. */
function shiftFor(depth: number): number {
  for (let shift = 6; shift > 0; shift--) if (4 * 2 ** shift <= depth || depth < 4) return shift
  return 0
}

export class SbitmapModel {
  readonly shift: number
  readonly set: boolean[]
  readonly hints: number[]
  readonly waiters: ModelWaiter[][] = Array.from({ length: QUEUES }, () => [])
  readonly waitCounts: number[]
  readonly #roundRobin: boolean
  depth: number
  minShallow: number = Number.POSITIVE_INFINITY
  wakeBatch: number
  wakeIndex = 0
  nextWs = 0
  #random: number

  constructor(shape: SbitmapShape) {
    this.depth = shape.depth
    this.shift = shape.shift < 0 ? shiftFor(shape.depth) : shape.shift
    this.#roundRobin = shape.roundRobin
    this.#random = shape.seed
    this.set = Array<boolean>(shape.depth).fill(false)
    this.wakeBatch = this.#batch()
    this.waitCounts = Array<number>(QUEUES).fill(this.wakeBatch)
    const random = shape.seed !== 0 && !shape.roundRobin
    this.hints = Array.from({ length: shape.cpus }, () => (random ? this.#draw() : 0))
  }

  get weight(): number {
    let weight = 0
    for (let nr = 0; nr < this.depth; nr++) if (this.set[nr]) weight++
    return weight
  }

  /** The map's own random numbers: xorshift32, which makes a run repeatable. */
  #draw(): number {
    let x = this.#random || 0x9e3779b9
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#random = x >>> 0
    return this.#random % this.depth
  }

  #batch(): number {
    const bits = 2 ** this.shift
    const shallow = Math.min(bits, this.minShallow)
    const usable = Math.floor(this.depth / bits) * shallow + Math.min(this.depth % bits, shallow)
    return Math.max(1, Math.min(8, Math.floor(usable / 8)))
  }

  #updateBatch(most = Number.POSITIVE_INFINITY): void {
    const batch = Math.min(most, this.#batch())
    if (batch === this.wakeBatch) return
    this.wakeBatch = batch
    this.waitCounts.fill(1)
  }

  resize(depth: number): void {
    this.depth = depth
    this.#updateBatch()
  }

  setMinShallow(depth: number): void {
    this.minShallow = depth
    this.#updateBatch()
  }

  /** So many users of the map wait for no more frees than the share of one can make; 0: nobody shares it. */
  share(users: number): void {
    const own = Math.max(4, Math.ceil(this.depth / users))
    this.#updateBatch(users === 0 ? undefined : Math.max(1, Math.floor(own / QUEUES)))
  }

  /** The first free bit of a word in [from, limit), or of those before it when the search may wrap; -1 = none. */
  #searchWord(word: number, from: number, limit: number, wrap: boolean): number {
    const first = word * 2 ** this.shift
    const end = Math.min(2 ** this.shift, this.depth - first, limit)
    for (let i = from; i < end; i++) if (!this.set[first + i]) return first + i
    if (wrap)
      for (let i = 0; i < Math.min(from, end); i++) if (!this.set[first + i]) return first + i
    return -1
  }

  #search(hint: number, limit: number, wrap: boolean): number {
    const words = Math.ceil(this.depth / 2 ** this.shift)
    for (let i = 0; i < words; i++) {
      const word = ((hint >> this.shift) + i) % words
      const nr = this.#searchWord(word, i === 0 ? hint % 2 ** this.shift : 0, limit, wrap)
      if (nr >= 0) return nr
    }
    return -1
  }

  #get(cpu: number, limit: number, wrap: boolean): number {
    if (this.hints[cpu]! >= this.depth) this.hints[cpu] = this.depth ? this.#draw() : 0
    const hint = this.hints[cpu]!
    const nr = this.#search(hint, limit, wrap)
    if (nr < 0) this.hints[cpu] = 0
    else this.#take(cpu, hint, nr)
    return nr
  }

  #take(cpu: number, hint: number, nr: number): void {
    this.set[nr] = true
    if (nr === hint || this.#roundRobin) this.hints[cpu] = nr + 1 >= this.depth - 1 ? 0 : nr + 1
  }

  /** From the hint to the end of its word; where nothing is free there, nothing changes. */
  getNear(cpu: number): number {
    const hint = this.hints[cpu]!
    if (hint >= this.depth) return -1
    const from = hint % 2 ** this.shift
    const nr = this.#searchWord(hint >> this.shift, from, Number.POSITIVE_INFINITY, false)
    if (nr >= 0) this.#take(cpu, hint, nr)
    return nr
  }

  get(cpu: number): number {
    return this.#get(cpu, Number.POSITIVE_INFINITY, !this.#roundRobin)
  }

  getShallow(cpu: number, shallow: number): number {
    return this.#get(cpu, shallow, true)
  }

  clear(nr: number, cpu: number): boolean {
    const was = this.set[nr]!
    this.set[nr] = false
    this.#countFree()
    if (!this.#roundRobin && nr < this.depth) this.hints[cpu] = nr
    return was
  }

  /** One free: it counts on the first queue with a waiter, from the one whose turn it is. */
  #countFree(): void {
    for (let i = 0; i < QUEUES; i++) {
      const index = (this.wakeIndex + i) % QUEUES
      if (this.waiters[index]!.length === 0) continue
      this.wakeIndex = index
      if (--this.waitCounts[index]! > 0) return
      this.waitCounts[index] = this.wakeBatch
      this.wakeIndex = (index + 1) % QUEUES
      this.#wake(index, this.wakeBatch)
      return
    }
  }

  #wake(index: number, exclusive: number): void {
    const list = this.waiters[index]!
    let left = exclusive
    while (list.length > 0 && left > 0) {
      const waiter = list.shift()!
      waiter.woken = true
      if (waiter.exclusive) left--
    }
  }

  wakeAll(): void {
    for (let i = 0; i < QUEUES; i++) this.#wake((this.wakeIndex + i) % QUEUES, 1)
  }

  /** Enqueues a sleeper on the queue whose turn it is; its number. */
  wait(waiter: ModelWaiter): number {
    const index = this.nextWs
    this.nextWs = (index + 1) % QUEUES
    this.waiters[index]!.push(waiter)
    return index
  }

  finish(waiter: ModelWaiter): void {
    for (const list of this.waiters) {
      const at = list.indexOf(waiter)
      if (at >= 0) list.splice(at, 1)
    }
  }
}
