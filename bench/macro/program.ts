// The command as users run it, from outside: against fio's null engine, and from the start of the
// process to the first I/O.
//
// fio's null engine completes an I/O where it is queued: no disk, no block layer. phasebit runs the
// same job through its whole stack to an inline null device. Both draw offsets from a random map
// and take fio's default statistics.

import { fileURLToPath } from 'node:url'
import { distUrl } from '../../src/core/wasm.js'
import {
  atLeast,
  atMost,
  type Cell,
  type Goal,
  type Measured,
  type Side,
  type Size,
} from '../cell.js'
import { output } from '../spawn.js'

export const CLI: string = fileURLToPath(distUrl('lib/cli.js'))

/** What is read of a JSON report, fio's or ours. */
export interface Report {
  readonly jobs: readonly {
    readonly job_start: number
    readonly job_runtime: number
    /** Percent of one CPU: the job's in fio, the whole process's in phasebit. */
    readonly usr_cpu: number
    readonly sys_cpu: number
    readonly read: {
      readonly total_ios: number
      readonly runtime: number
      readonly clat_ns: { readonly percentile: Readonly<Record<'99.000000', number>> }
    }
  }[]
}

/** Reports begin after what else the program had to say. */
export function parseReport(text: string): Report {
  return JSON.parse(text.slice(text.indexOf('{'))) as Report
}

async function phasebitRun(args: readonly string[]): Promise<Report> {
  const options = ['run', '--output-format=json', '--device=nvme,size=1G,model=null', ...args]
  return parseReport(await output(process.execPath, [CLI, ...options]))
}

const JOB = ['--name=bench', '--rw=randread', '--bs=4k', '--size=1g', '--iodepth=32']
const DISK = ['--ioengine=libaio', '--direct=1', '--filename=/dev/nvme0n1']

function nsPerIo({ jobs }: Report): Measured {
  const { read, usr_cpu, sys_cpu } = jobs[0]!
  const value = (read.runtime * 1e6) / read.total_ios
  return { value, cpu: (value * (usr_cpu + sys_cpu)) / 100 }
}

/** For how long. */
function lasting(size: Size): string[] {
  return ['--time_based', size === 'small' ? '--runtime=100ms' : '--runtime=2s']
}

function fioCell(batch: number, goal: Goal | null): Cell {
  const job = [...JOB, `--iodepth_batch=${batch}`]
  return {
    name: `fio-${batch}`,
    title: `fio's null engine against phasebit run, QD32 batch ${batch}`,
    unit: 'ns',
    sides: [
      {
        name: 'fio',
        where: 'here',
        measure: async size => {
          const args = [...job, '--ioengine=null', '--thread', '--output-format=json']
          return nsPerIo(parseReport(await output('fio', [...args, ...lasting(size)])))
        },
      },
      {
        name: 'phasebit',
        where: 'here',
        measure: async size => nsPerIo(await phasebitRun([...job, ...DISK, ...lasting(size)])),
      },
    ],
    figure: values => values[0]! / values[1]!,
    figureUnit: '',
    goal,
    needs: ['fio'],
  }
}

/**
 * From before the process exists to the end of the first I/O of every job, ms; reports know whole
 * milliseconds.
 */
async function firstIo(jobs: number): Promise<Measured> {
  const began = Date.now()
  const report = await phasebitRun([...JOB, ...DISK, `--numjobs=${jobs}`, '--max-io=1'])
  const ends = report.jobs.map(job => job.job_start + job.job_runtime)
  return { value: Math.max(...ends) + 1 - began }
}

function startCell(name: string, title: string, jobs: number, most: number): Cell {
  const side: Side = { name: 'phasebit', where: 'here', measure: () => firstIo(jobs) }
  return {
    name,
    title,
    unit: 'ms',
    sides: [side],
    figure: values => values[0]!,
    figureUnit: 'ms',
    goal: atMost(most),
    needs: [],
  }
}

export const PROGRAM_CELLS: readonly Cell[] = [
  fioCell(8, atLeast(6)),
  fioCell(1, null),
  startCell('start', 'process start to first I/O', 1, 150),
  startCell('start-two', 'process start to first I/O of two CPUs', 2, 250),
]
