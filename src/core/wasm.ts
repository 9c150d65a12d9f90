// The WASM core: where its file is, what it exports, and how a thread gets its instance.
//
// The module is compiled once, on the main thread; workers receive the compiled module together with the memory and
// make one instance each, for their whole life (each instantiation writes the constant data again). All arguments and
// results are numbers: addresses and counts are u32, times are f64 nanoseconds.
import { existsSync, readFileSync } from 'node:fs'

/** Which build of the core: `trace` has the function hooks, `debug` has assertions. */
export type CoreTarget = 'release' | 'debug' | 'trace'

/** What the core exports. Addresses are byte offsets into the memory; RUN_* of assembly/layout.ts are the results of a run. */
export interface Core {
  /** Real clock: runs the jobs of one CPU for at most `budget` completed I/Os. Returns RUN_* and the flag RUN_SLOW. */
  cpu_run(cpu: number, budget: number): number
  /** When the CPU must look again though nothing is in flight, in ns; valid after RUN_TIMER. */
  cpu_deadline(cpu: number): number
  /** 1 if the CPU has something to do now. */
  cpu_pending(cpu: number): number
  /** Stamps the time of the next batch, in ns on the machine's clock. */
  cpu_set_now(cpu: number, ns: number): void
  /** Runs all queues of a device that has its own thread; returns the number of entries handled. */
  device_run(dev: number, budget: number): number
  /** Virtual clock: handles events. Returns RUN_* and the flag RUN_SLOW. */
  virtual_run(budget: number, untilNs: number): number
  /** Virtual clock: puts an event for this CPU at the present time. */
  virtual_kick(cpu: number): void
  sbitmap_words(depth: number, shift: number): number
  sbitmap_queue_init_node(
    sbq: number,
    depth: number,
    shift: number,
    roundRobin: number,
    map: number,
    hints: number,
    nrCpus: number,
    shared: number,
    seed: number,
  ): void
  blk_mq_init_tags(tags: number): void
  /** Submits a filled bio; returns its cookie, -1 when there is nothing to poll for. */
  submit_bio(cpu: number, bio: number): number
  blk_start_plug(cpu: number): void
  blk_finish_plug(cpu: number): void
  blk_poll(cpu: number, hctx: number): number
}

const here = new URL('.', import.meta.url)
const built = here.pathname.endsWith('/dist/src/core/')

/** A file of the build, by its path below dist/; the same from the built package and from the sources in a test. */
export function distUrl(path: string): URL {
  return new URL(`${built ? '../../' : '../../dist/'}${path}`, here)
}

/**
 * Reads and compiles the core.
 * @throws Error when the package was not built
 */
export function compileCore(target: CoreTarget): WebAssembly.Module {
  const file = distUrl(`core.${target}.wasm`)
  if (!existsSync(file)) throw new Error(`${file.pathname} is missing: run npm run build`)
  return new WebAssembly.Module(readFileSync(file))
}

/**
 * This thread's instance.
 * @param now the real clock in ns; called only where a time must be read in the middle of a batch
 */
export function instantiateCore(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  now: () => number,
): Core {
  const instance = new WebAssembly.Instance(module, { env: { memory, now, abort: coreAbort } })
  return instance.exports as unknown as Core
}

/** Called by the debug build when an assertion fails; the position is all that crosses without reading strings. */
function coreAbort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`assertion in the core failed at line ${line}, column ${column}`)
}
