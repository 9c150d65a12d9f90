// Who used how much of the CPUs: fio's usr, sys and ctx figures of each job.
//
//   virtual clock   what the job's CPU was busy, shared equally among the jobs that ran there; all of it is the kernel's
//   real clock      what the thread of the job's CPU used, shared equally among the jobs that ran there; all of it is the
//                   user's. Where the CPUs share a thread, or the host does not tell, what the process used, shared among
//                   all jobs that ran; so with a connected disk, too, whose machine keeps pace with the host's clock
//   switches        emulated task switches and sleeps of the job's CPU, shared the same way
//
// Shares change when a job starts or ends: account() is called just before.

import { realTime } from '../machine/config.js'
import type { Machine } from '../machine/machine.js'

/** CPU time in ns, and switches. */
export interface Used {
  usrNs: number
  sysNs: number
  switches: number
}

/** Keeps the accounts of a run. */
export class CpuTime {
  readonly #machine: Machine
  readonly #cpuOfJob: readonly number[]
  readonly #jobs: readonly Used[]
  readonly #cpus: { busyNs: number; switches: number; threadNs: number }[]
  #process: NodeJS.CpuUsage

  constructor(machine: Machine, cpuOfJob: readonly number[]) {
    this.#machine = machine
    this.#cpuOfJob = cpuOfJob
    this.#jobs = cpuOfJob.map(() => ({ usrNs: 0, sysNs: 0, switches: 0 }))
    this.#cpus = Array.from({ length: machine.config.cpus }, (_, cpu) => ({
      busyNs: 0,
      switches: 0,
      threadNs: machine.threadTime('cpu', cpu),
    }))
    this.#process = process.cpuUsage()
  }

  /** Charges what was used since the last call to the jobs that have been running. */
  account(running: readonly number[]): void {
    const real = realTime(this.#machine.config)
    const threads = real && this.#machine.threadTime('cpu', 0) >= 0
    if (real && !threads) this.#accountProcess(running)
    this.#cpus.forEach((before, cpu) => {
      if (threads) this.#accountThread(before, cpu, running)
      const { busyNs, switches, sleeps } = this.#machine.cpuCounters(cpu)
      const here = running.filter(i => this.#cpuOfJob[i] === cpu)
      for (const i of here) {
        if (!real) this.#jobs[i]!.sysNs += (busyNs - before.busyNs) / here.length
        this.#jobs[i]!.switches += (switches + sleeps - before.switches) / here.length
      }
      before.busyNs = busyNs
      before.switches = switches + sleeps
    })
  }

  #accountThread(before: { threadNs: number }, cpu: number, running: readonly number[]): void {
    const threadNs = this.#machine.threadTime('cpu', cpu)
    const here = running.filter(i => this.#cpuOfJob[i] === cpu)
    // before its first look there is nothing to charge
    const used = before.threadNs >= 0 ? threadNs - before.threadNs : 0
    for (const i of here) this.#jobs[i]!.usrNs += used / here.length
    before.threadNs = threadNs
  }

  /** A job's measurement begins: what it has used in its ramp does not count. */
  forget(job: number): void {
    Object.assign(this.#jobs[job]!, { usrNs: 0, sysNs: 0, switches: 0 })
  }

  of(job: number): Used {
    const { usrNs, sysNs, switches } = this.#jobs[job]!
    return { usrNs, sysNs, switches: Math.round(switches) }
  }

  #accountProcess(running: readonly number[]): void {
    const used = process.cpuUsage(this.#process)
    this.#process = process.cpuUsage()
    for (const i of running) {
      this.#jobs[i]!.usrNs += (used.user * 1000) / running.length
      this.#jobs[i]!.sysNs += (used.system * 1000) / running.length
    }
  }
}
