// The NVM command set as the controller itself executes it: everything that the core leaves to it (hosted.ts in assembly).
// Data stand in the core's store; what else a block has (metadata, a mark that it cannot be read) in the namespace's tables.
//
//   order of checks    namespace, protection against writes, transfer size, range, pointers, marks, protection information
//   metadata           behind the data of each block (extended), or in a buffer of their own (MPTR); blocks-meta.ts
//   cache              what is about to change is remembered first (cache.ts); FUA makes it durable

import {
  DEV_READS,
  DEV_READ_BLOCKS,
  DEV_WRITES,
  DEV_WRITTEN_BLOCKS,
} from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import type { View } from '../../core/view.js'
import { readU32, readU64 } from './bytes.js'
import type { WriteCache } from './cache.js'
import { type Answer, type Command, OK, refuse } from './command.js'
import type { Dma, Piece } from './dma.js'
import { BlockMetadata } from './block-metadata.js'
import type { Medium } from './medium.js'
import type { Extent, Namespace, Namespaces } from './namespaces.js'
import * as S from './spec.js'

const DEALLOCATE = 4
const RANGE_BYTES = 16
const FUA = 1 << 30

const WRITES: ReadonlySet<number> = new Set([
  N.NVME_CMD_WRITE,
  N.NVME_CMD_WRITE_UNCOR,
  N.NVME_CMD_WRITE_ZEROES,
  N.NVME_CMD_DSM,
])

export interface NvmParts {
  readonly view: View
  /** Device block (DEV_*): its counters. */
  readonly dev: number
  readonly dma: Dma
  readonly medium: Medium
  readonly spaces: Namespaces
  readonly cache: WriteCache
  readonly mdtsBytes: number
}

export class NvmCommands {
  readonly #parts: NvmParts
  readonly #metadata: BlockMetadata

  constructor(parts: NvmParts) {
    this.#parts = parts
    this.#metadata = new BlockMetadata(parts.dma, parts.medium)
  }

  /** Executes a command; undefined = its opcode is not one of this set. */
  execute(c: Command): Answer | undefined {
    const { spaces, cache } = this.#parts
    if (c.opcode === N.NVME_CMD_FLUSH && c.nsid === S.NSID_ALL) {
      cache.flush()
      return OK
    }
    const ns = spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    if (ns.formatting) return { status: S.FORMAT_IN_PROGRESS }
    if (ns.writeProtect !== 0 && WRITES.has(c.opcode)) return refuse(S.NS_WRITE_PROTECTED)
    switch (c.opcode) {
      case N.NVME_CMD_FLUSH:
        cache.flush(c.nsid)
        return OK
      case N.NVME_CMD_READ:
      case N.NVME_CMD_WRITE:
      case N.NVME_CMD_COMPARE:
        return this.#transfer(c, ns)
      case N.NVME_CMD_WRITE_ZEROES:
      case N.NVME_CMD_WRITE_UNCOR:
      case N.NVME_CMD_VERIFY:
        return this.#without(c, ns)
      case N.NVME_CMD_DSM:
        return this.#manage(c, ns)
    }
    return undefined
  }

  /** The blocks of a command, or why there are none. */
  extent(c: Command, ns: Namespace): Extent | number {
    return this.blocks(ns, c.u64(10), (c.cdw(12) & 0xffff) + 1)
  }

  blocks(ns: Namespace, slba: number, blocks: number): Extent | number {
    if (slba + blocks > ns.shape.blocks) return S.LBA_RANGE
    const size = 2 ** this.#parts.spaces.shift(ns)
    return { ns, slba, blocks, at: ns.base + slba * size, bytes: blocks * size }
  }

  // ---------------------------------------------------------------- data

  #transfer(c: Command, ns: Namespace): Answer {
    const { spaces, dma, mdtsBytes } = this.#parts
    const format = spaces.formats[ns.shape.format]!
    const bytes = ((c.cdw(12) & 0xffff) + 1) * this.#metadata.transferred(c, ns, format)
    if (mdtsBytes > 0 && bytes > mdtsBytes) return refuse(S.INVALID_FIELD)
    const extent = this.extent(c, ns)
    if (typeof extent === 'number') return refuse(extent)
    const pieces = dma.pieces(c, bytes)
    if (typeof pieces === 'number') return { status: pieces }
    if (c.opcode === N.NVME_CMD_WRITE) return this.write(c, extent, pieces)
    if (this.#marked(extent)) return { status: S.READ_ERROR }
    this.#count(DEV_READS, DEV_READ_BLOCKS, extent.bytes)
    if (format.metadataBytes > 0) {
      return c.opcode === N.NVME_CMD_READ
        ? this.#metadata.read(c, extent, format, pieces)
        : this.#metadata.compare(c, extent, format, pieces)
    }
    return c.opcode === N.NVME_CMD_READ ? this.#read(extent, pieces) : this.#compare(extent, pieces)
  }

