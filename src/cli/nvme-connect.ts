// `phasebit nvme connect | discover | disconnect | disconnect-all`, with nvme-cli's options, over real NVMe/TCP.
//
//   discover    the discovery log of an address, as nvme-cli prints it
//   connect     says what is there; with job files the jobs are run on it, as /dev/nvme0n1, and it is disconnected
//               -t rdma, fc, loop: over a fabric that is emulated, with a target where the options say one is
//   disconnect  a connection ends with the process that made it: there is never one to end
//
// nvme-cli's options become those of /dev/nvme-fabrics; the driver decides about their values.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { UserError } from '../core/errors.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import { type FabricSpec, parseFabric, PLAIN_FABRIC } from '../machine/spec-fabric.js'
import { formatReport } from '../report/report.js'
import {
  type DiscoveryEntry,
  discover,
  fabricDisk,
  fabricPlan,
  type FabricNamespace,
  type FabricTarget,
  namespacesOf,
  probeFabric,
} from '../workload/connect.js'
import { executePlan } from '../workload/run.js'
import { connectEmulated, type EmulatedTarget } from '../workload/emulated-fabric.js'
import { formatBytes } from '../workload/units.js'
import { eraOf } from './nvme-args.js'
import { listSubsys } from './nvme-subsys.js'
import { printErr, printOut } from './output.js'

/** nvme-cli's options with a value: the driver's names. */
const VALUES: Readonly<Record<string, string>> = {
  '-t': 'transport',
  '--transport': 'transport',
  '-a': 'traddr',
  '--traddr': 'traddr',
  '-s': 'trsvcid',
  '--trsvcid': 'trsvcid',
  '-n': 'nqn',
  '--nqn': 'nqn',
  '-w': 'host_traddr',
  '--host-traddr': 'host_traddr',
  '-q': 'hostnqn',
  '--hostnqn': 'hostnqn',
  '-I': 'hostid',
  '--hostid': 'hostid',
  '-i': 'nr_io_queues',
  '--nr-io-queues': 'nr_io_queues',
  '-Q': 'queue_size',
  '--queue-size': 'queue_size',
  '-k': 'keep_alive_tmo',
  '--keep-alive-tmo': 'keep_alive_tmo',
  '-c': 'reconnect_delay',
  '--reconnect-delay': 'reconnect_delay',
  '-l': 'ctrl_loss_tmo',
  '--ctrl-loss-tmo': 'ctrl_loss_tmo',
  '-W': 'nr_write_queues',
  '--nr-write-queues': 'nr_write_queues',
  '-P': 'nr_poll_queues',
  '--nr-poll-queues': 'nr_poll_queues',
  '-T': 'tos',
  '--tos': 'tos',
  '-f': 'host_iface',
  '--host-iface': 'host_iface',
}

const FLAGS: Readonly<Record<string, string>> = {
  '-D': 'duplicate_connect',
  '--duplicate-connect': 'duplicate_connect',
  '-d': 'disable_sqflow',
  '--disable-sqflow': 'disable_sqflow',
  '-g': 'hdr_digest',
  '--hdr-digest': 'hdr_digest',
  '-G': 'data_digest',
  '--data-digest': 'data_digest',
}

interface Parsed {
  /** tcp, or one that does not leave the machine. */
  readonly transport: string
  readonly target: FabricTarget
  /** What is for the run. */
  readonly rest: readonly string[]
}

/** @throws UserError */
export function parseConnect(word: string, argv: readonly string[], needsNqn: boolean): Parsed {
  const given = new Map<string, string>()
  const flags: string[] = []
  const rest: string[] = []
  const args = [...argv]
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    const at = arg.startsWith('--') ? arg.indexOf('=') : -1
    const name = at < 0 ? arg : arg.slice(0, at)
    if (Object.hasOwn(VALUES, name)) {
      const value = at < 0 ? args.shift() : arg.slice(at + 1)
      if (value === undefined || value === '')
        throw new UserError(`nvme ${word} ${name}: needs a value`)
      given.set(VALUES[name]!, value)
    } else if (Object.hasOwn(FLAGS, name)) flags.push(FLAGS[name]!)
    else rest.push(arg)
  }
  const transport = transportOf(word, given, needsNqn)
  return { transport, target: targetOf(word, transport, given, flags, needsNqn), rest }
}

