// The house is a test: the tree as it stands against the rules of test/tidy. Each rule is tried on violations of it in
// test/unit/tidy.test.ts, so that a rule that finds nothing is known to look.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { clockUses } from './tidy/clocks.js'
import { houseFiles, parsed, ROOT } from './tidy/files.js'
import { cycles, strangePackages, wrongDirections } from './tidy/imports.js'
import {
  coreTextProblems,
  type Lock,
  lockProblems,
  type Manifest,
  manifestProblems,
} from './tidy/package.js'
import { emptyTests, leftOutTests } from './tidy/tests.js'
import {
  leftoverMarkers,
  machinePaths,
  machinePathsInText,
  mutableGlobals,
  notConstant,
  withoutStory,
} from './tidy/texts.js'

/** The release core is read by every process that runs something; bytes. */
const MAX_CORE = 128 * 1024

const files = houseFiles()
const code = parsed(files)

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(ROOT, name), 'utf8'))
}

function built(name: string): string {
  const path = join(ROOT, 'dist', name)
  if (!existsSync(path)) throw new Error(`${path} is missing: run npm run build`)
  return path
}

describe('imports', () => {
  it('point down only', () => {
    expect(wrongDirections(code)).toEqual([])
  })

  it('have no cycles, inside a folder either', () => {
    expect(cycles(code)).toEqual([])
  })

  it('name builtin modules and dependencies only', () => {
    const { dependencies } = readJson('package.json') as Manifest
    expect(strangePackages(code, Object.keys(dependencies ?? {}))).toEqual([])
  })
})

describe('files', () => {
  it('are all there: the rules look at something', () => {
    const paths = files.map(file => file.path)
    for (const path of [
      'assembly/layout.ts',
      'src/cli.ts',
      'src/core/view.ts',
      'test/tidy.test.ts',
    ])
      expect(paths).toContain(path)
  })

  it('ask neither clocks nor random sources outside of the machine', () => {
    expect(clockUses(code)).toEqual([])
  })

  it('begin with their story', () => {
    expect(withoutStory(files)).toEqual([])
  })

  it('hold no leftover markers', () => {
    expect(leftoverMarkers(files)).toEqual([])
  })

  it('name no place of one machine', () => {
    expect([...machinePaths(code), ...machinePathsInText(files)]).toEqual([])
  })
})

describe('the core', () => {
  it('has no mutable globals', () => {
    expect(mutableGlobals(code)).toEqual([])
  })

  it('has two files of constants that both compilers read', () => {
    expect(notConstant(code)).toEqual([])
  })

  it('starts nothing, traces nothing and aborts nowhere in its release build', () => {
    expect(coreTextProblems(readFileSync(built('core.release.wat'), 'utf8'))).toEqual([])
  })

  it(`takes at most ${MAX_CORE / 1024} KiB`, () => {
    expect(statSync(built('core.release.wasm')).size).toBeLessThanOrEqual(MAX_CORE)
  })
})

describe('tests', () => {
  it('all assert something', () => {
    expect(emptyTests(code)).toEqual([])
  })

  it('all run, or say why not', () => {
    expect(leftOutTests(code)).toEqual([])
  })
})

describe('the package', () => {
  it('is described as it should be', () => {
    expect(manifestProblems(readJson('package.json') as Manifest)).toEqual([])
  })

  it('brings few packages, and none that runs something at install time', () => {
    expect(lockProblems(readJson('package-lock.json') as Lock)).toEqual([])
  })
})
