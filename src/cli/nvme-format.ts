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
  | 'oui'
  | 'guid'
  | readonly ['text' | 'bytes', number]
export type Field = readonly [name: string, at: number, kind: Kind]

export type Value = string | number | bigint | readonly Fields[]
export type Fields = { readonly [name: string]: Value }

/** Where the five parts of a GUID begin. */
const GUID_AT = [0, 4, 6, 8, 10]

function read(id: nvme_id, at: number, kind: Kind): string | number | bigint {
  if (typeof kind !== 'string')
    return kind[0] === 'text' ? id.text(at, kind[1]) : id.hex(at, kind[1])
  if (kind === 'u8') return id.u8(at)
  if (kind === 'u16') return id.u16(at)
  if (kind === 'u32' || kind === 'hex' || kind === 'ver') return id.u32(at)
  if (kind === 'u64') return id.u64(at)
  if (kind === 'guid') return [4, 2, 2, 2, 6].map((n, i) => id.hex(at + GUID_AT[i]!, n)).join('-')
  if (kind === 'oui') return id.u16(at) | (id.u8(at + 2) << 16)
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
  ['ieee', 73, 'oui'],
  ['cmic', 76, 'u8'],
  ['mdts', 77, 'u8'],
  ['cntlid', 78, 'u16'],
  ['ver', 80, 'ver'],
  ['rtd3r', 84, 'u32'],
  ['rtd3e', 88, 'u32'],
  ['oaes', 92, 'u32'],
  ['ctratt', 96, 'u32'],
  ['rrls', 100, 'u16'],
  ['cntrltype', 111, 'u8'],
  ['fguid', 112, 'guid'],
  ['crdt1', 128, 'u16'],
  ['crdt2', 130, 'u16'],
  ['crdt3', 132, 'u16'],
  ['nvmsr', 253, 'u8'],
  ['vwci', 254, 'u8'],
  ['mec', 255, 'u8'],
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
  ['rpmbs', 312, 'u32'],
  ['edstt', 316, 'u16'],
  ['dsto', 318, 'u8'],
  ['fwug', 319, 'u8'],
  ['kas', 320, 'u16'],
  ['hctma', 322, 'u16'],
  ['mntmt', 324, 'u16'],
  ['mxtmt', 326, 'u16'],
  ['sanicap', 328, 'u32'],
  ['hmminds', 332, 'u32'],
  ['hmmaxd', 336, 'u16'],
  ['nsetidmax', 338, 'u16'],
  ['endgidmax', 340, 'u16'],
  ['anatt', 342, 'u8'],
  ['anacap', 343, 'u8'],
  ['anagrpmax', 344, 'u32'],
  ['nanagrpid', 348, 'u32'],
  ['pels', 352, 'u32'],
  ['domainid', 356, 'u16'],
  ['megcap', 368, 'u128'],
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
  ['icsvscc', 530, 'u8'],
  ['nwpc', 531, 'u8'],
  ['acwu', 532, 'u16'],
  ['ocfs', 534, 'u16'],
  ['sgls', 536, 'u32'],
  ['mnan', 540, 'u32'],
  ['maxdna', 544, 'u128'],
  ['maxcna', 560, 'u32'],
  ['subnqn', 768, ['text', 256]],
  ['ioccsz', 1792, 'u32'],
  ['iorcsz', 1796, 'u32'],
  ['icdoff', 1800, 'u16'],
  ['fcatt', 1802, 'u8'],
  ['msdbd', 1803, 'u8'],
  ['ofcs', 1804, 'u16'],
]

/** A power state. */
const POWER_STATE: readonly Field[] = [
  ['max_power', 0, 'u16'],
  ['flags', 3, 'u8'],
  ['entry_lat', 4, 'u32'],
  ['exit_lat', 8, 'u32'],
  ['read_tput', 12, 'u8'],
  ['read_lat', 13, 'u8'],
  ['write_tput', 14, 'u8'],
  ['write_lat', 15, 'u8'],
  ['idle_power', 16, 'u16'],
  ['idle_scale', 18, 'u8'],
  ['active_power', 20, 'u16'],
  ['active_work_scale', 22, 'u8'],
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
  ['nabsn', 40, 'u16'],
  ['nabo', 42, 'u16'],
  ['nabspf', 44, 'u16'],
  ['noiob', 46, 'u16'],
  ['nvmcap', 48, 'u128'],
  ['nsattr', 99, 'u8'],
  ['nvmsetid', 100, 'u16'],
  ['mssrl', 74, 'u16'],
  ['mcl', 76, 'u32'],
  ['msrc', 80, 'u8'],
  ['nulbaf', 82, 'u8'],
  ['anagrpid', 92, 'u32'],
  ['endgid', 102, 'u16'],
  ['nguid', 104, ['bytes', 16]],
  ['eui64', 120, ['bytes', 8]],
]

export const SMART: readonly Field[] = [
  ['critical_warning', 0, 'u8'],
  ['temperature', 1, 'u16'],
  ['avail_spare', 3, 'u8'],
  ['spare_thresh', 4, 'u8'],
  ['percent_used', 5, 'u8'],
  ['endurance_grp_critical_warning_summary', 6, 'u8'],
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
  ['thm_temp1_trans_count', 216, 'u32'],
  ['thm_temp2_trans_count', 220, 'u32'],
  ['thm_temp1_total_time', 224, 'u32'],
  ['thm_temp2_total_time', 228, 'u32'],
]

