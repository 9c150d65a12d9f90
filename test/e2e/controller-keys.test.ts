// What `--device nvme,...` says of a controller, and what a job or nvme-cli's words see of it.

import { describe, expect, test } from 'vitest'
import { nvmeCommand } from '../../src/cli/nvme.js'
import { UserError } from '../../src/core/errors.js'
import type { nvme_dev } from '../../src/drivers/nvme/host/pci-queue.js'
import { openNvme } from '../../src/workload/nvme-admin.js'
import type { RunResult } from '../../src/report/result.js'
import { stdoutOf } from './capture.js'
import { CLOCKS, type Clock, execute, job, succeed } from './run.js'

/** A job on a disk of such a device. */
function run(device: string, lines: string, disk = 'nvme0n1') {
  const text = `[a]\nfilename=/dev/${disk}\ndirect=1\nioengine=libaio\nbs=4k\n${lines}`
  return succeed(['j.fio', '--clock=virtual', '--cpus=2', `--device=nvme,${device}`], {
    'j.fio': text,
  })
}

/** JSON of a word. */
async function ask<T>(device: string, ...args: string[]): Promise<T> {
  const text = await stdoutOf(nvmeCommand, [...args, '--device', `nvme,${device}`, '-o', 'json'])
  return JSON.parse(text) as T
}

