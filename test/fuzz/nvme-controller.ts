// Random bytes as submission entries, registers and doorbells against a controller. No case may trap, hang or touch memory
// that the controller may not reach, and every command that is fetched ends at most once, with a status of the specification.

import { Zoned } from '../../src/device/nvme/zoned.js'
import { blocks, PAGE, Rig } from '../unit/device/rig.js'
import { type Fuzz, type Story, storyFuzzer } from './fuzzer.js'
import type { Prng } from './prng.js'

const ENTRIES = 16
const PAGES = 24

/** A controller and the first of the pages that it may reach: six of rings, then data. */
class Target {
  readonly rig: Rig
  readonly first: number

  constructor(kind: number) {
    const zones = {
      zoneBlocks: 32,
      capacityBlocks: 24,
      maxOpen: 2,
      maxActive: 3,
      appendBytes: 4096,
    }
    this.rig = new Rig({
      ...(kind === ZONED ? { extensions: () => [new Zoned(zones)] } : {}),
      entries: ENTRIES,
      queues: 3,
      pages: PAGES + 1,
      sizeBytes: 2 ** 20,
      poolPages: 320,
      serviceNs: 1000,
      config: {
        slots: 3,
        trackCache: kind === TRACKED,
        adminNs: kind === TRACKED ? 500 : 0,
        serviceSlots: kind === TRACKED ? 3 : 0,
        writeCache: true,
        hostMemory: { preferred: 4, minimum: 1 },
        keepAlive: 1,
        namespaces: [
          { bytes: 2 ** 18, format: 0 },
          { bytes: 2 ** 18, format: 1, protection: 1 },
        ],
      },
    })
    this.first = this.rig.controller.config.dma!.from
  }
}

/** A plain drive, one whose cache can be lost and whose commands take turns, one with zones. */
const KINDS = 3
const [TRACKED, ZONED] = [1, 2]
const targets: Target[] = []

const ADMIN = [0, 1, 2, 4, 5, 6, 8, 9, 0x0a, 0x0c, 0x0d, 0x10, 0x11, 0x15, 0x18, 0x7c, 0x80, 0x84]
const IO = [0, 1, 2, 4, 5, 8, 9, 0x0c, 1, 2, 0x79, 0x7a, 0x7d]
/** Registers whose bytes mean something. */
const REGISTERS = [
  0x0c, 0x10, 0x14, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x1000, 0x1008, 0x100c,
]

function word(random: Prng): number {
  const kind = random.below(6)
  if (kind === 0) return 0
  if (kind === 1) return random.below(16)
  if (kind === 2) return random.below(65536)
  if (kind === 3) return 0xffffffff
  return random.next() >>> 0
}

/** An address: mostly one that can be reached, often at the end of it; not the rings, whose entries are checked. */
function pointer(random: Prng, { first }: Target): number {
  const kind = random.below(8)
  if (kind === 0) return word(random)
  if (kind === 1) return 2 ** 32 + word(random)
  const page = first + (6 + random.below(PAGES - 4)) * PAGE
  if (kind < 6) return page
  return page + random.below(1024) * 4
}

function entry(random: Prng, target: Target, qid: number): number[] {
  const opcodes = qid === 0 ? ADMIN : IO
  const opcode = random.chance(90) ? random.pick(opcodes) : random.below(256)
  const flags = random.chance(85) ? 0 : random.below(256)
  const words = [
    (opcode | (flags << 8) | (random.below(65536) << 16)) >>> 0,
    random.chance(80) ? random.below(4) : word(random),
    0,
    0,
  ]
  for (let i = 0; i < 3; i++) {
    const at = pointer(random, target)
    words.push(at % 2 ** 32, Math.floor(at / 2 ** 32))
  }
  for (let i = 0; i < 6; i++) words.push(word(random))
  if (random.chance(50)) {
    const cdw = blocks(random.below(520), 1 + random.below(12), 0)
    words.splice(10, 3, ...cdw.slice(0, 3))
  }
  return words.map(x => x >>> 0)
}

/** A ring of the target: pages 0 to 5 are the rings, the rest is data. */
function ringOf({ first }: Target, qid: number): number {
  return first + qid * PAGE
}

