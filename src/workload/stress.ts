// Stress: tasks on all CPUs write, read back and flush at random on an NVMe disk whose driver and controller are under
// trouble: resets, lost, late, doubled and corrupt completions, bad statuses, removal. What is drawn comes from a seed.
//
//   virtual time   a seed repeats itself to the nanosecond, and timeouts of a minute take no time
//   real time      the driver's timeouts are a second, and what meets what depends on the host: a seed only tries again
//
//   life    a machine, from boot until its controller or its namespace is gone, or ROUNDS rounds; life n has the seed + n
//   round   faults are armed, every task does its I/Os, then everything is checked: every I/O ended once; what was written is
//           read; no tag, bio or ring entry is left; the controller is LIVE and nothing failed, or it is gone, or it has
//           dropped the namespace because a reset cut off the Identify by which a scan looked at it again, as Linux 4.19
//           does, or timeouts have made I/Os too late for another try, as in 4.9
//
// All lives use the same memory, and nothing else is remembered of one that is over, so that the process does not grow.

import { OutputError } from '../core/errors.js'
import { createMemory } from '../core/memory.js'
import { Prng } from '../core/prng.js'
import { compileCore } from '../core/wasm.js'
import type { FaultAction } from '../device/nvme/faults.js'
import { nvme_reset_ctrl } from '../drivers/nvme/host/core-state.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { type Sleep, TASK_UNINTERRUPTIBLE } from '../kernel/core.js'
import { pci_stop_and_remove_bus_device } from '../kernel/pci.js'
import type { Machine } from '../machine/booted.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import type { NvmeHost } from '../machine/host-nvme.js'
import { bootMachine, type MachineParts } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { epochMs } from '../machine/wall-clock.js'
import { builtOnly, diskConfig } from './machine-config.js'

const CPUS = 4
const TASKS = 16
const HZ = 250
const HEAP = 2 ** 22
/** More than the largest machine takes. */
const MEMORY_BYTES = 32 * 2 ** 20
const BLOCK = 4096
/** Blocks that belong to one task. */
const OWN = 64
const ROUNDS = 40
const MS = 1e6

/** What differs between the clocks. Times are ns. */
interface Pace {
  readonly iosOfRound: number
  /** Between the beginning of a round and a reset or a removal: at most so many of these. */
  readonly gapNs: number
  readonly gaps: number
  /** A round is over, and what it has left to do is done after so long. */
  readonly restNs: number
  /** Longer than the driver waits. */
  readonly lateNs: number
  /** Longer than any recovery takes. */
  readonly longestNs: number
  /** nvme_io_timeout and admin_timeout, s; absent = Linux's. */
  readonly timeout_s?: number
}

const PACES: Readonly<Record<StressOptions['clock'], Pace>> = {
  virtual: {
    iosOfRound: 250,
    gapNs: 0.1 * MS,
    gaps: 30,
    restNs: 100 * MS,
    lateNs: 40_000 * MS,
    longestNs: 900e9,
  },
  real: {
    iosOfRound: 1000,
    gapNs: 5 * MS,
    gaps: 60,
    restNs: 10 * MS,
    lateNs: 1300 * MS,
    longestNs: 120e9,
    timeout_s: 1,
  },
}

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
  readonly clock: 'real' | 'virtual'
  readonly seed: number
  readonly faults: readonly StressFault[]
  /** Wall time, ms. */
  readonly forMs: number
  readonly maxIos: number
  /** Called after each life: what it left may be thrown away now. */
  readonly onLife?: () => void
  /** Called about once a second of wall time. */
  readonly onProgress?: (counts: StressCounts) => void
}

export interface StressCounts {
  readonly wallMs: number
  ios: number
  rounds: number
  lives: number
  /** I/Os that ended with an error: their controller or namespace was gone, or it was too late for another try (4.9). */
  failed: number
  /** Namespaces that a scan dropped. */
  dropped: number
  resets: number
  removals: number
  /** Rules that were armed: drop, delay, status, duplicate, corrupt. */
  rules: number
  /** What the machine is at: its controller's state, who sleeps on what, the kernel's last word. */
  readonly doing: string
}

type Actions = Readonly<Partial<Record<StressFault, readonly FaultAction[]>>>

