// Options of jobs beyond the plain ones, each run for itself. What is asserted is what the options say, and where a figure is
// fio's own, what fio 3.33 answers to the same job.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatReport } from '../../src/report/report.js'
import type { JobResult, RunResult } from '../../src/report/result.js'
import { installed, requireInCi } from '../unit/report/fio-tool.js'
import { CLOCKS, type Clock, execute, ios, job, succeed } from './run.js'

const TWO = ['--device=nvme,size=1g', '--device=nvme,size=1g']
const BOTH = '--filename=/dev/nvme0n1:/dev/nvme1n1'

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-options-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Runs one job `a` of 24 blocks of 4 KiB on a disk. */
async function runOne(clock: Clock, ...options: string[]): Promise<[JobResult, RunResult]> {
  const fixed = ['--name=a', '--filename=/dev/nvme0n1', '--direct=1', '--ioengine=libaio']
  const result = await succeed([`--clock=${clock}`, ...fixed, '--size=96k', ...options])
  expect(result.phasebit.books).toMatchObject({ balanced: true, inFlight: 0, tagsHeld: 0 })
  return [job(result, 'a'), result]
}

const bios = (result: RunResult): number => result.phasebit.books.submitted

describe.each(CLOCKS)('%s time', clock => {
  it('several disks in one job: they take turns, and each gets its syncs', async () => {
    const result = await succeed(
      `--clock=${clock} ${TWO.join(' ')} --name=a ${BOTH} --direct=1 --rw=write --size=192k --fsync=4 --verify=crc32c --end_fsync=1 --iodepth=4 --ioengine=libaio`.split(
        ' ',
      ),
    )
    const a = job(result, 'a')
    expect(ios(a)).toEqual([48, 48, 0])
    expect(a.sync.totalIos).toBe(11)
    const perDisk = ['nvme0n1', 'nvme1n1'].map(name =>
      result.phasebit.queues
        .filter(q => q.device === name)
        .reduce((sum, q) => sum + q.submitted, 0),
    )
    // 24 writes, 24 reads, 5 or 6 syncs of the 11, and one more at the end
    expect(perDisk.toSorted((x, y) => x - y)).toEqual([54, 55])
    // a sync counts as a write without data
    expect(result.disks.map(d => d.writeIos).toSorted((x, y) => x - y)).toEqual([30, 31])
  })

  it('end_fsync: each pass ends with a sync, which fio does not count', async () => {
    const [once, run] = await runOne(clock, '--rw=write', '--end_fsync=1')
    expect([ios(once), once.sync.totalIos, bios(run)]).toEqual([[0, 24, 0], 0, 25])
    const [, thrice] = await runOne(clock, '--rw=write', '--fsync_on_close=1', '--loops=3')
    expect(bios(thrice)).toBe(75)
    const [, reader] = await runOne(clock, '--rw=read', '--end_fsync=1')
    expect(bios(reader)).toBe(24)
    const [checked, verified] = await runOne(
      clock,
      '--rw=write',
      '--end_fsync=1',
      '--verify=crc32c',
    )
    expect([ios(checked), bios(verified)]).toEqual([[24, 24, 0], 49])
  })

  it('fsync: none after the last write, as in fio', async () => {
    const [a] = await runOne(clock, '--rw=write', '--fsync=4')
    expect(a.sync.totalIos).toBe(5)
    const [b] = await runOne(clock, '--rw=write', '--fsync=4', '--number_ios=8')
    expect(b.sync.totalIos).toBe(1)
  })

  it('write_barrier: a barrier is a flush, and a write that goes to the medium', async () => {
    const [a, run] = await runOne(clock, '--rw=write', '--write_barrier=4')
    expect(ios(a)).toEqual([0, 24, 0])
    expect(bios(run)).toBe(24)
    if (clock === 'real') return
    // barriers are the writes 4, 8, 12, 16 and 20; nvme knows FUA, so there is one flush of 10 us before each
    const [without] = await runOne(clock, '--rw=write', '--write_barrier=24')
    const longer = a.jobRuntimeNs - without.jobRuntimeNs
    expect(longer).toBeGreaterThan(5 * 8000)
    expect(longer).toBeLessThan(6 * 15_000)
  })

  it('serialize_overlap: I/Os to the same block are never in flight together', async () => {
    const few = ['--rw=randwrite', '--norandommap', '--size=4k', '--io_size=400k', '--iodepth=8']
    const device = '--device=nvme,size=1g,model=fixed,latency=2us'
    const [a] = await runOne(clock, ...few, '--serialize_overlap=1', device)
    expect(ios(a)).toEqual([0, 100, 0])
    expect(a.depth.level).toEqual([100, 0, 0, 0, 0, 0, 0])
    const [b] = await runOne(clock, ...few, '--iodepth_batch=8', device)
    expect(b.depth.level[0]).toBeLessThan(50)
  })

  it('io_submit_mode=offload: even a synchronous engine reaches its depth', async () => {
    const sync = ['--rw=randread', '--ioengine=psync', '--iodepth=4', '--size=1m']
    const device = '--device=nvme,size=1g,model=fixed,latency=50us,units=8'
    const [offload] = await runOne(clock, ...sync, '--io_submit_mode=offload', device)
    expect(offload.read.totalIos).toBe(256)
    expect(offload.depth.level[2]).toBeGreaterThan(clock === 'virtual' ? 100 : 0)
    const [inline] = await runOne(clock, ...sync, device)
    expect(inline.depth.level).toEqual([256, 0, 0, 0, 0, 0, 0])
  })

  it('verify_only: checks what another job wrote, and writes nothing itself', async () => {
    const pair = (...second: string[]): string[] =>
      `--clock=${clock} --name=w --filename=/dev/nvme0n1 --direct=1 --size=1m --rw=randwrite --verify=crc32c --do_verify=0`
        .split(' ')
        .concat(
          '--name=c --filename=/dev/nvme0n1 --direct=1 --size=1m --rw=randwrite --verify=crc32c --verify_only=1 --stonewall'.split(
            ' ',
          ),
          second,
        )
    const result = await succeed(pair())
    // fio counts the writes that it only pretends to make
    expect(ios(job(result, 'c'))).toEqual([256, 256, 0])
    expect(bios(result)).toBe(512)
    // more than is noted in one go
    const large = await succeed(pair().map(word => word.replace('size=1m', 'size=20m')))
    expect(job(large, 'c').write.totalIos).toBe(5120)
    const { failures } = await execute(pair('--offset=512k'))
    expect(failures[0]).toMatch(/^job c: verify=crc32c failed at offset 1048576/)
  })

  it('trim_percentage: some of what was written is trimmed, and reads as zeros', async () => {
    const options = ['--rw=randwrite', '--verify=crc32c', '--size=1m', '--trim_backlog=8']
    const [a] = await runOne(clock, ...options, '--trim_percentage=50')
    expect(a.write.totalIos).toBe(256)
    expect(a.trim.totalIos).toBeGreaterThan(80)
    expect(a.trim.totalIos).toBeLessThan(176)
    expect(a.read.totalIos).toBe(256)
    const [b] = await runOne(clock, ...options, '--trim_percentage=50', '--trim_verify_zero=0')
    expect(b.read.totalIos).toBe(256 - b.trim.totalIos)
    const [none] = await runOne(clock, ...options, '--trim_percentage=0')
    expect(ios(none)).toEqual([256, 256, 0])
  })

  it('ignore_error: the errors named do not count, others do', async () => {
    const faulty = [
      `--clock=${clock}`,
      '--device=nvme,size=1g,fault=status:0x4281/op:read/lba:80-87',
      '--name=a',
      '--filename=/dev/nvme0n1',
      '--direct=1',
      '--rw=read',
      '--size=96k',
    ]
    const { result, failures } = await execute([...faulty, '--ignore_error=EIO'])
    expect(failures).toEqual([])
    expect(job(result, 'a')).toMatchObject({ error: 0, firstError: 5, totalErrors: 1 })
    expect(job(result, 'a').read.totalIos).toBe(23)
    const other = await execute([...faulty, '--ignore_error=ENOSPC:EILSEQ,EIO'])
    expect(other.failures).toEqual(['job a: Input/output error'])
  })

  it('cmdprio: latencies by priority', async () => {
    const [a] = await runOne(clock, '--rw=randread', '--size=4m', '--cmdprio_percentage=25')
    const counts = a.read.prios!.map(p => [p.prioclass, p.prio])
    expect(counts).toEqual([
      [0, 0],
      [1, 0],
    ])
    const [low, high] = a.read.prios!.map(p => p.latency.n)
    expect(low! + high!).toBe(1024)
    expect(high!).toBeGreaterThan(190)
    expect(high!).toBeLessThan(320)
    expect(a.write.prios).toEqual([])
    const split = '--cmdprio_bssplit=4k/50/1/3:8k/100/2/1,'
    const [b] = await runOne(clock, '--rw=randrw', '--size=4m', '--bs=4k,8k', split)
    expect(b.read.prios!.map(p => [p.prioclass, p.prio])).toEqual([
      [0, 0],
      [1, 3],
    ])
    expect(b.write.prios!.map(p => [p.prioclass, p.prio, p.latency.n])).toEqual([
      [0, 0, b.write.totalIos],
    ])
  })

  it('flow: two jobs keep the proportion of their weights', async () => {
    const one = (name: string, flow: number): string[] =>
      `--name=${name} --filename=/dev/nvme0n1 --direct=1 --rw=randread --size=16m --flow=${flow} --flow_id=7`.split(
        ' ',
      )
    const result = await succeed([
      `--clock=${clock}`,
      ...one('a', 1),
      '--number_ios=100',
      '--exitall=1',
      '--exit_what=all',
      ...one('b', 3),
    ])
    const [a, b] = [job(result, 'a').read.totalIos, job(result, 'b').read.totalIos]
    expect(a).toBe(100)
    // until a is over, which then leaves b alone for as long as it takes to stop it
    expect(b).toBeGreaterThanOrEqual(295)
  })

  it('replay: a log of fio is done again, action by action', async () => {
    const log = [
      'fio version 3 iolog',
      '0 /dev/nvme0n1 add',
      '0 /dev/nvme0n1 open',
      '0 w add',
      '0 w open',
      '1 /dev/nvme0n1 read 0 4096',
      '2 /dev/nvme0n1 write 8192 4096',
      '3 /dev/nvme0n1 sync 0 0',
      '5 w trim 4096 4096',
      '2000 /dev/nvme0n1 read 4096 8192',
    ].join('\n')
    const replay = async (...more: string[]): Promise<JobResult> => {
      const args = [`--clock=${clock}`, '--name=a', '--direct=1', '--read_iolog=x.log', ...more]
      return job(await succeed(args, { 'x.log': log }), 'a')
    }
    const a = await replay()
    expect([ios(a), a.sync.totalIos, a.read.ioBytes]).toEqual([[2, 1, 1], 1, 12288])
    expect(a.jobRuntimeNs).toBeGreaterThan(1.9e6)
    const skipped = await replay('--replay_skip=write,sync')
    expect([ios(skipped), skipped.sync.totalIos]).toEqual([[2, 0, 1], 0])
    if (clock === 'real') return
    expect((await replay('--replay_no_stall=1')).jobRuntimeNs).toBeLessThan(0.3e6)
    expect((await replay('--replay_time_scale=50')).jobRuntimeNs).toBeGreaterThan(3.9e6)
    expect((await replay('--replay_time_scale=200')).jobRuntimeNs).toBeLessThan(1.2e6)
  })

  it('replay: what write_iolog wrote, more than the core holds at once', async () => {
    const path = join(dir, `${clock}.log`)
    const common = `--clock=${clock} --name=a --direct=1 --ioengine=libaio --iodepth=16`.split(' ')
    const recorded = await succeed(
      [...common, ...TWO, BOTH].concat(
        `--rw=randrw --bs=512,1k --size=6m --fsync=100 --write_iolog=${path}`.split(' '),
      ),
    )
    const again = await succeed([
      ...common,
      ...TWO,
      `--read_iolog=${path}`,
      '--replay_no_stall=1',
      `--write_iolog=${path}.2`,
    ])
    const [a, b] = [job(recorded, 'a'), job(again, 'a')]
    expect(a.read.totalIos + a.write.totalIos).toBeGreaterThan(8192)
    expect(ios(b)).toEqual(ios(a))
    expect(b.sync.totalIos).toBe(a.sync.totalIos)
    expect(bios(again)).toBe(bios(recorded))
    const actions = (file: string): string[] =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter(line => /(read|write)/.test(line))
        .map(line => line.split(' ').slice(1).join(' '))
        .toSorted()
    expect(actions(`${path}.2`)).toEqual(actions(path))
  })
})

