// What a controller refuses, in words. A status that blames what the user wrote becomes a line that names what is accepted,
// exit status 64; the controller itself is asked what it has. Every other status is shown as it is, exit status 1.

import { OutputError, UserError } from '../core/errors.js'

/** Status codes with their types, as the specification counts them (DNR, More and the retry delay left out). */
const NAMES: Readonly<Record<number, string>> = {
  1: 'Invalid Command Opcode',
  2: 'Invalid Field in Command',
  4: 'Data Transfer Error',
  5: 'Commands Aborted due to Power Loss Notification',
  6: 'Internal Error',
  7: 'Command Abort Requested',
  8: 'Command Aborted due to SQ Deletion',
  11: 'Invalid Namespace or Format',
  12: 'Command Sequence Error',
  19: 'PRP Offset Invalid',
  28: 'Sanitize Failed',
  29: 'Sanitize In Progress',
  32: 'Namespace is Write Protected',
  130: 'Namespace Not Ready',
  132: 'Format In Progress',
  262: 'Invalid Firmware Slot',
  263: 'Invalid Firmware Image',
  265: 'Invalid Log Page',
  266: 'Invalid Format',
  269: 'Feature Identifier Not Saveable',
  270: 'Feature Not Changeable',
  271: 'Feature Not Namespace Specific',
  276: 'Overlapping Range',
  277: 'Namespace Insufficient Capacity',
  278: 'Namespace Identifier Unavailable',
  280: 'Namespace Already Attached',
  282: 'Namespace Not Attached',
  283: 'Thin Provisioning Not Supported',
  284: 'Controller List Invalid',
}

export const INVALID_FIELD = 0x02
export const INVALID_LOG_PAGE = 0x109
export const INVALID_FORMAT = 0x10a
export const INVALID_NS = 0x0b
export const FEATURE_NOT_SAVEABLE = 0x10d
export const FEATURE_NOT_PER_NS = 0x10f
export const NS_INSUFFICIENT_CAPACITY = 0x115
export const NS_ID_UNAVAILABLE = 0x116
export const NS_ALREADY_ATTACHED = 0x118
export const THIN_PROV_NOT_SUPPORTED = 0x11b
export const NS_NOT_ATTACHED = 0x11a
export const OVERLAPPING_RANGE = 0x114
export const FIRMWARE_SLOT = 0x106
export const FIRMWARE_IMAGE = 0x107
export const CTRL_LIST_INVALID = 0x11c

/** All namespaces. */
export const NSID_ALL = 0xffffffff

/** A completion with a status that is not good. */
export class Refusal extends OutputError {
  /** Status code and its type. */
  readonly status: number

  constructor(word: string, status: number) {
    const code = status & 0x7ff
    const name = NAMES[code] ?? 'not a status that has a name here'
    super(`nvme ${word}: NVMe status: ${name} (0x${(status & 0x7fff).toString(16)})`)
    this.status = code
  }
}

/** What to say about a status, if that blames the user. */
export type Blame = Readonly<Record<number, () => string | Promise<string>>>

/** Waits for an answer; a refusal that blames the user becomes a UserError. */
export async function blaming<T>(word: string, answer: Promise<T>, blame: Blame): Promise<T> {
  try {
    return await answer
  } catch (error) {
    const line = error instanceof Refusal ? blame[error.status] : undefined
    if (line === undefined) throw error
    throw new UserError(`nvme ${word} ${await line()}`, { cause: error })
  }
}

/** Identifiers as a list: 0x01, 0x02. */
export function hexList(ids: readonly number[]): string {
  return ids.map(id => `0x${id.toString(16).padStart(2, '0')}`).join(', ')
}
