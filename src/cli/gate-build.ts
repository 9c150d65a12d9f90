// Builds of phasebit, as --base and --head name them.
//
//   a folder     a checkout or an unpacked package, built: the command that its package.json names is there
//   a tarball    what `npm pack` makes; unpacked into a temporary folder
//   a version    0.1.0 or phasebit@0.1.0, installed: looked for in node_modules of this folder and those above, under any name
//                (npm install phasebit-base@npm:phasebit@0.1.0). Nothing is downloaded
//
// A build is used through two of its files: the command, and beside it (in older builds in the folder cli) gate-probe.js for what is
// measured within one process. copyBuild makes a second one that shares no code with the first at run time, for base against base.

import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { UserError } from '../core/errors.js'
import { isRecord } from '../gate/json-file.js'
import { unpack } from './tarball.js'

const PACKAGE = 'phasebit'

/** A build that can be run. */
export interface Build {
  /** What the user called it. */
  readonly label: string
  readonly root: string
  readonly version: string
  /** Hash of the core's sources. */
  readonly core: string
  readonly cli: string
  /** URL of the benchmarks; null when the build is too old to have any. */
  readonly probe: string | null
}

/** Temporary folders of one command. */
export class Workshop {
  readonly #folders: string[] = []

  /** A new folder whose imports find the packages that phasebit depends on. */
  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'phasebit-gate-'))
    this.#folders.push(folder)
    const require = createRequire(import.meta.url)
    const piscina = require.resolve('piscina')
    const modules = piscina.slice(0, piscina.lastIndexOf('node_modules') + 'node_modules'.length)
    symlinkSync(modules, join(folder, 'node_modules'), 'junction')
    return folder
  }

  close(): void {
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Finds the build that a text means.
 * @throws UserError when there is none, or it is not built
 */
export function findBuild(text: string, workshop: Workshop): Build {
  if (existsSync(text)) {
    if (statSync(text).isDirectory()) return buildIn(text, resolve(text))
    const folder = join(workshop.folder(), 'package')
    unpack(text, folder)
    return buildIn(text, folder)
  }
  const version = /^(?:phasebit@)?(\d+\.\d+\.\d+(?:[-+][\w.+-]+)?)$/.exec(text)?.[1]
  if (version !== undefined) return installed(text, version)
  throw new UserError(
    `${text}: no such folder or tarball, and no version; a build is a folder, a .tgz, or a version such as 0.1.0`,
  )
}

function manifest(root: string): { name: string; version: string; bin: string } | null {
  try {
    const json: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    if (!isRecord(json)) return null
    const { name, version, bin } = json
    const command = isRecord(bin) ? String(bin[PACKAGE]) : ''
    return { name: String(name), version: String(version), bin: command }
  } catch {
    return null
  }
}

function buildIn(label: string, folder: string): Build {
  const about = manifest(folder)
  if (about?.name !== PACKAGE)
    throw new UserError(
      `${label}: is no ${PACKAGE}: its package.json is missing or of something else`,
    )
  const root = realpathSync(folder)
  const cli = join(root, about.bin)
  if (about.bin === '' || !existsSync(cli) || !existsSync(join(root, 'dist', 'core.release.wasm')))
    throw new UserError(`${label}: is not built; run npm run build there`)
  const probe = ['gate-probe.js', 'cli/gate-probe.js']
    .map(file => join(dirname(cli), file))
    .find(existsSync)
  return {
    label,
    root,
    version: about.version,
    core: coreOf(root),
    cli,
    probe: probe === undefined ? null : pathToFileURL(probe).href,
  }
}

function coreOf(root: string): string {
  try {
    return readFileSync(join(root, 'dist', 'core.hash'), 'utf8').slice(0, 16)
  } catch {
    return 'unknown'
  }
}

/** Looks through node_modules of this folder and of those above it. */
function installed(label: string, version: string): Build {
  const found: string[] = []
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    for (const name of packagesIn(join(folder, 'node_modules'))) {
      const about = manifest(name)
      if (about?.name !== PACKAGE) continue
      if (about.version === version) return buildIn(label, name)
      found.push(about.version)
    }
    if (folder === dirname(folder)) break
  }
  const have = found.length === 0 ? 'none is' : `${[...new Set(found)].join(', ')} is`
  throw new UserError(
    `${label}: not installed (${have}); npm install phasebit-base@npm:${PACKAGE}@${version}`,
  )
}

/** Folders in a node_modules whose name may be that of phasebit. */
function packagesIn(modules: string): string[] {
  try {
    return readdirSync(modules)
      .filter(name => name.includes(PACKAGE))
      .map(name => join(modules, name))
  } catch {
    return []
  }
}

/**
 * A second build with the same bytes, but for a note at the end of the core that makes it a module of its own: the engine
 * would otherwise share the code of two equal modules, and base against base would compare a thing with itself.
 */
export function copyBuild(build: Build, workshop: Workshop): Build {
  const root = join(workshop.folder(), 'package')
  mkdirSync(join(root, 'dist'), { recursive: true })
  const dist = join(build.root, 'dist')
  cpSync(join(build.root, 'package.json'), join(root, 'package.json'))
  for (const part of ['lib', 'src', 'assembly', 'core.release.wasm', 'core.hash']) {
    const from = join(dist, part)
    if (existsSync(from)) cpSync(from, join(root, 'dist', part), { recursive: true })
  }
  appendFileSync(join(root, 'dist', 'core.release.wasm'), customSection('phasebit.copy'))
  return buildIn(`a copy of ${build.label}`, root)
}

/** A section of a WASM module that engines read over: id 0, its length, its name. */
function customSection(name: string): Uint8Array {
  const text = new TextEncoder().encode(name)
  return Uint8Array.from([0, text.length + 1, text.length, ...text])
}
