// The loops of loops.as, compiled once for each state of the core's sources (build/), and something
// for them to work on: a bitmap in a memory of its own, or a booted machine's queue or job.

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  DDIR_READ,
  JG_RNG_DATA,
  JOB_GEN,
  PLAN_BASE,
  SBQ_HINT_SIZE,
  SBQ_SIZE,
  SBW_SIZE,
  STAT_CLAT,
} from '../../assembly/layout.js'
import { distUrl } from '../../src/core/wasm.js'
import type { Machine } from '../../src/machine/machine.js'
import { statAddress } from '../../src/workload/job-view.js'
import { commandLine, type Load } from '../macro/job.js'
import { Rig } from '../rig.js'

const ROOT = distUrl('../')
const ENTRY = 'bench/micro/loops'
const WASM_PAGE = 65536
const BARE_PAGES = 1024

/** See loops.as. */
interface LoopExports {
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
  ): number
  sbitmap_hold(sbq: number, list: number, held: number, cpu: number): void
  sbitmap_churn(sbq: number, list: number, held: number, cpu: number, ops: number): number
  tag_pairs(hctx: number, tags: number, ops: number): number
  tag_window(hctx: number, tags: number, list: number, held: number, ops: number): number
  sq_rounds(nq: number, batch: number, ops: number): number
  cq_rounds(nq: number, batch: number, ops: number): number
  doorbells(base: number, stride: number, queues: number, ops: number): number
  shadow_doorbells(
    base: number,
    shadow: number,
    event: number,
    stride: number,
    queues: number,
    ops: number,
  ): number
  nothing(a: number, b: number): number
  nothing64(a: bigint, b: bigint): bigint
  described(base: number, count: number): number
  ring_rounds(nq: number, batch: number, ops: number): number
  histogram(ls: number, ops: number): number
  generator(job: number, ops: number): number
  random(state: number, ops: number): number
}

const OPTIONS = [
  ...['--runtime', 'stub', '--importMemory', '--sharedMemory', '--enable', 'threads,simd'],
  ...['--initialMemory', '16', '--maximumMemory', '65536', '--optimizeLevel', '3'],
  ...['--noAssert', '--use', 'abort=', '--outFile', 'loops.wasm'],
]

function source(path: string): string | null {
  const url = new URL(path === `${ENTRY}.ts` ? `${ENTRY}.as` : path, ROOT)
  return existsSync(url) ? readFileSync(url, 'utf8') : null
}

/** Name of the compiled loops: another one for each state of what they are made of. */
function fileName(): URL {
  const hash = createHash('sha256').update(source(`${ENTRY}.ts`) ?? '')
  const files = readdirSync(new URL('assembly/', ROOT)).filter(file => file.endsWith('.ts'))
  for (const file of files.sort()) hash.update(source(`assembly/${file}`) ?? '')
  return new URL(`build/loops-${hash.digest('hex').slice(0, 16)}.wasm`, ROOT)
}

async function compile(): Promise<Uint8Array> {
  const { default: asc } = await import('assemblyscript/asc')
  let binary: Uint8Array | undefined
  const { error, stderr } = await asc.main([`${ENTRY}.ts`, ...OPTIONS], {
    readFile: name => (name.endsWith('asconfig.json') ? '{}' : source(name)),
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm') && typeof contents !== 'string') binary = contents
    },
    listFiles: () => [],
  })
  if (error || !binary) throw new Error(`${ENTRY}.as: ${error?.message}\n${stderr.toString()}`)
  return binary
}

/** Compiles the loops, unless they are there already; returns the path of the file. */
export async function buildLoops(): Promise<string> {
  const file = fileName()
  if (!existsSync(file)) {
    const binary = await compile()
    mkdirSync(new URL('build/', ROOT), { recursive: true })
    const draft = new URL(`${file.href}.${process.pid}`)
    writeFileSync(draft, binary)
    renameSync(draft, file)
  }
  return fileURLToPath(file)
}

