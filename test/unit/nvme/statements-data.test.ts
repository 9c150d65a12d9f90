// nvme-pci, section 17: where the data of a command lie, and what goes with them.

import { describe, expect, test } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { REQ_OP_DISCARD, REQ_SYNC } from '../../../assembly/nvme.js'
import {
  bio_alloc_bioset,
  bio_put,
  blk_finish_plug,
  blk_start_plug,
} from '../../../src/block/bio.js'
import {
  blk_execute_rq,
  blk_mq_alloc_request,
  blk_mq_free_request,
} from '../../../src/block/blk-exec.js'
import { __nvme_submit_sync_cmd } from '../../../src/drivers/nvme/host/core-cmd.js'
import { nvme_sysfs_reset } from '../../../src/drivers/nvme/host/core-ioctl.js'
import { blkdev_read_iter } from '../../../src/fs/block_dev.js'
import { type Seen, type Wire, wired } from './wire.js'

const KIB = 1024
const PAGE = 4096

/** Reads of these sizes, one after the other on the disk, each into a piece of its own: one request of so many segments. */
async function segments(wire: Wire, sizes: readonly number[]): Promise<Seen> {
  const { p } = wire
  const ends: number[] = []
  await p.task(function* () {
    blk_start_plug(p.machine.host!.blk)
    let pos = 0
    // Pieces with a page between them.
    let data = p.data
    for (const bytes of sizes) {
      yield* blkdev_read_iter({ ...p.io(0), pos, bytes, data, done: status => ends.push(status) })
      pos += bytes
      data += bytes + PAGE
    }
    blk_finish_plug(p.machine.host!.blk)
  })
  await p.run(1000, () => ends.length === sizes.length)
  expect(ends).toEqual(sizes.map(() => 0))
  expect(p.machine.books().problems).toEqual([])
  return wire.of(2).at(-1)!
}

/** Entries of a list page. */
function list(wire: Wire, at: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => wire.p.machine.view.u64(at + 8 * i))
}

function pages(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i * PAGE)
}

describe('PRP lists', () => {
  test.each([
    [128, 31, 248],
    [132, 32, 256],
    [136, 33, 264],
  ])('nvme-pci 17.11: %i KiB: PRP1 and a list', async (kib, entries, bytes) => {
    const wire = await wired()
    const { p } = wire
    const io = { ...p.io(0), bytes: kib * KIB }
    expect(await p.task(() => blkdev_read_iter(io))).toBe(0)
    const read = wire.of(2).at(-1)!
    expect(read.prp1).toBe(p.data)
    expect(list(wire, read.prp2, entries)).toEqual(pages(p.data + PAGE, entries))
    // Small lists of Linux come from a pool of 256 bytes; here every list has a page of its own.
    expect(entries * 8).toBe(bytes)
    expect(read.prp2 % PAGE).toBe(0)
  })

  test('nvme-pci 17.12: 4 MiB: two list pages, the first one ends with a link', async () => {
    const wire = await wired({ extraBytes: 5 * 2 ** 20 })
    const { p } = wire
    const data = p.machine.alloc(4 * 2 ** 20, PAGE)
    const cmd = { opcode: 2, nsid: 1, cdw12: 8191 }
    const bytes = 4 * 2 ** 20
    expect(await p.task(() => __nvme_submit_sync_cmd(p.q(), cmd, null, data, bytes))).toBe(0)
    const read = wire.of(2).at(-1)!
    expect(read.prp1).toBe(data)
    const first = list(wire, read.prp2, 512)
    expect(first.slice(0, 511)).toEqual(pages(data + PAGE, 511))
    const link = first[511]!
    expect(link % PAGE).toBe(0)
    expect(list(wire, link, 512)).toEqual(pages(data + 512 * PAGE, 512))
  })
})

