// The forms in which a trace can be written, by the names that --format takes.

import { UserError } from '../core/errors.js'
import { writeBlktrace } from '../report/blktrace-write.js'
import { traceFtrace } from '../report/trace-ftrace.js'
import { traceGraph } from '../report/trace-graph.js'
import { traceIolog } from '../report/trace-iolog.js'
import { RECORDING_MOST, traceJson, type TraceRecord } from '../report/trace-json.js'
import { tracePerfetto } from '../report/trace-perfetto.js'
import { TRACE_FORMATS, type TraceFormat } from './job.js'

/** A trace and what it is of. */
export interface WholeTrace {
  readonly name: string
  readonly config: Readonly<Record<string, string>>
  readonly notes: readonly string[]
  readonly records: readonly TraceRecord[]
  readonly cpus: number
  /** A scenario's: the JSON form of it is cut where recordings are. */
  readonly scenario?: true
  /** Names of the disks, such as `nullb0`. */
  readonly disks: readonly string[]
}

export { TRACE_FORMATS, type TraceFormat }

const NULL_BLK_MAJOR = 252
const NVME_MAJOR = 259
const KERNEL = '4.19'

/** @throws UserError for a name that is none of TRACE_FORMATS */
export function parseTraceFormat(text: string, option: string): TraceFormat {
  const format = TRACE_FORMATS.find(name => name === text)
  if (format) return format
  throw new UserError(`${option} ${text}: must be one of ${TRACE_FORMATS.join(', ')}`)
}

/** Device numbers as Linux has them: major << 20 | minor. */
function numbers(disks: readonly string[]): number[] {
  return disks.map((name, i) => {
    const null_blk = name.startsWith('nullb')
    return ((null_blk ? NULL_BLK_MAJOR : NVME_MAJOR) << 20) | i
  })
}

/** The trace as text; `blktrace` is none. */
export function traceText(trace: WholeTrace, format: Exclude<TraceFormat, 'blktrace'>): string {
  const { records, disks, name, config, notes } = trace
  if (format === 'graph') return traceGraph(records)
  if (format === 'perfetto') return tracePerfetto(records, name)
  if (format === 'ftrace') return traceFtrace(records, numbers(disks))
  const paths = disks.map(disk => `/dev/${disk}`)
  if (format === 'iolog') return traceIolog(records, paths)
  const most = trace.scenario ? RECORDING_MOST : undefined
  return traceJson({ kernel: KERNEL, scenario: name, config, notes }, records, most)
}

/** The trace as blktrace's files, one for each CPU. */
export function traceFiles({ records, cpus, disks }: WholeTrace): Buffer[] {
  return writeBlktrace(records, cpus, numbers(disks))
}
