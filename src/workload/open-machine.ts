// A machine for a program: reads, writes, trims and flushes one at a time or many at once.
//
//   submit, poll              plain calls. submit() gives an I/O to the block layer; poll() lets time pass until something
//                             has completed and returns it
//   read, write, trim, flush  promises over the same two: what is asked for in one turn of the event loop is in flight together
//   queue                     slots with buffers of their own for many small reads and writes (io-queue.ts)
//
// The machine has one CPU, this thread: nothing happens unless one of these is called. In virtual time the same calls give
// the same times on every host; with `clock: 'real'` an I/O takes what it takes, and who waits looks again and again.
// Data are copied in and out of the machine's memory, but for a queue's.

import {
  BIO_BYTES,
  BIO_STATUS,
  CPU_NOW,
  CPU_NULLB,
  CPU_RING,
  LINE_PAIR,
  M_BASE,
  M_JIFFIES,
  PAGE_SIZE,
  RING_BASE,
  RING_HEAD,
  RING_MASK,
  RING_TAIL,
  RUN_IDLE,
  RUN_REASON,
  RUN_SLOW,
} from '../../assembly/layout.js'
import { UserError } from '../core/errors.js'
import { errname } from '../kernel/errno.js'
import { alignUp } from '../core/memory.js'
import { jiffiesAt } from '../machine/clock.js'
import { bootMachine, type Disk, type Machine, type SlowContext } from '../machine/machine.js'
import { serviceSlow, slowPending } from '../machine/slow.js'
import type { DiskConfig } from '../machine/config.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import type { DeviceSpec } from '../machine/spec.js'
import { parseEventAction } from '../machine/spec-event.js'
import { parseFault } from '../machine/spec-fault.js'
import { DEFAULT_MACHINE, parseDevices } from '../machine/spec-parse.js'
import { diskController } from './controller-disks.js'
import { deviceEvent, eventTarget } from './device-events.js'
import { IoQueue } from './io-queue.js'
import { builtOnly, controllerHeaps, diskConfigs } from './machine-config.js'
import {
  bytesOf,
  checkRange,
  type Completion,
  errnoOf,
  fillBio,
  type Io,
  IoError,
  OPF,
} from './open-io.js'

/** What the machine is made of. */
export interface OpenOptions {
  /** Disks, as after --device; default: one, `nvme`, called nvme0n1. */
  readonly devices?: readonly string[]
  /** Bytes that a disk has at least which does not say its size; it is never smaller than 1 GiB. */
  readonly sizeBytes?: number
  /** I/Os in flight at once, default 64. */
  readonly depth?: number
  /** Bytes of the largest read or write, default 1 MiB. */
  readonly maxBytes?: number
  /** Budget of all data, default 2 GiB. */
  readonly memBytes?: number
  readonly seed?: number
  /** `virtual` unless said. `real`: the host's clock; devices run in this thread, or where their `where=` says. */
  readonly clock?: 'virtual' | 'real'
  /**
   * NVMe disks have whole controllers, which the driver finds and recovers: for addFault(). Devices whose keys need one
   * have it anyway.
   */
  readonly probe?: boolean
}

const CPU = 0
const HZ = 250
const DEPTH = 64
const MAX_DEPTH = 1024
const MAX_BYTES = 2 ** 20
const EVENTS_PER_CALL = 4096
/** How far a machine with a kernel goes at once at most, ns. */
const TURN_NS = 1e9
/** In real time: completions taken in one go, and how long nothing may end while I/Os are in flight (as Linux's timeout). */
const LOOK_BUDGET = 64
const LOST_NS = 30e9
/** submit_bio returns less than this when the bio has to be submitted again. */
const FIRST_AGAIN = -1
const NOTHING: Uint8Array = new Uint8Array(0)

/** Whose promise an I/O will settle. */
interface Waiting {
  readonly resolve: (completion: Completion) => void
  readonly reject: (error: unknown) => void
}

/** One place for an I/O in flight. */
interface Slot {
  readonly bio: number
  readonly buffer: number
  io: Io
  ticket: number
  startNs: number
}