function actionsOf({ lateNs }: Pace): Actions {
  return {
    drop: [{ kind: 'drop' }],
    delay: [
      { kind: 'delay', ns: 5 * MS },
      { kind: 'delay', ns: lateNs },
    ],
    status: [{ kind: 'status', status: 0x0006 }],
    duplicate: [{ kind: 'duplicate' }],
    corrupt: [
      { kind: 'corrupt', what: 'cid' },
      { kind: 'corrupt', what: 'phase' },
    ],
  }
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
  readonly #pace: Pace
  readonly #tick: () => void
  #begun = 0
  #ended = 0
  #failed = 0
  #wrong: string | null = null
  #queue: kiocb['q'] | null = null
  #dropped = false
  #late = false
  #working = 0

  /** @param tick called now and then while time passes */
  constructor(
    seed: number,
    clock: StressOptions['clock'],
    counts: StressCounts,
    parts: MachineParts,
    tick: () => void,
  ) {
    this.seed = seed
    this.#counts = counts
    this.#pace = PACES[clock]
    this.#tick = tick
    this.#random = new Prng(seed)
    this.machine = boot(seed, clock, this.#random, parts)
    this.nvme = this.machine.host!.nvme!
    this.#data = this.machine.alloc(TASKS * BLOCK, BLOCK)
  }

  get gone(): boolean {
    return this.nvme.ctrl(0) === null || this.#dropped || this.#late
  }

  /** What a machine that does no I/O waits for. */
  get doing(): string {
    const { k } = this.machine.host!
    const asleep = [...k.tasks].filter(
      task => task.state === TASK_UNINTERRUPTIBLE && !/^(stress|ksoftirqd)/.test(task.name),
    )
    const words = asleep.map(task => `${task.name} waits for ${task.waiting_on}`)
    const state = this.nvme.ctrl(0)?.state ?? 'gone'
    return [`controller ${state}`, ...words, k.dmesg.at(-1)?.text ?? 'no word'].join('; ')
  }

  #fail(what: string): never {
    const { config, host } = this.machine
    const last = host!.k.dmesg.at(-1)?.text ?? 'nothing'
    const again = config.clock === 'virtual' ? 'repeats it' : 'tries it again'
    throw new OutputError(
      `stress: ${what} (seed ${this.seed}, round ${this.#counts.rounds}; the kernel's last word: ${last}); ` +
        `phasebit stress --clock ${config.clock} --seed ${this.seed} ${again}`,
    )
  }

  // -------------------------------------------------------------- tasks

  #count(status: number): boolean {
    this.#ended++
    this.#counts.ios++
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
    for (let n = 0; n < this.#pace.iosOfRound; n++) {
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
    // A virtual clock counts whole ns: it would never reach a part of one.
    const end = Math.ceil(machine.now() + ns)
    for (let step = 0.5 * MS; !done() && machine.now() < end; step = Math.min(step * 1.2, 1e9)) {
      await machine.run(Math.min(end, machine.now() + step))
      this.#tick()
    }
    return done()
  }

  #arm(kinds: readonly StressFault[]): (() => void)[] {
    const { controller } = this.nvme.controllers.all[0]!
    const all = actionsOf(this.#pace)
    const actions = kinds.flatMap(kind => all[kind] ?? [])
    const count = actions.length === 0 ? 0 : this.#random.below(3)
    return Array.from({ length: count }, () => {
      this.#counts.rules++
      const nth = 1 + this.#random.below(TASKS * this.#pace.iosOfRound)
      const action = actions[this.#random.below(actions.length)]!
      return controller.inject({ match: { nth }, action })
    })
  }

  /** Some of the pace's gaps, or until the round is over. */
  #gap(): Promise<boolean> {
    const { gapNs, gaps } = this.#pace
    return this.#until(() => this.#working === 0, this.#random.below(gaps) * gapNs)
  }

  async #trouble(kinds: readonly StressFault[]): Promise<void> {
    if (kinds.includes('reset'))
      for (let n = this.#random.below(3); n > 0; n--) {
        await this.#gap()
        const ctrl = this.nvme.ctrl(0)
        if (ctrl && nvme_reset_ctrl(ctrl) === 0) this.#counts.resets++
      }
    if (!kinds.includes('remove') || this.#random.below(20) !== 0) return
    this.#counts.removals++
    await this.#gap()
    const { bus, controllers } = this.nvme
    controllers.all[0]!.controller.surpriseRemove()
    let over = false
    this.machine.host!.k.spawn('remove', function* () {
      yield* pci_stop_and_remove_bus_device(bus, bus.devices[0]!)
      over = true
    })
    if (!(await this.#until(() => over, this.#pace.longestNs))) this.#fail('a removal does not end')
  }

  /** False: a host that stood still for longer than a timeout has left the controller dead, or with an admin queue alone. */
  async boot(): Promise<boolean> {
    if (!(await this.#until(() => this.nvme.settled, this.#pace.longestNs)))
      this.#fail('the controller does not come up')
    const ctrl = this.nvme.ctrl(0)
    if (ctrl !== null && ctrl.namespaces.length > 0) return true
    if (!this.machine.host!.k.dmesg.some(({ text }) => text.includes('timeout')))
      this.#fail(`the controller is ${ctrl?.state ?? 'gone'} and has no namespace`)
    return false
  }

  async round(kinds: readonly StressFault[]): Promise<void> {
    const { queue } = this.nvme.ctrl(0)!.namespaces[0]!
    this.#queue = queue
    this.#begun = 0
    this.#ended = 0
    this.#failed = 0
    const disarm = this.#arm(kinds)
    this.#working = TASKS
    for (let n = 0; n < TASKS; n++)
      this.machine.host!.k.spawn('stress', () => this.#task(n, queue), [n % CPUS])
    await this.#trouble(kinds)
    const over = await this.#until(
      () => this.#working === 0 && this.nvme.settled,
      this.#pace.longestNs,
    )
    if (!over) this.#fail(`${this.#working} tasks wait for ever`)
    for (const one of disarm) one()
    await this.#until(() => false, this.#pace.restNs)
    // Of a controller that went, the last memory goes after a grace period.
    const { mem } = this.machine.host!.blk
    await this.#until(() => this.nvme.ctrl(0) !== null || mem.used === 0, this.#pace.longestNs)
    this.#check()
  }

  #check(): void {
    this.#counts.rounds++
    this.#counts.failed += this.#failed
    if (this.#wrong !== null) this.#fail(this.#wrong)
    if (this.#ended !== this.#begun) this.#fail(`${this.#begun} I/Os began, ${this.#ended} ended`)
    const { problems } = this.machine.books()
    if (problems.length > 0) this.#fail(`the books do not balance: ${problems.join('; ')}`)
    const { blk, k } = this.machine.host!
    const ctrl = this.nvme.ctrl(0)
    this.#dropped = ctrl !== null && ctrl.namespaces[0]?.queue !== this.#queue
    if (this.#dropped) {
      this.#counts.dropped++
      if (!k.dmesg.some(({ text }) => text.includes('Identify namespace failed')))
        this.#fail('a namespace is gone, and no scan has said why')
    }
    // Linux 4.9 does not try again what has taken its whole timeout.
    this.#late =
      this.#failed > 0 &&
      this.nvme.module!.nvme.era.retries_in_time &&
      k.dmesg.some(({ text }) => text.includes('timeout'))
    if (ctrl === null && blk.mem.used !== 0)
      this.#fail(`${blk.mem.used} bytes are left of a controller`)
    if (!this.gone && this.#failed > 0)
      this.#fail(`${this.#failed} I/Os failed on a live controller`)
    k.dmesg.splice(0, k.dmesg.length - 1)
  }
}

function boot(
  seed: number,
  clock: StressOptions['clock'],
  random: Prng,
  parts: MachineParts,
): Machine {
  const depth = 8 + random.below(56)
  const size = (TASKS * OWN * BLOCK) / 2 ** 20
  const [spec] = parseDevices([`nvme,size=${size}M,depth=${depth},model=fixed`])
  const config = { readyNs: random.below(3) * MS, adminNs: random.below(2) * 50_000 }
  const { timeout_s: timeout } = PACES[clock]
  const timeouts = timeout === undefined ? {} : { io_timeout: timeout, admin_timeout: timeout }
  const disk = {
    ...diskConfig(builtOnly(spec!), clock, 0, CPUS),
    shadow: random.below(2) === 0,
    controller: { config, slots: 1, ...timeouts },
  }
  const machine = {
    clock,
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
  } as const
  return bootMachine(machine, parts)
}

/**
 * Runs until the time is over or the I/Os are done.
 * @throws OutputError at the first violation, with the seed that repeats it
 */
export async function stress(options: StressOptions): Promise<StressCounts> {
  const { seed, clock, faults } = options
  const began = epochMs()
  let life: Life | null = null
  const counts = {
    ios: 0,
    rounds: 0,
    lives: 0,
    failed: 0,
    dropped: 0,
    resets: 0,
    removals: 0,
    rules: 0,
    get wallMs() {
      return epochMs() - began
    },
    get doing() {
      return life?.doing ?? 'no machine'
    },
  }
  const over = (): boolean => counts.wallMs >= options.forMs || counts.ios >= options.maxIos
  let said = 0
  const tick = (): void => {
    if (counts.wallMs - said < 1000) return
    said = counts.wallMs
    options.onProgress?.(counts)
  }
  const parts = { module: compileCore('release'), memory: createMemory(MEMORY_BYTES) }
  while (!over()) {
    life = new Life(seed + counts.lives++, clock, counts, parts, tick)
    try {
      await life.machine.start()
      const up = await life.boot()
      for (let n = 0; up && n < ROUNDS && !over() && !life.gone; n++) await life.round(faults)
    } finally {
      await life.machine.stop()
    }
    options.onLife?.()
  }
  return counts
}
