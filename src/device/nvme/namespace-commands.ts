// Namespace Management, Namespace Attachment, Format NVM.
//
//   create   the lowest free identifier, in the result; room is taken at once, and the namespace is attached to nobody
//   delete   one or all; what was in it is gone
//   attach   to this controller, the only one of its subsystem; the host is told of every change (AER, changed list)
//   format   all blocks read as zeroes afterwards; while it lasts I/O to the namespace is answered with Format In Progress

import { readU16, readU64 } from './bytes.js'
import { type Answer, type Command, OK, refuse } from './command.js'
import type { Namespace, Shape } from './namespaces.js'
import type { AdminParts } from './parts.js'
import * as S from './spec.js'

const CREATE_BYTES = 4096
const LIST_BYTES = 4096
/** Bit of the Asynchronous Event Configuration. */
const WANTS_NS_EVENTS = 0x100
const PI_BYTES = 8

export class NamespaceCommands {
  /** Identifiers whose namespaces changed since the log was read. */
  readonly changed: Set<number> = new Set()
  readonly #parts: AdminParts
  readonly #asyncEvents: () => number

  constructor(parts: AdminParts, asyncEvents: () => number) {
    this.#parts = parts
    this.#asyncEvents = asyncEvents
  }

  /** A format that a reset interrupts is finished: the data are gone in any case. */
  reset(): void {
    this.changed.clear()
    for (const ns of this.#parts.spaces.list.values()) {
      if (!ns.formatting) continue
      ns.formatting = false
      this.#parts.spaces.update(ns.nsid)
    }
  }

  #tell(nsid: number): void {
    this.changed.add(nsid)
    if (!(this.#asyncEvents() & WANTS_NS_EVENTS)) return
    this.#parts.events.notify(S.AER_NOTICE, S.AER_NOTICE_NS_CHANGED, S.LOG_CHANGED_NS)
  }

  // ---------------------------------------------------------------- management

  manage(c: Command): Answer {
    const select = c.cdw(10) & 0xf
    if (select === 0) return this.#create(c)
    return select === 1 ? this.#delete(c) : refuse(S.INVALID_FIELD)
  }

  #create(c: Command): Answer {
    const { dma, spaces } = this.#parts
    const data = dma.fetch(c, CREATE_BYTES)
    if (typeof data === 'number') return { status: data }
    const blocks = readU64(data, 0)
    const format = data[26]! & 0xf
    const dps = data[29]!
    const shape: Shape = {
      blocks,
      format,
      protection: dps & 7,
      protectionFirst: (dps & 8) !== 0,
      extended: (data[26]! & 0x10) !== 0,
      shared: (data[30]! & 1) !== 0,
    }
    if (!this.#fits(shape)) return refuse(S.INVALID_FORMAT)
    if (readU64(data, 8) !== blocks) return refuse(S.THIN_PROV_NOT_SUPPORTED)
    if (blocks === 0) return refuse(S.INVALID_FIELD)
    if (spaces.free() === undefined) return refuse(S.NS_ID_UNAVAILABLE)
    const ns = spaces.create(shape)
    if (!ns) return refuse(S.NS_INSUFFICIENT_CAPACITY)
    return { status: 0, dw0: ns.nsid }
  }

  /** A format there is, and protection only where metadata have room for it. */
  #fits(shape: Shape): boolean {
    const format = this.#parts.spaces.formats[shape.format]
    if (!format || shape.protection > 3) return false
    return shape.protection === 0 || format.metadataBytes >= PI_BYTES
  }

