// `phasebit nvme id-ctrl | id-ns | list | list-ns | get-feature | set-feature | get-log | smart-log | error-log | show-regs |
// reset | format | create-ns | delete-ns | attach-ns | ...`: nvme-cli's words on a machine that is booted for them. Several, with
// -- between them, are said to the same machine, one after the other.

import { OutputError, UserError } from '../core/errors.js'
import {
  NVME_ID_CNS_CTRL,
  NVME_ID_CNS_NS,
  NVME_ID_CNS_NS_ACTIVE_LIST,
  nvme_admin_format_nvm,
  nvme_admin_get_features,
  nvme_admin_ns_attach,
  nvme_admin_ns_mgmt,
  nvme_admin_set_features,
} from '../drivers/nvme/host/nvme.js'
import { type AdminAnswer, type NvmeMachine, openNvme } from '../workload/nvme-admin.js'
import { type Options, parseNvme, splitWords } from './nvme-args.js'
import {
  type Context,
  hexDump,
  identify,
  log,
  namespaceIds,
  nsidOf,
  numberFor,
  RETAIN,
  send,
  type Word,
} from './nvme-context.js'
import { FIRMWARE_WORDS } from './nvme-firmware.js'
import {
  errorEntry,
  errorLines,
  featureTitle,
  fieldsOf,
  ID_CTRL,
  ID_NS,
  lbaFormats,
  powerStates,
  SMART,
  smartLines,
  toJson,
  toLines,
} from './nvme-format.js'
import * as R from './nvme-refusal.js'
import { listSubsys } from './nvme-subsys.js'
import { printOut } from './output.js'

// ---------------------------------------------------------------- the words

async function idCtrl(c: Context): Promise<string> {
  const { data } = await identify(c, NVME_ID_CNS_CTRL, 0)
  const fields = fieldsOf(data, ID_CTRL)
  const states = powerStates(data)
  if (c.o.json) return toJson({ ...fields, psds: states })
  const lines = states.map((s, i) => {
    const watts = (Number(s.max_power) / 100).toFixed(2)
    const kind = Number(s.flags) & 2 ? 'non-operational' : 'operational'
    return [
      `ps ${String(i).padStart(6)} : mp:${watts}W ${kind} enlat:${s.entry_lat} exlat:${s.exit_lat} rrt:${s.read_tput} rrl:${s.read_lat}`,
      `rwt:${s.write_tput} rwl:${s.write_lat} idle_power:- active_power:-`,
      'active_power_workload:-\n',
    ].join('\n            ')
  })
  return `NVME Identify Controller:\n${toLines(fields)}${lines.join('')}`
}

async function idNs(c: Context): Promise<string> {
  const nsid = await nsidOf(c)
  const { data } = await identify(c, NVME_ID_CNS_NS, nsid)
  const fields = fieldsOf(data, ID_NS)
  const formats = lbaFormats(data)
  if (c.o.json) return toJson({ ...fields, lbafs: formats })
  const lines = formats.map((f, i) => {
    const used = i === (data[26]! & 15) ? ' (in use)' : ''
    const [ms, lbads] = [String(f.ms).padEnd(3), String(f.ds).padEnd(2)]
    return `lbaf ${String(i).padStart(2)} : ms:${ms} lbads:${lbads} rp:${f.rp}${used}\n`
  })
  return `NVME Identify Namespace ${nsid}:\n${toLines(fields, 8)}${lines.join('')}`
}

async function listNs(c: Context): Promise<string> {
  const from = numberFor(c, 'namespace-id', 1)
  if (from === 0) throw new UserError('nvme list-ns --namespace-id: the first is 1')
  const ids = await namespaceIds(c, NVME_ID_CNS_NS_ACTIVE_LIST, from - 1)
  if (c.o.json) return toJson({ nsid_list: ids.map(nsid => ({ nsid })) })
  return ids.map((nsid, i) => `[${String(i).padStart(4)}]:0x${nsid.toString(16)}\n`).join('')
}

/** Identifiers from 1 to 255 whose command is answered with anything but `none`. */
async function answered(none: number, ask: (id: number) => Promise<unknown>): Promise<string> {
  const ids: number[] = []
  for (let id = 1; id < 256; id++) {
    try {
      await ask(id)
      ids.push(id)
    } catch (error) {
      if (!(error instanceof R.Refusal)) throw error
      if (error.status !== none) ids.push(id)
    }
  }
  return R.hexList(ids)
}

function askFeature(c: Context, fid: number, sel: number): Promise<AdminAnswer> {
  const nsid = c.o.values.get('namespace-id') ?? c.ns?.ns_id ?? 0
  const cdw11 = c.o.values.get('cdw11') ?? 0
  const cmd = { opcode: nvme_admin_get_features, nsid, cdw10: fid | (sel << 8), cdw11 }
  return send(c, cmd, 4096)
}

