// The bios of a trace as a fio I/O log, version 3, which fio and phasebit replay: each disk is added and opened before its
// first I/O, and closed at the end.

import { writeIolog } from './iolog.js'
import type { ReplayAction } from './replay-types.js'
import type { TraceRecord } from './trace-json.js'

function ioOf(rwbs: string): 'read' | 'write' | 'trim' | null {
  const body = rwbs.startsWith('F') ? rwbs.slice(1) : rwbs
  if (body.startsWith('R')) return 'read'
  if (body.startsWith('D')) return 'trim'
  return body.startsWith('W') ? 'write' : null
}

/** @param names paths of the disks, by number */
export function traceIolog(records: readonly TraceRecord[], names: readonly string[]): string {
  const bios = records.filter(r => r.kind === 'event' && r.name === 'block_bio_queue')
  const start = bios[0]?.time ?? 0
  const actions: ReplayAction[] = []
  const open = new Set<string>()
  let timeUs = 0
  for (const { fields, time } of bios) {
    const file = names[Number(fields['dev'] ?? 0)] ?? 'disk'
    timeUs = (time - start) / 1000
    if (!open.has(file)) {
      actions.push({ timeUs, file, action: 'add' }, { timeUs, file, action: 'open' })
      open.add(file)
    }
    const length = Number(fields['sectors'] ?? 0) * 512
    const io = ioOf(String(fields['rwbs'] ?? ''))
    const offset = Number(fields['sector'] ?? 0) * 512
    if (length > 0 && io) actions.push({ timeUs, file, action: io, offset, length })
    else actions.push({ timeUs, file, action: 'sync', offset: 0, length: 0 })
  }
  for (const file of open) actions.push({ timeUs, file, action: 'close' })
  return writeIolog(actions)
}
