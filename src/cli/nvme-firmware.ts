// Words of `phasebit nvme` about a controller's firmware, its erasure, and commands in their raw form.

import { readFile } from 'node:fs/promises'
import { UserError } from '../core/errors.js'
import { MOST_BYTES } from '../workload/nvme-admin.js'
import { type Context, hexDump, log, numberFor, send, type Word } from './nvme-context.js'
import { type Fields, fieldsOf, type Field, toJson, toLines } from './nvme-format.js'
import * as R from './nvme-refusal.js'

const FW_COMMIT = 0x10
const FW_DOWNLOAD = 0x11
const SANITIZE = 0x84
const LOG_FW_SLOT = 3
const LOG_SANITIZE = 0x81
const SLOTS = 7
/** Bytes of one piece, unless told otherwise. */
const XFER = 4096

async function imageOf({ word, o }: Context): Promise<Uint8Array> {
  const path = o.texts.get('fw') ?? ''
  if (path === '') throw new UserError(`nvme ${word}: --fw is needed, the file of the image`)
  const image = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`nvme ${word} --fw ${path}: ${error.code ?? error.message}`)
  })
  if (image.length === 0 || image.length % 4 !== 0)
    throw new UserError(`nvme ${word} --fw ${path}: ${image.length} bytes are no whole dwords`)
  return image
}

async function fwDownload(c: Context): Promise<string> {
  const image = await imageOf(c)
  const xfer = numberFor(c, 'xfer', XFER)
  if (xfer === 0 || xfer % 4 !== 0)
    throw new UserError(`nvme fw-download --xfer: ${xfer} is no multiple of 4 up to ${MOST_BYTES}`)
  for (let at = 0; at < image.length; at += xfer) {
    const piece = image.subarray(at, at + xfer)
    const cmd = { opcode: FW_DOWNLOAD, cdw10: piece.length / 4 - 1, cdw11: at / 4 }
    await R.blaming(c.word, send(c, cmd, piece.length, piece), {
      [R.OVERLAPPING_RANGE]: () => '--fw: a piece of an image is there already; fw-commit ends it',
      [R.INVALID_FIELD]: () => '--fw: the image is larger than the controller takes',
    })
  }
  return 'Firmware download success\n'
}

async function fwCommit(c: Context): Promise<string> {
  const [slot, action] = [numberFor(c, 'slot', 0), numberFor(c, 'action', 0)]
  await R.blaming(c.word, send(c, { opcode: FW_COMMIT, cdw10: slot | (action << 3) }), {
    [R.FIRMWARE_IMAGE]: () =>
      'nothing was downloaded, or no image (one begins with eight printable characters), or the slot is empty',
    [R.INVALID_FIELD]: () => '--action: 0 to 3',
  })
  return `Success committing firmware action:${action} slot:${slot}\n`
}

async function fwLog(c: Context): Promise<string> {
  const { data } = await log(c, LOG_FW_SLOT, 512)
  const fields: Record<string, string | number> = { afi: data[0]! }
  for (let slot = 1; slot <= SLOTS; slot++) {
    const text = String.fromCharCode(...data.subarray(8 * slot, 8 * slot + 8)).replaceAll('\0', '')
    if (text !== '') fields[`frs${slot}`] = text.trimEnd()
  }
  if (c.o.json) return toJson({ [c.ctrl.device]: [fields] })
  return `Firmware Log for device:${c.ctrl.device}\n${toLines(fields)}`
}

async function sanitize(c: Context): Promise<string> {
  const cdw10 = numberFor(c, 'sanact', null)
  await R.blaming(c.word, send(c, { opcode: SANITIZE, cdw10 }), {
    [R.INVALID_FIELD]: () =>
      '--sanact: 1 (exit failure mode), 2 (block erase) and 4 (crypto erase) are there',
  })
  return ''
}

const SANITIZE_LOG: readonly Field[] = [
  ['sprog', 0, 'u16'],
  ['sstat', 2, 'u16'],
  ['scdw10', 4, 'u32'],
  ['eto', 8, 'u32'],
  ['etbe', 12, 'u32'],
  ['etce', 16, 'u32'],
]

async function sanitizeLog(c: Context): Promise<string> {
  const fields: Fields = fieldsOf((await log(c, LOG_SANITIZE, 512)).data, SANITIZE_LOG)
  if (c.o.json) return toJson({ [c.ctrl.device]: fields })
  return `Sanitize Status Log for device:${c.ctrl.device}\n${toLines(fields)}`
}

/** Any admin command; what it sends to the controller are zeroes. */
async function passthru(c: Context): Promise<string> {
  const opcode = numberFor(c, 'opcode', null)
  const bytes = numberFor(c, 'data-len', 0)
  const word = (n: number): number => numberFor(c, `cdw${n}`, 0)
  const { result, data } = await send(
    c,
    {
      ...{ opcode, nsid: numberFor(c, 'namespace-id', 0) },
      ...{ cdw10: word(10), cdw11: word(11), cdw12: word(12) },
      ...{ cdw13: word(13), cdw14: word(14), cdw15: word(15) },
    },
    bytes,
  )
  if (c.o.json) return toJson({ result, data: [...data] })
  return `NVMe command result:${result.toString(16).padStart(8, '0')}\n${bytes > 0 ? hexDump(data) : ''}`
}

export const FIRMWARE_WORDS: Readonly<Record<string, Word>> = {
  'fw-download': fwDownload,
  'fw-commit': fwCommit,
  'fw-log': fwLog,
  sanitize,
  'sanitize-log': sanitizeLog,
  'admin-passthru': passthru,
}
