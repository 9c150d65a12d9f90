// The LightNVM subsystem: control ioctls, LUNs, address maps, bad-block tables. Numbers are those of the statements of
// "LightNVM core".

import { describe, expect, it } from 'vitest'
import { GEOMETRY_12, GEOMETRY_20 } from '../../../../src/device/ocssd/geometry.js'
import {
  nvm_bb_tbl_fold,
  nvm_ctl_ioctl,
  nvm_ppa_dev_to_tgt,
  nvm_ppa_tgt_to_dev,
  nvm_register_tgt_type,
  nvm_set_tgt_bb_tbl,
  nvm_submit_io,
  nvm_unregister,
} from '../../../../src/drivers/lightnvm/core.js'
import * as I from '../../../../src/drivers/lightnvm/ioctl.js'
import {
  dev_to_generic_addr,
  generic_to_dev_addr,
  NVM_OP_PREAD,
  NVM_OP_PWRITE,
  type nvm_geo,
  nvm_rq,
  type nvm_tgt_dev,
  type nvm_tgt_type,
  ppa_failed,
  ppa_of,
} from '../../../../src/drivers/lightnvm/lightnvm.js'
import { EBUSY, EFAULT, EINVAL, EPERM } from '../../../../src/kernel/errno.js'
import type { KernelCore } from '../../../../src/kernel/core.js'
import { at_once, LnvmRig } from './rig.js'

/** A target that does nothing. */
const NOTHING: nvm_tgt_type<{ k: KernelCore; flags: number }> = {
  name: 'nothing',
  version: [0, 1, 2],
  make_rq: () => 0,
  capacity: () => 8,
  init: (dev, name, flags) =>
    at_once(dev.parent.k, () => (name === 'fails' ? -5 : { k: dev.parent.k, flags })),
  exit: data => at_once(data.k, () => {}),
}

function rigOf(change: object = {}): LnvmRig {
  const rig = new LnvmRig({ geometry: { ...GEOMETRY_20, ...change } })
  expect(rig.register()).toBe(0)
  expect(nvm_register_tgt_type(rig.lnvm, NOTHING)).toBe(0)
  return rig
}

const simple = (name: string, begin: number, end: number) => ({
  tgttype: 'nothing',
  tgtname: name,
  flags: 0,
  type: 0,
  lun_begin: begin,
  lun_end: end,
})

const tgt = (rig: LnvmRig, name: string): nvm_tgt_dev =>
  rig.dev.targets.find(one => one.name === name)!.dev

const ioctl = (rig: LnvmRig, cmd: number, arg: Uint8Array, admin = true): number =>
  rig.vk.run(() => nvm_ctl_ioctl(rig.lnvm, cmd, arg, admin))

