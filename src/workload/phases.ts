// When jobs start and when they must stop: walls, wait_for, startdelay, exitall.
//
//   waiting ──due──▶ running ──ended──▶ done
//      └──────────────stopped───────────▲
//
// A job is due when every job of a smaller phase is done (a phase is what lies between two stonewalls; the following
// files on a command line begin one too), when all clones of the section that wait_for names are done, and when its
// start delay, counted from that moment, has passed. `exitall` of an ended job stops others: exit_what=group those of
// its reporting group, stonewall whatever runs now in its phase, all everything that is still to come as well.
//
// Nothing here looks at a clock: the caller says what time it is.

import type { JobSpec } from './job.js'

type PhasedJob = Pick<
  JobSpec,
  'phase' | 'groupid' | 'waitFor' | 'startDelayNs' | 'exitall' | 'exitWhat' | 'exitallOnError'
>

type State = 'waiting' | 'running' | 'done'

/** The order of a run. */
export class Phases {
  readonly #jobs: readonly PhasedJob[]
  readonly #state: State[]
  /** When the last thing that the job waited for ended; its start delay counts from here. Infinity = not yet. */
  readonly #free: number[]

  constructor(jobs: readonly PhasedJob[], nowNs: number) {
    this.#jobs = jobs
    this.#state = jobs.map(() => 'waiting')
    this.#free = jobs.map(() => Number.POSITIVE_INFINITY)
    this.#release(nowNs)
  }

  get finished(): boolean {
    return this.#state.every(s => s === 'done')
  }

  get running(): number[] {
    return this.#indices('running')
  }

  /** Jobs to be started at `nowNs`, in order. They count as running from now on. */
  due(nowNs: number): number[] {
    const due = this.#indices('waiting').filter(i => this.#startNs(i) <= nowNs)
    for (const i of due) this.#state[i] = 'running'
    return due
  }

  /** The next time at which a job will be due by its start delay; Infinity when none waits for time alone. */
  get nextStartNs(): number {
    return this.#indices('waiting').reduce(
      (t, i) => Math.min(t, this.#startNs(i)),
      Number.POSITIVE_INFINITY,
    )
  }

  /** Job `index` ended. Returns the running jobs that must be stopped because of it; waiting ones are dropped here. */
  ended(index: number, nowNs: number, failed: boolean): number[] {
    this.#state[index] = 'done'
    const job = this.#jobs[index]
    const stop = job.exitall || (failed && job.exitallOnError) ? this.#exit(job) : []
    this.#release(nowNs)
    return stop
  }

  /** Nothing starts any more (an interrupt). Returns the running jobs. */
  stopAll(): number[] {
    for (const i of this.#indices('waiting')) this.#state[i] = 'done'
    return this.running
  }

  #startNs(i: number): number {
    return this.#free[i] + this.#jobs[i].startDelayNs
  }

  #indices(state: State): number[] {
    return this.#state.flatMap((s, i) => (s === state ? [i] : []))
  }

  #exit(ended: PhasedJob): number[] {
    const struck = (job: PhasedJob, state: State): boolean => {
      if (ended.exitWhat === 'all') return true
      if (ended.exitWhat === 'stonewall') return state === 'running' || job.phase === ended.phase
      return job.groupid === ended.groupid
    }
    const stop: number[] = []
    this.#jobs.forEach((job, i) => {
      const state = this.#state[i]
      if (state === 'done' || !struck(job, state)) return
      if (state === 'running') stop.push(i)
      else this.#state[i] = 'done'
    })
    return stop
  }

  /** Gives every job that waits for nothing but time any more the moment at which that became so. */
  #release(nowNs: number): void {
    const phase = this.#jobs.reduce(
      (p, job, i) => (this.#state[i] === 'done' ? p : Math.min(p, job.phase)),
      Number.POSITIVE_INFINITY,
    )
    this.#jobs.forEach((job, i) => {
      if (this.#state[i] !== 'waiting' || this.#free[i] !== Number.POSITIVE_INFINITY) return
      if (job.phase <= phase && job.waitFor.every(j => this.#state[j] === 'done'))
        this.#free[i] = nowNs
    })
  }
}
