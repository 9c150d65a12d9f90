// Features: what each one is by default, now, and after the next reset.
//
//   select     0 current, 1 default, 2 saved, 3 what can be done with it
//   set        changes the current value; with SV the saved one as well
//   reset      current values become the saved ones again, or the defaults
//
// A feature of the namespaces has a value for each; one of a vector or a sensor has a value for each of those. What a
// feature does is the controller's (FeatureActions); this file keeps values and answers.

import { type Answer, type Command, type Done, OK, refuse } from './command.js'
import type { Dma } from './dma.js'
import {
  FEATURE_NOT_CHANGEABLE,
  FEATURE_NOT_PER_NS,
  FEATURE_NOT_SAVEABLE,
  FEAT_ARBITRATION,
  FEAT_ASYNC_EVENT,
  FEAT_AUTO_PST,
  FEAT_ERR_RECOVERY,
  FEAT_HOST_BEHAVIOR,
  FEAT_HOST_ID,
  FEAT_HOST_MEM_BUF,
  FEAT_IRQ_COALESCE,
  FEAT_IRQ_CONFIG,
  FEAT_KATO,
  FEAT_LBA_RANGE,
  FEAT_MEDIA_FEEDBACK,
  FEAT_NUM_QUEUES,
  FEAT_POWER_MGMT,
  FEAT_SW_PROGRESS,
  FEAT_TEMP_THRESH,
  FEAT_TIMESTAMP,
  FEAT_VOLATILE_WC,
  FEAT_WRITE_ATOMIC,
  FEAT_WRITE_PROTECT,
  INVALID_FIELD,
  INVALID_NS,
  NSID_ALL,
} from './spec.js'

const SAVEABLE = 1
const PER_NAMESPACE = 2
const CHANGEABLE = 4

interface Feature {
  readonly can: number
  readonly value: number
  /** Bytes of its data structure, 0 = it is a dword. */
  readonly bytes?: number
}

/** Warning at 70 C, as a drive would have it: kelvin. */
const TEMPERATURE = 343

const FEATURES: ReadonlyMap<number, Feature> = new Map([
  [FEAT_ARBITRATION, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_POWER_MGMT, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_LBA_RANGE, { can: PER_NAMESPACE | CHANGEABLE, value: 0, bytes: 4096 }],
  [FEAT_TEMP_THRESH, { can: SAVEABLE | CHANGEABLE, value: TEMPERATURE }],
  [FEAT_ERR_RECOVERY, { can: SAVEABLE | PER_NAMESPACE | CHANGEABLE, value: 0 }],
  [FEAT_VOLATILE_WC, { can: SAVEABLE | CHANGEABLE, value: 1 }],
  [FEAT_NUM_QUEUES, { can: CHANGEABLE, value: 0 }],
  [FEAT_IRQ_COALESCE, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_IRQ_CONFIG, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_WRITE_ATOMIC, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_ASYNC_EVENT, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_AUTO_PST, { can: SAVEABLE | CHANGEABLE, value: 0, bytes: 256 }],
  [FEAT_HOST_MEM_BUF, { can: CHANGEABLE, value: 0 }],
  [FEAT_TIMESTAMP, { can: CHANGEABLE, value: 0, bytes: 8 }],
  [FEAT_KATO, { can: CHANGEABLE, value: 0 }],
  [FEAT_HOST_BEHAVIOR, { can: CHANGEABLE, value: 0, bytes: 512 }],
  [FEAT_SW_PROGRESS, { can: SAVEABLE | CHANGEABLE, value: 0 }],
  [FEAT_HOST_ID, { can: CHANGEABLE, value: 0, bytes: 16 }],
  [FEAT_MEDIA_FEEDBACK, { can: SAVEABLE | PER_NAMESPACE | CHANGEABLE, value: 1 }],
  [FEAT_WRITE_PROTECT, { can: PER_NAMESPACE | CHANGEABLE, value: 0 }],
])

/** What the controller knows about namespaces, does with new values, and answers in place of a kept one. */
export interface FeatureActions {
  /** 0 = an active namespace, else a status. */
  namespace(nsid: number): number
  /** Active namespaces. */
  active(): Iterable<number>
  supported(fid: number): boolean
  /** Before the value is kept: an error, a result of its own, or undefined. */
  set(fid: number, c: Command, data: Uint8Array): Done | undefined
  /** The present value where it is not what was set. */
  get(fid: number, c: Command): Done | Uint8Array | undefined
}

interface Value {
  readonly dword: number
  readonly data: Uint8Array
}

/** TMPSEL of all ones: all sensors there are, which is the composite one. */
function ofAllSensors(word: number): boolean {
  return ((word >>> 16) & 0xf) === 0xf
}

/** What a value belongs to, beside its feature: namespace, vector, sensor. */
function subject(fid: number, c: Command): number {
  const word = c.cdw(11)
  if (fid === FEAT_IRQ_CONFIG) return word & 0xffff
  if (fid === FEAT_TEMP_THRESH) return (word >>> 16) & (ofAllSensors(word) ? 0x30 : 0x3f)
  return (FEATURES.get(fid)!.can & PER_NAMESPACE) !== 0 ? c.nsid : 0
}

