// How things grow: time for each I/O from depth 1 to the largest that blk-mq allows, time of the
// bare bitmap and of the bare rings from 1 entry to 65,536, and bytes for each hardware queue.

import { type Cell, type Measured, type Side, type Size, spread } from '../cell.js'
import { type Loop, LoopMachine, sbitmapLoop } from '../micro/loops.js'
import { Rig } from '../rig.js'
import { commandLine, phasebit } from './job.js'

/** Most tags of a hardware queue: BLK_MQ_MAX_DEPTH less the ring slot that stays free. */
const DEEPEST = 10239
const DEPTHS = [1, 8, 64, 512, 4096, 8192, DEEPEST] as const
const ENTRIES = [1, 8, 64, 512, 4096, 16384, 65536] as const
const OPS = { small: 2_000, large: 5_000_000 } as const
const WARM_ROUNDS = 20

function curve(name: string, title: string, unit: string, sides: readonly Side[]): Cell {
  return { name, title, unit, sides, figure: spread, figureUnit: '', goal: null, needs: [] }
}

/** Every depth on the same rings, those of the deepest. */
const STACK: Cell = curve(
  'depth',
  'one CPU, inline null, batch up to 32: slowest by fastest depth',
  'ns',
  DEPTHS.map(depth => {
    const device = 'size=1G,model=null,depth=10240'
    return phasebit({ depth, batch: Math.min(depth, 32), device }, `${depth}`)
  }),
)

/** ns for each of the operations that `run` does when it is called with their number. */
function perOp(run: Loop, size: Size): Measured {
  const ops = OPS[size]
  for (let i = 0; i < WARM_ROUNDS; i++) run(Math.ceil(ops / 500))
  const began = performance.now()
  run(ops)
  return { value: ((performance.now() - began) * 1e6) / ops }
}

function point(entries: number, measure: (entries: number, size: Size) => Promise<Measured>): Side {
  return { name: `${entries}`, where: 'child', measure: size => measure(entries, size) }
}

async function sbitmap(depth: number, size: Size): Promise<Measured> {
  return perOp(await sbitmapLoop(depth), size)
}

/** All entries but one are written, rung, run by the device and reaped, again and again. */
async function rings(entries: number, size: Size): Promise<Measured> {
  const machine = await LoopMachine.withRings(entries)
  return perOp(machine.rings(entries - 1), size)
}

/** Bytes of one hardware queue of this depth; the same whatever the size. */
async function queueMemory(depth: number): Promise<Measured> {
  const device = `size=64M,model=null,depth=${depth}`
  const rig = Rig.boot([...commandLine({ depth: 1, batch: 1, device }), '--clock=virtual'])
  const [queue] = rig.machine.memoryReport()
  await rig.machine.stop()
  return { value: queue!.total / 1024 }
}

const MEMORY: Cell = {
  ...curve('memory', 'memory of a hardware queue, by its depth', 'KiB', [
    ...[64, 256, 1024, 4096, 65536].map(depth => point(depth, queueMemory)),
  ]),
  figure: values => values[2]!,
  figureUnit: 'KiB',
}

export const GROWTH_CELLS: readonly Cell[] = [
  STACK,
  curve(
    'sbitmap',
    'bare sbitmap, one bit free: slowest by fastest depth',
    'ns',
    ENTRIES.map(depth => point(depth, sbitmap)),
  ),
  curve(
    'rings',
    'bare rings, full: slowest by fastest number of entries',
    'ns',
    ENTRIES.map(entries => point(Math.max(entries, 2), rings)),
  ),
  MEMORY,
]
