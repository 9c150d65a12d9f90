// Trace scenarios of NVMe over fabrics: host and target in one kernel, a null_blk disk behind the target.
//
//   nvme{loop|rdma|fc|tcp}-{connect|disconnect|read|write|flush|batchr|batchw|reset|keepalive|target-lost-reconnect}
//   nvme{rdma|fc|tcp}-ERROR: what goes wrong, of scenario-fabric-errors.ts
//   nvmefc-{ports|remoteport-lost|remoteport-back} beside these; loop has no target that could be lost
//   a batch may have a number (batchr8); -SCHED behind a name: the scheduler of the connected disk
//   -Ncpu behind a name: other than two CPUs; -latencyNus behind that (rdma): how long a message is under way, 1 to 10000
//   -4.9 at the end (rdma, fc): the workqueues of that age
//
// The TCP ones follow 5.10, on 4.19's core: the functions between are 4.19's.

import { nvme_delete_ctrl } from '../drivers/nvme/host/core-state.js'
import { blk_mq_init_sched } from '../block/blk-mq-sched.js'
import type { request_queue } from '../block/blkdev.js'
import { kyber_sched } from '../block/kyber-iosched.js'
import { mq_deadline } from '../block/mq-deadline.js'
import { nvme_sysfs_reset } from '../drivers/nvme/host/core-ioctl.js'
import { nvmf_dev_write } from '../drivers/nvme/host/fabrics.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import type { nvme_ctrl } from '../drivers/nvme/host/nvme.js'
import {
  nvme_ns_identify,
  nvme_sysfs_delete,
  nvme_sysfs_show,
  nvme_sysfs_show_state,
} from '../drivers/nvme/host/sysfs.js'
import { io_submit_wait } from '../fs/aio.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { blkdev_close, blkdev_open } from '../fs/block_dev-open.js'
import { page_cache_init } from '../fs/page-cache.js'
import type { Sleep } from '../kernel/core.js'
import { msleep } from '../kernel/timer-sleep.js'
import { work_busy } from '../kernel/workqueue-control.js'
import type { Machine } from '../machine/booted.js'
import type { MachineConfig } from '../machine/config.js'
import { bootMachine } from '../machine/machine.js'
import { PLAIN_FABRIC } from '../machine/spec-fabric.js'
import { parseDevices } from '../machine/spec-parse.js'
import {
  ERROR_STORIES,
  type ErrorStory,
  errorOptions,
  hasErrorStory,
  isErrorStory,
  playError,
} from './scenario-fabric-errors.js'
import {
  FABRIC_BYTES,
  FABRIC_HEAP,
  FABRIC_PLACE,
  FABRIC_TEXTS,
  FabricStage,
  type FabricTransport,
} from './fabric-stage.js'
import { builtOnly, diskConfig } from './machine-config.js'
import { setUpFcPorts } from './scenario-fc-ports.js'
import { Recorder, scenarioMachine, type ScenarioTrace } from './scenario-recorder.js'
import { rest, runTask } from './scenario-task.js'

const RECORDS = 1 << 17
const BLOCK = 4096
const SWITCH_NS = 2.5e6
const FRAMES = 16
const KATO_S = 5

const OWN_STORIES = [
  'connect',
  'disconnect',
  'reset',
  'keepalive',
  'target-lost-reconnect',
  'ports',
  'remoteport-lost',
  'remoteport-back',
] as const
type Story = (typeof OWN_STORIES)[number] | ErrorStory
const STORIES: readonly Story[] = [...OWN_STORIES, ...ERROR_STORIES]
const FC_STORIES = ['ports', 'remoteport-lost', 'remoteport-back']
const OPS = ['read', 'write', 'flush', 'wflush', 'dsync', 'batchr', 'batchw'] as const
type Op = (typeof OPS)[number]
const SCHEDS = ['none', 'mq-deadline', 'kyber'] as const
type Sched = (typeof SCHEDS)[number]
const MAX_BATCH = 128

