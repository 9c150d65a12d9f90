// Disks of another machine over real NVMe/TCP: the host's modules on a machine that keeps pace with the host's clock.
//
//   openHost       a machine of its own: connect, look, disconnect (discovery; how large a disk is)
//   fabricDisk     for a run: the queue of a disk that was planned at boot becomes the queue of a connected namespace, so
//                  that jobs find it where they look
//
// While a connection is lost I/O waits, and is tried again when it is back, as in Linux.

import * as L from '../../assembly/layout.js'
import { createHash } from 'node:crypto'
import type { planned_memory } from '../block/blk-mq-init.js'
import { OutputError, UserError } from '../core/errors.js'
import { nvme_core_init } from '../drivers/nvme/host/core-ctrl.js'
import { nvme_delete_ctrl } from '../drivers/nvme/host/core-state.js'
import { nvme_get_log, with_buffer } from '../drivers/nvme/host/core-cmd.js'
import { NVME_ERAS } from '../drivers/nvme/host/era.js'
import { nvmf_dev_write, nvmf_init, type nvmf_module } from '../drivers/nvme/host/fabrics.js'
import type { nvme_core, nvme_ctrl, nvme_ns } from '../drivers/nvme/host/nvme.js'
import { nvme_tcp_init_module } from '../drivers/nvme/host/tcp.js'
import { get16, get64, getText } from '../drivers/nvme/bytes.js'
import { NVME_DISC_SUBSYS_NAME, NVME_LOG_DISC } from '../drivers/nvme/nvme.js'
import type { Sleep } from '../kernel/core.js'
import { ECONNREFUSED, ETIMEDOUT } from '../kernel/errno.js'
import { msleep } from '../kernel/timer-sleep.js'
import { work_busy } from '../kernel/workqueue-control.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine, type Machine } from '../machine/machine.js'
import { TcpStack } from '../machine/tcp-socket.js'
import { parseDevices } from '../machine/spec-parse.js'
import type { RunPlan } from './job.js'
import type { Attachment } from './run.js'
import { parseRun, type RunContext } from './run-command.js'

const HEAP_BYTES = 16 * 2 ** 20
const HZ = 250
const SYN_TIMEOUT_MS = 5000
const PORT = '4420'
const DISC_ENTRY = 1024

/** Where, and with which options: those of /dev/nvme-fabrics. */
export interface FabricTarget {
  readonly traddr: string
  readonly trsvcid: string
  readonly nqn: string
  /** More options, `name=value` or a name. */
  readonly options: readonly string[]
}

function textOf({ traddr, trsvcid, nqn, options }: FabricTarget): string {
  return [
    'transport=tcp',
    `traddr=${traddr}`,
    `trsvcid=${trsvcid}`,
    `nqn=${nqn}`,
    ...options,
  ].join()
}

/** A name of this host that stays the same: made of what it is called in the options of nobody. */
function defaultHost(): { nqn: string; id: Uint8Array } {
  const id = createHash('sha256').update('phasebit host').digest().subarray(0, 16)
  const hex = id.toString('hex')
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ]
  return { nqn: `nqn.2014-08.org.nvmexpress:uuid:${parts.join('-')}`, id: Uint8Array.from(id) }
}

// ---------------------------------------------------------------- modules on a machine

/** The host's modules on a paced machine with a kernel. */
export class FabricHost {
  readonly machine: Machine
  readonly nvme: nvme_core
  readonly f: nvmf_module

  constructor(machine: Machine, memory: planned_memory | null = null) {
    this.machine = machine
    const core = nvme_core_init(machine.host!.blk, NVME_ERAS['4.19'])
    if (core === null) throw new Error('nvme_core: no memory')
    this.nvme = core
    this.f = nvmf_init(core, defaultHost())
    const stack = new TcpStack(machine)
    const tcp = nvme_tcp_init_module(
      this.f,
      (traddr, trsvcid, done) => {
        stack
          .connect(traddr, Number(trsvcid || PORT), SYN_TIMEOUT_MS)
          .then(done, (error: Error) =>
            done(/ECONNREFUSED/.test(error.message) ? -ECONNREFUSED : -ETIMEDOUT),
          )
          .finally(() => machine.poke())
      },
      memory,
    )
    if (typeof tcp === 'number') throw new Error(`nvme_tcp: ${tcp}`)
  }

