// `phasebit nvme id-ctrl | id-ns | list | list-ns | get-feature | set-feature | get-log | smart-log | error-log | show-regs |
// reset | format | create-ns | delete-ns | attach-ns`: nvme-cli's words on a machine that is booted for them.

import { OutputError, UserError } from '../core/errors.js'
import { type KernelEra, NVME_ERAS } from '../drivers/nvme/host/era.js'
import {
  NVME_ID_CNS_CTRL,
  NVME_ID_CNS_NS,
  NVME_ID_CNS_NS_ACTIVE_LIST,
  type nvme_ctrl,
  nvme_admin_format_nvm,
  nvme_admin_get_features,
  nvme_admin_get_log_page,
  nvme_admin_identify,
  nvme_admin_ns_attach,
  nvme_admin_ns_mgmt,
  nvme_admin_set_features,
  type nvme_command,
  type nvme_ns,
} from '../drivers/nvme/host/nvme.js'
import { type AdminAnswer, MOST_BYTES, type NvmeMachine, openNvme } from '../workload/nvme-admin.js'
import { didYouMean } from '../workload/suggest.js'
import {
  ERROR_ENTRY,
  type Fields,
  fieldsOf,
  ID_CTRL,
  ID_NS,
  lbaFormats,
  SMART,
  toJson,
  toLines,
} from './nvme-format.js'
import { printOut } from './output.js'

interface Options {
  readonly path: string
  readonly json: boolean
  readonly devices: readonly string[]
  readonly era: KernelEra
  readonly values: ReadonlyMap<string, number>
}

/** Options with a number, by the name that the words use; short forms are nvme-cli's. */
const NUMBERS: Readonly<Record<string, string>> = {
  '-n': 'namespace-id',
  '--namespace-id': 'namespace-id',
  '-f': 'feature-id',
  '--feature-id': 'feature-id',
  '-v': 'value',
  '--value': 'value',
  '-s': 'nsze',
  '--nsze': 'nsze',
  '--sel': 'sel',
  '-S': 'sel',
  '-c': 'ncap',
  '--ncap': 'ncap',
  '-i': 'log-id',
  '--log-id': 'log-id',
  '-l': 'lbaf',
  '--lbaf': 'lbaf',
  '--flbas': 'flbas',
  '--log-len': 'log-len',
  '--ses': 'ses',
  '-e': 'log-entries',
  '--log-entries': 'log-entries',
  '--controllers': 'controllers',
}

function numberOf(option: string, text: string | undefined): number {
  const value = text !== undefined && /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value))
    throw new UserError(`nvme ${option}: '${text ?? ''}' is no number`)
  return value
}

/** @throws UserError */
function parse(word: string, argv: readonly string[]): Options {
  let [path, json, era] = ['', false, '4.19' as KernelEra]
  const devices: string[] = []
  const values = new Map<string, number>()
  const args = argv.flatMap(arg => {
    const at = arg.startsWith('--') ? arg.indexOf('=') : -1
    return at < 0 ? [arg] : [arg.slice(0, at), arg.slice(at + 1)]
  })
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    if (Object.hasOwn(NUMBERS, arg)) values.set(NUMBERS[arg]!, numberOf(arg, args.shift()))
    else if (arg === '-o' || arg === '--output-format') json = isJson(args.shift())
    else if (arg === '--device') devices.push(args.shift() ?? '')
    else if (arg === '--kernel') era = eraOf(args.shift())
    else if (arg.startsWith('-'))
      throw new UserError(
        `nvme ${word}: unknown option ${arg}${didYouMean(arg, [...Object.keys(NUMBERS), '--device', '--kernel', '--output-format'])}`,
      )
    else if (path === '') path = arg
    else throw new UserError(`nvme ${word}: one device at a time, not ${path} and ${arg}`)
  }
  if (path === '' && word !== 'list') throw new UserError(`nvme ${word}: which device? /dev/nvme0`)
  return { path, json, devices, era, values }
}

function isJson(text: string | undefined): boolean {
  if (text === 'json' || text === 'normal') return text === 'json'
  throw new UserError(`nvme -o: '${text ?? ''}' is none of normal, json`)
}

