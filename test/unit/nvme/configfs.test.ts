// A target that is set up by hand, file by file, and a host that finds it.

import { expect, it } from 'vitest'
import {
  nvmet_addr_traddr_store,
  nvmet_addr_trtype_store,
  nvmet_ns_device_path_store,
  nvmet_ns_enable_store,
  nvmet_ns_make,
  nvmet_port_subsys_allow_link,
  nvmet_ports_make,
  nvmet_subsys_attr_allow_any_host_store,
  nvmet_subsys_make,
} from '../../../src/drivers/nvme/target/configfs.js'
import { nvmet_fc_add_port, type nvmet_fc_tgtport } from '../../../src/drivers/nvme/target/fc.js'
import {
  fcloop_create_remote_port,
  fcloop_create_target_port,
} from '../../../src/drivers/nvme/target/fcloop.js'
import { EBUSY, EINVAL } from '../../../src/kernel/errno.js'
import { blkdev_get_by_path } from '../../../src/fs/block_dev-open.js'
import { FC_TEXT, FabricRig, RIG_NQN } from './fabric-rig.js'

const NQN = 'nqn.2026-11.io.phasebit:by-hand'
const NAMES = 'wwnn=0x10000000000000cc,wwpn=0x20000000000000cc'
const LOCAL = 'lpwwnn=0x10000000000000bb,lpwwpn=0x20000000000000bb'

it('a subsystem, its namespace, a port, a link: then it can be connected to', () => {
  const rig = new FabricRig()
  const { target, machine } = rig
  const subsys = nvmet_subsys_make(target, NQN, '7')
  nvmet_subsys_attr_allow_any_host_store(subsys, true)
  const ns = nvmet_ns_make(subsys, 1)
  expect(rig.run(() => nvmet_ns_enable_store(ns, blkdev_get_by_path))).toBe(-EINVAL)
  const disk = machine.disks[0]!
  nvmet_ns_device_path_store(ns, machine.host!.queue(disk), disk.config.sizeBytes)
  expect(rig.run(() => nvmet_ns_enable_store(ns, blkdev_get_by_path))).toBe(0)
  const tport = fcloop_create_target_port(rig.link, NAMES) as nvmet_fc_tgtport
  const port = nvmet_ports_make(target, 2)
  const link = (): number =>
    nvmet_port_subsys_allow_link(port, subsys, all => nvmet_fc_add_port(tport, all))
  expect(link()).toBe(-EINVAL)
  nvmet_addr_trtype_store(port, 'fc')
  nvmet_addr_traddr_store(port, 'nn-0x10000000000000cc:pn-0x20000000000000cc')
  expect(link()).toBe(0)
  expect(link()).toBe(-EBUSY)
  fcloop_create_remote_port(rig.link, `${NAMES},${LOCAL}`)
  const ctrl = rig.connect(FC_TEXT.replaceAll('00aa', '00cc').replace(RIG_NQN, NQN))
  const data = new Uint8Array(8192).fill(0x4d)
  expect(rig.run(() => rig.write(rig.ns(ctrl), 0, data))).toBe(0)
  expect(rig.run(() => rig.read(rig.ns(ctrl), 0, 8192))).toEqual(data)
  rig.disconnect(ctrl)
  expect(subsys.ctrls).toEqual([])
  expect(machine.books().balanced).toBe(true)
})
