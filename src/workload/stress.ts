// Stress: tasks on all CPUs write, read back and flush at random on an NVMe disk whose driver and controller are under
// trouble: resets, lost, late, doubled and corrupt completions, bad statuses, removal. All of it comes from a seed, in
// virtual time: real time with several CPUs has no kernel that could run the driver.
//
//   life    a machine, from boot until its controller is gone, or ROUNDS rounds; life n has the seed + n
//   round   faults are armed, every task does its I/Os, then everything is checked: every I/O ended once; what was written is
//           read; no tag, bio or ring entry is left; the controller is LIVE and nothing failed, or it is gone
//
// Nothing is remembered of a life that is over, so that memory stays as it is.

import { OutputError } from '../core/errors.js'
import { Prng } from '../core/prng.js'
import type { FaultAction } from '../device/nvme/faults.js'
import { nvme_reset_ctrl } from '../drivers/nvme/host/core-state.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import type { Sleep } from '../kernel/core.js'
import { pci_stop_and_remove_bus_device } from '../kernel/pci.js'
import type { Machine } from '../machine/booted.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import type { NvmeHost } from '../machine/host-nvme.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { epochMs } from '../machine/wall-clock.js'
import { builtOnly, diskConfig } from './machine-config.js'

const CPUS = 4
const TASKS = 16
const HZ = 250
const HEAP = 2 ** 22
const BLOCK = 4096
/** Blocks that belong to one task. */
const OWN = 64
const IOS_OF_A_ROUND = 250
const ROUNDS = 40
/** Longer than any recovery takes, ns of virtual time. */
const LONGEST_ROUND = 900e9
const MS = 1e6

/** Kinds of trouble, as --faults names them. */
export const STRESS_FAULTS = [
  'reset',
  'drop',
  'delay',
  'status',
  'duplicate',
  'corrupt',
  'remove',
] as const
export type StressFault = (typeof STRESS_FAULTS)[number]

export interface StressOptions {
  readonly seed: number
  readonly faults: readonly StressFault[]
  /** Wall time, ms. */
  readonly forMs: number
  readonly maxIos: number
  /** Called about once a second of wall time, between two rounds. */
  readonly onProgress?: (counts: StressCounts) => void
}

export interface StressCounts {
  readonly wallMs: number
  ios: number
  rounds: number
  lives: number
  /** I/Os that ended with an error: their controller was gone. */
  failed: number
  resets: number
  removals: number
  /** Rules that were armed: drop, delay, status, duplicate, corrupt. */
  rules: number
}

type Actions = Readonly<Partial<Record<StressFault, readonly FaultAction[]>>>

const ACTIONS: Actions = {
  drop: [{ kind: 'drop' }],
  delay: [
    { kind: 'delay', ns: 5 * MS },
    { kind: 'delay', ns: 40_000 * MS },
  ],
  status: [{ kind: 'status', status: 0x0006 }],
  duplicate: [{ kind: 'duplicate' }],
  corrupt: [
    { kind: 'corrupt', what: 'cid' },
    { kind: 'corrupt', what: 'phase' },
  ],
}

/** One machine and what is known of its disk. */
class Life {
  readonly seed: number
  readonly machine: Machine
  readonly nvme: NvmeHost
  readonly #random: Prng
  readonly #data: number
  /** The byte that fills each block. */
  readonly #content = new Uint8Array(TASKS * OWN)
  readonly #expected = new Uint8Array(BLOCK)
  readonly #counts: StressCounts
  #begun = 0
  #ended = 0
  #failed = 0
  #wrong: string | null = null
  #working = 0

