// NVMe/TCP over loopback, our host against our target, each in a process of its own: 4 KiB random reads at depth 32 over
// one queue.
//
// One run gives all figures of a round: I/Os a second, CPU time of both ends for an I/O, the 99th percentile of their
// latency. By CPU time the figure is what the busier end could do with a core to itself.

import { type ChildProcess, fork } from 'node:child_process'
import { distUrl } from '../../src/core/wasm.js'
import { percentiles } from '../../src/report/histogram.js'
import { fabricDisk, fabricPlan } from '../../src/workload/connect.js'
import { executePlan } from '../../src/workload/run.js'
import { DEFAULT_NQN } from '../../src/workload/serve.js'
import { atLeast, type Cell, type Measured, type Side, type Size } from '../cell.js'
import type { TargetCpu, TargetPlace } from './tcp-target.js'

const BYTES = 64 * 2 ** 20
/** How long a job runs: so many bytes, or so much time. */
const LENGTH = { small: ['--io_size=1m'], large: ['--time_based', '--runtime=4s'] } as const

interface TcpRun {
  readonly iops: number
  /** Of an I/O. */
  readonly hostUs: number
  readonly targetUs: number
  readonly p99Us: number
}

function answer<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null): void => reject(new Error(`the target died (${code})`))
    child.once('exit', died)
    child.once('message', message => {
      child.off('exit', died)
      resolve(message as T)
    })
  })
}

async function cpuOf(child: ChildProcess): Promise<number> {
  const said = answer<TargetCpu>(child)
  child.send('cpu')
  return (await said).cpuUs
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function measured(child: ChildProcess, port: number, size: Size): Promise<TcpRun> {
  const job = ['--name=bench', '--rw=randread', '--bs=4k', '--iodepth=32', '--ioengine=libaio']
  const disk = ['--filename=/dev/nvme0n1', '--direct=1', '--size=64m']
  const args = [...job, ...disk, ...LENGTH[size]]
  const context = { readFile: () => Buffer.alloc(0), env: {}, hostCpus: 1 }
  const plan = fabricPlan(args, { bytes: BYTES, lbaShift: 9 }, context)
  const place = { traddr: '127.0.0.1', trsvcid: String(port), nqn: DEFAULT_NQN, options: [] }
  const target = await cpuOf(child)
  const host = ownCpu()
  const { result, failures } = await executePlan(plan, { attachment: fabricDisk(place) })
  if (failures.length > 0) throw new Error(failures.join('; '))
  const { read } = result.jobs[0]!
  const [p99] = percentiles(read.clat.buckets!, [99])
  return {
    iops: (read.totalIos * 1e9) / read.runtimeNs,
    hostUs: (ownCpu() - host) / read.totalIos,
    targetUs: ((await cpuOf(child)) - target) / read.totalIos,
    p99Us: p99!.ns / 1000,
  }
}

async function run(size: Size): Promise<TcpRun> {
  const child = fork(distUrl('bench/macro/tcp-target.js'))
  try {
    const { port } = await answer<TargetPlace>(child)
    // The target's code is slow at first.
    if (size === 'large') await measured(child, port, size)
    return await measured(child, port, size)
  } finally {
    child.kill('SIGKILL')
  }
}

/** What of a run each side is. */
const FIGURES: readonly { readonly name: string; readonly of: (run: TcpRun) => Measured }[] = [
  {
    name: 'IOPS',
    of: ({ iops, hostUs, targetUs }) => ({ value: iops, cpu: 1e6 / Math.max(hostUs, targetUs) }),
  },
  { name: 'us of CPU, host', of: ({ hostUs }) => ({ value: hostUs }) },
  { name: 'target', of: ({ targetUs }) => ({ value: targetUs }) },
  { name: 'us p99', of: ({ p99Us }) => ({ value: p99Us }) },
]

/** Sides that share the run of a round. */
function sides(): Side[] {
  let shared: Promise<TcpRun> | undefined
  let left = 0
  return FIGURES.map(({ name, of }) => ({
    name,
    where: 'here',
    measure: async size => {
      if (left === 0) {
        shared = run(size)
        left = FIGURES.length
      }
      left--
      return of(await shared!)
    },
  }))
}

export const TCP_CELLS: readonly Cell[] = [
  {
    name: 'tcp',
    title: 'NVMe/TCP over loopback, 4 KiB random reads, QD32, one queue; CPU of an I/O',
    unit: '',
    sides: sides(),
    figure: values => values[0]!,
    figureUnit: 'IOPS',
    goal: atLeast(60_000),
    needs: [],
  },
]
