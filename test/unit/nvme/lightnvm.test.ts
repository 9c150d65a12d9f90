// An open-channel device behind the NVMe driver: what its commands look like on the wire, how they fail, what programs may
// send. Numbers are those of the statements of "LightNVM core".

import { describe, expect, test } from 'vitest'
import { GEOMETRY_12, GEOMETRY_20 } from '../../../src/device/ocssd/geometry.js'
import {
  generic_to_dev_addr,
  NVM_OP_ERASE,
  NVM_OP_PREAD,
  NVM_OP_PWRITE,
  type nvm_dev,
  nvm_rq,
  ppa_of,
} from '../../../src/drivers/lightnvm/lightnvm.js'
import { nvme_reset_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { nvme_ioctl } from '../../../src/drivers/nvme/host/core-ioctl.js'
import * as V from '../../../src/drivers/nvme/host/lightnvm-vio.js'
import { EACCES, EFAULT, EINVAL, EIO, ENOTTY } from '../../../src/kernel/errno.js'
import { type Wire, wired } from './wire.js'

const ids = { vendor: 0x1d1d, device: 0x1f1f }

function open_channel(geometry = GEOMETRY_20): Promise<Wire> {
  return wired({ controller: { config: ids, slots: 1, ocssd: { geometry } } })
}

const dev_of = ({ p }: Wire): nvm_dev => p.ctrl.namespaces[0]!.ndev as nvm_dev

const BLOCK = 4096
/** Where the tests keep lists and out-of-band data. */
const places = ({ p }: Wire) => ({ list: p.data + 40 * BLOCK, meta: p.data + 41 * BLOCK })

/** Device addresses of sectors that follow each other. */
const run = (wire: Wire, ch: number, lun: number, chk: number, sec: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) =>
    generic_to_dev_addr(dev_of(wire).geo!, ppa_of(ch, lun, chk, sec + i)),
  )

/** An ioctl of the disk. */
function ioctl(wire: Wire, cmd: number, arg: Uint8Array, admin = true): Promise<number> {
  const ns = wire.p.ctrl.namespaces[0]!
  return wire.p.task(() => nvme_ioctl(ns, { cmd, arg, admin }))
}

/** A vector command of a program; its structure afterwards. */
async function submit(
  wire: Wire,
  opcode: number,
  ppas: readonly number[],
  more: Partial<V.nvm_user_vio> = {},
): Promise<{ error: number } & V.nvm_vio_result> {
  const { list } = places(wire)
  for (const [i, ppa] of ppas.entries()) wire.p.machine.view.setU64(list + 8 * i, ppa)
  const ppa_list = ppas.length === 1 ? ppas[0]! : list
  const addr = opcode === NVM_OP_ERASE ? 0 : wire.p.data
  const arg = V.encode_user_vio({ opcode, nppas: ppas.length - 1, ppa_list, addr, ...more })
  const error = await ioctl(wire, V.NVME_NVM_IOCTL_SUBMIT_VIO, arg)
  return { error, ...V.get_vio_result(arg) }
}

/** A command of a target, without one. */
function command(wire: Wire, opcode: number, ppas: readonly number[]): Promise<nvm_rq> {
  const dev = dev_of(wire)
  const rqd = new nvm_rq()
  rqd.opcode = opcode
  rqd.nr_ppas = ppas.length
  rqd.ppa_list.set(ppas)
  rqd.dma = places(wire).meta
  for (let i = 0; i < ppas.length; i++) rqd.pages[i] = wire.p.data + i * BLOCK
  return wire.p.task(function* () {
    expect(yield* dev.ops.submit_io_sync(dev, rqd)).toBe(0)
    return rqd
  })
}

