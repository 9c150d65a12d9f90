// Flash behind an ordinary NVMe drive: channels, dies, and a page-mapped translation layer that collects garbage. It decides
// when a command is done and moves no data: those stand in the drive's store.
//
//   L2P      for each 4 KiB of the drive the place in flash that holds it (+ 1), 0 = none
//   P2L      for each place the 4 KiB that was written there last
//   row      what one program writes in a die: the same page of all its planes
//   block    rows that are erased together (of all planes)
//
//   read     die senses the row (tR), then its channel carries 4 KiB at a time; places that are in one row share the sensing
//   write    goes to the buffer, and is done as soon as that has room; rows fill one after the other, dies in turn, and a
//            full one is carried to its die and programmed (tPROG); then its buffer is free again
//   collect  a die with few free blocks moves, for each row it gets from the host, as many rows of the block with the least
//            valid data as it takes to win a row; copies stay in the die and cost sensing and programming, the erase comes
//            at the end. So write speed falls when the free blocks are used up
//   trim     forgets places: they are won for nothing
//
// Left out: wear, bad blocks, read disturb, upper and lower pages of different speed, the map's own flash, reads that are
// answered from the buffer. The buffer survives a loss of power, as with capacitors; a Flush waits for its programs.

import {
  DEV_NAND, DEV_NS, NA_ACCEPT, NA_BLOCKS, NA_BUFFER, NA_BUFFERS, NA_CHANNELS, NA_CHAN_FREE, NA_DIE, NA_DIES, NA_ERASES,
  NA_ERASE_NS, NA_FILL, NA_GC_SLOTS, NA_HOST_SLOTS, NA_L2P, NA_LAST, NA_LINK, NA_NEXT_BUFFER, NA_P2L, NA_PROGRAM_NS,
  NA_READ_NS, NA_ROWS, NA_ROW_SHIFT, NA_SEEN, NA_TURN, NA_VALID, NA_XFER_NS, ND_CHANNEL, ND_CURSOR, ND_FREE, ND_FREE_HEAD, ND_FREE_NS, ND_GC_BLOCK,
  ND_GC_SLOT, ND_INDEX, ND_SIZE, ND_SLOT, ND_VICTIM, ND_BLOCK, NS_BASE, NS_LBADS, NS_NSZE, NS_SIZE, PAGE_SHIFT, PAGE_SIZE,
} from './layout'
import {
  DSM_RANGE_BYTES, NVME_CMD_DSM, NVME_CMD_FLUSH, NVME_CMD_WRITE, NVME_CMD_WRITE_ZEROES, NVME_DSMGMT_AD, SQE_CDW0, SQE_CDW10,
  SQE_BYTES, SQE_CDW12, SQE_NSID, SQE_PRP1, SQE_PRP2,
} from './nvme'
import { BUG_FLASH, BUG_ON } from './bug'

/** What the drive's firmware and its link add to every command, ns. */
export const OVERHEAD_NS: u64 = 2000

/** A die with so few free blocks collects; with one it must, before it takes another. */
const FEW: u32 = 3

/** In a valid count: the block is free or being filled, and no victim. */
const BUSY: u32 = 0x80000000

const NO_ROW: u32 = 0xffffffff

function bump(counter: u32, n: u64): void {
  store<u64>(counter, load<u64>(counter) + n)
}

/** log2 of the places in a block is not a whole number: how many there are. */
// @ts-ignore: decorator
@inline
function per_block(na: u32): u32 {
  return load<u32>(na, NA_ROWS) << load<u32>(na, NA_ROW_SHIFT)
}

// @ts-ignore: decorator
@inline
function die_at(na: u32, index: u32): u32 {
  return load<u32>(na, NA_DIE) + index * ND_SIZE
}

// ---------------------------------------------------------------- blocks

function valid_of(na: u32, block: u32): u32 {
  return load<u32>(na, NA_VALID) + (block << 2)
}

/** A free block, which is being filled from now on. */
function take_block(na: u32, die: u32): u32 {
  const head = load<u32>(die, ND_FREE_HEAD)
  BUG_ON(!head, BUG_FLASH)
  store<u32>(die, load<u32>(load<u32>(na, NA_LINK) + ((head - 1) << 2)), ND_FREE_HEAD)
  store<u32>(die, load<u32>(die, ND_FREE) - 1, ND_FREE)
  return head - 1
}