describe('think time, virtual time', () => {
  const DEVICE = '--device=nvme,size=1g,model=fixed,latency=10us'
  const reads = ['--rw=randread', DEVICE, '--ioengine=psync']

  it('thinktime_spin burns CPU time, and is part of the think time', async () => {
    const [plain] = await runOne('virtual', ...reads, '--thinktime=100us')
    const [spin] = await runOne('virtual', ...reads, '--thinktime=100us', '--thinktime_spin=60us')
    expect(Math.abs(spin.jobRuntimeNs - plain.jobRuntimeNs)).toBeLessThan(2000)
    const burnt = (j: JobResult): number => j.usrNs + j.sysNs
    expect(burnt(spin) - burnt(plain)).toBeGreaterThan(23 * 59_000)
  })

  it('thinktime_spin for all of the think time', async () => {
    const [a] = await runOne('virtual', ...reads, '--thinktime=20us', '--thinktime_spin=1ms')
    expect(ios(a)).toEqual([24, 0, 0])
  })

  it('thinktime_iotime: a think time each so much time of I/O', async () => {
    const [a] = await runOne(
      'virtual',
      ...reads,
      '--thinktime=1ms',
      '--thinktime_iotime=100us',
      '--size=400k',
    )
    // some 14.5 us each: seven to eight reads between two think times
    expect(a.jobRuntimeNs).toBeGreaterThan(12e6)
    expect(a.jobRuntimeNs).toBeLessThan(17e6)
  })

  it('thinktime_blocks counts what ended, or what was issued', async () => {
    const deep = ['--rw=randread', DEVICE, '--iodepth=4', '--thinktime=1ms', '--thinktime_blocks=6']
    const [ended] = await runOne('virtual', ...deep)
    const [issued] = await runOne('virtual', ...deep, '--thinktime_blocks_type=issue')
    expect(issued.jobRuntimeNs).toBeGreaterThan(ended.jobRuntimeNs)
    expect(ios(ended)).toEqual([24, 0, 0])
  })
})