const EMULATED = ['rdma', 'fc', 'loop']

function transportOf(word: string, given: ReadonlyMap<string, string>, connect: boolean): string {
  const transport = given.get('transport') ?? ''
  if (transport === 'tcp' || (connect && EMULATED.includes(transport))) return transport
  const more = connect ? `; ${EMULATED.join(', ')} are emulated` : ''
  throw new UserError(`nvme ${word}: -t tcp is the transport that leaves this machine${more}`)
}

const PORTS: Readonly<Record<string, string>> = { tcp: '4420', rdma: '4420', discovery: '8009' }

function targetOf(
  word: string,
  transport: string,
  given: Map<string, string>,
  flags: readonly string[],
  needsNqn: boolean,
): FabricTarget {
  const [traddr, nqn] = [given.get('traddr'), given.get('nqn')]
  if (traddr === undefined && transport !== 'loop')
    throw new UserError(`nvme ${word}: -a ADDRESS is needed`)
  if (needsNqn && nqn === undefined) throw new UserError(`nvme ${word}: -n NQN is needed`)
  const trsvcid = given.get('trsvcid') ?? PORTS[needsNqn ? transport : 'discovery'] ?? ''
  const port = transport === 'tcp' || transport === 'rdma'
  if (port && (!/^\d{1,5}$/.test(trsvcid) || Number(trsvcid) > 65535))
    throw new UserError(`nvme ${word} -s ${trsvcid}: a port is accepted`)
  const own = ['transport', 'traddr', 'trsvcid', 'nqn']
  const options = [...given]
    .filter(([name]) => !own.includes(name))
    .map(([name, v]) => `${name}=${v}`)
  return { traddr: traddr ?? '', trsvcid, nqn: nqn ?? '', options: [...options, ...flags] }
}

const TRTYPES: Readonly<Record<number, string>> = { 1: 'rdma', 2: 'fc', 3: 'tcp', 254: 'loop' }
const ADRFAMS: Readonly<Record<number, string>> = {
  1: 'ipv4',
  2: 'ipv6',
  3: 'infiniband',
  4: 'fibre-channel',
}
/** As nvme-cli 2.3 says; 3 is of NVMe 2.0, and of Linux's target from 5.16 on. */
const SUBTYPES: Readonly<Record<number, string>> = {
  1: 'discovery subsystem referral',
  2: 'nvme subsystem',
  3: 'current discovery subsystem',
}

function entryText(e: DiscoveryEntry, i: number): string {
  const treq = ['not specified', 'required', 'not required', 'reserved'][e.treq & 3]!
  const flow = e.treq & 4 ? ', sq flow control disable supported' : ''
  return [
    `=====Discovery Log Entry ${i}======`,
    `trtype:  ${TRTYPES[e.trtype] ?? 'unrecognized'}`,
    `adrfam:  ${ADRFAMS[e.adrfam] ?? 'unrecognized'}`,
    `subtype: ${SUBTYPES[e.subtype] ?? 'unrecognized'}`,
    `treq:    ${treq}${flow}`,
    `portid:  ${e.portid}`,
    `trsvcid: ${e.trsvcid}`,
    `subnqn:  ${e.subnqn}`,
    `traddr:  ${e.traddr}`,
    '',
  ].join('\n')
}

/** Runs `phasebit nvme discover`; the exit status. */
export async function discoverCommand(argv: readonly string[]): Promise<number> {
  const { target, rest } = parseConnect('discover', argv, false)
  if (rest.length > 0) throw new UserError(`nvme discover: what is ${rest[0]}?`)
  const entries = await discover(target)
  const head = `\nDiscovery Log Number of Records ${entries.length}\n`
  return printOut(head + entries.map(entryText).join(''))
}

function namespaceLine({ nsid, bytes, lbaShift }: FabricNamespace): string {
  return `namespace ${nsid}: ${formatBytes(bytes)}, blocks of ${2 ** lbaShift} bytes\n`
}

