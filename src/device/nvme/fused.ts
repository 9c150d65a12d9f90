// Fused Compare and Write: two adjacent entries of one queue that happen together or not at all.
//
//   first without a second behind it (in the same doorbell)   0x00a
//   second without a first                                    0x00a
//   the Compare fails                                         0x285 for it, 0x009 for the Write
//   other commands, or other blocks                           0x002 for the first, 0x009 for the second

import { DSQ_BASE, DSQ_ENTRIES, DSQ_HEAD } from '../../../assembly/layout.js'
import { NVME_CMD_COMPARE, NVME_CMD_WRITE, SQE_BYTES } from '../../../assembly/nvme.js'
import type { View } from '../../core/view.js'
import { type Answer, type Command, type Done, refuse } from './command.js'
import { FUSED_FAIL, FUSED_MISSING, INVALID_FIELD } from './spec.js'

export class Fused {
  readonly #view: View
  readonly #tail: (qid: number) => number
  readonly #execute: (c: Command) => Answer
  readonly #complete: (c: Command, done: Done) => void
  /** The first of a pair, by queue. */
  readonly #first = new Map<number, Command>()

  constructor(
    view: View,
    tail: (qid: number) => number,
    execute: (c: Command) => Answer,
    complete: (c: Command, done: Done) => void,
  ) {
    this.#view = view
    this.#tail = tail
    this.#execute = execute
    this.#complete = complete
  }

  reset(): void {
    this.#first.clear()
  }

  /** An entry whose FUSE is not 0. */
  execute(c: Command): Answer {
    if (c.fuse === 3) return refuse(INVALID_FIELD)
    if (c.fuse === 1) return this.#begin(c)
    const first = this.#first.get(c.qid)
    this.#first.delete(c.qid)
    return first ? this.#both(first, c) : refuse(FUSED_MISSING)
  }

  #begin(c: Command): Answer {
    if (!this.#followed(c)) return refuse(FUSED_MISSING)
    this.#first.set(c.qid, c)
    return 'pending'
  }

  /** The entry behind it is there, and a second one. */
  #followed(c: Command): boolean {
    const view = this.#view
    const head = view.u32(c.dsq + DSQ_HEAD)
    const tail = this.#tail(c.qid)
    if (head === tail || tail >= view.u32(c.dsq + DSQ_ENTRIES)) return false
    const next = view.u32(view.u32(c.dsq + DSQ_BASE) + head * SQE_BYTES)
    return ((next >>> 8) & 3) === 2
  }

  #both(first: Command, second: Command): Answer {
    const fits =
      first.opcode === NVME_CMD_COMPARE &&
      second.opcode === NVME_CMD_WRITE &&
      first.nsid === second.nsid &&
      first.u64(10) === second.u64(10) &&
      (first.cdw(12) & 0xffff) === (second.cdw(12) & 0xffff)
    const done = fits ? this.#execute(first) : refuse(INVALID_FIELD)
    if (done === 'pending') return done
    this.#complete(first, done)
    return done.status === 0 ? this.#execute(second) : refuse(FUSED_FAIL)
  }
}
