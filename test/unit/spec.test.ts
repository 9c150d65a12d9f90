// Device texts and machine files.

import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import type { DeviceSpec } from '../../src/machine/spec.js'
import { formatFault, parseFault } from '../../src/machine/spec-fault.js'
import { ocssdLuns, ocssdSectors } from '../../src/machine/spec-nvme.js'
import {
  checkKernel,
  DEFAULT_MACHINE,
  formatDevice,
  parseDevices,
  parseMachine,
} from '../../src/machine/spec-parse.js'
import {
  formatNs,
  formatSize,
  parseBytes,
  parseNs,
  parseWhole,
} from '../../src/machine/spec-values.js'

const MIB = 2 ** 20
const GIB = 2 ** 30

const one = (text: string): DeviceSpec => parseDevices([text])[0]!
const all = (...texts: string[]): DeviceSpec[] => parseDevices(texts)
function errorOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (error instanceof UserError && error.exitStatus === 64) return error.message
    throw error
  }
  throw new Error('no error')
}
const error = (...texts: string[]): string => errorOf(() => parseDevices(texts))

describe('values', () => {
  it('sizes are powers of 1024, times need a unit', () => {
    expect(['4G', '4GiB', '4gb', '512', '16M', '1T', '8K'].map(parseBytes)).toEqual([
      4 * GIB,
      4 * GIB,
      4 * GIB,
      512,
      16 * MIB,
      1024 * GIB,
      8192,
    ])
    expect(['1.5G', '-1', '', '4X', '99999999999T'].map(parseBytes)).toEqual(
      Array(5).fill(undefined),
    )
    expect(['10us', '3ns', '5ms', '2s', '0'].map(parseNs)).toEqual([10_000, 3, 5e6, 2e9, 0])
    expect(['10', 'us', '1.5us', '99999999999s'].map(parseNs)).toEqual(Array(4).fill(undefined))
    expect(['7', '0x10', '-3', '1e3', ''].map(parseWhole)).toEqual([
      7,
      16,
      -3,
      undefined,
      undefined,
    ])
  })

  it('are written back in their shortest exact form', () => {
    expect([4 * GIB, 512, 1536, 16 * MIB].map(formatSize)).toEqual(['4G', '512', '1536', '16M'])
    expect([0, 3, 10_000, 5e6, 2e9].map(formatNs)).toEqual(['0', '3ns', '10us', '5ms', '2s'])
  })
})