  constructor(seed: number, counts: StressCounts) {
    this.seed = seed
    this.#counts = counts
    this.#random = new Prng(seed)
    this.machine = boot(seed, this.#random)
    this.nvme = this.machine.host!.nvme!
    this.#data = this.machine.alloc(TASKS * BLOCK, BLOCK)
  }

  get gone(): boolean {
    return this.nvme.ctrl(0) === null
  }

  #fail(what: string): never {
    const last = this.machine.host!.k.dmesg.at(-1)?.text ?? 'nothing'
    throw new OutputError(
      `stress: ${what} (seed ${this.seed}, round ${this.#counts.rounds}; the kernel's last word: ${last}); ` +
        `phasebit stress --seed ${this.seed} repeats it`,
    )
  }

  // -------------------------------------------------------------- tasks

  #count(status: number): boolean {
    this.#ended++
    if (status !== 0) this.#failed++
    return status === 0
  }

  *#io(io: kiocb, block: number): Sleep<boolean> {
    const { view } = this.machine
    this.#begun++
    if (io.write) {
      const byte = 1 + this.#random.below(255)
      view.bytes.fill(byte, io.data, io.data + BLOCK)
      if (!this.#count(yield* blkdev_write_iter(io))) return false
      this.#content[block] = byte
      return true
    }
    view.bytes.fill(0xff, io.data, io.data + BLOCK)
    if (!this.#count(yield* blkdev_read_iter(io))) return false
    this.#expected.fill(this.#content[block]!)
    if (Buffer.compare(view.bytes.subarray(io.data, io.data + BLOCK), this.#expected) !== 0)
      this.#wrong ??= `block ${block} holds byte ${view.bytes[io.data]} instead of ${this.#content[block]}`
    return true
  }

  *#task(task: number, q: kiocb['q']): Sleep<void> {
    for (let n = 0; n < IOS_OF_A_ROUND; n++) {
      const kind = this.#random.below(100)
      if (kind === 0) {
        this.#begun++
        if (!this.#count(yield* blkdev_fsync(q))) break
        continue
      }
      const block = task * OWN + this.#random.below(OWN)
      const data = this.#data + task * BLOCK
      const io = { q, write: kind < 50, pos: block * BLOCK, bytes: BLOCK, data }
      if (!(yield* this.#io(io, block))) break
    }
    this.#working--
  }

  // -------------------------------------------------------------- time and trouble

  async #until(done: () => boolean, ns: number): Promise<boolean> {
    const { machine } = this
    const end = machine.now() + ns
    for (let step = 0.5 * MS; !done() && machine.now() < end; step = Math.min(step * 1.2, 1e9))
      await machine.run(Math.min(end, machine.now() + step))
    return done()
  }

  #arm(kinds: readonly StressFault[]): (() => void)[] {
    const { controller } = this.nvme.controllers.all[0]!
    const actions = kinds.flatMap(kind => ACTIONS[kind] ?? [])
    const count = actions.length === 0 ? 0 : this.#random.below(3)
    return Array.from({ length: count }, () => {
      this.#counts.rules++
      const nth = 1 + this.#random.below(TASKS * IOS_OF_A_ROUND)
      const action = actions[this.#random.below(actions.length)]!
      return controller.inject({ match: { nth }, action })
    })
  }

  async #trouble(kinds: readonly StressFault[]): Promise<void> {
    if (kinds.includes('reset'))
      for (let n = this.#random.below(3); n > 0; n--) {
        await this.#until(() => this.#working === 0, this.#random.below(30) * 0.1 * MS)
        const ctrl = this.nvme.ctrl(0)
        if (ctrl && nvme_reset_ctrl(ctrl) === 0) this.#counts.resets++
      }
    if (!kinds.includes('remove') || this.#random.below(20) !== 0) return
    this.#counts.removals++
    await this.#until(() => this.#working === 0, this.#random.below(20) * 0.1 * MS)
    const { bus, controllers } = this.nvme
    controllers.all[0]!.controller.surpriseRemove()
    let over = false
    this.machine.host!.k.spawn('remove', function* () {
      yield* pci_stop_and_remove_bus_device(bus, bus.devices[0]!)
      over = true
    })
    if (!(await this.#until(() => over, LONGEST_ROUND))) this.#fail('a removal does not end')
  }

  async boot(): Promise<void> {
    if (!(await this.#until(() => this.nvme.settled, LONGEST_ROUND)) || this.gone)
      this.#fail('the controller does not come up')
  }

  async round(kinds: readonly StressFault[]): Promise<void> {
    const { queue } = this.nvme.ctrl(0)!.namespaces[0]!
    this.#begun = 0
    this.#ended = 0
    this.#failed = 0
    const disarm = this.#arm(kinds)
    this.#working = TASKS
    for (let n = 0; n < TASKS; n++)
      this.machine.host!.k.spawn('stress', () => this.#task(n, queue), [n % CPUS])
    await this.#trouble(kinds)
    const over = await this.#until(() => this.#working === 0 && this.nvme.settled, LONGEST_ROUND)
    if (!over) this.#fail(`${this.#working} tasks wait for ever`)
    for (const one of disarm) one()
    await this.#until(() => false, 100 * MS)
    this.#check()
  }

  #check(): void {
    this.#counts.rounds++
    this.#counts.ios += this.#ended
    this.#counts.failed += this.#failed
    if (this.#wrong !== null) this.#fail(this.#wrong)
    if (this.#ended !== this.#begun) this.#fail(`${this.#begun} I/Os began, ${this.#ended} ended`)
    const { problems } = this.machine.books()
    if (problems.length > 0) this.#fail(`the books do not balance: ${problems.join('; ')}`)
    const { blk, k } = this.machine.host!
    if (this.gone && blk.mem.used !== 0)
      this.#fail(`${blk.mem.used} bytes are left of a controller`)
    if (!this.gone && this.#failed > 0)
      this.#fail(`${this.#failed} I/Os failed on a live controller`)
    k.dmesg.splice(0, k.dmesg.length - 1)
  }
}

function boot(seed: number, random: Prng): Machine {
  const depth = 8 + random.below(56)
  const size = (TASKS * OWN * BLOCK) / 2 ** 20
  const [spec] = parseDevices([`nvme,size=${size}M,depth=${depth},model=fixed`])
  const config = { readyNs: random.below(3) * MS, adminNs: random.below(2) * 50_000 }
  const disk = {
    ...diskConfig(builtOnly(spec!), 'virtual', 0, CPUS),
    shadow: random.below(2) === 0,
    controller: { config, slots: 1 },
  }
  return bootMachine({
    clock: 'virtual',
    cpus: CPUS,
    hz: HZ,
    seed,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 24,
    disks: [disk],
    extraBytes: hostKernelBytes(CPUS, CPUS, HEAP) + TASKS * BLOCK + BLOCK,
    jobs: 0,
    kernel: { timer: 'exact', heapBytes: HEAP, era: random.below(4) === 0 ? '4.9' : '4.19' },
  })
}

/**
 * Runs until the time is over or the I/Os are done.
 * @throws OutputError at the first violation, with the seed that repeats it
 */
export async function stress(options: StressOptions): Promise<StressCounts> {
  const began = epochMs()
  const counts = {
    ios: 0,
    rounds: 0,
    lives: 0,
    failed: 0,
    resets: 0,
    removals: 0,
    rules: 0,
    get wallMs() {
      return epochMs() - began
    },
  }
  const over = (): boolean => counts.wallMs >= options.forMs || counts.ios >= options.maxIos
  let said = 0
  while (!over()) {
    const life = new Life(options.seed + counts.lives++, counts)
    try {
      await life.machine.start()
      await life.boot()
      for (let n = 0; n < ROUNDS && !over() && !life.gone; n++) {
        await life.round(options.faults)
        if (counts.wallMs - said < 1000) continue
        said = counts.wallMs
        options.onProgress?.(counts)
      }
    } finally {
      await life.machine.stop()
    }
  }
  return counts
}