it('thinktime_spin in real time: the thread is busy, and yields', async () => {
  const [a] = await runOne('real', '--rw=randread', '--thinktime=2ms', '--thinktime_spin=2ms')
  expect(a.jobRuntimeNs).toBeGreaterThan(23 * 2e6)
})

it('iodepth_batch_complete_max: no more than so many are taken at once', async () => {
  const burst = ['--rw=randread', '--iodepth=32', '--iodepth_batch=32', '--size=4m']
  const device = '--device=nvme,size=1g,model=fixed,latency=100us,units=32,wait=irq,coalesce=16/1ms'
  const least = '--iodepth_batch_complete_min=8'
  const [all] = await runOne('virtual', ...burst, least, device)
  expect(all.depth.complete[4]).toBeGreaterThan(0)
  const [few] = await runOne(
    'virtual',
    ...burst,
    least,
    '--iodepth_batch_complete_max=8',
    '--time_based',
    '--runtime=20ms',
    device,
  )
  // classes: 0, up to 4, up to 8, up to 16, ...: only the last ones, when the job is over, come as they are
  expect(few.depth.complete.slice(3).reduce((x, y) => x + y)).toBeLessThanOrEqual(2)
  expect(few.depth.complete[2]).toBeGreaterThan(100)
})

describe('read_iolog, refused before any I/O', () => {
  const start = 'fio version 3 iolog\n0 f add\n0 f open\n'
  it.each([
    [`${start}1 f read 100 512\n`, [], /x\.log: read of 512 bytes at 100 of f: direct I\/O/],
    [`${start}1 f read 0 512\n`, ['--replay_skip=read'], /x\.log: replay_skip leaves nothing/],
    [
      `${start}1 f read 0 512\n`,
      ['--replay_align=1000'],
      /replay_align=1000: must be a power of 2/,
    ],
    [`${start}1 f read 0 512\n`, ['--verify=md5'], /verify=md5: does not go with read_iolog/],
    [
      `${start}1 f read 0 512\n`,
      ['--replay_redirect=/dev/nvme9n1'],
      /the machine has \/dev\/nvme0n1/,
    ],
    ['', [], /x\.log: the file is empty/],
    ['nonsense\n', [], /x\.log:1: not an I\/O log/],
    [
      `${start}1 f read 4194304 512\n`,
      ['--replay_redirect=/dev/nvme0n1', '--device=nvme,size=1m'],
      /the region .* 1 MiB/,
    ],
  ])('%j %j', async (log, options, message) => {
    const args = ['--clock=virtual', '--name=a', '--direct=1', '--read_iolog=x.log', ...options]
    const run = async (): Promise<unknown> => execute(args, { 'x.log': log })
    await expect(run()).rejects.toThrow(message)
  })

  it('replay_scale and replay_align bring a large disk onto a small one', async () => {
    const log = `${start}1 f read 8589934592 512\n2 f write 4295500000 512\n`
    const args =
      '--clock=virtual --name=a --direct=1 --read_iolog=x.log --replay_redirect=/dev/nvme0n1 --replay_scale=4096 --replay_align=4096 --device=nvme,size=4m'
    const result = await succeed(args.split(' '), { 'x.log': log })
    expect(ios(job(result, 'a'))).toEqual([1, 1, 0])
  })
})