describe('nvme', () => {
  it('defaults', () => {
    expect(one('nvme')).toEqual({
      kind: 'nvme',
      name: 'nvme0n1',
      sizeBytes: null,
      lbaBytes: 512,
      media: null,
      writeCache: true,
      sched: 'none',
      features: {},
      queues: null,
      pollQueues: 0,
      depth: 1024,
      stride: null,
      where: null,
      wait: null,
      coalesce: null,
      memBytes: null,
      faults: [],
    })
  })

  it('every key of the controller', () => {
    expect(
      one(
        'nvme,size=4G,lba=4096,queues=4,poll-queues=1,depth=64,where=thread,wait=irq,coalesce=8/100us,stride=2,mem=64M,vwc=0',
      ),
    ).toMatchObject({
      sizeBytes: 4 * GIB,
      lbaBytes: 4096,
      queues: 4,
      pollQueues: 1,
      depth: 64,
      where: 'thread',
      wait: 'irq',
      coalesce: { entries: 8, ns: 100_000 },
      stride: 2,
      memBytes: 64 * MIB,
      writeCache: false,
    })
    expect(one('NVMe,POLL_QUEUES=1')).toMatchObject({ pollQueues: 1 })
    expect(one('nvme, size = 4G ')).toMatchObject({ sizeBytes: 4 * GIB })
    expect(one('nvme,vwc')).toMatchObject({ writeCache: true })
  })

  it('the timed models', () => {
    expect(one('nvme,model=fixed')).toMatchObject({
      media: {
        model: 'fixed',
        read: { meanNs: 10_000, devNs: 0 },
        flush: { meanNs: 10_000, devNs: 0 },
        units: 8,
      },
    })
    expect(one('nvme,model=normal,latency=20us/4us,write=50us,units=2')).toMatchObject({
      media: {
        read: { meanNs: 20_000, devNs: 4000 },
        write: { meanNs: 50_000, devNs: 10_000 },
        units: 2,
      },
    })
    expect(
      one('nvme,model=empirical,read=50:80us/99.9:1ms/100:2ms,flush=1:0/100:5us'),
    ).toMatchObject({
      media: {
        read: [
          { percent: 50, ns: 80_000 },
          { percent: 99.9, ns: 1e6 },
          { percent: 100, ns: 2e6 },
        ],
        write: [{ percent: 50 }, { percent: 99.9 }, { percent: 100 }],
        flush: [
          { percent: 1, ns: 0 },
          { percent: 100, ns: 5000 },
        ],
      },
    })
  })

  it('flash gives the size when its blocks are counted, and must hold it', () => {
    const flash = 'nvme,model=nand,channels=1,dies=1,planes=1,pages=256,page-size=4K,op=28'
    expect(one(`${flash},blocks=128`)).toMatchObject({
      // 128 MiB of flash, 28 % of what is shown kept back.
      sizeBytes: 100 * MIB,
      media: { geometry: { blocks: 128, pageBytes: 4096 }, timing: { cell: 'mlc', readNs: null } },
    })
    expect(one(flash)).toMatchObject({ sizeBytes: null, media: { geometry: { blocks: null } } })
    expect(one('nvme,model=nand,cell=tlc,read-time=60us,transfer-time=0')).toMatchObject({
      media: { timing: { cell: 'tlc', readNs: 60_000, programNs: null, transferNs: 0 } },
    })
    expect(error(`${flash},blocks=128,size=101M`)).toBe(
      '--device nvme: size=101M is more than the flash holds (100M)',
    )
    expect(error(`${flash},blocks=1`)).toContain('the flash holds 0')
  })

  it('refuses values out of range, naming what is accepted', () => {
    expect(error('nvme,depth=1')).toBe(
      '--device nvme: depth=1: must be a whole number from 2 to 65536',
    )
    expect(error('nvme,stride=16')).toContain('from 0 to 15')
    expect(error('nvme,lba=1000')).toContain('must be 512, 1024, 2048 or 4096')
    expect(error('nvme,lba=8192')).toContain('a size from 512 to 4K')
    expect(error('nvme,size=17T')).toContain('a size from 1M to 16T')
    expect(error('nvme,size=1048577')).toBe(
      '--device nvme: size=1048577 is not a multiple of lba=512',
    )
    expect(error('nvme,where=here')).toBe(
      '--device nvme: where=here: must be one of inline, thread',
    )
    expect(error('nvme,coalesce=8/150us')).toContain('steps of 100us')
    expect(error('nvme,coalesce=0/100us')).toContain('ENTRIES/TIME')
    expect(error('nvme,vwc=maybe')).toContain('must be one of 1, 0, on, off')
    expect(error('nvme,model=flash')).toContain('must be one of null, ram, fixed')
    expect(error('nvme,model=fixed,latency=10')).toContain('must be a time, such as 10us')
    expect(error('nvme,model=fixed,latency=10us/1us')).toContain('must be a time')
    expect(error('nvme,model=normal,latency=0')).toContain('MEAN/DEVIATION')
    expect(error('nvme,model=empirical')).toContain('needs read=')
    expect(error('nvme,model=empirical,read=50:80us/90:1ms')).toContain('ending with 100:TIME')
    expect(error('nvme,model=empirical,read=50:80us/100:1us')).toContain('ascending')
    expect(error('nvme,model=nand,page-size=5000')).toContain('must be a power of two')
    expect(error('nvme,model=nand,planes=3')).toContain('must be 1, 2 or 4')
    expect(error('nvme,size=4G,size=5G')).toBe('--device nvme: size is given twice')
  })

  it('refuses what contradicts itself', () => {
    expect(error('nvme,where=inline,wait=poll')).toBe(
      '--device nvme: wait=poll contradicts where=inline, where nothing is waited for; use where=thread',
    )
    expect(error('nvme,where=inline,coalesce=8/100us')).toContain(
      'coalesce contradicts where=inline',
    )
    expect(error('nvme,where=inline,poll-queues=1')).toContain(
      'poll-queues contradicts where=inline',
    )
    expect(error('nvme,wait=poll,coalesce=8/100us')).toContain('takes no interrupts')
    expect(error('nvme,wait=poll,poll-queues=1')).toContain('polls every queue')
    expect(error('nvme,queues=2,poll-queues=2')).toContain('leaves none of queues=2')
    expect(error('nvme,model=null,mem=64M')).toBe(
      '--device nvme: mem contradicts model=null, which keeps no data',
    )
    expect(error('nvme,units=4')).toContain('units needs model=')
    expect(error('nvme,model=ram,units=4')).toContain('unknown key units')
  })

  it('lists the known keys when one is unknown', () => {
    expect(error('nvme,sise=4G')).toBe(
      '--device nvme: unknown key sise; there are cmb, cmb-sqs, coalesce, crdt, depth, event, ext, fault, hmb, inflight, lba, max-active, max-open, mdts, mem, model, ms, namespaces, ocssd, pi, pil, poll-queues, queues, ready, sched, sgl, shadow, size, stride, unallocated, vwc, wait, where, write-queues, wrr, zone-capacity, zone-size, zoned',
    )
  })
})

