// Data of NVMe as nvme-cli shows them: tables of fields with their names, offsets and kinds, and two ways to print them.

import { nvme_id } from '../drivers/nvme/host/core-identify.js'

/** A field: name, byte offset, and what is there. Text and bytes have a length. */
type Kind =
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'u128'
  | 'hex'
  | 'ver'
  | readonly ['text' | 'bytes', number]
export type Field = readonly [name: string, at: number, kind: Kind]

export type Value = string | number | bigint | readonly Fields[]
export type Fields = { readonly [name: string]: Value }

function read(id: nvme_id, at: number, kind: Kind): string | number | bigint {
  if (typeof kind !== 'string')
    return kind[0] === 'text' ? id.text(at, kind[1]) : id.hex(at, kind[1])
  if (kind === 'u8') return id.u8(at)
  if (kind === 'u16') return id.u16(at)
  if (kind === 'u32' || kind === 'hex' || kind === 'ver') return id.u32(at)
  if (kind === 'u64') return id.u64(at)
  return id.u64(at) | (id.u64(at + 8) << 64n)
}

/** The fields of a structure. */
export function fieldsOf(data: Uint8Array, table: readonly Field[]): Record<string, Value> {
  const id = new nvme_id(data)
  return Object.fromEntries(table.map(([name, at, kind]) => [name, read(id, at, kind)]))
}

export const ID_CTRL: readonly Field[] = [
  ['vid', 0, 'u16'],
  ['ssvid', 2, 'u16'],
  ['sn', 4, ['text', 20]],
  ['mn', 24, ['text', 40]],
  ['fr', 64, ['text', 8]],
  ['rab', 72, 'u8'],
  ['ieee', 73, ['bytes', 3]],
  ['cmic', 76, 'u8'],
  ['mdts', 77, 'u8'],
  ['cntlid', 78, 'u16'],
  ['ver', 80, 'ver'],
  ['rtd3r', 84, 'u32'],
  ['rtd3e', 88, 'u32'],
  ['oaes', 92, 'u32'],
  ['ctratt', 96, 'u32'],
  ['oacs', 256, 'u16'],
  ['acl', 258, 'u8'],
  ['aerl', 259, 'u8'],
  ['frmw', 260, 'u8'],
  ['lpa', 261, 'u8'],
  ['elpe', 262, 'u8'],
  ['npss', 263, 'u8'],
  ['avscc', 264, 'u8'],
  ['apsta', 265, 'u8'],
  ['wctemp', 266, 'u16'],
  ['cctemp', 268, 'u16'],
  ['mtfa', 270, 'u16'],
  ['hmpre', 272, 'u32'],
  ['hmmin', 276, 'u32'],
  ['tnvmcap', 280, 'u128'],
  ['unvmcap', 296, 'u128'],
  ['kas', 320, 'u16'],
  ['hmminds', 332, 'u32'],
  ['hmmaxd', 336, 'u16'],
  ['sanicap', 328, 'u32'],
  ['sqes', 512, 'u8'],
  ['cqes', 513, 'u8'],
  ['maxcmd', 514, 'u16'],
  ['nn', 516, 'u32'],
  ['oncs', 520, 'u16'],
  ['fuses', 522, 'u16'],
  ['fna', 524, 'u8'],
  ['vwc', 525, 'u8'],
  ['awun', 526, 'u16'],
  ['awupf', 528, 'u16'],
  ['acwu', 532, 'u16'],
  ['sgls', 536, 'u32'],
  ['mnan', 540, 'u32'],
  ['subnqn', 768, ['text', 256]],
]

export const ID_NS: readonly Field[] = [
  ['nsze', 0, 'u64'],
  ['ncap', 8, 'u64'],
  ['nuse', 16, 'u64'],
  ['nsfeat', 24, 'u8'],
  ['nlbaf', 25, 'u8'],
  ['flbas', 26, 'u8'],
  ['mc', 27, 'u8'],
  ['dpc', 28, 'u8'],
  ['dps', 29, 'u8'],
  ['nmic', 30, 'u8'],
  ['rescap', 31, 'u8'],
  ['fpi', 32, 'u8'],
  ['dlfeat', 33, 'u8'],
  ['nawun', 34, 'u16'],
  ['nawupf', 36, 'u16'],
  ['nacwu', 38, 'u16'],
  ['noiob', 46, 'u16'],
  ['nvmcap', 48, 'u128'],
  ['nsattr', 99, 'u8'],
  ['nguid', 104, ['bytes', 16]],
  ['eui64', 120, ['bytes', 8]],
]

export const SMART: readonly Field[] = [
  ['critical_warning', 0, 'u8'],
  ['temperature', 1, 'u16'],
  ['avail_spare', 3, 'u8'],
  ['spare_thresh', 4, 'u8'],
  ['percent_used', 5, 'u8'],
  ['data_units_read', 32, 'u128'],
  ['data_units_written', 48, 'u128'],
  ['host_read_commands', 64, 'u128'],
  ['host_write_commands', 80, 'u128'],
  ['controller_busy_time', 96, 'u128'],
  ['power_cycles', 112, 'u128'],
  ['power_on_hours', 128, 'u128'],
  ['unsafe_shutdowns', 144, 'u128'],
  ['media_errors', 160, 'u128'],
  ['num_err_log_entries', 176, 'u128'],
  ['warning_temp_time', 192, 'u32'],
  ['critical_comp_time', 196, 'u32'],
]

export const ERROR_ENTRY: readonly Field[] = [
  ['error_count', 0, 'u64'],
  ['sqid', 8, 'u16'],
  ['cmdid', 10, 'u16'],
  ['status_field', 12, 'u16'],
  ['parm_error_location', 14, 'u16'],
  ['lba', 16, 'u64'],
  ['nsid', 24, 'u32'],
  ['vs', 28, 'u8'],
  ['cs', 32, 'u64'],
]

/** The LBA formats of a namespace. */
export function lbaFormats(data: Uint8Array): Fields[] {
  const id = new nvme_id(data)
  return Array.from({ length: id.u8(25) + 1 }, (_, i) => ({
    ms: id.u16(128 + 4 * i),
    ds: id.u8(130 + 4 * i),
    rp: id.u8(131 + 4 * i) & 3,
  }))
}

/** JSON, numbers too large for one as text. */
export function toJson(value: unknown): string {
  const plain = (_: string, v: unknown): unknown =>
    typeof v === 'bigint' ? (v <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(v) : v.toString()) : v
  return `${JSON.stringify(value, plain, 2)}\n`
}

const HEX = new Set([
  'vid',
  'ssvid',
  'cmic',
  'ver',
  'oaes',
  'ctratt',
  'oacs',
  'frmw',
  'lpa',
  'sqes',
])
const MORE_HEX = new Set(['cqes', 'oncs', 'fuses', 'fna', 'vwc', 'sgls', 'nsze', 'ncap', 'nuse'])

function shown(name: string, value: string | number | bigint): string {
  if (typeof value === 'string') return value
  const hex =
    HEX.has(name) || MORE_HEX.has(name) || ['nsfeat', 'flbas', 'mc', 'dpc', 'dps'].includes(name)
  return hex ? `0x${value.toString(16)}` : value.toString()
}

/** Lines `name      : value`, as nvme-cli writes them. */
export function toLines(fields: Fields): string {
  const simple = Object.entries(fields).filter(([, v]) => typeof v !== 'object')
  const width = Math.max(9, ...simple.map(([name]) => name.length))
  return simple
    .map(([name, v]) => `${name.padEnd(width)} : ${shown(name, v as string | number | bigint)}\n`)
    .join('')
}
