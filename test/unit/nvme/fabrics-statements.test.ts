// Checkable statements of NVMe over fabrics that need both ends, by what is on the wire.

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { crc32c } from '../../../src/drivers/nvme/crc32c.js'
import {
  fcnvme_accept,
  fcnvme_create_assoc,
  fcnvme_disconnect,
} from '../../../src/drivers/nvme/fc.js'
import { nvme_tcp_cmd } from '../../../src/drivers/nvme/nvme-tcp.js'
import {
  __WQ_LEGACY,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  WQ_SYSFS,
  WQ_UNBOUND,
} from '../../../src/kernel/workqueue-structs.js'
import { nvmf_dev_write } from '../../../src/drivers/nvme/host/fabrics.js'
import type { nvme_ctrl } from '../../../src/drivers/nvme/host/nvme.js'
import { FabricRig, FC_TEXT, LOOP_TEXT, RDMA_TEXT, TCP_TEXT } from './fabric-rig.js'

/** Capsules that the host sends: command, and data in the capsule. */
function capsulesOf(rig: FabricRig): { sqe: Buffer; data: Buffer }[] {
  const capsules: { sqe: Buffer; data: Buffer }[] = []
  rig.network.tamper = (bytes, end) => {
    if (end === 'connector') return bytes
    const sent = Buffer.from(bytes)
    for (let at = 0; at < sent.length; at += sent.readUInt32LE(at + 4)) {
      if (sent[at] !== nvme_tcp_cmd) continue
      const pdu = sent.subarray(at, at + sent.readUInt32LE(at + 4))
      capsules.push({ sqe: pdu.subarray(8, 72), data: pdu.subarray(72) })
    }
    return bytes
  }
  return capsules
}

function isConnect(sqe: Buffer): boolean {
  return sqe[0] === 0x7f && sqe[4] === 1
}

/** Tags of a namespace's hardware queues: all, and those reserved. */
function tagsOf(rig: FabricRig, ctrl: nvme_ctrl): { all: number; reserved: number } {
  const { view } = rig.machine
  const { queue } = rig.ns(ctrl)
  const tags = view.u32(queue.queue_hw_ctx[0]!.at + L.HC_TAGS)
  return { all: view.u32(tags + L.TAGS_NR), reserved: view.u32(tags + L.TAGS_RESERVED) }
}

describe('depths', () => {
  it.each([
    ['tcp', TCP_TEXT],
    ['rdma', RDMA_TEXT],
    ['fc', FC_TEXT],
    ['loop', LOOP_TEXT],
  ])('nvme-fabrics 16.2: queue_size 128 over %s: 128 tags, of which 1 is reserved', (_, text) => {
    const rig = new FabricRig({ cpus: 1 })
    const ctrl = rig.connect(text)
    expect(ctrl.sqsize).toBe(127)
    expect(tagsOf(rig, ctrl)).toEqual({ all: 128, reserved: 1 })
  })

  it('nvme-fabrics 16.2: RDMA: 513 completions, 385 sends, 129 receives', () => {
    const rig = new FabricRig({ cpus: 1 })
    rig.connect(RDMA_TEXT)
    const sizes = [...rig.verbs.ids].map(({ qp_init }) => qp_init)
    expect(sizes.filter(init => init?.poll === 'softirq')).toMatchObject([
      { max_send_wr: 97, max_recv_wr: 33, cqe: 129 },
      { max_send_wr: 385, max_recv_wr: 129, cqe: 513 },
    ])
    // The target's are grown by its reads and writes of the host's memory.
    expect(sizes.filter(init => init?.poll === 'workqueue')).toMatchObject([
      { max_send_wr: 65, max_recv_wr: 33, cqe: 97 },
      { max_send_wr: 257, max_recv_wr: 129, cqe: 385 },
    ])
  })
})

describe('Connect', () => {
  it('nvme-fabrics 16.2, nvme-fabrics 16.3: sqsize, kato and controller identifier', () => {
    const rig = new FabricRig({ cpus: 2 })
    for (let id = 1; id < 5; id++) rig.target.cntlids.add(id)
    const capsules = capsulesOf(rig)
    rig.connect()
    const connects = capsules.filter(({ sqe }) => isConnect(sqe))
    const facts = connects.map(({ sqe, data }) => ({
      qid: sqe.readUInt16LE(42),
      sqsize: sqe.readUInt16LE(44),
      kato: sqe.readUInt32LE(48),
      cntlid: data.readUInt16LE(16),
    }))
    expect(facts).toEqual([
      { qid: 0, sqsize: 31, kato: 15000, cntlid: 0xffff },
      { qid: 1, sqsize: 127, kato: 0, cntlid: 5 },
      { qid: 2, sqsize: 127, kato: 0, cntlid: 5 },
    ])
  })

  it.each([
    ['without keep-alive', 320, 0, 'keep-alive'],
    ['that is another than Connect made', 78, 77, 'Mismatching cntlid: Connect 1 vs Identify 77'],
  ])('nvme-fabrics 16.20: a controller %s is not taken', (_, at, value, why) => {
    const rig = new FabricRig({ cpus: 1 })
    rig.network.tamper = (bytes, end) => {
      const data = Buffer.from(bytes)
      const identify = end === 'connector' && data[0] === 7 && data.readUInt32LE(4) === 4120
      if (identify) data.writeUInt16LE(value, 24 + at)
      return data
    }
    expect(rig.run(() => nvmf_dev_write(rig.f, TCP_TEXT))).toBe(-22)
    expect(rig.log().some(line => line.includes(why))).toBe(true)
    rig.pass(1)
    expect(rig.subsys.ctrls).toEqual([])
  })

  it('nvme-fabrics 16.14: a controller that never gets ready is given up after 8 s', () => {
    const rig = new FabricRig({ cpus: 1 })
    let asked = 0
    rig.network.tamper = (bytes, end) => {
      const pdu = Buffer.from(bytes)
      const csts = pdu[8] === 0x7f && pdu[12] === 4 && pdu[52] === 0x1c
      if (end === 'listener' && pdu[0] === nvme_tcp_cmd && csts) asked = 1 + pdu.readUInt16LE(10)
      // RDY is bit 0 of the result.
      if (end === 'connector' && pdu[0] === 5 && pdu.readUInt16LE(20) + 1 === asked) pdu[8] = 0
      return pdu
    }
    const before = rig.now
    expect(rig.run(() => nvmf_dev_write(rig.f, TCP_TEXT))).toBe(-19)
    const waited = (rig.now - before) / 1e9
    expect(waited).toBeGreaterThanOrEqual(8)
    expect(waited).toBeLessThan(8.3)
  })
})

