// `phasebit run --queue [TIME:]DISK/ATTRIBUTE=VALUE`: what a shell would write to /sys/block/DISK/queue/ATTRIBUTE while the
// jobs run, so long after they began (0 unless said). A task of the machine's emulated kernel writes; one is made for it.
//
// Whether disk and attribute exist, a scheduler's name, and what is no number, is known before the run. What a disk refuses is a failure of the run.

import { queue_attr_store, WRITABLE } from '../block/blk-sysfs.js'
import { SCHEDULERS } from '../block/schedulers.js'
import { UserError } from '../core/errors.js'
import type { Sleep } from '../kernel/core.js'
import { errname } from '../kernel/errno.js'
import type { Machine } from '../machine/booted.js'
import { schedTagsBytes } from '../machine/host-kernel.js'
import { BadValue } from './bad-value.js'
import type { Periodic } from './executor.js'
import type { QueueWrite } from './job.js'
import { NS_PER_S, parseTime } from './units.js'
import { oneOf } from './values.js'

/** A queue refuses more (block/nr-requests.ts). */
const MOST_REQUESTS = 2048
const FORM = /^(?:([0-9.]+[a-z]*):)?(?:\/sys\/block\/)?([^/=:]+)(?:\/queue)?\/([^=]+)=(.+)$/

/** `[TIME:]DISK/ATTRIBUTE=VALUE`; a path of /sys/block says the same. */
export function parseQueueWrite(text: string): QueueWrite {
  const match = FORM.exec(text)
  if (match === null)
    throw new BadValue('must be [TIME:]DISK/ATTRIBUTE=VALUE, such as 10ms:nullb0/scheduler=kyber')
  const [, time, disk, name, value] = match
  const attribute = oneOf(name!, WRITABLE)
  if (attribute === 'scheduler') oneOf(value!, Object.keys(SCHEDULERS))
  else if (!/^-?\d+$/.test(value!)) throw new BadValue(`${attribute} must be a whole number`)
  return {
    atNs: time === undefined ? 0 : parseTime(time, NS_PER_S),
    disk: disk!,
    attribute,
    value: value!,
  }
}

/** Heap that more requests of a queue take, where any are asked for; a disk has a hardware queue for each CPU at most. */
export function queueWritesBytes(writes: readonly QueueWrite[], cpus: number): number {
  const numbers = writes
    .filter(({ attribute }) => attribute === 'nr_requests')
    .map(({ value }) => Math.min(Number(value) || 0, MOST_REQUESTS))
  return numbers.reduce((sum, n) => sum + cpus * schedTagsBytes(n), 0)
}

/** @throws UserError for a disk that is not there, or that has no queue with such attributes */
export function checkQueueWrites(writes: readonly QueueWrite[], machine: Machine): void {
  const queues = machine.disks.filter(disk => machine.host?.blk.queues.has(disk.q))
  const names = queues.map(disk => disk.config.name)
  for (const { disk, attribute } of writes)
    if (!names.includes(disk))
      throw new UserError(
        `--queue ${disk}/${attribute}: no such queue; there ${names.length === 1 ? 'is' : 'are'} ${names.join(', ') || 'none'}`,
      )
}

/** What the executor calls: each write at its time, or when the one before it is done. */
export function queueWrites(
  writes: readonly QueueWrite[],
  machine: Machine,
  failed: (line: string) => void,
): Periodic[] {
  const due: QueueWrite[] = []
  let writing = false
  function* shell(): Sleep<void> {
    const host = machine.host!
    for (let write = due.shift(); write !== undefined; write = due.shift()) {
      const { disk, attribute, value } = write
      const q = host.queue(machine.disk(disk))
      const error = yield* queue_attr_store(q, attribute, value, (hctx, depth) =>
        host.schedTags(hctx, depth),
      )
      if (error !== 0) failed(`--queue ${disk}/${attribute}=${value}: ${errname(error)}`)
    }
    writing = false
  }
  return writes.map(write => ({
    firstNs: write.atNs,
    everyNs: Number.POSITIVE_INFINITY,
    call: () => {
      due.push(write)
      if (!writing) machine.host!.k.spawn('sh', shell)
      writing = true
    },
  }))
}
