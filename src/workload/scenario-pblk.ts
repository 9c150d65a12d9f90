// Trace scenarios of LightNVM: an open-channel device is found, a pblk is made on it, used and removed.
//
//   pblk-nvme-register      the driver is bound to the function, until the device is LightNVM's
//   pblk-nvme-unregister    and unbound again
//   pblk-create, -remove    the control node's ioctls
//   pblk-write1             a write that stays in the buffer
//   pblk-batchw, -batchwN   32 or N writes in one io_submit
//   pblk-flush              a write, then fsync
//   pblk-discard            a discard
//   pblk-read-from-buffer   what was just written
//   pblk-read-from-device   what has left the buffer
//   lightnvm-write          a write of a whole unit: from bio_alloc to nvme_queue_rq, and back
//   lightnvm-read           a read from the device, the same way
//   lightnvm-ioctl          vector commands of a program: the geometry, a write and a read of LUNs that no target has
//   -SCHED behind a name: the scheduler of the drive's queue, where the drive is there before; -4cpu: four CPUs in place of two
//
// The device is that of the recordings: revision 2.0, two groups of eight units, of which the target has the first four.

import { blk_ioctl_discard } from '../block/blk-lib.js'
import { blk_mq_init_sched } from '../block/blk-mq-sched.js'
import type { request_queue } from '../block/blkdev.js'
import { kyber_sched } from '../block/kyber-iosched.js'
import { mq_deadline } from '../block/mq-deadline.js'
import { GEOMETRY_20 } from '../device/ocssd/geometry.js'
import { OCSSD_DEVICE, OCSSD_VENDOR } from '../device/ocssd/extension.js'
import { nvm_ctl_ioctl } from '../drivers/lightnvm/core.js'
import {
  encode_create,
  encode_remove,
  NVM_DEV_CREATE,
  NVM_DEV_REMOVE,
} from '../drivers/lightnvm/ioctl.js'
import { NVM_OP_PREAD, NVM_OP_PWRITE } from '../drivers/lightnvm/lightnvm.js'
import type { pblk } from '../drivers/lightnvm/pblk.js'
import { nvme_ioctl } from '../drivers/nvme/host/core-ioctl.js'
import {
  encode_passthru_vio,
  encode_user_vio,
  NVME_NVM_IOCTL_ADMIN_VIO,
  NVME_NVM_IOCTL_SUBMIT_VIO,
} from '../drivers/nvme/host/lightnvm-vio.js'
import { io_submit_wait } from '../fs/aio.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { page_cache_init } from '../fs/page-cache.js'
import type { Sleep } from '../kernel/core.js'
import { device_release_driver, pci_bind } from '../kernel/pci.js'
import { msleep } from '../kernel/timer-sleep.js'
import { enter, leave } from '../kernel/trace.js'
import type { Machine } from '../machine/booted.js'
import type { MachineConfig } from '../machine/config.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { Recorder, SCENARIO_HZ, scenarioMachine, type ScenarioTrace } from './scenario-recorder.js'
import { rest, runTask } from './scenario-task.js'

const RECORDS = 1 << 19
const BLOCK = 4096
const SWITCH_NS = 2.5e6
/** The recorded drive keeps its data in memory, and is as quick as its emulator's own thread. */
const TIMES = { read: [60_000], program: [150_000], erase: 150_000, transfer: 0, spread: 0.3 }
/** A task under the recorder needs longer for a request than that. */
const SUBMIT_NS = 250_000
const HEAP = 2 ** 24
const FRAMES = 16
/** How long the recording of a read from the buffer went on. */
const READ_JIFFIES = 220
/** More than the ring holds. */
const OUT_OF_BUFFER = 600
const ADMIN_IDENTITY = 0xe2
/** A vector of the device's write unit, at the beginning of group 1, which no target has. */
const VECTOR = 8
const FREE_LUN = 2 ** 21

const STORIES = [
  'pblk-nvme-register',
  'pblk-nvme-unregister',
  'pblk-create',
  'pblk-remove',
  'pblk-write1',
  'pblk-batchw',
  'pblk-flush',
  'pblk-discard',
  'pblk-read-from-buffer',
  'pblk-read-from-device',
  'lightnvm-write',
  'lightnvm-read',
  'lightnvm-ioctl',
] as const
type Story = (typeof STORIES)[number]

