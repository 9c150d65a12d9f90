// `phasebit run --queue [TIME:]DISK/ATTRIBUTE=VALUE`: what a shell would write to /sys/block/DISK/queue/ATTRIBUTE while the
// jobs run, so long after they began (0 unless said), or as DISK/pblk/ATTRIBUTE to the attributes of a pblk. A task of the
// machine's emulated kernel writes; one is made for it.
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
const FORM = /^(?:([0-9.]+[a-z]*):)?(?:\/sys\/block\/)?([^/=:]+)(?:\/(queue|pblk))?\/([^=]+)=(.+)$/
/** Of a pblk (pblk-sysfs.ts, which is not loaded for this). */
export const PBLK_WRITABLE: readonly string[] = [
  'gc_force',
  'max_sec_per_write',
  'write_amp_trip',
  'padding_dist',
]

/** `[TIME:]DISK/ATTRIBUTE=VALUE`; a path of /sys/block says the same. */
export function parseQueueWrite(text: string): QueueWrite {
  const match = FORM.exec(text)
  if (match === null)
    throw new BadValue('must be [TIME:]DISK/ATTRIBUTE=VALUE, such as 10ms:nullb0/scheduler=kyber')
  const [, time, disk, folder, name, value] = match
  const of = folder === 'pblk' ? 'pblk' : 'queue'
  const attribute = oneOf(name!, of === 'pblk' ? PBLK_WRITABLE : WRITABLE)
  if (attribute === 'scheduler') oneOf(value!, Object.keys(SCHEDULERS))
  else if (!/^-?\d+$/.test(value!)) throw new BadValue(`${attribute} must be a whole number`)
  return {
    atNs: time === undefined ? 0 : parseTime(time, NS_PER_S),
    disk: disk!,
    of,
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

/** How the user named the attribute. */
function label({ disk, of, attribute }: QueueWrite): string {
  return `--queue ${disk}/${of === 'pblk' ? 'pblk/' : ''}${attribute}`
}

/** The targets that have attributes of their own. */
function targets(machine: Machine) {
  const devices = machine.host?.lightnvm?.lnvm.devices ?? []
  return devices.flatMap(dev => dev.targets).filter(target => target.type.sysfs !== undefined)
}

/** @throws UserError for a disk that is not there, or that has no queue, or is no pblk, with such attributes */
export function checkQueueWrites(writes: readonly QueueWrite[], machine: Machine): void {
  const queues = machine.disks.filter(disk => machine.host?.blk.queues.has(disk.q))
  const known = {
    queue: queues.map(disk => disk.config.name),
    pblk: targets(machine).map(target => target.name),
  }
  for (const write of writes) {
    const names = known[write.of]
    if (!names.includes(write.disk))
      throw new UserError(
        `${label(write)}: no such ${write.of}; there ${names.length === 1 ? 'is' : 'are'} ${names.join(', ') || 'none'}`,
      )
  }
}

function* store(machine: Machine, { disk, of, attribute, value }: QueueWrite): Sleep<number> {
  const host = machine.host!
  if (of === 'queue')
    return yield* queue_attr_store(
      host.queue(machine.disk(disk)),
      attribute,
      value,
      (hctx, depth) => host.schedTags(hctx, depth),
    )
  const { type, private_data } = targets(machine).find(target => target.name === disk)!
  return Math.min(type.sysfs!.store(private_data, attribute, `${value}\n`), 0)
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
    for (let write = due.shift(); write !== undefined; write = due.shift()) {
      const error = yield* store(machine, write)
      if (error !== 0) failed(`${label(write)}=${write.value}: ${errname(error)}`)
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
