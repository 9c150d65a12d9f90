// What each hardware queue costs in memory, for reports.

import {
  CTX_SIZE,
  DCQ_SIZE,
  DSQ_SIZE,
  FIFO_SIZE,
  HC_SIZE,
  IRQ_SIZE,
  NQ_SIZE,
  PAGE_SIZE,
  RQ_SIZE,
  SBQ_HINT_SIZE,
  SBW_SIZE,
  TAGS_SIZE,
} from '../../assembly/layout.js'
import { CQE_BYTES, SQE_BYTES } from '../../assembly/nvme.js'
import type { QueueMemory } from './config.js'
import { type DiskPlan, type QueuePlan, tagWords } from './plan.js'

export type { QueueMemory } from './config.js'

function queueMemory(disk: DiskPlan, queue: QueuePlan, index: number, cpus: number): QueueMemory {
  const { depth } = disk.config
  const submission = depth * SQE_BYTES
  const completion = depth * CQE_BYTES
  const requests = (disk.nrTags + 1) * RQ_SIZE + disk.nrTags * 4 + depth * FIFO_SIZE
  const tags = TAGS_SIZE + tagWords(disk.nrTags) * SBW_SIZE + cpus * SBQ_HINT_SIZE
  const prpPages = disk.nrPrp * (PAGE_SIZE + 4)
  const control = HC_SIZE + NQ_SIZE + DSQ_SIZE + DCQ_SIZE + IRQ_SIZE + queue.cpus.length * CTX_SIZE
  const total = submission + completion + requests + tags + prpPages + control
  const { name } = disk.config
  return {
    disk: name,
    qid: index + 1,
    submission,
    completion,
    requests,
    tags,
    prpPages,
    control,
    total,
  }
}

/** One line for each hardware queue of each disk. */
export function memoryReport(disks: readonly DiskPlan[], cpus: number): QueueMemory[] {
  return disks
    .filter(disk => disk.config.namespaceOf === undefined)
    .flatMap(disk => disk.queues.map((queue, i) => queueMemory(disk, queue, i, cpus)))
}
