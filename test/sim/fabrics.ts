// Simulations of NVMe over fabrics: host and target on one emulated kernel, random I/O from several tasks, and everything
// that can happen to a connection, drawn from a seed.
//
//   reads and writes of random places and sizes, each task in a region of its own, against a model of what must be there;
//   meanwhile the wire breaks, goes silent in one or both directions, turns a bit (digests find it), the target goes away for
//   a while, also to come back only when attempts are used up, or shuts its door in the middle of a reset; the controller is
//   reset or deleted, also while it reconnects or waits for an answer; some hosts send no keep-alive, and the target gives
//   them up; over RDMA a message takes its time, keys are wrong or left valid, and some hosts open all memory by one key
//
// In the end: every I/O has ended once, what was written is there, the controller is live or gone, no tag is lost, the
// target holds nothing of a host that has gone, no memory is registered any more.

import { nvme_delete_ctrl, nvme_reset_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import { nvme_tcp_cmd } from '../../src/drivers/nvme/nvme-tcp.js'
import { NVME_CSTS_CFS } from '../../src/drivers/nvme/nvme.js'
import type { nvmet_ctrl } from '../../src/drivers/nvme/target/nvmet.js'
import type { nvme_ctrl } from '../../src/drivers/nvme/host/nvme.js'
import type { Sleep } from '../../src/kernel/core.js'
import { msleep } from '../../src/kernel/timer-sleep.js'
import { Prng } from '../fuzz/prng.js'
import {
  fcloop_create_remote_port,
  fcloop_delete_remote_port,
} from '../../src/drivers/nvme/target/fcloop.js'
import {
  FC_REMOTE,
  FC_TARGET,
  FC_TEXT,
  FabricRig,
  LOOP_TEXT,
  RDMA_TEXT,
  TCP_TEXT,
} from '../unit/nvme/fabric-rig.js'

const BLOCK = 4096
const REGION = 64
const TASKS = 3
/** I/Os of each. */
const IOS = 9
const BYTES = 16384

/** Stories of errors, and how a simulation knows that one really took place. */
export const STORIES = [
  'link loss', // the wire broke, and the controller noticed
  'target restart', // it was away, and the controller is live again
  'refused connect', // an attempt to reconnect failed while nobody listened
  'digest error', // a bit of a command, a response or data was turned
  'wrong key', // a read, a write or an invalidation went by a key that was not given
  'kept key', // a response left a key valid
  'half-open socket', // nothing arrived, and a command ran out of time
  'keep-alive expiry', // the target gave up a host that sends none
  'delete during reconnect',
  'reset during reconnect',
  'reconnect limit', // attempts were used up
] as const

export type Story = (typeof STORIES)[number]

/** What a simulation came to, in words: the same seed gives the same. */
export interface FabricOutcome {
  readonly transport: string
  readonly state: string
  readonly ios: number
  readonly virtualNs: number
  readonly failed: number
  readonly events: readonly string[]
  /** Stories that took place. */
  readonly reached: readonly Story[]
}

/** What is done to a connection. */
const TROUBLES = [
  'reset wire',
  'silence',
  'deaf',
  'turned bit',
  'target away',
  'away and reset',
  'away and delete',
  'reset and shut',
  'silence and reset',
  'silence and delete',
  'reset',
  'reset',
  'delete',
  'nothing',
] as const

/** ns of a message over RDMA. */
const LATENCIES = [0, 0, 1e3, 10e3, 500e3, 20e6, 150e6]

function check(good: boolean, what: string): void {
  if (!good) throw new Error(what)
}

class Simulation {
  readonly #random: Prng
  readonly #rig: FabricRig
  readonly #transport: string
  readonly #events: string[] = []
  readonly #ctrl: nvme_ctrl
  readonly #digests: boolean
  #ios = 0
  #failed = 0
  #running = 0
  readonly #quiet: boolean
  readonly #reached = new Set<Story>()
  /** Controllers of the target that were there at some time. */
  readonly #seen = new Set<nvmet_ctrl>()
  /** What came over a live controller: silence, a target that went. */
  readonly #was = new Set<string>()

  constructor(seed: number) {
    this.#random = new Prng(seed)
    const cpus = 1 + this.#random.below(3)
    this.#transport = this.#random.pick(['tcp', 'tcp', 'rdma', 'rdma', 'fc', 'fc', 'loop'])
    const latencyNs = this.#random.pick(LATENCIES)
    const jitterNs = this.#random.chance(50) ? this.#random.below(1 + latencyNs) : 0
    this.#rig = new FabricRig({
      cpus,
      verbs: { latencyNs, jitterNs, seed },
      register_always: !this.#random.chance(25),
    })
    const texts: Readonly<Record<string, string>> = {
      tcp: TCP_TEXT,
      rdma: RDMA_TEXT,
      fc: FC_TEXT,
      loop: LOOP_TEXT,
    }
    const more =
      this.#transport === 'loop'
        ? ''
        : `,reconnect_delay=1,ctrl_loss_tmo=${this.#random.pick([3, 600])}`
    this.#quiet = this.#random.chance(15)
    const quiet = this.#quiet ? ',keep_alive_tmo=0' : ''
    this.#digests = this.#transport === 'tcp' && this.#random.chance(70)
    const digests = this.#digests ? ',hdr_digest,data_digest' : ''
    this.#ctrl = this.#rig.connect(
      `${texts[this.#transport]}${more}${quiet}${digests},queue_size=16`,
    )
  }

  /** One task: a model of its region, and I/O until it has done enough or the disk is gone. */
  *#task(index: number): Sleep<void> {
    const { k } = this.#rig.machine.host!
    const model = new Uint8Array(REGION)
    const at = this.#rig.buffers + index * BYTES
    const ns = this.#ctrl.namespaces[0]
    if (ns === undefined) throw new Error('there is no disk')
    for (let n = 0; n < IOS; n++) {
      const blocks = 1 + this.#random.below(BYTES / BLOCK)
      const place = this.#random.below(REGION - blocks + 1)
      const pos = (index * REGION + place) * BLOCK
      if (ns.removing) break
      this.#ios++
      if (this.#random.chance(50)) {
        const value = 1 + this.#random.below(255)
        const data = new Uint8Array(blocks * BLOCK).fill(value)
        const status = yield* this.#rig.write(ns, pos, data, at)
        if (status === 0) model.fill(value, place, place + blocks)
        else {
          this.#failed++
          // It may have been written, or in part.
          this.#unknown(index, place, blocks)
        }
      } else {
        const back = yield* this.#rig.read(ns, pos, blocks * BLOCK, at)
        if (typeof back === 'number') this.#failed++
        else this.#compare(index, model, place, back)
      }
      if (this.#random.chance(40)) yield* msleep(k, this.#random.below(600))
    }
    this.#running--
  }

  readonly #vague = new Set<number>()

  #unknown(index: number, place: number, blocks: number): void {
    for (let i = place; i < place + blocks; i++) this.#vague.add(index * REGION + i)
  }

  #compare(index: number, model: Uint8Array, place: number, back: Uint8Array): void {
    for (let i = 0; i < back.length / BLOCK; i++) {
      if (this.#vague.has(index * REGION + place + i)) continue
      const want = model[place + i]!
      const part = back.subarray(i * BLOCK, (i + 1) * BLOCK)
      // every byte is as the one before it
      const even = Buffer.compare(part.subarray(1), part.subarray(0, BLOCK - 1)) === 0
      check(even && part[0] === want, `block ${place + i} of task ${index} is not what was written`)
    }
  }

  /** Bytes that come to one end are lost for a while: it takes the other for dead, or not. */
  #deaf(): void {
    const { network } = this.#rig
    const end = this.#random.pick(['connector', 'listener'] as const)
    let lost = this.#random.below(20)
    network.tamper = (bytes, at) => {
      if (at !== end) return bytes
      if (--lost <= 0) {
        network.tamper = null
        network.reset()
      }
      return new Uint8Array(0)
    }
  }

  /** A bit is turned on the way. */
  #turn(): void {
    const { network } = this.#rig
    let wait = this.#random.below(3)
    network.tamper = bytes => {
      if (wait-- > 0) return bytes
      network.tamper = null
      if (bytes[0]! >= nvme_tcp_cmd) this.#reached.add('digest error')
      const turned = bytes.slice()
      turned[this.#random.below(bytes.length)]! ^= 1 << this.#random.below(8)
      return turned
    }
  }

  /** A work request over RDMA that comes by has a wrong key, or leaves one valid. */
  #mistake(story: 'wrong key' | 'kept key'): void {
    const { verbs } = this.#rig
    let wait = this.#random.below(6)
    verbs.tamper = wr => {
      const keyed = 'invalidate_rkey' in wr || 'rkey' in wr
      const fits = story === 'kept key' ? wr.opcode === 'SEND_WITH_INV' : keyed
      if (!fits || wait-- > 0) return wr
      verbs.tamper = null
      this.#reached.add(story)
      if (wr.opcode === 'SEND_WITH_INV' && story === 'kept key') return { ...wr, opcode: 'SEND' }
      const bit = 1 << this.#random.below(31)
      if ('invalidate_rkey' in wr)
        return { ...wr, invalidate_rkey: (wr.invalidate_rkey ^ bit) >>> 0 }
      return 'rkey' in wr ? { ...wr, rkey: (wr.rkey ^ bit) >>> 0 } : wr
    }
  }

  /** What happens next: often what only this transport has. */
  #what(): (typeof TROUBLES)[number] | 'wrong key' | 'kept key' {
    if (this.#digests && this.#random.chance(40)) return 'turned bit'
    if (this.#transport === 'rdma' && this.#random.chance(30))
      return this.#random.chance(50) ? 'wrong key' : 'kept key'
    return this.#random.pick(TROUBLES)
  }

  #trouble(): void {
    const rig = this.#rig
    const what = this.#what()
    this.#events.push(what)
    this.#note(what)
    if (what === 'reset wire') {
      rig.network.reset()
      rig.verbs.cut()
      fcloop_delete_remote_port(rig.link, FC_TARGET)
      fcloop_create_remote_port(rig.link, FC_REMOTE)
      rig.pass(0.001)
      if (this.#ctrl.state !== 'LIVE') this.#reached.add('link loss')
    } else if (what === 'silence') rig.silence()
    else if (what === 'reset and shut') {
      nvme_reset_ctrl(this.#ctrl)
      rig.shut()
    } else if (what === 'silence and reset' || what === 'silence and delete') {
      rig.silence()
      nvme_reset_ctrl(this.#ctrl)
      rig.pass(this.#random.below(1500) / 1000)
      if (what === 'silence and delete') nvme_delete_ctrl(this.#ctrl)
    } else if (what === 'deaf') this.#deaf()
    else if (what === 'turned bit' && this.#digests) this.#turn()
    else if (what === 'wrong key' || what === 'kept key') this.#mistake(what)
    else if (what === 'target away') rig.lose()
    else if (what === 'away and reset' || what === 'away and delete') {
      rig.lose()
      rig.pass(this.#random.below(1500) / 1000)
      const during = this.#ctrl.state === 'CONNECTING'
      const resets = what === 'away and reset'
      if (!resets && !this.#random.chance(30)) return
      if (resets) nvme_reset_ctrl(this.#ctrl)
      else nvme_delete_ctrl(this.#ctrl)
      if (during) this.#reached.add(resets ? 'reset during reconnect' : 'delete during reconnect')
    } else if (what === 'reset') nvme_reset_ctrl(this.#ctrl)
    else if (what === 'delete' && this.#random.chance(30)) nvme_delete_ctrl(this.#ctrl)
  }

  #look(): void {
    for (const ctrl of this.#rig.subsys.ctrls) this.#seen.add(ctrl)
  }

  #note(what: string): void {
    this.#look()
    if (this.#transport === 'loop' || this.#ctrl.state !== 'LIVE') return
    if (what.startsWith('silence')) this.#was.add('silent')
    if (what.includes('away')) this.#was.add('away')
  }

  /** What the logs of host and target tell, before the controller is deleted. */
  #judge(): void {
    const log = this.#rig.log()
    const said = (text: string): boolean => log.some(line => line.includes(text))
    if (this.#was.has('silent') && said('timeout, state LIVE'))
      this.#reached.add('half-open socket')
    if (this.#was.has('away') && this.#ctrl.state === 'LIVE') this.#reached.add('target restart')
    if (this.#was.has('away') && said('Failed reconnect attempt'))
      this.#reached.add('refused connect')
    if (said('Removing controller...')) this.#reached.add('reconnect limit')
    const given_up = [...this.#seen].some(({ csts }) => csts & NVME_CSTS_CFS)
    if (this.#quiet && given_up) this.#reached.add('keep-alive expiry')
  }

  run(): FabricOutcome {
    const rig = this.#rig
    const { host } = rig.machine
    for (let i = 0; i < TASKS; i++) {
      this.#running++
      host!.k.spawn(`io${i}`, () => this.#task(i))
    }
    for (let n = this.#random.below(4); n > 0; n--) {
      rig.pass(this.#random.below(2000) / 1000)
      this.#trouble()
    }
    this.#look()
    rig.pass(this.#random.chance(20) ? this.#random.below(20) : this.#random.below(4))
    this.#look()
    rig.network.tamper = null
    rig.verbs.tamper = null
    rig.back()
    for (let n = 0; n < 200 && this.#running > 0; n++) rig.pass(2)
    check(this.#running === 0, `I/O has not ended: ${rig.log().slice(-5).join('; ')}`)
    // A command of a reset may have gone into the void: it is given up after a minute.
    const settled = (): boolean => this.#ctrl.state === 'LIVE' || rig.nvme.ctrls.length === 0
    for (let n = 0; n < 20 && !settled(); n++) rig.pass(12)
    this.#judge()
    const { state } = this.#ctrl
    check(settled(), `the controller is ${state}`)
    if (rig.nvme.ctrls.length > 0) rig.disconnect(this.#ctrl)
    for (let n = 0; n < 20 && rig.nvme.ctrls.length > 0; n++) rig.pass(12)
    rig.pass(30)
    check(rig.nvme.ctrls.length === 0, 'the controller did not go')
    check(rig.subsys.ctrls.length === 0, 'the target keeps a controller')
    check(rig.pool.used === 0, 'the target keeps memory')
    check(rig.link.busy.size === 0, 'a command is lost on the link')
    check(rig.fc_port.assocs.size === 0, 'the target keeps an association')
    check(rig.verbs.memory.regions === 0, 'memory is still registered')
    check(rig.verbs.memory.domains === 0, 'a protection domain is left')
    // A connection that went dead before its Connect has no keep-alive: the port's removal ends it, as in Linux.
    rig.rdma_port.remove()
    rig.pass(5)
    check(rig.rdma_port.queues.size === 0, 'the target keeps a queue')
    check(rig.verbs.ids.size === 0, 'a connection is left')
    const books = rig.machine.books()
    check(books.balanced, books.problems.join('; '))
    return {
      transport: this.#transport,
      state,
      ios: this.#ios,
      virtualNs: rig.now,
      failed: this.#failed,
      events: this.#events,
      reached: [...this.#reached].sort(),
    }
  }
}

/** Runs one seed. @throws Error that names it */
export function simulateFabric(seed: number): FabricOutcome {
  try {
    return new Simulation(seed).run()
  } catch (error) {
    throw new Error(`fabrics seed ${seed}: ${(error as Error).stack}`, { cause: error })
  }
}