  #delete(c: Command): Answer {
    const { spaces } = this.#parts
    if (c.nsid === 0 || (c.nsid > spaces.most && c.nsid !== S.NSID_ALL)) return refuse(S.INVALID_NS)
    const ids = c.nsid === S.NSID_ALL ? spaces.ids(true) : [c.nsid]
    if (ids.some(nsid => !spaces.list.has(nsid))) return refuse(S.INVALID_FIELD)
    for (const nsid of ids) {
      const ns = spaces.list.get(nsid)!
      this.#erase(ns)
      spaces.delete(nsid)
      if (ns.attached) this.#tell(nsid)
    }
    return OK
  }

  #erase(ns: Namespace): void {
    for (const extension of this.#parts.extensions) extension.erased?.(ns)
    this.#parts.cache.flush(ns.nsid) // what was there before must not come back
    this.#parts.medium.zero(ns.base, ns.bytes)
    ns.uncorrectable.clear()
    ns.metadata.clear()
  }

  // ---------------------------------------------------------------- attachment

  attach(c: Command): Answer {
    const { config, dma, spaces } = this.#parts
    const select = c.cdw(10) & 0xf
    if (select > 1) return refuse(S.INVALID_FIELD)
    if (c.nsid === 0 || c.nsid > spaces.most) return refuse(S.INVALID_NS)
    const ns = spaces.list.get(c.nsid)
    if (!ns) return refuse(S.INVALID_FIELD)
    const data = dma.fetch(c, LIST_BYTES)
    if (typeof data === 'number') return { status: data }
    const count = readU16(data, 0)
    const ids = Array.from({ length: Math.min(count, 2047) }, (_, i) => readU16(data, 2 + 2 * i))
    if (count !== 1 || ids[0] !== config.controllerId) return refuse(S.CTRL_LIST_INVALID)
    if (select === 0 && ns.attached) return refuse(S.NS_ALREADY_ATTACHED)
    if (select === 1 && !ns.attached) return refuse(S.NS_NOT_ATTACHED)
    ns.attached = select === 0
    spaces.update(c.nsid)
    this.#tell(c.nsid)
    return OK
  }

  // ---------------------------------------------------------------- format

  format(c: Command): Answer {
    const { config, later, spaces, complete } = this.#parts
    if (c.nsid === 0 || (c.nsid > spaces.most && c.nsid !== S.NSID_ALL)) return refuse(S.INVALID_NS)
    const all = c.nsid === S.NSID_ALL
    const list = all ? spaces.ids().map(nsid => spaces.list.get(nsid)!) : [spaces.list.get(c.nsid)]
    const word = c.cdw(10)
    if (((word >>> 9) & 7) > 2) return refuse(S.INVALID_FIELD)
    for (const ns of list) {
      if (!ns?.attached) return refuse(S.INVALID_FIELD)
      if (ns.writeProtect !== 0) return refuse(S.NS_WRITE_PROTECTED)
      if (ns.formatting) return refuse(S.FORMAT_IN_PROGRESS)
      if (!this.#fits(this.#shape(ns, word))) return refuse(S.INVALID_FORMAT)
    }
    for (const ns of list) this.#begin(ns!, word)
    later(config.formatNs, () => {
      for (const ns of list) this.#finish(ns!)
      complete(c, OK)
    })
    return 'pending'
  }

  /** What a namespace becomes: as many blocks as its room holds. */
  #shape(ns: Namespace, word: number): Shape {
    const { spaces } = this.#parts
    const format = word & 0xf
    const shift = spaces.formats[format]?.dataShift ?? 12
    return {
      ...ns.shape,
      blocks: Math.floor((ns.shape.blocks * 2 ** spaces.shift(ns)) / 2 ** shift),
      format,
      extended: (word & 0x10) !== 0,
      protection: (word >>> 5) & 7,
      protectionFirst: (word & 0x100) !== 0,
    }
  }

  #begin(ns: Namespace, word: number): void {
    this.#erase(ns)
    ns.shape = this.#shape(ns, word)
    ns.formatting = true
    this.#parts.spaces.update(ns.nsid)
  }

  #finish(ns: Namespace): void {
    ns.formatting = false
    this.#parts.spaces.update(ns.nsid)
    this.#tell(ns.nsid)
  }
}
