// null_blk as a disk of a machine: both clocks, its queue and irq modes, memory, faults. Tests are named after the
// statements of the null_blk sheet.

import { describe, expect, it } from 'vitest'
import { CTX_DISPATCHED_SYNC, HC_QUEUED, Q_CTXS } from '../../../assembly/layout.js'
import { hostKernelBytes } from '../../../src/machine/host-kernel.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { diskConfig } from '../../../src/workload/machine-config.js'
import type { Io } from '../../../src/workload/open-io.js'
import { openMachine, type OpenMachine } from '../../../src/workload/open-machine.js'
import { CLOCKS, execute, iops, job, succeed } from '../../e2e/run.js'
import { countedIos, machineConfig, runJobs, startJob } from './helper.js'

const JOB = '[a]\nfilename=/dev/nullb0\ndirect=1\nioengine=libaio\nrw=randrw\nbs=4k\nsize=64m\n'

function nullBlk(keys: string): ReturnType<typeof diskConfig> {
  return diskConfig(parseDevices([`null_blk,size=64${keys}`])[0] as never, 'virtual', 0, 4)
}

/** Runs one job of random reads on each of these CPUs. */
async function run(keys: string, cpus: number, depth: number, ios = 400): Promise<Machine> {
  const machine = bootMachine(machineConfig({ cpus, jobs: cpus, disks: [nullBlk(keys)] }))
  await machine.start()
  const jobs = Array.from({ length: cpus }, (_, i) =>
    startJob(machine, i, i, machine.disks[0]!, { ios, depth, batch: Math.min(depth, 16) }),
  )
  await runJobs(machine, jobs)
  for (const j of jobs) expect(countedIos(machine, j)).toBe(ios)
  expect(machine.books()).toMatchObject({ submitted: cpus * ios, balanced: true })
  return machine
}

async function open(keys: string): Promise<OpenMachine> {
  return openMachine({ devices: [`null_blk,size=64${keys}`] })
}

/** What each of these I/Os ends with: 0, or an errno. */
async function outcomes(m: OpenMachine, ios: readonly Io[]): Promise<number[]> {
  return ios.map(io => {
    m.submit(io)
    return m.poll()[0]!.errno
  })
}

