// Memory that the other end of an RDMA connection may reach: protection domains and regions, as a device with memory
// management extensions has them. Addresses are those of the machine's memory, which both ends share; a key is what gives one
// end the right to some of the other's.
//
//   ib_alloc_mr     a region without memory: FREE. Its key is a number that says which region, and eight bits that its user changes
//   ib_map_mr_sg    pieces become one range of addresses: only the first may begin, only the last may end inside a page
//   REG_MR          the region is VALID, by the key and for what its user says. Only a FREE one
//   LOCAL_INV, SEND_WITH_INV   it is FREE again, and its key worth nothing
//
// An unsafe global key opens everything.

export const IB_ACCESS_LOCAL_WRITE = 1
export const IB_ACCESS_REMOTE_WRITE = 2
export const IB_ACCESS_REMOTE_READ = 4

/** Page of a region's map. */
const PAGE = 4096

/** A piece of memory. */
export interface Piece {
  readonly addr: number
  readonly bytes: number
}

/** What is registered: the device's own copy. */
interface Registration extends Piece {
  readonly key: number
  readonly access: number
  readonly pieces: readonly Piece[]
}

export class ProtectionDomain {
  readonly unsafe_global_rkey: number | null
  readonly #memory: VerbsMemory

  constructor(memory: VerbsMemory, unsafe_global_rkey: number | null) {
    this.#memory = memory
    this.unsafe_global_rkey = unsafe_global_rkey
  }

  /** @returns null when the device has no more */
  ib_alloc_mr(max_num_sg: number): MemoryRegion | null {
    return this.#memory.region(this, max_num_sg)
  }

  ib_dealloc_pd(): void {
    this.#memory.domains--
  }
}

export class MemoryRegion {
  readonly pd: ProtectionDomain
  readonly max_num_sg: number
  readonly #memory: VerbsMemory
  rkey: number
  /** Where it begins, and its bytes, as mapped. */
  iova = 0
  length = 0
  #pieces: readonly Piece[] = []
  /** null = FREE. */
  registration: Registration | null = null

  constructor(memory: VerbsMemory, pd: ProtectionDomain, rkey: number, max_num_sg: number) {
    this.#memory = memory
    this.pd = pd
    this.rkey = rkey
    this.max_num_sg = max_num_sg
  }

  /** @returns how many of the pieces it could take */
  ib_map_mr_sg(sg: readonly Piece[]): number {
    const taken = takeable(sg, this.max_num_sg)
    this.#pieces = sg.slice(0, taken)
    this.iova = sg[0]?.addr ?? 0
    this.length = this.#pieces.reduce((sum, { bytes }) => sum + bytes, 0)
    return taken
  }

  ib_dereg_mr(): void {
    this.#memory.forget(this)
  }

  /** @returns whether it could be: its index is this region's, and it was free */
  register(key: number, access: number): boolean {
    if (this.registration !== null || index_of(key) !== index_of(this.rkey)) return false
    const { iova: addr, length: bytes } = this
    this.registration = { key, access, addr, bytes, pieces: this.#pieces }
    return true
  }
}

function index_of(key: number): number {
  return key >>> 8
}

/** Pieces that make one range without a gap inside a page, within so many pages. */
function takeable(sg: readonly Piece[], max_pages: number): number {
  let pages = 0
  for (const [i, { addr, bytes }] of sg.entries()) {
    const last = sg[i - 1]
    const joins = last !== undefined && last.addr + last.bytes === addr
    const gap = last !== undefined && !joins
    if (gap && (addr % PAGE !== 0 || (last.addr + last.bytes) % PAGE !== 0)) return i
    const first = Math.floor(addr / PAGE) + (joins && addr % PAGE !== 0 ? 1 : 0)
    pages += Math.max(0, Math.ceil((addr + bytes) / PAGE) - first)
    if (pages > max_pages) return i
  }
  return sg.length
}

/** The part of pieces, put end to end, that begins after `skip` bytes and has `bytes`. */
function part_of(pieces: readonly Piece[], skip: number, bytes: number): Piece[] {
  const part: Piece[] = []
  for (const piece of pieces) {
    const from = Math.min(skip, piece.bytes)
    const take = Math.min(piece.bytes - from, bytes)
    skip -= from
    bytes -= take
    if (take > 0) part.push({ addr: piece.addr + from, bytes: take })
  }
  return part
}

/** All regions of one device. */
export class VerbsMemory {
  readonly #max_mr: number
  readonly #size: number
  readonly #regions: Map<number, MemoryRegion> = new Map()
  #next = 1
  domains = 0

  /** @param size bytes of the machine's memory */
  constructor(size: number, max_mr: number) {
    this.#size = size
    this.#max_mr = max_mr
  }

  /** Regions that there are. */
  get regions(): number {
    return this.#regions.size
  }

  /** @param global whether a key to everything is wanted */
  ib_alloc_pd(global: boolean): ProtectionDomain {
    this.domains++
    return new ProtectionDomain(this, global ? (this.#next++ << 8) >>> 0 : null)
  }

  region(pd: ProtectionDomain, max_num_sg: number): MemoryRegion | null {
    if (this.#regions.size >= this.#max_mr) return null
    const region = new MemoryRegion(this, pd, (this.#next++ << 8) >>> 0, max_num_sg)
    this.#regions.set(index_of(region.rkey), region)
    return region
  }

  forget(region: MemoryRegion): void {
    region.registration = null
    this.#regions.delete(index_of(region.rkey))
  }

  #valid(pd: ProtectionDomain | null, key: number): MemoryRegion | null {
    const region = this.#regions.get(index_of(key))
    return region?.registration?.key === key && region.pd === pd ? region : null
  }

  /** @returns whether there was something to invalidate */
  invalidate(pd: ProtectionDomain | null, key: number): boolean {
    const region = this.#valid(pd, key)
    if (region !== null) region.registration = null
    return region !== null
  }

  /** The memory behind an address and a key; null when the key does not give the right to all of it. */
  reach(
    pd: ProtectionDomain | null,
    key: number,
    { addr, bytes }: Piece,
    access: number,
  ): Piece[] | null {
    if (pd !== null && key === pd.unsafe_global_rkey)
      return addr + bytes <= this.#size ? [{ addr, bytes }] : null
    const what = this.#valid(pd, key)?.registration
    if (!what || (what.access & access) !== access) return null
    const inside = addr >= what.addr && addr + bytes <= what.addr + what.bytes
    return inside ? part_of(what.pieces, addr - what.addr, bytes) : null
  }
}
