import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BIO_BYTES } from '../../../assembly/layout.js'
import { UserError } from '../../../src/core/errors.js'
import { bootMachine } from '../../../src/machine/machine.js'
import { IoQueue } from '../../../src/workload/io-queue.js'
import { openMachine, type OpenMachine } from '../../../src/workload/open-machine.js'
import { diskConfig, machineConfig } from '../machine/helper.js'

const SMALL = { devices: ['nvme,size=1m'], memBytes: 2 ** 23, maxBytes: 16384, depth: 16 }

const CLOCKS = ['virtual', 'real'] as const

/** Polls until nothing is in flight: slots and errnos in the order in which they ended. */
function all(queue: IoQueue): [number, number][] {
  const ended: [number, number][] = []
  while (queue.inFlight > 0) queue.poll((slot, errno) => ended.push([slot, errno]))
  return ended
}

describe.each(CLOCKS)('a queue, %s time', clock => {
  const devices = [
    'nvme,model=ram',
    'nvme,model=null',
    'nvme,model=fixed,latency=20us',
    'nvme,lba=4096',
    'null_blk,memory_backed=1',
    'null_blk,irqmode=2,memory_backed=1,completion_nsec=20000',
  ]

  it.each(devices)('%s: agrees with an array, and every slot ends once', async device => {
    const move = fc.record({
      write: fc.boolean(),
      block: fc.nat(15),
      blocks: fc.integer({ min: 1, max: 4 }),
      poll: fc.boolean(),
    })
    const keeps = !device.includes('null,') && !device.endsWith('model=null')
    await fc.assert(
      fc.asyncProperty(fc.array(move, { maxLength: 12 }), async moves => {
        const m = await openMachine({ ...SMALL, clock, devices: [device] })
        await agrees(m, moves, keeps)
        await m.close()
      }),
      { numRuns: 6 },
    )
  })

  it('is refused what the disk cannot take, and slots in flight', async () => {
    const m = await openMachine({ ...SMALL, clock })
    const queue = m.queue(2)
    expect(() => queue.read(0, 100, 512)).toThrow(UserError)
    expect(() => queue.read(0, 0, 32768)).toThrow(/at most 16384/)
    expect(() => queue.write(0, 2 ** 20, 512)).toThrow(/ends at/)
    expect(() => queue.write(0, Number.NaN, 512)).toThrow(UserError)
    expect(() => queue.read(2, 0, 512)).toThrow(/slots 0 to 1/)
    expect(() => queue.ended(0)).toThrow(/not in flight/)
    expect(queue.inFlight).toBe(0)
    queue.read(1, 0, 512)
    expect(() => queue.read(1, 0, 512)).toThrow(/slot 1 is in flight/)
    expect(all(queue)).toEqual([[1, 0]])
    for (const length of [512.5, 2 ** 32 + 512, Number.NaN, 0, -512])
      expect(() => queue.read(0, 0, length), `${length}`).toThrow(UserError)
    expect(queue.inFlight).toBe(0)
    expect(() => m.queue(15)).toThrow(/1 to 14/)
    expect(m.balanced).toBe(true)
    await m.close()
  })

  it('ends what fails with its errno, once', async () => {
    const devices = ['nvme,fault=status:0x4281/op:read/lba:8-15']
    const m = await openMachine({ ...SMALL, clock, devices })
    const queue = m.queue(4)
    for (let slot = 0; slot < 4; slot++) queue.read(slot, slot * 4096, 4096)
    expect(all(queue).sort()).toEqual([
      [0, 0],
      [1, 5],
      [2, 0],
      [3, 0],
    ])
    expect(m.balanced).toBe(true)
    await m.close()
  })

  it('who is told of an end may poll, and hears of each end once', async () => {
    const m = await openMachine({ ...SMALL, clock })
    const queue = m.queue(8)
    for (let round = 0; round < 3; round++) {
      for (let slot = 0; slot < 8; slot++) queue.read(slot, slot * 4096, 4096)
      const ended: number[] = []
      const done = (slot: number): void => {
        ended.push(slot)
        if (queue.inFlight > 0) queue.poll(done)
      }
      while (queue.inFlight > 0) queue.poll(done)
      expect(ended.sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    }
    expect(m.balanced).toBe(true)
    await m.close()
  })

  it('two disks in turn, each within its own bounds', async () => {
    const devices = ['nvme,size=2m,model=null', 'nvme,size=1m,lba=4096']
    const m = await openMachine({ ...SMALL, clock, devices })
    const [large, small] = [m.queue(4, 'nvme0n1'), m.queue(4, 'nvme1n1')]
    for (let i = 0; i < 6; i++) {
      small.buffer(1).fill(i + 1)
      small.write(1, 4096 * i, 4096)
      large.read(1, 2 ** 21 - 512, 512)
      expect(all(small)).toEqual([[1, 0]])
      expect(all(large)).toEqual([[1, 0]])
      small.read(2, 4096 * i, 4096)
      expect(() => small.read(3, 2 ** 20, 4096)).toThrow(/ends at/)
      expect(() => small.read(3, 0, 512)).toThrow(UserError)
      expect(all(small)).toEqual([[2, 0]])
      expect(small.buffer(2)[4095]).toBe(i + 1)
    }
    expect(m.balanced).toBe(true)
    await m.close()
  })

  it('shares the machine with its other I/O', async () => {
    const m = await openMachine({ ...SMALL, clock })
    const [a, b] = [m.queue(4), m.queue(4)]
    a.buffer(3).fill(7)
    a.write(3, 4096, 4096)
    expect(all(a)).toEqual([[3, 0]])
    b.read(0, 4096, 4096)
    const read = m.read(4096, 4096)
    a.read(0, 4096, 512)
    expect((await read)[4095]).toBe(7)
    expect(all(b)).toEqual([[0, 0]])
    expect(b.buffer(0)[4095]).toBe(7)
    expect(all(a)).toEqual([[0, 0]])
    const ticket = m.submit({ op: 'flush' })
    b.read(1, 0, 512)
    expect(all(b)).toEqual([[1, 0]])
    expect(m.poll().map(c => c.ticket)).toEqual([ticket])
    expect(m.inFlight).toBe(0)
    await m.close()
  })

  it('gives promises, each its own end', async () => {
    const device = 'nvme,model=fixed,latency=20us,fault=status:0x4281/op:read/lba:0-7'
    const m = await openMachine({ ...SMALL, clock, devices: [device] })
    const queue = m.queue(8)
    const errnos = await Promise.all(
      Array.from({ length: 8 }, async (_, slot) => {
        const seen: number[] = []
        for (let i = 0; i < 20; i++) {
          queue.read(slot, ((slot + i) % 20) * 4096, 4096)
          seen.push(await queue.ended(slot))
        }
        return seen.filter(errno => errno !== 0)
      }),
    )
    // block 0 is read once by each of them
    expect(errnos).toEqual(Array.from({ length: 8 }, () => [5]))
    expect(queue.inFlight).toBe(0)
    expect(m.balanced).toBe(true)
    await m.close()
  })
})

interface Move {
  readonly write: boolean
  readonly block: number
  readonly blocks: number
  readonly poll: boolean
}

/** Moves that do not overlap what is in flight, against an array of the disk's blocks. */
async function agrees(m: OpenMachine, moves: readonly Move[], keeps: boolean): Promise<void> {
  const model = new Uint8Array(19 * 4096)
  const queue = m.queue(8)
  const free = Array.from({ length: 8 }, (_, slot) => slot)
  const asked = new Map<number, { offset: number; length: number; expected: Uint8Array | null }>()
  const done = (slot: number, errno: number): void => {
    expect(errno).toBe(0)
    const { length, expected } = asked.get(slot)!
    asked.delete(slot)
    if (expected) expect(queue.buffer(slot).slice(0, length)).toEqual(expected)
    free.push(slot)
  }
  for (const [i, { write, block, blocks, poll }] of moves.entries()) {
    const [offset, length] = [block * 4096, blocks * 4096]
    const overlaps = [...asked.values()].some(
      a => a.offset < offset + length && offset < a.offset + a.length,
    )
    while (queue.inFlight > 0 && (poll || overlaps || free.length === 0)) queue.poll(done)
    const slot = free.pop()!
    if (write) {
      queue.buffer(slot).fill(i + 1, 0, length)
      model.fill(i + 1, offset, offset + length)
      queue.write(slot, offset, length)
    } else queue.read(slot, offset, length)
    const expected = write || !keeps ? null : model.slice(offset, offset + length)
    asked.set(slot, { offset, length, expected })
  }
  while (queue.inFlight > 0) queue.poll(done)
  expect(asked.size).toBe(0)
  expect(m.balanced).toBe(true)
}

it('promises are rejected when nothing will ever end, and the next ones are as good as new', async () => {
  const disk = diskConfig({ model: 'null', depth: 9, queues: 1, sizeBytes: 2 ** 20 })
  const machine = bootMachine(machineConfig({ disks: [disk], extraBytes: 2 ** 16 }))
  const bios = machine.alloc(2 * BIO_BYTES, 128)
  const slots = [0, 1].map(i => ({ bio: bios + i * BIO_BYTES, buffer: machine.alloc(4096, 4096) }))
  const flying: number[] = []
  let stuck = true
  const queue: IoQueue = new IoQueue(
    {
      core: machine.core,
      view: machine.view,
      cpu: machine.cpuAddress(0),
      disk: machine.disks[0]!,
      maxBytes: 4096,
      real: false,
      stamp: () => {},
      step: () => {
        if (stuck) throw new Error('nothing will ever end')
        for (const bio of flying.splice(0)) queue.keep(bio)
      },
      submit: bio => flying.push(bio),
      completed: () => {},
    },
    slots,
    1,
  )
  for (const slot of [0, 1]) queue.read(slot, 0, 4096)
  const ends = [queue.ended(0), queue.ended(1)]
  for (const end of ends) await expect(end).rejects.toThrow('nothing will ever end')
  stuck = false
  expect(await queue.ended(0)).toBe(0)
  expect(queue.inFlight).toBe(0)
  queue.read(0, 0, 4096)
  expect(await queue.ended(0)).toBe(0)
})

it('a machine in real time finds no controllers', async () => {
  await expect(openMachine({ clock: 'real', probe: true })).rejects.toThrow(/virtual time/)
})
