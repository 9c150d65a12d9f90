// One request queue under one lock, or a queue for each CPU? The experiment of Bjorling, Axboe, Nellans and Bonnet ("Linux
// Block IO: Introducing Multi-queue SSD Access on Multi-core Systems", SYSTOR 2013), in virtual time.
//
//   sq        null_blk queue_mode=1: every submission and completion under the queue's one lock
//   mq        null_blk queue_mode=2 with a hardware queue for each CPU
//
// Random 4 KiB reads at depth 32, submitted eight at a time, on a disk that ends a command at once (irqmode=0): nothing but the
// block layer is left. Costs are the machine's, as in every run (src/machine/costs.ts).
//
// The paper's claim: the single queue is the bottleneck and does not scale with cores; the multi-queue design does. What it
// measured and this model has not: cache lines that move between CPUs and sockets, by which the single queue not only
// stops to grow but falls.

import { executePlan } from './run.js'
import { parseRun } from './run-command.js'

export interface MqVsSqPoint {
  readonly cpus: number
  readonly queue: 'sq' | 'mq'
  readonly iops: number
  /** Mean time of an I/O, submission included, ns. */
  readonly mean: number
}

const QUEUE_MODE = { sq: 1, mq: 2 } as const
const JOB = 'mq-vs-sq.fio'

function jobText(cpus: number, ios: number): string {
  return [
    '[global]',
    'filename=/dev/nullb0',
    'rw=randread',
    'bs=4k',
    'size=64m',
    'norandommap=1',
    'ioengine=libaio',
    'direct=1',
    'iodepth=32',
    'iodepth_batch=8',
    `number_ios=${ios}`,
    ...Array.from({ length: cpus }, (_, cpu) => `[cpu${cpu}]\ncpus_allowed=${cpu}`),
    '',
  ].join('\n')
}

async function runPoint(
  cpus: number,
  queue: MqVsSqPoint['queue'],
  ios: number,
  seed: number,
): Promise<MqVsSqPoint> {
  const text = jobText(cpus, ios)
  const device = `null_blk,size=64,irqmode=0,queue_mode=${QUEUE_MODE[queue]},submit_queues=${cpus}`
  const argv = [JOB, '--clock=virtual', `--cpus=${cpus}`, `--seed=${seed}`, '--device', device]
  const context = { readFile: () => Buffer.from(text), env: {}, hostCpus: cpus }
  const { result, failures } = await executePlan(parseRun(argv, context))
  if (failures.length > 0) throw new Error(failures[0])
  const reads = result.jobs.map(job => job.read)
  const total = reads.reduce((sum, read) => sum + read.totalIos, 0)
  return {
    cpus,
    queue,
    iops: reads.reduce((sum, read) => sum + (read.totalIos * 1e9) / read.runtimeNs, 0),
    mean: reads.reduce((sum, read) => sum + read.lat.mean * read.totalIos, 0) / total,
  }
}

/** Runs every number of CPUs with both kinds of queue. `ios`: of each CPU. */
export async function mqVsSq(
  cpus: readonly number[],
  ios: number,
  seed: number,
  onPair: (sq: MqVsSqPoint, mq: MqVsSqPoint) => void,
): Promise<MqVsSqPoint[]> {
  const points: MqVsSqPoint[] = []
  for (const n of cpus) {
    const sq = await runPoint(n, 'sq', ios, seed)
    const mq = await runPoint(n, 'mq', ios, seed)
    points.push(sq, mq)
    onPair(sq, mq)
  }
  return points
}
