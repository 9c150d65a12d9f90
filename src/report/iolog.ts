// fio's I/O logs. Version 3 is written and read, version 2 is read.
//
//   fio version 3 iolog                              fio version 2 iolog
//   <us> <file> add|open|close                       <file> add|open|close
//   <us> <file> read|write|trim|sync|datasync <offset> <length>      the same without the time
//                                                    <file> wait <us> 0
//
// Fields are split by blanks, names have at most 256 bytes, lines at most 4096. A file is added, then opened, before use.
// A wait of version 2 is, as fio's manual has it, microseconds relative to the wait before it, and nothing below 100 counts;
// fio 3.33 itself takes milliseconds. Both versions come out with a time for each action, so a replayer sees one form.
//
// Unknown actions are skipped with a note, as in fio. What cannot be read at all is refused: a line with the wrong number
// of fields, a number that is none, use before open, `wait` in version 3, and a log without any I/O, since a silent empty
// replay helps nobody.

import { UserError } from '../core/errors.js'
import { isIo, type ReplayAction, type ReplayTrace } from './replay-types.js'

const HEADERS: Readonly<Record<string, 2 | 3>> = {
  'fio version 2 iolog': 2,
  'fio version 3 iolog': 3,
}
const FILE_ACTIONS = ['add', 'open', 'close'] as const
const IO_ACTIONS = ['read', 'write', 'trim', 'sync', 'datasync'] as const
const MAX_LINE = 4096
const MAX_NAME = 256
const LEAST_WAIT_US = 100

type FileAction = (typeof FILE_ACTIONS)[number]
type IoAction = (typeof IO_ACTIONS)[number]

/** A version 3 log of the actions, in their order. Times are whole microseconds since the log began. */
export function writeIolog(actions: readonly ReplayAction[]): string {
  const lines = actions.map(a => {
    const io = 'length' in a ? ` ${a.offset} ${a.length}` : ''
    return `${Math.floor(a.timeUs)} ${a.file} ${a.action}${io}\n`
  })
  return `fio version 3 iolog\n${lines.join('')}`
}

/** Reads a version 2 or 3 log. `name` appears in messages. */
export function readIolog(text: string, name: string): ReplayTrace {
  const lines = text.split('\n').map(line => line.replace(/\r$/, ''))
  const version = HEADERS[lines[0].trim()]
  if (version === undefined) {
    const found = quote(lines[0])
    throw new UserError(
      `${name}:1: not an I/O log: expected "fio version 2 iolog", "fio version 3 iolog" or a blktrace binary, found ${found}`,
    )
  }
  const reader = new IologReader(name, version)
  lines.forEach((line, i) => {
    if (i > 0 && line.trim() !== '') reader.line(line, i + 1)
  })
  return reader.finish()
}

/** State while reading: which files are known and open, and the time that waits have added up to. */
class IologReader {
  readonly #name: string
  readonly #version: 2 | 3
  readonly #files = new Map<string, 'added' | 'open'>()
  readonly #trace: ReplayTrace = { actions: [], notes: [] }
  #timeUs = 0
  #firstBad = ''

  constructor(name: string, version: 2 | 3) {
    this.#name = name
    this.#version = version
  }

  line(text: string, number: number): void {
    if (text.length > MAX_LINE) {
      throw this.#error(number, `line of ${text.length} characters; at most ${MAX_LINE}`)
    }
    const fields = text.trim().split(/\s+/)
    if (this.#version === 3) this.#timeUs = this.#number(fields.shift()!, 'time', number)
    const [file, action, ...rest] = fields
    if (action === undefined || (rest.length !== 0 && rest.length !== 2)) {
      const form = `${this.#version === 3 ? '<us> ' : ''}<file> <action> [<offset> <length>]`
      throw this.#error(number, `expected "${form}", found ${quote(text)}`)
    }
    if (file.length > MAX_NAME) {
      throw this.#error(number, `file name of ${file.length} characters; at most ${MAX_NAME}`)
    }
    if (rest.length === 0) this.#fileAction(file, action, number, text)
    else this.#ioAction(file, action, rest, number, text)
  }

  finish(): ReplayTrace {
    if (!this.#trace.actions.some(isIo)) {
      const bad = this.#firstBad === '' ? '' : `; first line not understood: ${this.#firstBad}`
      throw new UserError(`${this.#name}: the log holds no read, write, trim or sync${bad}`)
    }
    return this.#trace
  }

  #fileAction(file: string, action: string, number: number, text: string): void {
    if (!isOneOf(FILE_ACTIONS, action)) {
      if (isOneOf(IO_ACTIONS, action) || action === 'wait') {
        throw this.#error(number, `${action} needs an offset and a length, found ${quote(text)}`)
      }
      this.#skip(number, text)
      return
    }
    this.#openClose(file, action, number)
    this.#trace.actions.push({ timeUs: this.#timeUs, file, action })
  }

  #openClose(file: string, action: FileAction, number: number): void {
    const state = this.#files.get(file)
    if (action !== 'add' && state === undefined) {
      throw this.#error(number, `${action} of "${file}" before its add`)
    }
    if (action === 'close' && state !== 'open') {
      throw this.#error(number, `close of "${file}", which is not open`)
    }
    if (action === 'add' && state !== undefined) return
    this.#files.set(file, action === 'open' ? 'open' : 'added')
  }

  #ioAction(
    file: string,
    action: string,
    rest: readonly string[],
    number: number,
    text: string,
  ): void {
    const offset = this.#number(rest[0], 'offset', number)
    const length = this.#number(rest[1], 'length', number)
    if (action === 'wait') {
      this.#wait(offset, number)
    } else if (isOneOf(IO_ACTIONS, action)) {
      this.#io(file, action, offset, length, number)
    } else {
      this.#skip(number, text)
    }
  }

  #io(file: string, action: IoAction, offset: number, length: number, number: number): void {
    if (this.#files.get(file) !== 'open') {
      throw this.#error(number, `${action} of "${file}", which is not open`)
    }
    const moves = action !== 'sync' && action !== 'datasync'
    if (moves && length === 0) throw this.#error(number, `${action} of 0 bytes`)
    const [at, bytes] = moves ? [offset, length] : [0, 0]
    this.#trace.actions.push({ timeUs: this.#timeUs, file, action, offset: at, length: bytes })
  }

  #wait(us: number, number: number): void {
    if (this.#version === 3) {
      throw this.#error(number, 'wait is not allowed in version 3; the time column stands for it')
    }
    if (us < LEAST_WAIT_US) return
    this.#timeUs += us
    const note = `${this.#name}: waits are taken as microseconds, as fio's manual says; fio 3.33 takes milliseconds`
    if (!this.#trace.notes.includes(note)) this.#trace.notes.push(note)
  }

  #skip(number: number, text: string): void {
    const where = `${this.#name}:${number}: ${quote(text)}`
    this.#firstBad ||= where
    this.#trace.notes.push(
      `${where} skipped: the actions are ${[...FILE_ACTIONS, ...IO_ACTIONS].join(', ')}`,
    )
  }

  #number(text: string, what: string, number: number): number {
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
      throw this.#error(number, `${what} is not a whole number: ${quote(text)}`)
    }
    return value
  }

  #error(number: number, message: string): UserError {
    return new UserError(`${this.#name}:${number}: ${message}`)
  }
}

function isOneOf<T extends string>(list: readonly T[], word: string): word is T {
  return (list as readonly string[]).includes(word)
}

/** The text on one line, shortened. */
function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text)
}
