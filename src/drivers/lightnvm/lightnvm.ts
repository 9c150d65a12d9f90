// What the LightNVM subsystem, its targets and the drivers of open-channel devices share: include/linux/lightnvm.h of
// Linux 4.19.
//
//   nvm_dev      a device: geometry, LUNs in use, targets, and what its driver does for it (nvm_dev_ops)
//   nvm_tgt_dev  the part of a device that a target has: some LUNs, numbered anew
//   nvm_rq       one command to the device: up to 64 addresses, their pages, their out-of-band data
//
// An address (`ppa`) is a number of 53 bits: sector 21, channel 8, LUN 8, chunk 16, from low to high. A chunk of revision
// 1.2 is a block over its planes, and its sectors are counted as its address counts them: sector, plane, page. The device
// has its own format, with fields as long as they must be; only nvm_submit_io and its kin turn one into the other.
//
// Memory that a device reads or writes (sectors, out-of-band data, lists of addresses) is the machine's: byte addresses in
// `nvm_memory`. The rest is on JavaScript's side.

import type { Sleep } from '../../kernel/core.js'
import type { Kernel } from '../../kernel/kernel.js'

/** Addresses of a command: bounded by the 64 bits of its completion. */
export const NVM_MAX_VLBA = 64
/** "The target chooses." */
export const NVM_TARGET_DEFAULT_OP = 101
export const NVM_TARGET_MIN_OP = 3
export const NVM_TARGET_MAX_OP = 80
export const NVM_TARGET_FACTORY = 1

/** What a target's functions say of a bio. */
export const NVM_IO_OK = 0
export const NVM_IO_REQUEUE = 1
export const NVM_IO_DONE = 2
export const NVM_IO_ERR = 3

/** A write that says which logical sector it is about, for devices that keep a table. */
export const NVM_OP_HBWRITE = 0x81
export const NVM_OP_ERASE = 0x90
export const NVM_OP_PWRITE = 0x91
export const NVM_OP_PREAD = 0x92

/** rqd.flags (1.2 only): plane mode in the low bits. */
export const NVM_IO_SUSPEND = 0x80
export const NVM_IO_SCRAMBLE_ENABLE = 0x200

/** Bytes of a bad-block table's entry. */
export const NVM_BLK_T_FREE = 0
export const NVM_BLK_T_BAD = 1
export const NVM_BLK_T_GRWN_BAD = 2

/** rqd.error: NVMe statuses. */
export const NVM_RSP_ERR_FAILWRITE = 0x40ff
export const NVM_RSP_ERR_EMPTYPAGE = 0x42ff
/** A write that is not at the write pointer of its chunk, and a reset of a chunk that may not be reset. */
export const NVM_RSP_ERR_OUTOFORDER = 0x42f2
export const NVM_RSP_ERR_INVALIDRESET = 0x42c1
export const NVM_RSP_ERR_FAILECC = 0x4281
export const NVM_RSP_ERR_FAILCRC = 0x4004
export const NVM_RSP_WARN_HIGHECC = 0x4700

/** geo.dom: the device keeps the logical-to-physical table. */
export const NVM_RSP_L2P = 1

/** States of a chunk in the device's log. */
export const NVM_CHK_ST_FREE = 1
export const NVM_CHK_ST_CLOSED = 2
export const NVM_CHK_ST_OPEN = 4
export const NVM_CHK_ST_OFFLINE = 8

/** Bytes: a sector as targets expose it, its out-of-band data, a block of the DMA pool, where its address list begins. */
export const SECTOR_BYTES = 4096
export const OOB_BYTES = 16
export const DMA_BLOCK_BYTES = 4096
export const DMA_PPA_OFFSET = 1024

// ---------------------------------------------------------------- geometry

/** One field of a device's address: its lowest bit and its length. */
export interface addr_field {
  readonly offset: number
  readonly len: number
}

/** The device's address format. 2.0 has no planes and no pages: `sec` is the sector of the chunk. */
export interface nvm_addrf {
  readonly ch: addr_field
  readonly lun: addr_field
  readonly chk: addr_field
  readonly pg: addr_field
  readonly pln: addr_field
  readonly sec: addr_field
}

export interface nvm_geo {
  /** 12 or 20. */
  readonly version: number
  readonly minor: number
  /** Channels, and LUNs of each; -1 when a target's channels differ. */
  readonly num_ch: number
  readonly num_lun: number
  readonly all_luns: number
  /** Chunks of a LUN, and of all. */
  readonly num_chk: number
  readonly all_chunks: number
  /** Over-provisioning that a target asked for, percent. */
  readonly op: number
  readonly total_secs: number
  /** Sectors of a chunk; bytes of a sector and of its out-of-band data. */
  readonly clba: number
  readonly csecs: number
  readonly sos: number
  readonly ws_min: number
  readonly ws_opt: number
  readonly mw_cunits: number
  readonly maxoc: number
  readonly maxocpu: number
  readonly mccap: number
  /** Times in ns: read, program, erase; typical and most. */
  readonly trdt: number
  readonly trdm: number
  readonly tprt: number
  readonly tprm: number
  readonly tbet: number
  readonly tbem: number
  readonly addrf: nvm_addrf
  /** Of 1.2 alone. */
  readonly vmnt: number
  readonly cap: number
  readonly dom: number
  readonly mtype: number
  readonly fmtype: number
  readonly cpar: number
  readonly mpos: number
  readonly num_pln: number
  readonly pln_mode: number
  readonly num_pg: number
  readonly fpg_sz: number
}