function give_block(na: u32, die: u32, block: u32): void {
  store<u32>(load<u32>(na, NA_LINK) + (block << 2), load<u32>(die, ND_FREE_HEAD))
  store<u32>(die, block + 1, ND_FREE_HEAD)
  store<u32>(die, load<u32>(die, ND_FREE) + 1, ND_FREE)
  store<u32>(valid_of(na, block), BUSY)
}

/** The block of a die with the least valid data, + 1; 0 = nothing is to be won. */
function choose_victim(na: u32, die: u32): u32 {
  const blocks = load<u32>(na, NA_BLOCKS)
  const first = load<u32>(die, ND_INDEX) * blocks
  let best: u32 = 0
  let least = per_block(na)
  for (let block = first; block < first + blocks; block++) {
    const valid = load<u32>(valid_of(na, block))
    if (valid >= least) continue
    least = valid
    best = block + 1
  }
  return best
}

/** Puts 4 KiB at the next place of the block being filled (`block` and `slot` are fields of the die). */
function put(na: u32, die: u32, block: u32, slot: u32, lpn: u32): void {
  let at = load<u32>(die + slot)
  if (at == per_block(na)) {
    const full = valid_of(na, load<u32>(die + block))
    store<u32>(full, load<u32>(full) & ~BUSY)
    store<u32>(die + block, take_block(na, die))
    at = 0
  }
  store<u32>(die + slot, at + 1)
  const to = load<u32>(die + block)
  const place = to * per_block(na) + at
  const map = load<u32>(na, NA_L2P) + (lpn << 2)
  const old = load<u32>(map)
  if (old) {
    const was = valid_of(na, (old - 1) / per_block(na))
    store<u32>(was, load<u32>(was) - 1)
  }
  store<u32>(map, place + 1)
  store<u32>(load<u32>(na, NA_P2L) + (place << 2), lpn)
  const valid = valid_of(na, to)
  store<u32>(valid, load<u32>(valid) + 1)
}

function forget(na: u32, lpn: u32): void {
  const map = load<u32>(na, NA_L2P) + (lpn << 2)
  const old = load<u32>(map)
  if (!old) return
  const was = valid_of(na, (old - 1) / per_block(na))
  store<u32>(was, load<u32>(was) - 1)
  store<u32>(map, 0)
}

// ---------------------------------------------------------------- garbage collection

/** Moves what is valid in one row of the victim: how many places, and the time it takes is added to the die's. */
function move_row(na: u32, die: u32, victim: u32): u32 {
  const shift = load<u32>(na, NA_ROW_SHIFT)
  const places: u32 = 1 << shift
  const base = victim * per_block(na) + (load<u32>(die, ND_CURSOR) << shift)
  const l2p = load<u32>(na, NA_L2P)
  const p2l = load<u32>(na, NA_P2L)
  let moved: u32 = 0
  let time: u64 = 0
  for (let place = base; place < base + places; place++) {
    const lpn = load<u32>(p2l + (place << 2))
    if (load<u32>(l2p + (lpn << 2)) != place + 1) continue
    put(na, die, ND_GC_BLOCK, ND_GC_SLOT, lpn)
    moved++
    if (!(load<u32>(die, ND_GC_SLOT) & (places - 1))) time += load<u64>(na, NA_PROGRAM_NS)
  }
  if (moved) time += load<u64>(na, NA_READ_NS)
  bump(die + ND_FREE_NS, time)
  bump(na + NA_GC_SLOTS, moved)
  return moved
}

/** Wins `want` places or more; false when there is nothing to win. */
function collect(na: u32, die: u32, want: u32): bool {
  const places: u32 = 1 << load<u32>(na, NA_ROW_SHIFT)
  let won: u32 = 0
  while (won < want) {
    let victim = load<u32>(die, ND_VICTIM)
    if (!victim) {
      victim = choose_victim(na, die)
      if (!victim) return false
      store<u32>(die, victim, ND_VICTIM)
      store<u32>(die, 0, ND_CURSOR)
    }
    won += places - move_row(na, die, victim - 1)
    const row = load<u32>(die, ND_CURSOR) + 1
    store<u32>(die, row, ND_CURSOR)
    if (row < load<u32>(na, NA_ROWS)) continue
    bump(die + ND_FREE_NS, load<u64>(na, NA_ERASE_NS))
    bump(na + NA_ERASES, 1)
    give_block(na, die, victim - 1)
    store<u32>(die, 0, ND_VICTIM)
  }
  return true
}