function eraOf(text: string | undefined): KernelEra {
  if (text !== undefined && Object.hasOwn(NVME_ERAS, text)) return text as KernelEra
  throw new UserError(`--kernel ${text ?? ''}: 4.19 and 4.9 are accepted`)
}

// ---------------------------------------------------------------- one command

/** What a word works with. */
interface Context {
  readonly m: NvmeMachine
  readonly o: Options
  readonly ctrl: nvme_ctrl
  readonly ns: nvme_ns | null
}

function numberFor({ o }: Context, name: string, fallback: number | null, most: number): number {
  const value = o.values.get(name) ?? fallback
  if (value === null) throw new UserError(`nvme: --${name} is needed`)
  if (value > most) throw new UserError(`nvme --${name}: ${value} is more than ${most}`)
  return value
}

function nsidOf(c: Context, fallback: number | null = c.ns?.ns_id ?? null): number {
  return numberFor(c, 'namespace-id', fallback, 0xffffffff)
}

/** Sends a command. @throws OutputError with the status that the controller answered */
async function send(
  { m, ctrl }: Context,
  cmd: nvme_command,
  bytes = 0,
  data?: Uint8Array,
): Promise<AdminAnswer> {
  const answer = await m.admin(ctrl, cmd, bytes, data)
  if (answer.status < 0) throw new OutputError(`nvme: error ${-answer.status}`)
  if (answer.status > 0)
    throw new OutputError(`NVMe status: 0x${(answer.status & 0x7fff).toString(16)}`)
  return answer
}

function identify(c: Context, cns: number, nsid: number): Promise<AdminAnswer> {
  return send(c, { opcode: nvme_admin_identify, nsid, cdw10: cns }, 4096)
}

async function log(
  c: Context,
  page: number,
  bytes: number,
  nsid = 0xffffffff,
): Promise<Uint8Array> {
  const numd = bytes / 4 - 1
  const cmd = {
    opcode: nvme_admin_get_log_page,
    nsid,
    cdw10: (page | ((numd & 0xffff) << 16)) >>> 0,
    cdw11: numd >>> 16,
  }
  return (await send(c, cmd, bytes)).data
}

function print(c: Context, title: string, fields: Fields): string {
  return c.o.json ? toJson(fields) : `${title}\n${toLines(fields)}`
}

function hexDump(data: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < data.length; at += 16) {
    const bytes = [...data.subarray(at, at + 16)].map(b => b.toString(16).padStart(2, '0'))
    lines.push(`${at.toString(16).padStart(4, '0')}: ${bytes.join(' ')}`)
  }
  return `${lines.join('\n')}\n`
}

// ---------------------------------------------------------------- the words

type Word = (c: Context) => Promise<string>

async function idCtrl(c: Context): Promise<string> {
  const { data } = await identify(c, NVME_ID_CNS_CTRL, 0)
  return print(c, 'NVME Identify Controller:', fieldsOf(data, ID_CTRL))
}

async function idNs(c: Context): Promise<string> {
  const nsid = nsidOf(c)
  const { data } = await identify(c, NVME_ID_CNS_NS, nsid)
  const fields = fieldsOf(data, ID_NS)
  const formats = lbaFormats(data)
  if (c.o.json) return toJson({ ...fields, lbafs: formats })
  const lines = formats.map((f, i) => {
    const used = i === (data[26]! & 15) ? ' (in use)' : ''
    return `lbaf  ${String(i).padStart(2)} : ms:${f.ms}   lbads:${f.ds}  rp:${f.rp}${used}\n`
  })
  return `NVME Identify Namespace ${nsid}:\n${toLines(fields)}${lines.join('')}`
}

async function listNs(c: Context): Promise<string> {
  const { data } = await identify(c, NVME_ID_CNS_NS_ACTIVE_LIST, 0)
  const words = new Uint32Array(data.buffer, data.byteOffset, 1024)
  const ids = [...words].slice(0, Math.max(words.indexOf(0), 0))
  if (c.o.json) return toJson({ nsid_list: ids.map(nsid => ({ nsid })) })
  return ids.map((nsid, i) => `[${String(i).padStart(4)}]:0x${nsid.toString(16)}\n`).join('')
}

