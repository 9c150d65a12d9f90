// A command as the controller keeps it: a copy of the 64 bytes that were fetched, and where it came from. The ring's slot
// may be used again as soon as the entry was fetched.

import { DSQ_ID } from '../../../assembly/layout.js'
import { SQE_BYTES } from '../../../assembly/nvme.js'
import type { View } from '../../core/view.js'

/** How a command ended: 15 bits of status, and the 64-bit result of those that have one. */
export interface Done {
  readonly status: number
  readonly dw0?: number
  readonly dw1?: number
}

/** 'pending': whoever took it will end it later. */
export type Answer = Done | 'pending'

export const OK: Done = { status: 0 }

/** A status with DNR: the same command will fail again. */
export function refuse(status: number): Done {
  return { status: status | 0x4000 }
}

export class Command {
  /** Submission queue (DSQ_*) and its identifier; 0 is the admin queue. */
  readonly dsq: number
  readonly qid: number
  readonly words: Uint32Array

  constructor(view: View, dsq: number, sqe: number) {
    this.dsq = dsq
    this.qid = view.u32(dsq + DSQ_ID)
    this.words = view.words.slice(sqe >>> 2, (sqe + SQE_BYTES) >>> 2)
  }

  /** The same command with another opcode and first block. */
  as(opcode: number, slba: number): Command {
    const copy = Object.create(this, {
      words: { value: this.words.slice() },
    }) as Command
    copy.words[0] = ((this.words[0]! & 0xffffff00) | opcode) >>> 0
    copy.words[10] = slba % 2 ** 32
    copy.words[11] = Math.floor(slba / 2 ** 32)
    return copy
  }

  get opcode(): number {
    return this.words[0]! & 0xff
  }

  /** 0 none, 1 first, 2 second of two fused commands. */
  get fuse(): number {
    return (this.words[0]! >>> 8) & 3
  }

  /** 0 PRP, 1 and 2 SGL. */
  get psdt(): number {
    return (this.words[0]! >>> 14) & 3
  }

  get cid(): number {
    return this.words[0]! >>> 16
  }

  get nsid(): number {
    return this.words[1]!
  }

  /** Metadata pointer, data pointers. From 2^53 on a number is not exact, and out of reach anyway. */
  get mptr(): number {
    return this.u64(4)
  }

  get prp1(): number {
    return this.u64(6)
  }

  get prp2(): number {
    return this.u64(8)
  }

  /** Command dword 10 to 15. */
  cdw(n: number): number {
    return this.words[n]!
  }

  /** Dwords n and n + 1. */
  u64(n: number): number {
    return this.words[n]! + this.words[n + 1]! * 2 ** 32
  }
}
