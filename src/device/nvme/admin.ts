// Admin commands: who takes which opcode, and the commands that are about the controller itself (queues, Identify, logs, Abort,
// features' effects, firmware, doorbell buffers, keep alive). Those about namespaces stand in namespace-commands.ts and
// sanitize.ts.
//
// Admin commands over PCIe use PRPs and are never fused. An opcode that nobody takes is an invalid one.

import {
  DEV_READS,
  DEV_READ_BLOCKS,
  DEV_WRITES,
  DEV_WRITTEN_BLOCKS,
} from '../../../assembly/layout.js'
import { type Answer, type Command, type Done, OK, refuse } from './command.js'
import { Bytes } from './bytes.js'
import type { Handler } from './extension.js'
import { ControllerFeatures, TEMPERATURE_K } from './controller-features.js'
import { Firmware } from './firmware.js'
import {
  controllerList,
  idList,
  identifyController,
  identifyNamespace,
  namespaceDescriptors,
} from './identify.js'
import { changedPage, deliverLog, effectsPage, ErrorLog, smartPage } from './logs.js'
import { NamespaceCommands } from './namespace-commands.js'
import type { AdminParts } from './parts.js'
import { Sanitize } from './sanitize.js'
import * as S from './spec.js'

const HOUR_NS = 3.6e12

/** Bit of an opcode: data go to the controller. */
const FROM_HOST = 1

/** Effects of commands: supported; changes content, capabilities of a namespace, the namespace inventory. */
const SUPPORTED = 1
const CONTENT = 2
const CAPABILITY = 4
const INVENTORY = 8

const IO_EFFECTS: ReadonlyMap<number, number> = new Map([
  [0x00, SUPPORTED],
  [0x01, SUPPORTED | CONTENT],
  [0x02, SUPPORTED],
  [0x04, SUPPORTED | CONTENT],
  [0x05, SUPPORTED],
  [0x08, SUPPORTED | CONTENT],
  [0x09, SUPPORTED | CONTENT],
  [0x0c, SUPPORTED],
])

const CHANGES: ReadonlyMap<number, number> = new Map([
  [S.NS_MANAGEMENT, CONTENT | INVENTORY],
  [S.NS_ATTACHMENT, INVENTORY],
  [S.FORMAT_NVM, CONTENT | CAPABILITY],
  [S.SANITIZE, CONTENT],
])

export class AdminCommands {
  readonly #parts: AdminParts
  readonly #features: ControllerFeatures
  readonly #firmware: Firmware
  readonly #namespaces: NamespaceCommands
  readonly #sanitize: Sanitize
  readonly #errors: ErrorLog
  readonly #table: ReadonlyMap<number, Handler>
  #mediaErrors = 0
  #powerCycles = 0
  #unsafeShutdowns = 0
  #aborts = 0

