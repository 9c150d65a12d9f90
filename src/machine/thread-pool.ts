// A pool of workers, each for one CPU or one device thread.
//
// The pool's package is loaded here and only here, so that virtual time never pays for it, and synchronously, because
// the workers shall begin as early as possible: a worker takes as long to begin as the rest of a program's start, so a command that
// will need one can ask for it before it knows more (`early` of bootMachine).

import { createRequire } from 'node:module'
import type { Piscina } from 'piscina'

/** Workers that load a file. */
export interface ThreadPool {
  readonly pool: Piscina
  readonly file: string
  readonly count: number
}

/** Spawns `count` workers that load `file`, and have one task each at most. They do not keep the process alive. */
export function threadPool(count: number, file: URL): ThreadPool {
  const require = createRequire(import.meta.url)
  const { Piscina } = require('piscina') as typeof import('piscina')
  const pool = new Piscina({
    filename: file.href,
    minThreads: count,
    maxThreads: count,
    concurrentTasksPerWorker: 1,
    atomics: 'disabled',
    recordTiming: false,
  })
  return { pool, file: file.href, count }
}