async function getFeature(c: Context): Promise<string> {
  const fid = numberFor(c, 'feature-id', null, 0xff)
  const cdw10 = fid | (numberFor(c, 'sel', 0, 7) << 8)
  const nsid = c.o.values.get('namespace-id') ?? c.ns?.ns_id ?? 0
  const answer = await send(c, { opcode: nvme_admin_get_features, nsid, cdw10 }, 4096)
  const value = answer.result
  if (c.o.json) return toJson({ feature: fid, value })
  const hex = value.toString(16).padStart(8, '0')
  return `get-feature:0x${fid.toString(16).padStart(2, '0')}, Current value:0x${hex}\n`
}

async function setFeature(c: Context): Promise<string> {
  const fid = numberFor(c, 'feature-id', null, 0xff)
  const cdw11 = numberFor(c, 'value', null, 0xffffffff)
  const nsid = c.o.values.get('namespace-id') ?? 0
  await send(c, { opcode: nvme_admin_set_features, nsid, cdw10: fid, cdw11 }, 4096)
  const [f, v] = [fid.toString(16).padStart(2, '0'), cdw11.toString(16).padStart(8, '0')]
  return c.o.json ? toJson({ feature: fid, value: cdw11 }) : `set-feature:0x${f}, value:0x${v}\n`
}

async function getLog(c: Context): Promise<string> {
  const page = numberFor(c, 'log-id', null, 0xff)
  const bytes = numberFor(c, 'log-len', 512, MOST_BYTES)
  if (bytes % 4 !== 0 || bytes === 0) throw new UserError('nvme --log-len: a multiple of 4')
  const data = await log(c, page, bytes)
  if (c.o.json) return toJson({ log: page, data: [...data] })
  return `Device:${c.ctrl.device} log-id:${page} namespace-id:0xffffffff\n${hexDump(data)}`
}

async function smartLog(c: Context): Promise<string> {
  const fields = fieldsOf(await log(c, 2, 512), SMART)
  return print(c, `Smart Log for NVME device:${c.ctrl.device} namespace-id:ffffffff`, fields)
}

async function errorLog(c: Context): Promise<string> {
  const most = (c.ctrl.id?.[262] ?? 0) + 1
  const count = Math.min(numberFor(c, 'log-entries', most, 256), most)
  const data = await log(c, 1, count * 64)
  const errors = Array.from({ length: count }, (_, i) =>
    fieldsOf(data.slice(i * 64, i * 64 + 64), ERROR_ENTRY),
  )
  if (c.o.json) return toJson({ errors })
  const parts = errors.map(
    (e, i) => ` Entry[${String(i).padStart(2)}]\n.................\n${toLines(e)}`,
  )
  return `Error Log Entries for device:${c.ctrl.device} entries:${count}\n.................\n${parts.join('.................\n')}`
}

const REGISTERS: readonly (readonly [string, number, 4 | 8])[] = [
  ['cap', 0x00, 8],
  ['version', 0x08, 4],
  ['intms', 0x0c, 4],
  ['intmc', 0x10, 4],
  ['cc', 0x14, 4],
  ['csts', 0x1c, 4],
  ['nssr', 0x20, 4],
  ['aqa', 0x24, 4],
  ['asq', 0x28, 8],
  ['acq', 0x30, 8],
  ['cmbloc', 0x38, 4],
  ['cmbsz', 0x3c, 4],
]

function showRegs({ m, ctrl, o }: Context): Promise<string> {
  const values = REGISTERS.map(([name, at, bytes]) => {
    const low = BigInt(m.register(ctrl, at))
    return [name, bytes === 8 ? low | (BigInt(m.register(ctrl, at + 4)) << 32n) : low] as const
  })
  if (o.json) return Promise.resolve(toJson(Object.fromEntries(values)))
  return Promise.resolve(values.map(([n, v]) => `${n.padEnd(8)}: ${v.toString(16)}\n`).join(''))
}