describe.each(CLOCKS)('times by operation, %s time', clock => {
  const mean = (j: JobResult, d: 'read' | 'write' | 'trim'): number =>
    clock === 'virtual' ? j[d].clat.mean : j[d].clat.min
  /** One job for each kind of I/O on a disk of its own time for each. */
  const kinds = async (device: string): Promise<[number, number, number, number]> => {
    const result = await succeed(
      [`--clock=${clock}`, `--device=nvme,size=1g,units=1,${device}`].concat(
        ['read', 'write', 'trim'].flatMap(rw =>
          `--name=${rw} --filename=/dev/nvme0n1 --direct=1 --rw=${rw} --size=40k --stonewall=1`.split(
            ' ',
          ),
        ),
        '--name=sync --filename=/dev/nvme0n1 --direct=1 --rw=write --size=40k --stonewall=1 --fsync=1'.split(
          ' ',
        ),
      ),
    )
    const [r, w, t, s] = ['read', 'write', 'trim', 'sync'].map(name => job(result, name))
    const sync = clock === 'virtual' ? s!.sync.lat.mean : s!.sync.lat.min
    return [mean(r!, 'read'), mean(w!, 'write'), mean(t!, 'trim'), sync]
  }
  /** The host adds its own: in virtual time at most 10 us. */
  const near = (found: number, us: number): void => {
    expect(found).toBeGreaterThanOrEqual(us * 1000)
    if (clock === 'virtual') expect(found).toBeLessThan((us + 10) * 1000)
  }

  it('fixed', async () => {
    const times = await kinds('model=fixed,read=300us,write=50us,trim=700us,flush=1ms')
    near(times[0], 300)
    near(times[1], 50)
    near(times[2], 700)
    near(times[3], 1000)
  })

  it('empirical, where what is not said is as for reads', async () => {
    const table = (us: number): string => `50:${us}us/100:${us}us`
    const times = await kinds(`model=empirical,read=${table(200)},flush=${table(900)}`)
    near(times[0], 200)
    near(times[1], 200)
    near(times[2], 200)
    near(times[3], 900)
  })
})

