// Asynchronous events: requests that the host leaves with the controller, and what has happened.
//
// A request is answered by an event that waits, or is kept until there is one. After an event of a class was reported,
// others of that class wait until the host has read its log page (without RAE). A reset drops requests and events.

import { type Answer, type Command, type Done, refuse } from './command.js'
import { ASYNC_LIMIT } from './spec.js'

interface AsyncEvent {
  readonly type: number
  readonly info: number
  readonly log: number
}

/** Events that wait at most: a host that never asks must not fill the memory. */
const MOST_WAITING = 64

export class Events {
  readonly #limit: number
  readonly #complete: (c: Command, done: Done) => void
  #requests: Command[] = []
  #waiting: AsyncEvent[] = []
  #masked = new Set<number>()

  constructor(limit: number, complete: (c: Command, done: Done) => void) {
    this.#limit = limit
    this.#complete = complete
  }

  get outstanding(): number {
    return this.#requests.length
  }

  reset(): void {
    this.#requests = []
    this.#waiting = []
    this.#masked.clear()
  }

  /** Asynchronous Event Request. */
  request(c: Command): Answer {
    if (this.#requests.length >= this.#limit) return refuse(ASYNC_LIMIT)
    this.#requests.push(c)
    this.#report()
    return 'pending'
  }

  /** Takes a request back (Abort): true if it was there. */
  cancel(cid: number): Command | undefined {
    const at = this.#requests.findIndex(c => c.cid === cid)
    return at < 0 ? undefined : this.#requests.splice(at, 1)[0]
  }

  /** Something happened. One that waits already is not told twice. */
  notify(type: number, info: number, log: number): void {
    const known = this.#waiting.some(e => e.type === type && e.info === info && e.log === log)
    if (known || this.#waiting.length >= MOST_WAITING) return
    this.#waiting.push({ type, info, log })
    this.#report()
  }

  /** The log page of a class was read. */
  clear(type: number): void {
    this.#masked.delete(type)
    this.#report()
  }

  #report(): void {
    while (this.#requests.length > 0) {
      const at = this.#waiting.findIndex(e => !this.#masked.has(e.type))
      if (at < 0) return
      const [event] = this.#waiting.splice(at, 1)
      this.#masked.add(event!.type)
      const { type, info, log } = event!
      this.#complete(this.#requests.shift()!, { status: 0, dw0: type | (info << 8) | (log << 16) })
    }
  }
}