async function reset({ m, ctrl }: Context): Promise<string> {
  const error = await m.ioctl(ctrl, 'reset')
  if (error !== 0) throw new OutputError(`Reset: error ${-error}`)
  return ''
}

async function format(c: Context): Promise<string> {
  const nsid = nsidOf(c, c.ns?.ns_id ?? 0xffffffff)
  const cdw10 = numberFor(c, 'lbaf', 0, 15) | (numberFor(c, 'ses', 0, 2) << 9)
  await send(c, { opcode: nvme_admin_format_nvm, nsid, cdw10 })
  return `Success formatting namespace:${nsid.toString(16)}\n`
}

async function createNs(c: Context): Promise<string> {
  const nsze = numberFor(c, 'nsze', null, 2 ** 48)
  const ncap = numberFor(c, 'ncap', nsze, 2 ** 48)
  const data = new Uint8Array(4096)
  const view = new DataView(data.buffer)
  view.setBigUint64(0, BigInt(nsze), true)
  view.setBigUint64(8, BigInt(ncap), true)
  view.setUint8(26, numberFor(c, 'flbas', 0, 255))
  const { result } = await send(c, { opcode: nvme_admin_ns_mgmt }, 4096, data)
  return `create-ns: Success, created nsid:${result}\n`
}

async function deleteNs(c: Context): Promise<string> {
  const nsid = nsidOf(c)
  await send(c, { opcode: nvme_admin_ns_mgmt, nsid, cdw10: 1 })
  return `delete-ns: Success, deleted nsid:${nsid}\n`
}

async function attachNs(c: Context): Promise<string> {
  const nsid = nsidOf(c)
  const data = new Uint8Array(4096)
  const view = new DataView(data.buffer)
  view.setUint16(0, 1, true)
  view.setUint16(2, numberFor(c, 'controllers', c.ctrl.cntlid, 0xffff), true)
  await send(c, { opcode: nvme_admin_ns_attach, nsid }, 4096, data)
  return `attach-ns: Success, nsid:${nsid}\n`
}

const WORDS: Readonly<Record<string, Word>> = {
  'id-ctrl': idCtrl,
  'id-ns': idNs,
  'list-ns': listNs,
  'get-feature': getFeature,
  'set-feature': setFeature,
  'get-log': getLog,
  'smart-log': smartLog,
  'error-log': errorLog,
  'show-regs': showRegs,
  reset,
  format,
  'create-ns': createNs,
  'delete-ns': deleteNs,
  'attach-ns': attachNs,
}

function list(m: NvmeMachine, json: boolean): string {
  const rows = m.ctrls.flatMap(ctrl =>
    ctrl.namespaces.map(ns => ({
      NameSpace: ns.ns_id,
      DevicePath: `/dev/${ns.disk_name}`,
      Firmware: ctrl.firmware_rev,
      ModelNumber: ctrl.model,
      SerialNumber: ctrl.serial,
      PhysicalSize:
        Number(new DataView(ns.id!.buffer, ns.id!.byteOffset).getBigUint64(0, true)) *
        2 ** ns.lba_shift,
      SectorSize: 2 ** ns.lba_shift,
    })),
  )
  if (json) return toJson({ Devices: rows })
  const head =
    'Node             SN                   Model                    Namespace Usage       Format   FW Rev\n'
  const body = rows.map(r =>
    [
      r.DevicePath.padEnd(16),
      r.SerialNumber.padEnd(20),
      r.ModelNumber.padEnd(24),
      String(r.NameSpace).padEnd(9),
      `${(r.PhysicalSize / 1e9).toFixed(2)} GB`.padEnd(11),
      `${r.SectorSize} B`.padEnd(8),
      r.Firmware,
    ].join(' '),
  )
  return `${head}${body.join('\n')}\n`
}

/** Runs one of the words; the exit status. */
export async function adminCommand(word: string, args: readonly string[]): Promise<number> {
  const o = parse(word, args)
  const m = await openNvme(o.devices, o.era)
  try {
    if (word === 'list') return await printOut(list(m, o.json))
    const { ctrl, ns } = m.find(o.path)
    return await printOut(await WORDS[word]!({ m, o, ctrl, ns }))
  } finally {
    await m.stop()
  }
}
