// The short way of a single bio (assembly/plain-bio.ts) and the chain leave the same machine behind: the same random bios,
// plain and otherwise, are submitted and polled for on the release core and on the trace core, which has the chain only.
// Every second one is offered to plain_rw first, and every second look is plain_look's.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { diskConfig, machineConfig } from '../machine/helper.js'
import { queueState } from './queue-state.js'

const BIOS = 24
const BLOCKS = 64

/** A bio, or a look for completions. Sector and offset count 512 bytes. */
type Step =
  | {
      readonly opf: number
      readonly sector: number
      readonly bytes: number
      readonly offset: number
    }
  | 'poll'

const bio = fc.record({
  opf: fc.oneof(
    {
      arbitrary: fc.constantFrom(N.REQ_OP_READ, N.REQ_OP_WRITE, N.REQ_OP_WRITE | N.REQ_SYNC),
      weight: 8,
    },
    {
      arbitrary: fc.constantFrom(
        N.REQ_OP_DISCARD,
        N.REQ_OP_WRITE_ZEROES,
        N.REQ_OP_READ | N.REQ_RAHEAD,
      ),
      weight: 1,
    },
  ),
  // some lie beyond the end
  sector: fc.integer({ min: 0, max: BLOCKS + 4 }),
  bytes: fc.constantFrom(512, 1024, 4096, 8192, 12288),
  offset: fc.constantFrom(0, 0, 1, 7),
})

const story = fc.record({
  depth: fc.constantFrom(4, 9, 34),
  model: fc.constantFrom('null' as const, 'ram' as const),
  steps: fc.array(fc.oneof({ arbitrary: bio, weight: 2 }, fc.constant('poll' as const)), {
    minLength: 40,
    maxLength: 120,
  }),
})

interface Run {
  readonly state: Record<string, unknown>
  readonly cookies: number[]
  /** Bio and status, in the order in which they ended. */
  readonly ended: string[]
  readonly plain: number
}

function run(
  core: 'release' | 'trace',
  { depth, model, steps }: { depth: number; model: 'null' | 'ram'; steps: Step[] },
): Run {
  const disk = diskConfig({ model, depth, queues: 1, lbaShift: 9, sizeBytes: BLOCKS * 512 })
  const machine = bootMachine(
    machineConfig({
      clock: 'real',
      core,
      lat: 'none',
      disks: [disk],
      memBytes: 2 ** 22,
      extraBytes: 2 ** 20,
    }),
  )
  const { view } = machine
  const cpu = machine.cpuAddress(0)
  const q = machine.disks[0]!.q
  view.store(q + L.Q_TIMER_ARMED, 1)
  view.store(q + L.Q_TIMER_NEXT, 0)
  const bios = machine.alloc(BIOS * L.BIO_BYTES, 128)
  const data = machine.alloc(BIOS * 16384, 4096)
  const cookies: number[] = []
  const ended: string[] = []
  let free = Array.from({ length: BIOS }, (_, i) => i)
  let plain = 0
  let looks = 0
  const take = (): void => {
    view.setU32(cpu + L.CPU_SLOW, 0)
    if (looks++ % 2) machine.core.plain_look(cpu)
    else machine.core.cpu_run(cpu, 100)
    for (const at of endedBios(machine)) {
      const index = (at - bios) / L.BIO_BYTES
      free.push(index)
      ended.push(`${index}: ${view.u32(at + L.BIO_STATUS)}`)
    }
  }
  for (const step of steps) {
    if (step === 'poll' || free.length === 0) {
      take()
      continue
    }
    const [index, ...rest] = free as [number, ...number[]]
    const at = bios + index * L.BIO_BYTES
    view.bytes.fill(0, at, at + L.BIO_BYTES)
    view.setU32(at + L.BIO_OPF, step.opf)
    view.setU64(at + L.BIO_SECTOR, step.sector)
    view.setU32(at + L.BIO_SIZE, step.bytes)
    view.setU32(at + L.BIO_DATA, data + index * 16384 + step.offset * 512)
    view.setU32(at + L.BIO_DISK, q)
    view.setU32(at + L.BIO_END_IO, L.END_IO_RING)
    const cookie = submit(machine, at, cookies.length % 2 === 1)
    cookies.push(cookie)
    // Without a tag it was not taken.
    if (cookie >= -1) free = rest
    plain += plainRequests(machine)
  }
  for (let i = 0; i < 4; i++) take()
  const books = view.u64(cpu + L.CPU_SUBMITTED)
  expect(books).toBe(cookies.length)
  return { state: queueState(machine), cookies, ended, plain }
}

