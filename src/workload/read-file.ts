// Files that a user names: read whole, but for what never ends.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'

/** What is no file (a pipe, a terminal, a device such as /dev/zero) may go on for ever. */
const MAX_STREAM = 64 * 2 ** 20
const CHUNK = 2 ** 16

/** All bytes of a file, or of a stream that is open already. @throws Error when it cannot be read, or has no end */
export function readWhole(file: string | number): Uint8Array {
  const fd = typeof file === 'number' ? file : openSync(file, 'r')
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd) : readStream(fd)
  } finally {
    if (fd !== file) closeSync(fd)
  }
}

function readStream(fd: number): Uint8Array {
  const chunks: Uint8Array[] = []
  for (let total = 0; total <= MAX_STREAM; ) {
    const chunk = new Uint8Array(CHUNK)
    const bytes = readSync(fd, chunk)
    if (bytes === 0) return Buffer.concat(chunks)
    chunks.push(chunk.subarray(0, bytes))
    total += bytes
  }
  throw new Error(`no end after ${MAX_STREAM / 2 ** 20} MiB`)
}
