// Two threads: the submitter and the device, on a core each. Polled: both spin, an I/O costs what
// the cache lines between them cost. By interrupt: the submitter sleeps, and what counts is how
// late it wakes and how much CPU that takes.

import { atMost, type Cell, elapsedOnly, type Measured, ratio, type Size } from '../cell.js'
import { yardstick } from '../native.js'
import { type Load, measureLoad, phasebit } from './job.js'

const NULL = 'size=1G,model=null,where=thread'

function timed(us: number, wait: 'poll' | 'irq'): Load {
  const device = `size=1G,model=fixed,latency=${us}us,units=8,where=thread,wait=${wait}`
  return { depth: 1, batch: 1, device }
}

function polled(depth: number, batch: number, ios: number, most: number): Cell {
  return {
    name: `poll-${depth}`,
    title: `two threads, polled, QD${depth} batch ${batch}`,
    unit: 'ns',
    sides: [
      phasebit({ depth, batch, device: `${NULL},wait=poll` }),
      yardstick(`--mode threads --qd ${depth} --batch ${batch}`, ios),
    ].map(elapsedOnly),
    figure: ratio,
    figureUnit: '',
    goal: atMost(most),
    needs: ['yardstick'],
  }
}

/**
 * What interrupts add to the latency of polling, against what they add to the yardstick's; NaN if
 * one adds nothing.
 */
function added(values: readonly number[]): number {
  const [irq, poll, ringIrq, ringPoll] = values as [number, number, number, number]
  return irq > poll && ringIrq > ringPoll ? (irq - poll) / (ringIrq - ringPoll) : Number.NaN
}

const RING_10 = '--mode threads --qd 1 --batch 1 --service-us 10'

const LATENCY: Cell = {
  name: 'irq-latency',
  title: 'two threads, interrupt, QD1, 10 us: latency added over polling',
  unit: 'ns',
  sides: [
    phasebit(timed(10, 'irq'), 'phasebit irq'),
    phasebit(timed(10, 'poll'), 'phasebit poll'),
    yardstick(`${RING_10} --complete irq`, 20_000, 'elapsed', 'yardstick irq'),
    yardstick(RING_10, 30_000, 'elapsed', 'yardstick poll'),
  ].map(elapsedOnly),
  figure: added,
  figureUnit: '',
  goal: atMost(1.15),
  needs: ['yardstick'],
}

/** The submitting CPU's own time for each I/O. */
async function hostCpu(size: Size): Promise<Measured> {
  const { cpu } = await measureLoad(timed(100, 'irq'), size)
  return { value: cpu }
}

const HOST_CPU: Cell = {
  name: 'irq-cpu',
  title: 'two threads, interrupt, QD1, 100 us: host CPU for each I/O',
  unit: 'ns',
  sides: [
    { name: 'phasebit', where: 'child', measure: hostCpu },
    yardstick('--mode threads --qd 1 --batch 1 --service-us 100 --complete irq', 3_000, 'host cpu'),
  ],
  figure: ratio,
  figureUnit: '',
  goal: atMost(1.6),
  needs: ['yardstick'],
}

export const THREAD_CELLS: readonly Cell[] = [
  polled(1, 1, 1_000_000, 1.3),
  polled(32, 1, 3_000_000, 2.0),
  polled(128, 32, 5_000_000, 2.0),
  LATENCY,
  HOST_CPU,
]
