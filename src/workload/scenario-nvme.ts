// Trace scenarios of the NVMe PCIe driver: a controller that is found, used, reset, removed.
//
//   nvmepci-probe                 the driver is bound to the function, until the disk is there
//   nvmepci-remove                and unbound again
//   nvmepci-module                the driver's module is loaded and unloaded
//   nvmepci-reset, -reset-during-io   reset_controller is written to; the other one with reads in flight
//   nvmepci-timeout               28 reads at one a second, a timeout of two: aborts that do nothing, then the controller is
//                                 disabled; recorded from the first completion until a reset is asked for
//   nvmepci-lost-read             a read is lost: abort, then reset, until the controller is live
//   nvmepci-not-ready             the controller never gets ready
//   nvmepci-admin-identify, -admin-getfeature   a command of a program
//   nvmepci-idle-6s               nothing happens for six seconds after a read and, a good second later, a program's command
//   nvmepci-{none|mq-deadline}-{read|write|flush|dsync|discard|batchr|batchw}
//   -4cpu behind a name: four CPUs in place of two; -4.9: the driver of that age
//
// The drive is that of the recordings: two I/O queues (a queue for each CPU), 1024 entries, doorbell buffers, LPA with an
// effects log, one namespace with a write cache.

import { blk_ioctl_discard } from '../block/blk-lib.js'
import { blk_finish_plug, blk_start_plug } from '../block/bio.js'
import { this_cpu } from '../block/blk-mq.js'
import { blk_mq_init_sched } from '../block/blk-mq-sched.js'
import type { request_queue } from '../block/blkdev.js'
import { kyber_sched } from '../block/kyber-iosched.js'
import { mq_deadline } from '../block/mq-deadline.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import { nvme_dev_ioctl, nvme_dev_open, nvme_sysfs_reset } from '../drivers/nvme/host/core-ioctl.js'
import {
  NVME_FEAT_NUM_QUEUES,
  NVME_ID_CNS_CTRL,
  nvme_admin_get_features,
  nvme_admin_identify,
  type nvme_command,
} from '../drivers/nvme/host/nvme.js'
import type { FaultRule } from '../device/nvme/faults.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { page_cache_init } from '../fs/page-cache.js'
import type { Sleep } from '../kernel/core.js'
import { device_release_driver, pci_bind } from '../kernel/pci.js'
import { submit_time } from '../kernel/task.js'
import { msleep } from '../kernel/timer-sleep.js'
import { wait_event, wait_queue_head, wake_up } from '../kernel/wait.js'
import type { Machine } from '../machine/booted.js'
import type { MachineConfig } from '../machine/config.js'
import type { NvmeHost } from '../machine/host-nvme.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { Recorder, scenarioMachine, type ScenarioTrace } from './scenario-recorder.js'
import { rest, runTask } from './scenario-task.js'

const RECORDS = 1 << 16
const BLOCK = 4096
const SWITCH_NS = 2.5e6
const BUSY_NS = 1.5e6
/** Longer than the timer of the requests runs. */
const LONG_MS = 10_000
const HEAP = 2 ** 22
const FRAMES = 16
const MAX_BATCH = 128

/** The code that gives a command to the drive takes so long in these stories that an answer comes before it goes on. */
const BUSY: ReadonlySet<string> = new Set(['remove', 'reset', 'reset-during-io', 'timeout'])
/**
 * How long the drive of the guest with two CPUs took for a read of a batch without a scheduler, on the average, and how
 * that spread. The emulated drive shared its host with the CPUs: one read was answered while the next was being submitted,
 * the others after the last one. Of the ways in which that may fall, the seed has the recorded one.
 */
const UNEVEN = { latency: '3ms/1500us', seed: 2 }
/** A drive that is slow, its driver's patience, and what a program asks of it all at once. */
const SLOW = { readNs: 1.1e9, io_timeout: 2, reads: 28, abortNs: 12e6 }

const STORIES = [
  'module',
  'probe',
  'remove',
  'reset',
  'reset-during-io',
  'timeout',
  'lost-read',
  'not-ready',
  'admin-identify',
  'admin-getfeature',
  'idle-6s',
] as const
const OPS = ['read', 'write', 'flush', 'wflush', 'dsync', 'discard', 'batchr', 'batchw'] as const
const SCHEDS = ['none', 'mq-deadline', 'kyber'] as const
type Story = (typeof STORIES)[number]
type Op = (typeof OPS)[number]
type Sched = (typeof SCHEDS)[number]

const NAME = new RegExp(
  `^nvmepci-(?:(${STORIES.join('|')})|(?:(${SCHEDS.join('|')})-)?(${OPS.join('|')})((?<=batch[rw])\\d{1,3})?)(?:-(${SCHEDS.join('|')}))?(?:-(\\d{1,2})cpu)?(?:-(4\\.9))?$`,
)

