// `phasebit nvme connect | discover | disconnect`, with nvme-cli's options, over real NVMe/TCP.
//
//   discover    the discovery log of an address, as nvme-cli prints it
//   connect     says what is there; with job files the jobs are run on it, as /dev/nvme0n1, and it is disconnected
//   disconnect  a connection ends with the process that made it: there is never one to end
//
// nvme-cli's options become those of /dev/nvme-fabrics; the driver decides about their values.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { UserError } from '../core/errors.js'
import { formatReport } from '../report/report.js'
import {
  type DiscoveryEntry,
  discover,
  fabricDisk,
  fabricPlan,
  type FabricTarget,
  probeFabric,
} from '../workload/connect.js'
import { executePlan } from '../workload/run.js'
import { formatBytes } from '../workload/units.js'
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
  return { target: targetOf(word, given, flags, needsNqn), rest }
}

function targetOf(
  word: string,
  given: Map<string, string>,
  flags: readonly string[],
  needsNqn: boolean,
): FabricTarget {
  const transport = given.get('transport')
  const [traddr, nqn] = [given.get('traddr'), given.get('nqn')]
  if (transport !== 'tcp')
    throw new UserError(`nvme ${word}: -t tcp is the transport that leaves this machine`)
  if (traddr === undefined) throw new UserError(`nvme ${word}: -a ADDRESS is needed`)
  if (needsNqn && nqn === undefined) throw new UserError(`nvme ${word}: -n NQN is needed`)
  const trsvcid = given.get('trsvcid') ?? (needsNqn ? '4420' : '8009')
  if (!/^\d{1,5}$/.test(trsvcid) || Number(trsvcid) > 65535)
    throw new UserError(`nvme ${word} -s ${trsvcid}: a port is accepted`)
  const own = ['transport', 'traddr', 'trsvcid', 'nqn']
  const options = [...given]
    .filter(([name]) => !own.includes(name))
    .map(([name, v]) => `${name}=${v}`)
  return { traddr, trsvcid, nqn: nqn ?? '', options: [...options, ...flags] }
}

const TRTYPES: Readonly<Record<number, string>> = { 1: 'rdma', 2: 'fc', 3: 'tcp', 254: 'loop' }
const ADRFAMS: Readonly<Record<number, string>> = {
  1: 'ipv4',
  2: 'ipv6',
  3: 'infiniband',
  4: 'fibre-channel',
}
const SUBTYPES: Readonly<Record<number, string>> = { 1: 'discovery subsystem', 2: 'nvme subsystem' }

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

/** Runs `phasebit nvme connect`; the exit status. */
export async function connectCommand(argv: readonly string[]): Promise<number> {
  const { target, rest } = parseConnect('connect', argv, true)
  const namespaces = await probeFabric(target)
  const lines = namespaces.map(
    ({ nsid, bytes, lbaShift }) =>
      `namespace ${nsid}: ${formatBytes(bytes)}, blocks of ${2 ** lbaShift} bytes\n`,
  )
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
  const at = argv.findIndex(arg => arg === '-n' || arg === '--nqn')
  const nqn = at < 0 ? undefined : argv[at + 1]
  if (nqn === undefined) throw new UserError('nvme disconnect: -n NQN is needed')
  return printOut(`NQN:${nqn} disconnected 0 controller(s)\n`)
}
