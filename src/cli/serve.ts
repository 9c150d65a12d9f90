// `phasebit serve`: the machine's disks for real hosts, over NVMe/TCP, until SIGINT or SIGTERM.
//
// It listens on loopback unless told otherwise, and says on standard output what it exposes, to whom, and whether the data
// outlive it.

import { parseArgs } from 'node:util'
import { UserError } from '../core/errors.js'
import { openTarget, type ServeOptions, type Target } from '../workload/serve.js'
import { formatBytes, parseSize } from '../workload/units.js'
import { printErr, printOut } from './output.js'

const DEFAULT_LISTEN = '127.0.0.1:4420'

interface ServeArgs extends ServeOptions {
  readonly hosts: readonly string[]
}

/** @throws UserError */
export function parseServe(argv: readonly string[]): ServeArgs {
  const values = readOptions(argv)
  const { address, port } = parseListen(values['nvme-tcp'] ?? DEFAULT_LISTEN)
  const hosts = values['allow-host'] ?? []
  return {
    address,
    port,
    hosts,
    allowHosts: hosts,
    ...(values.nqn === undefined ? {} : { nqn: values.nqn }),
    ...(values.device === undefined ? {} : { devices: values.device }),
    ...(values.store === undefined ? {} : { stores: values.store }),
    ...(values.mem === undefined ? {} : { memBytes: parseMem(values.mem) }),
  }
}

function readOptions(argv: readonly string[]): ReturnType<typeof parse>['values'] {
  try {
    return parse(argv).values
  } catch (error) {
    throw new UserError(`serve: ${(error as Error).message}`)
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    options: {
      'nvme-tcp': { type: 'string' },
      nqn: { type: 'string' },
      'allow-host': { type: 'string', multiple: true },
      device: { type: 'string', multiple: true },
      store: { type: 'string', multiple: true },
      mem: { type: 'string' },
    },
  })
}

function parseMem(text: string): number {
  const refused = new UserError(`serve --mem ${text}: a size such as 2g is accepted`)
  try {
    const bytes = parseSize(text, 1024)
    if (bytes > 0) return bytes
  } catch {
    throw refused
  }
  throw refused
}

/** @throws UserError */
export function parseListen(text: string): { address: string; port: number } {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(m?.[3] ?? Number.NaN)
  if (m === null || port > 65535)
    throw new UserError(
      `serve --nvme-tcp ${text}: ADDRESS:PORT is accepted, such as 127.0.0.1:4420`,
    )
  return { address: (m[1] ?? m[2])!, port }
}

function announcement(target: Target, args: ServeArgs): string {
  const stores = args.stores ?? []
  const disks = target.disks.map(({ name, bytes }, i) => {
    const kept =
      stores[i] === undefined
        ? 'begins empty, lost at the end (no --store)'
        : `kept in ${stores[i]}`
    return `  namespace ${i + 1}: ${name}, ${formatBytes(bytes)}, ${kept}`
  })
  const whom =
    args.hosts.length === 0 ? 'any host that reaches this address' : args.hosts.join(', ')
  return [
    `serving ${target.nqn} on ${target.address} port ${target.port} (NVMe/TCP)`,
    ...disks,
    `  for ${whom}`,
    '',
  ].join('\n')
}

function ended(): Promise<void> {
  return new Promise(resolve => {
    const over = (): void => {
      process.off('SIGINT', over)
      process.off('SIGTERM', over)
      resolve()
    }
    process.on('SIGINT', over)
    process.on('SIGTERM', over)
  })
}

/** Runs `phasebit serve`; the exit status. */
export async function serveCommand(argv: readonly string[]): Promise<number> {
  const args = parseServe(argv)
  const failure: { error?: unknown } = {}
  let fail = (): void => {}
  const failed = new Promise<void>(resolve => {
    fail = resolve
  })
  const target = await openTarget({
    ...args,
    onFailure: error => {
      failure.error = error
      fail()
    },
  })
  await printOut(announcement(target, args))
  await Promise.race([ended(), failed])
  if (failure.error !== undefined) throw failure.error
  const { balanced } = target.facts()
  await target.close()
  if (!balanced) printErr('phasebit: the books do not balance: I/Os were in flight at the end\n')
  return 0
}