  /** Runs a task to its end, in real time. */
  async run<T>(body: () => Sleep<T>): Promise<T> {
    const { machine } = this
    let result: { value: T } | undefined
    machine.host!.k.spawn('nvme', function* () {
      result = { value: yield* body() }
      machine.interrupt()
    })
    while (result === undefined) await machine.run()
    return result.value
  }

  /**
   * Connects; its disks are there when it resolves.
   * @throws OutputError when it is refused
   */
  async connect(target: FabricTarget): Promise<nvme_ctrl> {
    const { f, nvme } = this
    const { k } = nvme
    const ctrl = await this.run(function* () {
      const found = yield* nvmf_dev_write(f, textOf(target))
      if (typeof found === 'number') return found
      while (work_busy(found.scan_work) !== 0) yield* msleep(k, 4)
      return found
    })
    if (typeof ctrl !== 'number') return ctrl
    const why = this.f.why || `error ${-ctrl}`
    const place = `${target.traddr}:${target.trsvcid}`
    if (ctrl === -22 && this.f.why !== '') throw new UserError(`nvme connect: ${why}`)
    throw new OutputError(`${place}: ${target.nqn}: could not connect: ${why}`)
  }

  /** Disconnects everything. */
  async disconnect(): Promise<void> {
    const { nvme } = this
    await this.run(function* () {
      for (const ctrl of [...nvme.ctrls]) nvme_delete_ctrl(ctrl)
      while (nvme.ctrls.length > 0) yield* msleep(nvme.k, 4)
      yield* msleep(nvme.k, 8)
    })
  }
}

/** A small machine that only connects. */
export async function openHost(): Promise<FabricHost> {
  const machine = bootMachine({
    clock: 'virtual',
    cpus: 1,
    hz: HZ,
    seed: 0,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: 2 ** 20,
    disks: [],
    extraBytes: hostKernelBytes(1, 1) + HEAP_BYTES + 8192,
    jobs: 0,
    kernel: { heapBytes: HEAP_BYTES },
    paced: true,
  })
  await machine.start()
  return new FabricHost(machine)
}

// ---------------------------------------------------------------- what is there

/** A namespace as it was found. */
export interface FabricNamespace {
  readonly nsid: number
  readonly bytes: number
  readonly lbaShift: number
}

export function namespacesOf(ctrl: nvme_ctrl): FabricNamespace[] {
  const { view } = ctrl.blk
  return ctrl.namespaces.map((ns: nvme_ns) => ({
    nsid: ns.ns_id,
    bytes: view.u64(ns.queue.at + L.Q_CAPACITY) * 512,
    lbaShift: ns.lba_shift,
  }))
}

/** Connects, looks which namespaces there are, and disconnects. */
export async function probeFabric(target: FabricTarget): Promise<FabricNamespace[]> {
  const host = await openHost()
  try {
    const found = namespacesOf(await host.connect(target))
    await host.disconnect()
    return found
  } finally {
    await host.machine.stop()
  }
}

/** One record of a discovery log. */
export interface DiscoveryEntry {
  readonly trtype: number
  readonly adrfam: number
  readonly subtype: number
  readonly treq: number
  readonly portid: number
  readonly trsvcid: string
  readonly subnqn: string
  readonly traddr: string
}

function entryAt(log: Uint8Array, at: number): DiscoveryEntry {
  return {
    trtype: log[at]!,
    adrfam: log[at + 1]!,
    subtype: log[at + 2]!,
    treq: log[at + 3]!,
    portid: get16(log, at + 4),
    trsvcid: getText(log, at + 32, 32).trim(),
    subnqn: getText(log, at + 256, 256),
    traddr: getText(log, at + 512, 256).trim(),
  }
}

