// What the features do: the effects of Set Features on queues, cache, events and interrupts, and the answers of Get Features that
// are not what was set. Values are kept by features.ts.

import { Bytes, readU16, readU32, readU64 } from './bytes.js'
import { type Answer, type Command, type Done, OK, refuse } from './command.js'
import { Features } from './features.js'
import type { AdminParts } from './parts.js'
import type { Coalescing } from './queues.js'
import * as S from './spec.js'

const COALESCING_NS = 100_000
/** The threshold of the composite temperature below, among the values of its feature. */
const UNDER = 0x10
/** The temperature, kelvin: 35 C. */
export const TEMPERATURE_K = 308
/** Bit of the Asynchronous Event Configuration. */
const WANTS_TEMPERATURE = 2
const HMB_ENABLE = 1
const HMB_DESCRIPTOR = 16

/** The host memory buffer as it was given. */
interface HostMemory {
  readonly pages: number
  readonly list: number
  readonly entries: number
}

export class ControllerFeatures {
  readonly #parts: AdminParts
  readonly #features: Features
  #hostMemory: HostMemory | undefined
  /** Timestamp: ms that were set, and when (ns); by a host or by the reset before. */
  #timestamp = { ms: 0, at: 0, host: false }
  #keepAliveRound = 0

  constructor(parts: AdminParts) {
    this.#parts = parts
    this.#features = new Features(
      {
        namespace: nsid => {
          const ns = parts.spaces.active(nsid)
          return typeof ns === 'number' ? ns : 0
        },
        active: () => parts.spaces.ids(),
        supported: fid => this.#supported(fid),
        set: (fid, c, data) => this.#apply(fid, c, data),
        get: (fid, c) => this.#present(fid, c),
      },
      parts.dma,
    )
  }

  reset(): void {
    this.#features.reset()
    if (this.#parts.config.writeCache) this.#setCache(this.cacheEnabled)
    for (const { features } of this.#parts.extensions)
      for (const fid of features ?? []) this.#tell(fid)
    this.#hostMemory = undefined
    this.#keepAliveRound++
  }

  set(c: Command): Answer {
    const answer = this.#features.set(c)
    if (answer !== 'pending' && answer.status === 0) this.#after(c.cdw(10) & 0xff)
    return answer
  }

  get(c: Command): Answer {
    return this.#features.get(c)
  }

  // ---------------------------------------------------------------- values that others look at

  /** Which asynchronous events the host wants. */
  get asyncEvents(): number {
    return this.#features.dword(S.FEAT_ASYNC_EVENT)
  }

  /** Whether the composite temperature, kelvin, has reached its threshold above or below. */
  tooHotOrCold(kelvin: number): boolean {
    const over = this.#features.dword(S.FEAT_TEMP_THRESH) & 0xffff
    const under = this.#features.dword(S.FEAT_TEMP_THRESH, UNDER) & 0xffff
    return kelvin >= over || kelvin <= under
  }

  /** Volatile Write Cache Enable. */
  get cacheEnabled(): boolean {
    return (this.#features.dword(S.FEAT_VOLATILE_WC) & 1) !== 0
  }

  /** Arbitration: burst (2^AB commands, none = no limit) and commands of each class in one round. */
  get arbitration(): { burst: number; high: number; medium: number; low: number } {
    const word = this.#features.dword(S.FEAT_ARBITRATION)
    const ab = word & 7
    return {
      burst: ab === 7 ? 0 : 2 ** ab,
      low: ((word >>> 8) & 0xff) + 1,
      medium: ((word >>> 16) & 0xff) + 1,
      high: (word >>> 24) + 1,
    }
  }

  /** When a vector's interrupts are held back. */
  coalescing(vector: number): Coalescing {
    const word = this.#features.dword(S.FEAT_IRQ_COALESCE)
    const own = this.#features.dword(S.FEAT_IRQ_CONFIG, vector)
    const entries = (word & 0xff) + 1
    const time = (word >>> 8) & 0xff
    const off = entries === 1 || time === 0 || (own & 0x10000) !== 0
    return off ? { entries: 1, ns: 0 } : { entries, ns: time * COALESCING_NS }
  }

  // ---------------------------------------------------------------- features with effects

  /** Whether an extension looks at a feature. */
  #concerns(fid: number): boolean {
    return this.#parts.extensions.some(({ features }) => features?.has(fid))
  }

  /** Extensions have one namespace, if a feature is one of namespaces. */
  #tell(fid: number): void {
    for (const extension of this.#parts.extensions)
      if (extension.features?.has(fid)) extension.feature?.(fid, this.#features.dword(fid, 1))
  }

  #supported(fid: number): boolean {
    const { config } = this.#parts
    if (fid === S.FEAT_VOLATILE_WC) return config.writeCache
    if (fid === S.FEAT_KATO) return config.keepAlive > 0
    if (fid === S.FEAT_HOST_MEM_BUF) return config.hostMemory.preferred > 0
    if (fid === S.FEAT_MEDIA_FEEDBACK) return this.#concerns(fid)
    return true
  }

  /** Checks a new value and does what it means; undefined = it is simply kept. */
  #apply(fid: number, c: Command, data: Uint8Array): Done | undefined {
    const value = c.cdw(11)
    switch (fid) {
      case S.FEAT_POWER_MGMT:
        return (value & 0x1f) === 0 ? undefined : refuse(S.INVALID_FIELD)
      case S.FEAT_ERR_RECOVERY:
        return value & 0x10000 && !this.#concerns(fid) ? refuse(S.INVALID_FIELD) : undefined
      case S.FEAT_MEDIA_FEEDBACK:
        return (value & ~3) === 0 ? undefined : refuse(S.INVALID_FIELD)
      case S.FEAT_TEMP_THRESH:
        return this.#checkThreshold(value)
      case S.FEAT_VOLATILE_WC:
        this.#setCache((value & 1) !== 0)
        return undefined
      case S.FEAT_NUM_QUEUES:
        return this.#numberOfQueues(value)
      case S.FEAT_IRQ_CONFIG:
        return (value & 0xffff) < this.#parts.config.vectors ? undefined : refuse(S.INVALID_FIELD)
      case S.FEAT_HOST_MEM_BUF:
        return this.#setHostMemory(c)
      case S.FEAT_TIMESTAMP:
        this.#timestamp = {
          ms: readU32(data, 0) + readU16(data, 4) * 2 ** 32,
          at: this.#parts.now(),
          host: true,
        }
        return undefined
      case S.FEAT_HOST_ID:
        return this.#features.data(fid).some(x => x !== 0) ? refuse(S.CMD_SEQ_ERROR) : undefined
      case S.FEAT_WRITE_PROTECT:
        return this.#writeProtect(c)
    }
    return undefined
  }

  /** A cache that is switched off is written first. */
  #setCache(on: boolean): void {
    const { cache, config } = this.#parts
    cache.flush()
    cache.enabled = on && config.trackCache
  }

  /** Only the composite temperature has a threshold; over or under. */
  #checkThreshold(value: number): Done | undefined {
    const sensor = (value >>> 16) & 0xf
    const under = (value >>> 20) & 3
    return (sensor !== 0 && sensor !== 0xf) || under > 1 ? refuse(S.INVALID_FIELD) : undefined
  }

  #numberOfQueues(value: number): Done {
    const { config, queues } = this.#parts
    if ((value & 0xffff) === 0xffff || value >>> 16 === 0xffff) return refuse(S.INVALID_FIELD)
    if (queues.any) return refuse(S.CMD_SEQ_ERROR)
    const completion = config.ioCompletionQueues ?? config.ioQueues
    return { status: 0, dw0: ((config.ioQueues - 1) | ((completion - 1) << 16)) >>> 0 }
  }

  #setHostMemory(c: Command): Done | undefined {
    const enable = (c.cdw(11) & HMB_ENABLE) !== 0
    if (!enable) {
      this.#hostMemory = undefined
      return undefined
    }
    if (this.#hostMemory) return refuse(S.CMD_SEQ_ERROR)
    const { dma, config } = this.#parts
    const list = c.u64(13)
    const entries = c.cdw(15)
    const pages = c.cdw(12)
    if (entries === 0 || list % 16 !== 0 || pages < config.hostMemory.minimum)
      return refuse(S.INVALID_FIELD)
    if (!dma.reaches(list, entries * HMB_DESCRIPTOR)) return refuse(S.DATA_XFER_ERROR)
    const bytes = dma.read([{ at: list, bytes: entries * HMB_DESCRIPTOR }])
    for (let i = 0; i < entries; i++)
      if (readU64(bytes, i * HMB_DESCRIPTOR) % dma.page !== 0) return refuse(S.INVALID_FIELD)
    this.#hostMemory = { pages, list, entries }
    return undefined
  }

  #writeProtect(c: Command): Done | undefined {
    const state = c.cdw(11) & 7
    if (state > 3) return refuse(S.INVALID_FIELD)
    const { spaces } = this.#parts
    const ids = c.nsid === S.NSID_ALL ? spaces.ids() : [c.nsid]
    const all = ids.map(nsid => spaces.list.get(nsid)!)
    if (all.some(ns => ns.writeProtect === 3 && state !== 3))
      return refuse(S.FEATURE_NOT_CHANGEABLE)
    for (const ns of all) {
      ns.writeProtect = state
      spaces.update(ns.nsid)
    }
    return undefined
  }

  /** What a feature's new value changes elsewhere. */
  #after(fid: number): void {
    const { queues } = this.#parts
    if (fid === S.FEAT_IRQ_COALESCE || fid === S.FEAT_IRQ_CONFIG)
      for (const [qid, { vector }] of queues.cqs) queues.coalesce(qid, this.coalescing(vector))
    if (fid === S.FEAT_KATO) this.#armKeepAlive()
    if (fid === S.FEAT_TEMP_THRESH || fid === S.FEAT_ASYNC_EVENT) this.#warn()
    if (fid === S.FEAT_ARBITRATION) this.#parts.arbitrate()
    this.#tell(fid)
  }

  /** A threshold that the temperature has reached already is told at once. */
  #warn(): void {
    if (!(this.asyncEvents & WANTS_TEMPERATURE) || !this.tooHotOrCold(TEMPERATURE_K)) return
    this.#parts.events.notify(S.AER_SMART, S.AER_SMART_TEMPERATURE, S.LOG_SMART)
  }

  // ---------------------------------------------------------------- present values

  #present(fid: number, c: Command): Done | Uint8Array | undefined {
    const { config, now, spaces } = this.#parts
    switch (fid) {
      case S.FEAT_NUM_QUEUES: {
        const completion = config.ioCompletionQueues ?? config.ioQueues
        return { status: 0, dw0: ((config.ioQueues - 1) | ((completion - 1) << 16)) >>> 0 }
      }
      case S.FEAT_IRQ_CONFIG: {
        const vector = c.cdw(11) & 0xffff
        if (vector >= config.vectors) return refuse(S.INVALID_FIELD)
        const word = this.#features.dword(fid, vector) & 0x10000
        return { status: 0, dw0: word | vector }
      }
      case S.FEAT_TIMESTAMP: {
        const { ms, at, host } = this.#timestamp
        const value = Math.floor(ms + (now() - at) / 1e6) % 2 ** 48
        return new Bytes(8).u64(0, value).u8(6, host ? 2 : 0).data
      }
      case S.FEAT_HOST_MEM_BUF:
        return this.#hostMemoryAttributes()
      case S.FEAT_WRITE_PROTECT: // a reset does not end it
        return { status: 0, dw0: spaces.list.get(c.nsid)?.writeProtect ?? 0 }
    }
    return undefined
  }

  #hostMemoryAttributes(): Uint8Array {
    const b = new Bytes(4096)
    const given = this.#hostMemory
    if (given) b.u32(0, given.pages).u64(4, given.list).u32(12, given.entries)
    return b.data
  }

  // ---------------------------------------------------------------- keep alive

  /** Keep Alive. */
  keepAlive(): Done {
    this.#armKeepAlive()
    return OK
  }

  /** Nothing heard for so long: the controller gives up. */
  #armKeepAlive(): void {
    const round = ++this.#keepAliveRound
    const ms = this.#features.dword(S.FEAT_KATO)
    if (ms === 0) return
    this.#parts.later(ms * 1e6, () => {
      if (round === this.#keepAliveRound) this.#parts.fatal()
    })
  }
}