export interface NvmeScenario {
  readonly name: string
  readonly story: Story | null
  readonly sched: Sched
  readonly op: Op | null
  /** I/Os of a batch; 1 otherwise. */
  readonly count: number
  readonly cpus: number
  readonly era: KernelEra
}

/** Names for `--list`: each story once in each era, and each operation. */
export const NVME_SCENARIOS: readonly string[] = [
  ...STORIES.map(story => `nvmepci-${story}`),
  ...['none', 'mq-deadline'].flatMap(sched => OPS.map(op => `nvmepci-${sched}-${op}`)),
  ...STORIES.map(story => `nvmepci-${story}-4.9`),
  'nvmepci-none-read-4.9',
]

/** What a name asks for; null when it is none of these. */
export function parseNvmeScenario(name: string): NvmeScenario | null {
  const m = NAME.exec(name)
  if (!m) return null
  const [, story, before, op, batch, behind, nrCpus, age] = m
  const sched = (before ?? behind ?? 'none') as Sched
  const era = (age ?? '4.19') as KernelEra
  const cpus = Number(nrCpus ?? 2)
  const count = op?.startsWith('batch') ? Number(batch ?? 4) : 1
  if (cpus < 1 || cpus > 64 || count < 1 || count > MAX_BATCH) return null
  // a scheduler is said once, and multi-queue disks had none in the old age
  if ((before && behind) || (era === '4.9' && sched !== 'none')) return null
  return {
    name,
    story: (story as Story | undefined) ?? null,
    sched,
    op: (op as Op | undefined) ?? null,
    count,
    cpus,
    era,
  }
}

// ---------------------------------------------------------------- the machine

function busy({ story, op }: NvmeScenario): boolean {
  return story === null ? op === 'batchr' || op === 'batchw' : BUSY.has(story)
}

/** How long an admin command takes, and what the drive does for Abort: none of these stories' reads can be given up. */
function admin(s: NvmeScenario): { adminNs: number; aborts?: false } {
  if (s.story === 'timeout') return { adminNs: SLOW.abortNs, aborts: false }
  return { adminNs: busy(s) ? 0 : 200_000 }
}

function isUneven({ op, sched, cpus }: NvmeScenario): boolean {
  return (op === 'batchr' || op === 'batchw') && sched === 'none' && cpus === 2
}

function medium(s: NvmeScenario): string {
  if (s.story === 'timeout') return `model=fixed,latency=${SLOW.readNs / 1e6}ms,units=1`
  return isUneven(s) ? `model=normal,latency=${UNEVEN.latency}` : 'model=fixed'
}

function machineOf(s: NvmeScenario): MachineConfig {
  const [spec] = parseDevices([`nvme,size=64M,depth=1024,${medium(s)}`])
  const disk = diskConfig(builtOnly(spec!), 'virtual', 0, s.cpus)
  const faults: readonly FaultRule[] =
    s.story === 'lost-read' ? [{ match: { opcode: 2, nth: 4 }, action: { kind: 'drop' } }] : []
  return scenarioMachine({
    cpus: s.cpus,
    seed: isUneven(s) ? UNEVEN.seed : 1,
    disks: [
      {
        ...disk,
        shadow: true,
        controller: {
          config: {
            ...admin(s),
            faults,
            ...(s.story === 'not-ready' ? { readyNs: 60e9 } : {}),
          },
          ...(s.story === 'timeout' ? { io_timeout: SLOW.io_timeout } : {}),
          slots: 1,
        },
      },
    ],
    records: RECORDS,
    bytes: (160 + FRAMES) * BLOCK,
    kernel: {
      switchNs: SWITCH_NS,
      submitNs: busy(s) ? BUSY_NS : 0,
      heapBytes: HEAP,
      era: s.era,
      manual: true,
    },
  })
}

function configWords(s: NvmeScenario): Record<string, string> {
  const cpus = String(s.cpus)
  if (s.story === 'probe') return { how: 'bind', cpus }
  if (s.story === 'remove') return { how: 'unbind', cpus }
  if (s.op === null) return { cpus }
  return { op: s.op, count: String(s.count), sched: s.sched, cpus }
}

// ---------------------------------------------------------------- what happens

class Acts {
  readonly #machine: Machine
  readonly #s: NvmeScenario
  readonly #data: number

  constructor(machine: Machine, s: NvmeScenario, data: number) {
    this.#machine = machine
    this.#s = s
    this.#data = data
  }

  get nvme(): NvmeHost {
    return this.#machine.host!.nvme!
  }