describe('polling, virtual time', () => {
  const device = (wait: string): string =>
    `--device=nvme,size=1g,model=fixed,latency=80us,wait=${wait}`
  const reads = ['--rw=randread', '--size=1m']
  const busy = (j: JobResult): number => (j.usrNs + j.sysNs) / j.jobRuntimeNs

  it('hipri polls a disk that has an interrupt, which comes all the same', async () => {
    const sync = [...reads, '--ioengine=pvsync2']
    const [irq, irqs] = await runOne('virtual', ...sync, device('irq'))
    const [polled, polls] = await runOne('virtual', ...sync, '--hipri=1', device('irq'))
    const [own] = await runOne('virtual', ...sync, device('poll'))
    expect([irq.ctx, polled.ctx, own.ctx]).toEqual([256, 0, 0])
    expect(busy(irq)).toBeLessThan(0.2)
    expect(busy(polled)).toBeGreaterThan(0.95)
    expect(irqs.phasebit.queues[0]).toMatchObject({
      completion: 'irq',
      polled: 0,
      interrupts: 256,
      irqs: 256,
    })
    expect(polls.phasebit.queues[0]).toMatchObject({
      completion: 'poll',
      polled: 256,
      interrupts: 0,
      irqs: 256,
    })
    // no switch to another task and back
    expect(polled.jobRuntimeNs).toBeLessThan(irq.jobRuntimeNs - 255 * 2000)
    expect(own.jobRuntimeNs).toBeLessThan(polled.jobRuntimeNs)
  })

  it('hipri_percentage polls for a share', async () => {
    const [some, run] = await runOne(
      'virtual',
      ...reads,
      '--ioengine=pvsync2',
      '--hipri=1',
      '--hipri_percentage=25',
      device('irq'),
    )
    const { polled, interrupts } = run.phasebit.queues[0]!
    expect(polled + interrupts).toBe(256)
    expect(polled).toBeGreaterThan(40)
    expect(polled).toBeLessThan(90)
    expect(some.ctx).toBe(interrupts)
  })

  it('hybrid sleeps for half of the mean time, then polls', async () => {
    const sync = ['--rw=randread', '--size=40m', '--ioengine=psync']
    const [hybrid] = await runOne('virtual', ...sync, device('hybrid'))
    const [poll] = await runOne('virtual', ...sync, device('poll'))
    expect(busy(poll)).toBeGreaterThan(0.95)
    expect(busy(hybrid)).toBeGreaterThan(0.45)
    expect(busy(hybrid)).toBeLessThan(0.6)
    expect(hybrid.jobRuntimeNs).toBeLessThan(poll.jobRuntimeNs * 1.001)
    // those of the first 100 ms are polled for: no mean is known yet
    const slept = 10240 - Math.ceil(100e6 / (hybrid.jobRuntimeNs / 10240))
    expect(Math.abs(hybrid.ctx - slept)).toBeLessThan(30)
  })

  it('hybrid keeps a mean for each size: small I/Os are not slept over', async () => {
    const mixed = ['--rw=randrw', '--ioengine=psync', '--size=20m']
    const times = 'model=fixed,read=20us,write=400us'
    const [hybrid] = await runOne('virtual', ...mixed, `--device=nvme,size=1g,${times},wait=hybrid`)
    const [poll] = await runOne('virtual', ...mixed, `--device=nvme,size=1g,${times},wait=poll`)
    expect(hybrid.read.clat.mean).toBeLessThan(poll.read.clat.mean + 200)
    expect(hybrid.write.clat.mean).toBeLessThan(poll.write.clat.mean + 200)
  })
})

