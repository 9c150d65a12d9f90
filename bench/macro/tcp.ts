// NVMe/TCP over loopback, our host against our target, each a command of its own as users start it: 4 KiB random reads at
// depth 32 over one queue.
//
// One run gives all figures of a round: I/Os a second, CPU time of both ends for an I/O, the 99th percentile of their
// latency. By CPU time the figure is what the busier end could do with a core to itself. The target is warm, the host
// begins cold.

import { type ChildProcess, fork } from 'node:child_process'
import { distUrl } from '../../src/core/wasm.js'
import { DEFAULT_NQN } from '../../src/workload/serve.js'
import { atLeast, type Cell, type Measured, type Side, type Size } from '../cell.js'
import { output } from '../spawn.js'
import { CLI, parseReport } from './program.js'
import type { TargetCpu } from './tcp-target.js'

/** How long a job runs: so many bytes, or so much time. */
const LENGTH = { small: ['--io_size=4m'], large: ['--time_based', '--runtime=4s'] } as const
const SERVE = ['serve', '--nvme-tcp=127.0.0.1:0', '--device=nvme,size=64m,model=ram']
const JOB = ['--name=bench', '--rw=randread', '--bs=4k', '--iodepth=32', '--ioengine=libaio']
const DISK = ['--filename=/dev/nvme0n1', '--direct=1', '--size=64m']

interface TcpRun {
  readonly iops: number
  /** Of an I/O. */
  readonly hostUs: number
  readonly targetUs: number
  readonly p99Us: number
}

/** Waits for what a child says; fails when it dies instead. */
function answer<T>(child: ChildProcess, when: (said: (what: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null): void => reject(new Error(`the target died (${code})`))
    child.once('exit', died)
    when(what => {
      child.off('exit', died)
      resolve(what)
    })
  })
}

/** Where a target listens that has just been started. */
function portOf(child: ChildProcess): Promise<string> {
  let text = ''
  return answer(child, said =>
    child.stdout!.on('data', (piece: Buffer) => {
      text += piece.toString()
      const port = / port (\d+) /.exec(text)?.[1]
      if (port !== undefined) said(port)
    }),
  )
}

async function cpuOf(child: ChildProcess): Promise<number> {
  const said = answer<TargetCpu>(child, got => child.once('message', got))
  child.send('cpu')
  return (await said).cpuUs
}

async function measured(child: ChildProcess, port: string, size: Size): Promise<TcpRun> {
  const place = ['-t', 'tcp', '-a', '127.0.0.1', '-s', port, '-n', DEFAULT_NQN]
  const args = [...JOB, ...DISK, ...LENGTH[size], '--output-format=json']
  const before = await cpuOf(child)
  const text = await output(process.execPath, [CLI, 'nvme', 'connect', ...place, ...args])
  const targetUs = (await cpuOf(child)) - before
  const [job] = parseReport(text).jobs
  const { total_ios, runtime, clat_ns } = job!.read
  const hostUs = ((job!.usr_cpu + job!.sys_cpu) / 100) * job!.job_runtime * 1000
  return {
    iops: (total_ios * 1000) / runtime,
    hostUs: hostUs / total_ios,
    targetUs: targetUs / total_ios,
    p99Us: clat_ns.percentile['99.000000'] / 1000,
  }
}

async function run(size: Size): Promise<TcpRun> {
  const child = fork(distUrl('bench/macro/tcp-target.js'), SERVE, { silent: true })
  try {
    const port = await portOf(child)
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
