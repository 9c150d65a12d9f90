// pblk on a machine: an open-channel controller is found, a target made by the control node, and its disk used by tasks.
// Every command of the target goes by the NVMe driver's tags and rings.

import { describe, expect, it } from 'vitest'
import { nvm_ctl_ioctl } from '../../../src/drivers/lightnvm/core.js'
import {
  encode_create,
  encode_remove,
  NVM_DEV_CREATE,
  NVM_DEV_REMOVE,
} from '../../../src/drivers/lightnvm/ioctl.js'
import type { pblk } from '../../../src/drivers/lightnvm/pblk.js'
import { pblk_check } from '../../../src/drivers/lightnvm/pblk-check.js'
import { HC_TAGS, Q_MAX_SECTORS } from '../../../assembly/layout.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter } from '../../../src/fs/block_dev.js'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { heldTags } from '../../../src/machine/books.js'
import type { Sleep } from '../../../src/kernel/core.js'
import { GEOMETRY_12 } from '../../../src/device/ocssd/geometry.js'
import type { rrpc } from '../../../src/drivers/lightnvm/rrpc.js'
import { rrpc_check } from '../../../src/drivers/lightnvm/rrpc-check.js'
import { TINY } from '../device/ocssd/rig.js'
import { Probed } from '../nvme/probed.js'

const open_channel = {
  config: { vendor: 0x1d1d, device: 0x1f1f },
  slots: 1,
  ocssd: { geometry: TINY },
}

async function machineOf(): Promise<Probed> {
  const probed = new Probed({ controller: open_channel, extraBytes: 2 ** 20 })
  await probed.run(2000, () => probed.nvme.settled)
  return probed
}

/** Four LUNs, 32 blocks of 64 sectors, and a table of its own. */
const HYBRID = {
  ...GEOMETRY_12,
  groups: 2,
  pus: 2,
  chunks: 32,
  clba: 64,
  planes: 1,
  pageSectors: 1,
  wsMin: 1,
  wsOpt: 1,
  dom: 1,
}

const ALL = 0xffffffff
const create = (flags = 1, tgttype = 'pblk') =>
  encode_create({
    dev: 'nvme0n1',
    tgttype,
    tgtname: `${tgttype}0`,
    flags,
    type: 0,
    lun_begin: ALL,
    lun_end: ALL,
    op: 0,
    rsv: 0,
  })

/** Runs a task to its end and gives what it returns. */
async function task<T>(probed: Probed, fn: () => Sleep<T>): Promise<T> {
  const results: T[] = []
  probed.k.spawn('io1', function* () {
    results.push(yield* fn())
  })
  await probed.run(60_000, () => results.length > 0)
  if (results.length === 0)
    throw new Error(
      `the task has not ended: ${[...probed.k.tasks].map(t => `${t.name}: ${t.waiting_on}`)}; ${probed.log}`,
    )
  return results[0]!
}