it('hipri, real time: a thread polls where the device has one of its own, else a note says so', async () => {
  const sync = ['--rw=randread', '--ioengine=pvsync2', '--hipri=1']
  const [, thread] = await runOne('real', ...sync, '--device=nvme,size=1g,where=thread,wait=irq')
  const { polled, interrupts } = thread.phasebit.queues[0]!
  expect(polled + interrupts).toBe(24)
  expect(polled).toBeGreaterThan(12)
  const [, inline] = await runOne('real', ...sync)
  expect(inline.phasebit.queues[0]).toMatchObject({ completion: 'inline', polled: 0 })
  expect(inline.phasebit.notes.join()).toMatch(/hipri: the device runs in the submitting thread/)
})

it.each([
  ['--rw=randread', '--lat=none', '--iodepth=1'],
  ['--rw=randrw', '--lat=batch', '--iodepth=8'],
  ['--rw=randwrite', '--lat=none', '--iodepth=32', '--iodepth_batch=8'],
])('a device on its own thread that is polled, real time, %s %s %s', async (...options) => {
  const device = '--device=nvme,size=1g,where=thread,wait=poll'
  const [a, run] = await runOne('real', '--number_ios=2000', '--size=1g', ...options, device)
  const ended = a.read.totalIos + a.write.totalIos
  expect(ended).toBe(2_000)
  expect(run.phasebit.queues[0]).toMatchObject({ polled: 2_000, interrupts: 0 })
  expect(run.phasebit.books).toMatchObject({ submitted: 2_000, completed: 2_000, failed: 0 })
  const timed = a.read.clat.n + a.write.clat.n
  expect(timed).toBe(options.includes('--lat=none') ? 0 : 2_000)
})

it('a CPU that waits for an interrupt sleeps, in real time: an I/O costs it a switch, not the time of the device', async () => {
  const slow = '--device=nvme,size=1g,model=fixed,latency=5ms,where=thread,wait=irq'
  const [a, run] = await runOne('real', '--rw=randread', '--iodepth=1', slow)
  expect(run.phasebit.queues[0]!.interrupts).toBe(24)
  expect(a.ctx).toBeGreaterThan(0)
})