async function instantiate(memory: WebAssembly.Memory): Promise<LoopExports> {
  const module = new WebAssembly.Module(readFileSync(await buildLoops()))
  const env = { memory, now: () => 0, relax: () => {}, device_host: () => 0 }
  return new WebAssembly.Instance(module, { env }).exports as unknown as LoopExports
}

/** Does so many operations. */
export type Loop = (ops: number) => void

/** A bitmap in a memory of its own, of which some bits are held. */
export interface Bitmap {
  readonly memory: WebAssembly.Memory
  readonly sbq: number
  readonly held: number
  /** Addresses of the lists of held bits, one for each thread. */
  readonly lists: readonly number[]
}

/** A bitmap of which each of `threads` holds its part of `held` bits. */
export async function bitmapOf(depth: number, held: number, threads: number): Promise<Bitmap> {
  const memory = new WebAssembly.Memory({
    initial: BARE_PAGES,
    maximum: BARE_PAGES,
    shared: true,
  })
  const loops = await instantiate(memory)
  const hints = PLAN_BASE + SBQ_SIZE
  const map = hints + threads * SBQ_HINT_SIZE
  const first = map + loops.sbitmap_words(depth, -1) * SBW_SIZE
  const each = Math.max(1, Math.floor(held / threads))
  const lists = Array.from({ length: threads }, (_, i) => first + i * each * 4)
  if (first + threads * each * 4 > BARE_PAGES * WASM_PAGE) throw new RangeError(`depth ${depth}`)
  const shared = threads > 1 ? 1 : 0
  loops.sbitmap_queue_init_node(PLAN_BASE, depth, -1, 0, map, hints, threads, shared, 0)
  for (const [cpu, list] of lists.entries()) loops.sbitmap_hold(PLAN_BASE, list, each, cpu)
  return { memory, sbq: PLAN_BASE, held: each, lists }
}

/** A random one of this thread's bits is freed, then one is taken. */
export async function churnLoop({ memory, sbq, held, lists }: Bitmap, thread = 0): Promise<Loop> {
  const loops = await instantiate(memory)
  return ops => {
    loops.sbitmap_churn(sbq, lists[thread]!, held, thread, ops)
  }
}

/** All but one bit of a bitmap of this depth are held; a random one is freed, then one is taken. */
export async function sbitmapLoop(depth: number): Promise<Loop> {
  return churnLoop(await bitmapOf(depth, Math.max(depth - 1, 1), 1))
}

/** Doorbells of 64 queues, `dstrd` as in CAP.DSTRD; with shadow pages or without. */
export async function doorbellLoop(dstrd: number, shadow: boolean): Promise<Loop> {
  const memory = new WebAssembly.Memory({ initial: BARE_PAGES, maximum: BARE_PAGES, shared: true })
  const loops = await instantiate(memory)
  const stride = 4 << dstrd
  const queues = 64
  const region = 2 * queues * stride
  const [base, pages, events] = [PLAN_BASE, PLAN_BASE + region, PLAN_BASE + 2 * region]
  return ops => {
    if (shadow) loops.shadow_doorbells(base, pages, events, stride, queues, ops)
    else loops.doorbells(base, stride, queues, ops)
  }
}

/**
 * Over the boundary: a call that does nothing, one with BigInts, and `batch` I/Os described in memory for each call.
 */
export async function boundaryLoops(
  batch: number,
): Promise<{ readonly call: Loop; readonly big: Loop; readonly described: Loop }> {
  const memory = new WebAssembly.Memory({ initial: BARE_PAGES, maximum: BARE_PAGES, shared: true })
  const { nothing, nothing64, described } = await instantiate(memory)
  const words = new Uint32Array(memory.buffer, PLAN_BASE, batch * 4)
  return {
    call: ops => {
      let sum = 0
      for (let i = 0; i < ops; i++) sum = nothing(sum, 1)
      if (sum !== ops) throw new Error(`${sum} of ${ops} calls`)
    },
    big: ops => {
      let sum = 0n
      for (let i = 0; i < ops; i++) sum = nothing64(sum, BigInt(i & 1))
      if (sum !== BigInt(ops >> 1)) throw new Error(`${sum} of ${ops} calls`)
    },
    described: describedLoop(words, batch, count => described(PLAN_BASE, count)),
  }
}

