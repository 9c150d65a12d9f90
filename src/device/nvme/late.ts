// Commands that the controller itself ends later: a result that the core's records have no room for, a fault's delay. They can be
// aborted, and go with their queue.

import type { Command, Done } from './command.js'

interface Flight {
  readonly command: Command
  readonly cancel: () => void
  readonly end: () => void
}

export class Late {
  readonly #after: (ns: number, fn: () => void) => () => void
  readonly #complete: (c: Command, done: Done) => void
  readonly #flights = new Set<Flight>()

  constructor(
    after: (ns: number, fn: () => void) => () => void,
    complete: (c: Command, done: Done) => void,
  ) {
    this.#after = after
    this.#complete = complete
  }

  /** Calls `end` after so many ns, unless the command is aborted before. */
  add(command: Command, ns: number, end: () => void): void {
    const flight: Flight = {
      command,
      end,
      cancel: this.#after(Math.max(0, ns), () => {
        this.#flights.delete(flight)
        end()
      }),
    }
    this.#flights.add(flight)
  }

  /** Ends a command now, with another status; false when it is not here. */
  abort(qid: number, cid: number, status: number): boolean {
    for (const flight of this.#flights) {
      if (flight.command.qid !== qid || flight.command.cid !== cid) continue
      this.#take(flight, status)
      return true
    }
    return false
  }

  /** Ends all commands of a queue. */
  abortQueue(qid: number, status: number): void {
    for (const flight of [...this.#flights])
      if (flight.command.qid === qid) this.#take(flight, status)
  }

  /** All commands of a queue end now as they would have later. */
  finishQueue(qid: number): void {
    for (const flight of [...this.#flights]) {
      if (flight.command.qid !== qid) continue
      flight.cancel()
      this.#flights.delete(flight)
      flight.end()
    }
  }

  #take(flight: Flight, status: number): void {
    flight.cancel()
    this.#flights.delete(flight)
    this.#complete(flight.command, { status })
  }

  /** A reset: nothing of them is heard again. */
  reset(): void {
    for (const { cancel } of this.#flights) cancel()
    this.#flights.clear()
  }
}