// ---------------------------------------------------------------- addresses

const CH = 2 ** 21
const LUN = 2 ** 29
const CHK = 2 ** 37

/** An address of its parts. */
export function ppa_of(ch: number, lun: number, chk: number, sec: number): number {
  return sec + ch * CH + lun * LUN + chk * CHK
}

export function ppa_sec(ppa: number): number {
  return ppa - Math.floor(ppa / CH) * CH
}

export function ppa_ch(ppa: number): number {
  return Math.floor(ppa / CH) & 0xff
}

export function ppa_lun(ppa: number): number {
  return Math.floor(ppa / LUN) & 0xff
}

export function ppa_chk(ppa: number): number {
  return Math.floor(ppa / CHK)
}

/** Powers of two: `2 ** n` and `%` of large numbers are calls out of compiled code. */
const POW2: Float64Array = Float64Array.from({ length: 65 }, (_, n) => 2 ** n)

function put(value: number, field: addr_field): number {
  return value * POW2[field.offset]
}

function get(address: number, field: addr_field): number {
  const above = Math.floor(address / POW2[field.offset])
  const size = POW2[field.len]
  return above - Math.floor(above / size) * size
}

/** An address in the device's format. */
export function generic_to_dev_addr(geo: nvm_geo, ppa: number): number {
  const { addrf } = geo
  const sec = ppa_sec(ppa)
  const upper =
    put(ppa_chk(ppa), addrf.chk) + put(ppa_lun(ppa), addrf.lun) + put(ppa_ch(ppa), addrf.ch)
  if (geo.version === 20) return upper + put(sec, addrf.sec)
  const per_page = geo.ws_min
  const plane = Math.floor(sec / per_page) % geo.num_pln
  const page = Math.floor(sec / (per_page * geo.num_pln))
  return upper + put(sec % per_page, addrf.sec) + put(plane, addrf.pln) + put(page, addrf.pg)
}

/** The address that a device means. */
export function dev_to_generic_addr(geo: nvm_geo, address: number): number {
  const { addrf } = geo
  let sec = get(address, addrf.sec)
  if (geo.version !== 20) {
    const page = get(address, addrf.pg) * geo.num_pln + get(address, addrf.pln)
    sec += page * geo.ws_min
  }
  return ppa_of(get(address, addrf.ch), get(address, addrf.lun), get(address, addrf.chk), sec)
}

// ---------------------------------------------------------------- memory

/** Memory that the device can reach. */
export interface nvm_memory {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  /** Zeroed, on a boundary of 4096; throws when there is none. */
  alloc(bytes: number): number
  free(address: number, bytes: number): void
}

// ---------------------------------------------------------------- requests and devices

/** One command to the device. */
export class nvm_rq {
  dev: nvm_dev | null = null
  opcode = 0
  nr_ppas = 0
  flags = 0
  /** Addresses: the target's, and the device's while the command is there. */
  readonly ppa_list: Float64Array = new Float64Array(NVM_MAX_VLBA)
  /** Byte addresses of the sectors. */
  readonly pages: Uint32Array = new Uint32Array(NVM_MAX_VLBA)
  /** What a target remembers of each sector. */
  readonly lbas: Float64Array = new Float64Array(NVM_MAX_VLBA)
  /** Logical sector of the device that a hybrid write begins with. */
  slba = 0
  /** Called when the pages have moved, before the command is over. */
  bio_end_io: (() => void) | null = null
  /** The driver's: the first of the bios that carry the pages. */
  bio = 0
  /** A block of the DMA pool: out-of-band data, and at DMA_PPA_OFFSET the list that the device fetches. 0: none. */
  dma = 0
  /** NVMe status, and the map of failed addresses. */
  error = 0
  /** It was sent more than once: what was sent first may have been carried out. */
  again = false
  ppa_status_low = 0
  ppa_status_high = 0
  end_io: ((rqd: nvm_rq) => void) | null = null
  private: unknown = null
}

/** Whether address `i` failed. */
export function ppa_failed(rqd: nvm_rq, i: number): boolean {
  const word = i < 32 ? rqd.ppa_status_low : rqd.ppa_status_high
  return ((word >>> (i & 31)) & 1) !== 0
}

