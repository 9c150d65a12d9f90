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

/** Flash of 8 channels and 64 dies behind a drive of 8 GiB that is full; 32 outstanding, interrupts for 8 at a time. Only times are kept. */
const FLASH =
  'size=8G,lba=4096,model=nand,channels=8,dies=8,planes=2,pages=256,page-size=16K,op=7,fill=100,data=0,depth=64,coalesce=8/100us'

/** I/Os in a window of virtual time differ from medium to medium: windows until there are enough. */
async function measureFlash(rw: string, size: Size): Promise<Measured> {
  const device = size === 'small' ? FLASH.replace('size=8G', 'size=4G') : FLASH
  const load = { depth: 32, batch: 8, device, lat: 'batch' } as const
  const rig = Rig.boot([...commandLine({ ...load, more: [`--rw=${rw}`] }), '--clock=virtual'], 1)
  await rig.begin()
  rig.startAll()
  await rig.pass(size === 'small' ? 2e6 : 1e9)
  const window = await rig.pass(size === 'small' ? 4e6 : 4e9)
  await rig.stop()
  return perIo(window)
}

function flashCell(rw: string, goal: Goal): Cell {
  const measured: Side = {
    name: 'phasebit',
    where: 'child',
    measure: size => measureFlash(rw, size),
  }
  return {
    name: `virtual-nand-${rw}`,
    title: `virtual time, 8 GiB of flash, 64 dies, ${rw}, 32 outstanding`,
    unit: 'ns',
    sides: [measured],
    figure: values => 1000 / values[0]!,
    figureUnit: 'M/s',
    goal,
    needs: [],
  }
}

const NAND: readonly Cell[] = [
  flashCell('randread', atLeast(3)),
  flashCell('randwrite', atLeast(1)),
]

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

export const VIRTUAL_CELLS: readonly Cell[] = [SPEED, OUTSTANDING, QUEUES, ...NAND]