/**
 * Boots a machine.
 * @throws UserError for devices that contradict themselves or are not built yet, or when memory does not suffice
 */
export async function openMachine(options: OpenOptions = {}): Promise<OpenMachine> {
  const depth = whole('depth', options.depth ?? DEPTH, 1, MAX_DEPTH)
  const maxBytes = alignUp(
    whole('maxBytes', options.maxBytes ?? MAX_BYTES, 512, 2 ** 28),
    PAGE_SIZE,
  )
  const clock = options.clock ?? 'virtual'
  const disks = parseDevices(options.devices ?? ['nvme']).flatMap(one =>
    disksOf(one, clock, options),
  )
  const probed = disks.some(disk => disk.controller)
  if (probed && clock === 'real')
    throw new UserError(
      'clock=real: a machine whose driver finds its controllers runs in virtual time here',
    )
  if (disks.some(disk => disk.controller?.events))
    throw new UserError('event= belongs to runs of jobs; here there is event()')
  const heapBytes = KERNEL_HEAP + controllerHeaps(disks)
  const kernelBytes = probed ? hostKernelBytes(1, disks.length, heapBytes) + PAGE_SIZE : 0
  const machine = bootMachine({
    clock,
    ...(clock === 'real' ? { ownThread: true as const } : {}),
    cpus: 1,
    hz: HZ,
    seed: options.seed ?? 0,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: options.memBytes ?? DEFAULT_MACHINE.memBytes,
    disks,
    extraBytes: depth * (maxBytes + LINE_PAIR) + PAGE_SIZE + kernelBytes,
    jobs: 0,
    ...(probed ? { kernel: { heapBytes } } : {}),
  })
  const open = new OpenMachine(machine, depth, maxBytes)
  await machine.start({ handlers: { bio: (_, bio) => open.completed(bio) } })
  await machine.probed()
  return open
}

/** Of the kernel's own memory, where a machine has one. */
const KERNEL_HEAP = 2 ** 20

function disksOf(
  device: DeviceSpec,
  clock: 'virtual' | 'real',
  { sizeBytes = 0, probe = false }: OpenOptions,
): DiskConfig[] {
  const spec = builtOnly(device)
  const disks = diskConfigs(spec, clock, sizeBytes, 1)
  const [disk, ...rest] = disks
  if (!probe || spec.kind !== 'nvme' || disk!.controller) return disks
  const { faults: _, ...plain } = disk!
  return [{ ...plain, controller: diskController(spec, plain.sizeBytes, 0) }, ...rest]
}

function whole(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value
  throw new UserError(`${name}=${value}: a whole number from ${low} to ${high} is accepted`)
}

/** A running machine. Make one with openMachine(). */
export class OpenMachine {
  readonly #machine: Machine
  readonly #context: SlowContext
  readonly #maxBytes: number
  readonly #free: Slot[] = []
  readonly #busy = new Map<number, Slot>()
  readonly #waiting = new Map<number, Waiting>()
  readonly #queues: IoQueue[] = []
  /** Slots of queues so far: BIO_PRIVATE of the next one's first bio; 0 = of no queue. */
  #queued = 1
  readonly #real: boolean
  readonly #hz: number
  /** Real time: when something ended last, or the first I/O was submitted. */
  #fruitfulAt = 0
  #completed: Completion[] = []
  #tickets = 0
  #pumping: Promise<void> | undefined

  /** Use openMachine(). */
  constructor(machine: Machine, depth: number, maxBytes: number) {
    const { core, view, now } = machine
    this.#machine = machine
    this.#real = machine.config.clock === 'real'
    this.#hz = machine.config.hz
    this.#maxBytes = maxBytes
    this.#context = { core, view, cpu: machine.cpuAddress(CPU), index: CPU, now, post: () => {} }
    const buffers = machine.alloc(depth * maxBytes, PAGE_SIZE)
    for (let i = 0; i < depth; i++) {
      const bio = machine.alloc(BIO_BYTES, LINE_PAIR)
      const idle: Io = { op: 'flush' }
      this.#free.push({ bio, buffer: buffers + i * maxBytes, io: idle, ticket: 0, startNs: 0 })
    }
  }