describe('pblk on a machine', () => {
  it('lightnvm 10.14, lightnvm 10.15: is registered, made, written, flushed, read and removed', async () => {
    const probed = await machineOf()
    const { lightnvm } = probed.machine.host!
    expect(lightnvm!.lnvm.devices.map(dev => dev.name)).toEqual(['nvme0n1'])
    expect(lightnvm!.lnvm.devices[0].geo).toMatchObject({
      num_ch: 2,
      num_lun: 2,
      csecs: 4096,
      sos: 16,
    })
    const ioctl = (cmd: number, arg: Uint8Array) =>
      task(probed, () => nvm_ctl_ioctl(lightnvm!.lnvm, cmd, arg))
    expect(await ioctl(NVM_DEV_CREATE, create())).toBe(0)
    const q = lightnvm!.disks.get('pblk0')!
    const { view } = probed.machine.host!.blk
    expect(view.u32(q.at + Q_MAX_SECTORS)).toBe(512)
    const io = (write: boolean, n: number) => ({
      q,
      write,
      pos: n * 4096,
      bytes: 4096,
      data: probed.data + 4096 * (n % 32),
    })
    await task(probed, function* () {
      for (let n = 0; n < 400; n++) {
        view.words.fill(
          n + 1,
          (probed.data + 4096 * (n % 32)) >> 2,
          (probed.data + 4096 * (n % 32)) / 4 + 1024,
        )
        yield* blkdev_write_iter(io(true, n))
      }
      yield* blkdev_fsync(q)
      return 0
    })
    const pblk = lightnvm!.lnvm.devices[0].targets[0].private_data as pblk
    expect(pblk_check(pblk)).toEqual([])
    expect([pblk.user_wa, pblk.rwb.mem === pblk.rwb.sync]).toEqual([400, true])
    const found = await task(probed, function* () {
      const got: number[] = []
      for (let n = 0; n < 400; n += 13) {
        yield* blkdev_read_iter(io(false, n))
        got.push(view.u32(probed.data + 4096 * (n % 32) + 8))
      }
      return got
    })
    expect(found).toEqual(Array.from({ length: 31 }, (_, i) => 13 * i + 1))
    // Longer than a vector command: cut before it is translated.
    await task(probed, () =>
      blkdev_read_iter({ q, write: false, pos: 0, bytes: 200 * 4096, data: probed.data }),
    )
    expect(view.u32(probed.data + 199 * 4096 + 8)).toBe(200)
    expect(await ioctl(NVM_DEV_REMOVE, encode_remove('pblk0'))).toBe(0)
    expect(await ioctl(NVM_DEV_CREATE, create(0))).toBe(0)
    expect(probed.log.filter(line => line.includes('pblk') && line.includes('failed'))).toEqual([])
    await probed.machine.stop()
  })

  it.each([0, 0.4, 1.3, 2.7, 5.1])(
    'a reset after %d ms with vector commands in flight: each ends once, and what was flushed is there',
    async ms => {
      const probed = await machineOf()
      const { lightnvm } = probed.machine.host!
      const ioctl = (cmd: number, arg: Uint8Array) =>
        task(probed, () => nvm_ctl_ioctl(lightnvm!.lnvm, cmd, arg))
      expect(await ioctl(NVM_DEV_CREATE, create())).toBe(0)
      const q = lightnvm!.disks.get('pblk0')!
      const pblk = lightnvm!.lnvm.devices[0].targets[0].private_data as pblk
      const { view } = probed.machine.host!.blk
      const TASKS = 6
      const EACH = 48
      const ends: number[] = []
      const read: number[] = []
      for (let t = 0; t < TASKS; t++)
        probed.k.spawn(`writer${t}`, function* () {
          const data = probed.data + 4096 * t
          const io = (write: boolean, n: number) => {
            return { q, write, pos: (t * EACH + n) * 4096, bytes: 4096, data }
          }
          for (let n = 0; n < EACH; n++) {
            view.words.fill(t * EACH + n + 1, data >> 2, (data >> 2) + 1024)
            ends.push(Number(yield* blkdev_write_iter(io(true, n))))
            if (n % 8 === 7) ends.push(Number(yield* blkdev_fsync(q)))
          }
          for (let n = 0; n < EACH; n++) {
            yield* blkdev_read_iter(io(false, n))
            read.push(view.u32(data + 8) - (t * EACH + n))
          }
        })
      await probed.run(ms)
      const busy = pblk.inflight_io
      expect(nvme_reset_ctrl(probed.ctrl)).toBe(0)
      await probed.run(60_000, () => read.length === TASKS * EACH)
      expect(new Set(read)).toEqual(new Set([1]))
      expect([read.length, ends.length]).toEqual([TASKS * EACH, TASKS * (EACH + EACH / 8)])
      expect([new Set(ends), pblk_check(pblk), pblk.inflight_io]).toEqual([new Set([0]), [], 0])
      // what is sent again finds that it was carried out, and that is no failure
      expect([busy > 0, pblk.write_failed]).toEqual([ms > 0, 0])
      for (const hctx of probed.q().queue_hw_ctx)
        expect(heldTags(view, view.u32(hctx.at + HC_TAGS))).toEqual([])
      expect(await ioctl(NVM_DEV_REMOVE, encode_remove('pblk0'))).toBe(0)
      await probed.machine.stop()
    },
  )
})

describe('rrpc on a machine', () => {
  it.each([0.3, 1.1, 2.9])(
    'a reset after %d ms: every bio ends once, what was written is there',
    async ms => {
      const ocssd = { geometry: HYBRID }
      const probed = new Probed({ controller: { ...open_channel, ocssd }, extraBytes: 2 ** 20 })
      await probed.run(2000, () => probed.nvme.settled)
      const { lightnvm } = probed.machine.host!
      const ioctl = (cmd: number, arg: Uint8Array) =>
        task(probed, () => nvm_ctl_ioctl(lightnvm!.lnvm, cmd, arg))
      expect(await ioctl(NVM_DEV_CREATE, create(0, 'rrpc'))).toBe(0)
      const q = lightnvm!.disks.get('rrpc0')!
      const rrpc = lightnvm!.lnvm.devices[0].targets[0].private_data as rrpc
      const { view } = probed.machine.host!.blk
      const ends: number[] = []
      const read: number[] = []
      const [TASKS, EACH] = [4, 12]
      for (let t = 0; t < TASKS; t++)
        probed.k.spawn(`writer${t}`, function* () {
          const data = probed.data + 4096 * t
          const there: number[] = Array(EACH).fill(0)
          const io = (write: boolean, n: number) => {
            return { q, write, pos: (t * EACH + n) * 4096, bytes: 4096, data }
          }
          for (let n = 0; n < 2 * EACH; n++) {
            view.words.fill(t * EACH + n + 1, data >> 2, (data >> 2) + 1024)
            const status = Number(yield* blkdev_write_iter(io(true, n % EACH)))
            ends.push(status)
            // One that is sent again although it was carried out fails: then the page is what it was.
            if (status === 0) there[n % EACH] = t * EACH + n + 1
          }
          for (let n = 0; n < EACH; n++) {
            yield* blkdev_read_iter(io(false, n))
            read.push(view.u32(data + 8) - there[n]!)
          }
        })
      await probed.run(ms)
      expect(ends.length).toBeLessThan(TASKS * 2 * EACH)
      expect(nvme_reset_ctrl(probed.ctrl)).toBe(0)
      await probed.run(60_000, () => read.length === TASKS * EACH)
      expect(new Set(read)).toEqual(new Set([0]))
      expect([ends.length, read.length]).toEqual([TASKS * 2 * EACH, TASKS * EACH])
      // no more than were under way
      expect(ends.filter(status => status !== 0).length).toBeLessThanOrEqual(TASKS)
      expect(rrpc_check(rrpc)).toEqual([])
      expect(await ioctl(NVM_DEV_REMOVE, encode_remove('rrpc0'))).toBe(0)
      await probed.machine.stop()
    },
  )
})
