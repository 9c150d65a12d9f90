// LightNVM over an open-channel device, without NVMe between them: the operations go straight to the device, and a timer of
// the kernel says when they are over.

import {
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
} from '../../../../assembly/nvme.js'
import { OpenChannelDevice, type OcssdOptions } from '../../../../src/device/ocssd/device.js'
import type { VectorResult } from '../../../../src/device/ocssd/status.js'
import {
  lightnvm,
  nvm_create_tgt,
  nvm_end_io,
  nvm_register,
  nvm_register_tgt_type,
  nvm_remove_tgt,
} from '../../../../src/drivers/lightnvm/core.js'
import type { nvm_ioctl_create } from '../../../../src/drivers/lightnvm/ioctl.js'
import {
  NVM_L2P_NONE,
  NVM_OP_ERASE,
  NVM_OP_HBWRITE,
  NVM_OP_PWRITE,
  nvm_dev,
  type nvm_dev_ops,
  type nvm_memory,
  type nvm_rq,
} from '../../../../src/drivers/lightnvm/lightnvm.js'
import type { pblk, pblk_options } from '../../../../src/drivers/lightnvm/pblk.js'
import { tt_pblk } from '../../../../src/drivers/lightnvm/pblk-init.js'
import type { rrpc, rrpc_options } from '../../../../src/drivers/lightnvm/rrpc.js'
import { tt_rrpc } from '../../../../src/drivers/lightnvm/rrpc-init.js'
import { nvme_nvm_read_identity } from '../../../../src/drivers/nvme/host/lightnvm-geo.js'
import { completion, complete, wait_for_completion } from '../../../../src/kernel/completion.js'
import type { KernelCore, Sleep } from '../../../../src/kernel/core.js'
import { cond_resched } from '../../../../src/kernel/task.js'
import { EINVAL } from '../../../../src/kernel/errno.js'
import {
  CLOCK_MONOTONIC,
  HRTIMER_MODE_ABS,
  HRTIMER_NORESTART,
  hrtimer,
  hrtimer_init,
  hrtimer_start,
} from '../../../../src/kernel/hrtimer.js'
import { VirtualKernel } from '../../kernel/support.js'

/** A function that might sleep, and does not. */
export function* at_once<T>(k: KernelCore, fn: () => T): Sleep<T> {
  yield* cond_resched(k)
  return fn()
}

/** Memory with a list of free pieces. */
export class TestMemory implements nvm_memory {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  readonly #free = new Map<number, number[]>()
  #next = 4096
  /** Bytes in use. */
  used = 0

  /** @param buffer what another host has left, or zeros */
  constructor(buffer: ArrayBuffer) {
    this.bytes = new Uint8Array(buffer)
    this.words = new Uint32Array(buffer)
  }

  alloc(bytes: number): number {
    const size = Math.ceil(bytes / 4096) * 4096
    this.used += size
    const old = this.#free.get(size)?.pop()
    if (old !== undefined) {
      this.bytes.fill(0, old, old + size)
      return old
    }
    const at = this.#next
    this.#next += size
    if (this.#next > this.bytes.length) throw new Error('the test has no memory left')
    this.bytes.fill(0, at, at + size)
    return at
  }

  free(address: number, bytes: number): void {
    const size = Math.ceil(bytes / 4096) * 4096
    this.used -= size
    const list = this.#free.get(size) ?? []
    this.#free.set(size, list)
    list.push(address)
  }
}

export interface Io {
  done: boolean
  status: number
}

export interface LnvmRigOptions extends OcssdOptions {
  readonly pblk?: pblk_options
  readonly rrpc?: rrpc_options
  /** Bytes, or a buffer: hosts that come after each other can have the same. */
  readonly memory?: number | ArrayBuffer
  /** Time that a command takes beside the media, ns. */
  readonly wire?: number
  readonly submitError?: () => boolean
  /** Erases whose answer a reset takes away, so that they are sent again: carried out once before, or not. */
  readonly resent?: (rqd: nvm_rq) => 'done' | 'not done' | null
}

/** A command as the device saw it. `lba`: in the out-of-band data of a write's first sector, null = none. */
interface Sent {
  readonly op: number
  readonly addresses: number[]
  readonly status: number
  readonly at: number
  readonly due: number
  readonly lba: number | null
}

/** One life of a host over a device. */
export class LnvmRig {
  readonly vk: VirtualKernel
  readonly device: OpenChannelDevice
  readonly mem: TestMemory
  readonly lnvm: lightnvm
  readonly dev: nvm_dev
  /** Commands as the device saw them. */
  readonly log: Sent[] = []
  readonly #options: LnvmRigOptions
  make_rq: ((bio: never) => number) | null = null
  dead = false