const SEL_SUPPORTED = 3

/** What Invalid Field means for a feature: there is none, or its value is wrong. */
async function badFeature(c: Context, fid: number): Promise<string> {
  const all = await answered(R.INVALID_FIELD, id => askFeature(c, id, SEL_SUPPORTED))
  const id = R.hexList([fid])
  if (!all.split(', ').includes(id))
    return `--feature-id: this controller has no feature ${id}; it has ${all}`
  return c.word === 'set-feature'
    ? `--value: feature ${id} does not take this value`
    : `--cdw11: feature ${id} has nothing under this number`
}

function featureBlame(c: Context, fid: number): R.Blame {
  return {
    [R.INVALID_FIELD]: () => badFeature(c, fid),
    [R.INVALID_NS]: () => `--namespace-id: feature ${R.hexList([fid])} belongs to an active one`,
    [R.FEATURE_NOT_SAVEABLE]: () => `--save: feature ${R.hexList([fid])} cannot be saved`,
    [R.FEATURE_NOT_PER_NS]: () =>
      `--namespace-id: feature ${R.hexList([fid])} is the controller's, not a namespace's`,
  }
}

/** What SEL asks for. */
const SELECTED = ['Current', 'Default', 'Saved', 'Supported capabilities'] as const

async function getFeature(c: Context): Promise<string> {
  const fid = numberFor(c, 'feature-id', null)
  const sel = numberFor(c, 'sel', 0)
  const asked = askFeature(c, fid, sel)
  const { result: value } = await R.blaming(c.word, asked, featureBlame(c, fid))
  if (c.o.json) return toJson({ feature: fid, value })
  const hex = value.toString(16).padStart(8, '0')
  return `get-feature:${featureTitle(fid)}, ${SELECTED[sel]} value:0x${hex}\n`
}

async function setFeature(c: Context): Promise<string> {
  const fid = numberFor(c, 'feature-id', null)
  const cdw11 = numberFor(c, 'value', null)
  const nsid = c.o.values.get('namespace-id') ?? 0
  const cdw10 = (fid | (numberFor(c, 'save', 0) << 31)) >>> 0
  const sent = send(c, { opcode: nvme_admin_set_features, nsid, cdw10, cdw11 }, 4096)
  await R.blaming(c.word, sent, featureBlame(c, fid))
  const hex = cdw11.toString(16).padStart(8, '0')
  if (c.o.json) return toJson({ feature: fid, value: cdw11 })
  return `set-feature:${featureTitle(fid)}, value:0x${hex}\n`
}

async function badLog(c: Context, page: number): Promise<string> {
  const ask = (id: number): Promise<unknown> => log(c, id | RETAIN, 4)
  const all = await answered(R.INVALID_LOG_PAGE, ask)
  return `--log-id: this controller has no log ${R.hexList([page])}; it has ${all}`
}

async function getLog(c: Context): Promise<string> {
  const page = numberFor(c, 'log-id', null)
  const bytes = numberFor(c, 'log-len', 512)
  if (bytes % 4 !== 0 || bytes === 0)
    throw new UserError(`nvme get-log --log-len: ${bytes} is no multiple of 4 above 0`)
  const nsid = numberFor(c, 'namespace-id', R.NSID_ALL)
  const { data } = await R.blaming(c.word, log(c, page, bytes, nsid), {
    [R.INVALID_LOG_PAGE]: () => badLog(c, page),
    [R.INVALID_NS]: () => '--namespace-id: this log has none of a namespace',
    [R.INVALID_FIELD]: () => '--namespace-id: this log has none of a namespace',
  })
  if (c.o.json) return toJson({ log: page, data: [...data] })
  const shown = nsid.toString(16)
  return `Device:${c.ctrl.device} log-id:${page} namespace-id:0x${shown}\n${hexDump(data)}`
}

async function smartLog(c: Context): Promise<string> {
  const fields = fieldsOf((await log(c, 2, 512)).data, SMART)
  if (c.o.json) return toJson(fields)
  return `Smart Log for NVME device:${c.ctrl.device} namespace-id:ffffffff\n${smartLines(fields)}`
}

async function errorLog(c: Context): Promise<string> {
  const most = (c.ctrl.id?.[262] ?? 0) + 1
  const count = Math.min(numberFor(c, 'log-entries', most), most)
  if (count === 0) throw new UserError(`nvme error-log --log-entries: 1 to ${most} are there`)
  const { data } = await log(c, 1, count * 64)
  const errors = Array.from({ length: count }, (_, i) =>
    errorEntry(data.slice(i * 64, i * 64 + 64)),
  )
  if (c.o.json) return toJson({ errors })
  const parts = errors.map(
    (e, i) => ` Entry[${String(i).padStart(2)}]   \n.................\n${errorLines(e)}`,
  )
  const line = '.................\n'
  return `Error Log Entries for device:${c.ctrl.device} entries:${count}\n${line}${parts.join(line)}${line}`
}