const NAME = new RegExp(
  `^(${STORIES.join('|')})(\\d+)?(?:-(none|mq-deadline|kyber))?(?:-(\\d+)cpu)?$`,
)
/** Writes of a batch without a number, and at most. */
const BATCH = 32
const MOST = 1024

type Sched = 'none' | 'mq-deadline' | 'kyber'

export interface PblkScenario {
  readonly name: string
  readonly story: Story
  /** I/Os of a batch. */
  readonly count: number
  readonly sched: Sched
  readonly cpus: number
}

/** Names for `--list`. */
export const PBLK_SCENARIOS: readonly string[] = STORIES

/** What a name asks for; null when it is none of these. */
export function parsePblkScenario(name: string): PblkScenario | null {
  const m = NAME.exec(name)
  if (!m) return null
  const story = m[1] as Story
  if (m[2] !== undefined && story !== 'pblk-batchw') return null
  const count = Number(m[2] ?? (story === 'pblk-batchw' ? BATCH : 1))
  const sched = (m[3] ?? 'none') as Sched
  if (sched !== 'none' && story === 'pblk-nvme-register') return null
  const cpus = Number(m[4] ?? 2)
  if (count < 1 || count > MOST || cpus < 1 || cpus > 64) return null
  return { name, story, count, sched, cpus }
}

// ---------------------------------------------------------------- the machine

function machineOf(s: PblkScenario): MachineConfig {
  const [spec] = parseDevices(['nvme,size=64M,depth=1024,model=fixed'])
  const disk = diskConfig(builtOnly(spec!), 'virtual', 0, s.cpus)
  // the recorded drive is of revision 1.2, and has no list of a namespace's names
  const version = 0x00010200
  const config = { adminNs: 200_000, vendor: OCSSD_VENDOR, device: OCSSD_DEVICE, version }
  return scenarioMachine({
    cpus: s.cpus,
    disks: [
      { ...disk, controller: { config, slots: 1, ocssd: { geometry: GEOMETRY_20, times: TIMES } } },
    ],
    records: RECORDS,
    bytes: (160 + FRAMES) * BLOCK,
    kernel: { switchNs: SWITCH_NS, submitNs: SUBMIT_NS, heapBytes: HEAP, manual: true },
  })
}

/** The scenario in words, as recordings have it. */
function configWords({ story, count, sched, cpus }: PblkScenario): Record<string, string> {
  const words = { ...(sched === 'none' ? {} : { sched }), cpus: String(cpus) }
  if (story === 'pblk-create') return { luns: '0-3', ...words }
  if (story.startsWith('pblk-nvme') || story === 'pblk-remove') return words
  if (story === 'lightnvm-ioctl') return words
  const read = story.includes('read')
  const op = story === 'pblk-flush' ? 'wflush' : story === 'pblk-discard' ? 'discard' : 'write'
  return { op: read ? 'read' : op, count: String(count), ...words }
}

// ---------------------------------------------------------------- what happens

class Acts {
  readonly #machine: Machine
  readonly #data: number

  constructor(machine: Machine, data: number) {
    this.#machine = machine
    this.#data = data
  }

