// What an instance of pblk tells of itself in <disk>/pblk of sysfs, and what may be set there: drivers/lightnvm/pblk-sysfs.c
// of Linux 4.19.
//
//   write_luns          LUNs, and whether a write is under way on each
//   rate_limiter        entries of users and of the collector: held/allowed; state, marks, free chunks
//   errors              reads, writes, erases that failed
//   gc_state            the collector; gc_force (written alone) 1: it works come what may, 0: it rests
//   max_sec_per_write   sectors of the writer's largest request: whole write units, at most one on each LUN and 64
//   write_buffer        the ring's positions and counts
//   ppa_format          bits of an address, offset/length, inside of the instance and on the device
//   lines, lines_info   lines by state and group, the open one; sizes of metadata
//   write_amp_mileage   sectors of users, of the collector, of padding, and all of them over the users', ever
//   write_amp_trip      the same since the instance was made, or 0 was written here
//   padding_dist        flushes by sectors of padding, percent, since then or since 0 was written here
//
// A write ends with a newline, as echo has it; in 4.19 a text without one is refused.
//
// Not modelled: `stats`, which kernels with debug counters have.

import { EACCES, EINVAL, ENOENT } from '../../kernel/errno.js'
import { kstrtoul } from '../../kernel/kstrtox.js'
import { enter, leave, trace_call } from '../../kernel/trace.js'
import { bitmap_weight } from './bitmap.js'
import type { addr_field, nvm_tgt_sysfs } from './lightnvm.js'
import { PBLK_LINETYPE_DATA, type pblk, type pblk_line } from './pblk.js'
import { pblk_set_sec_per_write } from './pblk-core.js'
import { pblk_gc_sysfs_force, pblk_gc_sysfs_state_show } from './pblk-gc.js'
import { emeta_len, smeta_len } from './pblk-meta.js'
import { pblk_rb_sysfs } from './pblk-rb.js'
import { get_count_order, pblk_rl_nr_free_blks } from './pblk-rl.js'

const UINT_MAX = 2 ** 32 - 1

// ---------------------------------------------------------------- write amplification and padding

/** Sectors by who wrote them, and what a user's sector costs: five decimals, cut off. */
function pblk_get_write_amp(user: number, gc: number, pad: number): string {
  const counts = `user:${user} gc:${gc} pad:${pad} WA:`
  if (user === 0) return `${counts}NaN\n`
  const wa = (BigInt(user + gc + pad) * 100000n) / BigInt(user)
  return `${counts}${wa / 100000n}.${String(wa % 100000n).padStart(5, '0')}\n`
}

function pblk_sysfs_get_write_amp_mileage({ user_wa, gc_wa, pad_wa }: pblk): string {
  return pblk_get_write_amp(user_wa, gc_wa, pad_wa)
}

function pblk_sysfs_get_write_amp_trip(pblk: pblk): string {
  const { user_wa, gc_wa, pad_wa, user_rst_wa, gc_rst_wa, pad_rst_wa } = pblk
  return pblk_get_write_amp(user_wa - user_rst_wa, gc_wa - gc_rst_wa, pad_wa - pad_rst_wa)
}

/** How many of `total` flushes in percent, rounded down. */
function bucket_percentage(bucket: number, total: number): number {
  return Math.floor((Math.max(bucket, 0) * 100) / total)
}

function pblk_sysfs_get_padding_dist(pblk: pblk): string {
  const { pad_dist } = pblk
  const total = pblk.nr_flush - pblk.nr_flush_rst
  const padded = pad_dist.reduce((sum, n) => sum + n, 0)
  const buckets = [total - padded, ...pad_dist]
  const shown = (n: number): string => (total === 0 ? '0' : `${bucket_percentage(n, total)}%`)
  return `${buckets.map((n, i) => `${i}:${shown(n)} `).join('')}\n`
}

// ---------------------------------------------------------------- the rest that can be read