describe('null_blk', () => {
  it('has the defaults of the module', () => {
    expect(one('null_blk')).toMatchObject({
      name: 'nullb0',
      sizeBytes: 250 * GIB,
      queueMode: 2,
      irqmode: 1,
      completionNs: 10_000,
      submitQueues: 1,
      hwQueueDepth: 64,
      homeNode: -1,
      bs: 512,
      noSched: false,
      sharedTags: false,
      memoryBacked: false,
      mbps: 0,
      cacheBytes: 0,
      zoned: false,
      zoneBytes: 256 * MIB,
      timeoutFault: null,
    })
  })

  it('takes the names of parameters and attributes', () => {
    expect(
      one(
        'null_blk,queue_mode=2,irqmode=2,completion_nsec=5000,size=64,blocksize=4096,memory_backed=1,cache_size=1,discard,mbps=100,badblocks=+100-103/200-200',
      ),
    ).toMatchObject({
      irqmode: 2,
      completionNs: 5000,
      sizeBytes: 64 * MIB,
      bs: 4096,
      cacheBytes: MIB,
      discard: true,
      mbps: 100,
      badblocks: [
        [100, 103],
        [200, 200],
      ],
    })
    expect(one('null_blk,timeout=1,,100,,0,,1,requeue=3/100/0/-1')).toMatchObject({
      timeoutFault: { interval: 1, probability: 100, space: 0, times: 1 },
      requeueFault: { interval: 3, probability: 100, space: 0, times: -1 },
    })
    expect(one('null_blk,zoned=1,zone_size=64')).toMatchObject({ zoned: true, zoneBytes: 64 * MIB })
  })

  it('nr_devices makes several', () => {
    expect(all('null_blk,nr_devices=2,shared_tags=1', 'null_blk').map(spec => spec.name)).toEqual([
      'nullb0',
      'nullb1',
      'nullb2',
    ])
  })

  it('refuses what Linux would correct silently, and what it refuses', () => {
    expect(error('null_blk,mbps=5,queue_mode=0')).toContain('mbps needs queue_mode=1 or 2')
    expect(error('null_blk,cache_size=1')).toContain('cache_size needs memory_backed=1')
    expect(error('null_blk,completion_nsec=5')).toContain('completion_nsec needs irqmode=2')
    expect(one('null_blk,irqmode=0,completion_nsec=0')).toMatchObject({ completionNs: 0 })
    expect(error('null_blk,use_per_node_hctx,submit_queues=2')).toContain('give one of them')
    expect(error('null_blk,shared_tags,queue_mode=1')).toContain('shared_tags needs queue_mode=2')
    expect(error('null_blk,no_sched,queue_mode=0')).toContain('no_sched needs queue_mode=2')
    expect(error('null_blk,requeue=1/1/1/1,queue_mode=0')).toContain('fault injection needs')
    expect(error('null_blk,zone_size=64')).toContain('zone_size needs zoned=1')
    expect(error('null_blk,zoned,zone_size=3')).toContain('power of two')
    expect(error('null_blk,zoned,gb=1,zone_size=2048')).toContain('larger than the disk')
    expect(error('null_blk,gb=1,size=5')).toContain('gb and size are both given')
    expect(error('null_blk,bs=700')).toContain('multiple of 512')
    expect(error('null_blk,bs=512,blocksize=512')).toContain('are the same')
    expect(error('null_blk,hw_queue_depth=0')).toContain('from 1 to 10240')
    expect(error('null_blk,queue_mode=3')).toContain('from 0 to 2')
    expect(error('null_blk,badblocks=9-5')).toContain('FIRST-LAST')
    expect(error('null_blk,gb=1,badblocks=0-99999999')).toContain('beyond the end')
    expect(error('null_blk,timeout=1/2/3')).toContain('INTERVAL/PROBABILITY/SPACE/TIMES')
    expect(error('null_blk,mem=64M')).toContain('mem needs memory_backed=1')
  })
})