const NAME = new RegExp(
  `^nvme(loop|rdma|fc|tcp)-(?:(${STORIES.join('|')})|(${OPS.join('|')})((?<=batch[rw])\\d{1,3})?)(?:-(${SCHEDS.join('|')}))?(?:-(\\d{1,2})cpu)?(?:-latency(\\d{1,5})us)?(?:-(4\\.9))?$`,
)

export interface FabricScenario {
  readonly name: string
  readonly transport: FabricTransport
  readonly story: Story | null
  readonly op: Op | null
  /** I/Os of a batch; 1 otherwise. */
  readonly count: number
  /** Of the connected disk. */
  readonly sched: Sched
  readonly cpus: number
  readonly era: KernelEra
  /** Of a message, each way. */
  readonly latencyUs: number
}

/** Loop has no wire that could be lost; FC's, and with it the target, is lost with its port. */
function exists(transport: string, story: string): boolean {
  if (isErrorStory(story)) return hasErrorStory(transport, story)
  if (transport === 'fc') return true
  if (FC_STORIES.includes(story)) return false
  return transport !== 'loop' || story !== 'target-lost-reconnect'
}

/** Names for `--list`. */
export const FABRIC_SCENARIOS: readonly string[] = [
  ...['loop', 'rdma', 'fc', 'tcp'].flatMap(transport =>
    [...STORIES, ...OPS]
      .filter(story => exists(transport, story))
      .map(story => `nvme${transport}-${story}`),
  ),
  ...['rdma', 'fc'].flatMap(transport =>
    STORIES.filter(story => exists(transport, story) && !isErrorStory(story)).map(
      story => `nvme${transport}-${story}-4.9`,
    ),
  ),
]

/** What a name asks for; null when it is none of these. */
export function parseFabricScenario(name: string): FabricScenario | null {
  const m = NAME.exec(name)
  if (!m) return null
  const [transport, cpus] = [m[1] as FabricTransport, Number(m[6] ?? 2)]
  const latencyUs = Number(m[7] ?? 0)
  if (m[7] !== undefined && (transport !== 'rdma' || latencyUs < 1 || latencyUs > 10000))
    return null
  const era = (m[8] as KernelEra | undefined) ?? '4.19'
  const sched = (m[5] as Sched | undefined) ?? 'none'
  const count = m[3]?.startsWith('batch') ? Number(m[4] ?? 4) : 1
  if (count < 1 || count > MAX_BATCH || (era === '4.9' && sched !== 'none')) return null
  if (cpus < 1 || cpus > 64 || (era === '4.9' && transport !== 'rdma' && transport !== 'fc'))
    return null
  if (m[2] !== undefined && !exists(transport, m[2])) return null
  if (era === '4.9' && isErrorStory(m[2] ?? null)) return null
  const story = (m[2] as Story | undefined) ?? null
  const op = (m[3] as Op | undefined) ?? null
  return { name, transport, story, op, count, sched, cpus, era, latencyUs }
}

function machineOf(s: FabricScenario): MachineConfig {
  const text = `null_blk,size=64,queue_mode=2,irqmode=0,submit_queues=1`
  const disks = parseDevices([text]).map(spec => diskConfig(builtOnly(spec), 'virtual', 0, s.cpus))
  return scenarioMachine({
    cpus: s.cpus,
    disks,
    records: RECORDS,
    bytes: FABRIC_BYTES + (160 + FRAMES) * BLOCK,
    kernel: { switchNs: SWITCH_NS, heapBytes: FABRIC_HEAP },
  })
}

/** What is lost has been connected for a while; the timers of its requests run out soon. From 4500 to 5400 the figures differ by 0.012 at most. */
const SETTLED_MS = 4900

/** Messages, one after the other, that may still be needed until all is quiet: those of a connection. */
const MESSAGES_LEFT = 200

/** Stories in which a controller is tried again soon. */
const LOSSES: readonly (Story | null)[] = [
  'target-lost-reconnect',
  'remoteport-lost',
  'remoteport-back',
]

function configWords(s: FabricScenario): Record<string, string> {
  const { latencyUs } = s
  const cpus = { cpus: String(s.cpus), ...(latencyUs > 0 ? { latency: `${latencyUs}us` } : {}) }
  if (s.story === 'target-lost-reconnect') return { reconnect_delay: '1', kato: '5', ...cpus }
  if (s.op === null) return cpus
  const sched = s.sched === 'none' ? {} : { sched: s.sched }
  return { op: s.op, count: String(s.count), ...sched, ...cpus }
}