  #count(commands: number, blocks: number, bytes: number): void {
    const { view, dev } = this.#parts
    view.setU64(dev + commands, view.u64(dev + commands) + 1)
    view.setU64(dev + blocks, view.u64(dev + blocks) + bytes / 512)
  }

  #marked({ ns, slba, blocks }: Extent): boolean {
    if (ns.uncorrectable.size === 0) return false
    for (let lba = slba; lba < slba + blocks; lba++) if (ns.uncorrectable.has(lba)) return true
    return false
  }

  #read({ at }: Extent, pieces: readonly Piece[]): Answer {
    this.#parts.medium.copyOut(at, pieces)
    return OK
  }

  #compare({ at, bytes }: Extent, pieces: readonly Piece[]): Answer {
    const medium = this.#parts.medium.read(at, bytes)
    const host = this.#parts.dma.read(pieces)
    return medium.every((byte, i) => byte === host[i]) ? OK : refuse(S.COMPARE_FAILED)
  }

  /** Writes blocks whose data (and metadata, where they are extended) are `pieces`. */
  write(c: Command, extent: Extent, pieces: readonly Piece[]): Answer {
    const { spaces, medium, cache } = this.#parts
    const { ns, slba, blocks, at } = extent
    const format = spaces.formats[ns.shape.format]!
    const prepared =
      format.metadataBytes > 0 ? this.#metadata.prepare(c, extent, format, pieces) : 0
    if (typeof prepared === 'number' && prepared !== 0) return { status: prepared }
    cache.remember(ns, slba, blocks)
    this.#unmark(extent)
    const written =
      typeof prepared === 'number'
        ? medium.copyIn(at, pieces)
        : this.#metadata.write(extent, prepared)
    if (!written) return refuse(S.CAP_EXCEEDED)
    if (c.cdw(12) & FUA) cache.commit(ns, slba, blocks)
    this.#count(DEV_WRITES, DEV_WRITTEN_BLOCKS, extent.bytes)
    return OK
  }

  /** A block that is written can be read again. */
  #unmark({ ns, slba, blocks }: Extent): void {
    if (ns.uncorrectable.size === 0) return
    for (let lba = slba; lba < slba + blocks; lba++) ns.uncorrectable.delete(lba)
    this.#parts.spaces.update(ns.nsid)
  }

  // ---------------------------------------------------------------- commands that move no data

  #without(c: Command, ns: Namespace): Answer {
    const { spaces, cache } = this.#parts
    const extent = this.extent(c, ns)
    if (typeof extent === 'number') return refuse(extent)
    const { slba, blocks } = extent
    const format = spaces.formats[ns.shape.format]!
    if (c.opcode === N.NVME_CMD_VERIFY) {
      if (this.#marked(extent)) return { status: S.READ_ERROR }
      return format.metadataBytes > 0 ? this.#metadata.verify(c, extent, format) : OK
    }
    cache.remember(ns, slba, blocks)
    if (c.opcode === N.NVME_CMD_WRITE_ZEROES) {
      this.zero(extent)
      this.#metadata.zeroed(c, extent, format)
    } else {
      for (let lba = slba; lba < slba + blocks; lba++) ns.uncorrectable.add(lba)
      spaces.update(ns.nsid)
    }
    if (c.cdw(12) & FUA) cache.commit(ns, slba, blocks)
    return OK
  }

  /** Blocks read as zeroes from now on. */
  zero(extent: Extent): void {
    const { ns, slba, blocks } = extent
    this.#unmark(extent)
    this.#parts.medium.zero(extent.at, extent.bytes)
    if (ns.metadata.size === 0) return
    for (let lba = slba; lba < slba + blocks; lba++) ns.metadata.delete(lba)
  }

  /** Dataset Management: only deallocation does something. Every range is checked before the first is touched. */
  #manage(c: Command, ns: Namespace): Answer {
    const { dma, cache } = this.#parts
    const count = (c.cdw(10) & 0xff) + 1
    const data = dma.fetch(c, count * RANGE_BYTES)
    if (typeof data === 'number') return { status: data }
    if (!(c.cdw(11) & DEALLOCATE)) return OK
    const extents: Extent[] = []
    for (let i = 0; i < count; i++) {
      const blocks = readU32(data, i * RANGE_BYTES + 4)
      if (blocks === 0) continue
      const extent = this.blocks(ns, readU64(data, i * RANGE_BYTES + 8), blocks)
      if (typeof extent === 'number') return refuse(extent)
      extents.push(extent)
    }
    for (const extent of extents) {
      cache.remember(ns, extent.slba, extent.blocks)
      this.zero(extent)
    }
    return OK
  }
}
