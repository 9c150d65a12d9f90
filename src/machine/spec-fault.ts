// Faults as text: what happens, then to which commands.
//
//   fault=status:0x281/op:read/nth:100      the 100th read ends with an unrecovered read error
//   fault=delay:5ms/queue:1/lba:0-4095      every command of queue 1 on these blocks takes 5 ms longer
//   fault=drop/admin:0x06                   no Identify is ever answered
//
// Actions: status:CODE delay:TIME drop duplicate corrupt[:data|:cid|:phase] stuck[:fatal] remove
// Matches: op:NAME|CODE admin:CODE queue:N lba:FIRST-LAST nth:N count:N

import type { FaultAction, FaultMatch, FaultSpec } from './spec.js'
import { formatNs, parseNs, parseWhole } from './spec-values.js'

/** NVM command set opcodes by the names of this spec. */
const OPCODES: Readonly<Record<string, number>> = {
  flush: 0x00,
  write: 0x01,
  read: 0x02,
  write_zeroes: 0x08,
  trim: 0x09,
}

/** A value, or the reason why there is none. */
type Result<T> = T | string

/**
 * One fault.
 * @returns the reason as a string when the text is none
 */
export function parseFault(text: string): Result<FaultSpec> {
  const [first, ...rest] = text.split('/')
  const action = parseAction(first!)
  if (typeof action === 'string') return action
  const match: OpenMatch = {}
  for (const part of rest) {
    const colon = part.indexOf(':')
    const key = colon < 0 ? part : part.slice(0, colon)
    const problem = addMatch(match, key, colon < 0 ? '' : part.slice(colon + 1))
    if (problem !== null) return problem
  }
  return { match, action }
}

function parseAction(text: string): Result<FaultAction> {
  const [kind, argument] = text.split(':', 2) as [string, string | undefined]
  if (kind === 'status') {
    const status = parseWhole(argument ?? '')
    if (status === undefined || status < 1 || status > 0x7fff)
      return 'status needs a code, 1 to 0x7fff'
    return { kind, status }
  }
  if (kind === 'delay') {
    const ns = parseNs(argument ?? '')
    if (ns === undefined || ns === 0) return 'delay needs a time, such as delay:5ms'
    return { kind, ns }
  }
  if (kind === 'stuck') {
    if (argument !== undefined && argument !== 'fatal') return 'stuck takes nothing or :fatal'
    return { kind, fatal: argument === 'fatal' }
  }
  if (kind === 'corrupt') {
    const what = (['data', 'cid', 'phase'] as const).find(word => word === argument)
    if (argument !== undefined && what === undefined)
      return 'corrupt takes nothing, :data, :cid or :phase'
    return what === undefined || what === 'data' ? { kind } : { kind, what }
  }
  if (kind === 'drop' || kind === 'duplicate' || kind === 'remove') {
    return argument === undefined ? { kind } : `${kind} takes no argument`
  }
  return 'the action is one of status:CODE, delay:TIME, drop, duplicate, corrupt[:cid|:phase], stuck, remove'
}

type OpenMatch = { -readonly [K in keyof FaultMatch]: FaultMatch[K] }

/** Adds one condition; the reason when it is none, null when all is well. */
function addMatch(match: OpenMatch, key: string, value: string): string | null {
  if (key === 'op' || key === 'admin') {
    if (match.opcode !== undefined) return 'one fault has one opcode'
    const opcode =
      key === 'op' && Object.hasOwn(OPCODES, value) ? OPCODES[value] : parseWhole(value)
    if (opcode === undefined || opcode < 0 || opcode > 255) {
      return `${key} needs an opcode: 0 to 255${key === 'op' ? `, or ${Object.keys(OPCODES).join(', ')}` : ''}`
    }
    match.opcode = opcode
    match.admin = key === 'admin'
    return null
  }
  if (key === 'lba') return addLba(match, value)
  if (key !== 'queue' && key !== 'nth' && key !== 'count') {
    return 'conditions are op, admin, queue, lba, nth, count'
  }
  const number = parseWhole(value)
  const least = key === 'queue' ? 0 : 1
  if (number === undefined || number < least) return `${key} needs a number from ${least}`
  match[key] = number
  return null
}

function addLba(match: OpenMatch, value: string): string | null {
  const [first, last] = value.split('-', 2).map(parseWhole)
  const end = value.includes('-') ? last : first
  if (first === undefined || end === undefined || first < 0 || end < first) {
    return 'lba needs FIRST-LAST'
  }
  match.lba = [first, end]
  return null
}

/** The text that parseFault reads as this fault. */
export function formatFault({ action, match }: FaultSpec): string {
  const parts = [formatAction(action)]
  if (match.opcode !== undefined) parts.push(`${match.admin ? 'admin' : 'op'}:${match.opcode}`)
  if (match.queue !== undefined) parts.push(`queue:${match.queue}`)
  if (match.lba !== undefined) parts.push(`lba:${match.lba[0]}-${match.lba[1]}`)
  if (match.nth !== undefined) parts.push(`nth:${match.nth}`)
  if (match.count !== undefined) parts.push(`count:${match.count}`)
  return parts.join('/')
}

function formatAction(action: FaultAction): string {
  if (action.kind === 'status') return `status:${action.status}`
  if (action.kind === 'delay') return `delay:${formatNs(action.ns)}`
  if (action.kind === 'stuck') return action.fatal ? 'stuck:fatal' : 'stuck'
  if (action.kind === 'corrupt' && action.what !== undefined) return `corrupt:${action.what}`
  return action.kind
}