  /** Whether the controller is up; the look at it is not part of the story. */
  get is_settled(): boolean {
    const { trace } = this.#machine.host!.k
    const { on } = trace
    trace.on = false
    const { settled } = this.nvme
    trace.on = on
    return settled
  }

  get q(): request_queue {
    return this.nvme.ctrl(0)!.namespaces[0]!.queue
  }

  io(write: boolean, n: number, rest: Partial<kiocb> = {}): kiocb {
    const at = { pos: (2 * n + 16) * BLOCK, bytes: BLOCK, data: this.#data + n * BLOCK }
    return { q: this.q, write, ...at, ...rest }
  }

  /** The driver is bound to the function, and the controller comes up. */
  *bind(): Sleep<void> {
    const { bus, module } = this.nvme
    yield* pci_bind(bus, bus.devices[0]!, module!.driver)
  }

  *unbind(): Sleep<void> {
    yield* device_release_driver(this.nvme.bus.devices[0]!)
  }

  *settled(): Sleep<void> {
    const { k } = this.#machine.host!
    while (!this.is_settled) yield* msleep(k, 20)
  }

  *batch(write: boolean, count: number, done: () => void, takesTime = true): Sleep<void> {
    const { blk } = this.#machine.host!
    blk_start_plug(blk)
    for (let n = 0; n < count; n++) {
      const io = this.io(write, n, { done })
      yield* write ? blkdev_write_iter(io) : blkdev_read_iter(io)
      if (!takesTime) continue
      // Linux 4.19 rings for each command; the core, at the latest when time goes on.
      blk.core.nvme_ring_doorbells(this_cpu(blk))
      yield* submit_time(blk.k)
    }
    blk_finish_plug(blk)
  }

  /** Sleeps until so many milliseconds past a second. */
  *#past(ms: number): Sleep<void> {
    const { k } = this.#machine.host!
    yield* msleep(k, 1000 - ((Math.ceil(k.now() / 1e6) + 1000 - ms) % 1000))
  }