/** Submits a filled bio, by plain_rw if that takes it. */
function submit(machine: Machine, bio: number, short: boolean): number {
  const { core, view } = machine
  const cpu = machine.cpuAddress(0)
  const opf = view.u32(bio + L.BIO_OPF)
  if (short && !(opf & ~(N.REQ_OP_WRITE | N.REQ_SYNC))) {
    const [bytes, data] = [view.u32(bio + L.BIO_SIZE), view.u32(bio + L.BIO_DATA)]
    view.setU32(bio + L.BIO_BUFFER, data)
    const offset = view.u64(bio + L.BIO_SECTOR) * 512
    for (const field of [L.BIO_OPF, L.BIO_SIZE, L.BIO_DATA]) view.setU32(bio + field, 0)
    view.setU64(bio + L.BIO_SECTOR, 0)
    const cookie = core.plain_rw(cpu, bio, opf, offset, bytes)
    if (cookie !== L.NOT_PLAIN) return cookie
    expect(view.u32(bio + L.BIO_SIZE)).toBe(0)
    view.setU32(bio + L.BIO_OPF, opf)
    view.setU32(bio + L.BIO_SIZE, bytes)
    view.setU32(bio + L.BIO_DATA, data)
    view.setU64(bio + L.BIO_SECTOR, offset / 512)
  }
  return core.submit_bio(cpu, bio)
}

/** Empties the CPU's ring of ended bios. */
function endedBios(machine: Machine): number[] {
  const { view } = machine
  const ring = view.u32(machine.cpuAddress(0) + L.CPU_RING)
  const found: number[] = []
  for (let head = view.u32(ring + L.RING_HEAD); head !== view.u32(ring + L.RING_TAIL); head++) {
    found.push(view.u32(view.u32(ring + L.RING_BASE) + (head & view.u32(ring + L.RING_MASK)) * 4))
    view.setU32(ring + L.RING_HEAD, head + 1)
  }
  return found
}

/** Requests in flight that went the short way. */
function plainRequests(machine: Machine): number {
  const { view } = machine
  const { depth } = machine.config.disks[0]!
  const hctx = view.u32(view.u32(machine.disks[0]!.q + L.Q_CTXS) + L.CTX_HCTX)
  const slots = view.u32(view.u32(hctx + L.HC_TAGS) + L.TAGS_STATIC_RQS)
  let count = 0
  for (let tag = 0; tag < depth - 1; tag++) {
    const rq = slots + tag * L.RQ_SIZE
    const plain = (view.u32(rq + L.RQ_FLAGS) & N.RQF_PLAIN_BIO) !== 0
    if (plain && view.u32(rq + L.RQ_STATE) === L.MQ_RQ_IN_FLIGHT) count++
  }
  return count
}

it('plain_rw takes whole blocks within the disk and nothing else', () => {
  const disk = diskConfig({ model: 'null', depth: 9, queues: 1, lbaShift: 12, sizeBytes: 65536 })
  const machine = bootMachine(
    machineConfig({ clock: 'real', lat: 'none', disks: [disk], extraBytes: 2 ** 16 }),
  )
  const { core, view } = machine
  const cpu = machine.cpuAddress(0)
  const bio = machine.alloc(L.BIO_BYTES, 128)
  const data = machine.alloc(8192, 4096)
  const { q } = machine.disks[0]!
  view.store(q + L.Q_TIMER_ARMED, 1)
  view.setU32(bio + L.BIO_DISK, q)
  view.setU32(bio + L.BIO_END_IO, L.END_IO_RING)
  view.setU32(bio + L.BIO_BUFFER, data)
  const rw = (offset: number, bytes: number): number =>
    core.plain_rw(cpu, bio, N.REQ_OP_READ, offset, bytes)
  for (const [offset, bytes] of [
    [512, 4096],
    [4096.5, 4096],
    [-4096, 4096],
    [Number.NaN, 4096],
    [2 ** 63, 4096],
    [2 ** 52, 4096],
    [2 ** 52 + 4096, 4096],
    [2 ** 53 - 4096, 4096],
    [0, 512],
    [0, 0],
    [0, 12288],
    [65536, 4096],
    [61440, 8192],
  ])
    expect([offset, rw(offset!, bytes!)]).toEqual([offset, L.NOT_PLAIN])
  expect(view.u64(cpu + L.CPU_SUBMITTED)).toBe(0)
  expect(rw(61440, 4096)).toBeGreaterThanOrEqual(0)
  expect(view.u32(bio + L.BIO_BUSY)).toBe(1)
  expect(rw(0, 4096)).toBe(L.NOT_PLAIN)
  expect(core.plain_look(cpu)).toBe(L.RUN_MORE)
  expect(endedBios(machine)).toEqual([bio])
})

it('a single bio: the short way leaves the machine as the chain does', () => {
  let short = 0
  fc.assert(
    fc.property(story, one => {
      const a = run('release', one)
      const b = run('trace', one)
      expect(b.plain).toBe(0)
      short += a.plain
      expect({ ...a, plain: 0 }).toEqual(b)
    }),
    { numRuns: 40 },
  )
  expect(short).toBeGreaterThan(150)
})