describe('keys of a controller', () => {
  test('namespaces=: a disk for each, of its part, with data of its own', async () => {
    const device = 'size=12M,namespaces=3'
    const text = [1, 2, 3]
      .map(n => `[j${n}]\nfilename=/dev/nvme0n${n}\nrw=randwrite\nverify=crc32c\n`)
      .join('')
    const result = await succeed(
      ['j.fio', '--clock=virtual', '--cpus=2', `--device=nvme,${device}`],
      {
        'j.fio': `[global]\ndirect=1\nioengine=libaio\niodepth=8\nbs=4k\nsize=1m\n${text}`,
      },
    )
    for (const n of [1, 2, 3]) {
      expect(job(result, `j${n}`).error).toBe(0)
      expect(job(result, `j${n}`).write.totalIos).toBe(256)
      expect(job(result, `j${n}`).read.totalIos).toBe(256)
    }
    const { Devices } = await ask<{ Devices: { PhysicalSize: number }[] }>(device, 'list')
    expect(Devices.map(one => one.PhysicalSize)).toEqual([2 ** 22, 2 ** 22, 2 ** 22])
    await expect(run(device, 'rw=read\nsize=5m\n', 'nvme0n2')).rejects.toThrow(/4 MiB/)
    await expect(run(device, 'rw=read\nsize=1m\n', 'nvme0n4')).rejects.toThrow(/nvme0n3/)
  })

  test('unallocated=: room for another namespace', async () => {
    const id = await ask<{ tnvmcap: number; unvmcap: number }>(
      'size=16M,unallocated=8M',
      'id-ctrl',
      '/dev/nvme0',
    )
    expect(id).toMatchObject({ tnvmcap: 24 * 2 ** 20, unvmcap: 8 * 2 ** 20 })
  })

  test.each([1, 2, 3])(
    'ms=8,pi=%i: data pass, and what was spoilt on the way in is found',
    async type => {
      for (const more of ['', ',pil=1', ',ext=1', ',lba=4096']) {
        const device = `size=16M,ms=8,pi=${type}${more}`
        const good = await run(device, 'rw=randwrite\nsize=1m\nverify=crc32c\niodepth=4\n')
        expect(job(good, 'a').error).toBe(0)
      }
      // without protection the spoilt block is read well, and only the job's own check finds it
      for (const [words, line] of [
        [`ms=8,pi=${type}`, /Input\/output error/],
        ['ms=0', /verif/],
      ] as const) {
        const device = `nvme,size=16M,${words},fault=corrupt/op:write/nth:3`
        const { failures } = await execute(
          ['j.fio', '--clock=virtual', '--cpus=1', `--device=${device}`],
          { 'j.fio': '[a]\nfilename=/dev/nvme0n1\ndirect=1\nrw=write\nsize=64k\nverify=crc32c\n' },
        )
        expect(failures.join(), device).toMatch(line)
      }
    },
  )

  test('ms= without pi=: the namespace is there, a job is told why it cannot use it', async () => {
    const ns = await ask<{ flbas: number; lbafs: { ms: number }[] }>(
      'size=16M,ms=64',
      'id-ns',
      '/dev/nvme0n1',
    )
    expect(ns.lbafs[ns.flbas & 15]!.ms).toBe(64)
    await expect(run('size=16M,ms=64', 'rw=read\nsize=1m\n')).rejects.toThrow(/without capacity/)
  })

  test('zoned=: sequential writes fill zones, others are refused', async () => {
    const device = 'size=8M,zoned=1,zone-size=1M'
    const good = await run(device, 'rw=write\nsize=4m\n')
    expect(job(good, 'a').write.totalIos).toBe(1024)
    const { failures } = await execute(
      ['j.fio', '--clock=virtual', '--cpus=1', `--device=nvme,${device}`],
      { 'j.fio': '[a]\nfilename=/dev/nvme0n1\nrw=randwrite\nbs=4k\nsize=1m\n' },
    )
    expect(failures.length).toBe(1)
  })

  test('cmb=, wrr=: what registers say', async () => {
    const regs = await ask<{ cap: string; cmbsz: number }>(
      'size=16M,cmb=1M',
      'show-regs',
      '/dev/nvme0',
    )
    expect(regs.cmbsz >>> 12).toBe(256)
    expect((BigInt(regs.cap) >> 17n) & 1n).toBe(1n)
    const plain = await ask<{ cap: string; cmbsz: number }>(
      'size=16M,wrr=0',
      'show-regs',
      '/dev/nvme0',
    )
    expect(plain.cmbsz).toBe(0)
    expect((BigInt(plain.cap) >> 17n) & 1n).toBe(0n)
  })

  test('cmb=: submission queues in the controller, as deep as they fit; cmb-sqs=0: in the host', async () => {
    for (const [words, depth, inside] of [
      ['cmb=1M,depth=256', 255, true],
      ['cmb=16K,depth=256', 127, true],
      ['cmb=4K,depth=256', 255, false],
      ['cmb=1M,depth=256,cmb-sqs=0', 255, false],
    ] as const) {
      const m = await openNvme([`nvme,size=16M,${words}`], '4.19')
      const { dev } = { dev: m.ctrls[0]!.priv as nvme_dev }
      expect(dev.tagset!.queue_depth, words).toBe(depth)
      const { at, bytes } = dev.memory.cmb!
      for (const { sq } of dev.queues.slice(1))
        expect(sq >= at && sq + (depth + 1) * 64 <= at + bytes, words).toBe(inside)
      await m.stop()
      const result = await run(
        `size=16M,${words}`,
        'rw=randwrite\nsize=1m\niodepth=64\nverify=crc32c\n',
      )
      expect(job(result, 'a').read.totalIos).toBe(256)
    }
  })

  test('crdt=: another try waits as long as the status says', async () => {
    for (const [status, ms] of [
      ['0x0006', 0],
      ['0x0806', 100],
      ['0x1006', 2000],
      ['0x1806', 300],
    ] as const) {
      const device = `size=16M,crdt=100ms/2s/300ms,fault=status:${status}/op:read/nth:9`
      const { read } = job(await run(device, 'rw=randread\nsize=64k\n'), 'a')
      expect(read.totalIos).toBe(16)
      expect(read.runtimeNs / 1e6, status).toBeGreaterThanOrEqual(ms)
      expect(read.runtimeNs / 1e6, status).toBeLessThan(ms + 20)
    }
  })

  test('hmb=: the driver lends it', async () => {
    const device = 'size=16M,hmb=1M/64K'
    const id = await ask<{ hmpre: number; hmmin: number }>(device, 'id-ctrl', '/dev/nvme0')
    expect(id).toMatchObject({ hmpre: 256, hmmin: 16 })
    const feature = await ask<{ value: number }>(device, 'get-feature', '/dev/nvme0', '-f', '13')
    expect(feature.value & 1).toBe(1)
    expect(job(await run(device, 'rw=randread\nsize=1m\n'), 'a').read.totalIos).toBe(256)
  })

  test('shadow=, sgl=, mdts=, inflight=, ready=: jobs pass', async () => {
    const { oacs } = await ask<{ oacs: number }>('size=16M,shadow=1', 'id-ctrl', '/dev/nvme0')
    expect(oacs & 0x100).toBe(0x100)
    const { sgls, mdts } = await ask<{ sgls: number; mdts: number }>(
      'size=16M,sgl=1,mdts=64K',
      'id-ctrl',
      '/dev/nvme0',
    )
    expect(sgls & 3).not.toBe(0)
    expect(mdts).toBe(4)
    const all = 'size=16M,shadow=1,sgl=1,mdts=64K,inflight=4,ready=3ms'
    const result = await run(all, 'rw=randwrite\nbs=128k\nsize=4m\niodepth=8\nverify=crc32c\n')
    expect(job(result, 'a').write.totalIos).toBe(32)
  })

  test.each(['cid', 'phase'])('fault=corrupt:%s: the command is recovered', async what => {
    const device = `size=16M,fault=corrupt:${what}/op:read/nth:7`
    const result = await run(device, 'rw=randread\nsize=256k\n')
    expect(job(result, 'a').read.totalIos).toBe(64)
    expect(job(result, 'a').read.runtimeNs).toBeGreaterThan(25e9)
  })

  test.each([
    ['namespaces=2', /namespaces=2 needs size=/],
    ['size=2M,namespaces=32', /a namespace has 1M at least/],
    ['size=16M,pi=1', /pi=1 needs metadata/],
    ['size=16M,pil=1', /pil needs pi=/],
    ['size=16M,ext=1', /ext needs ms=/],
    ['size=16M,ms=9', /ms=9: must be one of 0, 8, 16, 64/],
    ['size=16M,zone-size=1M', /zone-size without zoned=1/],
    ['size=16M,zoned=1,zone-size=3M', /not whole zones/],
    ['size=16M,zoned=1,zone-capacity=32M', /zone-capacity is above/],
    ['size=16M,zoned=1,max-open=4,max-active=2', /max-open is above/],
    ['size=16M,hmb=64K/1M', /hmb=64K\/1M: must be SIZE or SIZE\/LEAST/],
    ['size=16M,mdts=12K', /4K times a power of two/],
    ['size=16M,cmb=6000', /cmb is not a multiple/],
    ['size=16M,cmb-sqs=1', /cmb-sqs needs cmb=/],
    ['size=16M,crdt=5ms', /crdt=5ms: must be up to three times/],
    ['size=16M,inflight=0', /inflight=0: must be a whole number/],
    ['size=16M,fault=corrupt:tail', /corrupt takes nothing, :data, :cid or :phase/],
  ])('%s is refused', async (device, line) => {
    const error = await run(device, 'rw=read\nsize=1m\n').catch((e: unknown) => e as Error)
    expect(error).toBeInstanceOf(UserError)
    expect((error as Error).message).toMatch(line)
  })

  describe('poll-queues=, write-queues=', () => {
    const device = 'nvme,size=64M,namespaces=1,poll-queues=1,write-queues=1'
    const mixed = (clock: Clock, options: string[], lines: string, disk = device) =>
      succeed(['j.fio', `--clock=${clock}`, '--cpus=2', `--device=${disk}`, ...options], {
        'j.fio': `[global]\nfilename=/dev/nvme0n1\ndirect=1\nbs=4k\nsize=1m\nioengine=io_uring\niodepth=8\n${lines}`,
      })
    const used = (result: RunResult) =>
      result.phasebit.queues.map(({ completion, submitted, polled, interrupts }) => ({
        completion,
        submitted,
        polled,
        interrupts,
      }))

    test.each(CLOCKS)(
      'hipri jobs are polled on their queue, others keep theirs: %s',
      async clock => {
        const result = await mixed(
          clock,
          [],
          '[p]\nrw=randwrite\nverify=crc32c\nhipri=1\n[w]\nrw=write\noffset=8m\n[r]\nrw=randread\noffset=16m\n',
        )
        for (const name of ['p', 'w', 'r']) expect(job(result, name).error).toBe(0)
        const queues = used(result)
        expect(queues.map(q => q.completion)).toEqual(['irq', 'irq', 'irq', 'poll'])
        const [writes, ...rest] = queues.map(q => q.submitted)
        const polled = rest.pop()
        expect([writes, rest[0]! + rest[1]!, polled]).toEqual([256, 256, 512])
        expect(queues[3]).toMatchObject({ polled: 512, interrupts: 0 })
        expect(queues.slice(0, 3).every(q => q.polled === 0 && q.interrupts === q.submitted)).toBe(
          true,
        )
      },
    )

    test('a share of polled I/Os, a scheduler, two namespaces', async () => {
      const disk = `${device},sched=mq-deadline`.replace('namespaces=1', 'namespaces=2')
      const lines =
        'ioengine=pvsync2\nhipri=1\nhipri_percentage=50\n[a]\nrw=randrw\n[b]\nfilename=/dev/nvme0n2\nrw=randrw\n'
      const result = await mixed('virtual', [], lines, disk)
      const queues = used(result)
      const polled = queues.filter(q => q.completion === 'poll')
      expect(polled.reduce((n, q) => n + q.polled, 0)).toBeGreaterThan(150)
      expect(polled.every(q => q.polled === q.submitted && q.interrupts === 0)).toBe(true)
      expect(queues.reduce((n, q) => n + q.polled + q.interrupts, 0)).toBe(512)
    })

    test('without hipri nothing goes there; without a probe the last queues are polled', async () => {
      const probed = used(await mixed('virtual', [], '[a]\nrw=randrw\n'))
      expect(probed.map(q => q.submitted > 0)).toEqual([true, true, false, false])
      const plain = used(
        await mixed('virtual', [], '[a]\nrw=randrw\nnumjobs=2\n', 'nvme,size=64M,poll-queues=1'),
      )
      expect(plain.map(q => q.completion)).toEqual(['irq', 'poll'])
      expect(plain[1]!.polled).toBe(256)
    })

    test('an open-channel controller may have some; a target polls for nothing', async () => {
      const result = await succeed(
        [
          'j.fio',
          '--clock=virtual',
          '--cpus=2',
          '--device=nvme,ocssd=2.0,poll-queues=1',
          '--device=pblk,parent=nvme0n1',
        ],
        {
          'j.fio':
            '[a]\nfilename=/dev/pblk0\nrw=randwrite\nsize=1m\nbs=4k\nverify=crc32c\nioengine=io_uring\nhipri=1\n',
        },
      )
      expect(job(result, 'a').error).toBe(0)
      expect(job(result, 'a').read.totalIos).toBe(256)
      const queues = used(result).filter((_, i) => result.phasebit.queues[i]!.device === 'nvme0n1')
      expect(queues.map(q => q.completion)).toEqual(['irq', 'irq', 'poll'])
      expect(queues[2]!.submitted).toBe(0)
    })

    test('a controller that is probed: what it cannot be', async () => {
      await expect(mixed('virtual', [], '[a]\n', 'nvme,size=64M,sgl=1,wait=poll')).rejects.toThrow(
        /wait=poll: .*poll-queues=/,
      )
      await expect(
        mixed('virtual', ['--kernel=4.9'], '[a]\n', 'nvme,size=64M,poll-queues=1'),
      ).rejects.toThrow(/the driver of 4.9 has neither/)
    })
  })
})