function start(target: Target, random: Prng): void {
  const { rig, first } = target
  rig.renew()
  rig.write(0x24, ((ENTRIES - 1) | ((ENTRIES - 1) << 16)) >>> 0)
  rig.write(0x28, ringOf(target, 0))
  rig.write(0x2c, 0)
  rig.write(0x30, first + 3 * PAGE)
  rig.write(0x34, 0)
  rig.write(0x14, 0x00460001)
  const at = ringOf(target, 0)
  for (let qid = 1; qid <= 2; qid++) {
    command(target, at + (2 * qid - 2) * 64, [5, 0, first + (3 + qid) * PAGE, qid, 3])
    command(target, at + (2 * qid - 1) * 64, [1, 0, ringOf(target, qid), qid, 1 | (qid << 16)])
  }
  rig.write(0x1000, 4)
  if (random.chance(20)) rig.controller.inject({ match: {}, action: { kind: 'corrupt' } })
}

function command(target: Target, at: number, words: readonly number[]): void {
  const [opcode, nsid, prp1, qid, cdw11] = words as [number, number, number, number, number]
  const { view } = target.rig
  view.fill(at, 64, 0)
  view.setU32(at, opcode)
  view.setU32(at + 4, nsid)
  view.setU32(at + 24, prp1)
  view.setU32(at + 40, (qid | ((ENTRIES - 1) << 16)) >>> 0)
  view.setU32(at + 44, cdw11)
}

/** Checks the completion queues: what was posted has a status there is. */
function check({ rig, first }: Target): void {
  for (let q = 0; q < 3; q++) {
    for (let i = 0; i < ENTRIES; i++) {
      const at = first + (3 + q) * PAGE + i * 16
      const status = (rig.view.u32(at + 12) >>> 17) & 0x7ff
      if (rig.view.u32(at + 12) === 0) continue
      const type = status >>> 8
      if (type > 2 || (type === 0 && (status & 0xff) > 0x84)) throw new Error(`status ${status}`)
    }
  }
}

/** Steps of a story. A controller that a step has switched off is renewed for the next one. */
const STEPS = 12

class ControllerStory implements Story {
  readonly #target: Target
  readonly #random: Prng
  #tails = [4, 0, 0]

  constructor(random: Prng) {
    const kind = random.below(KINDS)
    targets[kind] ??= new Target(kind)
    this.#target = targets[kind]!
    this.#random = random
    start(this.#target, random)
  }

  step(random: Prng, say: (line: string) => void): void {
    const { rig } = this.#target
    if ((rig.read(0x1c) & 3) !== 1) {
      say('anew')
      start(this.#target, random)
      this.#tails = [4, 0, 0]
    }
    const kind = random.below(10)
    if (kind < 7) this.#command(random, say)
    else if (kind === 7) this.#register(random, say)
    else if (kind === 8) this.#pointers(random)
    else {
      // straight into the registers' memory, as the core's own doorbells go
      rig.view.setU32(rig.at.bar + 0x1000 + random.below(8) * 4, word(random))
      rig.core.dev_step(rig.at.dsqs[random.below(3)]!, rig.now)
    }
    rig.run(2000)
    check(this.#target)
  }

  #command(random: Prng, say: (line: string) => void): void {
    const { rig } = this.#target
    const qid = random.below(3)
    const words = entry(random, this.#target, qid)
    say(`q${qid} ${words.map(x => x.toString(16)).join(' ')}`)
    const at = ringOf(this.#target, qid) + this.#tails[qid]! * 64
    for (const [k, value] of words.entries()) rig.view.setU32(at + 4 * k, value)
    this.#tails[qid] = (this.#tails[qid]! + 1) % ENTRIES
    rig.write(0x1000 + qid * 8, this.#tails[qid]!)
  }

  #register(random: Prng, say: (line: string) => void): void {
    const { rig } = this.#target
    const register = random.chance(80) ? random.pick(REGISTERS) : random.below(0x1040)
    const value = word(random)
    say(`w ${register.toString(16)} ${value.toString(16)}`)
    rig.write(register, value)
    rig.read(register)
  }

  #pointers(random: Prng): void {
    const { rig, first } = this.#target
    const page = first + 6 * PAGE + random.below(PAGES - 7) * PAGE
    for (let k = 0; k < 16; k++)
      rig.view.setU64(page + random.below(512) * 8, pointer(random, this.#target))
  }

  end(): void {
    if (this.#random.chance(50)) this.#target.rig.controller.powerLoss((_, lba) => lba % 2 === 0)
  }
}

export const fuzz: Fuzz = storyFuzzer(
  'nvme-controller',
  STEPS,
  random => new ControllerStory(random),
)
