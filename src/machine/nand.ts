// Flash of model `nand` in memory: how large its tables are, and what stands in them at boot (assembly/nand.ts works on them).
//
//   NA block, one ND block a die, then u64 for each channel and each row of the buffer, then u32 tables: L2P (4 KiB units of the
//   drive), P2L (4 KiB places of the flash), valid counts and free links (blocks of a die, all planes together)

import * as L from '../../assembly/layout.js'
import { alignUp } from '../core/memory.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { NandConfig } from './config.js'

/** What one entry of the map stands for, bytes. */
const UNIT = 4096

/** Rows of the write buffer for each die: one that fills while another is programmed. */
const ROWS_A_DIE = 2

/** Blocks that a die needs beyond its data: two that are being filled, two free ones, one to collect into. */
export const SPARE_BLOCKS = 5

/** Where the tables begin, relative to the NA block; the last member is the size of all. */
interface Places {
  readonly die: number
  readonly channels: number
  readonly buffer: number
  readonly l2p: number
  readonly p2l: number
  readonly valid: number
  readonly link: number
  readonly bytes: number
}

/** 4 KiB places in a row: one page of each plane. */
export function rowUnits(nand: Pick<NandConfig, 'planes' | 'pageBytes'>): number {
  return (nand.planes * nand.pageBytes) / UNIT
}

function places(nand: NandConfig, sizeBytes: number): Places {
  const dies = nand.channels * nand.dies
  const blocks = dies * nand.blocks
  const align = (at: number): number => alignUp(at, L.LINE_PAIR)
  const die = align(L.NA_SIZE)
  const channels = die + dies * L.ND_SIZE
  const buffer = align(channels + nand.channels * 8)
  const l2p = align(buffer + dies * ROWS_A_DIE * 8)
  const p2l = align(l2p + Math.ceil(sizeBytes / UNIT) * 4)
  const valid = align(p2l + blocks * nand.pages * rowUnits(nand) * 4)
  const link = align(valid + blocks * 4)
  return { die, channels, buffer, l2p, p2l, valid, link, bytes: link + blocks * 4 }
}

/** Bytes of memory that the flash takes. */
export function nandBytes(nand: NandConfig, sizeBytes: number): number {
  return places(nand, sizeBytes).bytes
}

/** Writes the flash at `na`; the memory is zero. */
export function bootNand(
  view: View,
  core: Core,
  nand: NandConfig,
  sizeBytes: number,
  na: number,
): void {
  const at = places(nand, sizeBytes)
  const dies = nand.channels * nand.dies
  const units = rowUnits(nand)
  for (const [field, value] of [
    [L.NA_DIES, dies],
    [L.NA_CHANNELS, nand.channels],
    [L.NA_ROW_SHIFT, Math.log2(units)],
    [L.NA_ROWS, nand.pages],
    [L.NA_BLOCKS, nand.blocks],
    [L.NA_L2P, na + at.l2p],
    [L.NA_P2L, na + at.p2l],
    [L.NA_DIE, na + at.die],
    [L.NA_CHAN_FREE, na + at.channels],
    [L.NA_VALID, na + at.valid],
    [L.NA_LINK, na + at.link],
    [L.NA_BUFFER, na + at.buffer],
    [L.NA_BUFFERS, dies * ROWS_A_DIE],
    [L.NA_FILL, Math.floor(Math.min(nand.fillBytes, sizeBytes) / UNIT)],
  ] as const)
    view.setU32(na + field, value)
  view.setU64(na + L.NA_READ_NS, nand.readNs)
  view.setU64(na + L.NA_PROGRAM_NS, nand.programNs)
  view.setU64(na + L.NA_ERASE_NS, nand.eraseNs)
  view.setU64(na + L.NA_XFER_NS, Math.round((nand.transferNs * UNIT) / nand.pageBytes))
  core.nand_init(na)
}
