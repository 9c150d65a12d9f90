// The NVM command set as the controller itself executes it: everything that the core leaves to it (hosted.ts in assembly).
// Data stand in the core's store; what else a block has (metadata, a mark that it cannot be read) in the namespace's tables.
//
//   order of checks    namespace, protection against writes, transfer size, range, pointers, marks, protection information

import {
  NVME_CMD_COMPARE,
  NVME_CMD_DSM,
  NVME_CMD_FLUSH,
  NVME_CMD_READ,
  NVME_CMD_VERIFY,
  NVME_CMD_WRITE,
  NVME_CMD_WRITE_UNCOR,
  NVME_CMD_WRITE_ZEROES,
} from '../../../assembly/nvme.js'
import { type Answer, type Command, OK, refuse } from './command.js'
import { readU32, readU64 } from './bytes.js'
import type { Dma, Piece } from './dma.js'
import type { Medium } from './medium.js'
import type { Namespace, Namespaces } from './namespaces.js'
import {
  CAP_EXCEEDED,
  COMPARE_FAILED,
  FORMAT_IN_PROGRESS,
  INVALID_FIELD,
  LBA_RANGE,
  NSID_ALL,
  NS_WRITE_PROTECTED,
  READ_ERROR,
} from './spec.js'

const DEALLOCATE = 4
const RANGE_BYTES = 16

const WRITES: ReadonlySet<number> = new Set([
  NVME_CMD_WRITE,
  NVME_CMD_WRITE_UNCOR,
  NVME_CMD_WRITE_ZEROES,
  NVME_CMD_DSM,
])

/** Where a command's blocks are. */
interface Extent {
  readonly ns: Namespace
  readonly slba: number
  readonly blocks: number
  /** Byte in the store, and bytes of data. */
  readonly at: number
  readonly bytes: number
}

export class NvmCommands {
  readonly #medium: Medium
  readonly #dma: Dma
  readonly #spaces: Namespaces
  readonly #mdtsBytes: number

  constructor(medium: Medium, dma: Dma, spaces: Namespaces, mdtsBytes: number) {
    this.#medium = medium
    this.#dma = dma
    this.#spaces = spaces
    this.#mdtsBytes = mdtsBytes
  }

  execute(c: Command): Answer | undefined {
    if (c.opcode === NVME_CMD_FLUSH && c.nsid === NSID_ALL) return OK
    const ns = this.#spaces.active(c.nsid)
    if (typeof ns === 'number') return refuse(ns)
    if (ns.formatting) return { status: FORMAT_IN_PROGRESS }
    if (ns.writeProtect !== 0 && WRITES.has(c.opcode)) return refuse(NS_WRITE_PROTECTED)
    switch (c.opcode) {
      case NVME_CMD_FLUSH:
        return OK
      case NVME_CMD_READ:
      case NVME_CMD_WRITE:
      case NVME_CMD_COMPARE:
        return this.#transfer(c, ns)
      case NVME_CMD_WRITE_ZEROES:
      case NVME_CMD_WRITE_UNCOR:
      case NVME_CMD_VERIFY:
        return this.#without(c, ns)
      case NVME_CMD_DSM:
        return this.#manage(c, ns)
    }
    return undefined
  }

  /** The blocks of a command, or why there are none. */
  #extent(c: Command, ns: Namespace): Extent | number {
    const slba = c.u64(10)
    const blocks = (c.cdw(12) & 0xffff) + 1
    return this.#blocks(ns, slba, blocks)
  }

  #blocks(ns: Namespace, slba: number, blocks: number): Extent | number {
    if (slba + blocks > ns.shape.blocks) return LBA_RANGE
    const size = 2 ** this.#spaces.shift(ns)
    return { ns, slba, blocks, at: ns.base + slba * size, bytes: blocks * size }
  }

  #transfer(c: Command, ns: Namespace): Answer {
    const extent = this.#extent(c, ns)
    const bytes = ((c.cdw(12) & 0xffff) + 1) * 2 ** this.#spaces.shift(ns)
    if (this.#mdtsBytes > 0 && bytes > this.#mdtsBytes) return refuse(INVALID_FIELD)
    if (typeof extent === 'number') return refuse(extent)
    const pieces = this.#dma.pieces(c, extent.bytes)
    if (typeof pieces === 'number') return { status: pieces }
    if (c.opcode === NVME_CMD_WRITE) return this.#write(extent, pieces)
    if (this.#marked(extent)) return { status: READ_ERROR }
    return c.opcode === NVME_CMD_READ ? this.#read(extent, pieces) : this.#compare(extent, pieces)
  }

  #marked({ ns, slba, blocks }: Extent): boolean {
    if (ns.uncorrectable.size === 0) return false
    for (let lba = slba; lba < slba + blocks; lba++) if (ns.uncorrectable.has(lba)) return true
    return false
  }

  #read({ at }: Extent, pieces: readonly Piece[]): Answer {
    this.#medium.copyOut(at, pieces)
    return OK
  }

  #write(extent: Extent, pieces: readonly Piece[]): Answer {
    this.#unmark(extent)
    return this.#medium.copyIn(extent.at, pieces) ? OK : refuse(CAP_EXCEEDED)
  }

  #compare({ at, bytes }: Extent, pieces: readonly Piece[]): Answer {
    const medium = this.#medium.read(at, bytes)
    const host = this.#dma.read(pieces)
    return medium.every((byte, i) => byte === host[i]) ? OK : refuse(COMPARE_FAILED)
  }

  /** A block that is written can be read again. */
  #unmark({ ns, slba, blocks }: Extent): void {
    if (ns.uncorrectable.size === 0) return
    for (let lba = slba; lba < slba + blocks; lba++) ns.uncorrectable.delete(lba)
    this.#spaces.update(ns.nsid)
  }

  /** Commands that move no data. */
  #without(c: Command, ns: Namespace): Answer {
    const extent = this.#extent(c, ns)
    if (typeof extent === 'number') return refuse(extent)
    const { slba, blocks } = extent
    if (c.opcode === NVME_CMD_VERIFY) return this.#marked(extent) ? { status: READ_ERROR } : OK
    if (c.opcode === NVME_CMD_WRITE_ZEROES) {
      this.#zero(extent)
      return OK
    }
    for (let lba = slba; lba < slba + blocks; lba++) ns.uncorrectable.add(lba)
    this.#spaces.update(ns.nsid)
    return OK
  }

  #zero(extent: Extent): void {
    this.#unmark(extent)
    this.#medium.zero(extent.at, extent.bytes)
  }

  /** Dataset Management: only deallocation does something. Every range is checked before the first is touched. */
  #manage(c: Command, ns: Namespace): Answer {
    const count = (c.cdw(10) & 0xff) + 1
    const data = this.#dma.fetch(c, count * RANGE_BYTES)
    if (typeof data === 'number') return { status: data }
    if (!(c.cdw(11) & DEALLOCATE)) return OK
    const extents: Extent[] = []
    for (let i = 0; i < count; i++) {
      const blocks = readU32(data, i * RANGE_BYTES + 4)
      if (blocks === 0) continue
      const extent = this.#blocks(ns, readU64(data, i * RANGE_BYTES + 8), blocks)
      if (typeof extent === 'number') return refuse(extent)
      extents.push(extent)
    }
    for (const extent of extents) this.#zero(extent)
    return OK
  }
}
