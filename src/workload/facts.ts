// What a finished machine has to say: its queues, its disks, its books.

import {
  CPU_STAGE_D2C,
  CPU_STAGE_G2I,
  CPU_STAGE_I2D,
  CPU_STAGE_N,
  CPU_STAGE_Q2C,
  CPU_STAGE_Q2G,
  CTX_SIZE,
  CTX_STAT_IOS,
  CTX_STAT_MERGES,
  CTX_STAT_SECTORS,
  CTX_STAT_TICKS,
  Q_CTXS,
} from '../../assembly/layout.js'
import type { Disk, Machine } from '../machine/machine.js'
import type { DiskUtil, Json, QueueFacts, StageName } from '../report/result.js'

const READ = 0
const WRITE = 1
const GROUPS = 4

/** How each hardware queue completed its I/O. */
export function queueFacts(machine: Machine): QueueFacts[] {
  const queues = machine.queueFacts()
  return queues.map(queue => {
    const cpu = machine.cpuCounters(queue.owner)
    // these counters are the CPU's: they are the queue's as long as it owns no other that was used
    const alone = queues.every(q => q === queue || q.owner !== queue.owner || q.queued === 0)
    return {
      device: queue.disk,
      queue: queue.qid,
      cpu: queue.owner,
      // hipri polls a queue that has an interrupt all the same
      completion:
        queue.completion === 'irq' && queue.polled > queue.irqDone ? 'poll' : queue.completion,
      submitted: queue.queued,
      completed: queue.queued,
      inline: queue.completion === 'inline' ? queue.queued : 0,
      polled: queue.polled,
      interrupts: queue.irqDone,
      irqs: queue.interruptsRaised,
      spins: alone ? cpu.spins : 0,
      sqDoorbells: alone ? cpu.doorbells : 0,
      cqDoorbells: alone ? cpu.cqDoorbells : 0,
      slow: 0,
      requeued: 0,
      timeouts: 0,
    }
  })
}

/** A disk's counters over a run of `elapsedNs`; null when no job touched it. */
export function diskUtil(machine: Machine, disk: Disk, elapsedNs: number): DiskUtil | null {
  const { view, config } = machine
  const ctxs = view.u32(disk.q + Q_CTXS)
  const sum = (field: number, group: number): number => {
    let n = 0
    for (let cpu = 0; cpu < config.cpus; cpu++)
      n += view.u64(ctxs + cpu * CTX_SIZE + field + 8 * group)
    return n
  }
  const ios = Array.from({ length: GROUPS }, (_, group) => sum(CTX_STAT_IOS, group))
  if (ios.every(n => n === 0)) return null
  const ticks = Array.from({ length: GROUPS }, (_, group) => sum(CTX_STAT_TICKS, group))
  const busyNs = ticks.reduce((a, b) => a + b, 0)
  return {
    name: disk.config.name,
    readIos: ios[READ]!,
    writeIos: ios[WRITE]!,
    readMerges: sum(CTX_STAT_MERGES, READ),
    writeMerges: sum(CTX_STAT_MERGES, WRITE),
    readSectors: sum(CTX_STAT_SECTORS, READ),
    writeSectors: sum(CTX_STAT_SECTORS, WRITE),
    readTicksMs: Math.floor(ticks[READ]! / 1e6),
    writeTicksMs: Math.floor(ticks[WRITE]! / 1e6),
    inQueueMs: Math.floor(busyNs / 1e6),
    // requests that overlap are counted several times: an upper bound, and 100 whenever more than one is in flight
    util: elapsedNs > 0 ? Math.min(100, (100 * busyNs) / elapsedNs) : 0,
  }
}

const STAGES: Readonly<Record<StageName, number>> = {
  Q2G: CPU_STAGE_Q2G,
  G2I: CPU_STAGE_G2I,
  I2D: CPU_STAGE_I2D,
  D2C: CPU_STAGE_D2C,
  Q2C: CPU_STAGE_Q2C,
}

/** Mean times of the stages of a request over all CPUs, in ns; null when no request was stamped. */
export function stageMeans(machine: Machine): { [key: string]: Json } | null {
  const cpus = Array.from({ length: machine.config.cpus }, (_, i) => machine.cpuAddress(i))
  const n = cpus.reduce((sum, cpu) => sum + machine.view.u64(cpu + CPU_STAGE_N), 0)
  if (n === 0) return null
  const means = Object.entries(STAGES).map(([name, field]) => {
    const total = cpus.reduce((sum, cpu) => sum + machine.view.f64(cpu + field), 0)
    return [name, { mean: total / n, N: n }]
  })
  return Object.fromEntries(means)
}