  constructor(parts: AdminParts) {
    const { config, dma } = parts
    this.#parts = parts
    this.#features = new ControllerFeatures(parts)
    this.#firmware = new Firmware(dma, config.firmware)
    this.#namespaces = new NamespaceCommands(parts, () => this.#features.asyncEvents)
    this.#sanitize = new Sanitize(parts)
    this.#errors = new ErrorLog(config.errorEntries)
    this.#table = new Map<number, Handler>([
      [S.DELETE_SQ, c => this.#deleteSq(c)],
      [S.CREATE_SQ, c => this.#queue(parts.queues.createSq(c))],
      [S.DELETE_CQ, c => this.#queue(parts.queues.deleteCq(c))],
      [S.CREATE_CQ, c => this.#queue(parts.queues.createCq(c, v => this.#features.coalescing(v)))],
      [S.GET_LOG_PAGE, c => this.#log(c)],
      [S.IDENTIFY, c => this.#identify(c)],
      [S.ABORT, c => this.#abort(c)],
      [S.SET_FEATURES, c => this.#features.set(c)],
      [S.GET_FEATURES, c => this.#features.get(c)],
      [S.ASYNC_EVENT, c => parts.events.request(c)],
      [S.NS_MANAGEMENT, c => this.#namespaces.manage(c)],
      [S.NS_ATTACHMENT, c => this.#namespaces.attach(c)],
      [S.FORMAT_NVM, c => this.#namespaces.format(c)],
      [S.FW_DOWNLOAD, c => this.#firmware.download(c)],
      [S.FW_COMMIT, c => this.#commit(c)],
      [S.SANITIZE, c => this.#sanitize.start(c)],
      ...(config.doorbellBuffer
        ? [[S.DOORBELL_BUFFER, (c: Command) => this.#doorbells(c)] as const]
        : []),
      ...(config.keepAlive ? [[S.KEEP_ALIVE, () => this.#features.keepAlive()] as const] : []),
    ])
  }

  /** What weighted round robin and its bursts are set to. */
  get features(): ControllerFeatures {
    return this.#features
  }

  reset(): void {
    this.#features.reset()
    this.#firmware.reset()
    this.#namespaces.reset()
    this.#aborts = 0
  }

  /** The power was cut, or came back after a clean shutdown. */
  powerCycle(clean: boolean): void {
    this.#powerCycles++
    if (!clean) this.#unsafeShutdowns++
  }

  execute(c: Command): Answer {
    if (c.psdt !== 0 || c.fuse !== 0) return refuse(S.INVALID_FIELD)
    const busy = this.#sanitize.running ? this.#sanitize.refusesAdmin(c) : undefined
    if (busy) return busy
    for (const { adminOpcodes } of this.#parts.extensions) {
      const handler = adminOpcodes?.get(c.opcode)
      if (handler) return handler(c, this.#parts)
    }
    return this.#table.get(c.opcode)?.(c, this.#parts) ?? refuse(S.INVALID_OPCODE)
  }

  /** Why no I/O command is taken at all; undefined = they are. */
  refused(): Done | undefined {
    return this.#sanitize.running ? refuse(S.SANITIZE_IN_PROGRESS) : undefined
  }

  /** A command ended with an error: the error log has it. */
  failed(c: Command, status: number): void {
    if ((status & 0x7ff) === S.READ_ERROR || (status & 0x7ff) === S.WRITE_FAULT) this.#mediaErrors++
    const lba = c.qid === 0 ? 0 : c.u64(10)
    this.#errors.add({ qid: c.qid, cid: c.cid, status, lba, nsid: c.nsid })
  }

  // ---------------------------------------------------------------- queues

  /** Errors are for good, except that a completion queue may be deleted later. */
  #queue(status: number): Answer {
    if (status === 0) return OK
    return status === S.INVALID_QUEUE_DELETION ? { status } : refuse(status)
  }

  /** Delete I/O SQ: commands that end later end before it does. */
  #deleteSq(c: Command): Answer {
    const { config, late, queues } = this.#parts
    const qid = c.cdw(10) & 0xffff
    if (qid !== 0 && config.aborts) late.abortQueue(qid, S.ABORT_QUEUE)
    else if (qid !== 0) late.finishQueue(qid)
    return this.#queue(queues.deleteSq(c))
  }

  /** Doorbell Buffer Config. */
  #doorbells(c: Command): Answer {
    const { dma, queues } = this.#parts
    for (const at of [c.prp1, c.prp2]) {
      if (at === 0 || at % dma.page !== 0) return refuse(S.INVALID_FIELD)
      if (!dma.reaches(at, Math.max(queues.shadowBytes, dma.page))) return refuse(S.INVALID_FIELD)
    }
    queues.useShadow(c.prp1, c.prp2)
    return OK
  }

  // ---------------------------------------------------------------- abort

  /**
   * Abort: what is in service or waits for an event ends with 0x007. Result 1 = it was not aborted, because it has ended or
   * nobody knows of it.
   */
  #abort(c: Command): Answer {
    const { config, queues, events, late, complete } = this.#parts
    const sqid = c.cdw(10) & 0xffff
    const cid = c.cdw(10) >>> 16
    if (!queues.sqs.has(sqid)) return refuse(S.INVALID_FIELD)
    if (this.#aborts >= config.abortLimit) return refuse(S.ABORT_LIMIT)
    const request = sqid === 0 ? events.cancel(cid) : undefined
    if (request) complete(request, { status: S.ABORT_REQ })
    const aborted =
      request !== undefined ||
      (config.aborts &&
        (late.abort(sqid, cid, S.ABORT_REQ) || (sqid !== 0 && queues.abort(sqid, cid))))
    if (config.adminNs > 0) {
      this.#aborts++
      this.#parts.later(config.adminNs, () => {
        this.#aborts--
      })
    }
    return { status: 0, dw0: aborted ? 0 : 1 }
  }

  // ---------------------------------------------------------------- identify

  #identify(c: Command): Answer {
    const data = this.#structure(c)
    if (typeof data === 'number') return refuse(data)
    const status = this.#parts.dma.deliver(c, data.data)
    return status ? { status } : OK
  }

  #structure(c: Command): Bytes | number {
    const { spaces, config, extensions } = this.#parts
    const cns = c.cdw(10) & 0xff
    for (const extension of extensions) {
      const own = extension.identify?.(c, this.#parts)
      if (own) return new Bytes(own.length).bytes(0, own)
    }
    switch (cns) {
      case 0x00:
      case 0x11:
        return this.#identifyNamespace(c.nsid, cns === 0x11)
      case 0x01: {
        const data = identifyController(config, spaces, this.#firmware.revision)
        for (const extension of extensions) extension.identifyController?.(data.data)
        return data
      }
      case 0x05:
      case 0x06:
        // the NVM command set has nothing of its own to say
        if (c.cdw(11) >>> 24 !== 0) return S.INVALID_FIELD
        if (cns === 0x05 && typeof spaces.active(c.nsid) === 'number') return S.INVALID_NS
        return new Bytes(S.IDENTIFY_BYTES)
      case 0x07:
        if (c.nsid >= 0xfffffffe) return S.INVALID_NS
        return idList(c.cdw(11) >>> 24 === spaces.commandSet ? spaces.ids() : [], c.nsid)
      case 0x1c:
        return new Bytes(S.IDENTIFY_BYTES).u32(0, 1 | (1 << spaces.commandSet))
      case 0x02:
      case 0x10:
        if (c.nsid >= 0xfffffffe) return S.INVALID_NS
        return idList(spaces.ids(cns === 0x10), c.nsid)
      case 0x03:
        return this.#descriptors(c.nsid)
      case 0x12:
      case 0x13:
        return this.#controllers(c, cns === 0x12)
    }
    return S.INVALID_FIELD
  }

  /** `all`: of namespaces that are not attached as well. An identifier without a namespace gives zeroes. */
  #identifyNamespace(nsid: number, all: boolean): Bytes | number {
    const { spaces, extensions } = this.#parts
    if (nsid === S.NSID_ALL && !all) return identifyNamespace(spaces, undefined)
    if (nsid === 0 || nsid > spaces.most) return S.INVALID_NS
    const ns = spaces.list.get(nsid)
    if (!ns || !(all || ns.attached)) return new Bytes(S.IDENTIFY_BYTES)
    const data = identifyNamespace(spaces, ns)
    for (const extension of extensions) extension.identifyNamespace?.(nsid, data.data)
    return data
  }

  #descriptors(nsid: number): Bytes | number {
    const { spaces } = this.#parts
    const ns = spaces.active(nsid)
    if (typeof ns === 'number') return ns
    return namespaceDescriptors(nsid, spaces.commandSet)
  }

  /** Controllers of the subsystem, or those that a namespace is attached to; there is one. */
  #controllers(c: Command, attached: boolean): Bytes | number {
    const { config, spaces } = this.#parts
    const least = c.cdw(10) >>> 16
    if (attached) {
      if (c.nsid === 0 || c.nsid > spaces.most) return S.INVALID_NS
      if (!spaces.list.has(c.nsid)) return S.INVALID_FIELD
    }
    const there = !attached || spaces.list.get(c.nsid)!.attached
    return controllerList(there && config.controllerId >= least ? [config.controllerId] : [])
  }

  // ---------------------------------------------------------------- logs

  #log(c: Command): Answer {
    const { dma, events, extensions } = this.#parts
    const id = c.cdw(10) & 0xff
    for (const { logPages } of extensions) {
      const own = logPages?.get(id)?.(c, this.#parts)
      if (typeof own === 'number') return { status: own }
      if (own) return deliverLog(c, dma, new Bytes(own.length).bytes(0, own))
    }
    const answer = deliverLog(c, dma, this.#page(id))
    const retain = (c.cdw(10) & 0x8000) !== 0
    if (answer === 'pending' || answer.status !== 0 || retain) return answer
    if (id === S.LOG_ERROR) events.clear(S.AER_ERROR)
    if (id === S.LOG_SMART) events.clear(S.AER_SMART)
    if (id === S.LOG_FW_SLOT) events.clear(S.AER_NOTICE)
    if (id === S.LOG_SANITIZE) events.clear(S.AER_IO_SET)
    if (id === S.LOG_CHANGED_NS) {
      events.clear(S.AER_NOTICE)
      this.#namespaces.changed.clear()
    }
    return answer
  }

  #page(id: number): Bytes | undefined {
    switch (id) {
      case S.LOG_ERROR:
        return this.#errors.page()
      case S.LOG_SMART:
        return smartPage(this.#health(), this.#errors.count)
      case S.LOG_FW_SLOT:
        return this.#firmware.page()
      case S.LOG_CHANGED_NS:
        return changedPage([...this.#namespaces.changed].sort((a, b) => a - b))
      case S.LOG_CMD_EFFECTS:
        return this.#effects()
      case S.LOG_SANITIZE:
        return this.#sanitize.page()
    }
    return undefined
  }

  /** What of extensions is not known better is said to change content. */
  #effects(): Bytes {
    const { extensions } = this.#parts
    const own = [...this.#table.keys()].map(
      opcode => [opcode, SUPPORTED | (CHANGES.get(opcode) ?? 0)] as const,
    )
    const added = (table: 'adminOpcodes' | 'ioOpcodes'): (readonly [number, number])[] =>
      extensions.flatMap(one => [...(one[table]?.keys() ?? [])]).map(op => [op, effectOf(op)])
    const effectOf = (opcode: number): number =>
      opcode & FROM_HOST ? SUPPORTED | CONTENT : SUPPORTED
    return effectsPage(
      new Map([...added('adminOpcodes'), ...own]),
      new Map([...added('ioOpcodes'), ...IO_EFFECTS]),
    )
  }

  #health(): Parameters<typeof smartPage>[0] {
    const { view, dev, now } = this.#parts
    return {
      blocksRead: view.u64(dev + DEV_READ_BLOCKS),
      blocksWritten: view.u64(dev + DEV_WRITTEN_BLOCKS),
      reads: view.u64(dev + DEV_READS),
      writes: view.u64(dev + DEV_WRITES),
      powerCycles: 1 + this.#powerCycles,
      powerOnHours: Math.floor(now() / HOUR_NS),
      unsafeShutdowns: this.#unsafeShutdowns,
      mediaErrors: this.#mediaErrors,
      warning: this.#features.tooHotOrCold(TEMPERATURE_K) ? 2 : 0,
      temperature: TEMPERATURE_K,
    }
  }

  // ---------------------------------------------------------------- firmware

  #commit(c: Command): Answer {
    const { config, events, later, processing } = this.#parts
    return this.#firmware.commit(c, slot => {
      if (this.#features.asyncEvents & 0x200)
        events.notify(S.AER_NOTICE, S.AER_NOTICE_FW_STARTING, S.LOG_FW_SLOT)
      processing(true)
      later(config.activateNs, () => {
        this.#firmware.activate(slot)
        processing(false)
      })
      return OK
    })
  }
}
