// Random completion entries against the NVMe driver, on a machine in virtual time. The controller fetches commands and says
// nothing; the case answers in its place: good and bad statuses, identifiers that nobody waits for, the same identifier
// twice, entries of the old phase, interrupts for nothing, events of any kind, and sometimes silence until the driver
// aborts and resets. The driver may not trap or hang, a read ends exactly once, and only by an entry that names it:
//
//   status code 0             the read ends well
//   any other                 it ends with an error, or the command is there again
//   an identifier not in flight   nothing ends, nothing is sent
//
// A case is one entry, or one silence. Machines serve many stories of such cases; a story leaves its machine with a driver
// that is up and idle.

import {
  DCQ_PHASE,
  DCQ_TAIL,
  DSQ_CQ,
  DSQ_ID,
  DV_ADMIN,
  DV_IO,
  DV_PENDING,
} from '../../assembly/layout.js'
import { nvme_process_cq } from '../../src/drivers/nvme/host/pci-queue.js'
import { blkdev_read_iter } from '../../src/fs/block_dev.js'
import { Probed } from '../unit/nvme/probed.js'
import { type Fuzz, type Story, storyFuzzer } from './fuzzer.js'
import type { Prng } from './prng.js'

const STORIES_OF_A_MACHINE = 100
/** Cases of a story. */
const CASES = 32
/** Reads in flight at most. */
const READS = 6
const MS = 1e6
/** A while in which everything that is due at once has happened, ns. */
const SOON = 30_000
const TURNS = 2_000_000
const DELETE_SQ = 0
const READ = 2

/** A command that waits for its entry. */
interface Flying {
  readonly dsq: number
  readonly qid: number
  readonly cid: number
}

class Target {
  readonly p: Probed
  readonly flying = new Map<string, Flying>()
  /** Commands of I/O queues that were fetched. */
  fetched = 0
  stories = 0
  /** After a reset the controller answers by itself, until the reset is over: a reset waits for what it sends again. */
  answers = false

  constructor(kind: number) {
    this.p = new Probed({
      cpus: kind === 0 ? 1 : 2,
      era: kind === 2 ? '4.9' : '4.19',
      device: 'nvme,size=1M,depth=8,model=null',
      manual: true,
      // A rule that never acts: the controller is asked about every command.
      controller: { config: { faults: [{ match: { opcode: 0xfe }, action: { kind: 'drop' } }] } },
    })
    this.#mute()
    this.p.nvme.load()
    this.until(1000, () => this.p.nvme.settled)
    if (this.p.nvme.ctrl(0)?.state !== 'LIVE') throw new Error('the controller is not up')
    this.answers = false
  }

  #mute(): void {
    const { controller, machine } = this.p
    const { view } = machine
    const { deviceHost, write32 } = controller
    controller.deviceHost = (what, dsq, sqe, arg) => {
      const cdw0 = view.u32(sqe)
      if (what === DV_IO && (cdw0 & 0xff) === READ && !this.answers)
        return this.#fetch(dsq, cdw0 >>> 16)
      if (what === DV_ADMIN && (cdw0 & 0xff) === DELETE_SQ)
        this.#forget(view.u32(sqe + 40) & 0xffff)
      return deviceHost.call(controller, what, dsq, sqe, arg)
    }
    controller.write32 = (offset, value) => {
      if (offset === 0x14 && (value & 1) === 0) {
        this.flying.clear()
        this.answers = true
      }
      write32.call(controller, offset, value)
    }
  }

  #fetch(dsq: number, cid: number): number {
    const qid = this.p.machine.view.u32(dsq + DSQ_ID)
    const key = `${qid}:${cid}`
    if (this.flying.has(key)) throw new Error(`identifier ${key} is used twice`)
    this.flying.set(key, { dsq, qid, cid })
    this.fetched++
    return DV_PENDING
  }

  #forget(qid: number): void {
    for (const [key, one] of this.flying) if (one.qid === qid) this.flying.delete(key)
  }

  /** Lets time pass, without giving anybody else a turn. */
  pass(ns: number): void {
    const { machine } = this.p
    const end = machine.now() + ns
    for (let turns = 0; turns < TURNS; turns++) {
      const how = machine.turn(end)
      if (how === 'time' || how === 'idle') return
    }
    throw new Error('time stands still')
  }

  until(ms: number, done: () => boolean): void {
    const end = this.p.machine.now() + ms * MS
    for (
      let step = 0.1 * MS;
      !done() && this.p.machine.now() < end;
      step = Math.min(step * 1.5, 1000 * MS)
    )
      this.pass(step)
  }

  post(dsq: number, cid: number, status: number, dw0 = 0): void {
    const { core } = this.p.machine.host!.blk
    core.dev_complete(dsq, cid, status, dw0, 0, this.p.machine.now())
  }

  /** An entry where the next one will be, with the phase of the last round; the interrupt comes all the same. */
  postOld(random: Prng, qid: number): void {
    const { view } = this.p.machine
    const nvmeq = this.p.dev.queues[qid]!
    const dcq = view.u32(this.dsq(qid) + DSQ_CQ)
    const at = nvmeq.memory.cq + view.u32(dcq + DCQ_TAIL) * 16
    for (const offset of [0, 4, 8]) view.setU32(at + offset, random.next())
    const phase = (view.u32(dcq + DCQ_PHASE) & 1) ^ 1
    view.setU32(at + 12, ((random.next() & 0xfffeffff) | (phase << 16)) >>> 0)
    if (nvme_process_cq(nvmeq) !== 0) throw new Error('an entry of the old phase was taken')
  }

  dsq(qid: number): number {
    const { admin, queues } = this.p.nvme.controllers.all[0]!.disk
    return qid === 0 ? admin!.dsq : queues[qid - 1]!.dsq
  }
}