/** True if a die can take another row: it has places, or wins some. */
function has_room(na: u32, die: u32): bool {
  if (load<u32>(die, ND_SLOT) < per_block(na)) return true
  while (load<u32>(die, ND_FREE) < 2) if (!collect(na, die, per_block(na))) return false
  return true
}

// ---------------------------------------------------------------- commands

/** A row is full: it is carried to its die and programmed, and the next die's turn comes. */
function program_row(na: u32, die: u32, now: u64): void {
  const shift = load<u32>(na, NA_ROW_SHIFT)
  const index = load<u32>(die, ND_INDEX)
  const channel = load<u32>(die, ND_CHANNEL)
  const carried = max<u64>(now, load<u64>(channel)) + (load<u64>(na, NA_XFER_NS) << shift)
  store<u64>(channel, carried)
  const done = max<u64>(carried, load<u64>(die, ND_FREE_NS)) + load<u64>(na, NA_PROGRAM_NS)
  store<u64>(die, done, ND_FREE_NS)
  store<u64>(na, max<u64>(done, load<u64>(na, NA_LAST)), NA_LAST)
  const buffers = load<u32>(na, NA_BUFFERS)
  const mine = load<u32>(na, NA_NEXT_BUFFER)
  store<u64>(load<u32>(na, NA_BUFFER) + mine * 8, done)
  const next: u32 = mine + 1 == buffers ? 0 : mine + 1
  store<u32>(na, next, NA_NEXT_BUFFER)
  // The oldest buffer holds the next row: nothing is accepted before it is free.
  store<u64>(na, load<u64>(load<u32>(na, NA_BUFFER) + next * 8), NA_ACCEPT)
  if (load<u32>(die, ND_FREE) < FEW) collect(na, die, 1 << shift)
  const dies = load<u32>(na, NA_DIES)
  let turn = index
  for (let tries: u32 = 0; tries < dies; tries++) {
    turn = turn + 1 == dies ? 0 : turn + 1
    if (has_room(na, die_at(na, turn))) break
  }
  store<u32>(na, turn, NA_TURN)
}

/** Writes 4 KiB: when the buffer has taken it. */
function write_one(na: u32, lpn: u32, now: u64): u64 {
  const die = die_at(na, load<u32>(na, NA_TURN))
  const accepted = max<u64>(now, load<u64>(na, NA_ACCEPT))
  put(na, die, ND_BLOCK, ND_SLOT, lpn)
  if (!(load<u32>(die, ND_SLOT) & ((1 << load<u32>(na, NA_ROW_SHIFT)) - 1))) program_row(na, die, accepted)
  return accepted
}

function write_all(na: u32, first: u32, last: u32, now: u64): u64 {
  let due = now
  for (let lpn = first; lpn <= last; lpn++) due = max<u64>(due, write_one(na, lpn, now))
  bump(na + NA_HOST_SLOTS, last - first + 1)
  return due
}

/** Reads places: when the last of them has been carried over its channel. */
function read_all(na: u32, first: u32, last: u32, now: u64): u64 {
  const shift = load<u32>(na, NA_ROW_SHIFT)
  const per_die = load<u32>(na, NA_BLOCKS) * per_block(na)
  const l2p = load<u32>(na, NA_L2P)
  const xfer = load<u64>(na, NA_XFER_NS)
  let due = now
  let row = NO_ROW
  let sensed = now
  let channel: u32 = 0
  for (let lpn = first; lpn <= last; lpn++) {
    const place = load<u32>(l2p + (lpn << 2)) - 1
    if (place == NO_ROW) continue
    if (place >> shift != row) {
      row = place >> shift
      const die = die_at(na, place / per_die)
      sensed = max<u64>(now, load<u64>(die, ND_FREE_NS)) + load<u64>(na, NA_READ_NS)
      store<u64>(die, sensed, ND_FREE_NS)
      channel = load<u32>(die, ND_CHANNEL)
    }
    const done = max<u64>(sensed, load<u64>(channel)) + xfer
    store<u64>(channel, done)
    due = max<u64>(due, done)
  }
  return due
}

/** Whole places of a range are forgotten. `at` and `len` are bytes of the store. */
function trim(na: u32, at: u64, len: u64): void {
  const end = <u32>((at + len) >> PAGE_SHIFT)
  for (let lpn = <u32>((at + PAGE_SIZE - 1) >> PAGE_SHIFT); lpn < end; lpn++) forget(na, lpn)
}

