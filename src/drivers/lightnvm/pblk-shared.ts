// What of a pblk is in the machine's memory, because the core works with it too (assembly/pblk.ts; PB_*, LN_*): objects
// over it that hold no state of their own.
//
//   pblk_block   counters, and words about who waits
//   pblk_rb      the ring's positions and entries
//   pblk_rl      the limiter
//   pblk_line    a line

import * as L from '../../../assembly/layout.js'
import { type nvm_memory, SECTOR_BYTES } from './lightnvm.js'

/** Bits of a line's maps in one word. */
const WORD_BITS = 32
/** A new line's state, and its group of victims: none. */
export const PBLK_LINESTATE_NEW = 9
export const PBLK_LINEGC_NONE = 20
export const PBLK_LINETYPE_FREE = 0

/** Words of the memory from an address on, read as signed numbers. */
class block {
  protected readonly words: Int32Array
  protected readonly base: number

  constructor(memory: nvm_memory, at: number) {
    this.words = new Int32Array(memory.words.buffer, 0)
    this.base = at / 4
  }

  /** The address of the block. */
  get at(): number {
    return this.base * 4
  }

  protected get(field: number): number {
    return this.words[this.base + field / 4]
  }

  protected set(field: number, value: number): void {
    this.words[this.base + field / 4] = value
  }
}

/** Numbers of an instance that are not the ring's or the limiter's. */
export class pblk_block extends block {
  protected readonly doubles: Float64Array

  constructor(memory: nvm_memory, at: number) {
    super(memory, at)
    this.doubles = new Float64Array(memory.words.buffer, 0)
  }

  /** Sets a field of PB_*. */
  put(field: number, value: number): void {
    this.set(field, value)
  }

  peek(field: number): number {
    return this.get(field)
  }

  double(field: number): number {
    return this.doubles[(this.at + field) / 8]
  }

  put_double(field: number, value: number): void {
    this.doubles[(this.at + field) / 8] = value
  }

  /** A reason why writes are TypeScript's (PBS_*) comes or goes. */
  slow(why: number, on: boolean): void {
    const bits = this.get(L.PB_SLOW)
    this.set(L.PB_SLOW, on ? bits | why : bits & ~why)
  }

  /** Somebody begins (1) or ends (-1) to wait. `field`: PB_WATCH or PB_SPACE_WATCH. */
  watch(field: number, by: number): void {
    this.set(field, this.get(field) + by)
  }
}

/** A bio that ends when an entry is persisted. */
export interface flush_bio {
  end(status: number): void
}

/** The ring. Positions: next free, submitted, persisted, L2P moved on. */
export class pblk_rb extends pblk_block {
  readonly nr_entries: number
  /** Entries behind an entry that must be persisted before it leaves the ring. */
  readonly back_thres: number
  /** Address of entry 0's page. */
  readonly data: number
  readonly lba: Float64Array
  readonly ppa: Float64Array
  readonly flags: Uint32Array
  readonly bios: (flush_bio[] | null)[]

  /** @param data memory for the pages, and behind them PBLK_RB_ENTRY bytes for each entry */
  constructor(
    memory: nvm_memory,
    at: number,
    nr_entries: number,
    back_thres: number,
    data: number,
  ) {
    super(memory, at)
    const { buffer } = memory.words
    const lba = data + nr_entries * SECTOR_BYTES
    const ppa = lba + 8 * nr_entries
    const flags = ppa + 8 * nr_entries
    this.nr_entries = nr_entries
    this.back_thres = back_thres
    this.data = data
    this.lba = new Float64Array(buffer, lba, nr_entries)
    this.ppa = new Float64Array(buffer, ppa, nr_entries)
    this.flags = new Uint32Array(buffer, flags, nr_entries)
    this.bios = Array.from({ length: nr_entries }, () => null)
    this.flush_point = -1
    const fields: readonly [number, number][] = [
      [L.PB_RB_N, nr_entries],
      [L.PB_RB_BACK, back_thres],
      [L.PB_RB_DATA, data],
      [L.PB_RB_LBA, lba],
      [L.PB_RB_PPA, ppa],
      [L.PB_RB_FLAGS, flags],
    ]
    for (const [field, value] of fields) this.set(field, value)
  }

  get mem(): number {
    return this.get(L.PB_RB_MEM)
  }

  set mem(pos: number) {
    this.set(L.PB_RB_MEM, pos)
  }

  get subm(): number {
    return this.get(L.PB_RB_SUBM)
  }

  set subm(pos: number) {
    this.set(L.PB_RB_SUBM, pos)
  }

  get sync(): number {
    return this.get(L.PB_RB_SYNC)
  }

  set sync(pos: number) {
    this.set(L.PB_RB_SYNC, pos)
  }

