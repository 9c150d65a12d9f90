// Reads through pblk: from the ring, from the device, or both. drivers/lightnvm/pblk-read.c of Linux 4.19.
//
//   all unmapped or in the ring   ends at once
//   none                          one request with the bio's own pages
//   some                          a request for the holes ("partial read"); here too they are read into the bio's pages
//
// Each sector on the media holds its line while it is read. Its out-of-band lba must be the one that was asked for: if not,
// that is logged and the data are returned all the same.
//
// Different from 4.19: sectors that were never written, or discarded, read as zeros (there the buffer stays as it was),
// and a read that the device fails ends with an error (there without), unless quirks=4.19.

import { BLK_STS_IOERR } from '../../../assembly/nvme.js'
import { printk, type Sleep } from '../../kernel/core.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import {
  NVM_IO_DONE,
  NVM_IO_ERR,
  NVM_IO_OK,
  NVM_OP_PREAD,
  NVM_RSP_ERR_EMPTYPAGE,
  NVM_RSP_WARN_HIGHECC,
  type nvm_rq,
  SECTOR_BYTES,
} from './lightnvm.js'
import {
  ADDR_EMPTY,
  addr_to_gen_ppa,
  type bio_parts,
  end_part,
  oob_lba,
  PBLK_MAX_REQ_ADDRS,
  type pblk,
  type pblk_gc_rq,
  pblk_addr_in_cache,
  pblk_ppa_empty,
  pblk_ppa_to_t,
  pblk_t_line,
  pblk_t_of,
  pblk_t_to_ppa,
} from './pblk.js'
import { pblk_acct } from './pblk-cache.js'
import {
  hex,
  pblk_alloc_dma,
  pblk_alloc_rqd,
  pblk_free_rqd,
  pblk_io_over,
  pblk_lookup_l2p_seq,
  pblk_set_read_mode,
  pblk_submit_io,
  pblk_submit_io_sync,
} from './pblk-core.js'
import { pblk_line_put } from './pblk-line-free.js'
import { pblk_rb_copy_to_bio } from './pblk-rb.js'

export interface r_private {
  readonly pblk: pblk
  readonly parts: bio_parts
}

const found = new Float64Array(PBLK_MAX_REQ_ADDRS)

function pblk_log_read_err(pblk: pblk, rqd: nvm_rq): void {
  if (rqd.error === NVM_RSP_ERR_EMPTYPAGE) pblk.read_empty++
  else if (rqd.error === NVM_RSP_WARN_HIGHECC) pblk.read_high_ecc++
  else {
    pblk.read_failed++
    printk(pblk.k, 'err', `pblk ${pblk.name}: read failed: ${hex(rqd.error)}`)
  }
}

/** Each sector must be what was asked for. */
function pblk_read_check(pblk: pblk, rqd: nvm_rq, lbas: Float64Array): void {
  for (let i = 0; i < rqd.nr_ppas; i++) {
    const lba = oob_lba(pblk, rqd, i)
    if (lba === ADDR_EMPTY || lba === lbas[i]) continue
    printk(pblk.k, 'warn', `pblk ${pblk.name}: corrupted read LBA (${lba}/${lbas[i]})`)
  }
}

function is_error(rqd: nvm_rq): boolean {
  return rqd.error !== 0 && rqd.error !== NVM_RSP_WARN_HIGHECC
}

function __pblk_end_io_read(pblk: pblk, rqd: nvm_rq, put: boolean): void {
  const t = enter(pblk.k, '__pblk_end_io_read')
  if (put) {
    const b = enter(pblk.k, 'bio_put')
    trace_call(pblk.k, 'bio_free')
    leave(pblk.k, b)
    for (let i = 0; i < rqd.nr_ppas; i++)
      pblk_line_put(pblk, pblk_t_line(pblk, pblk_ppa_to_t(pblk, rqd.ppa_list[i])))
  }
  pblk_free_rqd(pblk, rqd)
  leave(pblk.k, t)
}

export function pblk_end_io_read(rqd: nvm_rq): void {
  const { pblk, parts } = rqd.private as r_private
  const t = enter(pblk.k, 'pblk_end_io_read')
  if (rqd.error !== 0) pblk_log_read_err(pblk, rqd)
  else pblk_read_check(pblk, rqd, rqd.lbas)
  end_part(parts, is_error(rqd) && !pblk.quirks ? BLK_STS_IOERR : 0)
  __pblk_end_io_read(pblk, rqd, true)
  pblk_io_over(pblk)
  leave(pblk.k, t)
}

/** A sector that was never written, or was discarded. */
function read_nothing({ memory, quirks }: pblk, to: number): void {
  if (!quirks) memory.bytes.fill(0, to, to + SECTOR_BYTES)
}