describe('the control node', () => {
  it('lightnvm 10.1: numbers of the ioctls', () => {
    expect([I.NVM_DEV_CREATE, I.NVM_INFO, I.NVM_DEV_FACTORY]).toEqual([
      0x40804c22, 0xd0004c20, 0x40244c25,
    ])
    expect([I.NVM_GET_DEVICES, I.NVM_DEV_REMOVE, I.NVM_DEV_INIT]).toEqual([
      0x90004c21, 0x40244c23, 0x402c4c24,
    ])
  })

  it('lightnvm 10.2: an unknown ioctl gives 0, without rights -EPERM', () => {
    const rig = rigOf()
    expect(ioctl(rig, 0x1234, new Uint8Array(8))).toBe(0)
    expect(ioctl(rig, 0x1234, new Uint8Array(8), false)).toBe(-EPERM)
  })

  it('an argument that is out of reach at its end gives -EFAULT, after the rights', () => {
    const rig = rigOf()
    const all = [I.NVM_INFO, I.NVM_GET_DEVICES, I.NVM_DEV_CREATE, I.NVM_DEV_REMOVE]
    for (const cmd of [...all, I.NVM_DEV_INIT, I.NVM_DEV_FACTORY]) {
      const short = new Uint8Array(((cmd >>> 16) & 0x3fff) - 1)
      expect([ioctl(rig, cmd, short), ioctl(rig, cmd, short, false)]).toEqual([-EFAULT, -EPERM])
    }
  })

  it('lightnvm 10.3: removing what is not there gives 1', () => {
    const rig = rigOf()
    expect(rig.create(simple('a', 0, 3))).toBe(0)
    expect(ioctl(rig, I.NVM_DEV_REMOVE, I.encode_remove('b'))).toBe(1)
    expect(ioctl(rig, I.NVM_DEV_REMOVE, I.encode_remove('a', 1))).toBe(-EINVAL)
    expect(ioctl(rig, I.NVM_DEV_REMOVE, I.encode_remove('a'))).toBe(0)
    expect(ioctl(rig, I.NVM_DEV_REMOVE, I.encode_remove('a'))).toBe(1)
    rig.vk.run(() => nvm_unregister(rig.lnvm, rig.dev))
    expect(ioctl(rig, I.NVM_DEV_REMOVE, I.encode_remove('a'))).toBe(0)
  })

  it('tells target types and devices', () => {
    const rig = rigOf()
    const info = new Uint8Array(I.NVM_IOCTL_BYTES.info)
    expect(ioctl(rig, I.NVM_INFO, info)).toBe(0)
    const view = new DataView(info.buffer)
    expect([view.getUint32(0, true), view.getUint16(12, true)]).toEqual([1, 3])
    expect([0, 4, 8].map(at => view.getUint32(64 + at, true))).toEqual([0, 1, 2])
    expect(I.get_string(info, 80, 48)).toBe('nothing')
    expect([144, 208].map(at => I.get_string(info, at, 48))).toEqual(['rrpc', 'pblk'])
    const devices = new Uint8Array(I.NVM_IOCTL_BYTES.devices)
    expect(ioctl(rig, I.NVM_GET_DEVICES, devices)).toBe(0)
    expect([devices[0], I.get_string(devices, 128, 32)]).toEqual([1, 'nvme0n1'])
    expect(I.get_string(devices, 160, 48)).toBe('gennvm')
  })

  it('takes init and factory with the flags they may have', () => {
    const rig = rigOf()
    const with_flags = (bytes: number, flags: number): Uint8Array => {
      const arg = new Uint8Array(bytes)
      new DataView(arg.buffer).setUint32(bytes - 4, flags, true)
      return arg
    }
    expect(ioctl(rig, I.NVM_DEV_INIT, with_flags(44, 0))).toBe(0)
    expect(ioctl(rig, I.NVM_DEV_INIT, with_flags(44, 1))).toBe(-EINVAL)
    expect(ioctl(rig, I.NVM_DEV_FACTORY, with_flags(36, 7))).toBe(0)
    expect(ioctl(rig, I.NVM_DEV_FACTORY, with_flags(36, 8))).toBe(-EINVAL)
  })

  it('lightnvm 10.6: checks over-provisioning, range, flags', () => {
    const rig = rigOf()
    const create = (change: object): number => {
      const arg = I.encode_create({
        dev: 'nvme0n1',
        tgttype: 'nothing',
        tgtname: 'x',
        flags: 0,
        type: 1,
        lun_begin: 0xffff,
        lun_end: 0xffff,
        op: 0xffff,
        rsv: 0,
        ...change,
      })
      const ret = ioctl(rig, I.NVM_DEV_CREATE, arg)
      if (ret === 0) {
        const { geo } = tgt(rig, 'x')
        expect(rig.remove('x')).toBe(0)
        return geo.op
      }
      return ret
    }
    expect([2, 3, 80, 81, 0xffff].map(op => create({ op }))).toEqual([-EINVAL, 3, 80, -EINVAL, 101])
    expect(create({ rsv: 1 })).toBe(-EINVAL)
    expect(create({ flags: 2 })).toBe(-EINVAL)
    expect(create({ flags: 1 })).toBe(101)
    expect(create({ dev: 'nvme1n1' })).toBe(-EINVAL)
    expect(create({ type: 2 })).toBe(-EINVAL)
    expect(create({ lun_begin: 3, lun_end: 2 })).toBe(-EINVAL)
    expect(create({ lun_begin: 0, lun_end: 16 })).toBe(-EINVAL)
    expect(create({ tgttype: 'rrpx' })).toBe(-EINVAL)
    expect(create({ tgtname: 'fails' })).toBe(-5)
    expect(rig.dev.lun_map.some(bit => bit !== 0)).toBe(false)
  })

  it('looks at one thing after the other: of two mistakes the first is told', () => {
    const rig = rigOf()
    expect(rig.create(simple('a', 0, 3))).toBe(0)
    const good = { dev: 'nvme0n1', tgttype: 'nothing', tgtname: 'x', flags: 0, type: 1 }
    const create = (change: object): [number, string] => {
      const before = rig.complaints.length
      const range = { lun_begin: 4, lun_end: 7, op: 20, rsv: 0 }
      const arg = I.encode_create({ ...good, ...range, ...change })
      return [ioctl(rig, I.NVM_DEV_CREATE, arg), rig.complaints.slice(before).join()]
    }
    const no_dev = { dev: 'nvme1n1' }
    const name = { tgtname: 'a' }
    const busy = { lun_begin: 3 }
    const [missing, taken] = [
      'nvm: device not found (nvme1n1)',
      'nvm: target name already exists (a)',
    ]
    expect(create({ rsv: 1, ...no_dev })).toEqual([-EINVAL, ''])
    expect(create({ flags: 2, ...no_dev })).toEqual([-EINVAL, ''])
    expect(create({ ...no_dev, type: 2 })).toEqual([-EINVAL, missing])
    expect(create({ ...no_dev, op: 2 })).toEqual([-EINVAL, missing])
    for (const wrong of [{ type: 2 }, { op: 2 }, { lun_end: 16 }, { tgttype: 'rrpx' }])
      expect(create({ ...wrong, ...name, ...busy })).toEqual([-EINVAL, ''])
    expect(create({ ...name, ...busy })).toEqual([-EINVAL, taken])
    expect(create(busy)).toEqual([-EBUSY, 'nvm: lun 3 already allocated'])
    expect(
      ioctl(
        rig,
        I.NVM_DEV_CREATE,
        I.encode_create({ ...good, lun_begin: 4, lun_end: 7, op: 20, rsv: 1 }),
        false,
      ),
    ).toBe(-EPERM)
    expect(create({})).toEqual([0, ''])
  })
})