/** What stands behind a connection over an emulated fabric: disks, the kernel's age, the fabric. */
function emulatedOptions(
  transport: string,
  rest: readonly string[],
): Pick<EmulatedTarget, 'devices' | 'era' | 'fabric'> {
  let fabric = PLAIN_FABRIC
  const [devices, args]: [string[], string[]] = [[], [...rest]]
  let era: KernelEra = '4.19'
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    if (arg === '--device') devices.push(args.shift() ?? '')
    else if (arg === '--kernel') era = eraOf(args.shift())
    else if (arg === '--fabric') fabric = fabricOf(transport, args.shift())
    else throw new UserError(`nvme connect: ${arg}: over an emulated fabric no jobs are run`)
  }
  return { devices, era, fabric }
}

function fabricOf(transport: string, text: string | undefined): FabricSpec {
  if (transport !== 'rdma')
    throw new UserError(
      `nvme connect --fabric: only RDMA's fabric has options, not that of ${transport}`,
    )
  if (!text) throw new UserError('nvme connect --fabric: needs a value, such as latency=10us')
  return parseFabric('nvme connect --fabric', text)
}

/** The controller, and what it leads to. */
async function emulatedCommand(
  transport: string,
  target: FabricTarget,
  rest: readonly string[],
): Promise<number> {
  const host = target.options.find(option => option.startsWith('host_traddr='))
  const emulated = {
    ...target,
    ...emulatedOptions(transport, rest),
    transport: transport as EmulatedTarget['transport'],
    hostTraddr: host?.slice('host_traddr='.length) ?? '',
    options: target.options.filter(option => option !== host),
  }
  const text = await connectEmulated(emulated, ctrl => {
    const address = ctrl.ops.get_address?.(ctrl).trim() ?? ''
    const subsystem = listSubsys([{ ctrl, address }], false)
    return `${subsystem}${namespacesOf(ctrl).map(namespaceLine).join('')}`
  })
  return printOut(text)
}

/** Runs `phasebit nvme connect`; the exit status. */
export async function connectCommand(argv: readonly string[]): Promise<number> {
  const { transport, target, rest } = parseConnect('connect', argv, true)
  if (transport !== 'tcp') return emulatedCommand(transport, target, rest)
  const namespaces = await probeFabric(target)
  const lines = namespaces.map(namespaceLine)
  if (rest.length === 0)
    return printOut(
      `connected to ${target.nqn} at ${target.traddr} port ${target.trsvcid}\n${lines.join('')}`,
    )
  const [first] = namespaces
  if (first === undefined) throw new UserError(`${target.nqn}: there is no namespace`)
  return runJobs(target, first.bytes, first.lbaShift, rest)
}

async function runJobs(
  target: FabricTarget,
  bytes: number,
  lbaShift: number,
  args: readonly string[],
): Promise<number> {
  const plan = fabricPlan(
    args,
    { bytes, lbaShift },
    {
      readFile: path => readFileSync(path),
      env: process.env,
      hostCpus: availableParallelism(),
    },
  )
  const { result, failures } = await executePlan(plan, {
    attachment: fabricDisk(target),
    onFailure: line => printErr(`phasebit: ${line}\n`),
    onNote: line => printErr(`phasebit: note: ${line}\n`),
    onStart: (_, notes) => {
      for (const note of notes) printErr(`phasebit: note: ${note}\n`)
    },
  })
  const { outputFormats: formats, terseVersion } = plan
  await printOut(formatReport(result, { formats, terseVersion }))
  return failures.length === 0 ? 0 : 1
}

/** Runs `phasebit nvme disconnect`; the exit status. */
export function disconnectCommand(argv: readonly string[]): Promise<number> {
  const [option = '', ...more] = argv.flatMap(arg => arg.split(/(?<=^--[a-z]+)=/))
  const [value] = more
  if (['-n', '--nqn', '-d', '--device'].includes(option) && value && more.length === 1) {
    if (option.endsWith('n')) return printOut(`NQN:${value} disconnected 0 controller(s)\n`)
    throw new UserError(`nvme disconnect: ${value}: there is no such device`)
  }
  throw new UserError('nvme disconnect: -n NQN or -d DEVICE is needed, and nothing else')
}

/** Runs `phasebit nvme disconnect-all`: as nvme-cli, it says nothing about connections that there are not. */
export async function disconnectAllCommand(argv: readonly string[]): Promise<number> {
  if (argv.length > 0) throw new UserError(`nvme disconnect-all: what is ${argv[0]}?`)
  return 0
}