  constructor(options: LnvmRigOptions, device?: OpenChannelDevice, ns = 0) {
    this.#options = options
    this.vk = new VirtualKernel()
    this.vk.ns += ns
    this.device = device ?? new OpenChannelDevice(options)
    const memory = options.memory ?? 16 * 2 ** 20
    this.mem = new TestMemory(typeof memory === 'number' ? new ArrayBuffer(memory) : memory)
    this.lnvm = new lightnvm(this.vk.k, (_dev, _name, make_rq) => {
      this.make_rq = make_rq as (bio: never) => number
      const { k } = this.vk
      const nothing = (): Sleep<void> => at_once(k, () => {})
      return { add: nothing, remove: nothing, put_disk: () => {} }
    })
    nvm_register_tgt_type(
      this.lnvm,
      tt_pblk(() => options.pblk ?? {}),
    )
    nvm_register_tgt_type(this.lnvm, tt_rrpc(options.rrpc))
    this.dev = new nvm_dev(this.vk.k, 'nvme0n1', this.#ops(), this.mem)
  }

  #ops(): nvm_dev_ops {
    const { device } = this
    const { k } = this.vk
    return {
      identity: dev =>
        at_once(k, () => {
          const geo = nvme_nvm_read_identity(device.identity(), 4096, 16)
          if (typeof geo === 'number') return geo
          dev.geo = geo
          return 0
        }),
      get_bb_tbl: (_dev, ppa) =>
        at_once(k, () => device.badBlockTable(ppa)?.subarray(64) ?? -EINVAL),
      set_bb_tbl: (_dev, ppas, type) =>
        at_once(k, () => (device.setBadBlocks(ppas, ppas.length, type) === 0 ? 0 : -EINVAL)),
      get_chk_meta: (_dev, ppa, n) =>
        at_once(k, () => {
          const place = { group: 0, pu: 0, chunk: 0, sector: 0 }
          device.format.place(ppa, place)
          const { pus, chunks } = device.geometry
          const first = (place.group * pus + place.pu) * chunks + place.chunk
          return device.chunkLog(first * 32, n * 32) ?? -EINVAL
        }),
      get_l2p_tbl: (_dev, slba, n) =>
        at_once(k, () => {
          const view = new DataView(device.l2pTable(slba, n).buffer)
          return Float64Array.from({ length: n }, (_, i) => {
            const entry = view.getBigUint64(8 * i, true)
            return entry === 2n ** 64n - 1n ? NVM_L2P_NONE : Number(entry)
          })
        }),
      submit_io: (_dev, rqd) => this.#submit(rqd, () => nvm_end_io(rqd)),
      submit_io_sync: (_dev, rqd) => this.#sync(rqd),
      create_dma_pool: () => true,
      destroy_dma_pool: () => {},
      dev_dma_alloc: () => this.mem.alloc(4096),
      dev_dma_free: (_dev, at) => this.mem.free(at, 4096),
    }
  }

  *#sync(rqd: nvm_rq): Sleep<number> {
    const over = new completion(this.vk.k)
    const failed = this.#submit(rqd, () => complete(over))
    if (failed !== 0) return failed
    yield* wait_for_completion(over)
    return 0
  }

