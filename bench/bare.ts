// The core without a trace hook in its text: what the release core is held against, in which hooks are there and empty.
//
// The sources are copied with every call of a hook taken out, and compiled as the release core is, into build/bare. That
// takes some ten seconds and is done again only when a source has changed.

import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { distUrl } from '../src/core/wasm.js'
import { output } from './spawn.js'

const ROOT = fileURLToPath(distUrl('../'))
const BUILD = join(ROOT, 'build', 'bare')
const CORE = join(BUILD, 'dist', 'core.release.wasm')
const STAMP = join(BUILD, 'sources.hash')

/** Hooks whose value is used. */
const VALUES = ['enter', 'trace_irq_enter']
const HOOK =
  /\b(enter|leave|entered|(?:bio|rq|nvme|irq|queue)_event|mute_trace|unmute_trace|trace_irq_(?:enter|exit))\(/g

/** Where the parenthesis that opens before `at` is closed. */
function closing(text: string, at: number): number {
  let depth = 1
  let i = at
  for (; depth > 0; i++) {
    if (text[i] === '(') depth++
    else if (text[i] === ')') depth--
  }
  return i
}

/** A source file of the core without calls of hooks. */
export function withoutHooks(text: string): string {
  let bare = ''
  let from = 0
  for (const found of text.matchAll(HOOK)) {
    if (found.index < from) continue
    bare += text.slice(from, found.index) + (VALUES.includes(found[1]!) ? '0' : '{}')
    from = closing(text, found.index + found[0].length)
  }
  return bare + text.slice(from)
}

/** Sources by name, those of the core as they are to be compiled. */
function sources(): Map<string, string> {
  const names = readdirSync(join(ROOT, 'assembly')).filter(name => name.endsWith('.ts'))
  const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
  return new Map([
    ['asconfig.json', read('asconfig.json')],
    ...names.map(name => {
      const path = `assembly/${name}`
      return [path, name === 'trace.ts' ? read(path) : withoutHooks(read(path))] as const
    }),
  ])
}

function hashOf(files: Map<string, string>): string {
  const hash = createHash('sha256')
  for (const [name, text] of files) hash.update(name).update(text)
  return hash.digest('hex')
}

let built: Promise<string | null> | undefined

/** Builds it once. Null, or why it cannot be had. */
export function buildBareCore(): Promise<string | null> {
  built ??= build()
  return built
}

async function build(): Promise<string | null> {
  const files = sources()
  const hash = hashOf(files)
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === hash) return null
  rmSync(BUILD, { recursive: true, force: true })
  mkdirSync(join(BUILD, 'assembly'), { recursive: true })
  for (const [name, text] of files) writeFileSync(join(BUILD, name), text)
  cpSync(join(ROOT, 'package.json'), join(BUILD, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(BUILD, 'node_modules'))
  const asc = join(ROOT, 'node_modules', 'assemblyscript', 'bin', 'asc.js')
  const place = ['--baseDir', BUILD, '--config', 'asconfig.json', '--target', 'release']
  try {
    await output(process.execPath, [asc, ...place])
  } catch (error) {
    return `the core without hooks cannot be built: ${(error as Error).message}`
  }
  writeFileSync(STAMP, hash)
  return null
}

/** The compiled core. @throws Error when buildBareCore() was not called, or has failed */
export function bareCore(): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(CORE))
}