describe('commands on the wire', () => {
  test('lightnvm 10.12: where the log of chunks is read', async () => {
    const wire = await open_channel()
    const dev = dev_of(wire)
    const [ppa] = run(wire, 1, 6, 5, 0, 1)
    const found = await wire.p.task(() => dev.ops.get_chk_meta(dev, ppa!, 2))
    const [log] = wire.of(2, true).filter(c => (c.cdw[0]! & 0xff) === 0xca)
    expect(log!.cdw[2]).toBe((5 + 360 + 480) * 32)
    const view = new DataView((found as Uint8Array).buffer)
    expect([Number(view.getBigUint64(8, true)), view.getUint8(0)]).toEqual([ppa, 1])
  })

  test('lightnvm 10.13: one address stands in the command, two in a list', async () => {
    const wire = await open_channel()
    const [first, second] = run(wire, 1, 2, 3, 4, 2)
    await command(wire, NVM_OP_PREAD, [first!])
    const rqd = await command(wire, NVM_OP_PREAD, [first!, second!])
    const [one, two] = wire.of(NVM_OP_PREAD)
    expect([one!.cdw[0], one!.cdw[1], one!.cdw[2]]).toEqual([first, 0, 0])
    expect([two!.cdw[0], two!.cdw[2]]).toEqual([rqd.dma + 1024, 1])
    const { view } = wire.p.machine
    expect([view.u64(two!.cdw[0]!), view.u64(two!.cdw[0]! + 8)]).toEqual([first, second])
    expect([one!.mptr, two!.mptr]).toEqual([rqd.dma, rqd.dma])
  })

  test('lightnvm 10.17: a status with DNR is not tried again, one without five times', async () => {
    const fails = { match: { opcode: NVM_OP_PREAD, count: 99 }, action: { kind: 'status' } }
    for (const [status, tries] of [
      [0x40ff, 1],
      [0x0281, 6],
    ] as const) {
      const faults = [{ match: fails.match, action: { kind: 'status', status } }] as const
      const config = { ...ids, faults }
      const ocssd = { geometry: GEOMETRY_20 }
      const wire = await wired({ controller: { config, slots: 1, ocssd } })
      const rqd = await command(wire, NVM_OP_PREAD, run(wire, 0, 0, 0, 0, 4))
      expect(rqd.error).toBe(status)
      expect(wire.of(NVM_OP_PREAD).length).toBe(tries)
    }
  })
})

describe('media that take time', () => {
  // Submitted at once: two reads of one die, one of the die beside it, one of the other channel. 20 ms for the die, 10 for the
  // channel, which is taken in the order of submission.
  test.each(['virtual', 'real'] as const)(
    'dies and channels decide what ends first: %s time',
    async clock => {
      const places = [
        [0, 0, 0],
        [0, 0, 8],
        [0, 1, 0],
        [1, 0, 0],
      ] as const
      const presets = ['grp=0 pu=0', 'grp=0 pu=1', 'grp=1 pu=0'].map(
        pu => `${pu} chk=0 state=CLOSED wp=4096 type=SEQ`,
      )
      const times = { read: [20e6, 20e6, 20e6, 20e6], transfer: 10e6 }
      const ocssd = { geometry: GEOMETRY_20, presets: presets.join('\n'), times }
      const wire = await wired({ clock, cpus: 1, controller: { config: ids, slots: 1, ocssd } })
      const dev = dev_of(wire)
      const ended: number[] = []
      for (const [i, [ch, lun, sec]] of places.entries()) {
        const rqd = new nvm_rq()
        rqd.opcode = NVM_OP_PREAD
        rqd.nr_ppas = 1
        rqd.ppa_list[0] = run(wire, ch, lun, 0, sec, 1)[0]!
        rqd.pages[0] = wire.p.data + i * BLOCK
        wire.p.k.spawn(`read${i}`, function* () {
          yield* dev.ops.submit_io_sync(dev, rqd)
          ended.push(rqd.error === 0 ? i : -1)
        })
      }
      await wire.p.run(5000, () => ended.length === places.length)
      expect(ended).toEqual([0, 3, 1, 2])
    },
  )
})

