// What an instance of pblk computes from its device: sizes of metadata, capacity, marks. A part of
// drivers/lightnvm/pblk-init.c of Linux 4.19.
//
//   smeta   the smallest multiple of ws_opt that holds header and LUN bitmap
//   emeta   the smallest multiple of ws_opt that holds its header (e1) and a list of lbas for the rest of the line (e2)
//   spare   op percent of all good chunks; what users see is the rest less the metadata of all lines
//
// The spare space must free a line in the worst case, in which every line has only op percent that is invalid: 100 / op
// lines. Later kernels see to that: a default is raised, a wish that is too small is refused. 4.19 does neither and ends
// with "no free lines"; quirks=4.19 does so too.

import { printk } from '../../kernel/core.js'
import { EINTR, EINVAL } from '../../kernel/errno.js'
import { NVM_TARGET_DEFAULT_OP, type nvm_geo, OOB_BYTES, SECTOR_BYTES } from './lightnvm.js'
import { PBLK_DEFAULT_OP, PBLK_MAX_REQ_ADDRS, type pblk, type pblk_line_meta } from './pblk.js'
import { EMETA_BITMAP_AT, EMETA_COUNTS_BYTES, SMETA_BITMAP_AT } from './pblk-meta.js'

function up_to(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

function is_power_of_two(n: number): boolean {
  return n > 0 && (n & (n - 1)) === 0
}

/** Why an instance cannot use a geometry, for the log; null if it can. */
export function pblk_geometry_problem(geo: nvm_geo): string | null {
  if (geo.version !== 12 && geo.version !== 20)
    return `OCSSD version not supported (${geo.version})`
  if (geo.version === 12 && (geo.dom & 1) !== 0) return 'host-side L2P table not supported'
  if (geo.num_lun < 0) return 'unbalanced LUN config.'
  if (geo.csecs !== SECTOR_BYTES) return `sectors of ${geo.csecs} bytes are not supported`
  if (geo.sos < OOB_BYTES)
    return `${geo.sos} bytes of metadata are too few: ${OOB_BYTES} are wanted`
  if (geo.ws_opt > PBLK_MAX_REQ_ADDRS) return 'vector list too big'
  if (geo.version === 12 && !(is_power_of_two(geo.num_ch) && is_power_of_two(geo.num_lun)))
    return 'supports only power-of-two channel config.'
  if (geo.clba % geo.ws_opt !== 0) return 'unexpected number of sectors of a chunk'
  return null
}

/** Sizes of lines; null if no line can hold its metadata. */
export function pblk_line_meta_init(
  geo: Pick<nvm_geo, 'csecs' | 'ws_opt' | 'all_luns' | 'clba'>,
): pblk_line_meta | null {
  const { csecs, ws_opt, all_luns, clba } = geo
  const blk_bitmap_len = 8 * Math.ceil(all_luns / 64)
  const sec_per_line = clba * all_luns
  const smeta_sec = up_to(Math.ceil((SMETA_BITMAP_AT + blk_bitmap_len) / csecs), ws_opt)
  const e1 = Math.ceil((EMETA_BITMAP_AT + blk_bitmap_len + EMETA_COUNTS_BYTES) / csecs)
  let emeta_sec = ws_opt
  while (e1 + Math.ceil(((sec_per_line - emeta_sec) * 8) / csecs) > emeta_sec) emeta_sec += ws_opt
  const min_blk_line = all_luns > 1 ? 1 + Math.ceil((smeta_sec + emeta_sec) / clba) : 1
  if (min_blk_line > all_luns) return null
  return {
    blk_per_line: all_luns,
    sec_per_line,
    smeta_sec,
    emeta_sec,
    emeta_lba_sec: e1,
    blk_bitmap_len,
    min_blk_line,
    mid_thrs: sec_per_line / 2,
    high_thrs: sec_per_line / 4,
    meta_distance: Math.floor(all_luns / 2) * ws_opt,
  }
}

/** Chunks of metadata in all free lines. */
export function pblk_blk_meta(pblk: pblk): number {
  return chunks_of_meta(pblk.lm, pblk.l_mg.nr_free_lines, pblk.geo.clba)
}

function chunks_of_meta(lm: pblk_line_meta, lines: number, clba: number): number {
  return Math.ceil(((lm.smeta_sec + lm.emeta_sec) * lines) / clba)
}

/** Good chunks, split. */
interface pblk_provision {
  readonly op: number
  /** For users, and metadata of all lines. */
  readonly provisioned: number
  /** Spare chunks that must be there. */
  readonly minimum: number
  /** The default was not enough. */
  readonly adjusted: boolean
}

function split_chunks(
  wish: number,
  lm: pblk_line_meta,
  nr_free: number,
  quirks: boolean,
): pblk_provision {
  const op = wish === NVM_TARGET_DEFAULT_OP ? PBLK_DEFAULT_OP : wish
  const provisioned = Math.floor((nr_free * (100 - op)) / 100)
  const minimum = Math.ceil(100 / op) * lm.blk_per_line
  const enough = quirks || nr_free - provisioned >= minimum
  if (enough || wish !== NVM_TARGET_DEFAULT_OP) return { op, provisioned, minimum, adjusted: false }
  const raised = Math.floor((100 * minimum) / Math.max(nr_free, 1))
  return { op: raised, provisioned: nr_free - minimum, minimum, adjusted: true }
}

/** Sectors that users see of an instance all of whose chunks are good; 0 or less: it cannot be. */
export function pblk_good_capacity(
  geo: Pick<nvm_geo, 'csecs' | 'ws_opt' | 'all_luns' | 'clba' | 'num_chk' | 'op'>,
  quirks: boolean,
): number {
  const lm = pblk_line_meta_init(geo)
  if (lm === null) return 0
  const nr_free = geo.all_luns * geo.num_chk
  const { provisioned } = split_chunks(geo.op, lm, nr_free, quirks)
  return (provisioned - chunks_of_meta(lm, geo.num_chk, geo.clba)) * geo.clba
}

/** Splits `nr_free` good chunks into the users' and the spare ones. 0 or a negative error. */
export function pblk_set_provision(pblk: pblk, nr_free: number): number {
  const { geo, lm, rl } = pblk
  const { op, provisioned, minimum, adjusted } = split_chunks(geo.op, lm, nr_free, pblk.quirks)
  pblk.op = op
  if (!pblk.quirks && nr_free - provisioned < minimum) {
    const least = Math.ceil((100 * minimum) / Math.max(nr_free, 1))
    printk(
      pblk.k,
      'err',
      `pblk ${pblk.name}: op=${op} leaves ${nr_free - provisioned} of ${nr_free} chunks in spare, ${minimum} are wanted: ask for more than op=${Math.min(least, 80)}`,
    )
    return -EINTR
  }
  if (adjusted)
    printk(pblk.k, 'info', `pblk ${pblk.name}: default OP insufficient, adjusting OP to ${op}`)
  const blk_meta = pblk_blk_meta(pblk)
  pblk.op_blks = nr_free - provisioned
  rl.nr_secs = nr_free * geo.clba
  rl.free_blocks = nr_free
  rl.free_user_blocks = nr_free
  pblk.capacity = (provisioned - blk_meta) * geo.clba
  const spare = pblk.op_blks - blk_meta - lm.blk_per_line
  if (pblk.capacity > 0 && (pblk.quirks || spare > 0)) return 0
  printk(
    pblk.k,
    'err',
    `pblk ${pblk.name}: the device is too small: ${nr_free} chunks, ${minimum + blk_meta} of them are spare space and metadata`,
  )
  return -EINVAL
}
