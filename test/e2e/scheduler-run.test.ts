// phasebit run in virtual time with what needs an emulated kernel: schedulers, a limit of throughput, timeouts. Tests of
// null_blk are named after the statements of its sheet.

import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import { execute, job, succeed } from './run.js'

const DISKS = { null_blk: '/dev/nullb0', nvme: '/dev/nvme0n1' } as const

type Kind = keyof typeof DISKS

function file(kind: Kind, lines: string): Record<string, string> {
  return {
    'j.fio': `[a]\nfilename=${DISKS[kind]}\ndirect=1\nioengine=libaio\nbs=4k\nsize=32m\n${lines}`,
  }
}

async function run(device: string, lines: string) {
  const kind = device.split(',')[0] as Kind
  const result = await succeed(
    ['j.fio', '--clock=virtual', '--cpus=4', '--device', device],
    file(kind, lines),
  )
  const { read, write } = job(result, 'a')
  return {
    ios: read.totalIos + write.totalIos,
    ms: Math.max(read.runtimeNs, write.runtimeNs) / 1e6,
    result,
  }
}

const DEVICES = ['null_blk,size=64', 'null_blk,size=64,irqmode=2,hw_queue_depth=4', 'nvme,size=64M']

describe('schedulers in a run', () => {
  for (const sched of ['mq-deadline', 'kyber']) {
    it.each(DEVICES)(`%s,sched=${sched}: every I/O ends`, async device => {
      const text = `${device},sched=${sched}`
      expect((await run(text, 'rw=randrw\niodepth=32\nnumber_ios=1500\n')).ios).toBe(1500)
      expect((await run(text, 'rw=read\niodepth=16\niodepth_batch=8\nnumber_ios=800\n')).ios).toBe(
        800,
      )
      const synced = await run(text, 'rw=randwrite\niodepth=4\nfsync=8\nnumber_ios=300\n')
      expect(synced.ios).toBe(300)
    })

    it(`${sched}: several jobs on several CPUs, deeper than there are tags`, async () => {
      const text = `nvme,size=64M,queues=2,depth=17,sched=${sched}`
      const lines = 'rw=randrw\niodepth=64\nnumber_ios=500\nnumjobs=4\n'
      const { result } = await run(text, lines)
      expect(result.jobs.reduce((n, j) => n + j.read.totalIos + j.write.totalIos, 0)).toBe(2000)
    })

    it(`${sched}: verification finds what was written`, async () => {
      const text = `nvme,size=64M,sched=${sched}`
      await run(text, 'rw=randwrite\niodepth=8\nverify=crc32c\nsize=2m\n')
    })

    it(`${sched}: the same run gives the same result`, async () => {
      const once = async (): Promise<string> => {
        const { result } = await run(
          `nvme,size=64M,sched=${sched}`,
          'rw=randrw\niodepth=8\nsize=2m\n',
        )
        return JSON.stringify(result.jobs)
      }
      expect(await once()).toBe(await once())
    })
  }

  it('are refused where they cannot be', async () => {
    const refused = async (device: string, clock: string): Promise<unknown> =>
      execute(
        ['j.fio', `--clock=${clock}`, '--cpus=2', '--device', device],
        file('null_blk', 'rw=read\n'),
      )
    const all = [
      refused('null_blk,size=64,sched=cfq', 'virtual'),
      refused('null_blk,size=64,sched=kyber,no_sched=1', 'virtual'),
      refused('null_blk,size=64,sched=kyber,queue_mode=0', 'virtual'),
      refused('null_blk,size=64,sched=kyber,no_sched=1', 'real'),
    ]
    for (const one of all) await expect(one).rejects.toThrow(UserError)
  })
})

describe('null_blk in a run', () => {
  it('null-blk 11.5: mbps bounds the throughput', async () => {
    for (const [mbps, memory] of [
      [10, 0],
      [10, 1],
      [50, 1],
    ]) {
      const device = `null_blk,size=64,mbps=${mbps},memory_backed=${memory}`
      const { ms } = await run(device, 'rw=randwrite\niodepth=16\nsize=16m\n')
      expect(ms).toBeGreaterThan((0.93 * 16_000) / mbps!)
      expect(ms).toBeLessThan((1.07 * 16_000) / mbps!)
    }
  })

  it('null-blk 11.12: a command that is never answered ends when its time is over', async () => {
    const { ms, ios } = await run(
      'null_blk,size=64,timeout=100/100/0/-1',
      'rw=read\nnumber_ios=150\n',
    )
    expect(ios).toBe(150)
    expect(ms).toBeGreaterThan(5000)
    expect(ms).toBeLessThan(10_500)
  })

  it('blk-timers 1: ... after 6 s where timers are exact, else when the wheel has it', async () => {
    const ms = async (timer: string): Promise<number> => {
      const args = ['--clock=virtual', '--cpus=1', '--machine=m.json']
      const lost = ['--device', 'null_blk,size=64,timeout=1/100/0/1']
      const files = { ...file('null_blk', 'rw=read\nnumber_ios=1\n'), 'm.json': timer }
      const { read } = job(await succeed(['j.fio', ...args, ...lost], files), 'a')
      return Math.floor(read.runtimeNs / 1e6)
    }
    expect(await ms('{"timer": "exact"}')).toBe(6000)
    // 1500 jiffies, rounded up to a multiple of 64
    expect(await ms('{}')).toBe(6144)
  })

  it('requests that are put back are done in the end', async () => {
    const text = 'null_blk,size=64,requeue=3/100/0/-1,sched=mq-deadline'
    expect((await run(text, 'rw=randrw\niodepth=8\nnumber_ios=500\n')).ios).toBe(500)
  })
})