describe('a null_blk disk', () => {
  it.each(CLOCKS)('runs jobs in its queue and irq modes (%s clock)', async clock => {
    for (const keys of [
      '',
      ',queue_mode=0',
      ',irqmode=0',
      ',irqmode=2',
      ',queue_mode=0,irqmode=2',
    ]) {
      const args = ['j.fio', `--clock=${clock}`, '--device', `null_blk,size=64${keys}`]
      const result = await succeed([...args, '--iodepth=8', '--number_ios=1000'], { 'j.fio': JOB })
      const { read, write } = job(result, 'a')
      expect(read.totalIos + write.totalIos).toBe(1000)
    }
  })

  it('runs jobs over a single queue', async () => {
    for (const keys of [
      '',
      ',irqmode=0',
      ',irqmode=2',
      ',irqmode=2,hw_queue_depth=2',
      ',mbps=50',
      ',memory_backed=1,cache_size=1',
    ]) {
      const args = [
        'j.fio',
        '--clock=virtual',
        '--cpus=2',
        '--device',
        `null_blk,size=64,queue_mode=1${keys}`,
      ]
      const text = `${JOB}fsync=10\n`
      const result = await succeed([...args, '--iodepth=8', '--number_ios=1000'], { 'j.fio': text })
      const { read, write } = job(result, 'a')
      expect(read.totalIos + write.totalIos).toBe(1000)
      expect(result.phasebit.books.balanced).toBe(true)
    }
  })

  it.each(CLOCKS)(
    'is there without being asked for when a job names it (%s clock)',
    async clock => {
      const text = `${JOB}number_ios=100\n[b]\nfilename=/dev/nvme0n1\nrw=read\nsize=64k\ndirect=1\n`
      const result = await succeed(['j.fio', `--clock=${clock}`], { 'j.fio': text })
      expect(result.disks.map(disk => disk.name).sort()).toEqual(['nullb0', 'nvme0n1'])
    },
  )

  it('shares queues between CPUs, by the map of its queue mode', async () => {
    const map = async (keys: string): Promise<readonly number[]> =>
      (await run(keys, 4, 4, 100)).disks[0]!.map
    expect(await map(',submit_queues=3')).toEqual([0, 1, 2, 0])
    expect(await map(',submit_queues=3,queue_mode=0')).toEqual([0, 0, 1, 1])
    expect(await map(',use_per_node_hctx=1')).toEqual([0, 0, 0, 0])
    expect(await map(',submit_queues=16')).toEqual([0, 1, 2, 3])
  })

  it('null-blk 11.9: timers of commands run side by side', async () => {
    const rate = async (keys: string, depth: number): Promise<number> =>
      (400 * 1e9) / (await run(`,irqmode=2${keys}`, 1, depth)).now()
    expect(await rate('', 1)).toBeLessThan(100_000)
    expect(await rate('', 1)).toBeGreaterThan(50_000)
    expect(await rate('', 64)).toBeLessThan(6_400_000)
    expect(await rate(',completion_nsec=1000000', 64)).toBeGreaterThan(40_000)
    expect(await rate(',completion_nsec=1000000,queue_mode=0', 64)).toBeGreaterThan(40_000)
    expect(await rate(',completion_nsec=1000000,hw_queue_depth=4', 64)).toBeLessThan(4000)
  })

  it('waits for a command when there are fewer than I/Os', async () => {
    for (const mode of [0, 2]) {
      const machine = await run(`,irqmode=2,queue_mode=${mode},hw_queue_depth=2`, 2, 16, 100)
      expect(machine.cpuCounters(0).noTag).toBeGreaterThan(0)
    }
  })

  it('null-blk 11.18: a bio of 1 MiB becomes nine requests; none is split in bio mode', async () => {
    const requests = async (keys: string): Promise<number> => {
      const machine = bootMachine(machineConfig({ disks: [nullBlk(keys)] }))
      const [disk] = machine.disks
      await machine.start()
      const job = startJob(machine, 0, 0, disk!, { ios: 1, depth: 1, bytes: 2 ** 20 })
      await runJobs(machine, [job])
      return machine.view.u64(machine.view.u32(disk!.q + Q_CTXS) + CTX_DISPATCHED_SYNC)
    }
    expect(await requests('')).toBe(9)
    expect(await requests(',bs=4096')).toBe(9)
    expect(await requests(',queue_mode=0')).toBe(1)
  })

  it('null-blk 11.18: nine on a single queue, too', async () => {
    const kernel = { kernel: {}, extraBytes: hostKernelBytes(1, 1) + 2 ** 22 }
    const machine = bootMachine(machineConfig({ disks: [nullBlk(',queue_mode=1')], ...kernel }))
    const [disk] = machine.disks
    await machine.start()
    await runJobs(machine, [startJob(machine, 0, 0, disk!, { ios: 1, depth: 1, bytes: 2 ** 20 })])
    expect(machine.view.u64(disk!.queues[0]!.hctx + HC_QUEUED)).toBe(9)
  })
})