/** Serves what is in the ring or nowhere; the rest goes into the request. @returns sectors of the request */
function pblk_read_ppalist_rq(
  pblk: pblk,
  rqd: nvm_rq,
  lbas: Float64Array,
  lba: number,
  n: number,
  data: number,
): number {
  let holes = 0
  pblk_lookup_l2p_seq(pblk, found, lba, n)
  for (let i = 0; i < n; i++) {
    const at = found[i]
    const to = data + i * SECTOR_BYTES
    if (pblk_ppa_empty(pblk, at)) read_nothing(pblk, to)
    else if (pblk_addr_in_cache(pblk, at))
      pblk_rb_copy_to_bio(pblk, to, lba + i, at - pblk.cached_base)
    else {
      rqd.ppa_list[holes] = pblk_t_to_ppa(pblk, at)
      rqd.pages[holes] = to
      lbas[holes] = lba + i
      holes++
    }
  }
  return holes
}

/** Reads at most 64 sectors. NVM_IO_DONE: they are there; NVM_IO_OK: the part ends later. */
export function pblk_submit_read(
  pblk: pblk,
  parts: bio_parts,
  lba: number,
  n: number,
  data: number,
): number {
  const t = enter(pblk.k, 'pblk_submit_read')
  if (lba + n > pblk.rl.nr_secs || n > PBLK_MAX_REQ_ADDRS) {
    printk(pblk.k, 'warn', `pblk ${pblk.name}: read of lba ${lba} is out of range`)
    return leave(pblk.k, t, NVM_IO_ERR)
  }
  pblk_acct(pblk)
  const rqd = pblk_alloc_rqd(pblk)
  pblk_alloc_dma(pblk, rqd)
  rqd.opcode = NVM_OP_PREAD
  rqd.nr_ppas = pblk_read_ppalist_rq(pblk, rqd, rqd.lbas, lba, n, data)
  if (rqd.nr_ppas === 0) {
    __pblk_end_io_read(pblk, rqd, false)
    return leave(pblk.k, t, NVM_IO_DONE)
  }
  if (rqd.nr_ppas === n) {
    const c = enter(pblk.k, 'bio_clone_fast')
    trace_call(pblk.k, 'bio_alloc_bioset')
    leave(pblk.k, c)
  } else trace_call(pblk.k, 'pblk_partial_read')
  rqd.flags = pblk_set_read_mode(pblk, rqd.nr_ppas)
  rqd.end_io = pblk_end_io_read
  rqd.private = { pblk, parts } satisfies r_private
  if (pblk_submit_io(pblk, rqd) === 0) return leave(pblk.k, t, NVM_IO_OK)
  __pblk_end_io_read(pblk, rqd, true)
  return leave(pblk.k, t, NVM_IO_ERR)
}

// ---------------------------------------------------------------- for the collector

/** Drops the sectors of a collector's request that have moved on, and fills the request with the others. */
function read_ppalist_rq_gc(pblk: pblk, rqd: nvm_rq, gc_rq: pblk_gc_rq): number {
  let valid = 0
  for (let i = 0; i < gc_rq.nr_secs; i++) {
    const lba = gc_rq.lba_list[i]
    if (lba === ADDR_EMPTY) continue
    const paddr = gc_rq.paddr_list[i]
    const known = lba < pblk.rl.nr_secs ? pblk.trans_map[lba] : pblk.addr_empty
    if (known !== pblk_t_of(pblk, gc_rq.line.id, paddr)) {
      gc_rq.lba_list[i] = ADDR_EMPTY
      continue
    }
    rqd.ppa_list[valid] = addr_to_gen_ppa(pblk, paddr, gc_rq.line.id)
    rqd.pages[valid] = gc_rq.data + valid * SECTOR_BYTES
    valid++
  }
  return valid
}

/** Each sector must be what the line says it is. */
function pblk_read_check_rand(pblk: pblk, rqd: nvm_rq, gc_rq: pblk_gc_rq): void {
  const lbas = gc_rq.lba_list.slice(0, gc_rq.nr_secs).filter(lba => lba !== ADDR_EMPTY)
  pblk_read_check(pblk, rqd, lbas)
}

/** Reads what a collector's request still wants. 0 or an error; `secs_to_gc` is how many sectors there are. */
export function* pblk_submit_read_gc(pblk: pblk, gc_rq: pblk_gc_rq): Sleep<number> {
  const t = enter(pblk.k, 'pblk_submit_read_gc')
  const rqd = pblk_alloc_rqd(pblk)
  pblk_alloc_dma(pblk, rqd)
  gc_rq.secs_to_gc = read_ppalist_rq_gc(pblk, rqd, gc_rq)
  let error = 0
  if (gc_rq.secs_to_gc > 0) {
    rqd.opcode = NVM_OP_PREAD
    rqd.nr_ppas = gc_rq.secs_to_gc
    rqd.flags = pblk_set_read_mode(pblk, rqd.nr_ppas)
    error = yield* pblk_submit_io_sync(pblk, rqd)
    if (error === 0 && is_error(rqd)) {
      pblk.read_failed_gc++
      printk(pblk.k, 'err', `pblk ${pblk.name}: GC read failed: ${hex(rqd.error)}`)
      error = rqd.error
    } else if (error === 0) pblk_read_check_rand(pblk, rqd, gc_rq)
  }
  pblk_free_rqd(pblk, rqd)
  return leave(pblk.k, t, error)
}
