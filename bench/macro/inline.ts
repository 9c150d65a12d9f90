// One CPU, the device in its thread: the bare path against the yardstick's, and two CPUs against
// one.
//
// Both sides draw random offsets, take a tag, write an entry, ring the bell once a batch, run the
// device, reap by phase and free the tag. phasebit does everything else as well that a run does:
// requests with state and deadline, the gate, plugging and merging, the software queues'
// statistics, the job's limits and books, and a random map that meets each block once a pass (the
// yardstick draws without one).

import {
  atLeast,
  atMost,
  type Cell,
  elapsedOnly,
  type Measured,
  ratio,
  type Size,
} from '../cell.js'
import { yardstick } from '../native.js'
import { Rig } from '../rig.js'
import { jobOptions, type Load, lookAt, phasebit } from './job.js'

const NULL = 'size=1G,model=null'
const RAM = 'size=64M,model=ram'
const IOS = 10_000_000

/** Depth, batch, the most that phasebit may take of the yardstick's time. */
const PLAIN = [
  [1, 1, 2.7],
  [32, 8, 2.5],
  [64, 16, 2.5],
  [128, 32, 2.5],
] as const

function plain(depth: number, batch: number, most: number): Cell {
  return {
    name: `inline-${depth}`,
    title: `one CPU, inline null, QD${depth} batch ${batch}`,
    unit: 'ns',
    sides: [
      phasebit({ depth, batch, device: NULL }),
      yardstick(`--qd ${depth} --batch ${batch}`, IOS),
    ],
    figure: ratio,
    figureUnit: '',
    goal: atMost(most),
    needs: ['yardstick'],
  }
}

function timed(depth: number, batch: number, most: number): Cell {
  return {
    ...plain(depth, batch, most),
    name: `lat-${depth}`,
    title: `--lat batch, QD${depth} batch ${batch}`,
    sides: [
      phasebit({ depth, batch, device: NULL, lat: 'batch' }),
      yardstick(`--qd ${depth} --batch ${batch} --lat batch`, IOS),
    ],
  }
}

const DEEP: Cell = {
  ...plain(1024, 32, 2.8),
  title: 'one CPU, inline null, QD1024 batch 32, depth=2048',
  sides: [
    phasebit({ depth: 1024, batch: 32, device: `${NULL},depth=2048` }),
    yardstick('--qd 1024 --batch 32 --ring 2048', IOS),
  ],
}

/**
 * The whole store is written before anything is read: pages that nobody has touched would all be
 * the same zeros.
 */
async function readRam(size: Size): Promise<Measured> {
  const fill = [
    '--name=fill',
    '--filename=/dev/nvme0n1',
    '--ioengine=libaio',
    '--direct=1',
    '--rw=write',
    '--bs=128k',
    '--size=64m',
  ]
  const load: Load = { depth: 32, batch: 8, device: RAM }
  const read = [...jobOptions(load), '--stonewall']
  const rig = Rig.boot([`--device=nvme,${RAM}`, '--lat=none', ...fill, ...read])
  await rig.begin()
  rig.start(0)
  await rig.finish()
  rig.start(1)
  return lookAt(rig, size)
}

const COPY: Cell = {
  name: 'inline-ram',
  title: 'one CPU, inline RAM, 4 KiB copied, QD32 batch 8',
  unit: 'ns',
  sides: [
    { name: 'phasebit', where: 'child', measure: readRam },
    yardstick('--qd 32 --batch 8 --data ram --store-mb 64', 2_000_000),
  ],
  figure: ratio,
  figureUnit: '',
  goal: atMost(1.25),
  needs: ['yardstick'],
}

/** Each CPU has a job and a hardware queue of its own. */
const TWO: Cell = {
  name: 'two-cpus',
  title: 'two CPUs against one, inline null, QD32 batch 8',
  unit: 'ns',
  sides: [
    phasebit({ depth: 32, batch: 8, device: NULL }, 'one CPU'),
    phasebit({ depth: 32, batch: 8, device: NULL, jobs: 2 }, 'two CPUs'),
  ].map(elapsedOnly),
  figure: ratio,
  figureUnit: '',
  goal: atLeast(1.9),
  needs: [],
}

/** The yardstick draws each offset anew; so does a job without its random map. */
const NO_MAP: Cell = {
  ...plain(32, 8, 2.5),
  name: 'inline-norandommap',
  title: 'the same as inline-32 with norandommap',
  sides: [
    phasebit({ depth: 32, batch: 8, device: NULL, more: ['--norandommap'] }),
    yardstick('--qd 32 --batch 8', IOS),
  ],
  goal: null,
}

export const INLINE_CELLS: readonly Cell[] = [
  ...PLAIN.map(([depth, batch, most]) => plain(depth, batch, most)),
  DEEP,
  NO_MAP,
  timed(32, 8, 3.0),
  timed(128, 32, 2.6),
  COPY,
  TWO,
]