describe('open-channel devices and targets', () => {
  it('have the reference geometries', () => {
    const [d20, d12] = all('nvme,ocssd=2.0', 'nvme,ocssd=1.2')
    expect(d20).toMatchObject({
      kind: 'ocssd',
      name: 'nvme0n1',
      geometry: { version: '2.0', groups: 2, pus: 8, chunks: 60, clba: 4096, wsMin: 4, wsOpt: 8 },
      oobBytes: 16,
    })
    expect(d12).toMatchObject({
      name: 'nvme1n1',
      geometry: {
        version: '1.2',
        channels: 1,
        luns: 4,
        planes: 2,
        blocks: 32,
        pages: 512,
        sectors: 4,
        l2p: false,
      },
    })
    // ocssd-device 8: D20 and D12.
    const sectors = [d20, d12].map(spec =>
      spec?.kind === 'ocssd' ? ocssdSectors(spec.geometry) : 0,
    )
    expect(sectors).toEqual([3_932_160, 524_288])
    expect(d20?.kind === 'ocssd' && ocssdLuns(d20.geometry)).toBe(16)
  })

  it('refuse impossible geometries', () => {
    expect(error('nvme,ocssd=2.0,ws-opt=6')).toContain('ws-opt=6 is not a multiple of ws-min=4')
    expect(error('nvme,ocssd=2.0,clba=100')).toContain('clba=100 is not a multiple of ws-opt=8')
    expect(error('nvme,ocssd=2.0,mw-cunits=4096')).toContain('is not below clba')
    expect(error('nvme,ocssd=2.0,maxoc=2,maxocpu=3')).toContain('is above maxoc')
    expect(error('nvme,ocssd=1.2,groups=2')).toContain('unknown key groups')
    expect(error('nvme,ocssd=2.0,chunks=65536,clba=1048576')).toContain('at most 16T')
    expect(error('nvme,ocssd=1.2,planes=3')).toContain('must be 1, 2 or 4')
  })

  it('targets need an open-channel parent of their own', () => {
    expect(all('nvme,ocssd=2.0', 'pblk,parent=/dev/nvme0n1,luns=0-3,op=11,factory=0')[1]).toEqual({
      kind: 'pblk',
      name: 'pblk0',
      parent: 'nvme0n1',
      luns: [0, 3],
      op: 11,
      factory: false,
      quirks: false,
    })
    expect(
      all(
        'nvme,ocssd=2.0',
        'pblk,parent=nvme0n1,luns=0-3',
        'pblk,parent=nvme0n1,luns=4-7,name=b',
      )[2]!.name,
    ).toBe('b')
    expect(error('pblk')).toContain('parent= is missing')
    expect(error('pblk,parent=nvme0n1')).toBe(
      '--device pblk,parent=nvme0n1: no such device; add --device nvme,ocssd=2.0',
    )
    expect(error('nvme,ocssd=2.0', 'pblk,parent=nvme9n1')).toContain(
      'open-channel devices are nvme0n1',
    )
    expect(error('nvme', 'pblk,parent=nvme0n1')).toContain('it is nvme; a target needs')
    expect(error('nvme,ocssd=2.0', 'pblk,parent=nvme0n1,luns=0-16')).toContain(
      'the device has 0-15',
    )
    expect(
      error('nvme,ocssd=2.0', 'pblk,parent=nvme0n1', 'pblk,parent=nvme0n1,luns=2-3'),
    ).toContain('luns 2-3 are shared with pblk0')
    expect(error('nvme,ocssd=2.0', 'pblk,parent=nvme0n1,name=nvme0n1')).toContain(
      'the name nvme0n1 is taken',
    )
    expect(error('nvme,ocssd=2.0', 'pblk,parent=nvme0n1,op=2')).toContain('from 3 to 80')
    expect(error('nvme,ocssd=2.0', 'rrpc,parent=nvme0n1')).toContain(
      'rrpc needs a device that keeps a table: nvme,ocssd=1.2',
    )
    expect(error('nvme,ocssd=1.2,l2p=0', 'rrpc,parent=nvme0n1')).toContain('keeps a table')
    expect(
      error('nvme,ocssd=1.2', 'rrpc,parent=nvme0n1,luns=0-1', 'pblk,parent=nvme0n1,luns=2-3'),
    ).toContain('pblk needs a device without a table')
    expect(error('nvme,ocssd=2.0,bad=2/0/0')).toContain('GROUP/PU/CHUNK, up to 1/7/59')
    expect(error('nvme,ocssd=1.2,bad=0/1')).toContain('GROUP/PU/CHUNK, up to 0/3/31')
    expect(error('nvme,ocssd=1.2,copy=1')).toContain('copy')
    expect(error('nvme,ocssd=1.2,l2p=1', 'pblk,parent=nvme0n1')).toContain('without l2p=1')
    expect(error('nvme,ocssd=3')).toBe('--device nvme: ocssd=3: must be one of 2.0, 1.2')
    expect(error('ocssd')).toContain("'ocssd' is not a device")
    expect(error('nvme,ocssd=2.0,size=1G')).toContain('unknown key size')
    expect(error('nvme,osscd=2.0')).toContain('ocssd')
    expect(error('nvme,ocssd=2.0', 'rrpc,parent=nvme0n1,op=5')).toContain('unknown key op')
  })

  it('a device with an rrpc on it keeps a table, in blocks that rrpc can have', () => {
    const [device] = all('nvme,ocssd=1.2', 'rrpc,parent=/dev/nvme0n1')
    expect(device).toMatchObject({ geometry: { l2p: true, planes: 1, pages: 128, blocks: 256 } })
    expect(device?.kind === 'ocssd' && ocssdSectors(device.geometry)).toBe(524_288)
    const [wide] = all('nvme,ocssd=1.2,l2p=1,planes=2')
    expect(wide).toMatchObject({ geometry: { planes: 2, pages: 64 } })
  })

  it('failures of the media, bad chunks, the bus and Do Not Retry', () => {
    const text = 'nvme,ocssd=2.0,read-fail=1,high-ecc=2,bad=0/0/0,bad=1/7/59,dnr=0,channel=0,copy=1'
    const [device] = all(text)
    const rates = { readFailPercent: 1, highEccPercent: 2 }
    expect(device).toMatchObject({ ...rates, bad: [0, 959], dnr: false, channel: false })
    expect(device).toMatchObject({ geometry: { copy: true } })
    expect(all(formatDevice(device!))).toEqual([device])
  })

  it('the kernels have their own drivers', () => {
    const old = all('nvme,ocssd=1.2,l2p=1', 'rrpc,parent=nvme0n1')
    expect(() => checkKernel(old, '4.9')).not.toThrow()
    expect(() => checkKernel(old, '4.19')).not.toThrow()
    const now = all('nvme,ocssd=2.0', 'pblk,parent=nvme0n1')
    expect(() => checkKernel(now, '4.19')).not.toThrow()
    expect(errorOf(() => checkKernel(now, '4.9'))).toContain('nvme,ocssd=2.0: Linux 4.9')
    expect(
      errorOf(() => checkKernel(all('nvme,ocssd=1.2', 'pblk,parent=nvme0n1'), '4.9')),
    ).toContain('pblk: Linux 4.9')
  })
})