/** The log: its header, all of it, and its header again until the generation stood still. */
function* readLog(ctrl: nvme_ctrl): Sleep<DiscoveryEntry[] | number> {
  for (let tries = 0; tries < 10; tries++) {
    let entries: DiscoveryEntry[] = []
    let steady = false
    const status = yield* with_buffer(ctrl, DISC_ENTRY, function* (head) {
      const read = nvme_get_log(ctrl, NVME_LOG_DISC, 0, head, DISC_ENTRY)
      const error = yield* read
      if (error) return error
      const before = ctrl.blk.view.bytes.slice(head, head + 16)
      const bytes = DISC_ENTRY * (1 + get64(before, 8))
      const failed = yield* with_buffer(ctrl, bytes, function* (at) {
        const ret = yield* nvme_get_log(ctrl, NVME_LOG_DISC, 0, at, bytes)
        const log = ctrl.blk.view.bytes.slice(at, at + bytes)
        const count = bytes / DISC_ENTRY - 1
        entries = Array.from({ length: count }, (_, i) => entryAt(log, DISC_ENTRY * (i + 1)))
        return ret
      })
      if (failed) return failed
      const again = yield* nvme_get_log(ctrl, NVME_LOG_DISC, 0, head, DISC_ENTRY)
      steady = get64(ctrl.blk.view.bytes.slice(head, head + 8), 0) === get64(before, 0)
      return again
    })
    if (status) return status
    if (steady) return entries
  }
  return -11
}

/** The discovery log of an address. @throws OutputError when it cannot be read */
export async function discover(target: Omit<FabricTarget, 'nqn'>): Promise<DiscoveryEntry[]> {
  const host = await openHost()
  try {
    const ctrl = await host.connect({ ...target, nqn: NVME_DISC_SUBSYS_NAME })
    const entries = await host.run(() => readLog(ctrl))
    await host.disconnect()
    if (typeof entries !== 'number') return entries
    throw new OutputError(`${target.traddr}:${target.trsvcid}: the discovery log: error ${entries}`)
  } finally {
    await host.machine.stop()
  }
}

// ---------------------------------------------------------------- for a run

/** The blocks of a disk's queue, as the machine planned them; tags come out of the kernel's memory. */
function plannedQueue(machine: Machine, q: number): planned_memory {
  const { view } = machine
  const memory = {
    q,
    mqMap: view.u32(q + L.Q_MAP),
    ctxs: view.u32(q + L.Q_CTXS),
    hctxs: view.u32(q + L.Q_HCTXS),
  }
  let used = false
  return {
    tags: () => null,
    queue: () => {
      if (used) return null
      used = true
      return memory
    },
    queue_free: at => at === q,
  }
}

/**
 * A run whose disk /dev/nvme0n1 is a namespace of another machine; fabricDisk() connects it.
 * @throws UserError, as parseRun
 */
export function fabricPlan(
  args: readonly string[],
  { bytes, lbaShift }: Pick<FabricNamespace, 'bytes' | 'lbaShift'>,
  context: RunContext,
): RunPlan {
  const lba = 2 ** lbaShift
  const device = `--device=nvme,size=${bytes},lba=${lba}`
  const plan = parseRun([...args, '--clock=virtual', device], context)
  // The machine plans a queue for each CPU; what stands behind them comes from outside.
  const queues = Math.max(plan.cpus ?? 1, 1)
  const text = `null_blk,size=${bytes / 2 ** 20},bs=${lba},irqmode=2,submit_queues=${queues}`
  const devices = parseDevices([text]).map(spec => ({ ...spec, name: 'nvme0n1' }))
  return { ...plan, devices }
}

/** Connects the first disk of a run's machine to the first namespace of a target. */
export function fabricDisk(target: FabricTarget): Attachment {
  let host: FabricHost | undefined
  return {
    heapBytes: HEAP_BYTES,
    async attach(machine) {
      const disk = machine.disks[0]!
      host = new FabricHost(machine, plannedQueue(machine, disk.q))
      const ctrl = await host.connect(target)
      const [ns] = ctrl.namespaces
      if (ns?.queue.at !== disk.q)
        throw new OutputError(`${target.nqn}: the namespace has gone meanwhile`)
    },
    async detach() {
      await host?.disconnect()
    },
  }
}
