import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { heldTags } from '../../../src/machine/books.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { diskConfig, machineConfig } from './helper.js'

function boot(): Machine {
  return bootMachine(machineConfig({ cpus: 2, disks: [diskConfig({ depth: 64 })] }))
}

/** Takes a tag as a request in flight would hold it, with `bios` bios chained. */
function holdTag(machine: Machine, bios: readonly number[]): number {
  const { view } = machine
  const queue = machine.disks[0]!.queues[0]!
  const tag = machine.core.blk_mq_get_tag(queue.hctx, 0, 0)
  const rq = view.u32(queue.tags + L.TAGS_STATIC_RQS) + tag * L.RQ_SIZE
  view.setU32(rq + L.RQ_BIO, bios[0] ?? 0)
  bios.forEach((bio, i) => {
    view.setU32(bio + L.BIO_NEXT, bios[i + 1] ?? 0)
  })
  return tag
}

describe('the books', () => {
  it('balance on a fresh machine', () => {
    const books = boot().books()
    expect(books).toMatchObject({ submitted: 0, inFlight: 0, tagsHeld: 0, ringEntries: 0 })
    expect(books.balanced).toBe(true)
  })

  it('count the bios of requests that hold a tag, split bios once', () => {
    const machine = boot()
    const { view } = machine
    const [a, b, part1, part2, whole] = [0, 1, 2, 3, 4].map(() => machine.alloc(L.BIO_BYTES))
    for (const bio of [a!, b!, whole!]) view.setU32(bio + L.BIO_END_IO, L.END_IO_JOB)
    for (const part of [part1!, part2!]) {
      view.setU32(part + L.BIO_END_IO, L.END_IO_CHAIN)
      view.setU32(part + L.BIO_PRIVATE, whole!)
    }
    holdTag(machine, [a!, b!])
    holdTag(machine, [part1!])
    holdTag(machine, [part2!])
    view.setU64(machine.cpuAddress(0) + L.CPU_SUBMITTED, 3)
    const books = machine.books()
    expect(books).toMatchObject({ inFlight: 3, tagsHeld: 3, biosUnbalanced: 0, balanced: false })
    expect(books.problems).toEqual(['nvme0n1 queue 1: 3 tags held'])
  })

  it('say how many bios got lost, or ended twice', () => {
    const machine = boot()
    machine.view.setU64(machine.cpuAddress(0) + L.CPU_SUBMITTED, 10)
    machine.view.setU64(machine.cpuAddress(1) + L.CPU_ENDED, 7)
    machine.view.setU64(machine.cpuAddress(1) + L.CPU_FAILED, 1)
    expect(machine.books()).toMatchObject({ completed: 7, failed: 1, problems: ['2 bios lost'] })
    machine.view.setU64(machine.cpuAddress(0) + L.CPU_ENDED, 3)
    expect(machine.books().problems).toEqual(['1 bios ended twice'])
  })

  const remains: readonly [string, (m: Machine) => void][] = [
    [
      'entries in the submission ring',
      m => m.view.setU32(m.disks[0]!.queues[1]!.nq + L.NQ_SQ_TAIL, 1),
    ],
    [
      'entries in the completion ring',
      m => m.view.setU32(m.disks[0]!.queues[1]!.dcq + L.DCQ_TAIL, 1),
    ],
    ['commands in service', m => m.view.setU32(m.disks[0]!.queues[1]!.dsq + L.DSQ_FIFO_COUNT, 1)],
    [
      'requests on the slow list',
      m =>
        m.view.setU32(m.disks[0]!.queues[1]!.hctx + L.HC_SLOW_HEAD, m.disks[0]!.queues[1]!.flushRq),
    ],
    [
      'requests on the dispatch list',
      m =>
        m.view.setU32(
          m.disks[0]!.queues[1]!.hctx + L.HC_DISPATCH_HEAD,
          m.disks[0]!.queues[1]!.flushRq,
        ),
    ],
    [
      'waiters for a tag',
      m => m.view.store(m.disks[0]!.queues[1]!.tags + L.TAGS_BITMAP + L.SBQ_WAITERS, 1),
    ],
  ]
  it.each(remains)('find %s', (what, spoil) => {
    const machine = boot()
    spoil(machine)
    const books = machine.books()
    expect(books.problems).toEqual([`nvme0n1 queue 2: 1 ${what}`])
    expect(books).toMatchObject({ ringEntries: 1, balanced: false })
  })

  const onCpu: readonly [string, number][] = [
    ['failed requests undecided', L.CPU_ERR],
    ['requests whose end_io is due', L.CPU_ENDIO],
    ['requests completed by another CPU', L.CPU_DONE_LIST],
  ]
  it.each(onCpu)('find %s', (what, field) => {
    const machine = boot()
    machine.view.setU32(machine.cpuAddress(1) + field, machine.disks[0]!.queues[1]!.flushRq)
    expect(machine.books().problems).toEqual([`CPU 1: 1 ${what}`])
  })

  it('find requests in a plug', () => {
    const machine = boot()
    machine.view.setU32(machine.cpuAddress(0) + L.CPU_PLUG_COUNT, 2)
    expect(machine.books().problems).toEqual(['CPU 0: 2 plugged requests'])
  })

  it('find bios that nobody read from a ring', () => {
    const machine = boot()
    const ring = machine.view.u32(machine.cpuAddress(1) + L.CPU_RING)
    machine.view.setU32(ring + L.RING_TAIL, 3)
    expect(machine.books().problems).toEqual(['CPU 1: 3 bios unread in the ring'])
  })

  it('see exactly the tags that are taken (against a set)', () => {
    const machine = boot()
    const { hctx, tags } = machine.disks[0]!.queues[0]!
    const held = new Set<number>()
    const step = fc.record({ take: fc.boolean(), pick: fc.nat() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), steps => {
        for (const { take, pick } of steps) {
          if (take || held.size === 0) {
            const tag = machine.core.blk_mq_get_tag(hctx, pick % 2, 0)
            if (tag >= 0) held.add(tag)
          } else {
            const tag = [...held][pick % held.size]!
            machine.core.blk_mq_put_tag(tags, 0, tag)
            held.delete(tag)
          }
          expect(heldTags(machine.view, tags)).toEqual([...held].sort((a, b) => a - b))
        }
      }),
      { numRuns: 30 },
    )
  })
})