describe('vector commands of programs', () => {
  test('numbers and structures of the ioctls', () => {
    const nr = (size: number, n: number): number => ((3 << 30) | (size << 16) | 0x4c00 | n) >>> 0
    expect([nr(80, 0x41), nr(64, 0x42), nr(80, 0x43)]).toEqual([
      V.NVME_NVM_IOCTL_ADMIN_VIO,
      V.NVME_NVM_IOCTL_SUBMIT_VIO,
      V.NVME_NVM_IOCTL_IO_VIO,
    ])
    const user = { opcode: 0x91, flags: 1, control: 0x203, nppas: 63, metadata: 2 ** 33 }
    const more = { addr: 5, ppa_list: 2 ** 40 + 1, metadata_len: 7, data_len: 9 }
    const vio = V.encode_user_vio({ ...user, ...more })
    expect(V.decode_user_vio(vio)).toEqual({ ...user, ...more })
    const rest = { cdw2: 2, cdw3: 3, cdw13: 13, cdw14: 14, cdw15: 15, timeout_ms: 1000 }
    const passthru = V.encode_passthru_vio({ ...user, ...more, ...rest })
    expect(V.decode_passthru_vio(passthru)).toEqual({ ...user, ...more, ...rest })
    for (const arg of [vio, passthru]) {
      V.put_vio_result(arg, { result: 0x2ff, status: 2n ** 63n })
      expect(V.get_vio_result(arg)).toEqual({ result: 0x2ff, status: 2n ** 63n })
    }
  })

  test('lightnvm 10.20: who may ask for what', async () => {
    const wire = await open_channel(GEOMETRY_12)
    const [ppa_list] = run(wire, 0, 1, 7, 0, 1)
    const ask = { addr: wire.p.data, data_len: 64 + 64, ppa_list: ppa_list! }
    const admin = (opcode: number, may: boolean, more: object = ask): Promise<number> =>
      ioctl(wire, V.NVME_NVM_IOCTL_ADMIN_VIO, V.encode_passthru_vio({ opcode, ...more }), may)
    const { view } = wire.p.machine
    const mark = { ppa_list: ppa_list!, control: 2 }
    expect(await admin(0xf1, false, mark)).toBe(-EACCES)
    expect(await admin(0xe2, false)).toBe(-EACCES)
    expect(await admin(0xf1, true, mark)).toBe(0)
    expect(await admin(0xf2, false)).toBe(0)
    expect(String.fromCharCode(...view.bytes.slice(wire.p.data, wire.p.data + 4))).toBe('BBLT')
    expect(view.bytes[wire.p.data + 64 + 14]).toBe(2)
    const io = V.encode_passthru_vio({ opcode: NVM_OP_PREAD, ...ask })
    expect(await ioctl(wire, V.NVME_NVM_IOCTL_IO_VIO, io, false)).toBe(-EACCES)
  })

  test('a write, a read of it with its out-of-band data, an erase', async () => {
    const wire = await open_channel()
    const { data, machine } = wire.p
    const { view } = machine
    const { meta } = places(wire)
    const ppas = run(wire, 1, 2, 3, 0, 32)
    for (let i = 0; i < 32 * 1024; i++) view.setU32(data + 4 * i, i ^ 0x5a5a)
    for (let i = 0; i < 32 * 4; i++) view.setU32(meta + 4 * i, i + 1)
    const oob = { metadata: meta, metadata_len: 32 * 16 }
    expect(await submit(wire, NVM_OP_PWRITE, ppas, oob)).toMatchObject({ error: 0 })
    view.fill(data, 32 * BLOCK, 0)
    view.fill(meta, 32 * 16, 0)
    expect(await submit(wire, NVM_OP_PREAD, ppas.slice(0, 8), oob)).toMatchObject({ error: 0 })
    expect([1, 8 * 1024 - 1].map(i => view.u32(data + 4 * i))).toEqual([0x5a5b, 0x1fff ^ 0x5a5a])
    expect(view.u32(data + 8 * BLOCK)).toBe(0)
    expect([0, 31, 32].map(i => view.u32(meta + 4 * i))).toEqual([1, 32, 0])
    const [one] = run(wire, 1, 2, 3, 5, 1)
    expect(await submit(wire, NVM_OP_PREAD, [one!])).toMatchObject({ error: 0 })
    expect(view.u32(data)).toBe((5 * 1024) ^ 0x5a5a)
    expect(await submit(wire, NVM_OP_ERASE, [ppas[0]!])).toMatchObject({ error: -EIO })
  })

  test('a reset tells what became of its chunks, if it has a metadata pointer', async () => {
    const reset = async (
      geometry: typeof GEOMETRY_20,
    ): Promise<{ error: number; wanted: Uint8Array; got: Uint8Array }> => {
      const wire = await open_channel(geometry)
      const { data, machine } = wire.p
      const { meta } = places(wire)
      machine.view.fill(meta, BLOCK, 0)
      const dev = dev_of(wire)
      const ppas = [...run(wire, 0, 1, 3, 0, 1), ...run(wire, 0, 2, 5, 0, 1)]
      const more = { addr: data, metadata: meta, metadata_len: 64 }
      const { error } = await submit(wire, NVM_OP_ERASE, ppas, more)
      const got = machine.view.bytes.slice(meta, meta + 96)
      const wanted = new Uint8Array(96)
      if (geometry.version === 20)
        for (const [i, ppa] of ppas.entries()) {
          const log = await wire.p.task(() => dev.ops.get_chk_meta(dev, ppa, 1))
          wanted.set(log as Uint8Array, 32 * i)
        }
      return { error, wanted, got }
    }
    const { error, wanted, got } = await reset({ ...GEOMETRY_20, mccap: 2 })
    expect(error).toBe(0)
    expect([...got]).toEqual([...wanted])
    expect([0, 2, 32, 34, 64].map(at => got[at])).toEqual([1, 1, 1, 1, 0])
    const refused = await reset(GEOMETRY_20)
    expect(refused.error).toBe(-EIO)
    expect(refused.got.every(byte => byte === 0)).toBe(true)
    const old = await reset(GEOMETRY_12)
    expect(old.error).toBe(0)
    expect(old.got.every(byte => byte === 0)).toBe(true)
  })

  test('a command that fails tells its status and which addresses', async () => {
    const wire = await open_channel(GEOMETRY_12)
    const ppas = run(wire, 0, 1, 7, 0, 8)
    expect(await submit(wire, NVM_OP_PWRITE, ppas)).toEqual({ error: 0, result: 0, status: 0n })
    const mixed = [...ppas.slice(0, 2), ...run(wire, 0, 1, 8, 0, 2)]
    const read = await submit(wire, NVM_OP_PREAD, mixed)
    expect(read).toEqual({ error: -EIO, result: 0x2ff, status: 0xcn })
    expect(await submit(wire, NVM_OP_PREAD, [...ppas, ...ppas])).toMatchObject({ error: 0 })
    const many = Array.from({ length: 65 }, () => ppas[0]!)
    const long = await submit(wire, NVM_OP_ERASE, many)
    expect(long).toMatchObject({ error: -EIO, result: 2 })
  })

  test('what is refused before it is a command', async () => {
    const wire = await open_channel()
    const [ppa] = run(wire, 0, 0, 0, 0, 1)
    const { machine } = wire.p
    const end = machine.view.bytes.length
    const outcome = async (more: Partial<V.nvm_user_vio>): Promise<number> =>
      (await submit(wire, NVM_OP_PREAD, [ppa!], more)).error
    const before = wire.commands.length
    expect(await outcome({ flags: 1 })).toBe(-EINVAL)
    expect(await outcome({ addr: end - 4095 })).toBe(-EFAULT)
    expect(await outcome({ nppas: 3, ppa_list: end })).toBe(-EFAULT)
    expect(await outcome({ nppas: 512, ppa_list: 4096 })).toBe(-EINVAL)
    expect(await outcome({ metadata: end, metadata_len: 16 })).toBe(-EFAULT)
    expect(await outcome({ metadata: 4096, metadata_len: 4097 })).toBe(-EINVAL)
    const passthru = V.encode_passthru_vio({ opcode: 0xe2, flags: 1 })
    expect(await ioctl(wire, V.NVME_NVM_IOCTL_ADMIN_VIO, passthru)).toBe(-EINVAL)
    expect(await ioctl(wire, V.NVME_NVM_IOCTL_ADMIN_VIO, passthru.slice(1))).toBe(-EFAULT)
    expect(await ioctl(wire, 0xc0504c44, passthru)).toBe(-ENOTTY)
    expect(wire.commands.length).toBe(before)
    const plain = await wired()
    expect(await ioctl(plain, V.NVME_NVM_IOCTL_ADMIN_VIO, passthru)).toBe(-ENOTTY)
  })

  test('features: errors for what was never written, no warnings; as they were after a reset', async () => {
    const times = { read: [0], program: [0], erase: 0, transfer: 0 }
    const ocssd = { geometry: GEOMETRY_20, times, rates: { highEcc: 1 } }
    const wire = await wired({ controller: { config: ids, slots: 1, ocssd } })
    const set = (fid: number, value: number): Promise<number> => {
      const arg = V.encode_passthru_vio({ opcode: 9, ppa_list: fid + value * 2 ** 32 })
      return ioctl(wire, V.NVME_NVM_IOCTL_ADMIN_VIO, arg)
    }
    const read = async (ppas: readonly number[]): Promise<[number, bigint]> => {
      const { result, status } = await submit(wire, NVM_OP_PREAD, ppas)
      return [result, status]
    }
    const there = run(wire, 0, 0, 0, 0, 32)
    const mixed = run(wire, 0, 0, 0, 6, 4)
    expect(await submit(wire, NVM_OP_PWRITE, there)).toMatchObject({ error: 0 })
    expect([await read(there.slice(0, 2)), await read(mixed)]).toEqual([
      [0x700, 0n],
      [0x700, 0n],
    ])
    expect([await set(0xca, 0), await set(5, 0x10000), await set(0xca, 4)]).toEqual([0, 0, -EIO])
    expect([await read(there.slice(0, 2)), await read(mixed)]).toEqual([
      [0, 0n],
      [0x287, 0xcn],
    ])
    expect(nvme_reset_ctrl(wire.p.ctrl)).toBe(0)
    await wire.p.run(5000, () => wire.p.nvme.settled)
    expect([await read(there.slice(0, 2)), await read(mixed)]).toEqual([
      [0x700, 0n],
      [0x700, 0n],
    ])
    const old = await open_channel(GEOMETRY_12)
    for (const [fid, value] of [
      [0xca, 0],
      [5, 0x10000],
    ] as const) {
      const arg = V.encode_passthru_vio({ opcode: 9, ppa_list: fid + value * 2 ** 32 })
      expect(await ioctl(old, V.NVME_NVM_IOCTL_ADMIN_VIO, arg)).toBe(-EIO)
    }
  })

  test('one that is lost is aborted after its timeout', async () => {
    const faults = [{ match: { opcode: 0xe2, admin: true, nth: 2 }, action: { kind: 'drop' } }]
    const config = { ...ids, faults: faults as never }
    const ocssd = { geometry: GEOMETRY_20 }
    const wire = await wired({ controller: { config, slots: 1, ocssd } })
    const arg = V.encode_passthru_vio({
      opcode: 0xe2,
      addr: wire.p.data,
      data_len: BLOCK,
      timeout_ms: 500,
    })
    const begun = wire.p.machine.now()
    expect(await ioctl(wire, V.NVME_NVM_IOCTL_ADMIN_VIO, arg)).toBe(-4)
    expect(wire.p.machine.now() - begun).toBeLessThan(5e9)
  })
})