describe('a null_blk disk with memory', () => {
  it('null-blk 11.14: keeps sectors; what was never written reads as zeros', async () => {
    for (const keys of ['', ',queue_mode=0', ',cache_size=1', ',irqmode=2']) {
      const m = await open(`,memory_backed=1${keys}`)
      await m.write(9 * 512, new Uint8Array(512).fill(7))
      const page = await m.read(8 * 512, 4096)
      expect(page.indexOf(7)).toBe(512)
      expect(page.reduce((sum, byte) => sum + byte, 0)).toBe(512 * 7)
      expect(m.balanced).toBe(true)
      await m.close()
    }
  })

  it('forgets what is discarded, where it was told to', async () => {
    const m = await open(',memory_backed=1,discard=1')
    await m.write(0, new Uint8Array(8192).fill(1))
    await m.trim(4096, 4096)
    expect((await m.read(0, 8192)).reduce((sum, byte) => sum + byte, 0)).toBe(4096)
    await m.close()
    const none = await open(',memory_backed=1')
    await expect(none.trim(0, 4096)).rejects.toMatchObject({ errno: 95 })
    await none.close()
  })

  it('passes verification, and fails it without memory', async () => {
    const text = `${JOB}verify=crc32c\niodepth=4\nnumber_ios=200\n`
    const verify = (keys: string) =>
      execute(['j.fio', '--clock=virtual', '--device', `null_blk,size=64${keys}`], {
        'j.fio': text,
      })
    expect((await verify(',memory_backed=1')).failures).toEqual([])
    expect((await verify(',memory_backed=1,cache_size=1,bs=4096')).failures).toEqual([])
    expect((await verify('')).failures).toHaveLength(1)
  })

  it('says ENOSPC when mem= is used up', async () => {
    const m = await open(',memory_backed=1,mem=1M')
    const data = new Uint8Array(65_536)
    const ios = Array.from(
      { length: 17 },
      (_, i): Io => ({ op: 'write', offset: i * 65_536, data }),
    )
    expect(await outcomes(m, ios)).toEqual([...Array.from({ length: 16 }, () => 0), 28])
    await m.close()
  })
})

describe('a null_blk disk that fails', () => {
  it('null-blk 11.16: bad blocks', async () => {
    const m = await open(',badblocks=100-103')
    const read = (first: number, last: number): Io => {
      return { op: 'read', offset: first * 512, length: (last - first + 1) * 512 }
    }
    const ios = [read(96, 99), read(96, 100), read(103, 103), read(104, 104)]
    expect(await outcomes(m, ios)).toEqual([0, 5, 5, 0])
    const flush: Io = { op: 'flush' }
    expect(await outcomes(m, [flush])).toEqual([0])
    await m.close()
  })

  it('null-blk 11.17: zones are written at their write pointer', async () => {
    const m = await open(',zoned=1,zone_size=1')
    const write = (sector: number): Io => {
      return { op: 'write', offset: sector * 512, data: new Uint8Array(4096) }
    }
    expect(await outcomes(m, [write(0), write(16), write(8), write(2048)])).toEqual([0, 5, 0, 0])
    await m.close()
  })

  it('null-blk 11.11: requests that are put back come again, and the I/O succeeds', async () => {
    for (const fault of ['1/100/0/2', '100/100/1/1']) {
      const text = `${JOB}iodepth=4\nnumber_ios=300\n`
      const device = `null_blk,size=64,submit_queues=2,requeue=${fault}`
      const args = ['j.fio', '--clock=virtual', '--device', device]
      const { read, write } = job(await succeed(args, { 'j.fio': text }), 'a')
      expect(read.totalIos + write.totalIos).toBe(300)
    }
  })

  it('has one thread in real time where TypeScript has a part in its commands', async () => {
    const run = (...args: string[]) =>
      execute(
        ['j.fio', '--device', 'null_blk,size=64,memory_backed=1', '--number_ios=50', ...args],
        {
          'j.fio': JOB,
        },
      )
    for (const cpus of [1, 2]) {
      const { result, failures } = await run(`--cpus=${cpus}`)
      expect(failures).toEqual([])
      expect(result.phasebit).toMatchObject({ cpus, cpuThreads: 1, books: { balanced: true } })
    }
  })

  it('takes tags from one set where it shares it', async () => {
    const text = `${JOB}iodepth=8\nnumber_ios=200\n[b]\nfilename=/dev/nullb1\nrw=read\nsize=1m\ndirect=1\n`
    const device = 'null_blk,size=64,nr_devices=2,shared_tags=1,irqmode=2,hw_queue_depth=4'
    const result = await succeed(['j.fio', '--clock=virtual', '--device', device], {
      'j.fio': text,
    })
    expect(job(result, 'b').read.totalIos).toBe(256)
    expect(iops(job(result, 'a'), 'read')).toBeGreaterThan(0)
  })
})