  /**
   * One read by itself, whose timer runs on, and then more than the drive can do in time, which that timer meets before it is
   * their time, and a second time when it is.
   */
  *slow_reads(): Sleep<void> {
    yield* msleep(this.#machine.host!.k, LONG_MS)
    yield* this.#past(50)
    yield* blkdev_read_iter(this.io(false, 0))
    yield* this.#past(400)
    yield* this.batch(false, SLOW.reads, () => {}, false)
  }

  *#whole_batch(write: boolean, count: number): Sleep<void> {
    const done = new wait_queue_head(this.#machine.host!.k, 'I/Os')
    let left = count
    yield* this.batch(write, count, () => {
      left--
      wake_up(done)
    })
    yield* wait_event(done, () => left === 0)
  }

  *#admin(cmd: nvme_command, bytes: number): Sleep<void> {
    const ctrl = this.nvme.ctrl(0)!
    nvme_dev_open(ctrl)
    const passthru = { cmd, addr: this.#data + 2, data_len: bytes }
    yield* nvme_dev_ioctl(ctrl, { op: 'admin', passthru, result: { u32: 0, u64: 0n } })
  }

  *identify(): Sleep<void> {
    yield* this.#admin({ opcode: nvme_admin_identify, cdw10: NVME_ID_CNS_CTRL }, 4096)
  }

  *reset(): Sleep<void> {
    yield* nvme_sysfs_reset(this.nvme.ctrl(0)!)
  }

  /** One operation, or the command of a program. */
  *act(): Sleep<void> {
    const { op, story } = this.#s
    if (story === 'admin-identify') yield* this.identify()
    else if (story === 'admin-getfeature')
      yield* this.#admin({ opcode: nvme_admin_get_features, cdw10: NVME_FEAT_NUM_QUEUES }, 0)
    else if (op === 'read' || story !== null) yield* blkdev_read_iter(this.io(false, 0))
    else if (op === 'write') yield* blkdev_write_iter(this.io(true, 0))
    else if (op === 'dsync') yield* blkdev_write_iter(this.io(true, 0, { dsync: true }))
    else if (op === 'wflush') {
      yield* blkdev_write_iter(this.io(true, 0))
      yield* blkdev_fsync(this.q)
    } else if (op === 'flush') yield* blkdev_fsync(this.q)
    else if (op === 'discard') yield* blk_ioctl_discard(this.q, 0, 65536)
    else yield* this.#whole_batch(op === 'batchw', this.#s.count)
  }

  /** Reads in flight while the controller is reset. */
  *reset_during_io(): Sleep<void> {
    const done = new wait_queue_head(this.#machine.host!.k, 'I/Os')
    let left = 4
    yield* this.batch(false, 4, () => {
      left--
      wake_up(done)
    })
    yield* this.reset()
    yield* wait_event(done, () => left === 0)
  }
}

/**
 * Nothing has been asked of the controller for so long that no timer of its requests runs: before it is removed, and in
 * the recorded guest of four CPUs before a program's command.
 */
function rested({ story, cpus }: NvmeScenario): boolean {
  return story === 'remove' || story === 'idle-6s' || (story === 'admin-identify' && cpus === 4)
}

/** Before anything is recorded: the driver is there, and except for a probe, so is the disk. */
async function prepare(machine: Machine, acts: Acts, s: NvmeScenario): Promise<void> {
  const host = machine.host!
  page_cache_init(host.blk, { at: machine.alloc(FRAMES * BLOCK, BLOCK), count: FRAMES })
  const nvme = host.nvme!
  if (s.story === 'module') return
  // Loading the driver binds it; it is unbound again, so that a probe can be seen from its beginning.
  const kept = nvme.bus.devices.splice(0)
  nvme.load()
  await rest(machine, 100e6)
  nvme.bus.devices.push(...kept)
  if (s.story === 'probe' || s.story === 'not-ready') return
  await runTask(machine, 'init', s.cpus - 1, function* () {
    yield* acts.bind()
    yield* acts.settled()
  })
  const types = s.sched === 'none' ? null : s.sched === 'kyber' ? kyber_sched : mq_deadline
  if (types) blk_mq_init_sched(acts.q, types, hctx => host.schedTags(hctx))
  await runTask(machine, 'sh', 0, function* () {
    yield* blkdev_read_iter(acts.io(false, 0))
    yield* msleep(host.k, 100)
    yield* blkdev_read_iter(acts.io(false, 0))
    yield* msleep(host.k, 100)
    if (rested(s)) yield* msleep(host.k, LONG_MS)
    if (s.story === 'timeout') yield* acts.slow_reads()
  })
  if (s.story === 'idle-6s') await beforeIdle(machine, acts, s)
}

/** A read and a program's command start the timers of both their queues, on two CPUs, one a good second after the other. */
async function beforeIdle(machine: Machine, acts: Acts, s: NvmeScenario): Promise<void> {
  await runTask(machine, 'sh', 0, () => acts.act())
  await rest(machine, 1.5e9)
  await runTask(machine, 'nvme', s.cpus - 1, () => acts.identify())
  await rest(machine, 1e9)
}

async function play(machine: Machine, acts: Acts, s: NvmeScenario): Promise<void> {
  const { story } = s
  const cpu = s.cpus - 1
  if (story === 'module') {
    acts.nvme.bus.devices.splice(0)
    acts.nvme.load()
    await rest(machine, 100e6)
    await runTask(machine, 'rmmod', cpu, () => acts.nvme.unload())
  } else if (story === 'probe') {
    await runTask(machine, 'init', cpu, () => acts.bind())
    while (!acts.is_settled) await rest(machine, 20e6)
  } else if (story === 'not-ready') {
    await runTask(machine, 'init', cpu, () => acts.bind())
    await rest(machine, 20e9)
  } else if (story === 'remove') await runTask(machine, 'init', cpu, () => acts.unbind())
  else if (story === 'reset') await runTask(machine, 'init', 0, () => acts.reset())
  else if (story === 'reset-during-io')
    await runTask(machine, 'init', cpu, () => acts.reset_during_io())
  else if (story === 'idle-6s') await rest(machine, 6e9)
  else if (story === 'timeout') while (acts.nvme.ctrl(0)?.state === 'LIVE') await rest(machine, 1e6)
  else if (story === 'lost-read') {
    await runTask(machine, 'io1', cpu, () => acts.act())
    while (!acts.is_settled) await rest(machine, 20e6)
  } else {
    if (story === null) await runTask(machine, 'io1', 0, () => acts.act())
    else await runTask(machine, 'nvme', cpu, () => acts.act())
  }
  // After a reset, until the timers of its requests have run out too.
  if (story === 'reset') await rest(machine, 7e9)
  else if (story !== 'timeout') await rest(machine, 40e6)
}

/** Runs a scenario and returns what was recorded. */
export async function runNvmeScenario(s: NvmeScenario): Promise<ScenarioTrace> {
  const machine = bootMachine(machineOf(s))
  const recorder = new Recorder(machine, s.cpus, RECORDS)
  await machine.start()
  const acts = new Acts(machine, s, machine.alloc(128 * BLOCK, BLOCK))
  await prepare(machine, acts, s)
  recorder.on = true
  await play(machine, acts, s)
  recorder.on = false
  const trace = recorder.take(configWords(s))
  if (s.story === 'timeout') while (!acts.is_settled) await rest(machine, 20e6)
  await machine.stop()
  return trace
}