describe('faults', () => {
  it('say what happens and to which commands', () => {
    expect(parseFault('status:0x281/op:read/nth:100')).toEqual({
      action: { kind: 'status', status: 0x281 },
      match: { opcode: 2, admin: false, nth: 100 },
    })
    expect(parseFault('delay:5ms/queue:1/lba:0-4095/count:3')).toEqual({
      action: { kind: 'delay', ns: 5e6 },
      match: { queue: 1, lba: [0, 4095], count: 3 },
    })
    expect(parseFault('drop/admin:0x06')).toMatchObject({ match: { opcode: 6, admin: true } })
    expect(parseFault('stuck:fatal')).toMatchObject({ action: { kind: 'stuck', fatal: true } })
    expect(parseFault('corrupt/lba:7')).toMatchObject({ match: { lba: [7, 7] } })
  })

  it('are repeatable on a device', () => {
    expect(one('nvme,fault=drop/nth:3,fault=remove/nth:9')).toMatchObject({
      faults: [{ action: { kind: 'drop' } }, { action: { kind: 'remove' } }],
    })
  })

  it('are refused with a reason', () => {
    const reason = (text: string): string => error(`nvme,fault=${text}`)
    expect(reason('explode')).toContain('fault=explode: the action is one of status:CODE')
    expect(reason('status:0')).toContain('status needs a code')
    expect(reason('delay')).toContain('delay needs a time')
    expect(reason('drop:1')).toContain('drop takes no argument')
    expect(reason('stuck:now')).toContain('stuck takes nothing or :fatal')
    expect(reason('drop/op:256')).toContain('op needs an opcode')
    expect(reason('drop/op:read/admin:6')).toContain('one fault has one opcode')
    expect(reason('drop/lba:9-3')).toContain('lba needs FIRST-LAST')
    expect(reason('drop/nth:0')).toContain('nth needs a number from 1')
    expect(reason('drop/when:1')).toContain('conditions are op, admin, queue, lba, nth, count')
  })

  it('are written back', () => {
    for (const text of [
      'status:641/op:2/nth:100',
      'delay:5ms/queue:1/lba:0-4095',
      'stuck:fatal',
      'drop/admin:6',
    ]) {
      const fault = parseFault(text)
      expect(typeof fault === 'string' ? fault : formatFault(fault)).toBe(text)
    }
  })
})