  /** Names of the disks, in their order. */
  get disks(): readonly string[] {
    return this.#machine.disks.map(disk => disk.config.name)
  }

  /** The machine's clock, ns since boot. */
  get nowNs(): number {
    return this.#machine.now()
  }

  /** I/Os submitted and not yet returned by poll() or by their promise. */
  get inFlight(): number {
    return this.#outstanding() + this.#completed.length
  }

  /** Bytes of a disk. */
  sizeBytes(disk?: string): number {
    return bytesOf(this.#disk(disk))
  }

  /**
   * From now on something goes wrong: a fault as after `fault=`, such as `drop/op:read/nth:3`.
   * @returns takes it back
   * @throws UserError for a text that is no fault, a disk without a controller (see OpenOptions.probe)
   */
  addFault(text: string, disk?: string): () => void {
    const fault = parseFault(text)
    if (typeof fault === 'string') throw new UserError(`addFault: ${text}: ${fault}`)
    const { config } = this.#disk(disk)
    const name = config.namespaceOf ?? config.name
    const all = this.#machine.host?.nvme?.controllers.all ?? []
    const found = all.find(one => one.disk.config.name === name)
    if (!found)
      throw new UserError(
        `addFault: ${config.name} has no controller; open it with { probe: true }`,
      )
    return found.controller.inject(fault)
  }

  /**
   * Makes something happen to the controller of a disk: an event as after `event=`, without its time, such as `reset`, `flr`,
   * `suspend/500ms`, `aer` or `power-loss`. Resolves when it is over.
   * @throws UserError for a text that is no event, a disk without a controller (see OpenOptions.probe), what the driver refuses
   */
  async event(text: string, disk?: string): Promise<void> {
    const action = parseEventAction(text)
    if (typeof action === 'string') throw new UserError(`event: ${text}: ${action}`)
    const { config } = this.#disk(disk)
    const host = this.#machine.host
    const target = host && eventTarget(this.#machine, config.namespaceOf ?? config.name)
    if (!target)
      throw new UserError(`event: ${config.name} has no controller; open it with { probe: true }`)
    const errors: number[] = []
    host.k.spawn('event', function* () {
      errors.push(yield* deviceEvent(target, action))
    })
    // Others that wait in this turn of the event loop are to submit theirs first.
    for (await Promise.resolve(); errors.length === 0; await Promise.resolve()) {
      const idle = this.#machine.turn(this.nowNs + TURN_NS) === 'idle'
      this.#drainRing()
      if (idle && errors.length === 0) throw new Error(`event ${text} waits for ever`)
    }
    if (errors[0] !== 0) throw new UserError(`event: ${text}: ${errname(errors[0]!)}`)
  }

  /**
   * Gives an I/O to a disk (the first unless named) and returns its ticket. When `depth` I/Os are in flight, time passes
   * until one of them has completed.
   * @throws UserError for an I/O that the disk cannot take: not whole blocks, past the end, larger than maxBytes
   */
  submit(io: Io, disk?: string): number {
    const target = this.#disk(disk)
    this.#check(io, target)
    while (this.#free.length === 0) this.#step()
    const slot = this.#free.pop()!
    slot.io = io
    slot.ticket = ++this.#tickets
    slot.startNs = this.nowNs
    this.#fill(slot, target)
    this.#busy.set(slot.bio, slot)
    this.#submitBio(slot.bio)
    return slot.ticket
  }

  /** Lets time pass until at least one I/O has completed; returns all that have. Empty when nothing is in flight. */
  poll(): Completion[] {
    while (this.#completed.length === 0 && this.#busy.size > 0) this.#step()
    const completed = this.#completed
    this.#completed = []
    return completed
  }

  /**
   * A queue of its own to a disk, for many small reads and writes: it takes `slots` of the machine's `depth` for good.
   * @throws UserError when so many are not free
   */
  queue(slots: number, disk?: string): IoQueue {
    const target = this.#disk(disk)
    const free = this.#free.length
    if (!(Number.isInteger(slots) && slots >= 1 && slots <= free))
      throw new UserError(`queue of ${slots} slots: 1 to ${free} of this machine's depth are free`)
    const { core, view } = this.#machine
    const host = {
      core,
      view,
      cpu: this.#context.cpu,
      disk: target,
      maxBytes: this.#maxBytes,
      real: this.#real,
      stamp: () => this.#stamp(),
      step: () => this.#step(),
      submit: (bio: number) => this.#submitBio(bio),
      completed: (bio: number) => this.completed(bio),
    }
    const queue = new IoQueue(host, this.#free.splice(free - slots), this.#queued)
    this.#queued += slots
    this.#queues.push(queue)
    return queue
  }

  /** @throws IoError */
  async read(offset: number, length: number, disk?: string): Promise<Uint8Array> {
    return (await this.#ask({ op: 'read', offset, length }, disk)).data
  }

  /** Resolves when the disk has said that it is done, which is not yet when it is durable: see flush(). @throws IoError */
  async write(offset: number, data: Uint8Array, disk?: string): Promise<void> {
    await this.#ask({ op: 'write', offset, data }, disk)
  }

  /** Discards a range: it reads as zeros and takes no memory any more. @throws IoError */
  async trim(offset: number, length: number, disk?: string): Promise<void> {
    await this.#ask({ op: 'trim', offset, length }, disk)
  }

  /** Makes durable what was written. @throws IoError */
  async flush(disk?: string): Promise<void> {
    await this.#ask({ op: 'flush' }, disk)
  }

  /** Whether nothing was lost: everything submitted has ended once, and nothing is held. */
  get balanced(): boolean {
    return this.#machine.books().balanced
  }

  /** The machine must not be used afterwards. */
  close(): Promise<void> {
    return this.#machine.stop()
  }

  // ---------------------------------------------------------------- promises

  async #ask(io: Io, disk: string | undefined): Promise<Completion> {
    const ticket = this.submit(io, disk)
    const completion = await new Promise<Completion>((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject })
      this.#pumping ??= this.#pump()
    })
    if (completion.errno !== 0) throw new IoError(io, completion.errno)
    return completion
  }

  /** Lets time pass once this turn's callers have all submitted theirs. */
  async #pump(): Promise<void> {
    await Promise.resolve()
    try {
      while (this.#waiting.size > 0) this.#step()
    } catch (error) {
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    }
    this.#pumping = undefined
  }

  // ---------------------------------------------------------------- one I/O

  #disk(name: string | undefined): Disk {
    return name === undefined
      ? this.#machine.disks[0]!
      : this.#machine.disk(name.replace(/^\/dev\//, ''))
  }

  #check(io: Io, disk: Disk): void {
    if (io.op === 'flush') return
    const { op, offset } = io
    checkRange({ op, offset, length: lengthOf(io) }, disk, this.#maxBytes)
  }

  #fill({ bio, buffer, io }: Slot, disk: Disk): void {
    const { view } = this.#machine
    if (io.op === 'write') view.bytes.set(io.data, buffer)
    const offset = io.op === 'flush' ? 0 : io.offset
    fillBio(view, bio, OPF[io.op], offset, lengthOf(io), buffer, disk.q)
  }

  /** I/Os that a disk has, its machine's own and those of its queues. */
  #outstanding(): number {
    let n = this.#busy.size
    for (const queue of this.#queues) n += queue.inFlight
    return n
  }

  /** What follows happens now; in real time, timers of null_blk have their turn. */
  #stamp(): void {
    const { core, view } = this.#machine
    const { cpu } = this.#context
    const now = Math.max(this.nowNs, view.u64(cpu + CPU_NOW))
    core.cpu_set_now(cpu, now)
    if (!this.#real) return
    view.store(M_BASE + M_JIFFIES, jiffiesAt(now, this.#hz))
    if (view.u32(cpu + CPU_NULLB)) core.null_cmd_timers(cpu)
  }

  #submitBio(bio: number): void {
    const { core } = this.#machine
    const { cpu } = this.#context
    this.#stamp()
    let cookie = core.submit_bio(cpu, bio)
    while (cookie < FIRST_AGAIN) {
      this.#step()
      cookie = core.submit_bio_again(cpu, bio)
    }
  }

  /** Lets the machine handle some events, and takes what has completed. */
  #step(): void {
    const { core, view, host } = this.#machine
    const { cpu } = this.#context
    if (this.#real) {
      this.#look()
      return
    }
    const before = this.#outstanding()
    if (host) {
      this.#turn(before)
      return
    }
    // a flush waits for TypeScript as soon as it is submitted, a failed request when its completion is found
    if (slowPending(view, cpu)) {
      serviceSlow(this.#context, { bio: (_, bio) => this.completed(bio) })
      core.virtual_kick(cpu)
    }
    const result = core.virtual_run(EVENTS_PER_CALL, Number.POSITIVE_INFINITY)
    this.#drainRing()
    if (result & RUN_SLOW) return
    if ((result & RUN_REASON) === RUN_IDLE) this.#checkAlive(before)
  }

  /** Nothing is left to do: then something has ended, or nothing was in flight. */
  #checkAlive(before: number): void {
    if (before > 0 && !this.#keptAny() && this.#outstanding() === before)
      throw new Error(`${before} I/Os are in flight, but nothing will ever happen again`)
  }

  #keptAny(): boolean {
    return this.#queues.some(queue => queue.keeps)
  }

  /** In real time: one look at everything. */
  #look(): void {
    const { core, view } = this.#machine
    const { cpu } = this.#context
    this.#stamp()
    core.cpu_run(cpu, LOOK_BUDGET)
    if (slowPending(view, cpu)) serviceSlow(this.#context, { bio: (_, bio) => this.completed(bio) })
    const found = this.#drainRing()
    const now = this.nowNs
    if (found > 0 || this.#outstanding() === 0 || this.#fruitfulAt === 0) this.#fruitfulAt = now
    else if (now - this.#fruitfulAt > LOST_NS)
      throw new Error(
        `${this.#outstanding()} I/Os are in flight, and none has ended for ${LOST_NS / 1e9} s`,
      )
  }

  /** The same on a machine with a kernel. */
  #turn(before: number): void {
    const end = this.#machine.turn(this.nowNs + TURN_NS)
    this.#drainRing()
    if (end === 'idle') this.#checkAlive(before)
  }

  /** How many have ended. */
  #drainRing(): number {
    const { view } = this.#machine
    const ring = view.u32(this.#context.cpu + CPU_RING)
    const [base, mask] = [view.u32(ring + RING_BASE), view.u32(ring + RING_MASK)]
    for (let n = 0; ; n++) {
      const head = view.u32(ring + RING_HEAD)
      if (head === view.u32(ring + RING_TAIL)) return n
      view.setU32(ring + RING_HEAD, head + 1)
      this.completed(view.u32(base + (head & mask) * 4))
    }
  }

  /** A bio of one of its I/Os has ended: for the machine alone. */
  completed(bio: number): void {
    const { view } = this.#machine
    const slot = this.#busy.get(bio)
    if (!slot) {
      this.#queueOf(bio).keep(bio)
      return
    }
    this.#busy.delete(bio)
    const { io, buffer, ticket, startNs } = slot
    const status = view.u32(bio + BIO_STATUS)
    const good = status === 0 && io.op === 'read'
    const completion: Completion = {
      ticket,
      errno: errnoOf(status),
      data: good ? view.bytes.slice(buffer, buffer + io.length) : NOTHING,
      latencyNs: this.nowNs - startNs,
    }
    this.#free.push(slot)
    const waiting = this.#waiting.get(ticket)
    this.#waiting.delete(ticket)
    if (waiting) waiting.resolve(completion)
    else this.#completed.push(completion)
  }

  #queueOf(bio: number): IoQueue {
    return this.#queues.find(queue => {
      const slot = queue.slotOf(bio)
      return slot >= 0 && slot < queue.slots
    })!
  }
}

function lengthOf(io: Io): number {
  if (io.op === 'flush') return 0
  return io.op === 'write' ? io.data.length : io.length
}
