// A queue pair of a booted machine, driven without the driver: entries are written by hand, the register is rung, the
// device is called, completions are read by phase bit. Addresses are byte offsets into the shared memory.

import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import {
  bootMachine,
  type Disk,
  type DiskConfig,
  type Machine,
} from '../../../src/machine/machine.js'
import { diskConfig, machineConfig } from '../machine/helper.js'
import type { RawCore } from './raw.js'

export const ANY_NSID = 0xffffffff

export interface Command {
  readonly opcode: number
  readonly cid?: number
  readonly nsid?: number
  readonly prp1?: number
  readonly prp2?: number
  readonly slba?: bigint | number
  /** Logical blocks, from 1. */
  readonly blocks?: number
  /** CDW10 to CDW12 in place of slba and blocks. */
  readonly cdw?: readonly [number, number, number]
}

export interface Completion {
  readonly cid: number
  /** Status without phase. */
  readonly status: number
  readonly sqhd: number
  readonly sqid: number
  readonly phase: number
}

/** A machine whose device is called by hand. Nothing runs by itself. */
export function bootDevice(
  disk: Partial<DiskConfig> = {},
  memBytes: number = 2 ** 26,
  extraBytes: number = 2 ** 22,
): Machine {
  const config = diskConfig({ model: 'ram', queues: 1, ...disk })
  return bootMachine(machineConfig({ disks: [config], memBytes, extraBytes }))
}

export class RawQueue {
  readonly core: RawCore
  readonly disk: Disk
  readonly entries: number
  readonly sq: number
  readonly cq: number
  readonly dsq: number
  readonly dcq: number
  readonly #view: Machine['view']
  #tail = 0
  #head = 0
  #phase = 1
  #cid = 0

  constructor(machine: Machine, index = 0) {
    this.#view = machine.view
    this.core = machine.core as RawCore
    this.disk = machine.disks[0]!
    const queue = this.disk.queues[index]!
    this.dsq = queue.dsq
    this.dcq = queue.dcq
    this.sq = machine.view.u32(queue.dsq + L.DSQ_BASE)
    this.cq = machine.view.u32(queue.dcq + L.DCQ_BASE)
    this.entries = machine.view.u32(queue.dsq + L.DSQ_ENTRIES)
  }

  get tail(): number {
    return this.#tail
  }

  /** Writes an entry at the tail; returns its identifier. The device does not know of it yet. */
  write(command: Command): number {
    const view = this.#view
    const at = this.sq + this.#tail * N.SQE_BYTES
    const cid = command.cid ?? this.#cid++ % 60000
    view.fill(at, N.SQE_BYTES, 0)
    view.setU32(at + N.SQE_CDW0, (command.opcode | (cid << 16)) >>> 0)
    view.setU32(at + N.SQE_NSID, command.nsid ?? 1)
    view.setU64(at + N.SQE_PRP1, command.prp1 ?? 0)
    view.setU64(at + N.SQE_PRP2, command.prp2 ?? 0)
    const slba = BigInt(command.slba ?? 0)
    const block = [Number(slba & 0xffffffffn), Number(slba >> 32n), (command.blocks ?? 1) - 1]
    const words = command.cdw ?? block
    words.forEach((word, i) => {
      view.setU32(at + N.SQE_CDW10 + i * 4, word)
    })
    this.#tail = (this.#tail + 1) % this.entries
    return cid
  }

  /** Tells the device the tail, or whatever value is given. */
  ring(value: number = this.#tail): void {
    this.#view.store(this.#view.u32(this.dsq + L.DSQ_DB), value)
  }

  /** Lets the device fetch; returns how many entries it took. */
  run(max = 0xffffffff, now = 0): number {
    return this.core.dev_run_sq(this.dsq, max, BigInt(now))
  }

  /** Lets the device post what is due. */
  post(now: number): number {
    return this.core.dev_post_due(this.dsq, BigInt(now))
  }

  /** Completions that are new, at most `max`; the host's head moves, the doorbell is rung (unless told not to). */
  reap(max = 0xffffffff, ring = true): Completion[] {
    const view = this.#view
    const list: Completion[] = []
    while (list.length < max) {
      const at = this.cq + this.#head * N.CQE_BYTES
      const word = view.load(at + N.CQE_DW3)
      if (((word >>> 16) & 1) !== this.#phase) break
      const sq = view.u32(at + N.CQE_SQHD)
      list.push({
        cid: word & 0xffff,
        status: word >>> 17,
        sqhd: sq & 0xffff,
        sqid: sq >>> 16,
        phase: this.#phase,
      })
      if (++this.#head === this.entries) {
        this.#head = 0
        this.#phase ^= 1
      }
    }
    if (ring) this.ringCq()
    return list
  }

  ringCq(value: number = this.#head): void {
    this.#view.store(this.#view.u32(this.dcq + L.DCQ_DB), value)
  }

  /** One command from entry to completion. */
  execute(command: Command): Completion {
    const cid = this.write(command)
    this.ring()
    this.run()
    const [completion, ...more] = this.reap()
    if (completion?.cid !== cid || more.length) throw new Error('one command, one completion')
    return completion
  }
}