describe.each(CLOCKS)('--lat none, %s time', clock => {
  const target = ['--rw=randread', '--iodepth=8', '--lat=none', '--size=4m']

  it('gives way to a job that is judged by its latencies, and says so', async () => {
    const found: string[] = []
    for (const option of ['--latency_target=10s', '--max_latency=10s']) {
      const more = option.startsWith('--max') ? [] : ['--latency_window=1ms']
      const [a, run] = await runOne(clock, ...target, option, ...more)
      expect(a.error).toBe(0)
      expect(run.phasebit.latencyMode).toBe(clock === 'virtual' ? 'every' : 'batch')
      found.push(...run.phasebit.notes.filter(note => note.startsWith('--lat none')))
    }
    expect(found).toHaveLength(2)
    const strict = `--clock=${clock} --name=a --filename=/dev/nvme0n1 --rw=read --size=1m --direct=1 --lat=none --max_latency=1us --device=nvme,size=1g,model=fixed,latency=50us`
    const { failures } = await execute(strict.split(' '))
    expect(failures).toEqual(['job a: an I/O took longer than max_latency, 1000 ns'])
  })

  it('holds for every other job', async () => {
    const [a, run] = await runOne(clock, ...target)
    expect([run.phasebit.latencyMode, a.read.clat.n]).toEqual(['none', 0])
    expect(run.phasebit.notes.filter(note => note.startsWith('--lat none'))).toEqual([])
  })
})

it('--terse-version 2: the line begins with the job, and trims have their columns', async () => {
  const [, run] = await runOne('virtual', '--rw=read', '--description=seen')
  const text = formatReport(run, { formats: ['terse'], terseVersion: 2 })
  expect(text).toMatch(/^2;a;0;0;(\S+;)+0\.00%\n;seen\n$/)
  expect(text.split(';')).toHaveLength(120 + 41 + 1)
})

it('replay: the waits of a version 2 log', async () => {
  const log =
    'fio version 2 iolog\nf add\nf open\nf wait 700 0\nf read 0 512\nf wait 300 0\nf write 512 512\nf close\n'
  const args = ['--read_iolog=x.log', '--clock=virtual', '--name=a', '--direct=1']
  const run = await succeed(args, { 'x.log': log })
  const a = job(run, 'a')
  expect(ios(a)).toEqual([1, 1, 0])
  expect(a.jobRuntimeNs).toBeGreaterThan(1_000_000)
  expect(a.jobRuntimeNs).toBeLessThan(1_100_000)
  expect(run.phasebit.notes.join()).toContain('waits are taken as microseconds')
})

describe('file_service_type, virtual time', () => {
  /** The disks that the I/Os went to, in order. */
  const order = async (type: string): Promise<string> => {
    const path = join(dir, `order-${type.replace(':', '-')}.log`)
    await succeed(
      `--clock=virtual ${TWO.join(' ')} --name=a ${BOTH} --direct=1 --rw=read --size=64k --write_iolog=${path} --file_service_type=${type}`.split(
        ' ',
      ),
    )
    const lines = readFileSync(path, 'utf8').split('\n')
    return lines.flatMap(line => /nvme(\d)n1 read/.exec(line)?.[1] ?? []).join('')
  }

  it.each([
    ['roundrobin', '0101010101010101'],
    ['roundrobin:3', '0001110001110011'],
    ['sequential', '0000000011111111'],
  ])('%s', async (type, expected) => {
    expect(await order(type)).toBe(expected)
  })

  it('random', async () => {
    const found = await order('random')
    expect(found).toHaveLength(16)
    expect(found.replaceAll('1', '')).toHaveLength(8)
    expect(found).not.toMatch(/^(01)+$|^0+1+$/)
    expect((await order('random:4')).slice(0, 8)).toMatch(/^(0000|1111){2}$/)
  })

  it('what is not an order is refused', async () => {
    for (const [type, message] of [
      ['zipf:1.2', /not yet: files chosen by a distribution/],
      ['random:0', /is not an order and a number/],
      ['fair', /fair/],
    ] as const)
      await expect(order(type)).rejects.toThrow(message)
  })
})

it('replay: a blktrace binary, whose lengths replay_align raises', async () => {
  const record = (ns: number, sector: number, bytes: number, action: number): Buffer => {
    const raw = Buffer.alloc(48)
    raw.writeUInt32LE(0x65617407, 0)
    raw.writeBigUInt64LE(BigInt(ns), 8)
    raw.writeBigUInt64LE(BigInt(sector), 16)
    raw.writeUInt32LE(bytes, 24)
    raw.writeUInt32LE(action, 28)
    raw.writeUInt32LE((259 << 20) >>> 0, 36)
    return raw
  }
  const [queued, write, discard] = [1 | (1 << 16), 1 | (1 << 17), 1 | (1 << 17) | (1 << 29)]
  const path = join(dir, 'trace.bin')
  writeFileSync(
    path,
    Buffer.concat([
      record(1000, 8, 4096, queued),
      record(501_000, 17, 512, write),
      record(502_000, 32, 8192, discard),
    ]),
  )
  const args = [`--read_iolog=${path}`, '--clock=virtual', '--name=a', '--direct=1']
  const asIs = job(await succeed([...args, '--replay_redirect=/dev/nvme0n1']), 'a')
  expect([ios(asIs), asIs.write.ioBytes]).toEqual([[1, 1, 1], 512])
  expect(asIs.jobRuntimeNs).toBeGreaterThan(500_000)
  const raised = job(await succeed([...args, '--replay_align=4096']), 'a')
  expect([ios(raised), raised.write.ioBytes]).toEqual([[1, 1, 1], 4096])
})

