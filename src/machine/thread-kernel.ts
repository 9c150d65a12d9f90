// A kernel in real time: the emulated kernel of src/kernel on the thread of a machine's one CPU, over the host's clock. Its tasks,
// works and timers run between the calls into the core; the core calls the block layer's TypeScript half at once (M_HOST), as
// in virtual time.
//
// A machine with several CPUs has no such kernel: its threads would have to share what a kernel keeps in objects.

import type { View } from '../core/view.js'
import type { Core, CoreImports } from '../core/wasm.js'
import type { NullbOptions } from '../drivers/block/null_blk.js'
import { alignUp } from '../core/memory.js'
import { LINE } from '../../assembly/layout.js'
import { type HostDisk, HostKernel } from './host-kernel.js'

/** What the thread needs for it: plain data. */
export interface ThreadKernel {
  readonly hz: number
  readonly seed: number
  /** Address of the CPU's block. */
  readonly cpu: number
  readonly disks: readonly HostDisk[]
  readonly nullBlk: readonly NullbOptions[]
  /** Zeroed memory, hostKernelBytes of it. */
  readonly at: number
  readonly bytes: number
}

/** What the core calls; the kernel is made after the core. */
export type KernelImports = Required<
  Pick<CoreImports, 'block_host' | 'null_cmd' | 'make_request' | 'device_host'>
>

/** Imports for the core of the thread, and the kernel over that core. */
export class KernelSeat {
  #host: HostKernel | null = null

  readonly imports: KernelImports = {
    block_host: (cpu, what, a, b) => this.#host!.block_host(cpu, what, a, b),
    null_cmd: (cpu, nullb, rq, faults) => this.#host!.null_cmd(cpu, nullb, rq, faults),
    make_request: (cpu, bio) => this.#host!.make_request(cpu, bio),
    device_host: () => 0,
  }

  attach(kernel: ThreadKernel, view: View, core: Core, now: () => number): HostKernel {
    let next = kernel.at
    const end = kernel.at + kernel.bytes
    this.#host = new HostKernel({
      view,
      core,
      cpus: [kernel.cpu],
      hz: kernel.hz,
      disks: kernel.disks,
      nullBlk: kernel.nullBlk,
      seed: kernel.seed,
      now,
      alloc: (bytes, align = LINE) => {
        const at = alignUp(next, align)
        next = at + bytes
        if (next > end) throw new Error('the kernel has too little memory')
        return at
      },
    })
    return this.#host
  }
}