function trim_ranges(na: u32, ns: u32, sqe: u32): void {
  if (!(load<u32>(sqe, SQE_CDW10 + 4) & NVME_DSMGMT_AD)) return
  const shift = load<u32>(ns, NS_LBADS)
  const ranges: u32 = <u32>load<u8>(sqe, SQE_CDW10) + 1
  let range = <u32>load<u64>(sqe, SQE_PRP1)
  for (let i: u32 = 0; i < ranges; i++) {
    const at = (load<u64>(range, 8) << shift) + load<u64>(ns, NS_BASE)
    trim(na, at, <u64>load<u32>(range, 4) << shift)
    range += DSM_RANGE_BYTES
    if (!(range & (PAGE_SIZE - 1))) range = <u32>load<u64>(sqe, SQE_PRP2)
  }
}

/**
 * Looks at the map for all commands of a batch, from entry `head` of the ring up to `tail`: a map is larger than a cache, and
 * misses that come one behind the other cost as many times as much as misses together.
 */
export function nand_touch(dev: u32, base: u32, entries: u32, head: u32, tail: u32): void {
  const na = load<u32>(dev, DEV_NAND)
  const ns = load<u32>(dev, DEV_NS)
  const l2p = load<u32>(na, NA_L2P)
  const shift = load<u32>(ns, NS_LBADS)
  const blocks = load<u64>(ns, NS_NSZE)
  let seen: u32 = 0
  while (head != tail) {
    const sqe = base + head * SQE_BYTES
    const slba = load<u64>(sqe, SQE_CDW10)
    if (slba < blocks) seen |= load<u32>(l2p + (<u32>((slba << shift) >> PAGE_SHIFT) << 2))
    if (++head == entries) head = 0
  }
  store<u32>(na, seen, NA_SEEN)
}

/** When a command that was executed at `now`, without an error, is done. */
export function nand_due(dev: u32, sqe: u32, now: u64): u64 {
  const na = load<u32>(dev, DEV_NAND)
  const opcode = load<u32>(sqe, SQE_CDW0) & 0xff
  const ready = now + OVERHEAD_NS
  if (opcode == NVME_CMD_FLUSH) return max<u64>(ready, load<u64>(na, NA_LAST))
  const ns = load<u32>(dev, DEV_NS) + (load<u32>(sqe, SQE_NSID) - 1) * NS_SIZE
  if (opcode == NVME_CMD_DSM) {
    trim_ranges(na, ns, sqe)
    return ready
  }
  const shift = load<u32>(ns, NS_LBADS)
  const at = (load<u64>(sqe, SQE_CDW10) << shift) + load<u64>(ns, NS_BASE)
  const len = (<u64>load<u16>(sqe, SQE_CDW12) + 1) << shift
  if (opcode == NVME_CMD_WRITE_ZEROES) {
    trim(na, at, len)
    return ready
  }
  const first = <u32>(at >> PAGE_SHIFT)
  const last = <u32>((at + len - 1) >> PAGE_SHIFT)
  if (opcode != NVME_CMD_WRITE) return read_all(na, first, last, ready)
  // What is written in part is read first.
  const whole = !((<u32>at | <u32>len) & (PAGE_SIZE - 1))
  return write_all(na, first, last, whole ? ready : read_all(na, first, last, ready))
}

// ---------------------------------------------------------------- boot

/** All blocks are free, and the first NA_FILL places of the drive hold data, written in order at no cost. */
export function nand_init(na: u32): void {
  const dies = load<u32>(na, NA_DIES)
  const blocks = load<u32>(na, NA_BLOCKS)
  for (let index: u32 = 0; index < dies; index++) {
    const die = die_at(na, index)
    store<u32>(die, index, ND_INDEX)
    store<u32>(die, load<u32>(na, NA_CHAN_FREE) + (index % load<u32>(na, NA_CHANNELS)) * 8, ND_CHANNEL)
    for (let i = blocks; i; i--) give_block(na, die, index * blocks + i - 1)
    store<u32>(die, take_block(na, die), ND_BLOCK)
    store<u32>(die, take_block(na, die), ND_GC_BLOCK)
  }
  const shift = load<u32>(na, NA_ROW_SHIFT)
  const fill = load<u32>(na, NA_FILL)
  for (let lpn: u32 = 0; lpn < fill; lpn++) {
    put(na, die_at(na, (lpn >> shift) % dies), ND_BLOCK, ND_SLOT, lpn)
  }
  // A row that was begun goes on where its die's turn is.
  store<u32>(na, (fill >> shift) % dies, NA_TURN)
}
