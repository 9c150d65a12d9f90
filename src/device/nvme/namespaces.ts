// Namespaces: which there are, what they look like, and where they lie on the medium.
//
// All of them share the one data store of the boot image; a namespace is a range of it (NS_BASE), found first-fit when it is
// made. The core's blocks (NS_*) say what the core needs for plain reads and writes; NS_FLAGS sends the commands of a
// namespace to the controller when more is to be done: metadata, blocks that are marked as unreadable, write protection, a
// format that is under way. Metadata of a block stand in a table here, not in the store.

import {
  NS_BASE,
  NS_FLAGS,
  NS_LBADS,
  NS_NSZE,
  NS_SIZE,
  NS_STORE,
} from '../../../assembly/layout.js'
import type { View } from '../../core/view.js'
import type { ControllerConfig, LbaFormat, NamespaceConfig } from './config.js'
import { INVALID_FIELD, INVALID_NS, NSID_ALL } from './spec.js'

/** Namespaces begin on pages of the store, so that a page belongs to one of them. */
const ALIGN = 4096

/** What a namespace is made of, as Identify and Namespace Management say it. */
export interface Shape {
  readonly blocks: number
  readonly format: number
  readonly protection: number
  readonly protectionFirst: boolean
  readonly extended: boolean
  readonly shared: boolean
}

export class Namespace {
  readonly nsid: number
  /** Bytes from the start of the store, and how many. */
  readonly base: number
  readonly bytes: number
  shape: Shape
  attached = false
  /** 0 none, 1 until told otherwise, 2 until a power cycle, 3 for good. */
  writeProtect = 0
  formatting = false
  /** Blocks that Write Uncorrectable marked. */
  readonly uncorrectable: Set<number> = new Set()
  /** Metadata by block; a block without has zeroes. */
  readonly metadata: Map<number, Uint8Array> = new Map()

  constructor(nsid: number, base: number, bytes: number, shape: Shape) {
    this.nsid = nsid
    this.base = base
    this.bytes = bytes
    this.shape = shape
  }
}

/** Where a command's blocks are. */
export interface Extent {
  readonly ns: Namespace
  readonly slba: number
  readonly blocks: number
  /** Byte in the store, and bytes of data. */
  readonly at: number
  readonly bytes: number
}

export class Namespaces {
  readonly list: Map<number, Namespace> = new Map()
  readonly formats: readonly LbaFormat[]
  /** Namespace identifiers go up to this. */
  readonly most: number
  readonly capacity: number
  /** Data store (ST_*); 0 = nothing is kept. */
  readonly store: number
  /** I/O command set (CSI): 0 = NVM. */
  readonly commandSet: number
  readonly #view: View
  readonly #at: number

  constructor(view: View, at: number, config: ControllerConfig, commandSet = 0) {
    this.#view = view
    this.#at = at
    this.commandSet = commandSet
    this.most = config.slots
    this.formats = config.formats
    this.store = view.u32(at + NS_STORE)
    const shift = view.u32(at + NS_LBADS)
    this.capacity = view.u64(at + NS_NSZE) * 2 ** shift
    for (let nsid = 1; nsid <= this.most; nsid++) this.update(nsid)
    const format = this.formats.findIndex(f => f.dataShift === shift && f.metadataBytes === 0)
    for (const one of config.namespaces ?? [{ bytes: this.capacity, format }]) this.#boot(one)
  }

  #boot(one: NamespaceConfig): void {
    const { dataShift } = this.formats[one.format]!
    const ns = this.create({
      blocks: Math.floor(one.bytes / 2 ** dataShift),
      format: one.format,
      protection: one.protection ?? 0,
      protectionFirst: one.protectionFirst ?? false,
      extended: one.extended ?? false,
      shared: false,
    })
    if (!ns) throw new Error('a namespace of the configuration does not fit')
    ns.attached = one.attached ?? true
    this.update(ns.nsid)
  }

  /** An attached namespace, or the status for a command that names this one. */
  active(nsid: number): Namespace | number {
    if (nsid === 0 || nsid > this.most || nsid === NSID_ALL) return INVALID_NS
    const ns = this.list.get(nsid)
    return ns?.attached ? ns : INVALID_FIELD
  }

  /** Identifiers of attached (or of all) namespaces, ascending. */
  ids(all = false): number[] {
    return [...this.list.values()]
      .filter(ns => all || ns.attached)
      .map(ns => ns.nsid)
      .sort((a, b) => a - b)
  }

  /** Data bytes of a block. */
  shift(ns: Namespace): number {
    return this.formats[ns.shape.format]!.dataShift
  }

  /** Bytes that no namespace has. */
  get unallocated(): number {
    return [...this.list.values()].reduce((left, ns) => left - ns.bytes, this.capacity)
  }

  /** A new namespace, not attached; undefined when there is no identifier or no room. */
  create(shape: Shape): Namespace | undefined {
    const bytes = shape.blocks * 2 ** this.formats[shape.format]!.dataShift
    const base = this.#room(bytes)
    const nsid = this.free()
    if (base === undefined || nsid === undefined) return undefined
    const ns = new Namespace(nsid, base, Math.ceil(bytes / ALIGN) * ALIGN, shape)
    this.list.set(nsid, ns)
    this.update(nsid)
    return ns
  }

  /** The lowest identifier that is not used. */
  free(): number | undefined {
    for (let nsid = 1; nsid <= this.most; nsid++) if (!this.list.has(nsid)) return nsid
    return undefined
  }

  /** Where so many bytes are free in one piece. */
  #room(bytes: number): number | undefined {
    const taken = [...this.list.values()].sort((a, b) => a.base - b.base)
    let base = 0
    for (const ns of taken) {
      if (ns.base - base >= bytes) return base
      base = ns.base + ns.bytes
    }
    return this.capacity - base >= bytes ? base : undefined
  }

  /** Write protection until a power cycle has ended. */
  powerCycle(): void {
    for (const ns of this.list.values()) {
      if (ns.writeProtect !== 2) continue
      ns.writeProtect = 0
      this.update(ns.nsid)
    }
  }

  delete(nsid: number): void {
    this.list.delete(nsid)
    this.update(nsid)
  }

  /** Tells the core how a namespace stands. */
  update(nsid: number): void {
    const view = this.#view
    const at = this.#at + (nsid - 1) * NS_SIZE
    const ns = this.list.get(nsid)
    view.setU64(at + NS_NSZE, ns?.shape.blocks ?? 0)
    view.setU32(at + NS_STORE, this.store)
    view.setU32(at + NS_FLAGS, ns && this.#plain(ns) ? 0 : 1)
    if (!ns) return
    view.setU32(at + NS_LBADS, this.shift(ns))
    view.setU64(at + NS_BASE, ns.base)
  }

  #plain(ns: Namespace): boolean {
    if (this.commandSet !== 0 || !ns.attached || ns.formatting || ns.writeProtect !== 0)
      return false
    return ns.uncorrectable.size === 0 && this.formats[ns.shape.format]!.metadataBytes === 0
  }
}