  get #host(): NonNullable<Machine['host']> {
    return this.#machine.host!
  }

  get #q(): request_queue {
    return this.#host.lightnvm!.disks.get('pblk0')!
  }

  get settled(): boolean {
    return this.#host.nvme!.settled
  }

  /** Jiffies until the timers of the writer, of the collector and of requests. */
  get #timers(): { readonly writer: number; readonly gc: number; readonly request: number } {
    const { k, nvme, lightnvm } = this.#host
    const { wtimer, gc } = lightnvm!.lnvm.devices[0]!.targets[0]!.private_data as pblk
    const { timeout } = nvme!.ctrl(0)!.namespaces[0]!.queue
    const left = (timer: { readonly expires: number }): number => timer.expires - k.jiffies
    return { writer: left(wtimer!), gc: left(gc.gc_timer!), request: left(timeout) }
  }

  /**
   * Whether timers fire as they were seen to. The recorded flush came some five seconds after the target was made, when the
   * timer of the requests of that time fired; the recorded read from the buffer ended before the collector's turn.
   */
  ready(story: Story): boolean {
    const { writer, gc, request } = this.#timers
    const soon = SCENARIO_HZ / 4
    if (story === 'pblk-flush') return gc < request && request < SCENARIO_HZ - 50
    if (story === 'pblk-read-from-buffer')
      return writer > 4 && writer < READ_JIFFIES && gc > READ_JIFFIES
    return writer >= soon && gc >= soon
  }

  *bind(): Sleep<void> {
    const { bus, module } = this.#host.nvme!
    yield* pci_bind(bus, bus.devices[0]!, module!.driver)
  }

  schedule(sched: Sched): void {
    if (sched === 'none') return
    const { queue } = this.#host.nvme!.ctrl(0)!.namespaces[0]!
    const types = sched === 'kyber' ? kyber_sched : mq_deadline
    blk_mq_init_sched(queue, types, hctx => this.#host.schedTags(hctx))
  }

  *unbind(): Sleep<void> {
    yield* device_release_driver(this.#host.nvme!.bus.devices[0]!)
  }

  *#ioctl(cmd: number, arg: Uint8Array): Sleep<void> {
    const error = yield* nvm_ctl_ioctl(this.#host.lightnvm!.lnvm, cmd, arg)
    if (error !== 0) throw new Error(`the control node says ${error}`)
  }

  *create(): Sleep<void> {
    const names = { dev: 'nvme0n1', tgttype: 'pblk', tgtname: 'pblk0' }
    const range = { type: 0, lun_begin: 0, lun_end: 3, op: 0xffff, rsv: 0 }
    // the recorded kernel's pblk, whose ring keeps nothing back
    this.#host.lightnvm!.quirks.add(names.tgtname)
    yield* this.#ioctl(NVM_DEV_CREATE, encode_create({ ...names, flags: 1, ...range }))
  }

  *remove(): Sleep<void> {
    yield* this.#ioctl(NVM_DEV_REMOVE, encode_remove('pblk0'))
  }

  #io(write: boolean, n: number, blocks = 1): kiocb {
    return { q: this.#q, write, pos: n * BLOCK, bytes: blocks * BLOCK, data: this.#data }
  }

  *write(n: number, blocks = 1): Sleep<void> {
    yield* blkdev_write_iter(this.#io(true, n, blocks))
  }

  /** The writer has its turn on another CPU while the later ones are submitted. */
  *#batch(count: number): Sleep<void> {
    const ios = Array.from({ length: count }, (_, n) => this.#io(true, 2 * n))
    yield* io_submit_wait(this.#host.blk, ios)
  }

  /** Fills the ring, so that what was written first is read from the media. */
  *fill(): Sleep<void> {
    for (let n = 0; n < OUT_OF_BUFFER; n += 8) yield* this.write(n, 8)
    yield* blkdev_fsync(this.#q)
    yield* msleep(this.#host.k, 100)
  }

  *#vio(cmd: number, arg: Uint8Array): Sleep<void> {
    const { k, nvme } = this.#host
    const t = enter(k, 'blkdev_ioctl')
    const error = yield* nvme_ioctl(nvme!.ctrl(0)!.namespaces[0]!, { cmd, arg })
    leave(k, t)
    if (error !== 0) throw new Error(`the vector command ended with ${error}`)
  }

  /** What a program such as liblightnvm's nvm_cmd does. */
  *#program(): Sleep<void> {
    const addr = this.#data
    const { view } = this.#host.blk
    const identity = encode_passthru_vio({ opcode: ADMIN_IDENTITY, addr, data_len: BLOCK })
    yield* this.#vio(NVME_NVM_IOCTL_ADMIN_VIO, identity)
    const list = addr + VECTOR * BLOCK
    for (let i = 0; i < VECTOR; i++) view.setU64(list + 8 * i, FREE_LUN + i)
    const io = { nppas: VECTOR - 1, addr, ppa_list: list }
    yield* this.#vio(NVME_NVM_IOCTL_SUBMIT_VIO, encode_user_vio({ opcode: NVM_OP_PWRITE, ...io }))
    yield* this.#vio(NVME_NVM_IOCTL_SUBMIT_VIO, encode_user_vio({ opcode: NVM_OP_PREAD, ...io }))
  }

  *act({ story, count }: PblkScenario): Sleep<void> {
    if (story === 'pblk-create') yield* this.create()
    else if (story === 'pblk-remove') yield* this.remove()
    else if (story === 'lightnvm-ioctl') yield* this.#program()
    else if (story === 'pblk-write1') yield* this.write(0)
    else if (story === 'lightnvm-write') yield* this.write(0, 8)
    else if (story === 'pblk-batchw') yield* this.#batch(count)
    else if (story === 'pblk-discard') yield* blk_ioctl_discard(this.#q, 0, 65536)
    else if (story === 'pblk-flush') {
      yield* this.write(1)
      yield* blkdev_fsync(this.#q)
    } else yield* blkdev_read_iter(this.#io(false, 0))
  }
}

/** What is there before anything is recorded. */
async function prepare(machine: Machine, acts: Acts, scenario: PblkScenario): Promise<void> {
  const { story, sched, cpus } = scenario
  const host = machine.host!
  page_cache_init(host.blk, { at: machine.alloc(FRAMES * BLOCK, BLOCK), count: FRAMES })
  const nvme = host.nvme!
  const kept = nvme.bus.devices.splice(0)
  nvme.load()
  await rest(machine, 100e6)
  nvme.bus.devices.push(...kept)
  if (story === 'pblk-nvme-register') return
  await runTask(machine, 'init', cpus - 1, function* () {
    yield* acts.bind()
    while (!acts.settled) yield* msleep(host.k, 20)
  })
  acts.schedule(sched)
  if (['pblk-create', 'pblk-nvme-unregister', 'lightnvm-ioctl'].includes(story)) return
  await runTask(machine, 'sh', 0, function* () {
    // The drive has been there for a while: the timer of the commands that found it is over.
    yield* msleep(host.k, 7000)
    yield* acts.create()
    yield* msleep(host.k, 100)
    // One entry is there already, as on the recorded disk: with it a flush writes two and pads.
    if (story !== 'lightnvm-write' && story !== 'pblk-remove') yield* acts.write(0)
    if (story.endsWith('from-device') || story === 'lightnvm-read') yield* acts.fill()
    yield* msleep(host.k, 700)
    while (!acts.ready(story)) yield* msleep(host.k, 20)
  })
}

/** How long the recording goes on: until the timers have fired where they were seen. */
function restNs(story: Story): number {
  if (story === 'pblk-create') return 150e6
  if (story === 'pblk-read-from-buffer') return (READ_JIFFIES * 1e9) / SCENARIO_HZ
  if (story === 'pblk-flush') return 1020e6
  const short = story.includes('read-from-device') || story === 'lightnvm-read'
  return short || story === 'lightnvm-ioctl' ? 40e6 : 1100e6
}

async function play(machine: Machine, acts: Acts, scenario: PblkScenario): Promise<void> {
  const { story, cpus } = scenario
  const control = story === 'pblk-create' || story === 'pblk-remove'
  if (story === 'pblk-nvme-register') {
    await runTask(machine, 'init', cpus - 1, () => acts.bind())
    while (!acts.settled) await rest(machine, 20e6)
  } else if (story === 'pblk-nvme-unregister')
    await runTask(machine, 'init', 0, () => acts.unbind())
  else await runTask(machine, control ? 'nvmctl' : 'io1', 0, () => acts.act(scenario))
  await rest(machine, restNs(story))
}

/** Runs a scenario and returns what was recorded. */
export async function runPblkScenario(s: PblkScenario): Promise<ScenarioTrace> {
  const machine = bootMachine(machineOf(s))
  const recorder = new Recorder(machine, s.cpus, RECORDS)
  await machine.start()
  const acts = new Acts(machine, machine.alloc(128 * BLOCK, BLOCK))
  await prepare(machine, acts, s)
  recorder.on = true
  await play(machine, acts, s)
  recorder.on = false
  const trace = recorder.take(configWords(s))
  await machine.stop()
  return trace
}
