// A virtual clock around one kernel, for tests.

import type { Sleep } from '../../../src/kernel/core.js'
import { Kernel, type KernelOptions } from '../../../src/kernel/kernel.js'
import { TraceLog } from '../../../src/kernel/trace.js'

export class VirtualKernel {
  ns = 0
  readonly k: Kernel
  readonly log: TraceLog = new TraceLog()

  constructor(options: Partial<KernelOptions> = {}) {
    this.k = new Kernel({ now: () => this.ns, trace: this.log, ...options })
    this.k.runReady()
  }

  /** Runs everything up to and including a time. */
  runUntil(ns: number): void {
    while (true) {
      this.k.runReady()
      const next = this.k.nextDeadline()
      if (next > ns) break
      this.ns = Math.max(this.ns, next)
      this.k.advance()
    }
    this.ns = ns
    this.k.advance()
    this.k.runReady()
  }

  /** Runs until the next `n` jiffies have begun. */
  ticks(n: number): void {
    this.runUntil(this.k.jiffyNs(this.k.jiffies + n))
  }

  /** Runs until the clock shows that many jiffies since boot. */
  untilJiffy(sinceBoot: number): void {
    this.runUntil(this.k.jiffyNs(this.k.initial_jiffies + sinceBoot))
  }

  /** Jiffies since boot. */
  get j(): number {
    return this.k.jiffies - this.k.initial_jiffies
  }

  /**
   * Runs a sleeping function as a task until it ends and gives its result; time passes as needed.
   */
  run<T>(fn: () => Sleep<T>, limitNs: number = this.ns + 1e13): T {
    const done: T[] = []
    this.k.spawn('test', function* () {
      done.push(yield* fn())
    })
    while (done.length === 0) {
      if (this.k.runReady()) continue
      const next = this.k.nextDeadline()
      if (next > limitNs) throw new Error('the task does not end')
      this.ns = Math.max(this.ns, next)
      this.k.advance()
    }
    return done[0]
  }

  /** Warnings in the kernel log. */
  get warnings(): string[] {
    return this.k.dmesg.filter(line => line.level === 'warn').map(line => line.text)
  }

  /** Functions entered since tracing was switched on. */
  get calls(): string[] {
    return this.log.records.filter(r => r.type === 'enter').map(r => r.name)
  }

  events(name: string): Record<string, string | number | boolean>[] {
    const found = this.log.records.filter(r => r.type === 'event' && r.name === name)
    return found.map(r => ({ ...r.fields }))
  }
}
