// Trace scenarios of rrpc, the LightNVM target before pblk, on a small device that keeps a table.
//
//   rrpc-create, -remove   the control node's ioctls
//   rrpc-write1            a write: from the bio to the hybrid write, and back
//   rrpc-read1             a read of what was written
//   rrpc-locked            a write that overlaps a read under way, and waits for it
//   rrpc-discard           a discard
//   rrpc-gc                pages of a full disk are overwritten: a block is collected
//   -4cpu behind a name: four CPUs in place of two

import { blk_ioctl_discard } from '../block/blk-lib.js'
import type { request_queue } from '../block/blkdev.js'
import { GEOMETRY_12, type OcssdGeometry } from '../device/ocssd/geometry.js'
import { OCSSD_DEVICE, OCSSD_VENDOR } from '../device/ocssd/extension.js'
import { nvm_ctl_ioctl } from '../drivers/lightnvm/core.js'
import {
  encode_create,
  encode_remove,
  NVM_DEV_CREATE,
  NVM_DEV_REMOVE,
} from '../drivers/lightnvm/ioctl.js'
import { rrpc_pages } from '../drivers/lightnvm/rrpc-init.js'
import { blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { page_cache_init } from '../fs/page-cache.js'
import type { Sleep } from '../kernel/core.js'
import { msleep } from '../kernel/timer-sleep.js'
import { wait_event, wait_queue_head, wake_up } from '../kernel/wait.js'
import type { Machine } from '../machine/booted.js'
import type { MachineConfig } from '../machine/config.js'
import { bootMachine } from '../machine/machine.js'
import { parseDevices } from '../machine/spec-parse.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { Recorder, scenarioMachine, type ScenarioTrace } from './scenario-recorder.js'
import { rest, runTask } from './scenario-task.js'

const RECORDS = 1 << 18
const BLOCK = 4096
const SWITCH_NS = 2.5e6
const HEAP = 2 ** 23
const FRAMES = 16
const DATA_BLOCKS = 64
const NAME = 'rrpc0'

/** Four LUNs of 14 blocks, 32 pages each. */
const GEOMETRY: OcssdGeometry = {
  ...GEOMETRY_12,
  chunks: 14,
  planes: 1,
  pageSectors: 1,
  wsMin: 1,
  wsOpt: 1,
  clba: 32,
  dom: 1,
}

const STORIES = [
  'rrpc-create',
  'rrpc-remove',
  'rrpc-write1',
  'rrpc-read1',
  'rrpc-locked',
  'rrpc-discard',
  'rrpc-gc',
] as const
type Story = (typeof STORIES)[number]

const PATTERN = new RegExp(`^(${STORIES.join('|')})(?:-(\\d+)cpu)?$`)

export interface RrpcScenario {
  readonly name: string
  readonly story: Story
  readonly cpus: number
}

/** Names for `--list`. */
export const RRPC_SCENARIOS: readonly string[] = STORIES

/** What a name asks for; null when it is none of these. */
export function parseRrpcScenario(name: string): RrpcScenario | null {
  const m = PATTERN.exec(name)
  const cpus = Number(m?.[2] ?? 2)
  if (!m || cpus < 1 || cpus > 64) return null
  return { name, story: m[1] as Story, cpus }
}

function machineOf({ cpus }: RrpcScenario): MachineConfig {
  const [spec] = parseDevices(['nvme,size=64M,depth=1024,model=fixed'])
  const disk = diskConfig(builtOnly(spec!), 'virtual', 0, cpus)
  const config = { adminNs: 200_000, vendor: OCSSD_VENDOR, device: OCSSD_DEVICE }
  return scenarioMachine({
    cpus,
    disks: [{ ...disk, controller: { config, slots: 1, ocssd: { geometry: GEOMETRY } } }],
    records: RECORDS,
    bytes: (DATA_BLOCKS + FRAMES + 2) * BLOCK,
    kernel: { switchNs: SWITCH_NS, heapBytes: HEAP },
  })
}

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
    return this.#host.lightnvm!.disks.get(NAME)!
  }

  *#ioctl(cmd: number, arg: Uint8Array): Sleep<void> {
    const error = yield* nvm_ctl_ioctl(this.#host.lightnvm!.lnvm, cmd, arg)
    if (error !== 0) throw new Error(`the control node says ${error}`)
  }

  *create(): Sleep<void> {
    const names = { dev: 'nvme0n1', tgttype: 'rrpc', tgtname: NAME }
    const range = { type: 0, lun_begin: 0, lun_end: 3, op: 0xffff, rsv: 0 }
    yield* this.#ioctl(NVM_DEV_CREATE, encode_create({ ...names, flags: 0, ...range }))
  }

  #io(write: boolean, n: number, blocks = 1): kiocb {
    return { q: this.#q, write, pos: n * BLOCK, bytes: blocks * BLOCK, data: this.#data }
  }

  /** What is on the disk before anything is recorded: every page of it, or a few. */
  *before(story: Story): Sleep<void> {
    const { geo } = this.#host.lightnvm!.lnvm.devices[0]!
    const pages = story === 'rrpc-gc' ? rrpc_pages(geo!) : 8
    for (let n = 0; n < pages; n += DATA_BLOCKS)
      yield* blkdev_write_iter(this.#io(true, n, Math.min(DATA_BLOCKS, pages - n)))
  }

  /** A read, and a write over it before it has ended. */
  *#overlap(): Sleep<void> {
    const done = new wait_queue_head(this.#host.k, 'I/Os')
    let left = 2
    const ended = {
      done: () => {
        left--
        wake_up(done)
      },
    }
    yield* blkdev_read_iter({ ...this.#io(false, 4), ...ended })
    yield* blkdev_write_iter({ ...this.#io(true, 0, 8), ...ended })
    yield* wait_event(done, () => left === 0)
  }

  *act(story: Story): Sleep<void> {
    if (story === 'rrpc-create') yield* this.create()
    else if (story === 'rrpc-remove') yield* this.#ioctl(NVM_DEV_REMOVE, encode_remove(NAME))
    else if (story === 'rrpc-read1') yield* blkdev_read_iter(this.#io(false, 0))
    else if (story === 'rrpc-locked') yield* this.#overlap()
    else if (story === 'rrpc-discard') yield* blk_ioctl_discard(this.#q, 0, 65536)
    else if (story === 'rrpc-write1') yield* blkdev_write_iter(this.#io(true, 0))
    else for (let n = 0; n < 12; n += 4) yield* blkdev_write_iter(this.#io(true, n))
  }
}

/** Runs a scenario and returns what was recorded. */
export async function runRrpcScenario(s: RrpcScenario): Promise<ScenarioTrace> {
  const machine = bootMachine(machineOf(s))
  const { k, blk } = machine.host!
  const recorder = new Recorder(machine, s.cpus, RECORDS)
  page_cache_init(blk, { at: machine.alloc(FRAMES * BLOCK, BLOCK), count: FRAMES })
  const acts = new Acts(machine, machine.alloc(DATA_BLOCKS * BLOCK, BLOCK))
  await machine.start()
  await machine.probed()
  await runTask(machine, 'sh', 0, function* () {
    if (s.story === 'rrpc-create') return
    yield* acts.create()
    yield* acts.before(s.story)
    yield* msleep(k, 200)
  })
  recorder.on = true
  const control = s.story === 'rrpc-create' || s.story === 'rrpc-remove'
  await runTask(machine, control ? 'nvmctl' : 'io1', 0, () => acts.act(s.story))
  await rest(machine, s.story === 'rrpc-gc' ? 300e6 : 12e6)
  recorder.on = false
  const trace = recorder.take({ target: 'rrpc', count: '1', cpus: String(s.cpus) })
  await machine.stop()
  return trace
}
