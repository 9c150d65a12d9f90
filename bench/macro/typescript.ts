// I/O that TypeScript issues itself, one at a time: submit_bio, then a look for completions, on the
// calling thread with an inline null device. Below the boundary it is the path that jobs take, with
// a doorbell for each I/O; compared with the yardstick at the same depth and batch 1.
//
//   submit-poll   submit and poll once for each I/O; what has ended is in the CPU's ring of bios
//   promise       32 asynchronous loops that await a promise for each I/O; one poll for what they
//                 have submitted

import {
  BIO_DATA,
  BIO_DISK,
  BIO_END_IO,
  BIO_OPF,
  BIO_PRIVATE,
  BIO_SECTOR,
  BIO_SIZE,
  BIO_STATUS,
  CPU_RING,
  END_IO_RING,
  IOU_BUF,
  IOU_SIZE,
  RING_BASE,
  RING_HEAD,
  RING_MASK,
  RING_TAIL,
  RUN_SLOW,
} from '../../assembly/layout.js'
import { REQ_OP_READ } from '../../assembly/nvme.js'
import type { View } from '../../src/core/view.js'
import type { Core } from '../../src/core/wasm.js'
import { serviceSlow } from '../../src/machine/slow.js'
import { atMost, type Cell, type Measured, ratio, type Size } from '../cell.js'
import { yardstick } from '../native.js'
import { Rig } from '../rig.js'
import { ownThread, threadTime } from '../../src/machine/thread-time.js'
import { commandLine } from './job.js'

const DEPTH = 32
const BLOCK = 4096
const BLOCKS = 2 ** 18
const IOS = { small: 2_000, large: 500_000 } as const
const WARM_IOS = { small: 1_000, large: 300_000 } as const

/** Submits bios and takes finished ones, on the thread that made it. */
class Issuer {
  readonly #rig: Rig
  readonly #core: Core
  readonly #view: View
  readonly #cpu: number
  readonly #ring: number
  readonly #bios: readonly number[]
  #random = 1

  constructor() {
    this.#rig = Rig.boot(commandLine({ depth: DEPTH, batch: 1, device: 'size=1G,model=null' }))
    const { machine } = this.#rig
    this.#core = machine.core
    this.#view = machine.view
    this.#cpu = machine.cpuAddress(0)
    this.#ring = this.#view.u32(this.#cpu + CPU_RING)
    this.#bios = this.#makeBios()
  }

  /**
   * The io_us of the job, which never runs, as bios of our own: their numbers are 0 to DEPTH - 1.
   */
  #makeBios(): number[] {
    const view = this.#view
    const site = this.#rig.sites[0]!
    return Array.from({ length: DEPTH }, (_, i) => {
      const bio = site.base + site.places.ious + i * IOU_SIZE
      view.setU32(bio + BIO_OPF, REQ_OP_READ)
      view.setU32(bio + BIO_END_IO, END_IO_RING)
      view.setU32(bio + BIO_DISK, site.q)
      view.setU32(bio + BIO_PRIVATE, i)
      return bio
    })
  }

  /** A read of a random block. */
  submit(index: number): void {
    const view = this.#view
    const bio = this.#bios[index]!
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0
    view.setU64(bio + BIO_SECTOR, ((this.#random >>> 0) % BLOCKS) * (BLOCK / 512))
    view.setU32(bio + BIO_SIZE, BLOCK)
    view.setU32(bio + BIO_DATA, view.u32(bio + IOU_BUF))
    if (this.#core.submit_bio(this.#cpu, bio) < -1) throw new Error('no tag was free')
  }

  /** Looks for completions once; `done` gets the number of each bio that has ended. */
  poll(done: (index: number) => void): void {
    const { machine } = this.#rig
    const view = this.#view
    if (this.#core.cpu_run(this.#cpu, 1) & RUN_SLOW) {
      const { core, now } = machine
      serviceSlow(
        { core, view, cpu: this.#cpu, index: 0, now, post: () => {} },
        {
          bio: (_, bio) => this.#end(bio, done),
        },
      )
    }
    const ring = this.#ring
    let head = view.u32(ring + RING_HEAD)
    const tail = view.u32(ring + RING_TAIL)
    while (head !== tail) {
      const slot = head & view.u32(ring + RING_MASK)
      head++
      view.setU32(ring + RING_HEAD, head)
      this.#end(view.u32(view.u32(ring + RING_BASE) + slot * 4), done)
    }
  }

  #end(bio: number, done: (index: number) => void): void {
    if (this.#view.u32(bio + BIO_STATUS)) throw new Error('an I/O failed')
    done(this.#view.u32(bio + BIO_PRIVATE))
  }

  async stop(): Promise<void> {
    await this.#rig.stop()
  }
}

/** Elapsed and CPU time of this thread for each of `ios` I/Os. */
async function timed(ios: number, run: () => Promise<void> | void): Promise<Measured> {
  const thread = ownThread()
  const cpu = threadTime(thread)
  const began = performance.now()
  await run()
  const elapsedNs = (performance.now() - began) * 1e6
  return { value: elapsedNs / ios, cpu: (threadTime(thread) - cpu) / ios }
}

function submitAndPoll(issuer: Issuer, ios: number): void {
  const free = Array.from({ length: DEPTH }, (_, i) => i)
  let ended = 0
  const done = (index: number): void => {
    free.push(index)
    ended++
  }
  for (let i = 0; i < ios; i++) {
    issuer.submit(free.pop()!)
    issuer.poll(done)
  }
  if (ended !== ios) throw new Error(`${ios} I/Os were submitted, ${ended} have ended`)
}

/** A promise for each I/O; polls once when the loops that could run have submitted. */
class Promises {
  readonly #issuer: Issuer
  readonly #waiting: ((index: number) => void)[] = []
  #polls = false

  constructor(issuer: Issuer) {
    this.#issuer = issuer
  }

  io(index: number): Promise<number> {
    return new Promise(resolve => {
      this.#waiting[index] = resolve
      this.#issuer.submit(index)
      if (this.#polls) return
      this.#polls = true
      queueMicrotask(this.#poll)
    })
  }

  readonly #poll = (): void => {
    this.#polls = false
    this.#issuer.poll(this.#done)
  }

  readonly #done = (index: number): void => this.#waiting[index]!(index)
}

async function awaitEach(issuer: Issuer, ios: number): Promise<void> {
  const promises = new Promises(issuer)
  let left = ios
  const loop = async (index: number): Promise<void> => {
    while (left-- > 0) await promises.io(index)
  }
  await Promise.all(Array.from({ length: DEPTH }, (_, i) => loop(i)))
}

type Way = (issuer: Issuer, ios: number) => Promise<void> | void

async function measure(way: Way, size: Size): Promise<Measured> {
  const issuer = new Issuer()
  await way(issuer, WARM_IOS[size])
  const measured = await timed(IOS[size], () => way(issuer, IOS[size]))
  await issuer.stop()
  return measured
}

function cell(name: string, title: string, way: Way, most: number): Cell {
  return {
    name,
    title,
    unit: 'ns',
    sides: [
      { name: 'phasebit', where: 'child', measure: size => measure(way, size) },
      yardstick(`--qd ${DEPTH} --batch 1`, 10_000_000),
    ],
    figure: ratio,
    figureUnit: '',
    goal: atMost(most),
    needs: ['yardstick'],
  }
}

export const TYPESCRIPT_CELLS: readonly Cell[] = [
  cell('submit-poll', 'TypeScript, submit and poll for each I/O, QD32', submitAndPoll, 5),
  cell('promise', 'TypeScript, a promise for each I/O, QD32', awaitEach, 18),
]
