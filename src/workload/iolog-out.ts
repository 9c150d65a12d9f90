// write_iolog: what a job did, as an I/O log that read_iolog reads back.
//
// The core records completions; the log wants issues, in their order. Records are turned round (issue = completion less the
// time the I/O took) and sorted. An I/O that is still in flight when a buffer is drained was issued before some that are in
// the buffer already, so the newest part of each batch is held back until the next one, `HELD` records at most.

import { DDIR_SYNC } from '../../assembly/layout.js'
import { writeIolog } from '../report/iolog.js'
import type { ReplayAction } from '../report/replay-types.js'
import type { JobFile, JobSpec } from './job.js'
import type { LogRecord, LogSink } from './job-logs.js'

/** More than any queue depth that completes out of order by much. */
const HELD = 4096
const ACTIONS = ['read', 'write', 'trim', 'datasync'] as const

/** Text of the actions without the header line. */
function lines(actions: readonly ReplayAction[]): string {
  const text = writeIolog(actions)
  return text.slice(text.indexOf('\n') + 1)
}

/** What a log begins with: its header, and every file added and opened. */
export function iologPrelude(jobs: readonly Pick<JobSpec, 'files'>[]): string {
  const names = new Set(jobs.flatMap(job => job.files.map(file => file.name)))
  return writeIolog(
    [...names].flatMap(file => [
      { timeUs: 0, file, action: 'add' as const },
      { timeUs: 0, file, action: 'open' as const },
    ]),
  )
}

/** Writes the I/O log of one job. */
export class IologOut {
  readonly #files: readonly JobFile[]
  readonly #sink: LogSink
  #held: (LogRecord & { issueNs: number })[] = []

  constructor(files: readonly JobFile[], sink: LogSink) {
    this.#files = files
    this.#sink = sink
  }

  /** `startNs` is when the job began. */
  records(records: readonly LogRecord[], startNs: number): void {
    for (const r of records)
      this.#held.push({ ...r, issueNs: Math.max(startNs, r.timeNs - r.clatNs - r.slatNs) })
    this.#held.sort((a, b) => a.issueNs - b.issueNs)
    this.#write(this.#held.splice(0, Math.max(0, this.#held.length - HELD)), startNs)
  }

  end(startNs: number): void {
    this.#write(this.#held.splice(0), startNs)
  }

  #write(records: readonly (LogRecord & { issueNs: number })[], startNs: number): void {
    if (records.length === 0) return
    this.#sink(lines(records.map(r => this.#action(r, startNs))))
  }

  #action(r: LogRecord & { issueNs: number }, startNs: number): ReplayAction {
    const file = this.#files[r.file] ?? this.#files[0]!
    const sync = r.ddir === DDIR_SYNC
    // a file of its own begins at its base, a whole disk at 0
    const base = file.name === file.disk ? 0 : file.base
    return {
      timeUs: (r.issueNs - startNs) / 1000,
      file: file.name,
      action: ACTIONS[r.ddir],
      offset: sync ? 0 : r.offset - base,
      length: sync ? 0 : r.bytes,
    }
  }
}
