// An NVMe controller behind a PCI function: registers, the enable and shutdown handshakes, and what becomes of a command.
//
//   CC.EN 0 to 1     checks AQA, ASQ, ACQ and CC, makes the admin queue, RDY after readyNs; CFS when a check fails
//   CC.EN 1 to 0     controller reset: queues, requests for events and commands are gone, features as they were saved
//   CC.SHN           flushes the cache, SHST complete after shutdownNs; no command is fetched from then on
//   NSSR             the same as a reset, whatever CC says, and CSTS.NSSRO
//
// Commands come from the core (deviceHost): admin commands all, I/O commands those that it leaves to the controller (execution.ts). The
// commands themselves stand in admin.ts and nvm.ts; extensions add opcodes, logs and fields of Identify.
//
// Not modelled: boot partitions, persistent memory regions, pin interrupts (INTMS and INTMC are kept, MSI-X ignores them).

import {
  ARB_NONE,
  ARB_ROUND_ROBIN,
  ARB_WEIGHTED,
  CTRL_ALL,
  CTRL_PLAIN,
  DEV_ARB,
  DEV_BURST,
  DEV_FAULTS,
  DEV_DMA_FROM,
  DEV_DMA_TO,
  DEV_HOST,
  DEV_MAX_LBAS,
  DEV_NN,
  DEV_NR_SQ,
  DEV_NS,
  DEV_PAUSED,
  DEV_SLOTS,
  DEV_WEIGHTS,
  DV_ADMIN,
  DV_DOORBELL,
  DV_IO,
  DV_PENDING,
  DV_ROOM,
  DSQ_ID,
  PLAN_BASE,
} from '../../../assembly/layout.js'
import { AdminCommands } from './admin.js'
import { WriteCache } from './cache.js'
import { Command, type Done } from './command.js'
import {
  type ControllerAddresses,
  type ControllerConfig,
  type ControllerPorts,
  DEFAULT_CONFIG,
} from './config.js'
import { Dma } from './dma.js'
import { Events } from './events.js'
import { Execution } from './execution.js'
import type { Extension } from './extension.js'
import type { FaultRule } from './faults.js'
import { Late } from './late.js'
import { Medium } from './medium.js'
import { Namespaces } from './namespaces.js'
import type { AdminParts } from './parts.js'
import { Queues } from './queues.js'
import { Registers } from './registers.js'
import {
  ACQ,
  AER_ERROR,
  AER_ERROR_DB_REGISTER,
  AER_ERROR_DB_VALUE,
  AQA,
  ASQ,
  CC,
  CC_EN,
  CSTS,
  CSTS_CFS,
  CSTS_NSSRO,
  CSTS_PP,
  CSTS_RDY,
  CSTS_SHST,
  CSTS_SHST_COMPLETE,
  CSTS_SHST_OCCURRING,
  DOORBELLS,
  INTMS,
  INVALID_OPCODE,
  LOG_ERROR,
} from './spec.js'

const ONES = 0xffffffff

/** Why the device does not work on its queues: bits of DEV_PAUSED. */
const PAUSED_STUCK = 1
const PAUSED_NO_MASTER = 2
const PAUSED_SHUTDOWN = 4
const PAUSED_FATAL = 8

export class NvmeController {
  readonly vendor: number
  readonly device: number
  readonly classCode = 0x010802
  readonly vectors: number
  readonly config: ControllerConfig
  readonly spaces: Namespaces
  readonly #ports: ControllerPorts
  readonly #at: ControllerAddresses
  readonly #dma: Dma
  readonly #registers: Registers
  readonly #queues: Queues
  readonly #events: Events
  readonly #admin: AdminCommands
  readonly #execution: Execution
  readonly #services: AdminParts
  readonly #extensions: readonly Extension[]
  #present = true
  #paused = PAUSED_NO_MASTER
  /** Counts resets: what was begun before one must not end after it. */
  #epoch = 0

