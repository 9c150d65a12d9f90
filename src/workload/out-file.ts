// A file that appears whole or not at all: written under another name beside its place, and renamed when complete.
//
//   open    finds out at once whether the place can be written: before the run, not after it
//   write   straight to the descriptor, in order
//   commit  flush, rename
//   discard remove what was begun
//
// What is not a regular file (a terminal, /dev/null, a pipe) is written directly; a symbolic link keeps pointing where it
// did. Every failure is an OutputError of one line with the path and the reason.

import {
  accessSync,
  closeSync,
  constants,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { OutputError } from '../core/errors.js'

const BUFFER_BYTES = 1 << 16

/** Text to one file. */
export class OutFile {
  readonly path: string
  readonly #target: string
  /** What is really written; the same as #target for devices and pipes. */
  readonly #temporary: string
  #fd: number
  #pending: string[] = []
  #pendingLength = 0

  /** @throws OutputError when the file cannot be written */
  constructor(path: string) {
    this.path = path
    try {
      this.#target = place(path)
      const regular = isRegular(this.#target)
      this.#temporary = regular ? temporaryName(this.#target) : this.#target
      this.#fd = openSync(this.#temporary, regular ? 'wx' : 'w', 0o666)
    } catch (error) {
      throw cannotWrite(path, error)
    }
  }

  write(text: string): void {
    this.#pending.push(text)
    this.#pendingLength += text.length
    if (this.#pendingLength >= BUFFER_BYTES) this.flush()
  }

  /** Hands everything to the system. */
  flush(): void {
    const bytes = Buffer.from(this.#pending.join(''))
    this.#pending = []
    this.#pendingLength = 0
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      throw cannotWrite(this.path, error)
    }
  }

  /** The file is complete and takes its place. */
  commit(): void {
    if (this.#fd < 0) return
    try {
      this.flush()
      closeSync(this.#take())
      if (this.#temporary !== this.#target) renameSync(this.#temporary, this.#target)
    } catch (error) {
      this.discard()
      throw error instanceof OutputError ? error : cannotWrite(this.path, error)
    }
  }

  /** The file is not wanted any more. Never throws; harmless after commit. */
  discard(): void {
    try {
      if (this.#fd >= 0) closeSync(this.#take())
      if (this.#temporary !== this.#target) unlinkSync(this.#temporary)
    } catch {
      // it has taken its place, or the descriptor is broken: nothing is left to remove
    }
  }

  #take(): number {
    const fd = this.#fd
    this.#fd = -1
    return fd
  }
}

/** The path behind links. A missing file is looked for in its folder. */
function place(path: string): string {
  try {
    const real = realpathSync(path)
    if (statSync(real).isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' })
    accessSync(real, constants.W_OK)
    return real
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return join(realpathSync(dirname(path)), basename(path))
  }
}

function isRegular(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    return true
  }
}

function temporaryName(target: string): string {
  return join(dirname(target), `.${basename(target)}.${process.pid}.tmp`)
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist',
  EISDIR: 'it is a folder',
  ENOTDIR: 'its folder is a file',
  EACCES: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on the device',
  EPIPE: 'its reader has gone away',
  EEXIST: 'another run is writing it',
  ENAMETOOLONG: 'its name is too long',
}

/** The one line for a failed write. */
export function cannotWrite(path: string, error: unknown): OutputError {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const reason = REASONS[code] ?? (error instanceof Error ? error.message : String(error))
  return new OutputError(`cannot write ${path}: ${reason}`, { cause: error })
}