function pblk_sysfs_luns_show(pblk: pblk): string {
  return pblk.luns
    .map(({ ch, lun, wr_sem }, i) => {
      const active = wr_sem.count > 0 ? 0 : 1
      return `pblk: pos:${i}, ch:${ch}, lun:${lun} - ${active}\n`
    })
    .join('')
}

function pblk_sysfs_rate_limiter(pblk: pblk): string {
  const { rl, geo } = pblk
  const { rb_user_cnt, rb_user_max, rb_gc_cnt, rb_gc_max, rb_state, rb_budget, high } = rl
  const total = rl.nr_secs / geo.clba
  const held = `u:${rb_user_cnt}/${rb_user_max},gc:${rb_gc_cnt}/${rb_gc_max}(${rb_state})`
  const free = `${pblk_rl_nr_free_blks(pblk)}/${rl.free_user_blocks}/${total}`
  const active = Number(rl.rb_user_active)
  return `${held}(stop:<${rb_budget},full:>${high},free:${free})-${active}\n`
}

function pblk_sysfs_gc_state_show(pblk: pblk): string {
  const { gc_enabled, gc_active } = pblk_gc_sysfs_state_show(pblk)
  return `gc_enabled=${Number(gc_enabled)}, gc_active=${Number(gc_active)}\n`
}

function pblk_sysfs_stats(pblk: pblk): string {
  const names = [
    'read_failed',
    'read_high_ecc',
    'read_empty',
    'read_failed_gc',
    'write_failed',
    'erase_failed',
  ] as const
  return `${names.map(name => `${name}=${pblk[name]}`).join(', ')}\n`
}

const place = (name: string, { offset, len }: addr_field): string => `${name}:${offset}/${len}`

/** Fields one above the other, from bit 0 on. */
function stacked<T extends string>(lens: Record<T, number>): Record<T, addr_field> {
  let offset = 0
  const fields = { ...lens } as unknown as Record<T, addr_field>
  for (const name of Object.keys(lens) as T[]) {
    fields[name] = { offset, len: lens[name] }
    offset += lens[name]
  }
  return fields
}

/** Of 1.2: 4.19 keeps planes and pages apart, where a T here counts all sectors of the chunk in one field of as many bits. */
function ppaf_12({ geo }: pblk): string {
  const { addrf } = geo
  const own = stacked({
    sec: addrf.sec.len,
    pln: addrf.pln.len,
    ch: get_count_order(geo.num_ch),
    lun: get_count_order(geo.num_lun),
    pg: addrf.pg.len,
    chk: addrf.chk.len,
  })
  const row = ({ chk, pg, lun, ch, pln, sec }: Record<keyof typeof own, addr_field>): string => {
    const upper = [place('blk', chk), place('pg', pg), place('lun', lun), place('ch', ch)]
    return [...upper, place('pl', pln), place('sec', sec)].join(',')
  }
  return `g:(b:${own.chk.offset + own.chk.len})${row(own)}\nd:${row(addrf)}\n`
}

function ppaf_20({ geo }: pblk): string {
  const { addrf } = geo
  const own = stacked({
    sec: get_count_order(geo.clba),
    ch: get_count_order(geo.num_ch),
    lun: get_count_order(geo.num_lun),
    chk: get_count_order(geo.num_chk),
  })
  const row = ({ ch, lun, chk }: Record<'ch' | 'lun' | 'chk', addr_field>): string =>
    [place('ch', ch), place('lun', lun), place('chk', chk)].join(',')
  const bits = own.chk.offset + own.chk.len
  const inside = `pblk:(s:${bits})${row(own)}/${place('sec', own.sec)}`
  return `${inside}\ndevice:${row(addrf)},${place('sec', addrf.sec)}\n`
}

function pblk_sysfs_ppaf(pblk: pblk): string {
  return pblk.geo.version === 12 ? ppaf_12(pblk) : ppaf_20(pblk)
}

