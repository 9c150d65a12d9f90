// Events as text: when, counted from the beginning of the jobs, then what happens to the controller.
//
//   event=10ms:reset            its driver is told to reset it (reset_controller in sysfs)
//   event=10ms:flr              function level reset (reset in sysfs)
//   event=10ms:suspend/500ms    the machine's sleep: the controller is shut down, and resumed after so long
//   event=10ms:aer              a fatal error of the bus, and the recovery from it; aer/nonfatal: one that is not
//   event=10ms:power-loss       its power goes and comes back; what was not flushed is lost, and nobody is told
//   event=10ms:subsystem-reset  NSSR is written, as by nvme-cli's word
//   event=10ms:rescan           its namespaces are looked for again
//   event=10ms:unbind           its driver lets go of it

import type { EventAction, EventSpec } from './spec.js'
import { formatNs, parseNs } from './spec-values.js'

/** What takes no argument. */
const PLAIN = ['reset', 'flr', 'power-loss', 'subsystem-reset', 'rescan', 'unbind'] as const

const ACTIONS = `${PLAIN.join(', ')}, suspend/TIME, aer, aer/nonfatal`

/** An event without its time. @returns the reason as a string when the text is none */
export function parseEventAction(text: string): EventAction | string {
  const [kind, argument] = text.split('/', 2) as [string, string | undefined]
  const plain = PLAIN.find(one => one === kind)
  if (plain !== undefined) return argument === undefined ? { kind: plain } : `${kind} takes nothing`
  if (kind === 'aer') {
    if (argument !== undefined && argument !== 'nonfatal') return 'aer takes nothing or /nonfatal'
    return { kind, fatal: argument === undefined }
  }
  if (kind !== 'suspend') return `the event is one of ${ACTIONS}`
  const ns = parseNs(argument ?? '')
  if (ns === undefined) return 'suspend needs a time, such as suspend/500ms'
  return { kind, ns }
}

/** One event. @returns the reason as a string when the text is none */
export function parseEvent(text: string): EventSpec | string {
  const colon = text.indexOf(':')
  const atNs = parseNs(text.slice(0, Math.max(colon, 0)))
  if (atNs === undefined) return `TIME:EVENT, such as 10ms:reset; ${ACTIONS}`
  const action = parseEventAction(text.slice(colon + 1))
  return typeof action === 'string' ? action : { atNs, action }
}

export function formatEventAction(action: EventAction): string {
  if (action.kind === 'suspend') return `suspend/${formatNs(action.ns)}`
  if (action.kind === 'aer') return action.fatal ? 'aer' : 'aer/nonfatal'
  return action.kind
}

/** The text that parseEvent reads as this event. */
export function formatEvent({ atNs, action }: EventSpec): string {
  return `${formatNs(atNs)}:${formatEventAction(action)}`
}