describe('segments', () => {
  const sgls = { controller: { config: { sgls: 1 } } } as const

  test('nvme-pci 17.13: 64 KiB in two segments are a list of segments', async () => {
    const wire = await wired({ ...sgls, cpus: 1 })
    const { p } = wire
    const read = await segments(wire, [32 * KIB, 32 * KIB])
    expect(read.flags).toBe(0x40)
    expect(read.cdw[2]! & 0xffff).toBe(127)
    const { view } = p.machine
    const descriptors = [0, 16].map(o => [view.u32(read.prp1 + o), view.u32(read.prp1 + o + 8)])
    expect(descriptors).toEqual([
      [p.data, 32 * KIB],
      [p.data + 36 * KIB, 32 * KIB],
    ])
  })

  test('nvme-pci 17.13: 64 KiB in three are PRPs', async () => {
    const wire = await wired({ ...sgls, cpus: 1 })
    const read = await segments(wire, [24 * KIB, 24 * KIB, 16 * KIB])
    expect(read.cdw[2]! & 0xffff).toBe(127)
    expect(read.flags).toBe(0)
    expect(list(wire, read.prp2, 15)).toHaveLength(15)
  })

  test.each([
    ['the controller knows no SGLs', { config: {} }],
    ['sgl_threshold=0', { config: { sgls: 1 }, sgl_threshold: 0 }],
  ] as const)('nvme-pci 7: PRPs when %s', async (_, controller) => {
    const wire = await wired({ controller, cpus: 1 })
    expect((await segments(wire, [32 * KIB, 32 * KIB])).flags).toBe(0)
  })

  test('nvme-pci 7: admin commands have PRPs whatever they carry', async () => {
    const wire = await wired(sgls)
    expect(wire.of(6, true).length).toBeGreaterThan(2)
    expect(wire.commands.filter(c => c.qid === 0 && c.flags !== 0)).toEqual([])
  })

  test('nvme-pci 17.17: a discard of three bios: three ranges in 48 bytes', async () => {
    const wire = await wired({ cpus: 1 })
    const { p } = wire
    const { blk } = p.machine.host!
    const { view } = p.machine
    let ended = 0
    // The block layer here does not merge discards: the request is made as its merge would have left it.
    await p.task(function* () {
      const q = p.q()
      const opf = REQ_OP_DISCARD | REQ_SYNC
      const rq = blk_mq_alloc_request(q, opf, 0)
      const bios = [
        [0, 4096],
        [80, 8192],
        [240, 512],
      ].map(([sector, bytes]) => {
        const end_io = (one: number): void => {
          ended++
          bio_put(blk, one)
        }
        const options = { q, opf, sector: sector!, bytes: bytes!, data: 0, end_io }
        const bio = bio_alloc_bioset(blk, options)
        view.setU32(bio + L.BIO_DISK, 0)
        const submitted = blk.cpus[p.k.cpu.id]! + L.CPU_SUBMITTED
        view.setU64(submitted, view.u64(submitted) + 1)
        return bio
      })
      for (const [i, bio] of bios.entries()) view.setU32(bio + L.BIO_NEXT, bios[i + 1] ?? 0)
      view.setU32(rq + L.RQ_BIO, bios[0]!)
      view.setU32(rq + L.RQ_BIOTAIL, bios[2]!)
      view.setU32(rq + L.RQ_DATA_LEN, 4096 + 8192 + 512)
      view.setU32(rq + L.RQ_NR_SEGS, 3)
      yield* blk_execute_rq(q, rq, false)
      blk_mq_free_request(q, rq)
    })
    expect(ended).toBe(3)
    const discards = wire.of(9)
    expect(discards.map(c => [c.cdw[0], c.cdw[1]])).toEqual([[2, 4]])
    const ranges = [0, 16, 32].map(o => [
      view.u32(discards[0]!.prp1 + o),
      view.u32(discards[0]!.prp1 + o + 4),
      view.u64(discards[0]!.prp1 + o + 8),
    ])
    expect(ranges).toEqual([
      [0, 8, 0],
      [0, 16, 80],
      [0, 1, 240],
    ])
    expect(p.machine.books().problems).toEqual([])
  })
})

describe('memory that the controller uses', () => {
  test('nvme-pci 6.7: a host memory buffer is lent, and offered again after a reset', async () => {
    const hostMemory = { preferred: 64, minimum: 16 }
    const wire = await wired({ controller: { config: { hostMemory } } })
    const { p } = wire
    const sent = (): readonly number[][] =>
      wire.of(9, true).flatMap(c => ((c.cdw[0]! & 0xff) === 0x0d ? [[c.cdw[1]!, c.cdw[2]!]] : []))
    expect(sent()).toEqual([[1, 64]])
    expect(p.dev.host_mem!.size).toBe(64 * PAGE)
    const used = p.machine.host!.blk.mem.used
    expect(await p.task(() => nvme_sysfs_reset(p.ctrl))).toBe(0)
    await p.settle()
    expect(sent()).toEqual([
      [1, 64],
      [3, 64],
    ])
    expect(p.machine.host!.blk.mem.used).toBe(used)
  })

  test('nvme-pci 6.7: one that is larger than the limit is not lent', async () => {
    const controller = {
      config: { hostMemory: { preferred: 1024, minimum: 512 } },
      max_host_mem_mb: 1,
    }
    const { p } = await wired({ controller })
    expect(p.dev.host_mem).toBeNull()
    expect(p.ctrl.state).toBe('LIVE')
    expect(p.log.some(line => line.includes('above limit'))).toBe(true)
  })
})