  constructor(
    ports: ControllerPorts,
    at: ControllerAddresses,
    config: Partial<ControllerConfig> = {},
    extensions: readonly Extension[] = [],
  ) {
    const whole = { ...DEFAULT_CONFIG, ...config }
    this.config = whole
    this.vendor = whole.vendor
    this.device = whole.device
    this.vectors = whole.vectors
    this.#ports = ports
    this.#at = at
    this.#extensions = extensions
    const { view, core } = ports
    const { from, to } = whole.dma ?? { from: PLAN_BASE, to: view.buffer.byteLength }
    this.#dma = new Dma(view, from, to)
    this.#registers = new Registers(view, at.bar, whole, this.#commandSet !== 0, {
      cc: (value, before) => this.#cc(value, before),
      subsystemReset: () => this.#subsystemReset(),
    })
    this.#queues = new Queues(ports, at, whole, this.#dma)
    this.#events = new Events(whole.eventLimit, (c, done) => this.complete(c, done))
    this.spaces = new Namespaces(view, at.ns, whole, this.#commandSet)
    const medium = new Medium(core, view, this.spaces.store)
    const cache = new WriteCache(medium, this.spaces, whole.writeCache && whole.trackCache)
    const complete = (c: Command, done: Done): void => this.complete(c, done)
    this.#services = {
      config: whole,
      view,
      core,
      dev: at.dev,
      dma: this.#dma,
      queues: this.#queues,
      events: this.#events,
      spaces: this.spaces,
      medium,
      cache,
      extensions,
      nvm: c => this.#execution.nvm(c),
      late: new Late((ns, fn) => ports.after(ns, fn), complete),
      now: () => ports.now(),
      complete,
      later: (ns, fn) => this.#later(ns, fn),
      notify: (type, info, log) => this.#events.notify(type, info, log),
      processing: paused => this.#registers.status(paused ? CSTS_PP : 0, paused ? 0 : CSTS_PP),
      fatal: () => this.#fatal(),
      mode: () => this.#mode(),
      arbitrate: () => this.#arbitrate(true),
      stick: fatal => this.stick(fatal),
      remove: () => this.surpriseRemove(),
    }
    this.#admin = new AdminCommands(this.#services)
    this.#execution = new Execution(this.#services, this.#admin)
    this.#bootDevice(from, Math.min(to, view.buffer.byteLength))
  }

  #bootDevice(from: number, to: number): void {
    const { view } = this.#ports
    const { dev, ns, dsqs } = this.#at
    view.setU32(dev + DEV_NN, this.spaces.most)
    if (this.config.faults) view.setU32(dev + DEV_FAULTS, 0)
    view.setU32(dev + DEV_NS, ns)
    view.setU32(dev + DEV_NR_SQ, dsqs.length - 1)
    view.setU32(dev + DEV_MAX_LBAS, this.config.mdtsBytes)
    view.setU32(dev + DEV_DMA_FROM, from)
    view.setU32(dev + DEV_DMA_TO, to)
    this.#pause(PAUSED_NO_MASTER, true)
    this.#mode()
  }

  /** Who executes plain reads and writes: the core, unless every one of them must be seen here. */
  #mode(): void {
    const all =
      this.#dma.page !== 4096 ||
      this.config.trackCache ||
      this.#execution.faults.io ||
      this.#admin.refused() !== undefined
    this.#ports.view.setU32(this.#at.dev + DEV_HOST, all ? CTRL_ALL : CTRL_PLAIN)
  }

  /**
   * Whether queues wait for each other. In plain round robin they do only where it can be seen: commands in service are
   * limited, or the host has said how long a burst is.
   */
  #arbitrate(asked: boolean): void {
    const { view } = this.#ports
    const { dev } = this.#at
    const { burst, high, medium, low } = this.#admin.features.arbitration
    const weighted = ((this.#registers.get(CC) >>> 11) & 7) === 1
    const turns = asked || this.config.serviceSlots > 0 ? ARB_ROUND_ROBIN : ARB_NONE
    view.setU32(dev + DEV_BURST, burst)
    for (const [i, weight] of [high, medium, low].entries())
      view.setU32(dev + DEV_WEIGHTS + 4 * i, weight)
    view.setU32(dev + DEV_SLOTS, this.config.serviceSlots)
    view.setU32(dev + DEV_ARB, weighted ? ARB_WEIGHTED : turns)
  }

  #pause(reason: number, on: boolean): void {
    this.#paused = on ? this.#paused | reason : this.#paused & ~reason
    this.#ports.view.setU32(this.#at.dev + DEV_PAUSED, this.#paused === 0 ? 0 : 1)
  }

  /** I/O command set of the namespaces: 0 = NVM. */
  get #commandSet(): number {
    return this.#extensions.find(extension => extension.commandSet)?.commandSet ?? 0
  }

  // ---------------------------------------------------------------- the PCI function

  /** False after it was pulled out: reads give all ones. */
  present(): boolean {
    return this.#present
  }

  read32(offset: number): number {
    return this.#present ? this.#registers.read(offset) : ONES
  }

  read64(offset: number): bigint {
    return BigInt(this.read32(offset)) | (BigInt(this.read32(offset + 4)) << 32n)
  }

  write32(offset: number, value: number): void {
    if (!this.#present || offset % 4 !== 0 || offset < 0) return
    if (offset >= DOORBELLS) this.#doorbell(offset - DOORBELLS, value)
    else if (!(this.#paused & PAUSED_STUCK)) this.#registers.write(offset, value >>> 0)
  }

  write64(offset: number, value: bigint): void {
    this.write32(offset, Number(value & 0xffffffffn))
    this.write32(offset + 4, Number((value >> 32n) & 0xffffffffn))
  }

  /** Command register of the function: off, it reaches neither memory nor interrupts. */
  busMaster(on: boolean): void {
    this.#pause(PAUSED_NO_MASTER, !on)
    if (on) this.#resume()
  }

  /** Looks at every queue again. */
  #resume(): void {
    if (this.#paused !== 0) return
    const { core, now } = this.#ports
    for (const qid of [...this.#queues.sqs.keys()]) core.dev_step(this.#at.dsqs[qid]!, now())
  }

  /** A doorbell that was written through the function; the core's own writes are seen by the core. */
  #doorbell(offset: number, value: number): void {
    const step = 4 * 2 ** this.config.stride
    const number = Math.floor(offset / step)
    const qid = number >>> 1
    const completion = number % 2 === 1
    const known = completion ? this.#queues.cqs.has(qid) : this.#queues.sqs.has(qid)
    if (offset % step !== 0 || !known) {
      this.#badDoorbell(AER_ERROR_DB_REGISTER)
      return
    }
    if ((value & 0xffff) >= this.#queues.entries(qid, completion)) {
      this.#badDoorbell(AER_ERROR_DB_VALUE)
      return
    }
    if (!this.#queues.moves(qid, completion, value & 0xffff)) {
      this.#badDoorbell(AER_ERROR_DB_VALUE)
      return
    }
    this.#ports.view.store(this.#at.bar + DOORBELLS + offset, value & 0xffff)
    if (this.#paused !== 0) return
    const { core, now } = this.#ports
    for (const dsq of completion ? this.#queues.sqsOf(qid) : [this.#at.dsqs[qid]!])
      core.dev_step(dsq, now())
  }

  #badDoorbell(info: number): void {
    if (this.#events.outstanding > 0) this.#events.notify(AER_ERROR, info, LOG_ERROR)
  }

  // ---------------------------------------------------------------- enable, shutdown, reset

  #cc(value: number, before: number): void {
    const on = (value & CC_EN) !== 0
    const was = (before & CC_EN) !== 0
    if (on && !was) this.#enable(value)
    else if (!on && was) {
      this.reset()
      this.#later(this.config.readyNs, () => this.#registers.status(0, CSTS_RDY))
    }
    const shn = (value >>> 14) & 3
    const shnBefore = (before >>> 14) & 3
    if (shn !== 0 && shnBefore === 0) this.#shutdown()
    else if (shn === 0 && shnBefore !== 0) this.#registers.status(0, CSTS_SHST)
  }

  #enable(cc: number): void {
    const page = 4096 * 2 ** ((cc >>> 7) & 15)
    const aqa = this.#registers.get(AQA)
    const asq = this.#registers.get64(ASQ)
    const acq = this.#registers.get64(ACQ)
    this.#dma.page = page
    this.#mode()
    this.#arbitrate(false)
    const good =
      ((cc >>> 7) & 15) <= this.config.mpsMax &&
      asq % page === 0 &&
      acq % page === 0 &&
      this.#commandSets(cc) &&
      ((cc >>> 11) & 7) <= (this.config.weighted ? 1 : 0) &&
      ((cc >>> 16) & 15) === 6 &&
      ((cc >>> 20) & 15) === 4 &&
      (aqa & 0xfff) !== 0 &&
      aqa >>> 16 !== 0 &&
      this.#queues.startAdmin(asq, (aqa & 0xfff) + 1, acq, (aqa >>> 16) + 1)
    if (!good) this.#fatal()
    else this.#later(this.config.readyNs, () => this.#registers.status(CSTS_RDY))
  }

  #commandSets(cc: number): boolean {
    const css = (cc >>> 4) & 7
    return css === 0 || (css === 6 && (this.#registers.get(4) & (1 << 11)) !== 0)
  }

  /** Everything that a reset takes away. */
  #clear(): void {
    this.#epoch++
    this.#queues.reset()
    this.#events.reset()
    this.#execution.reset()
    this.#admin.reset()
    for (const extension of this.#extensions) extension.reset?.()
  }

  /** Controller reset; RDY is the caller's. */
  reset(): void {
    this.#clear()
    this.#registers.set(INTMS, 0)
    this.#registers.status(0, CSTS_CFS | CSTS_PP | CSTS_SHST)
    this.#pause(PAUSED_SHUTDOWN | PAUSED_FATAL, false)
  }

  #subsystemReset(): void {
    this.reset()
    this.#registers.set(CC, 0)
    this.#registers.status(CSTS_NSSRO, CSTS_RDY)
  }

  /** Function level reset: as the controller reset, and it is off. */
  functionReset(): void {
    this.reset()
    for (const register of [CC, CSTS, AQA, ASQ, ASQ + 4, ACQ, ACQ + 4])
      this.#registers.set(register, 0)
  }

  #shutdown(): void {
    this.#services.cache.flush()
    this.#registers.status(CSTS_SHST_OCCURRING, CSTS_SHST)
    this.#pause(PAUSED_SHUTDOWN, true)
    this.#later(this.config.shutdownNs, () => this.#registers.status(CSTS_SHST_COMPLETE, CSTS_SHST))
  }

  /** Controller Fatal Status: nothing is fetched or posted until a reset. */
  #fatal(): void {
    this.#registers.status(CSTS_CFS)
    this.#pause(PAUSED_FATAL, true)
  }

  /** At once when it takes no time; never after a reset. */
  #later(ns: number, fn: () => void): void {
    if (ns <= 0) {
      fn()
      return
    }
    const epoch = this.#epoch
    this.#ports.after(ns, () => {
      if (epoch === this.#epoch && this.#present) fn()
    })
  }

  // ---------------------------------------------------------------- commands

  /** What the core asks: DV_* of assembly/layout.ts. */
  deviceHost(what: number, dsq: number, sqe: number, arg: number): number {
    const { view } = this.#ports
    switch (what) {
      case DV_ADMIN:
        this.admin(dsq, sqe)
        return 0
      case DV_IO:
        return this.#execution.io(new Command(view, dsq, sqe))
      case DV_ROOM:
        this.#queues.release(dsq)
        return 0
      case DV_DOORBELL: {
        const known = this.#queues.sqs.has(view.u32(dsq + DSQ_ID))
        this.#badDoorbell(known ? AER_ERROR_DB_VALUE : AER_ERROR_DB_REGISTER)
        return arg
      }
    }
    return 0
  }

  /** An entry of the admin queue was fetched. */
  admin(dsq: number, sqe: number): void {
    this.#execution.admin(new Command(this.#ports.view, dsq, sqe))
  }

  /** An I/O command that the core leaves to the controller; false when nobody knows its opcode. */
  io(dsq: number, sqe: number): boolean {
    const c = new Command(this.#ports.view, dsq, sqe)
    const status = this.#execution.io(c)
    if (status !== DV_PENDING) this.complete(c, { status })
    return (status & 0x7ff) !== INVALID_OPCODE
  }

  /** Ends a command that was 'pending'. */
  complete(c: Command, done: Done): void {
    if (this.#paused !== 0 || !this.#present) return
    if (done.status !== 0) this.#admin.failed(c, done.status)
    this.#queues.complete(c, done)
  }

  // ---------------------------------------------------------------- what goes wrong

  /** A rule from now on; the result takes it back. */
  inject(rule: FaultRule): () => void {
    const remove = this.#execution.faults.add(rule)
    this.#mode()
    return () => {
      remove()
      this.#mode()
    }
  }

  /** Takes all rules back. */
  clearFaults(): void {
    this.#execution.faults.clear()
    this.#mode()
  }

  /** Stops for good, until the power goes: no register changes any more. */
  stick(fatal: boolean): void {
    if (fatal) this.#registers.status(CSTS_CFS)
    this.#pause(PAUSED_STUCK, true)
  }

  /** Pulled out: reads give all ones, nothing is fetched or posted. What was in its write cache is lost. */
  surpriseRemove(): void {
    this.#present = false
    this.#pause(PAUSED_STUCK, true)
    this.#clear()
    this.#lose(() => false)
  }

  /**
   * The power goes and comes back: registers as at first, saved features, and of the write cache only what `kept` names (a
   * drive may have written some blocks by itself).
   */
  powerLoss(kept: (nsid: number, lba: number) => boolean = () => false): void {
    const clean = (this.#registers.read(CSTS) & CSTS_SHST) === CSTS_SHST_COMPLETE
    this.#lose(clean ? () => true : kept)
    this.#clear()
    this.spaces.powerCycle()
    this.#admin.powerCycle(clean)
    for (const extension of this.#extensions) extension.powerCycle?.()
    for (const register of [CC, CSTS, AQA, ASQ, ASQ + 4, ACQ, ACQ + 4, INTMS])
      this.#registers.set(register, 0)
    this.#paused = PAUSED_NO_MASTER
    this.#pause(PAUSED_NO_MASTER, true)
  }

  #lose(kept: (nsid: number, lba: number) => boolean): void {
    this.#services.cache.lose(kept)
  }
}
