// Sanitize: every block of the drive is erased, in the background. The command ends at once; until the operation is over the
// drive takes no I/O and few admin commands, and its log (0x81) says how far it is. An event tells of its end.
//
// Block erase and crypto erase; overwriting is not offered. A reset does not stop it.

import { Bytes } from './bytes.js'
import { type Command, type Done, OK, refuse } from './command.js'
import type { AdminParts } from './parts.js'
import * as S from './spec.js'

const EXIT_FAILURE = 1
const BLOCK_ERASE = 2
const CRYPTO_ERASE = 4

const NEVER = 0
const DONE = 1
const RUNNING = 2
const WHOLE = 0xffff

/** Admin commands that go on while it runs. */
const ALLOWED: ReadonlySet<number> = new Set([
  S.DELETE_SQ,
  S.CREATE_SQ,
  S.DELETE_CQ,
  S.CREATE_CQ,
  S.GET_LOG_PAGE,
  S.IDENTIFY,
  S.ABORT,
  S.SET_FEATURES,
  S.GET_FEATURES,
  S.ASYNC_EVENT,
  S.KEEP_ALIVE,
  S.DOORBELL_BUFFER,
])

export class Sanitize {
  readonly #parts: AdminParts
  #status = NEVER
  #word = 0
  #began = 0

  constructor(parts: AdminParts) {
    this.#parts = parts
  }

  get running(): boolean {
    return this.#status === RUNNING && this.#parts.now() < this.#ends
  }

  get #ends(): number {
    return this.#began + this.#parts.config.sanitizeNs
  }

  refusesAdmin(c: Command): Done | undefined {
    return ALLOWED.has(c.opcode) ? undefined : refuse(S.SANITIZE_IN_PROGRESS)
  }

  start(c: Command): Done {
    const action = c.cdw(10) & 7
    if (action === EXIT_FAILURE) return OK // there is no failure to leave
    if (action !== BLOCK_ERASE && action !== CRYPTO_ERASE) return refuse(S.INVALID_FIELD)
    const { spaces, medium, config, now, later, mode, cache, extensions } = this.#parts
    if ([...spaces.list.values()].some(ns => ns.writeProtect !== 0))
      return refuse(S.NS_WRITE_PROTECTED)
    this.#status = RUNNING
    this.#word = c.cdw(10)
    this.#began = now()
    cache.flush()
    medium.zero(0, spaces.capacity)
    for (const ns of spaces.list.values()) {
      for (const extension of extensions) extension.erased?.(ns)
      ns.uncorrectable.clear()
      ns.metadata.clear()
      spaces.update(ns.nsid)
    }
    mode()
    later(config.sanitizeNs, () => this.#finish())
    return OK
  }

  #finish(): void {
    this.#status = DONE
    this.#parts.mode()
    this.#parts.events.notify(S.AER_IO_SET, S.AER_IO_SANITIZE, S.LOG_SANITIZE)
  }

  /** Sanitize Status. */
  page(): Bytes {
    const { config, now } = this.#parts
    const running = this.running
    const part = running ? (now() - this.#began) / config.sanitizeNs : 1
    const status = this.#status === RUNNING && !running ? DONE : this.#status
    const seconds = Math.ceil(config.sanitizeNs / 1e9)
    const b = new Bytes(512)
    b.u16(0, running ? Math.floor(part * 65536) : WHOLE)
    b.u16(2, status | (status === DONE ? 0x100 : 0)) // nothing was written since
    b.u32(4, this.#word)
    return b.u32(8, 0xffffffff).u32(12, seconds).u32(16, seconds)
  }
}