/** I/Os described in words, `batch` for each call of `take`, which returns what it has seen. */
export function describedLoop(
  words: Uint32Array,
  batch: number,
  take: (count: number) => number,
): Loop {
  return ops => {
    let sum = 0
    for (let n = 0; n < ops; n += batch) {
      for (let i = 0; i < batch; i++) {
        const at = i * 4
        words[at] = i
        words[at + 1] = 0
        words[at + 2] = 4096
        words[at + 3] = 0
      }
      sum = take(batch)
    }
    const whole = (batch * (batch - 1)) / 2 + 4096 * batch
    if (sum !== whole) throw new Error(`${sum} of ${whole} was seen`)
  }
}

/** A booted machine that nobody runs, and the loops in its memory. */
export class LoopMachine {
  readonly #rig: Rig
  readonly #loops: LoopExports

  private constructor(rig: Rig, loops: LoopExports) {
    this.#rig = rig
    this.#loops = loops
  }

  /** A machine with one queue of a disk that keeps nothing. */
  static async boot(load: Partial<Load> = {}): Promise<LoopMachine> {
    const whole = { depth: 1, batch: 1, device: 'size=1G,model=null', ...load }
    const rig = Rig.boot([...commandLine(whole), '--clock=virtual'])
    return new LoopMachine(rig, await instantiate(rig.machine.memory))
  }

  /** A machine whose rings have so many entries. */
  static withRings(entries: number): Promise<LoopMachine> {
    return LoopMachine.boot({ device: `size=1G,model=null,depth=${entries}` })
  }

  get #machine(): Machine {
    return this.#rig.machine
  }

  /** Takes a tag and gives it back; with `held` others in flight, in the order of their age. */
  tags(held: number): Loop {
    const { hctx, tags } = this.#machine.disks[0]!.queues[0]!
    // the buffers of a job that never runs
    const list = this.#rig.sites[0]!.base + this.#rig.sites[0]!.places.buffers
    return ops => {
      if (held === 0) this.#loops.tag_pairs(hctx, tags, ops)
      else this.#loops.tag_window(hctx, tags, list, held, ops)
    }
  }

  /** `batch` entries written, rung, run and reaped at a time. */
  rings(batch: number): Loop {
    const { nq } = this.#machine.disks[0]!.queues[0]!
    return ops => {
      const reaped = this.#loops.ring_rounds(nq, batch, ops)
      if (reaped < ops) throw new Error(`the device stopped after ${reaped} of ${ops} entries`)
    }
  }

  /** `batch` entries written, then the doorbell. */
  submission(batch: number): Loop {
    const { nq } = this.#machine.disks[0]!.queues[0]!
    return ops => {
      this.#loops.sq_rounds(nq, batch, ops)
    }
  }

  /** `batch` completion entries found by phase, then the doorbell. */
  completion(batch: number): Loop {
    const { nq } = this.#machine.disks[0]!.queues[0]!
    return ops => {
      this.#loops.cq_rounds(nq, batch, ops)
    }
  }

  /** Latencies into the histogram of the job's reads. */
  histogram(): Loop {
    const ls = statAddress(this.#rig.sites[0]!.job, DDIR_READ) + STAT_CLAT
    return ops => {
      this.#loops.histogram(ls, ops)
    }
  }

  /** What the next I/O of the machine's job is. */
  generator(): Loop {
    const { job } = this.#rig.sites[0]!
    return ops => {
      this.#loops.generator(job, ops)
    }
  }

  /** The random numbers of a job alone. */
  random(): Loop {
    const state = this.#rig.sites[0]!.job + JOB_GEN + JG_RNG_DATA
    return ops => {
      this.#loops.random(state, ops)
    }
  }
}
