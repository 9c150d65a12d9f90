// A page cache over a pretended disk: frames and disk are arrays, a bio takes so many ms.

import {
  type bdev_io,
  bdget,
  generic_file_read,
  generic_file_write,
} from '../../../src/fs/buffered.js'
import { wakeup_flusher_threads_bdi, wb_workfn } from '../../../src/fs/fs-writeback.js'
import { ksys_sync, type sync_targets } from '../../../src/fs/sync.js'
import { EIO } from '../../../src/kernel/errno.js'
import { mod_timer, timer_setup } from '../../../src/kernel/timer.js'
import { timer_list } from '../../../src/kernel/timer-wheel.js'
import {
  bdi_alloc_node,
  bdi_register,
  default_bdi_init,
  laptop_mode_timer_setup,
} from '../../../src/mm/backing-dev.js'
import { type backing_dev_info, type inode, type mm_state, PAGE_SIZE } from '../../../src/mm/mm.js'
import { laptop_io_completion } from '../../../src/mm/page-writeback.js'
import { VirtualKernel } from '../kernel/support.js'

export class CacheRig {
  readonly vk: VirtualKernel = new VirtualKernel({ timer: 'exact' })
  readonly memory: Uint8Array
  readonly disk: Uint8Array
  readonly mm: mm_state
  readonly bdi: backing_dev_info
  readonly bdev: inode
  readonly targets: sync_targets
  /** Bios in the order of their submission: `w3` wrote page 3. */
  readonly log: string[] = []
  /** Jiffies that a bio takes; 0 = it ends inside submit. */
  ticks = 1
  /** Pages whose writes fail. */
  readonly bad: Set<number> = new Set()
  plugs = 0

  constructor(frames = 64, pages = 256) {
    this.memory = new Uint8Array((frames + 1) * PAGE_SIZE)
    this.disk = new Uint8Array(pages * PAGE_SIZE)
    const at = Array.from({ length: frames }, (_, i) => (i + 1) * PAGE_SIZE)
    const { k } = this.vk
    this.mm = default_bdi_init(k, at, {
      wakeup_flusher_threads_bdi,
      wb_workfn,
      blk_start_plug: () => {
        this.plugs++
      },
      blk_finish_plug: () => {
        this.plugs--
      },
    })
    const root = bdi_alloc_node(this.mm, 'root')
    bdi_register(root)
    this.bdi = bdi_alloc_node(this.mm, 'nullb0')
    laptop_mode_timer_setup(root)
    laptop_mode_timer_setup(this.bdi)
    bdi_register(this.bdi)
    this.bdev = bdget(this.bdi, 'nullb0', this.disk.length, this.#io())
    this.targets = { mm: this.mm, supers: [root], bdevs: [this.bdev] }
  }

  #io(): bdev_io {
    const { k } = this.vk
    const over = (write: boolean, pos: number, at: number, bytes: number): number => {
      if (this.mm.laptop_mode) laptop_io_completion(this.bdi)
      if (write && this.bad.has(pos / PAGE_SIZE)) return -EIO
      if (write) this.disk.set(this.memory.subarray(at, at + bytes), pos)
      else this.memory.set(this.disk.subarray(pos, pos + bytes), at)
      return 0
    }
    const rig = this
    return {
      *submit({ write, pos, at, bytes, end }) {
        rig.log.push(`${write ? 'w' : 'r'}${pos / PAGE_SIZE}`)
        if (rig.ticks === 0) {
          end(over(write, pos, at, bytes))
          return
        }
        const timer = new timer_list(k, null)
        timer_setup(timer, () => end(over(write, pos, at, bytes)))
        mod_timer(timer, k.jiffies + rig.ticks)
      },
    }
  }

  write(page: number, value: number, bytes = PAGE_SIZE, offset = 0): number {
    const pos = page * PAGE_SIZE + offset
    return this.vk.run(() =>
      generic_file_write(this.bdev, pos, bytes, (at, n) => this.memory.fill(value, at, at + n)),
    )
  }

  read(page: number, bytes = PAGE_SIZE, offset = 0): Uint8Array {
    const data = new Uint8Array(bytes)
    const got = this.vk.run(() =>
      generic_file_read(this.bdev, page * PAGE_SIZE + offset, bytes, (at, n, done) =>
        data.set(this.memory.subarray(at, at + n), done),
      ),
    )
    return data.subarray(0, Math.max(0, got))
  }

  sync(): void {
    this.vk.run(() => ksys_sync(this.targets))
  }

  /** The log since the last call. */
  took(): string[] {
    return this.log.splice(0)
  }
}
