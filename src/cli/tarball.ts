// Unpacks what `npm pack` makes: a gzipped tar archive whose files stand below one folder, package/.
//
//   header, 512 bytes   name 0-99, size 124-135 (octal), type 156, prefix 345-499; then the contents, padded to 512
//   type 0 or NUL       a file; 5 a folder; x and g: extended headers, of which `path` counts
//
// Links and devices do not occur in packages and are refused, and so is a path that leads out of the folder.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize, sep } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { UserError } from '../core/errors.js'

const BLOCK = 512

/**
 * Unpacks a tarball into a folder, without the outermost folder of its paths.
 * @throws UserError when it is no tarball, is cut off, or holds what a package does not
 */
export function unpack(path: string, folder: string): void {
  const archive = contents(path)
  let long: string | undefined
  let files = 0
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const header = archive.subarray(at, at + BLOCK)
    if (header.every(byte => byte === 0)) break
    const size = Number.parseInt(field(header, 124, 136).trim() || '0', 8)
    if (!(size >= 0) || at + BLOCK + size > archive.length) throw bad(path, 'is cut off')
    const data = archive.subarray(at + BLOCK, at + BLOCK + size)
    const type = field(header, 156, 157) || '0'
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
    if (type === 'x') {
      long = /^\d+ path=(.*)$/m.exec(Buffer.from(data).toString('utf8'))?.[1]
      continue
    }
    if (type === 'g' || type === '5') continue
    if (type !== '0') throw bad(path, `holds something else than files (type ${type})`)
    const prefix = field(header, 345, 500)
    const name = long ?? (prefix ? `${prefix}/` : '') + field(header, 0, 100)
    long = undefined
    write(path, folder, name, data)
    files++
  }
  if (files === 0) throw bad(path, 'is no tarball of a package')
}

function bad(path: string, what: string): UserError {
  return new UserError(`${path}: ${what}; what npm pack makes is expected`)
}

function contents(path: string): Uint8Array {
  const bytes = readFileSync(path)
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) throw bad(path, 'is no tarball')
  try {
    return gunzipSync(bytes)
  } catch {
    throw bad(path, 'is cut off or damaged')
  }
}

/** A text field, up to its first NUL. */
function field(header: Uint8Array, from: number, to: number): string {
  const bytes = header.subarray(from, to)
  const end = bytes.indexOf(0)
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8')
}

function write(archive: string, folder: string, name: string, data: Uint8Array): void {
  const inside = normalize(name.split('/').slice(1).join('/'))
  if (inside === '.' || inside.startsWith('..') || inside.startsWith(sep))
    throw bad(archive, `holds the path ${JSON.stringify(name)}`)
  const target = join(folder, inside)
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, data)
}