describe('data', () => {
  it('nvme-fabrics 16.10: the digest of a header', () => {
    const header = new Uint8Array(72)
    header.set([4, 1, 72, 0, 76])
    expect(crc32c(header)).toBe(0xb1c1eaba)
  })

  it.each([
    [4096, 0x01],
    [8192, 0x5a],
  ])('nvme-fabrics 16.11: IOCCSZ 260, a write of %i bytes', (bytes, type) => {
    const rig = new FabricRig({ cpus: 1 })
    const ctrl = rig.connect()
    ctrl.ioccsz = 260
    const capsules = capsulesOf(rig)
    expect(rig.run(() => rig.write(rig.ns(ctrl), 0, new Uint8Array(bytes).fill(7)))).toBe(0)
    const [write] = capsules.filter(({ sqe }) => sqe[0] === 1)
    expect(write!.sqe[39]).toBe(type)
    expect(write!.sqe.readUInt32LE(32)).toBe(bytes)
    expect(write!.data.length).toBe(type === 1 ? bytes : 0)
  })
})

describe('workqueue-timers 11: queues', () => {
  /** Workqueues of a machine with this name. */
  const find = (rig: FabricRig, name: RegExp) =>
    rig.machine
      .host!.k.wq.workqueues.filter(wq => name.test(wq.name))
      .map(({ name, flags, saved_max_active }) => [name, flags, saved_max_active])
  const CORE = WQ_UNBOUND | WQ_MEM_RECLAIM | WQ_SYSFS

  it('of a 4.19 host and its targets', () => {
    const rig = new FabricRig({ cpus: 1 })
    expect(find(rig, /nvme/)).toEqual([
      ['nvmet_tcp_wq', WQ_MEM_RECLAIM | WQ_HIGHPRI, 256],
      ['nvme-wq', CORE, 256],
      ['nvme-reset-wq', CORE, 256],
      ['nvme-delete-wq', CORE, 256],
      ['nvme_tcp_wq', WQ_MEM_RECLAIM | WQ_HIGHPRI, 256],
    ])
    const ctrl = rig.connect(FC_TEXT)
    expect(find(rig, /ntfc/)).toEqual([
      ['ntfc1.1.0', 0, 256],
      ['ntfc1.1.1', 0, 256],
    ])
    rig.disconnect(ctrl)
    expect(find(rig, /ntfc/)).toEqual([])
  })

  it('of a 4.9 host', () => {
    const rig = new FabricRig({ cpus: 1, era: '4.9' })
    expect(find(rig, /^nvme(_rdma_wq|_fc_wq|$)/)).toEqual([
      ['nvme', WQ_UNBOUND | WQ_MEM_RECLAIM, 256],
      ['nvme_rdma_wq', WQ_MEM_RECLAIM | __WQ_LEGACY, 1],
      ['nvme_fc_wq', WQ_MEM_RECLAIM | __WQ_LEGACY, 1],
    ])
  })
})

describe('link services of FC', () => {
  it('nvme-fabrics 16.19: their lengths', () => {
    const create = fcnvme_create_assoc({
      ersp_ratio: 8,
      sqsize: 31,
      hostid: new Uint8Array(16),
      hostnqn: 'nqn.host',
      subnqn: 'nqn.subsystem',
    })
    expect(create.length).toBe(1024)
    expect(fcnvme_accept(create, 1n, 2n).length).toBe(56)
    const disconnect = fcnvme_disconnect(1n)
    expect(disconnect.length).toBe(48)
    expect(fcnvme_accept(disconnect).length).toBe(24)
  })

  it('nvme-fabrics 16.19: they may take 2 s', () => {
    const rig = new FabricRig({ cpus: 1 })
    const { template } = rig.fc.lports[0]!
    const { ls_req } = template
    const asked: [number, number][] = []
    template.ls_req = (rport, lsreq) => {
      asked.push([lsreq.rqst.length, lsreq.timeout])
      return ls_req(rport, lsreq)
    }
    rig.disconnect(rig.connect(FC_TEXT))
    expect(asked).toEqual([
      [1024, 2],
      [80, 2],
      [48, 2],
    ])
  })
})
