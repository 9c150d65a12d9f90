// Jobs through the page cache: direct=0 and buffered=1, in both clocks.

import { describe, expect, it } from 'vitest'
import type { RunOutcome } from '../../src/workload/run.js'
import type { Dump } from '../../src/workload/dump.js'
import { type Clock, CLOCKS, execute, job } from './run.js'

const BASE = '[global]\nioengine=psync\nbs=4k\nbuffered=1\nfilename=/dev/nvme0n1\n'

interface Ran extends RunOutcome {
  /** /sys/block/nvme0n1/stat at the end. */
  readonly stat: readonly number[]
  readonly dumps: readonly Dump[]
}

async function run(
  text: string,
  args: readonly string[] = [],
  clock: Clock = 'virtual',
  disk?: string,
): Promise<Ran> {
  const dumps: Dump[] = []
  const outcome = await execute(
    ['j.fio', `--clock=${clock}`, '--cpus=1', '--dump=stat', ...args],
    { 'j.fio': disk === undefined ? BASE + text : (BASE + text).replace('/dev/nvme0n1', disk) },
    { onDump: dump => dumps.push(dump) },
  )
  expect(outcome.failures).toEqual([])
  const stat = dumps.at(-1)!.files[0]!.text.trim().split(/\s+/).map(Number)
  return { ...outcome, stat, dumps }
}

/** Sectors read and written by the disk. */
function moved({ stat }: Ran): [read: number, written: number] {
  return [stat[2]!, stat[6]!]
}

describe.each(CLOCKS)('buffered jobs in %s time', clock => {
  it('what is written is in the cache, and goes to the disk when the last one closes it', async () => {
    const ran = await run('[w]\nrw=write\nsize=256k\n', [], clock)
    expect(job(ran.result, 'w').write.totalIos).toBe(64)
    expect(moved(ran)).toEqual([0, 512])
  })

  it('a page is read from the disk once', async () => {
    const ran = await run('[r]\nrw=read\nsize=128k\nloops=4\n', [], clock)
    expect(job(ran.result, 'r').read.totalIos).toBe(128)
    expect(moved(ran)).toEqual([256, 0])
  })

  it('verification reads what was written, from the disk', async () => {
    const ran = await run('[v]\nrw=randwrite\nbs=4k\nsize=256k\nverify=crc32c\n', [], clock)
    expect(moved(ran)).toEqual([512, 512])
  })

  it('fsync writes and flushes', async () => {
    const ran = await run('[f]\nrw=randwrite\nsize=128k\nfsync=8\n', [], clock)
    expect(job(ran.result, 'f').sync.totalIos).toBeGreaterThanOrEqual(3)
    expect(moved(ran)[1]).toBeGreaterThanOrEqual(8 * 8 * 3)
  })

  it('writes smaller than a page keep the rest of it', async () => {
    const ran = await run(
      '[a]\nrw=write\nbs=1k\nsize=64k\nverify=crc32c\ndo_verify=1\n',
      ['--device=nvme,size=64M,lba=4096'],
      clock,
    )
    expect(job(ran.result, 'a').write.totalIos).toBe(64)
    expect(moved(ran)[1]).toBe(128)
  })
})

