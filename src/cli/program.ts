// The program: CommonJS files dist/lib/*-HASH.cjs that require each other, and beside each the code that the engine made of it.
//
//   open        loads the file of the command, and the others when they are required. Where the code beside a file is of this
//               very engine nothing is compiled, and the functions that a run needs are there from the first call on.
//               Otherwise the engine compiles what is called, as ever
//   saveCode    what the engine has compiled so far, to files: at the end of a build (scripts/code-cache.mjs), and after the first
//               job of an installed package, whose engine no build knew
//
// The engine itself refuses code of another version or other flags of its own, but it knows a source by its length alone: hence the
// hash in the names, which is of the whole text.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { constants, Script } from 'node:vm'

/** What the program exports: src/cli/main.ts. */
export interface Main {
  readonly main: (args: readonly string[]) => Promise<void>
}

interface LoadedFile {
  readonly script: Script
  readonly module: { exports: object }
}

/** A program that has been opened. */
export class Program {
  readonly #files = new Map<string, LoadedFile>()
  readonly #main: string

  /** @param main the path of the command's file */
  constructor(main: string) {
    this.#main = main
  }

  /** Loads the file of the command: no command runs yet. */
  open(): Main {
    return this.#load(this.#main) as Main
  }

  #load(file: string): object {
    const known = this.#files.get(file)
    if (known) return known.module.exports
    const script = compile(file)
    const module = { exports: {} }
    this.#files.set(file, { script, module })
    const host = createRequire(file)
    const require = (name: string): unknown =>
      name.startsWith('./') ? this.#load(join(dirname(file), name)) : host(name)
    const wrapper = script.runInThisContext() as (...args: readonly unknown[]) => void
    wrapper(module.exports, require, module, file, dirname(file))
    return module.exports
  }

  /** Whether the engine had to compile a file that has been loaded. */
  get compiled(): boolean {
    return [...this.#files.values()].some(({ script }) => script.cachedDataRejected !== false)
  }

  /** Writes the code of all files that have been loaded beside them, each whole or not at all. */
  saveCode(): void {
    for (const [file, { script }] of this.#files) {
      const code = codeOf(file)
      const half = `${code}.${process.pid}`
      try {
        writeFileSync(half, script.createCachedData())
        renameSync(half, code)
      } finally {
        rmSync(half, { force: true })
      }
    }
  }
}

function codeOf(file: string): string {
  return file.replace(/\.cjs$/, '.code')
}

function compile(file: string): Script {
  const code = codeOf(file)
  const text = readFileSync(file, 'latin1')
  return new Script(`(function(exports,require,module,__filename,__dirname){${text}\n})`, {
    filename: file,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(existsSync(code) ? { cachedData: readFileSync(code) } : {}),
  })
}
