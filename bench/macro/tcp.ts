// NVMe/TCP over loopback, our host against our target, each a command of its own as users start it: 4 KiB random reads at
// depth 32 over one queue.
//
// One run gives all figures of a round: I/Os a second, CPU time of both ends for an I/O, the 99th percentile of their
// latency. By CPU time the figure is what the busier end could do with a core to itself. Both ends are warm: the target
// has served another run, the host does a job before the one that is measured.

import { type ChildProcess, fork } from 'node:child_process'
import { distUrl } from '../../src/core/wasm.js'
import { DEFAULT_NQN } from '../../src/workload/serve.js'
import { atLeast, type Cell, type Measured, type Side, type Size } from '../cell.js'
import { output } from '../spawn.js'
import { CLI, parseReport, type Report } from './program.js'
import type { TargetCpu } from './tcp-target.js'

const SERVE = ['serve', '--nvme-tcp=127.0.0.1:0', '--device=nvme,size=64m,model=ram']
const JOB = ['--rw=randread', '--bs=4k', '--iodepth=32', '--ioengine=libaio', '--direct=1']
const DISK = ['--filename=/dev/nvme0n1', '--size=64m']
const WARM = ['--name=warm', ...JOB, ...DISK, '--io_size=256m']
/** The last job is the one that is measured. */
const JOBS = {
  small: ['--name=bench', ...JOB, ...DISK, '--io_size=4m'],
  large: [...WARM, '--name=bench', '--stonewall', ...JOB, ...DISK, '--time_based', '--runtime=4s'],
} as const

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

/** Runs jobs on the target's disk, in a process of their own. */
async function connect(port: string, jobs: readonly string[]): Promise<Report> {
  const place = ['-t', 'tcp', '-a', '127.0.0.1', '-s', port, '-n', DEFAULT_NQN]
  const args = ['nvme', 'connect', ...place, ...jobs, '--output-format=json']
  return parseReport(await output(process.execPath, [CLI, ...args]))
}

async function measured(child: ChildProcess, port: string, size: Size): Promise<TcpRun> {
  const before = await cpuOf(child)
  const { jobs } = await connect(port, JOBS[size])
  const targetUs = (await cpuOf(child)) - before
  const served = jobs.reduce((sum, { read }) => sum + read.total_ios, 0)
  const { read, usr_cpu, sys_cpu, job_runtime } = jobs.at(-1)!
  const hostUs = ((usr_cpu + sys_cpu) / 100) * job_runtime * 1000
  return {
    iops: (read.total_ios * 1000) / read.runtime,
    hostUs: hostUs / read.total_ios,
    targetUs: targetUs / served,
    p99Us: read.clat_ns.percentile['99.000000'] / 1000,
  }
}

async function run(size: Size): Promise<TcpRun> {
  const child = fork(distUrl('bench/macro/tcp-target.js'), SERVE, { silent: true })
  try {
    const port = await portOf(child)
    if (size === 'large') await connect(port, WARM)
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
