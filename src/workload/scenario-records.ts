// Records of the trace rings as exporters take them.

import { blk_fill_rwbs } from '../block/trace-events.js'
import type { TraceEntry, TraceRings } from '../machine/trace-ring.js'
import type { TraceRecord } from '../report/trace-json.js'

/** Works and timers of the kernel's own that recordings leave out. */
const LEFT_OUT = new Set([
  'process_timeout',
  'pool_mayday_timeout',
  'idle_worker_timeout',
  'nvme_async_probe',
  '__blk_release_queue',
])

function isLeftOut({ kind, fields }: TraceEntry): boolean {
  return kind === 'event' && LEFT_OUT.has(String(fields?.function))
}

/** Names contexts as recordings do, and puts fields to events of the core. */
export function namedRecords(entries: readonly TraceEntry[], rings: TraceRings): TraceRecord[] {
  const workers = new Map<number, string>()
  const context = (ctx: number): string => {
    const who = rings.contexts.get(ctx)
    if (!who) return 'hardirq'
    if (who.kind === 'task') return who.name
    if (who.kind !== 'kworker') return who.kind
    const name = workers.get(ctx) ?? `kworker-${workers.size + 1}`
    workers.set(ctx, name)
    return name
  }
  // A CPU of virtual time is ahead of the clock while it works: what comes after is not earlier.
  let time = 0
  return entries
    .filter(entry => !isLeftOut(entry))
    .map(entry => ({
      kind: entry.kind,
      name: entry.name,
      time: (time = Math.max(time, entry.time)),
      cpu: entry.cpu,
      context: context(entry.ctx),
      depth: entry.depth,
      fields: entry.fields ?? eventFields(entry),
    }))
}

/** Tracepoints of the NVMe driver: see nvme_event of assembly/trace.ts. */
function nvmeFields(entry: TraceEntry): TraceRecord['fields'] | null {
  const { name, opf = 0, error = 0, sector = 0 } = entry
  if (name === 'irq_handler_entry') return { name: `nvme0q${error}` }
  if (name === 'nvme_setup_cmd') return { qid: error, opcode: opf, cdw10: sector }
  if (name === 'nvme_complete_rq') return { qid: error, res: sector, status: opf }
  return null
}

function eventFields(entry: TraceEntry): TraceRecord['fields'] {
  const { name, opf = 0, bytes = 0, error = 0, sector = 0, disk = 0 } = entry
  if (entry.kind === 'enter' || name === 'block_plug') return {}
  if (name === 'block_unplug') return { n: bytes }
  const nvme = nvmeFields(entry)
  if (nvme) return nvme
  if (name.startsWith('hrtimer')) return { function: 'null_cmd_timer_expired' }
  const place = { sector, dev: disk }
  const about = { rwbs: blk_fill_rwbs(opf), sectors: bytes / 512 }
  if (name === 'block_rq_issue' || name === 'block_rq_insert') return { ...about, bytes, ...place }
  if (name === 'block_rq_complete' || name === 'block_rq_requeue')
    return { ...about, error, ...place }
  return { ...about, ...place }
}