const ERROR_ENTRY: readonly Field[] = [
  ['error_count', 0, 'u64'],
  ['sqid', 8, 'u16'],
  ['cmdid', 10, 'u16'],
  ['status_field', 12, 'u16'],
  ['phase_tag', 12, 'u16'],
  ['parm_error_location', 14, 'u16'],
  ['lba', 16, 'u64'],
  ['nsid', 24, 'u32'],
  ['vs', 28, 'u8'],
  ['trtype', 29, 'u8'],
  ['cs', 32, 'u64'],
  ['trtype_spec_info', 40, 'u16'],
]

/** What the lines of an error entry are called where that is not the field's name. */
const ERROR_LINES: Readonly<Record<string, string>> = { parm_error_location: 'parm_err_loc' }

/** An entry of the error log; status and phase share a word. */
export function errorEntry(data: Uint8Array): Fields {
  const fields = fieldsOf(data, ERROR_ENTRY)
  const word = Number(fields.status_field)
  return { ...fields, status_field: word >>> 1, phase_tag: word & 1 }
}

/** The power states of a controller. */
export function powerStates(data: Uint8Array): Fields[] {
  const count = new nvme_id(data).u8(263) + 1
  return Array.from({ length: count }, (_, i) =>
    fieldsOf(data.slice(2048 + 32 * i, 2080 + 32 * i), POWER_STATE),
  )
}

/** What the lines of a health log are called where that is not the field's name, and its unit. */
const SMART_LINES: Readonly<Record<string, readonly [name: string, unit?: string]>> = {
  avail_spare: ['available_spare', '%'],
  spare_thresh: ['available_spare_threshold', '%'],
  percent_used: ['percentage_used', '%'],
  endurance_grp_critical_warning_summary: ['endurance group critical warning summary'],
  data_units_read: ['Data Units Read'],
  data_units_written: ['Data Units Written'],
  warning_temp_time: ['Warning Temperature Time'],
  critical_comp_time: ['Critical Composite Temperature Time'],
  thm_temp1_trans_count: ['Thermal Management T1 Trans Count'],
  thm_temp2_trans_count: ['Thermal Management T2 Trans Count'],
  thm_temp1_total_time: ['Thermal Management T1 Total Time'],
  thm_temp2_total_time: ['Thermal Management T2 Total Time'],
}
const KELVIN = 273
const SMART_WIDTH = 40

/** Data units, of a thousand blocks of 512 bytes, as `512.00 kB`. */
function decimalBytes(units: number): string {
  let bytes = units * 512_000
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P']
  while (bytes >= 1000 && prefixes.length > 1) {
    bytes /= 1000
    prefixes.shift()
  }
  return `${bytes.toFixed(2)} ${prefixes[0]}B`
}

/** The health log in lines. */
export function smartLines(fields: Fields): string {
  const lines = Object.entries(fields).map(([field, value]) => {
    const [name, unit = ''] = SMART_LINES[field] ?? [field]
    const celsius = field === 'temperature' ? `${Number(value) - KELVIN}°C (${value} Kelvin)` : null
    const bytes = field.startsWith('data_units') ? ` (${decimalBytes(Number(value))})` : ''
    return `${name.padEnd(SMART_WIDTH)}: ${celsius ?? `${value}${unit}${bytes}`}\n`
  })
  return lines.join('')
}

const FEATURES: Readonly<Record<number, string>> = {
  1: 'Arbitration',
  2: 'Power Management',
  3: 'LBA Range Type',
  4: 'Temperature Threshold',
  5: 'Error Recovery',
  6: 'Volatile Write Cache',
  7: 'Number of Queues',
  8: 'Interrupt Coalescing',
  9: 'Interrupt Vector Configuration',
  10: 'Write Atomicity Normal',
  11: 'Async Event Configuration',
  12: 'Autonomous Power State Transition',
  13: 'Host Memory Buffer',
  14: 'Timestamp',
  15: 'Keep Alive Timer',
  22: 'Host Behavior',
  23: 'Sanitize',
  128: 'Software Progress',
  129: 'Host Identifier',
  132: 'Namespace Write Protect',
}

/** `0x07 (Number of Queues)`. */
export function featureTitle(fid: number): string {
  return `0x${fid.toString(16).padStart(2, '0')} (${FEATURES[fid] ?? 'Unknown'})`
}

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
  'cntlid',
  'rtd3r',
  'rtd3e',
  'rrls',
  'rpmbs',
  'hctma',
  'sanicap',
  'apsta',
])
const MORE_HEX = new Set(['cqes', 'oncs', 'fuses', 'fna', 'vwc', 'sgls', 'nsze', 'ncap', 'nuse'])

function shown(name: string, value: string | number | bigint): string {
  if (typeof value === 'string') return value
  if (name === 'ieee') return value.toString(16).padStart(6, '0')
  const hex =
    HEX.has(name) || MORE_HEX.has(name) || ['nsfeat', 'flbas', 'mc', 'dpc', 'dps'].includes(name)
  return hex && Number(value) !== 0 ? `0x${value.toString(16)}` : value.toString()
}

/** Lines `name      : value`, as nvme-cli writes them; the colon comes after so many characters, or where the longest name ends. */
export function toLines(fields: Fields, wanted?: number): string {
  const simple = Object.entries(fields).filter(([, v]) => typeof v !== 'object')
  const width = wanted ?? Math.max(10, ...simple.map(([name]) => name.length + 1))
  return simple
    .map(([name, v]) => `${name.padEnd(width)}: ${shown(name, v as string | number | bigint)}\n`)
    .join('')
}

/** An entry of the error log in lines. */
export function errorLines(entry: Fields): string {
  const named = Object.entries(entry).map(([name, value]) => [ERROR_LINES[name] ?? name, value])
  return toLines(Object.fromEntries(named), 16)
}
