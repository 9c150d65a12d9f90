// What a trace asks to be done again, whatever format it came in: iolog.ts reads fio's text logs, blktrace-read.ts the
// kernel's binary traces. readReplay tells them apart by their first bytes.

import { UserError } from '../core/errors.js'
import { isBlktrace, readBlktrace } from './blktrace-read.js'
import { readIolog } from './iolog.js'
import type { ReplayTrace } from './replay-types.js'

/** Reads a file given to read_iolog. `name` appears in messages. UserError when it holds no I/O or cannot be read. */
export function readReplay(bytes: Uint8Array, name: string): ReplayTrace {
  if (isBlktrace(bytes)) return readBlktrace(bytes, name)
  if (bytes.length === 0) throw new UserError(`${name}: the file is empty; expected an fio iolog`)
  return readIolog(new TextDecoder().decode(bytes), name)
}