describe('LUNs', () => {
  it('lightnvm 10.4: a range that overlaps takes nothing', () => {
    const rig = rigOf({ groups: 1 })
    expect(rig.create(simple('a', 0, 3))).toBe(0)
    expect(rig.create(simple('b', 3, 5))).toBe(-EBUSY)
    expect([...rig.dev.lun_map]).toEqual([1, 1, 1, 1, 0, 0, 0, 0])
    expect(rig.create(simple('b', 4, 5))).toBe(0)
  })

  it('lightnvm 10.5: a name that is taken changes nothing, and is looked at before the LUNs', () => {
    const rig = rigOf()
    expect(rig.create(simple('a', 0, 3))).toBe(0)
    expect(rig.create(simple('a', 4, 7))).toBe(-EINVAL)
    expect(rig.create(simple('a', 0, 3))).toBe(-EINVAL)
    expect([...rig.dev.lun_map].reduce((n, bit) => n + bit, 0)).toBe(4)
  })

  const two = { groups: 2, pus: 4 }

  it('lightnvm 10.7: a target on the second channel', () => {
    const rig = rigOf(two)
    rig.create(simple('a', 4, 7))
    const { geo } = tgt(rig, 'a')
    expect([geo.num_ch, geo.num_lun, geo.all_luns]).toEqual([1, 4, 4])
    const list = Float64Array.of(ppa_of(0, 3, 9, 5))
    nvm_ppa_tgt_to_dev(tgt(rig, 'a'), list, 1)
    expect(list[0]).toBe(generic_to_dev_addr(rig.dev.geo!, ppa_of(1, 3, 9, 5)))
    nvm_ppa_dev_to_tgt(rig.dev, list, 1)
    expect(list[0]).toBe(ppa_of(0, 3, 9, 5))
  })

  it('lightnvm 10.8: a target inside of a channel; one that is unbalanced is refused by pblk', () => {
    const rig = rigOf(two)
    rig.create(simple('a', 2, 3))
    const list = Float64Array.of(ppa_of(0, 0, 0, 0), ppa_of(0, 1, 0, 0))
    nvm_ppa_tgt_to_dev(tgt(rig, 'a'), list, 2)
    const geo = rig.dev.geo!
    expect([...list]).toEqual(
      [ppa_of(0, 2, 0, 0), ppa_of(0, 3, 0, 0)].map(p => generic_to_dev_addr(geo, p)),
    )
    rig.remove('a')
    expect(rig.create({ ...simple('b', 0, 5), tgttype: 'pblk' })).toBe(-EINVAL)
    rig.create(simple('b', 0, 5))
    expect(tgt(rig, 'b').geo.num_lun).toBe(-1)
  })

  it('lightnvm 10.9: there and back for every LUN of every range; a range over half channels is refused', () => {
    const rig = rigOf(two)
    for (let begin = 0; begin < 8; begin++)
      for (let end = begin; end < 8; end++) {
        const crossing = begin % 4 !== 0 && (begin % 4) + (end - begin + 1) > 4
        expect(rig.create(simple('a', begin, end))).toBe(crossing ? -EINVAL : 0)
        if (crossing) continue
        const t = tgt(rig, 'a')
        const all = t.luns.map(({ ch, lun }) => ppa_of(ch, lun, 7, 11))
        const list = Float64Array.from(all)
        nvm_ppa_tgt_to_dev(t, list, list.length)
        const luns = [...list].map(p => dev_to_generic_addr(rig.dev.geo!, p))
        expect(new Set(luns).size).toBe(end - begin + 1)
        nvm_ppa_dev_to_tgt(rig.dev, list, list.length)
        expect([...list]).toEqual(all)
        expect(rig.remove('a')).toBe(0)
      }
  })

  it('removes targets with their device', () => {
    const rig = rigOf()
    rig.create(simple('a', 0, 3))
    rig.create(simple('b', 4, 7))
    rig.vk.run(() => nvm_unregister(rig.lnvm, rig.dev))
    expect([rig.dev.targets.length, rig.lnvm.devices.length]).toEqual([0, 0])
  })
})