  get l2p_update(): number {
    return this.get(L.PB_RB_L2P)
  }

  set l2p_update(pos: number) {
    this.set(L.PB_RB_L2P, pos)
  }

  /** The last entry that must be written now; -1: none. */
  get flush_point(): number {
    return this.get(L.PB_RB_FLUSH)
  }

  set flush_point(pos: number) {
    this.set(L.PB_RB_FLUSH, pos)
  }

  /** Entries ever taken, and ever persisted. */
  get taken(): number {
    return this.double(L.PB_RB_TAKEN)
  }

  set taken(n: number) {
    this.put_double(L.PB_RB_TAKEN, n)
  }

  get synced(): number {
    return this.double(L.PB_RB_SYNCED)
  }

  set synced(n: number) {
    this.put_double(L.PB_RB_SYNCED, n)
  }
}

/** Bytes of the ring's memory for each entry. */
export const PBLK_RB_ENTRY: number = SECTOR_BYTES + 8 + 8 + 4

/** The limiter. */
export class pblk_rl extends block {
  high = 0
  high_pw = 0
  rb_windows_pw = 0
  rb_budget = 0
  rb_state = 0
  rsv_blocks = 0
  free_blocks = 0
  free_user_blocks = 0
  werr_lines = 0
  nr_secs = 0

  get rb_max_io(): number {
    return this.get(L.PB_RB_MAX_IO)
  }

  set rb_max_io(n: number) {
    this.set(L.PB_RB_MAX_IO, n)
  }

  get rb_user_max(): number {
    return this.get(L.PB_RL_USER_MAX)
  }

  set rb_user_max(n: number) {
    this.set(L.PB_RL_USER_MAX, n)
  }

  get rb_user_cnt(): number {
    return this.get(L.PB_RL_USER_CNT)
  }

  set rb_user_cnt(n: number) {
    this.set(L.PB_RL_USER_CNT, n)
  }

  get rb_gc_max(): number {
    return this.get(L.PB_RL_GC_MAX)
  }

  set rb_gc_max(n: number) {
    this.set(L.PB_RL_GC_MAX, n)
  }

  get rb_gc_cnt(): number {
    return this.get(L.PB_RL_GC_CNT)
  }

  set rb_gc_cnt(n: number) {
    this.set(L.PB_RL_GC_CNT, n)
  }

  /** Entries that may still be taken; -1: no limit. */
  get rb_space(): number {
    return this.get(L.PB_RL_SPACE)
  }

  set rb_space(n: number) {
    this.set(L.PB_RL_SPACE, n)
  }

  get rb_user_active(): boolean {
    return this.get(L.PB_RL_ACTIVE) !== 0
  }

  set rb_user_active(active: boolean) {
    this.set(L.PB_RL_ACTIVE, active ? 1 : 0)
  }
}

/** What of a LUN's semaphore is shared (LU_*). */
export class lun_cell extends block {
  get count(): number {
    return this.get(L.LU_COUNT)
  }

  set count(n: number) {
    this.set(L.LU_COUNT, n)
  }

  get waiting(): number {
    return this.get(L.LU_WAITING)
  }

  set waiting(n: number) {
    this.set(L.LU_WAITING, n)
  }
}

// ---------------------------------------------------------------- lines

/** A buffer for a line's metadata on its way to the media. */
export interface pblk_meta_buf {
  /** Addresses in memory, of emeta's list of lbas too; and whose they are. */
  readonly smeta: number
  readonly emeta: number
  readonly lbas: number
  line: pblk_line | null
}

/** Bytes of one line. */
export function pblk_line_bytes(luns: number): number {
  return Math.ceil((L.LN_SIZE + 6 * luns) / L.LINE) * L.LINE
}

export class pblk_line extends block {
  readonly id: number
  type: number = PBLK_LINETYPE_FREE
  gc_group: number = PBLK_LINEGC_NONE
  seq_nr = 0
  /** One byte for each chunk: bad; erased, or bad; written since its last erase. */
  readonly blk_bitmap: Uint8Array
  readonly erase_bitmap: Uint8Array
  readonly written: Uint8Array
  /** Chunks that are good; not yet erased. */
  blk_in_line = 0
  left_seblks = 0
  smeta_ssec = 0
  emeta_ssec = 0
  /** Writes that have ended, by LUN: sectors from the start of the chunk. */
  readonly done: Uint32Array
  /** What the device said of its chunks when the instance was made: states, write pointers. */
  readonly chk_state: Uint8Array
  readonly chk_wp: Uint32Array
  /** Sectors of emeta submitted, and written. */
  emeta_mem = 0
  emeta_sync = 0
  meta_distance = 0
  /** The list of lbas, kept in memory where the media has none that is right. */
  lba_list: Float64Array | null = null
  gc_failed = false
  /** The collector has it in hand. */
  victim = false
  /** The set of `pblk_line_mgmt` that it is in. */
  list: Set<pblk_line> | null = null
  readonly #memory: nvm_memory
  #meta: pblk_meta_buf | null = null
  #map: Uint32Array | null = null
  #invalid: Uint32Array | null = null