  #command(rqd: nvm_rq) {
    return {
      count: rqd.nr_ppas,
      addresses: rqd.ppa_list,
      mem: this.mem.words,
      data: rqd.pages,
      oob: rqd.dma === 0 ? -1 : rqd.dma,
      control: rqd.flags,
    }
  }

  #execute(rqd: nvm_rq): VectorResult {
    const command = this.#command(rqd)
    const now = this.vk.ns
    if (rqd.opcode === NVM_OP_ERASE) return this.device.erase(command, now)
    if (rqd.opcode === NVM_OP_HBWRITE) return this.device.hybridWrite(command, rqd.slba, now)
    if (rqd.opcode === NVM_OP_PWRITE) return this.device.write(command, now)
    return this.device.read(command, now)
  }

  #submit(rqd: nvm_rq, end: () => void): number {
    if (this.#options.submitError?.()) return -5
    const resent = this.#options.resent?.(rqd) ?? null
    if (resent === 'done') this.#execute(rqd)
    rqd.again = resent !== null
    const { status, low, high, due } = this.#execute(rqd)
    const addresses = Array.from(rqd.ppa_list.subarray(0, rqd.nr_ppas))
    const lba = rqd.dma === 0 ? 2 ** 32 - 1 : this.mem.words[(rqd.dma >> 2) + 2]!
    const sent = { op: rqd.opcode, addresses, status, at: this.vk.ns, due }
    this.log.push({ ...sent, lba: lba === 2 ** 32 - 1 ? null : lba })
    const timer = new hrtimer(this.vk.k, null)
    hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS)
    timer.function = () => {
      if (this.dead) return HRTIMER_NORESTART
      rqd.error = status
      rqd.ppa_status_low = low
      rqd.ppa_status_high = high
      end()
      return HRTIMER_NORESTART
    }
    hrtimer_start(timer, Math.max(due, this.vk.ns) + (this.#options.wire ?? 1000), HRTIMER_MODE_ABS)
    return 0
  }

  register(): number {
    return this.vk.run(() => nvm_register(this.lnvm, this.dev))
  }

  create(change: Partial<nvm_ioctl_create> = {}): number {
    return this.vk.run(() => this.#create(change))
  }

  /** create() as a task that may not come to its end. */
  *creating(change: Partial<nvm_ioctl_create>): Sleep<void> {
    const all = { type: 1, lun_begin: 0xffff, lun_end: 0xffff }
    yield* this.#create({ ...all, ...change })
  }

  #create(change: Partial<nvm_ioctl_create>): Sleep<number> {
    const create: nvm_ioctl_create = {
      dev: 'nvme0n1',
      tgttype: 'pblk',
      tgtname: 'pblk0',
      flags: 1,
      type: 0,
      lun_begin: 0xffffffff,
      lun_end: 0xffffffff,
      op: 0xffff,
      rsv: 0,
      ...change,
    }
    return nvm_create_tgt(this.lnvm, this.dev, create)
  }

  remove(name = 'pblk0'): number {
    return this.vk.run(() => nvm_remove_tgt(this.lnvm, name))
  }

  /** remove() as a task that may not come to its end. */
  *removing(name = 'pblk0'): Sleep<void> {
    yield* nvm_remove_tgt(this.lnvm, name)
  }

  get pblk(): pblk {
    return this.dev.targets[0].private_data as pblk
  }

  get rrpc(): rrpc {
    return this.dev.targets[0].private_data as rrpc
  }

  /** Gives a bio to the disk. */
  bio(opf: number, lba: number, n: number, data: number): Io {
    const io: Io = { done: false, status: 0 }
    const end_io = (status: number): void => {
      if (io.done) throw new Error('a bio ended twice')
      io.done = true
      io.status = status
    }
    this.make_rq!({ opf, sector: lba * 8, bytes: n * 4096, data, end_io } as never)
    return io
  }

  /** Runs until something is true. */
  until(what: () => boolean, limitNs = 60e9): boolean {
    const end = this.vk.ns + limitNs
    let turns = 0
    while (!what()) {
      if (turns++ > 200_000) throw new Error(`tasks run in circles: ${this.waiting}`)
      if (this.vk.k.runReady(1)) continue
      const next = this.vk.k.nextDeadline()
      if (next > end) return false
      this.vk.ns = Math.max(this.vk.ns, next)
      this.vk.k.advance()
    }
    return true
  }

  write(lba: number, n: number, data: number, flush = false): Io {
    return this.bio(REQ_OP_WRITE | (flush ? REQ_PREFLUSH : 0), lba, n, data)
  }

  read(lba: number, n: number, data: number): Io {
    return this.bio(REQ_OP_READ, lba, n, data)
  }

  trim(lba: number, n: number): Io {
    return this.bio(REQ_OP_DISCARD, lba, n, 0)
  }

  flush(): Io {
    return this.bio(REQ_OP_WRITE | REQ_PREFLUSH, 0, 0, 0)
  }

  /** Waits for an I/O and gives its status. */
  wait(io: Io): number {
    if (!this.until(() => io.done)) throw new Error(`an I/O does not end: ${this.waiting}`)
    return io.status
  }

  /** Every task, and what it waits for. */
  get waiting(): string {
    return [...this.vk.k.tasks].map(task => `${task.name}: ${task.waiting_on}`).join('; ')
  }

  /** Lets time pass. */
  rest(ms: number): void {
    this.vk.runUntil(this.vk.ns + ms * 1e6)
  }

  /** Power is lost: another host over the same device. */
  crash(): LnvmRig {
    this.dead = true
    this.device.powerLoss(this.vk.ns)
    return new LnvmRig(this.#options, this.device, this.vk.ns)
  }

  /** Warnings and errors in the kernel's log. */
  get complaints(): string[] {
    return this.vk.k.dmesg.filter(line => line.level !== 'info').map(line => line.text)
  }
}