describe('a kernel in real time, on the thread of all CPUs', () => {
  async function real(cpus: number, device: string, lines: string) {
    const kind = device.split(',')[0] as Kind
    const args = ['j.fio', '--clock=real', `--cpus=${cpus}`, '--device', device]
    const { phasebit, jobs } = await succeed(args, file(kind, lines))
    expect(phasebit).toMatchObject({ books: { balanced: true, failed: 0 }, cpuThreads: 1, cpus })
    const shared = `the ${cpus} CPUs share one thread of this host, that of the emulated kernel`
    expect(phasebit.notes.includes(shared)).toBe(cpus > 1)
    const ios = jobs.reduce((n, { read, write }) => n + read.totalIos + write.totalIos, 0)
    return { ios, ms: Math.max(...jobs.map(one => one.read.runtimeNs)) / 1e6, phasebit }
  }

  it.each([
    'null_blk,size=64,sched=mq-deadline',
    'null_blk,size=64,sched=kyber,irqmode=2',
    'null_blk,size=64,queue_mode=1',
    'null_blk,size=64,queue_mode=1,irqmode=2,hw_queue_depth=2',
    'null_blk,size=64,mbps=500',
    'null_blk,size=64,memory_backed=1,submit_queues=2',
    'nvme,size=64M,sched=mq-deadline,queues=2',
    'nvme,size=64M,sched=kyber,where=thread',
    'nvme,size=64M,sched=mq-deadline,where=thread,wait=poll,queues=2',
    'nvme,size=64M,model=fixed,units=2,sched=kyber,depth=9',
  ])('%s: every I/O ends, on one CPU and on four', async device => {
    const one = 'rw=randrw\niodepth=8\nfsync=50\nnumber_ios=300\n'
    if (!device.includes('memory_backed')) expect((await real(1, device, one)).ios).toBe(300)
    const four = 'rw=randrw\niodepth=16\nnumber_ios=300\nnumjobs=4\n'
    expect((await real(4, device, four)).ios).toBe(1200)
  })

  it('completions of a shared queue go to the CPU that asked, by its softirq', async () => {
    const device = 'nvme,size=64M,queues=1,sched=mq-deadline'
    const { phasebit } = await real(
      4,
      device,
      'rw=randread\niodepth=4\nnumber_ios=200\nnumjobs=4\n',
    )
    expect(phasebit.queues).toHaveLength(1)
    expect(phasebit.queues[0]).toMatchObject({ completion: 'irq' })
  })

  it('data are what was written, by whichever CPU', async () => {
    const lines = 'rw=randwrite\niodepth=8\nverify=md5\nsize=1m\nnumjobs=2\noffset_increment=1m\n'
    for (const device of [
      'nvme,size=64M,sched=kyber',
      'null_blk,size=64,memory_backed=1,sched=mq-deadline',
    ])
      expect((await real(2, device, lines)).ios).toBe(1024)
  })

  it('mbps bounds the throughput of all CPUs together', async () => {
    const lines = 'rw=read\niodepth=4\nsize=4m\nnumjobs=2\noffset_increment=8m\n'
    const { ms } = await real(2, 'null_blk,size=64,mbps=40', lines)
    // 8 MiB at 40 MB a second take 200 ms at least; what the host adds is not ours
    expect(ms).toBeGreaterThan(180)
  })

  it('a lost request ends by its timeout, after five to six seconds of the host', async () => {
    const device = 'null_blk,size=64,timeout=5/100/0/1'
    const { ios, ms } = await real(2, device, 'rw=randread\niodepth=4\nnumber_ios=50\n')
    expect(ios).toBe(50)
    expect(ms).toBeGreaterThan(4900)
  })
})