function usualOptions(story: Story | null): string {
  return LOSSES.includes(story) ? ',reconnect_delay=1' : ''
}

// ---------------------------------------------------------------- what happens

class Acts {
  readonly #machine: Machine
  readonly #stage: FabricStage
  readonly #s: FabricScenario
  readonly #data: number

  constructor(machine: Machine, stage: FabricStage, s: FabricScenario, data: number) {
    this.#machine = machine
    this.#stage = stage
    this.#s = s
    this.#data = data
  }

  get ctrl(): nvme_ctrl {
    return this.#stage.nvme.ctrls[0]!
  }

  get q(): request_queue {
    return this.ctrl.namespaces[0]!.queue
  }

  io(write: boolean, n: number, more: Partial<kiocb> = {}): kiocb {
    const at = { pos: (2 * n + 16) * BLOCK, bytes: BLOCK, data: this.#data + n * BLOCK }
    return { q: this.q, write, ...at, ...more }
  }

  *connect(): Sleep<void> {
    const { transport, story } = this.#s
    const lost = isErrorStory(story) ? errorOptions(story) : usualOptions(story)
    const ctrl = yield* nvmf_dev_write(
      this.#stage.f,
      `${FABRIC_TEXTS[transport]},queue_size=32${lost}`,
    )
    if (typeof ctrl === 'number') throw new Error(`connect: ${ctrl}: ${this.#stage.f.why}`)
  }

  /** What nvme-cli does: it looks for the controller, asks its disk who it is, and has it deleted; then it ends. */
  *disconnect(): Sleep<void> {
    const { ctrl } = this
    nvme_sysfs_show(ctrl)
    const { q } = this
    yield* blkdev_open(q)
    yield* nvme_ns_identify(ctrl.namespaces[0]!, this.#data)
    const { rdma, fc } = this.#stage
    const old = this.#s.transport === 'fc' ? fc : rdma
    yield* nvme_sysfs_delete(ctrl, this.#s.era === '4.9' ? one => old.del(one) : nvme_delete_ctrl)
    yield* blkdev_close(q)
  }

  *act(): Sleep<void> {
    const { op } = this.#s
    if (op === 'read') yield* blkdev_read_iter(this.io(false, 0))
    else if (op === 'write') yield* blkdev_write_iter(this.io(true, 0))
    else if (op === 'dsync') yield* blkdev_write_iter(this.io(true, 0, { dsync: true }))
    else if (op === 'wflush') {
      yield* blkdev_write_iter(this.io(true, 0))
      yield* blkdev_fsync(this.q)
    } else if (op === 'flush') yield* blkdev_fsync(this.q)
    else {
      const ios = Array.from({ length: this.#s.count }, (_, n) => this.io(op === 'batchw', n))
      yield* io_submit_wait(this.#machine.host!.blk, ios)
    }
  }

  *reset(): Sleep<void> {
    yield* nvme_sysfs_reset(this.ctrl)
  }

  /** Until the controller is live and was scanned. */
  *settled(): Sleep<void> {
    const { k } = this.#machine.host!
    do yield* msleep(k, 20)
    while (this.ctrl.state !== 'LIVE' || work_busy(this.ctrl.scan_work) !== 0)
    yield* msleep(k, 100)
  }
}

async function prepare(machine: Machine, acts: Acts, s: FabricScenario): Promise<void> {
  const host = machine.host!
  const { k } = host
  if (s.story === 'connect' || s.story === 'ports' || s.story === 'refused') return
  await runTask(machine, 'sh', 0, function* () {
    yield* acts.connect()
    yield* acts.settled()
    const types = s.sched === 'none' ? null : s.sched === 'kyber' ? kyber_sched : mq_deadline
    if (types) blk_mq_init_sched(acts.q, types, hctx => host.schedTags(hctx))
    yield* blkdev_read_iter(acts.io(false, 0))
    yield* msleep(k, 100)
    yield* blkdev_read_iter(acts.io(false, 0))
    yield* msleep(k, LOSSES.includes(s.story) ? SETTLED_MS : 100)
  })
}

async function play(
  machine: Machine,
  stage: FabricStage,
  acts: Acts,
  s: FabricScenario,
): Promise<void> {
  const cpu = s.cpus - 1
  if (s.story === 'connect') await runTask(machine, 'init', cpu, () => acts.connect())
  else if (s.story === 'disconnect') await runTask(machine, 'nvme', cpu, () => acts.disconnect())
  else if (s.story === 'reset') await runTask(machine, 'init', cpu, () => acts.reset())
  else if (s.story === 'keepalive') await rest(machine, (KATO_S + 1) * 1e9)
  else if (s.story === 'ports') {
    await setUpFcPorts(stage, (name, body) => runTask(machine, name, cpu, body))
    return
  } else if (isErrorStory(s.story))
    await playError(s.story, {
      stage,
      transport: s.transport,
      ctrl: () => acts.ctrl,
      read: () => blkdev_read_iter(acts.io(false, 1)),
      task: body =>
        runTask(machine, 'init', cpu, function* () {
          yield* body()
        }),
      rest: ns => rest(machine, ns),
    })
  else if (s.story === 'remoteport-lost' || s.story === 'remoteport-back')
    await loseRemotePort(machine, stage, s)
  else if (s.story === 'target-lost-reconnect') {
    stage.lose()
    await rest(machine, 2.5e9)
    stage.listen()
    await rest(machine, 2e9)
  } else await runTask(machine, 'io1', cpu, () => acts.act())
  await rest(machine, (s.op === null ? 300e6 : 40e6) + MESSAGES_LEFT * s.latencyUs * 1000)
  const looks = s.story === 'reset' ? 2 : s.story === 'remoteport-lost' ? 1 : 0
  for (let n = 0; n < looks && stage.nvme.ctrls.length > 0; n++)
    await runTask(machine, 'cat', cpu, () => told(() => void nvme_sysfs_show_state(acts.ctrl)))
}

/** What a task does that need not sleep. */
// biome-ignore lint/correctness/useYield: nothing sleeps
function* told(what: () => void): Sleep<void> {
  what()
}

async function loseRemotePort(
  machine: Machine,
  stage: FabricStage,
  s: FabricScenario,
): Promise<void> {
  const cpu = s.cpus - 1
  await runTask(machine, 'init', cpu, () => told(() => stage.losePort()))
  await rest(machine, 1.5e9)
  if (s.story === 'remoteport-lost') return
  await runTask(machine, 'init', cpu, () => told(() => stage.findPort()))
  await rest(machine, 2e9)
}

/** FC's recorded connection finds its ports there. */
function loadsModules({ story, transport, era }: FabricScenario): boolean {
  if (story === 'ports') return era === '4.9'
  return story === 'connect' && (transport !== 'fc' || era === '4.9')
}

/** Runs a scenario and returns what was recorded. */
export async function runFabricScenario(s: FabricScenario): Promise<ScenarioTrace> {
  const machine = bootMachine(machineOf(s))
  const host = machine.host!
  const recorder = new Recorder(machine, s.cpus, RECORDS)
  await machine.start()
  page_cache_init(host.blk, { at: machine.alloc(FRAMES * BLOCK, BLOCK), count: FRAMES })
  const below = host.queue(machine.disks[0]!)
  blk_mq_init_sched(below, mq_deadline, hctx => host.schedTags(hctx))
  // The modules are loaded within the story of a connection.
  recorder.on = loadsModules(s)
  const fabric = { ...PLAIN_FABRIC, latencyNs: s.latencyUs * 1000 }
  const stage = new FabricStage(machine, s.era, FABRIC_PLACE, fabric)
  recorder.on = s.story === 'connect'
  const acts = new Acts(machine, stage, s, machine.alloc(128 * BLOCK, BLOCK))
  await prepare(machine, acts, s)
  recorder.on = true
  await play(machine, stage, acts, s)
  recorder.on = false
  const trace = recorder.take(configWords(s))
  await machine.stop()
  return trace
}