const KINDS = 3
const targets: (Target | undefined)[] = []

function target(kind: number): Target {
  const old = targets[kind]
  if (old && old.stories++ < STORIES_OF_A_MACHINE) return old
  // Until a story has ended well, its machine is not for others.
  return new Target(kind)
}

/** Reads, and what they are answered. */
class DriverStory implements Story {
  readonly #kind: number
  readonly #t: Target
  #random: Prng
  #say: (line: string) => void = () => {}
  /** How each read ended, of those since none was in flight. */
  ends: number[][] = []

  constructor(random: Prng) {
    this.#random = random
    this.#kind = random.below(KINDS)
    this.#t = target(this.#kind)
    targets[this.#kind] = undefined
  }

  get ended(): number {
    return this.ends.reduce((n, one) => n + one.length, 0)
  }

  /** Reads that the driver holds back, because queues stand still or an error lets them be tried again. */
  get waiting(): number {
    return this.ends.length - this.ended - this.#t.flying.size
  }

  /** A read or two more, if there are few. */
  #begin(): void {
    const { p } = this.#t
    const flying = this.ends.length - this.ended
    if (flying === 0) this.ends = []
    if (flying >= READS || (flying > 0 && !this.#random.chance(30))) return
    for (let n = this.#random.below(2); n >= 0; n--) {
      const mine: number[] = []
      const at = this.ends.length % 32
      this.ends.push(mine)
      const io = { ...p.io(2 * at), data: p.data + at * 4096, done: (s: number) => mine.push(s) }
      const cpu = this.#random.below(p.k.cpus.length)
      p.k.spawn(
        'reader',
        function* () {
          yield* blkdev_read_iter(io)
        },
        [cpu],
      )
    }
    this.#t.pass(SOON)
  }

  step(random: Prng, say: (line: string) => void): void {
    this.#random = random
    this.#say = say
    this.#t.answers = false
    this.#begin()
    if (random.below(2000) === 0) this.#silence()
    else this.#entry()
  }

  #entry(): void {
    const random = this.#random
    const kind = random.below(10)
    const all = [...this.#t.flying.values()]
    const one = all.length > 0 ? random.pick(all) : undefined
    if (kind < 5 && one) this.#answer(one, random.chance(40) ? 0 : random.below(0x8000), kind === 4)
    else if (kind < 7) this.#stranger()
    else if (kind < 8) this.#old()
    else this.#event()
  }

  #answer({ dsq, qid, cid }: Flying, status: number, twice: boolean): void {
    this.#say(`q${qid} id ${cid} status ${status.toString(16)}${twice ? ' twice' : ''}`)
    const { fetched } = this.#t
    const { ended, waiting } = this
    const { queue } = this.#t.p.ctrl.namespaces[0]!
    const before = queue.quiesced
    const good = this.ends.flat().filter(s => s === 0).length
    this.#t.flying.delete(`${qid}:${cid}`)
    this.#t.post(dsq, cid, status)
    if (twice) this.#t.post(dsq, cid, this.#random.below(0x8000))
    this.#t.pass(SOON)
    const more = this.ended - ended
    const well = this.ends.flat().filter(s => s === 0).length - good
    const again = this.#t.fetched - fetched
    if ((status & 0x7ff) === 0 && (more !== 1 || well !== 1))
      throw new Error(`status ${status}: ${more} ended, ${well} of them well`)
    // Queues stand still while firmware is activated: what is to be tried again waits.
    const still = before || queue.quiesced
    const sent = more + again - 1
    if ((status & 0x7ff) !== 0 && (well !== 0 || sent < (still ? -1 : 0) || sent > waiting))
      throw new Error(`status ${status}: ${more} ended, ${well} well, ${again} sent again`)
  }

  #stranger(): void {
    const qid = 1 + this.#random.below(this.#t.p.dev.online_queues - 1)
    const cid = this.#random.chance(50) ? this.#random.below(8) : this.#random.below(65536)
    if (this.#t.flying.has(`${qid}:${cid}`)) return
    this.#say(`q${qid} unknown id ${cid}`)
    this.#unmoved(() => this.#t.post(this.#t.dsq(qid), cid, this.#random.below(0x8000)))
  }

  #old(): void {
    const qid = this.#random.below(this.#t.p.dev.online_queues)
    this.#say(`q${qid} entry of the old phase`)
    this.#unmoved(() => this.#t.postOld(this.#random, qid))
  }

