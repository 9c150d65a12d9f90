// I/O that a program issues itself, one at a time, by its own queue to a disk (openMachine, IoQueue): on the calling
// thread with an inline null device, a doorbell for each I/O; compared with the yardstick at the same depth and batch 1.
//
//   submit-poll   submit and poll once for each I/O
//   promise       32 asynchronous loops that await a promise for each I/O

import type { IoQueue } from '../../src/workload/io-queue.js'
import { openMachine } from '../../src/workload/open-machine.js'
import { ownThread, threadTime } from '../../src/machine/thread-time.js'
import { atMost, type Cell, type Measured, ratio, type Size } from '../cell.js'
import { yardstick } from '../native.js'

const DEPTH = 32
const BLOCK = 4096
const BLOCKS = 2 ** 18
const IOS = { small: 2_000, large: 500_000 } as const
const WARM_IOS = { small: 1_000, large: 300_000 } as const

/** Offsets of random blocks. */
class Offsets {
  #random = 1

  next(): number {
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) | 0
    return ((this.#random >>> 0) % BLOCKS) * BLOCK
  }
}

function good(errno: number): void {
  if (errno !== 0) throw new Error('an I/O failed')
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

function submitAndPoll(queue: IoQueue, ios: number): void {
  const offsets = new Offsets()
  const free = Array.from({ length: DEPTH }, (_, i) => i)
  let ended = 0
  const done = (slot: number, errno: number): void => {
    good(errno)
    free.push(slot)
    ended++
  }
  for (let i = 0; i < ios; i++) {
    queue.read(free.pop()!, offsets.next(), BLOCK)
    queue.poll(done)
  }
  if (ended !== ios) throw new Error(`${ios} I/Os were submitted, ${ended} have ended`)
}

async function awaitEach(queue: IoQueue, ios: number): Promise<void> {
  const offsets = new Offsets()
  let left = ios
  const loop = async (slot: number): Promise<void> => {
    while (left-- > 0) {
      queue.read(slot, offsets.next(), BLOCK)
      good(await queue.ended(slot))
    }
  }
  await Promise.all(Array.from({ length: DEPTH }, (_, slot) => loop(slot)))
}

type Way = (queue: IoQueue, ios: number) => Promise<void> | void

async function measure(way: Way, size: Size): Promise<Measured> {
  const machine = await openMachine({
    clock: 'real',
    devices: ['nvme,size=1G,model=null'],
    depth: DEPTH,
    maxBytes: BLOCK,
  })
  const queue = machine.queue(DEPTH)
  await way(queue, WARM_IOS[size])
  const measured = await timed(IOS[size], () => way(queue, IOS[size]))
  if (!machine.balanced) throw new Error('the books do not balance')
  await machine.close()
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