describe('the page cache of a run', () => {
  it('a second job finds the pages, unless it invalidates them', async () => {
    const two = (line: string): string =>
      `[w]\nrw=write\nsize=128k\n[r]\nstonewall\nrw=read\nsize=128k\n${line}`
    expect(moved(await run(two('')))).toEqual([256, 256])
    expect(moved(await run(two('invalidate=0\n')))).toEqual([0, 256])
  })

  it('a job larger than the cache takes pages from itself', async () => {
    const ran = await run('[r]\nrw=randrw\nsize=4m\nverify=crc32c\n', ['--page-cache=1m'])
    const { read, write } = job(ran.result, 'r')
    expect(write.totalIos).toBeGreaterThan(0)
    expect(read.totalIos).toBeGreaterThan(write.totalIos)
    expect(moved(ran)[1]).toBeGreaterThanOrEqual(write.totalIos * 8)
  })

  it('direct I/O of another job sees what is dirty, and is seen', async () => {
    const text =
      '[w]\nrw=write\nsize=128k\nverify=crc32c\ndo_verify=0\n' +
      '[r]\nstonewall\ndirect=1\nbuffered=0\nrw=read\nsize=128k\nverify=crc32c\n' +
      '[x]\nstonewall\ndirect=1\nbuffered=0\nioengine=libaio\niodepth=8\nrw=write\nsize=128k\nverify=crc32c\n' +
      '[y]\nstonewall\nrw=read\nsize=128k\nverify=crc32c\n'
    const { result } = await run(text)
    expect(job(result, 'y').read.totalIos).toBe(32)
    expect(job(result, 'x').write.totalIos).toBe(32)
  })

  it('periodic write-back takes what is old; laptop mode waits for the disk to be used', async () => {
    const writer = '[w]\nrw=write\nsize=64k\nrate_iops=100000\nthinktime=8s\nthinktime_blocks=16\n'
    const expire = [
      '--sysctl=vm.dirty_expire_centisecs=100',
      '--sysctl=vm.dirty_writeback_centisecs=50',
    ]
    const at = ['--dump-at=200ms,2s']
    const written = ({ dumps }: Ran): number[] =>
      dumps.map(({ files }) => Number(files[0]!.text.trim().split(/\s+/)[6]))
    expect(written(await run(writer, [...expire, ...at]))).toEqual([0, 128])
    const never = ['--sysctl=vm.dirty_writeback_centisecs=60000', ...at]
    expect(written(await run(writer, never))).toEqual([0, 0])
    const reader = `${writer}[r]\nrw=read\noffset=1m\nsize=4k\nstartdelay=100ms\ninvalidate=0\n`
    const laptop = ['--sysctl=vm.laptop_mode=1', ...never]
    expect(written(await run(reader, laptop))).toEqual([0, 128])
  })

  it('a time-based job that only finds pages ends', async () => {
    const { result } = await run('[t]\nrw=randread\nsize=64k\ntime_based\nruntime=5ms\n')
    const { totalIos, runtimeNs } = job(result, 't').read
    expect(runtimeNs).toBeLessThan(5.2e6)
    expect(totalIos).toBeGreaterThan(2000)
  })

  it('many jobs write and read the same disk', async () => {
    const text =
      '[m]\nnumjobs=4\nrw=randrw\nbs=2k-16k\nsize=256k\noffset_increment=256k\nverify=crc32c\nverify_fatal=1\nfdatasync=16\n'
    const ran = await run(text, ['--cpus=2', '--device=nvme,size=64M,queues=2,depth=8'])
    expect(ran.result.jobs).toHaveLength(4)
  })

  it.each([
    'null_blk,size=64,memory_backed=1',
    'null_blk,size=64,queue_mode=1,memory_backed=1',
    'null_blk,size=64,queue_mode=0,memory_backed=1',
  ])('lies over %s', async device => {
    const text = '[v]\nrw=randwrite\nsize=256k\nverify=crc32c\nfsync=10\n'
    const { result } = await run(text, ['--device', device], 'virtual', '/dev/nullb0')
    expect(job(result, 'v').read.totalIos).toBe(64)
  })

  it('trims forget pages', async () => {
    const text = '[t]\nrw=randtrim\nsize=64k\n'
    expect(job((await run(text)).result, 't').trim.totalIos).toBe(16)
  })

  it('errors of write-back reach fsync', async () => {
    const failed = await execute(
      [
        'j.fio',
        '--clock=virtual',
        '--cpus=1',
        '--device=nvme,size=64M,fault=status:0x280/op:write',
      ],
      { 'j.fio': `${BASE}[w]\nrw=write\nsize=64k\nend_fsync=1\n` },
    )
    expect(failed.failures.join()).toMatch(/Input\/output error|I\/O error/i)
  })

  it('refuses a sysctl that is not there, or out of range', async () => {
    const file = { 'j.fio': `${BASE}[w]\nrw=read\nsize=4k\n` }
    const attempt = async (option: string) => execute(['j.fio', option], file)
    await expect(attempt('--sysctl=vm.swappiness=1')).rejects.toThrow(/vm.laptop_mode/)
    await expect(attempt('--sysctl=vm.dirty_ratio=101')).rejects.toThrow(/must be 0 to 100/)
    await expect(attempt('--sysctl=vm.dirty_ratio')).rejects.toThrow(/vm.dirty_ratio=0 to 100/)
    await expect(attempt('--page-cache=1k')).rejects.toThrow(/must be/)
  })
})
