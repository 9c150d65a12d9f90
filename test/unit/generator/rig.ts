// A job block in a memory of its own, set up from options, with its I/Os as plain objects.

import {
  JG_NEXT_DDIR,
  JG_NEXT_DISK,
  JG_NEXT_FILE,
  JG_NEXT_LEN,
  JG_NEXT_OFFSET,
  JOB_GEN,
  JOB_SIZE,
  PLAN_BASE,
  VT_SIZE,
} from '../../../assembly/layout.js'
import { View } from '../../../src/core/view.js'
import type { GeneratorParams } from '../../../src/workload/generator-params.js'
import { generatorMemory, setUpGenerator } from '../../../src/workload/generator-setup.js'
import type { RwMode, Triple, VerifySpec } from '../../../src/workload/job.js'
import { type GeneratorCore, instantiate } from './core.js'

export const KiB = 1024
export const MiB = 1024 * KiB
/** The job block. */
export const JOB = PLAN_BASE
const BUFFER = JOB + Math.ceil(JOB_SIZE / 4096) * 4096
/** Bytes of the buffer. */
export const BUFFER_SIZE = MiB
const TABLES = BUFFER + BUFFER_SIZE
const OWN = TABLES + Math.ceil(VT_SIZE / 4096) * 4096

export interface Io {
  readonly ddir: number
  readonly offset: number
  readonly len: number
  readonly disk: number
  readonly file: number
}

export const NO_VERIFY: VerifySpec = {
  method: 'none',
  atEnd: true,
  only: false,
  interval: 0,
  offset: 0,
  pattern: [],
  backlog: 0,
  backlogBatch: 0,
  fatal: false,
  dump: false,
}

const USES: Readonly<Record<RwMode, Triple<boolean>>> = {
  read: [true, false, false],
  randread: [true, false, false],
  write: [false, true, false],
  randwrite: [false, true, false],
  trim: [false, false, true],
  randtrim: [false, false, true],
  rw: [true, true, false],
  randrw: [true, true, false],
  trimwrite: [false, true, true],
  randtrimwrite: [false, true, true],
}

/** What a test says of a job; `bs` and `size` stand for the fields that follow from them. */
export interface Ask extends Partial<GeneratorParams> {
  readonly rw: RwMode
  readonly bs?: number
}

export function params(ask: Ask): GeneratorParams {
  const { bs = 4 * KiB, ...rest } = ask
  const size = ask.size ?? MiB
  const bsMin = ask.bsMin ?? [bs, bs, bs]
  return {
    source: 'test.fio:1',
    files: [{ name: 'disk', disk: '/dev/nvme0n1', base: 0, size }],
    size,
    ioSize: size,
    timeBased: false,
    loops: 1,
    random: ask.rw.startsWith('rand'),
    uses: USES[ask.rw],
    ddirSeqCount: 1,
    ddirSeqAdd: 0,
    rwSequencer: 'sequential',
    rwmixread: 50,
    bsMin,
    bsMax: bsMin,
    bssplit: [[], [], []],
    bsUnaligned: false,
    blockAlign: bsMin,
    percentageRandom: [100, 100, 100],
    distribution: [{ kind: 'random' }, { kind: 'random' }, { kind: 'random' }],
    norandommap: false,
    seed: 1,
    zonemode: 'none',
    zonesize: 0,
    zonerange: 0,
    zoneskip: 0,
    verify: NO_VERIFY,
    trim: { verifyZero: false },
    bufferPattern: [],
    zeroBuffers: false,
    ...rest,
  }
}

export class Rig {
  readonly core: GeneratorCore
  readonly view: View
  readonly params: GeneratorParams
  readonly buffer = BUFFER
  readonly tables = TABLES

  constructor(ask: Ask) {
    this.params = params(ask)
    const pages = Math.ceil((OWN + generatorMemory(this.params)) / 65536)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
    this.view = new View(memory.buffer as unknown as SharedArrayBuffer)
    this.core = instantiate(memory)
    this.core.checksum_tables(TABLES)
    setUpGenerator(this.view, JOB, this.params, OWN, TABLES)
  }

  /** The I/O that gen_next or verify_next chose. */
  chosen(): Io {
    const g = JOB + JOB_GEN
    return {
      ddir: this.view.u32(g + JG_NEXT_DDIR),
      offset: this.view.u64(g + JG_NEXT_OFFSET),
      len: this.view.u32(g + JG_NEXT_LEN),
      disk: this.view.u64(g + JG_NEXT_DISK),
      file: this.view.u32(g + JG_NEXT_FILE),
    }
  }

  /** The next I/O, null at the end of the pass. */
  next(): Io | null {
    return this.core.gen_next(JOB) ? this.chosen() : null
  }

  /** I/Os to the end of the pass, or until `limit` bytes (of writes only, with trimwrite) have come, as a job counts. */
  run(limit: number = Number.POSITIVE_INFINITY, countTrims = true): Io[] {
    const ios: Io[] = []
    let bytes = 0
    while (bytes < limit) {
      const io = this.next()
      if (!io) break
      ios.push(io)
      if (io.ddir !== 2 || countTrims) bytes += io.len
    }
    return ios
  }

  /** Counts the I/Os of a whole job, which ends by its bytes (`ioSize` times `loops`) or its passes. */
  count(): number {
    const { ioSize, loops } = this.params
    let left = ioSize * loops
    let n = 0
    while (left > 0) {
      let io = this.next()
      if (!io) {
        if (!this.core.gen_again(JOB, BigInt(left))) break
        this.core.gen_restart(JOB)
        io = this.next()
      }
      if (!io) break
      n++
      if (io.ddir !== 2) left -= io.len
    }
    return n
  }

  /** So many I/Os; the job must have them. */
  take(count: number): Io[] {
    return Array.from({ length: count }, () => {
      const io = this.next()
      if (!io) throw new Error('the pass ended')
      return io
    })
  }
}