  /** On the admin queue: an event, or an identifier of nobody. */
  #event(): void {
    const cid = this.#random.chance(70)
      ? this.#t.p.ctrl.nvme.era.aq_depth - 1
      : this.#random.below(65536)
    const dw0 = this.#random.chance(50) ? 2 | (this.#random.below(4) << 8) : this.#random.next()
    const status = this.#random.chance(70) ? 0 : this.#random.below(0x8000)
    this.#say(`q0 id ${cid} status ${status.toString(16)} result ${dw0.toString(16)}`)
    this.#unmoved(() => this.#t.post(this.#t.dsq(0), cid, status, dw0))
  }

  #unmoved(what: () => void): void {
    const { fetched } = this.#t
    const { ended, waiting } = this
    what()
    this.#t.pass(SOON)
    if (this.ended !== ended) throw new Error('a read ended by an entry that does not name it')
    if (this.#t.fetched - fetched > waiting) throw new Error('a command was sent again for nothing')
  }

  /** Says nothing until the driver has aborted and reset. */
  #silence(): void {
    this.#say('silence')
    const before = this.ended
    const waits = this.#t.flying.size > 0
    this.#t.pass(75_000 * MS)
    this.#t.until(60_000, () => this.#t.p.nvme.settled)
    if (waits && this.#t.flying.size === 0 && this.ended === before)
      throw new Error('reads were lost in a reset')
  }

  /** Everything is answered; then nothing is left. */
  end(): void {
    const t = this.#t
    t.answers = false
    for (let round = 0; round < 100 && this.ended < this.ends.length; round++) {
      for (const [key, { dsq, cid }] of [...t.flying]) {
        t.flying.delete(key)
        t.post(dsq, cid, 0)
        t.pass(SOON)
      }
      t.pass(round < 10 ? SOON : 10 * MS)
    }
    t.until(10_000, () => t.p.nvme.settled)
    t.pass(MS)
    for (const [i, ends] of this.ends.entries())
      if (ends.length !== 1) throw new Error(`read ${i} ended ${ends.length} times`)
    const { problems } = t.p.machine.books()
    if (problems.length > 0) throw new Error(problems.join('; '))
    if (t.p.nvme.ctrl(0)?.state !== 'LIVE') throw new Error('the controller is not up')
    t.p.k.dmesg.length = 0
    targets[this.#kind] = t
  }
}

export const fuzz: Fuzz = storyFuzzer('nvme-driver', CASES, random => new DriverStory(random))