  /** @param at pblk_line_bytes of zeroed memory */
  constructor(memory: nvm_memory, at: number, id: number, luns: number) {
    super(memory, at)
    this.#memory = memory
    this.id = id
    this.set(L.LN_ID, id)
    this.state = PBLK_LINESTATE_NEW
    this.blk_bitmap = new Uint8Array(luns)
    this.erase_bitmap = new Uint8Array(memory.words.buffer, at + L.LN_SIZE + 5 * luns, luns)
    this.written = new Uint8Array(memory.words.buffer, at + L.LN_SIZE + 4 * luns, luns)
    this.done = new Uint32Array(memory.words.buffer, at + L.LN_SIZE, luns)
    this.chk_state = new Uint8Array(luns)
    this.chk_wp = new Uint32Array(luns)
  }

  get state(): number {
    return this.get(L.LN_STATE)
  }

  set state(state: number) {
    this.set(L.LN_STATE, state)
  }

  get ref(): number {
    return this.get(L.LN_REF)
  }

  set ref(n: number) {
    this.set(L.LN_REF, n)
  }

  /** Valid sectors. */
  get vsc(): number {
    return this.get(L.LN_VSC)
  }

  set vsc(n: number) {
    this.set(L.LN_VSC, n)
  }

  /** Entries of the ring mapped here that have not left it. */
  get sec_to_update(): number {
    return this.get(L.LN_TO_UPDATE)
  }

  set sec_to_update(n: number) {
    this.set(L.LN_TO_UPDATE, n)
  }

  /** Sectors of data being written. */
  get inflight(): number {
    return this.get(L.LN_INFLIGHT)
  }

  set inflight(n: number) {
    this.set(L.LN_INFLIGHT, n)
  }

  /** Sectors that a write may still take, and where the next may be. */
  get left_msecs(): number {
    return this.get(L.LN_LEFT_MSECS)
  }

  set left_msecs(n: number) {
    this.set(L.LN_LEFT_MSECS, n)
  }

  get cur_sec(): number {
    return this.get(L.LN_CUR_SEC)
  }

  set cur_sec(n: number) {
    this.set(L.LN_CUR_SEC, n)
  }

  get nr_valid_lbas(): number {
    return this.get(L.LN_VALID_LBAS)
  }

  set nr_valid_lbas(n: number) {
    this.set(L.LN_VALID_LBAS, n)
  }

  get sec_in_line(): number {
    return this.get(L.LN_SEC_IN_LINE)
  }

  set sec_in_line(n: number) {
    this.set(L.LN_SEC_IN_LINE, n)
  }

  get has_write_err(): boolean {
    return this.get(L.LN_WRITE_ERR) !== 0
  }

  set has_write_err(has: boolean) {
    this.set(L.LN_WRITE_ERR, has ? 1 : 0)
  }

  /** Chunks left to be erased. */
  get left_eblks(): number {
    return this.get(L.LN_LEFT_EBLKS)
  }

  set left_eblks(n: number) {
    this.set(L.LN_LEFT_EBLKS, n)
  }

  get meta(): pblk_meta_buf | null {
    return this.#meta
  }

  set meta(meta: pblk_meta_buf | null) {
    this.#meta = meta
    this.set(L.LN_LBAS, meta?.lbas ?? 0)
  }

  get map_bitmap(): Uint32Array | null {
    return this.#map
  }

  get invalid_bitmap(): Uint32Array | null {
    return this.#invalid
  }

  /** Clear maps for so many sectors. */
  alloc_bitmaps(sectors: number): void {
    this.free_bitmaps()
    this.#map = this.#bitmap(L.LN_MAP, sectors)
    this.#invalid = this.#bitmap(L.LN_INVALID, sectors)
  }

  #bitmap(field: number, sectors: number): Uint32Array {
    const words = Math.ceil(sectors / WORD_BITS)
    const at = this.#memory.alloc(4 * words)
    this.set(field, at)
    return new Uint32Array(this.#memory.words.buffer, at, words)
  }

  free_map(): void {
    if (this.#map !== null) this.#memory.free(this.#map.byteOffset, this.#map.byteLength)
    this.#map = null
    this.set(L.LN_MAP, 0)
  }

  free_bitmaps(): void {
    this.free_map()
    if (this.#invalid !== null)
      this.#memory.free(this.#invalid.byteOffset, this.#invalid.byteLength)
    this.#invalid = null
    this.set(L.LN_INVALID, 0)
  }
}