/** As in JSON; in lines VS is called version. */
const REGISTERS: readonly (readonly [string, number, 4 | 8])[] = [
  ['cap', 0x00, 8],
  ['vs', 0x08, 4],
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
  ['bpinfo', 0x40, 4],
  ['bprsel', 0x44, 4],
  ['bpmbl', 0x48, 8],
  ['cmbmsc', 0x50, 8],
  ['cmbsts', 0x58, 4],
  ['pmrcap', 0xe00, 4],
  ['pmrctl', 0xe04, 4],
  ['pmrsts', 0xe08, 4],
  ['pmrebs', 0xe0c, 4],
  ['pmrswtp', 0xe10, 4],
  ['pmrmsc', 0xe14, 8],
]

function showRegs({ m, ctrl, o }: Context): Promise<string> {
  const values = REGISTERS.map(([name, at, bytes]) => {
    const low = BigInt(m.register(ctrl, at))
    return [name, bytes === 8 ? low | (BigInt(m.register(ctrl, at + 4)) << 32n) : low] as const
  })
  if (o.json) return Promise.resolve(toJson(Object.fromEntries(values)))
  const lines = values.map(([name, value]) => {
    return `${(name === 'vs' ? 'version' : name).padEnd(8)}: ${value.toString(16)}\n`
  })
  return Promise.resolve(lines.join(''))
}

function asked(what: 'reset' | 'rescan' | 'subsystem-reset', shown: string): Word {
  return async ({ m, ctrl }) => {
    const error = await m.ioctl(ctrl, what)
    if (error !== 0) throw new OutputError(`${shown}: error ${-error}`)
    return ''
  }
}

async function formatList(c: Context, nsid: number): Promise<string> {
  const { data } = await identify(c, NVME_ID_CNS_NS, nsid === R.NSID_ALL ? 1 : nsid)
  const each = lbaFormats(data).map(({ ms, ds }, i) => `${i} (${2 ** Number(ds)}+${String(ms)})`)
  return `--lbaf: this namespace has no such format, or not with this --pi; it has ${each.join(', ')}`
}

async function format(c: Context): Promise<string> {
  const nsid = await nsidOf(c, c.ns?.ns_id ?? R.NSID_ALL)
  const bits = [
    ['lbaf', 0],
    ['ms', 4],
    ['pi', 5],
    ['pil', 8],
    ['ses', 9],
  ] as const
  const cdw10 = bits.reduce((word, [name, at]) => word | (numberFor(c, name, 0) << at), 0)
  const sent = send(c, { opcode: nvme_admin_format_nvm, nsid, cdw10 })
  await R.blaming(c.word, sent, { [R.INVALID_FORMAT]: () => formatList(c, nsid) })
  return `Success formatting namespace:${nsid.toString(16)}\n`
}

/** TNVMCAP and UNVMCAP of Identify Controller. */
const UNALLOCATED = 296

async function noRoom(c: Context): Promise<string> {
  const { data } = await identify(c, NVME_ID_CNS_CTRL, 0)
  const left = new DataView(data.buffer, data.byteOffset).getBigUint64(UNALLOCATED, true)
  return `--nsze: ${left} bytes of the device belong to no namespace`
}

async function createNs(c: Context): Promise<string> {
  const nsze = numberFor(c, 'nsze', null)
  const data = new Uint8Array(4096)
  const view = new DataView(data.buffer)
  view.setBigUint64(0, BigInt(nsze), true)
  view.setBigUint64(8, BigInt(numberFor(c, 'ncap', nsze)), true)
  view.setUint8(26, numberFor(c, 'flbas', 0))
  view.setUint8(29, numberFor(c, 'dps', 0))
  const sent = send(c, { opcode: nvme_admin_ns_mgmt }, 4096, data)
  const { result } = await R.blaming(c.word, sent, {
    [R.NS_INSUFFICIENT_CAPACITY]: () => noRoom(c),
    [R.INVALID_FIELD]: () => '--nsze, --ncap: both above 0, and the same',
    [R.INVALID_FORMAT]: () => '--flbas, --dps: the controller has no such format',
    [R.NS_ID_UNAVAILABLE]: () => ': the controller has no identifier left for another namespace',
    [R.THIN_PROV_NOT_SUPPORTED]: () => '--ncap: as much as --nsze, nothing is provisioned thinly',
  })
  return `create-ns: Success, created nsid:${result}\n`
}

async function deleteNs(c: Context): Promise<string> {
  const nsid = await nsidOf(c)
  await send(c, { opcode: nvme_admin_ns_mgmt, nsid, cdw10: 1 })
  return `delete-ns: Success, deleted nsid:${nsid}\n`
}