export class Features {
  readonly #actions: FeatureActions
  readonly #dma: Dma
  #current = new Map<string, Value>()
  readonly #saved = new Map<string, Value>()

  constructor(actions: FeatureActions, dma: Dma) {
    this.#actions = actions
    this.#dma = dma
  }

  /** A controller reset: what was not saved is forgotten. */
  reset(): void {
    this.#current = new Map(this.#saved)
  }

  /** The current dword of a feature. */
  dword(fid: number, of = 0): number {
    return this.#value(this.#current, fid, of).dword
  }

  /** Its data structure. */
  data(fid: number, of = 0): Uint8Array {
    return this.#value(this.#current, fid, of).data
  }

  #value(values: ReadonlyMap<string, Value>, fid: number, of: number): Value {
    return values.get(`${fid}/${of}`) ?? this.#default(fid, of)
  }

  /** The composite temperature alone has a threshold at first, and only one above. */
  #default(fid: number, of: number): Value {
    const { value, bytes = 0 } = FEATURES.get(fid)!
    const none = fid === FEAT_TEMP_THRESH && of !== 0
    return { dword: none ? 0 : value, data: new Uint8Array(bytes) }
  }

  /** Which namespaces a command is about, or why it is wrong. */
  #scope(fid: number, c: Command, all: boolean): number | Iterable<number> {
    const { can } = FEATURES.get(fid)!
    if (!(can & PER_NAMESPACE)) {
      if (c.nsid === 0 || c.nsid === NSID_ALL) return [subject(fid, c)]
      return this.#actions.namespace(c.nsid) === INVALID_NS ? INVALID_NS : FEATURE_NOT_PER_NS
    }
    if (c.nsid === NSID_ALL) return all ? this.#actions.active() : INVALID_NS
    return this.#actions.namespace(c.nsid) || [c.nsid]
  }

  #supported(fid: number): Feature | undefined {
    return this.#actions.supported(fid) ? FEATURES.get(fid) : undefined
  }

  /** Get Features. */
  get(c: Command): Answer {
    const fid = c.cdw(10) & 0xff
    const select = (c.cdw(10) >>> 8) & 7
    const feature = this.#supported(fid)
    if (!feature || select > 3) return refuse(INVALID_FIELD)
    if (select === 3) return { status: 0, dw0: feature.can }
    if (feature.can & PER_NAMESPACE) {
      const wrong = this.#scope(fid, c, false)
      if (typeof wrong === 'number') return refuse(wrong)
    }
    const of = subject(fid, c)
    const present = this.#actions.get(fid, c)
    if (present && !(present instanceof Uint8Array)) {
      // how many queues there are is nothing that could be set
      if (select === 0 || present.status !== 0 || fid === FEAT_NUM_QUEUES) return present
    }
    const now = select === 0 && present instanceof Uint8Array ? present : undefined
    const values = select === 2 ? this.#saved : select === 0 ? this.#current : new Map()
    const { dword, data } = this.#value(values, fid, of)
    const out = now ?? data
    if (out.length > 0) {
      const status = this.#dma.deliver(c, fid === FEAT_HOST_ID ? this.#hostId(c, out) : out)
      if (status) return { status }
    }
    return { status: 0, dw0: fid === FEAT_IRQ_CONFIG ? (dword & 0x10000) | of : dword }
  }

  /** 8 bytes unless the host asks for 16. */
  #hostId(c: Command, id: Uint8Array): Uint8Array {
    return c.cdw(11) & 1 ? id : id.subarray(0, 8)
  }

  /** Set Features. */
  set(c: Command): Answer {
    const fid = c.cdw(10) & 0xff
    const save = c.cdw(10) >>> 31 !== 0
    const feature = this.#supported(fid)
    if (!feature) return refuse(INVALID_FIELD)
    if (save && !(feature.can & SAVEABLE)) return refuse(FEATURE_NOT_SAVEABLE)
    const scope = this.#scope(fid, c, true)
    if (typeof scope === 'number') return refuse(scope)
    if (!(feature.can & CHANGEABLE)) return refuse(FEATURE_NOT_CHANGEABLE)
    const data = this.#fetch(fid, c, feature.bytes ?? 0)
    if (typeof data === 'number') return { status: data }
    const done = this.#actions.set(fid, c, data)
    if (done && done.status !== 0) return done
    for (const of of scope) {
      const value = { dword: c.cdw(11), data }
      this.#current.set(`${fid}/${of}`, value)
      if (save) this.#saved.set(`${fid}/${of}`, value)
    }
    return done ?? OK
  }

  #fetch(fid: number, c: Command, bytes: number): Uint8Array | number {
    if (bytes === 0) return new Uint8Array(0)
    if (fid === FEAT_LBA_RANGE) {
      const whole = new Uint8Array(bytes)
      const got = this.#dma.fetch(c, ((c.cdw(11) & 0x3f) + 1) * 64)
      if (typeof got === 'number') return got
      whole.set(got)
      return whole
    }
    if (fid !== FEAT_HOST_ID) return this.#dma.fetch(c, bytes)
    const id = new Uint8Array(bytes)
    const got = this.#dma.fetch(c, c.cdw(11) & 1 ? 16 : 8)
    if (typeof got === 'number') return got
    id.set(got)
    return id
  }
}
