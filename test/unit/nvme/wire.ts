// What goes over the wire between the driver and its controller, written down: commands as the controller fetches them,
// accesses of registers. Commands of the I/O queues are seen when the controller has a fault rule for some of them.

import { DSQ_ID, DV_ADMIN, DV_IO } from '../../../assembly/layout.js'
import { SQE_BYTES, SQE_MPTR, SQE_PRP1, SQE_PRP2 } from '../../../assembly/nvme.js'
import type { FaultRule } from '../../../src/device/nvme/faults.js'
import type { nvme_queue } from '../../../src/drivers/nvme/host/pci-queue.js'
import { Probed, type ProbedOptions } from './probed.js'

/** One command as it was fetched. */
export interface Seen {
  readonly at: number
  readonly qid: number
  readonly cid: number
  readonly opcode: number
  /** PSDT: 0x40 when the data pointer is an SGL. */
  readonly flags: number
  readonly mptr: number
  readonly prp1: number
  readonly prp2: number
  /** Dwords 10 to 15. */
  readonly cdw: readonly number[]
}

/** A rule that never acts, for the controller to be asked about every command. */
const SHOW: FaultRule = { match: { opcode: 0xfe }, action: { kind: 'drop' } }

export class Wire {
  readonly p: Probed
  readonly commands: Seen[] = []
  readonly reads: { readonly at: number; readonly offset: number }[] = []
  readonly writes: { readonly at: number; readonly offset: number; readonly value: number }[] = []

  constructor(options: ProbedOptions = {}) {
    const { config = {}, ...rest } = options.controller ?? {}
    const faults = [...(config.faults ?? []), SHOW]
    const controller = { ...rest, config: { ...config, faults } }
    this.p = new Probed({ ...options, manual: true, controller })
    this.#listen()
    this.p.nvme.load()
  }

  #listen(): void {
    const { controller, machine } = this.p
    const { deviceHost, read32, write32 } = controller
    controller.deviceHost = (what, dsq, sqe, arg) => {
      if (what === DV_ADMIN || what === DV_IO) this.#note(dsq, sqe)
      return deviceHost.call(controller, what, dsq, sqe, arg)
    }
    controller.read32 = offset => {
      this.reads.push({ at: machine.now(), offset })
      return read32.call(controller, offset)
    }
    controller.write32 = (offset, value) => {
      this.writes.push({ at: machine.now(), offset, value })
      write32.call(controller, offset, value)
    }
  }

  #note(dsq: number, sqe: number): void {
    const { view } = this.p.machine
    const cdw0 = view.u32(sqe)
    this.commands.push({
      at: this.p.machine.now(),
      qid: view.u32(dsq + DSQ_ID),
      cid: cdw0 >>> 16,
      opcode: cdw0 & 0xff,
      flags: (cdw0 >>> 8) & 0xff,
      mptr: view.u64(sqe + SQE_MPTR),
      prp1: view.u64(sqe + SQE_PRP1),
      prp2: view.u64(sqe + SQE_PRP2),
      cdw: [40, 44, 48, 52, 56, 60].map(offset => view.u32(sqe + offset)),
    })
  }

  /** Commands of an opcode, of the admin queue or the others. */
  of(opcode: number, admin = false): Seen[] {
    return this.commands.filter(c => c.opcode === opcode && (c.qid === 0) === admin)
  }

  /** A completion entry in the driver's ring, at the place that is next, plus so many. */
  post(nvmeq: nvme_queue, head: number, phase: number, cid: number, status = 0): void {
    const { view } = this.p.machine
    const at = nvmeq.memory.cq + head * 16
    view.setU32(at, 0)
    view.setU32(at + 4, 0)
    view.setU32(at + 8, (nvmeq.qid << 16) >>> 0)
    view.setU32(at + 12, (cid | (phase << 16) | (status << 17)) >>> 0)
  }

  /** Entries of a submission ring, bytes. */
  sqBytes(nvmeq: nvme_queue): number {
    return nvmeq.q_depth * SQE_BYTES
  }
}

/** A controller that is up, with what was said until then. */
export async function wired(options: ProbedOptions = {}): Promise<Wire> {
  const wire = new Wire(options)
  await wire.p.settle()
  return wire
}