describe('addresses', () => {
  const geoOf = (rig: LnvmRig): nvm_geo => rig.dev.geo!

  it('lightnvm 10.10: the format of 2.0', () => {
    expect(generic_to_dev_addr(geoOf(rigOf()), ppa_of(1, 6, 5, 56))).toBe(0x385038)
  })

  it('lightnvm 10.11: the format of 1.2', () => {
    const rig = new LnvmRig({ geometry: GEOMETRY_12 })
    expect(rig.register()).toBe(0)
    const ppa = ppa_of(0, 3, 17, (300 * 2 + 1) * 4 + 2)
    expect(generic_to_dev_addr(geoOf(rig), ppa)).toBe(0x71966)
    expect(dev_to_generic_addr(geoOf(rig), 0x71966)).toBe(ppa)
  })

  it('lightnvm 10.19: what follows from the identity of 1.2', () => {
    const rig = new LnvmRig({ geometry: GEOMETRY_12 })
    rig.register()
    const { ws_min, ws_opt, mw_cunits, clba, pln_mode } = geoOf(rig)
    expect([ws_min, ws_opt, mw_cunits, clba, pln_mode]).toEqual([4, 8, 32, 4096, 2])
  })
})

describe('commands', () => {
  it('lightnvm 10.18: the map of failed addresses, and addresses as the target has them', () => {
    const rig = rigOf({ groups: 2, pus: 4, mwCunits: 0 })
    rig.create(simple('a', 2, 3))
    const t = tgt(rig, 'a')
    const submit = (opcode: number, ppas: readonly number[]): nvm_rq => {
      const rqd = new nvm_rq()
      rqd.opcode = opcode
      rqd.nr_ppas = ppas.length
      rqd.ppa_list.set(ppas)
      rqd.dma = rig.mem.alloc(4096)
      rqd.pages.fill(rig.mem.alloc(4096))
      let ended = 0
      rqd.end_io = () => ended++
      expect(nvm_submit_io(t, rqd)).toBe(0)
      expect(rqd.ppa_list[0]).not.toBe(ppas[0])
      expect(rig.until(() => ended === 1)).toBe(true)
      return rqd
    }
    const run = (chk: number): number[] => [0, 1, 2, 3].map(sec => ppa_of(0, 1, chk, sec))
    expect(submit(NVM_OP_PWRITE, run(3)).error).toBe(0)
    rig.device.dulbe = true
    const [there, not] = [run(3), run(4)]
    const mixed = [not[0], there[1], not[2], there[3]]
    const rqd = submit(NVM_OP_PREAD, mixed)
    expect([rqd.error, rqd.ppa_status_low]).toEqual([0x4287, 0x5])
    expect([0, 1, 2, 3].map(i => ppa_failed(rqd, i))).toEqual([true, false, true, false])
    expect([...rqd.ppa_list.subarray(0, 4)]).toEqual(mixed)
  })
})

describe('bad blocks', () => {
  it('lightnvm 10.16: folds planes', () => {
    const geo = { num_chk: 4, pln_mode: 2 } as nvm_geo
    expect(nvm_bb_tbl_fold(geo, Uint8Array.of(0, 0, 0, 2, 8, 0, 1, 2))).toEqual(
      Uint8Array.of(0, 2, 8, 1),
    )
    expect(nvm_bb_tbl_fold(geo, new Uint8Array(7))).toBe(-EINVAL)
  })

  it('marks a block over its planes', () => {
    const rig = new LnvmRig({ geometry: GEOMETRY_12 })
    rig.register()
    nvm_register_tgt_type(rig.lnvm, NOTHING)
    rig.create(simple('a', 0, 3))
    const mark = (count: number): number =>
      rig.vk.run(() => nvm_set_tgt_bb_tbl(tgt(rig, 'a'), Array(count).fill(ppa_of(0, 1, 7, 0)), 2))
    expect(mark(1)).toBe(0)
    const table = rig.device.badBlockTable(generic_to_dev_addr(rig.dev.geo!, ppa_of(0, 1, 7, 0)))!
    expect([...table.subarray(64 + 14, 64 + 16)]).toEqual([2, 2])
    expect(mark(33)).toBe(-EINVAL)
  })
})