/** Attaches a namespace to the controller, or takes it off. */
async function attach(c: Context, off: boolean): Promise<string> {
  const nsid = await nsidOf(c)
  const data = new Uint8Array(4096)
  const view = new DataView(data.buffer)
  view.setUint16(0, 1, true)
  view.setUint16(2, numberFor(c, 'controllers', c.ctrl.cntlid), true)
  const sent = send(c, { opcode: nvme_admin_ns_attach, nsid, cdw10: Number(off) }, 4096, data)
  await R.blaming(c.word, sent, {
    [R.NS_ALREADY_ATTACHED]: () => `--namespace-id: ${nsid} is attached already`,
    [R.NS_NOT_ATTACHED]: () => `--namespace-id: ${nsid} is not attached`,
    [R.CTRL_LIST_INVALID]: () => `--controllers: the only one is ${c.ctrl.cntlid}`,
  })
  return `${c.word}: Success, nsid:${nsid}\n`
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
  reset: asked('reset', 'Reset'),
  'subsystem-reset': asked('subsystem-reset', 'Subsystem-reset'),
  'ns-rescan': asked('rescan', 'Namespace Rescan'),
  format,
  'create-ns': createNs,
  'delete-ns': deleteNs,
  'attach-ns': c => attach(c, false),
  'detach-ns': c => attach(c, true),
  ...FIRMWARE_WORDS,
}

/** A size as nvme-cli shows it: three digits and a unit of `step`. */
function sized(bytes: number, step: 1000 | 1024, digits: number): string {
  const units = step === 1000 ? ['', 'k', 'M', 'G', 'T', 'P'] : ['', 'Ki', 'Mi', 'Gi']
  const unit = Math.min(units.length - 1, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(step)))
  const width = digits === 0 ? 3 : 6
  const number = (bytes / step ** unit).toFixed(digits).padStart(width)
  return `${number} ${units[unit]!.padStart(2)}B`
}

const COLUMNS = [16, 20, 40, 9, 26, 16, 8] as const
const HEADS = ['Node', 'SN', 'Model', 'Namespace', 'Usage', 'Format', 'FW Rev'] as const

function row(cells: readonly (string | number)[]): string {
  return `${cells
    .map((cell, i) => String(cell).padEnd(COLUMNS[i]!))
    .join(' ')
    .trimEnd()}\n`
}

function list(m: NvmeMachine, json: boolean): string {
  const disks = m.ctrls.flatMap(ctrl =>
    ctrl.namespaces.map(ns => {
      const [blocks, used] = new BigUint64Array(ns.id!.slice(0, 24).buffer).filter(
        (_, i) => i !== 1,
      )
      const bytes = 2 ** ns.lba_shift
      const ms = Number(lbaFormats(ns.id!)[ns.id![26]! & 15]!.ms)
      const device = {
        NameSpace: ns.ns_id,
        DevicePath: `/dev/${ns.disk_name}`,
        Firmware: ctrl.firmware_rev,
        Index: ctrl.instance,
        ModelNumber: ctrl.model,
        SerialNumber: ctrl.serial,
        UsedBytes: Number(used) * bytes,
        MaximumLBA: Number(blocks),
        PhysicalSize: Number(blocks) * bytes,
        SectorSize: bytes,
      }
      return { ...device, ms }
    }),
  )
  if (json) return toJson({ Devices: disks.map(({ ms: _, ...device }) => device) })
  const rows = disks.map(d => {
    const usage = `${sized(d.UsedBytes, 1000, 2)} / ${sized(d.PhysicalSize, 1000, 2)}`
    const format = `${sized(d.SectorSize, 1024, 0)} + ${String(d.ms).padStart(2)} B`
    return row([
      d.DevicePath,
      d.SerialNumber,
      d.ModelNumber,
      d.NameSpace,
      usage,
      format,
      d.Firmware,
    ])
  })
  return row(HEADS) + row(COLUMNS.map(width => '-'.repeat(width))) + rows.join('')
}

async function say(m: NvmeMachine, word: string, o: Options): Promise<number> {
  if (word === 'list') return await printOut(list(m, o.json))
  if (word === 'list-subsys') return await printOut(listSubsys(m.subsysCtrls, o.json))
  const { ctrl, ns } = m.find(o.path)
  return await printOut(await WORDS[word]!({ word, m, o, ctrl, ns }))
}

/** Runs the words; the exit status. */
export async function adminCommand(word: string, args: readonly string[]): Promise<number> {
  const words = splitWords(word, args).map(one => ({ ...one, o: parseNvme(one.word, one.args) }))
  const { devices, era } = words[0]!.o
  const m = await openNvme(devices, era)
  try {
    for (const { word: each, o } of words) {
      const status = await say(m, each, o)
      if (status !== 0) return status
    }
    return 0
  } finally {
    await m.stop()
  }
}
