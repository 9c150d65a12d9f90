// A machine in virtual time that keeps pace with the host's clock: for machines that talk to the world outside, whose
// kernel's timers must mean real seconds.
//
// Whoever brings something from outside (a socket with bytes) calls poke(); soon after, in the same round of the event loop,
// everything that is due runs. Between two rounds nothing does. The machine's clock is never behind the host's when
// something runs, and at most AHEAD_NS before it: I/Os that are in flight are not waited for in real time unless their
// device is slower than that.

import type { Machine } from './booted.js'

const AHEAD_NS = 1e6
/** Turns before the event loop gets one. */
const TURNS = 4096
/** Longest timer that is set, ms. */
const LONGEST_MS = 60_000

/** Drives one machine. */
export class PacedMachine {
  readonly machine: Machine
  readonly #origin: number
  readonly #failed: (error: unknown) => void
  #soon: NodeJS.Immediate | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** @param failed gets what a task or the core threw; the machine is then stopped */
  constructor(machine: Machine, failed: (error: unknown) => void) {
    this.machine = machine
    this.#failed = failed
    this.#origin = performance.now() * 1e6 - machine.now()
  }

  /** Something is to be done. */
  poke(): void {
    if (this.#stopped || this.#soon) return
    this.#soon = setImmediate(() => {
      this.#soon = undefined
      this.#run()
    })
  }

  /** Nothing runs any more. */
  stop(): void {
    this.#stopped = true
    clearImmediate(this.#soon)
    clearTimeout(this.#timer)
  }

  #realNow(): number {
    return performance.now() * 1e6 - this.#origin
  }

  #run(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    try {
      this.#turns()
    } catch (error) {
      this.stop()
      this.#failed(error)
    }
  }

  #turns(): void {
    const { machine } = this
    const host = machine.host!
    for (let n = 0; n < TURNS; n++) {
      const ahead = host.blk.bios.end_io.size > 0 ? AHEAD_NS : 0
      const end = machine.turn(Math.max(this.#realNow() + ahead, machine.now()))
      const flying = host.blk.bios.end_io.size > 0
      if ((end === 'time' || end === 'idle') && flying === ahead > 0) {
        this.#sleep(flying)
        return
      }
    }
    this.poke()
  }

  /** Comes back when the kernel's next timer is due. */
  #sleep(flying: boolean): void {
    const wait = (this.machine.host!.k.nextDeadline() - this.#realNow()) / 1e6
    const ms = Math.min(flying ? 1 : Math.max(wait, 0), LONGEST_MS)
    this.#timer = setTimeout(() => this.#run(), Math.ceil(ms))
  }
}