describe('lists', () => {
  it('number disks in their order', () => {
    expect(all('nvme', 'null_blk', 'nvme,ocssd=2.0', 'nvme').map(spec => spec.name)).toEqual([
      'nvme0n1',
      'nullb0',
      'nvme1n1',
      'nvme2n1',
    ])
  })

  it('refuse unknown kinds and texts that are none', () => {
    expect(error('nmve')).toBe(
      "--device: 'nmve' is not a device; there are nvme, null_blk, pblk, rrpc",
    )
    expect(error('')).toContain("'' is not a device")
    expect(error('nvme,=4')).toContain("'=4' is not key=value")
    expect(error('nvme,,')).toContain('is not a device')
    expect(error(...Array<string>(257).fill('nvme'))).toContain('more than 256 devices')
  })

  it('are written back as texts that read the same', () => {
    const specs = all(
      'nvme,size=4G,model=lognormal,read=80us/20us,queues=4,poll-queues=1,fault=drop/nth:3',
      'nvme,model=nand,blocks=128,cell=slc,erase-time=2ms',
      'nvme,ocssd=1.2,write-fail=5,l2p=1',
      'null_blk,irqmode=2,nr_devices=2,badblocks=1-2',
      'nvme,model=empirical,read=50:80us/100:1ms,where=thread,coalesce=4/0',
      'rrpc,parent=nvme2n1,luns=0-1,quirks=4.19',
    )
    expect(parseDevices(specs.map(formatDevice))).toEqual(specs)
  })
})

