// What a scheduler costs: the time of an I/O with mq-deadline and with kyber against that of one without, the host's time in
// both clocks. With a scheduler every request goes through the emulated kernel (src/block), without one it never leaves the
// core; so this is what a request costs there. A null_blk of one queue that completes at once, 4 KiB random reads, one CPU.

import { type Cell, type Measured, ratio, type Side, type Size } from '../cell.js'
import { Rig } from '../rig.js'
import { jobOptions, perIo } from './job.js'

const DEPTH = 32
const BATCH = 8
/** Length of the pass that warms up, and of the one that counts, ns of the machine's clock. */
const PASSES = {
  virtual: { small: [1e5, 2e5], large: [2e7, 1e8] },
  real: { small: [5e6, 1e7], large: [4e8, 8e8] },
} as const

type Clock = keyof typeof PASSES

async function measure(clock: Clock, sched: string, size: Size): Promise<Measured> {
  const options = jobOptions({ depth: DEPTH, batch: BATCH, device: '' })
  const job = options.map(text => text.replace('nvme0n1', 'nullb0'))
  const device = `null_blk,size=64,irqmode=0,sched=${sched}`
  const rig = Rig.boot([`--device=${device}`, '--lat=none', ...job, `--clock=${clock}`], 1)
  await rig.begin()
  rig.startAll()
  const [warm, count] = PASSES[clock][size]
  await rig.pass(warm)
  const window = await rig.pass(count)
  await rig.stop()
  return perIo(window)
}

function side(clock: Clock, sched: string): Side {
  return { name: sched, where: 'child', measure: size => measure(clock, sched, size) }
}

function cell(clock: Clock, sched: string): Cell {
  return {
    name: `sched-${sched}-${clock}`,
    title: `${sched} against no scheduler, ${clock} time, QD${DEPTH} batch ${BATCH}`,
    unit: 'ns',
    sides: [side(clock, sched), side(clock, 'none')],
    figure: ratio,
    figureUnit: '',
    goal: null,
    needs: [],
  }
}

export const SCHEDULER_CELLS: readonly Cell[] = (['virtual', 'real'] as const).flatMap(clock =>
  ['mq-deadline', 'kyber'].map(sched => cell(clock, sched)),
)
