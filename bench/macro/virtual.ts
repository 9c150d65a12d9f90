// Virtual time: how many I/Os of a fixed latency the event loop gets through in a second of the
// host's time, and how that depends on the number of I/Os outstanding and of hardware queues.
//
// The drive has the default medium of virtual time (10 us, 8 commands at once), so that what is
// outstanding waits for it; every queue has a CPU and a job of its own. Latencies are taken of
// every I/O, as virtual time always does.

import {
  atLeast,
  atMost,
  type Cell,
  type Goal,
  type Measured,
  type Side,
  type Size,
  spread,
} from '../cell.js'
import { Rig } from '../rig.js'
import { commandLine, perIo } from './job.js'

/** I/Os until the measurement begins, and of it. */
const WARM_IOS = { small: 500, large: 500_000 } as const
const IOS = { small: 1_000, large: 2_000_000 } as const

/** Time between completions of a drive that is always busy: 10 us through 8 units. */
const NS_EACH = 1250

/** The most queues of the small size. */
const SMALL_QUEUES = 8

interface Shape {
  readonly queues: number
  /** Outstanding I/Os of each queue. */
  readonly depth: number
}

/** The smallest ring, 64 entries or more, that lets so many be outstanding. */
function ringFor(depth: number): number {
  return Math.max(64, 2 ** Math.ceil(Math.log2(depth + 1)))
}

async function measure(shape: Shape, size: Size): Promise<Measured> {
  const { depth } = shape
  const queues = size === 'small' ? Math.min(shape.queues, SMALL_QUEUES) : shape.queues
  const device = `size=64M,model=fixed,latency=10us,units=8,depth=${ringFor(depth)}`
  const load = { depth, batch: Math.min(depth, 8), device, jobs: queues }
  const rig = Rig.boot([...commandLine({ ...load, lat: 'batch' }), '--clock=virtual'], queues)
  await rig.begin()
  rig.startAll()
  // everything outstanding has gone round once
  await rig.pass((WARM_IOS[size] + queues * depth) * NS_EACH)
  const window = await rig.pass(IOS[size] * NS_EACH)
  await rig.stop()
  return perIo(window)
}

function side(name: string, shape: Shape): Side {
  return { name, where: 'child', measure: size => measure(shape, size) }
}

function curve(name: string, title: string, sides: readonly Side[], goal: Goal | null): Cell {
  return { name, title, unit: 'ns', sides, figure: spread, figureUnit: '', goal, needs: [] }
}

/** Millions of I/Os in a second of the host's time. */
const SPEED: Cell = {
  name: 'virtual',
  title: 'virtual time, fixed latency, 256 outstanding',
  unit: 'ns',
  sides: [side('phasebit', { queues: 1, depth: 256 })],
  figure: values => 1000 / values[0]!,
  figureUnit: 'M/s',
  goal: atLeast(5),
  needs: [],
}

const OUTSTANDING: Cell = curve(
  'virtual-outstanding',
  'virtual time, slowest by fastest number outstanding',
  [
    side('16', { queues: 1, depth: 16 }),
    side('256', { queues: 1, depth: 256 }),
    side('4096', { queues: 4, depth: 1024 }),
    side('65536', { queues: 64, depth: 1024 }),
  ],
  atMost(2),
)

const QUEUES: Cell = curve(
  'virtual-queues',
  'virtual time, 16 outstanding for each queue, slowest by fastest number of queues',
  [1, 2, 8, 64, 1024].map(queues => side(`${queues}`, { queues, depth: 16 })),
  null,
)

export const VIRTUAL_CELLS: readonly Cell[] = [SPEED, OUTSTANDING, QUEUES]