/** The open line: places taken, left, valid sectors and of how many, bits of its map. */
function data_line_row(pblk: pblk): string {
  const line = pblk.l_mg.data_line
  const { sec_per_line } = pblk.lm
  const map = line === null || line.map_bitmap === null ? null : line.map_bitmap
  const taken = map === null ? 0 : bitmap_weight(map, sec_per_line)
  const [id, cur, left] = line === null ? [-1, 0, 0] : [line.id, line.cur_sec, line.left_msecs]
  const counts = `vsc:${line?.vsc ?? 0}, s:${line?.sec_in_line ?? 0}`
  const places = `map:${taken}/${sec_per_line} (${pblk.inflight_io})`
  return `data (${id}) cur:${cur}, left:${left}, ${counts}, ${places}\n`
}

function pblk_sysfs_lines(pblk: pblk): string {
  const { l_mg, lm, geo, gc } = pblk
  const groups: readonly (readonly [string, Set<pblk_line>])[] = [
    ['full:', l_mg.gc_full_list],
    ['high:', l_mg.gc_high_list],
    ['mid:', l_mg.gc_mid_list],
    ['low:', l_mg.gc_low_list],
    ['empty:', l_mg.gc_empty_list],
    ['werr: ', l_mg.gc_werr_list],
  ]
  const closed = groups.flatMap(([, list]) => [...list])
  const data = closed.filter(line => line.type === PBLK_LINETYPE_DATA).length
  const bufs = l_mg.bufs.filter(buf => buf.line !== null).length
  const open = `d:${l_mg.data_line?.id ?? -1},l:-1-f:${l_mg.nr_free_lines}`
  const meta = `m:${l_mg.emeta_list.size}/${bufs}`
  const bad = `b:${l_mg.bad_list.size},co:${l_mg.corrupt_list.size}`
  return [
    `line: nluns:${geo.all_luns}, nblks:${lm.blk_per_line}, nsecs:${lm.sec_per_line}\n`,
    `lines:${open},${meta},c:${closed.length},${bad}(d:${data},l:0)t:${pblk.lines.length}\n`,
    `GC: ${groups.map(([name, list]) => `${name}${list.size}, `).join('')}queue:${gc.read_inflight_gc}\n`,
    data_line_row(pblk),
  ].join('')
}

/** Bytes of a bitmap in words of 64 bits. */
function bitmap_len(bits: number): number {
  return Math.ceil(bits / 64) * 8
}

function pblk_sysfs_lines_info(pblk: pblk): string {
  const { lm, geo } = pblk
  const emeta_bb = Math.max(0, geo.all_luns - Math.ceil(lm.emeta_sec / geo.clba))
  const [sec, lun] = [lm.sec_per_line, geo.all_luns].map(bitmap_len)
  return [
    `smeta - len:${smeta_len(pblk)}, secs:${lm.smeta_sec}\n`,
    `emeta - len:${emeta_len(pblk)}, sec:${lm.emeta_sec}, bb_start:${emeta_bb}\n`,
    `bitmap lengths: sec:${sec}, blk:${lm.blk_bitmap_len}, lun:${lun}\n`,
    `blk_line:${lm.blk_per_line}, sec_line:${lm.sec_per_line}, sec_blk:${geo.clba}\n`,
  ].join('')
}

function pblk_sysfs_get_sec_per_write(pblk: pblk): string {
  return `${pblk.sec_per_write}\n`
}

// ---------------------------------------------------------------- what can be written

/** The number of a text that ends with a newline; a negative error if it is none. */
function uint_of(page: string): number {
  return page.includes('\n') ? kstrtoul(page, UINT_MAX) : -EINVAL
}

function pblk_sysfs_gc_force(pblk: pblk, page: string): number {
  const force = uint_of(page)
  if (force < 0) return -EINVAL
  pblk_gc_sysfs_force(pblk, force)
  return page.length
}

function pblk_sysfs_set_sec_per_write(pblk: pblk, page: string): number {
  const n = uint_of(page)
  const { min_write_pgs: min, max_write_pgs: max } = pblk
  if (n < min || n > max || n % min !== 0) return -EINVAL
  pblk_set_sec_per_write(pblk, n)
  return page.length
}