/** What the driver of an open-channel device does. Numbers are 0 or negative errors. */
export interface nvm_dev_ops {
  /** Fills in `dev.geo`. */
  identity(dev: nvm_dev): Sleep<number>
  /** The raw table of a LUN. */
  get_bb_tbl(dev: nvm_dev, ppa: number): Sleep<Uint8Array | number>
  set_bb_tbl(dev: nvm_dev, ppas: readonly number[], type: number): Sleep<number>
  /** Descriptors (32 bytes each) of `n` chunks from that of `ppa` on; the device's address. */
  get_chk_meta(dev: nvm_dev, ppa: number, n: number): Sleep<Uint8Array | number>
  /** Device addresses of `n` logical sectors from `slba` on (NVM_L2P_NONE: none), of a device that keeps a table. */
  get_l2p_tbl(dev: nvm_dev, slba: number, n: number): Sleep<Float64Array | number>
  submit_io(dev: nvm_dev, rqd: nvm_rq): number
  submit_io_sync(dev: nvm_dev, rqd: nvm_rq): Sleep<number>
  create_dma_pool(dev: nvm_dev, name: string): boolean
  destroy_dma_pool(dev: nvm_dev): void
  /** A block of the pool. */
  dev_dma_alloc(dev: nvm_dev): number
  dev_dma_free(dev: nvm_dev, address: number): void
  /** The queue by which the core may send commands of its own (VS_*), and the namespace; null: none. */
  core_queue?(dev: nvm_dev): { readonly q: number; readonly nsid: number } | null
}

/** Of get_l2p_tbl: a sector that is nowhere. */
export const NVM_L2P_NONE = -1

/** Where the reverse map has what a target calls a channel or LUN; -1: not a target's. */
export interface nvm_ch_map {
  ch_off: number
  readonly lun_offs: Int32Array
}

export class nvm_dev {
  readonly k: Kernel
  readonly name: string
  readonly ops: nvm_dev_ops
  readonly memory: nvm_memory
  geo: nvm_geo | null = null
  /** One byte for each LUN: taken. */
  lun_map: Uint8Array = new Uint8Array(0)
  rmap: nvm_ch_map[] = []
  readonly targets: nvm_target[] = []
  /** Logical sectors that targets have, in order of their beginnings (area.ts). */
  readonly areas: nvm_area[] = []
  readonly private_data: unknown

  constructor(
    k: Kernel,
    name: string,
    ops: nvm_dev_ops,
    memory: nvm_memory,
    private_data: unknown = null,
  ) {
    this.k = k
    this.name = name
    this.ops = ops
    this.memory = memory
    this.private_data = private_data
  }
}

/** A target's part of the device's logical sectors. */
export interface nvm_area {
  readonly begin: number
  readonly sectors: number
}

export interface nvm_lun {
  readonly ch: number
  readonly lun: number
}

export interface nvm_tgt_dev {
  readonly parent: nvm_dev
  readonly geo: nvm_geo
  /** Every LUN, as the target numbers channels and LUNs. */
  readonly luns: readonly nvm_lun[]
  readonly map: readonly nvm_ch_map[]
}

// ---------------------------------------------------------------- targets

/** One I/O of a target's disk. */
export interface tgt_bio {
  /** REQ_*. */
  readonly opf: number
  /** In 512 bytes, and bytes; whole sectors of 4096. */
  readonly sector: number
  readonly bytes: number
  /** Byte address of the data. */
  readonly data: number
  /** The owner's: called once, with 0 or a blk_status_t. */
  end_io(status: number): void
}

export interface nvm_tgt_type<T = unknown> {
  readonly name: string
  readonly version: readonly [number, number, number]
  /** NVM_IO_REQUEUE: nothing was done, try again when the target's `space` wakes up. */
  make_rq(private_data: T, bio: tgt_bio): number
  /** In 512 bytes. */
  capacity(private_data: T): number
  /** What has ended is on the media: flushes stop at the block layer. */
  readonly write_through?: boolean
  /** The target's data or a negative error. */
  init(dev: nvm_tgt_dev, name: string, flags: number): Sleep<T | number>
  exit(private_data: T, graceful: boolean): Sleep<void>
  /** The block by which the core knows it (Q_TARGET); 0: all bios are TypeScript's. */
  share?(private_data: T): number
  sysfs_init?(private_data: T): number
  sysfs_exit?(private_data: T): void
  readonly sysfs?: nvm_tgt_sysfs<T>
}

/** The attributes of a target in <disk>/<type> of sysfs. */
export interface nvm_tgt_sysfs<T> {
  readonly attributes: readonly {
    readonly name: string
    readonly readable: boolean
    readonly writable: boolean
  }[]
  /** An attribute's text, or a negative error. */
  show(private_data: T, name: string): string | number
  /** How much of a text was taken, or a negative error. */
  store(private_data: T, name: string, page: string): number
}

/** A target's disk, as the block layer has it. */
export interface tgt_disk {
  /**
   * device_add_disk: it can be opened from now on. `capacity` in 512 bytes; `write_cache`: flushes come; `shared`: what the
   * core knows it by, 0 = nothing.
   */
  add(capacity: number, write_cache: boolean, shared: number): Sleep<void>
  /** del_gendisk, and the queue's end. */
  remove(): Sleep<void>
  /** put_disk: the last who held the queue lets go of it. */
  put_disk(): void
}

export interface nvm_target {
  readonly name: string
  readonly type: nvm_tgt_type
  readonly dev: nvm_tgt_dev
  readonly disk: tgt_disk
  readonly private_data: unknown
}
