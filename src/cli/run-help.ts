// `phasebit run --help`.

import { usefulNames } from '../workload/option-classes.js'

const WIDTH = 100

/** The text. */
export function runHelp(): string {
  return `${[...USAGE, ...wrapped([...usefulNames()].sort())].join('\n')}\n`
}

const USAGE = [
  'usage: phasebit run JOBFILE... [options] [--name=JOB --OPTION=VALUE ...]...',
  '',
  "Runs fio job files on an emulated machine and prints a report in fio's forms.",
  'A JOBFILE of - is read from standard input.',
  '',
  'the machine',
  '  --clock real|virtual        real time (default), or exact and repeatable virtual time',
  '  --device SPEC               a disk, such as nvme,size=4G,depth=256,where=thread,wait=poll; repeatable',
  '  --machine FILE              a machine in JSON',
  '  --cpus N                    CPUs; default: as many as the jobs ask for',
  '  --seed N                    seed of everything random, default 0',
  '  --kernel 4.19|4.9           age of the emulated kernel',
  '  --page-cache SIZE           memory for buffered jobs (direct=0), default 256m',
  '  --sysctl vm.NAME=VALUE      laptop_mode, dirty_ratio, dirty_background_ratio, dirty_expire_centisecs,',
  '                              dirty_writeback_centisecs; repeatable',
  '  --queue [TIME:]DISK/ATTRIBUTE=VALUE   written to /sys/block/DISK/queue while the jobs run: scheduler, nomerges,',
  '                              rq_affinity, nr_requests, iosched/NAME; of a pblk: DISK/pblk/ATTRIBUTE',
  'the run',
  '  --section NAME              only this section of the files; repeatable',
  '  --max-runtime TIME          each job runs at most so long, ramp included',
  '  --max-io N                  each job ends after N measured I/Os',
  '  --shard I/N                 jobs I, I+N, ... of the plan, for one of N machines; phasebit merge joins their JSON',
  '  --max-jobs N                refuse more jobs than this',
  '  --lat none|sampled|batch|every   how latencies are timed, default batch',
  '  --stages                    time the stages of each request',
  '  --dump LIST                 show the machine as /sys, /proc and debugfs do: workqueues, stat, diskstats, hctx, pblk, all',
  '  --dump-at TIME,...          when, after the jobs began; default: once, when the last has ended',
  '  --dump-file FILE            instead of standard error',
  '  --readonly                  refuse jobs that write or trim',
  '  --parse-only                check everything, run nothing',
  '  --showcmd                   print the jobs as a command line',
  'the report',
  '  --output FILE               instead of standard output; appears when complete',
  '  --output-format LIST        normal, json, json+, terse; several by comma',
  '  --terse-version 2|3|4|5     default 3',
  '  --status-interval TIME      a report each so often',
  '  --eta auto|always|never     the status line',
  '  --warnings-fatal            warnings are errors',
  '',
  'exit status: 0 all jobs ended well; 1 a job failed or an output could not be written;',
  '64 something is wrong with the options or files; 70 an internal error',
  '',
  'job options (--OPTION=VALUE overrides what the files say, after --name= it belongs to that job):',
]

function wrapped(names: readonly string[]): string[] {
  const lines: string[] = []
  let line = ' '
  for (const name of names) {
    if (line.length + name.length + 1 > WIDTH) {
      lines.push(line)
      line = ' '
    }
    line += ` ${name}`
  }
  return [...lines, line]
}
