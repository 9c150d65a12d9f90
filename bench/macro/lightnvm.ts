// pblk on an open-channel device whose media take no time, in both clocks: random 4 KiB writes and reads, 32 outstanding,
// one by one and in batches of 8; and whether a drive of 1 TiB fits into memory.
//
// A rate is made of two runs of one seed in this process, of which the longer does the more I/Os: start, filling and what is
// not compiled yet are in both. The drive has room to spare, so that the collector finds lines with little in them; and it is
// written once over in the shorter run, because memory that is touched for the first time costs the host more than all else.

import { availableParallelism } from 'node:os'
import { executePlan } from '../../src/workload/run.js'
import { parseRun } from '../../src/workload/run-command.js'
import { atLeast, atMost, type Cell, type Goal, type Measured, type Size } from '../cell.js'

const TIMES = 'read-time=0,program-time=0,erase-time=0,transfer-time=0'
const IOS = { small: 400, large: 300_000 } as const

interface Drive {
  /** Of nvme,ocssd=2.0. */
  readonly shape: string
  /** fio's size. */
  readonly size: string
}

const DRIVES: Readonly<Record<Size, Drive>> = {
  small: { shape: 'groups=2,pus=2,chunks=40,clba=64,ws-opt=4,mw-cunits=8', size: '4m' },
  large: { shape: 'groups=2,pus=8,chunks=60,clba=256', size: '64m' },
}

/** 128 units of 512 chunks of 4096 sectors; the smaller one only shows that it works. */
const TIB: Readonly<Record<Size, string>> = {
  small: DRIVES.small.shape,
  large: 'groups=16,pus=8,chunks=512,clba=4096,mem=512m',
}

type Clock = 'virtual' | 'real'

async function run(job: readonly string[], shape: string, clock: Clock): Promise<void> {
  const text = ['[global]', 'filename=/dev/pblk0', 'direct=1', 'ioengine=libaio', ...job, ''].join(
    '\n',
  )
  const device = `nvme,ocssd=2.0,${shape},${TIMES}`
  const argv = ['pblk.fio', `--clock=${clock}`, '--cpus=1', '--lat=none', '--device', device]
  const plan = parseRun([...argv, '--device', 'pblk,parent=nvme0n1,op=40'], {
    readFile: () => Buffer.from(text),
    env: {},
    hostCpus: availableParallelism(),
  })
  const { failures } = await executePlan(plan)
  if (failures.length > 0) throw new Error(failures[0])
}

/** ns of the host's time for each I/O. */
async function measure(rw: string, batch: number, clock: Clock, size: Size): Promise<Measured> {
  const { shape, size: bytes } = DRIVES[size]
  const took = async (ios: number): Promise<{ wall: number; cpu: number }> => {
    const [began, used] = [performance.now(), process.cpuUsage()]
    const fill = ['[fill]', 'rw=write', 'bs=64k', 'iodepth=1']
    const load = ['[load]', 'stonewall', `rw=${rw}`, 'bs=4k', 'norandommap=1']
    const depth = ['iodepth=32', `iodepth_batch=${batch}`, `io_size=${ios * 4096}`]
    await run([`size=${bytes}`, ...fill, ...load, ...depth], shape, clock)
    const { user, system } = process.cpuUsage(used)
    return { wall: performance.now() - began, cpu: (user + system) / 1000 }
  }
  const n = IOS[size]
  const few = await took(n)
  const many = await took(3 * n)
  const each = (ms: number): number => Math.max((ms * 1e6) / (2 * n), 1)
  return { value: each(many.wall - few.wall), cpu: each(many.cpu - few.cpu) }
}

function cell(rw: string, goal: Goal, batch = 1, clock: Clock = 'virtual'): Cell {
  const batches = batch === 1 ? '' : `, batches of ${batch}`
  return {
    name: `pblk-${rw}${batch === 1 ? '' : `-b${batch}`}${clock === 'real' ? '-real' : ''}`,
    title: `pblk, ${clock} time, media that take no time, ${rw}, 32 outstanding${batches}`,
    unit: 'ns',
    sides: [{ name: 'phasebit', where: 'child', measure: size => measure(rw, batch, clock, size) }],
    figure: values => 1e6 / values[0]!,
    figureUnit: 'thousand/s',
    goal,
    needs: [],
  }
}

/** Most memory that this process has had, GiB, with random writes and reads all over the drive. */
async function footprint(size: Size): Promise<Measured> {
  const n = size === 'small' ? 200 : 20_000
  const common = ['size=100%', 'zero_buffers=1', 'bs=4k', 'iodepth=32', 'norandommap=1']
  const write = ['[write]', 'rw=randwrite', `number_ios=${n}`]
  const read = ['[read]', 'stonewall', 'rw=randread', `number_ios=${n}`]
  await run([...common, ...write, ...read], TIB[size], 'virtual')
  return { value: process.resourceUsage().maxRSS / 2 ** 20 }
}

const TERABYTE: Cell = {
  name: 'pblk-1tib',
  title: 'pblk on 1 TiB of flash: memory of the process',
  unit: 'GiB',
  sides: [{ name: 'phasebit', where: 'child', measure: footprint }],
  figure: values => values[0]!,
  figureUnit: 'GiB',
  goal: atMost(4),
  needs: [],
}

export const LIGHTNVM_CELLS: readonly Cell[] = [
  cell('randread', atLeast(1000)),
  cell('randread', atLeast(1000), 8),
  cell('randread', atLeast(1000), 8, 'real'),
  cell('randwrite', atLeast(500)),
  cell('randwrite', atLeast(500), 8),
  cell('randwrite', atLeast(500), 8, 'real'),
  TERABYTE,
]