const hasFio = installed('fio')
requireInCi({ fio: hasFio })

describe.runIf(hasFio)('the same job, run by fio on a file', () => {
  /** Reads, writes, syncs and the bytes of each, as fio counts them. */
  const byFio = (options: readonly string[]): unknown[] => {
    const fixed = ['--name=a', '--filename=f', '--bs=4k', '--size=96k', '--output-format=json']
    const { stdout } = spawnSync('fio', [...fixed, ...options], {
      cwd: dir,
      encoding: 'utf8',
    })
    const { read, write, sync, error } = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0]
    const pair = (d: { total_ios: number; io_bytes: number }): number[] => [d.total_ios, d.io_bytes]
    return [error, ...pair(read), ...pair(write), sync?.total_ios ?? 0]
  }

  it.each([
    '--rw=write --end_fsync=1',
    '--rw=write --fsync_on_close=1 --loops=2',
    '--rw=write --fsync=4',
    '--rw=write --fsync=5 --end_fsync=1 --number_ios=13',
    '--rw=randwrite --verify=crc32c --end_fsync=1',
    '--rw=write --verify=crc32c',
    '--rw=write --verify=crc32c --verify_only=1',
    '--rw=read --thinktime=100 --thinktime_iotime=1ms --thinktime_spin=50',
    '--rw=randwrite --ioengine=libaio --iodepth=8 --serialize_overlap=1 --norandommap=1',
    '--rw=write --ioengine=libaio --iodepth=8 --iodepth_batch_complete_max=4',
    '--rw=write --write_barrier=4',
  ])('%s', async text => {
    const options = text.split(' ')
    // what verify_only checks has to be there
    const before = '--name=w --filename=/dev/nvme0n1 --direct=1 --rw=write --size=96k'.split(' ')
    const first = text.includes('verify_only') ? [...before, '--verify=crc32c', '--stonewall'] : []
    const fio = byFio(options)
    const result = await succeed([
      '--clock=virtual',
      ...first,
      '--name=a',
      '--filename=/dev/nvme0n1',
      '--direct=1',
      '--size=96k',
      ...(first.length > 0 ? ['--stonewall'] : []),
      ...options,
    ])
    const { read, write, sync, error } = job(result, 'a')
    const ours = [error, read.totalIos, read.ioBytes, write.totalIos, write.ioBytes, sync.totalIos]
    expect(ours).toEqual(fio)
  })

  it('reads the log that fio wrote, and writes one that fio reads', async () => {
    const options = '--rw=randrw --fsync=6'.split(' ')
    const [error, ...fio] = byFio([...options, '--write_iolog=fio.log'])
    expect(error).toBe(0)
    const log = readFileSync(join(dir, 'fio.log'), 'utf8')
    const replayed = job(
      await succeed(['--clock=virtual', '--name=a', '--direct=1', '--read_iolog=fio.log'], {
        'fio.log': log,
      }),
      'a',
    )
    const { read, write } = replayed
    expect([read.totalIos, read.ioBytes, write.totalIos, write.ioBytes]).toEqual(fio.slice(0, 4))
    const ours = join(dir, 'ours.log')
    await succeed(
      `--clock=virtual --name=a --filename=f --direct=1 --rw=randrw --size=96k --write_iolog=${ours}`.split(
        ' ',
      ),
    )
    expect(byFio([`--read_iolog=${ours}`]).slice(0, 5)).toEqual([
      0,
      ...byLog(readFileSync(ours, 'utf8')),
    ])
  })
})

/** Reads and writes of a log with their bytes. */
function byLog(text: string): number[] {
  return ['read', 'write'].flatMap(action => {
    const lengths = [...text.matchAll(new RegExp(` ${action} \\d+ (\\d+)`, 'g'))].map(m =>
      Number(m[1]),
    )
    return [lengths.length, lengths.reduce((a, b) => a + b, 0)]
  })
}
