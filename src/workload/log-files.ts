// The files that a run's jobs write besides the report: sample logs (job-logs.ts) and I/O logs (write_iolog).
//
// All are opened before the run, so that a place that cannot be written is found out before any I/O; they take their
// places together after it. What several jobs write to one file (per_job_logs=0) is joined in job order.

import { type LogKind, logFileName } from '../report/logs.js'
import { iologPrelude } from './iolog-out.js'
import type { JobSpec } from './job.js'
import { type LogSink, type LogSinks, logKinds } from './job-logs.js'
import { OutFile } from './out-file.js'

/** One file and the texts that make it up, by job. */
interface Shared {
  readonly file: OutFile
  /** Job whose text goes straight to the file; the others wait for their turn. */
  readonly first: number
  readonly waiting: Map<number, string[]>
}

/** Opens, feeds and finishes the files of a run. */
export class LogFiles {
  readonly #files = new Map<string, Shared>()

  /** @throws OutputError when one cannot be written; none is left behind */
  constructor(jobs: readonly JobSpec[]) {
    try {
      for (const job of jobs) for (const path of logPaths(job)) this.#open(path, job.index)
      for (const path of new Set(jobs.flatMap(job => job.writeIolog ?? [])))
        this.#files.get(path)!.file.write(iologPrelude(jobs.filter(j => j.writeIolog === path)))
    } catch (error) {
      this.discard()
      throw error
    }
  }

  /** Where a job's lines of one kind go. */
  sinks(job: JobSpec): LogSinks {
    const sinks: Partial<Record<LogKind | 'clat_hist', LogSink>> = {}
    for (const [kind, prefix] of logKinds(job))
      sinks[kind] = this.#sink(fileName(job, kind, prefix), job)
    if (job.log.hist !== null)
      sinks.clat_hist = this.#sink(fileName(job, 'clat_hist', job.log.hist), job)
    return sinks
  }

  /** Where a job's recorded I/O goes. */
  iolog(job: JobSpec): LogSink | null {
    return job.writeIolog === null ? null : this.#sink(job.writeIolog, job)
  }

  /** The run is over: every file takes its place. @throws OutputError */
  commit(): void {
    try {
      for (const { file, waiting } of this.#files.values()) {
        for (const [, texts] of [...waiting].sort((a, b) => a[0] - b[0]))
          for (const text of texts) file.write(text)
        file.commit()
      }
    } catch (error) {
      this.discard()
      throw error
    }
  }

  discard(): void {
    for (const { file } of this.#files.values()) file.discard()
  }

  #open(path: string, job: number): void {
    if (!this.#files.has(path))
      this.#files.set(path, { file: new OutFile(path), first: job, waiting: new Map() })
  }

  #sink(path: string, job: JobSpec): LogSink {
    const shared = this.#files.get(path)!
    if (shared.first === job.index) return text => shared.file.write(text)
    const texts: string[] = []
    shared.waiting.set(job.index, texts)
    return text => {
      texts.push(text)
    }
  }
}

function logPaths(job: JobSpec): string[] {
  const paths = logKinds(job).map(([kind, prefix]) => fileName(job, kind, prefix))
  if (job.log.hist !== null) paths.push(fileName(job, 'clat_hist', job.log.hist))
  if (job.writeIolog !== null) paths.push(job.writeIolog)
  return paths
}

function fileName(job: JobSpec, kind: LogKind | 'clat_hist', prefix: string): string {
  return logFileName(prefix, kind, job.log.perJob ? job.index + 1 : undefined)
}
