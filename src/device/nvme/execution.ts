// From a fetched command to its answer: faults first, then what the controller is busy with, extensions, fused pairs, the NVM
// command set. A command that ends well at once is posted by the core when the medium's time is over; what the core has no
// record for (a result, a fault's delay) ends by a timer here.

import { DV_PENDING } from '../../../assembly/layout.js'
import { NVME_CMD_READ, NVME_CMD_WRITE } from '../../../assembly/nvme.js'
import type { AdminCommands } from './admin.js'
import { type Answer, type Command, type Done, refuse } from './command.js'
import { Faults, type FaultAction } from './faults.js'
import { Fused } from './fused.js'
import { NvmCommands } from './nvm.js'
import type { AdminParts } from './parts.js'
import { INVALID_OPCODE } from './spec.js'

/** A status with this bit is posted with the old phase (assembly/post.ts). */
const OLD_PHASE = 0x80000000

export class Execution {
  readonly faults: Faults
  readonly #parts: AdminParts
  readonly #admin: AdminCommands
  readonly #nvm: NvmCommands
  readonly #fused: Fused

  constructor(parts: AdminParts, admin: AdminCommands) {
    const { view, dev, dma, medium, spaces, cache, config, queues } = parts
    this.#parts = parts
    this.#admin = admin
    this.faults = new Faults(config.faults ?? [])
    this.#nvm = new NvmCommands({
      view,
      dev,
      dma,
      medium,
      spaces,
      cache,
      mdtsBytes: config.mdtsBytes,
    })
    this.#fused = new Fused(
      view,
      qid => queues.tail(qid),
      c => this.#single(c),
      (c, done) => this.#end(c, done),
    )
  }

  reset(): void {
    this.#fused.reset()
    this.#parts.late.reset()
  }

  // ---------------------------------------------------------------- admin

  admin(c: Command): void {
    const { config, complete, late } = this.#parts
    const fault = this.faults.find(c)
    if (fault && this.#stops(fault)) return
    const answer = fault?.kind === 'status' ? { status: fault.status } : this.#admin.execute(c)
    if (answer === 'pending') return
    const done = (): void => this.#deliver(c, answer, fault)
    const ns = config.adminNs + (fault?.kind === 'delay' ? fault.ns : 0)
    if (ns > 0) late.add(c, ns, done)
    else if (fault) done()
    else complete(c, answer)
  }

  // ---------------------------------------------------------------- I/O

  /** A status that the core posts, or DV_PENDING. */
  io(c: Command): number {
    const fault = this.faults.find(c)
    if (fault) return this.#faulty(c, fault)
    const answer = c.fuse === 0 ? this.#single(c) : this.#fused.execute(c)
    if (answer === 'pending') return DV_PENDING
    if (!answer.dw0 && !answer.dw1) {
      if (answer.status !== 0) this.#admin.failed(c, answer.status)
      return answer.status
    }
    this.#end(c, answer)
    return DV_PENDING
  }

  #single(c: Command): Answer {
    const busy = this.#admin.refused()
    if (busy) return busy
    for (const { ioOpcodes } of this.#parts.extensions) {
      const handler = ioOpcodes?.get(c.opcode)
      if (handler) return handler(c, this.#parts)
    }
    return this.nvm(c)
  }

  /** The NVM command set. */
  nvm(c: Command): Answer {
    return this.#nvm.execute(c) ?? refuse(INVALID_OPCODE)
  }

  /** The medium's time, then the completion. */
  #end(c: Command, done: Done, extra = 0, deliver?: () => void): void {
    const { core, dev, late, now, complete } = this.#parts
    const ns = core.dev_service(dev, c.opcode, now()) - now() + extra
    const post = deliver ?? ((): void => complete(c, done))
    if (ns > 0) late.add(c, ns, post)
    else post()
  }

  // ---------------------------------------------------------------- faults

  /** The command is not executed: it, or the whole controller, is not heard of again. */
  #stops(fault: FaultAction): boolean {
    if (fault.kind === 'stuck') this.#parts.stick(fault.fatal ?? false)
    if (fault.kind === 'remove') this.#parts.remove()
    return fault.kind === 'stuck' || fault.kind === 'remove' || fault.kind === 'drop'
  }

  #faulty(c: Command, fault: FaultAction): number {
    if (this.#stops(fault)) return DV_PENDING
    if (fault.kind === 'status') {
      this.#admin.failed(c, fault.status)
      return fault.status
    }
    const data = fault.kind === 'corrupt' && (fault.what ?? 'data') === 'data'
    const answer = this.#single(c)
    if (answer === 'pending') return DV_PENDING
    if (data && answer.status === 0) this.#spoil(c)
    const extra = fault.kind === 'delay' ? fault.ns : 0
    this.#end(c, answer, extra, () => this.#deliver(c, answer, fault))
    return DV_PENDING
  }

  /** The completion, as the fault wants it. */
  #deliver(c: Command, done: Done, fault: FaultAction | undefined): void {
    const { complete, queues } = this.#parts
    const what = fault?.kind === 'corrupt' ? fault.what : undefined
    if (what === 'cid') queues.post(c, c.cid ^ 0x7fff, done)
    else if (what === 'phase')
      queues.post(c, c.cid, { ...done, status: (done.status | OLD_PHASE) >>> 0 })
    else complete(c, done)
    if (fault?.kind === 'duplicate') complete(c, done)
  }

  /** Turns the first byte of what was read, or of what was written. */
  #spoil(c: Command): void {
    const { dma, spaces, medium, view } = this.#parts
    const ns = spaces.active(c.nsid)
    if (typeof ns === 'number' || (c.opcode !== NVME_CMD_READ && c.opcode !== NVME_CMD_WRITE))
      return
    if (c.opcode === NVME_CMD_READ) {
      const pieces = dma.pieces(c, 1)
      if (typeof pieces !== 'number' && pieces[0]!.at !== 0)
        view.bytes[pieces[0]!.at] = ~view.bytes[pieces[0]!.at]!
      return
    }
    const at = ns.base + c.u64(10) * 2 ** spaces.shift(ns)
    medium.write(
      at,
      medium.read(at, 1).map(byte => ~byte),
    )
  }
}