describe('machine files', () => {
  const machine = (value: unknown, ...extra: string[]): ReturnType<typeof parseMachine> =>
    parseMachine(JSON.stringify(value), 'm.json', extra)
  const complaint = (value: unknown): string => errorOf(() => machine(value))

  it('an empty one says nothing', () => {
    expect(machine({})).toEqual(DEFAULT_MACHINE)
  })

  it('hold the machine and its devices, as texts or objects', () => {
    const spec = machine(
      {
        cpus: 4,
        kernel: '4.9',
        clock: 'virtual',
        seed: 7,
        mem: '1G',
        hz: 1000,
        timer: 'exact',
        threads: 2,
        cache: 4,
        costs: { irq: '2us', poll: 40 },
        devices: [
          'nvme,size=1G',
          {
            type: 'nvme',
            size: 2 * GIB,
            'poll-queues': 1,
            vwc: false,
            fault: ['drop/nth:3', 'remove'],
          },
        ],
      },
      'null_blk,gb=1',
    )
    expect(spec).toMatchObject({
      cpus: 4,
      kernel: '4.9',
      clock: 'virtual',
      seed: 7,
      memBytes: GIB,
      hz: 1000,
      timer: 'exact',
      threads: 2,
      cache: 4,
      costs: { irq: 2000, poll: 40 },
    })
    expect(spec.devices).toMatchObject([
      { name: 'nvme0n1', sizeBytes: GIB },
      { name: 'nvme1n1', sizeBytes: 2 * GIB, writeCache: false, faults: [{}, {}] },
      { name: 'nullb0' },
    ])
  })

  it('are refused with the file, the place and what is accepted', () => {
    expect(errorOf(() => parseMachine('{', 'm.json', []))).toContain('m.json: not JSON: ')
    expect(complaint([])).toBe('m.json: must be a JSON object')
    expect(complaint({ cpu: 4 })).toBe(
      'm.json: unknown key cpu; there are cache, clock, costs, cpus, devices, hz, kernel, mem, seed, threads, timer',
    )
    expect(complaint({ cpus: 0 })).toBe('m.json: cpus=0: must be a whole number from 1 to 128')
    expect(complaint({ cpus: null })).toBe('m.json: cpus: must be text, a number, true or false')
    expect(complaint({ hz: 60 })).toContain('must be one of 100, 250, 300, 1000')
    expect(complaint({ timer: 'none' })).toBe('m.json: timer=none: must be one of wheel, exact')
    expect(complaint({ cpus: 4, threads: 3 })).toBe('m.json: threads=3: must divide cpus=4')
    expect(complaint({ cpus: 4, cache: 3 })).toBe('m.json: cache=3: must divide cpus=4')
    expect(complaint({ threads: 4, cache: 2 })).toContain(
      'cache=2: must be a multiple of threads=4',
    )
    expect(complaint({ mem: '5G' })).toContain('a size from 1M to 4G')
    expect(complaint({ costs: { magic: 1 } })).toContain(
      'costs: unknown key magic; there are submit, ',
    )
    expect(complaint({ costs: { irq: 'x' } })).toContain('costs: irq=x: must be ns up to 1s')
    expect(complaint({ costs: 5 })).toBe('m.json: costs: must be a JSON object')
    expect(complaint({ devices: {} })).toBe('m.json: devices: must be a list')
    expect(complaint({ devices: [5] })).toBe('m.json: devices[0]: must be a JSON object')
    expect(complaint({ devices: [{ size: '4G' }] })).toContain(
      "m.json: devices[0]: '' is not a device",
    )
    expect(complaint({ devices: [{ type: 'nvme', sise: 1 }] })).toContain(
      'm.json: devices[0] nvme: unknown key sise',
    )
    expect(complaint({ devices: ['nvme,sise=1'] })).toContain(
      'm.json: devices[0]: nvme: unknown key sise',
    )
    expect(complaint({ devices: [{ type: 'nvme', size: {} }] })).toContain('must be text')
  })
})