function pblk_sysfs_set_write_amp_trip(pblk: pblk, page: string): number {
  if (uint_of(page) !== 0) return -EINVAL
  pblk.user_rst_wa = pblk.user_wa
  pblk.gc_rst_wa = pblk.gc_wa
  pblk.pad_rst_wa = pblk.pad_wa
  return page.length
}

function pblk_sysfs_set_padding_dist(pblk: pblk, page: string): number {
  if (uint_of(page) !== 0) return -EINVAL
  pblk.pad_dist.fill(0)
  pblk.nr_flush_rst = pblk.nr_flush
  return page.length
}

// ---------------------------------------------------------------- the directory

interface pblk_attr {
  readonly show: ((pblk: pblk) => string) | null
  readonly store: ((pblk: pblk, page: string) => number) | null
}

function only(show: (pblk: pblk) => string): pblk_attr {
  return { show, store: null }
}

const ATTRS: ReadonlyMap<string, pblk_attr> = new Map<string, pblk_attr>([
  ['write_luns', only(pblk_sysfs_luns_show)],
  ['rate_limiter', only(pblk_sysfs_rate_limiter)],
  ['errors', only(pblk_sysfs_stats)],
  ['gc_state', only(pblk_sysfs_gc_state_show)],
  ['gc_force', { show: null, store: pblk_sysfs_gc_force }],
  [
    'max_sec_per_write',
    { show: pblk_sysfs_get_sec_per_write, store: pblk_sysfs_set_sec_per_write },
  ],
  ['write_buffer', only(pblk_rb_sysfs)],
  ['ppa_format', only(pblk_sysfs_ppaf)],
  ['lines', only(pblk_sysfs_lines)],
  ['lines_info', only(pblk_sysfs_lines_info)],
  ['write_amp_mileage', only(pblk_sysfs_get_write_amp_mileage)],
  ['write_amp_trip', { show: pblk_sysfs_get_write_amp_trip, store: pblk_sysfs_set_write_amp_trip }],
  ['padding_dist', { show: pblk_sysfs_get_padding_dist, store: pblk_sysfs_set_padding_dist }],
])

/** The attribute of an instance that is in sysfs. */
function attr_of(pblk: pblk, name: string): pblk_attr | undefined {
  return pblk.in_sysfs ? ATTRS.get(name) : undefined
}

/** Reads an attribute: its text, or -ENOENT, or -EACCES where it can be written alone. */
export function pblk_sysfs_show(pblk: pblk, name: string): string | number {
  const attr = attr_of(pblk, name)
  if (attr === undefined) return -ENOENT
  return attr.show === null ? -EACCES : attr.show(pblk)
}

/** Writes an attribute: the characters taken, or -ENOENT, -EACCES (it can be read alone), -EINVAL (not this value). */
export function pblk_sysfs_store(pblk: pblk, name: string, page: string): number {
  const attr = attr_of(pblk, name)
  if (attr === undefined) return -ENOENT
  return attr.store === null ? -EACCES : attr.store(pblk, page)
}

/** The directory <disk>/pblk appears. */
export function pblk_sysfs_init(pblk: pblk): number {
  const t = enter(pblk.k, 'pblk_sysfs_init')
  pblk.in_sysfs = true
  return leave(pblk.k, t, 0)
}

export function pblk_sysfs_exit(pblk: pblk): void {
  trace_call(pblk.k, 'pblk_sysfs_exit')
  pblk.in_sysfs = false
}

/** The attributes, for whoever reads and writes files. */
export const pblk_sysfs: nvm_tgt_sysfs<pblk> = {
  attributes: [...ATTRS].map(([name, { show, store }]) => ({
    name,
    readable: show !== null,
    writable: store !== null,
  })),
  show: pblk_sysfs_show,
  store: pblk_sysfs_store,
}
