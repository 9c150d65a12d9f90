// The twelve example job files, run under both clocks and cut short, and data that are spoilt on purpose. What is asserted
// follows from the options: counts, sizes, mixes, coverage; rates only in virtual time, where they are exact.
import { describe, expect, it } from 'vitest'
import type { RunResult } from '../../src/report/result.js'
import { CLOCKS, type Clock, example, execute, ios, iops, job, succeed } from './run.js'

/** Holds for every run. */
function balanced(result: RunResult): void {
  const { books } = result.phasebit
  expect(books).toMatchObject({ balanced: true, inFlight: 0, tagsHeld: 0, failed: 0 })
  expect(books.submitted).toBe(books.completed)
}

async function runExample(clock: Clock, name: string, ...args: string[]): Promise<RunResult> {
  const result = await succeed([example(name), '--clock', clock, ...args])
  balanced(result)
  expect(result.phasebit.clock).toBe(clock)
  return result
}

describe.each(CLOCKS)('the example jobs, %s time', clock => {
  const virtual = clock === 'virtual'

  it('01: the depth is what the job says, and more depth is faster until something is busy', async () => {
    const cut = virtual ? ['--max-runtime=20ms'] : ['--ramp_time=0', '--max-io=500']
    const { jobs, phasebit } = await runExample(clock, '01-randread-qd-sweep', ...cut)
    expect(phasebit.shortened).toBe(virtual ? '--max-runtime 0.02s' : '--max-io 500')
    expect(jobs.map(j => j.header.iodepth)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256])
    jobs.forEach((j, i) => {
      expect(j.read.totalIos).toBeGreaterThan(0)
      expect(j.read.ioBytes).toBe(j.read.totalIos * 4096)
      expect(ios(j).slice(1)).toEqual([0, 0])
      expect(j.depth.level.slice(i + 1).every(n => n === 0)).toBe(true)
    })
    if (!virtual) return
    const rates = jobs.map(j => iops(j, 'read'))
    expect(rates[1] / rates[0]).toBeCloseTo(2, 1)
    for (const rate of rates.slice(2)) expect(rate).toBeGreaterThan(rates[1])
  })

  it('02: four clones on four CPUs, 70 % reads', async () => {
    const { jobs, phasebit } = await runExample(
      clock,
      '02-mixed-70-30-4jobs',
      '--max-io=2000',
      '--ramp_time=0',
    )
    expect(jobs.length).toBe(4)
    expect(phasebit.cpus).toBe(4)
    const reads = jobs.reduce((n, j) => n + j.read.totalIos, 0)
    const all = jobs.reduce((n, j) => n + j.read.totalIos + j.write.totalIos, 0)
    expect(all).toBe(8000)
    expect(reads / all).toBeGreaterThan(0.66)
    expect(reads / all).toBeLessThan(0.74)
    for (const j of jobs) expect(j.write.ioBytes).toBe(j.write.totalIos * 8192)
    expect(new Set(phasebit.queues.map(q => q.cpu)).size).toBe(4)
  })

  it('03: block sizes in the shares that bssplit gives', async () => {
    const result = await runExample(clock, '03-bssplit-fileserver', '--max-io=20000')
    const { read, write } = job(result, 'fileserver')
    expect(read.totalIos + write.totalIos).toBe(20_000)
    expect(read.totalIos / 20_000).toBeCloseTo(0.8, 1)
    const readMean = 0.05 * 512 + 0.6 * 4096 + 0.2 * 16384 + 0.15 * 65536
    const writeMean = 0.7 * 4096 + 0.2 * 65536 + 0.1 * 131072
    expect(read.ioBytes / read.totalIos / readMean).toBeCloseTo(1, 1)
    expect(write.ioBytes / write.totalIos / writeMean).toBeCloseTo(1, 1)
  })

  it('04: skewed jobs do as many I/Os as they shall', async () => {
    const result = await runExample(clock, '04-zipf-hotspot', '--number_ios=3000')
    expect(result.jobs.map(ios)).toEqual([
      [3000, 0, 0],
      [3000, 0, 0],
      [3000, 0, 0],
      [0, 3000, 0],
    ])
  })

  it('05: a sync after so many writes', async () => {
    const result = await runExample(clock, '05-fsync-heavy-wal', '--max-io=500')
    const wal = job(result, 'wal')
    expect(wal.write.totalIos).toBe(500)
    expect(Math.abs(wal.sync.totalIos - wal.write.totalIos)).toBeLessThanOrEqual(1)
    const checkpoint = job(result, 'checkpoint')
    expect(checkpoint.sync.totalIos).toBe(Math.floor(checkpoint.write.totalIos / 64))
  })

  it('06: everything that was written is read back and found good', async () => {
    const result = await runExample(clock, '06-verify-crc32c')
    expect(ios(job(result, 'write-then-check'))).toEqual([16384, 16384, 0])
    expect(ios(job(result, 'check-as-you-go'))).toEqual([2048, 2048, 0])
    expect(result.jobs.every(j => j.error === 0)).toBe(true)
  })

  it('07: rates are kept', async () => {
    const result = await runExample(clock, '07-rate-limited', '--max-runtime=500ms')
    const most = virtual ? 1.01 : 1.1
    const near = (rate: number, wanted: number, least: number): void => {
      expect(rate).toBeLessThan(wanted * most)
      if (virtual) expect(rate).toBeGreaterThan(wanted * least)
    }
    near(iops(job(result, 'fixed-iops'), 'read'), 51200, 0.99)
    const cap = job(result, 'bandwidth-cap')
    near(iops(cap, 'read') * 16384, 64 * 2 ** 20, 0.99)
    near(iops(cap, 'write') * 16384, 16 * 2 ** 20, 0.99)
    const poisson = iops(job(result, 'poisson'), 'read')
    expect(poisson).toBeLessThan(20480 * 1.1)
    if (virtual) expect(poisson).toBeGreaterThan(20480 * 0.9)
  })

  it('08: the search for a depth ends with one that is good enough', async () => {
    const args = virtual ? ['--latency_window=2ms'] : ['--latency_window=20ms', '--max-runtime=1s']
    const result = await runExample(clock, '08-latency-target', ...args)
    const { latencyTarget, read } = job(result, 'find-depth')
    expect(latencyTarget.targetNs).toBe(200_000)
    expect(latencyTarget.depth).toBeGreaterThanOrEqual(1)
    expect(latencyTarget.depth).toBeLessThanOrEqual(128)
    expect(read.totalIos).toBeGreaterThan(0)
    if (virtual) {
      const over = read.clat.buckets!.reduce((n, c, i) => (i > 1000 ? n + c : n), 0)
      expect(over / read.totalIos).toBeLessThan(0.01)
    }
  })

  it('09: completion is named for what it was', async () => {
    const cut = virtual ? '--max-runtime=20ms' : '--max-io=500'
    const result = await runExample(clock, '09-poll-vs-irq', '--ramp_time=0', cut)
    expect(result.jobs.every(j => j.read.totalIos > 0)).toBe(true)
    const used = result.phasebit.queues.filter(q => q.completed > 0)
    expect(used.map(q => q.cpu)).toEqual([1])
    for (const q of used) expect(q.inline + q.polled + q.interrupts).toBe(q.completed)
    if (virtual) return
    expect(used.map(q => q.completion)).toEqual(['inline'])
    expect(result.phasebit.notes.filter(n => n.startsWith('hipri')).length).toBe(1)
  })

  it('10: trims, alone and before writes', async () => {
    const result = await runExample(clock, '10-trim')
    expect(result.jobs.map(ios)).toEqual([
      [0, 0, 512],
      [0, 0, 4096],
      [20480, 0, 0],
      [0, 1024, 1024],
    ])
    expect(job(result, 'wipe').trim.ioBytes).toBe(512 * 2 ** 20)
  })

  it('11: sequential streams', async () => {
    const cut = virtual ? [] : ['--max-io=200']
    const result = await runExample(clock, '11-sequential-streams', ...cut)
    const full = [[8192], [0, 2048], [0, 2048], [0, 2048], [0, 2048], [2048], [32768]]
    result.jobs.forEach((j, i) => {
      const [reads = 0, writes = 0] = virtual ? full[i] : full[i].map(n => Math.min(n, 200))
      expect(ios(j)).toEqual([reads, writes, 0])
    })
    expect(result.jobs.filter(j => j.groupid === 1).length).toBe(4)
  })

  it.each([
    '--iodepth=1',
    '--iodepth=2',
    '--iodepth=1 --verify_backlog=8',
    '--iodepth=4 --verify_backlog=5 --verify_backlog_batch=2',
    '--iodepth=1 --device=nvme,sched=kyber',
    '--iodepth=1 --device=nvme,model=fixed,units=2,latency=20us',
  ])("a digest that is not the core's is checked at any depth: %s", async more => {
    const fixed =
      '--name=a --filename=/dev/nvme0n1 --direct=1 --rw=randwrite --size=128k --ioengine=libaio'
    const result = await succeed([
      `--clock=${clock}`,
      ...fixed.split(' '),
      '--verify=md5',
      ...more.split(' '),
    ])
    balanced(result)
    expect(ios(job(result, 'a'))).toEqual([32, 32, 0])
  })

  it('finds data that were spoilt on the way, and says where', async () => {
    const text = [
      '[global]',
      'filename=/dev/nvme0n1',
      'ioengine=libaio',
      'direct=1',
      'bs=4k',
      'size=1m',
      'rw=randwrite',
      'iodepth=8',
      ...['crc32c', 'md5', 'pattern'].flatMap(m => [
        `[${m}]`,
        'stonewall',
        `verify=${m}`,
        ...(m === 'pattern' ? ['verify_pattern=0x5a'] : []),
      ]),
      '[untouched]',
      'stonewall',
      'verify=crc32c',
      'offset=1m',
    ].join('\n')
    const { result, failures } = await execute(
      ['v.fio', '--clock', clock, '--device', 'nvme,size=64M,fault=corrupt/op:read/lba:800-807'],
      { 'v.fio': text },
    )
    const named = ['crc32c', 'md5', 'pattern']
    expect(result.jobs.map(j => j.error)).toEqual([84, 84, 84, 0])
    expect(failures.length).toBe(3)
    named.forEach((name, i) => {
      expect(failures[i]).toMatch(
        new RegExp(
          `^job ${name}: verify=${name} failed at offset 409600 of /dev/nvme0n1: .*found 0x`,
        ),
      )
    })
    expect(result.jobs.map(ios)).toEqual(Array.from({ length: 4 }, () => [256, 256, 0]))
    balanced(result)
  })
})
