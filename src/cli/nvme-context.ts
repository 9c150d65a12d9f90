// What the words of `phasebit nvme` share: the machine, what was asked for, and commands to a controller.

import { OutputError, UserError } from '../core/errors.js'
import {
  NVME_ID_CNS_NS_PRESENT_LIST,
  type nvme_command,
  type nvme_ctrl,
  type nvme_ns,
  nvme_admin_get_log_page,
  nvme_admin_identify,
} from '../drivers/nvme/host/nvme.js'
import type { AdminAnswer, NvmeMachine } from '../workload/nvme-admin.js'
import type { Options } from './nvme-args.js'
import * as R from './nvme-refusal.js'

/** What a word works with. */
export interface Context {
  readonly word: string
  readonly m: NvmeMachine
  readonly o: Options
  readonly ctrl: nvme_ctrl
  readonly ns: nvme_ns | null
}

export function numberFor({ word, o }: Context, name: string, fallback: number | null): number {
  const value = o.values.get(name) ?? fallback
  if (value === null) throw new UserError(`nvme ${word}: --${name} is needed`)
  return value
}

/** Sends a command. @throws Refusal with the status that the controller answered */
export async function send(
  { word, m, ctrl }: Context,
  cmd: nvme_command,
  bytes = 0,
  data?: Uint8Array,
): Promise<AdminAnswer> {
  const answer = await m.admin(ctrl, cmd, bytes, data)
  if (answer.status < 0) throw new OutputError(`nvme ${word}: error ${-answer.status}`)
  if (answer.status > 0) throw new R.Refusal(word, answer.status)
  return answer
}

export function identify(c: Context, cns: number, nsid: number): Promise<AdminAnswer> {
  return send(c, { opcode: nvme_admin_identify, nsid, cdw10: cns }, 4096)
}

/** Keeps the event that leads to the log. */
export const RETAIN: number = 1 << 15

export function log(
  c: Context,
  page: number,
  bytes: number,
  nsid: number = R.NSID_ALL,
): Promise<AdminAnswer> {
  const numd = bytes / 4 - 1
  const cmd = {
    opcode: nvme_admin_get_log_page,
    nsid,
    cdw10: (page | ((numd & 0xffff) << 16)) >>> 0,
    cdw11: numd >>> 16,
  }
  return send(c, cmd, bytes)
}

/** Identifiers of a list of namespaces. */
export async function namespaceIds(c: Context, cns: number, from = 0): Promise<number[]> {
  const { data } = await identify(c, cns, from)
  const words = [...new Uint32Array(data.buffer, data.byteOffset, 1024)]
  const end = words.indexOf(0)
  return words.slice(0, end < 0 ? words.length : end)
}

/** The namespace that a word is about: -n, or that of the device. @throws UserError when there is none */
export async function nsidOf(
  c: Context,
  fallback: number | null = c.ns?.ns_id ?? null,
): Promise<number> {
  const nsid = numberFor(c, 'namespace-id', fallback)
  if (nsid === R.NSID_ALL) return nsid
  const ids = await namespaceIds(c, NVME_ID_CNS_NS_PRESENT_LIST)
  if (ids.includes(nsid)) return nsid
  throw new UserError(`nvme ${c.word}: there is no namespace ${nsid}; there are ${ids.join(', ')}`)
}

export function hexDump(data: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < data.length; at += 16) {
    const bytes = [...data.subarray(at, at + 16)].map(b => b.toString(16).padStart(2, '0'))
    lines.push(`${at.toString(16).padStart(4, '0')}: ${bytes.join(' ')}`)
  }
  return `${lines.join('\n')}\n`
}

/** One word at work: what it prints. */
export type Word = (c: Context) => Promise<string>
