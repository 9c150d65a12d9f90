// From sections to jobs, in the order of fio-jobs 2, and what options say about each other.

import { describe, expect, it } from 'vitest'
import type { JobSpec } from '../../../src/workload/job.js'
import { COMPLETE, complaint, errorOf, jobOf, jobsOf, notesOf, planOf } from './plan-of.js'

const names = (jobs: readonly JobSpec[]): string[] => jobs.map(job => job.name)
const groups = (jobs: readonly JobSpec[]): number[] => jobs.map(job => job.groupid)
const phases = (jobs: readonly JobSpec[]): number[] => jobs.map(job => job.phase)
const error = (text: string, argv: string[] = []): string => errorOf(() => jobsOf(text, argv))

describe('inheritance', () => {
  it('globals set defaults for the sections below, later globals override for what follows', () => {
    const jobs = jobsOf('bs=8k\n[a]\n[b]\nbs=1k\n[global]\nbs=2k\niodepth=3\n[c]\n[a]\n')
    expect(names(jobs)).toEqual(['a', 'b', 'c', 'a'])
    expect(jobs.map(job => job.bsMin[0])).toEqual([8192, 1024, 2048, 2048])
    expect(jobs.map(job => job.iodepth)).toEqual([1, 1, 3, 3])
  })

  it('the last of a repeated key wins, an alias is the same key', () => {
    expect(jobOf('bs=8k', 'blocksize=16k').bsMin).toEqual([16384, 16384, 16384])
  })

  it('filename accumulates, across globals too, with a warning', () => {
    const job = jobOf('filename=/dev/nullb0', 'filename=/dev/nvme0n1')
    expect(job.files.map(file => file.name)).toEqual(['/dev/nvme0n1', '/dev/nullb0'])
    expect(notesOf('filename=/dev/nullb0').join()).toContain('added to the global filename')
  })

  it('an open place of a triple keeps what was said before', () => {
    const jobs = jobsOf('bs=64k\n[a]\nbs=,8k\n[b]\nbs=8k,\n[c]\nbs=8k,16k\nbs=4k,\n')
    expect(jobs.map(job => job.bsMin)).toEqual([
      [65536, 8192, 8192],
      [8192, 65536, 65536],
      [4096, 16384, 16384],
    ])
    expect(jobOf('bs=8k,').bsMin).toEqual([8192, 4096, 4096])
  })

  it('kb_base governs sizes wherever it stands', () => {
    expect(jobOf('bs=512kib', 'size=4mib', 'kb_base=1000')).toMatchObject({
      kbBase: 1000,
      size: 4 * 2 ** 20,
    })
  })

  it('a section needs no options, name= renames it', () => {
    expect(names(jobsOf('[a]\n[b]\nname=c\n'))).toEqual(['a', 'c'])
    // In a global section it means nothing, as in fio.
    expect(names(jobsOf('name=g\n[a]\n[b]\nname=c\n'))).toEqual(['a', 'c'])
  })

  it('a wrong option in a global section is an error even when no job follows', () => {
    expect(error('[a]\n[global]\nbs=x\n')).toContain('j.fio:8: bs=x: ')
    expect(error('[a]\n[global]\nfoo=1\n')).toContain('unknown option')
  })

  it('inherited engine options are left out for other engines, with a note', () => {
    const text = 'ioengine=io_uring\nhipri\n[a]\n[b]\nioengine=libaio\n'
    const jobs = jobsOf(text)
    expect(jobs.map(job => job.hipriPercentage)).toEqual([100, 0])
    const notes = planOf(['j.fio'], { 'j.fio': `[global]\nsize=1m\n${text}` }).notes
    expect(notes.join('\n')).toContain('hipri: left out for jobs with ioengine=libaio')
  })
})

describe('options for the result', () => {
  it('job options hold what the section wrote by canonical names, and always rw, bs, iodepth, numjobs', () => {
    const [job] = jobsOf('rw=randread\n[a]\nblocksize=8k\nnorandommap\nruntime=2\n')
    expect(job!.options).toEqual({
      bs: '8k',
      norandommap: '1',
      runtime: '2',
      rw: 'randread',
      iodepth: '1',
      numjobs: '1',
    })
    expect(job!.globalOptions).toEqual({
      filename: '/dev/nvme0n1',
      size: '1m',
      direct: '1',
      ioengine: 'libaio',
      rw: 'randread',
    })
  })

  it('joins file names and does not repeat keys', () => {
    const job = jobOf('filename=/dev/nullb0', 'filename=/dev/nvme0n1', 'bs=1k', 'bs=2k')
    expect(job.options).toMatchObject({ filename: '/dev/nullb0:/dev/nvme0n1', bs: '2k' })
  })
})

describe('clones, groups, walls', () => {
  it('numjobs makes clones that stay in one group and phase', () => {
    const jobs = jobsOf('[a]\nnumjobs=3\nstonewall\nnew_group\n[b]\n')
    expect(jobs.map(job => [job.name, job.index, job.cloneIndex, job.numjobs])).toEqual([
      ['a', 0, 0, 3],
      ['a', 1, 1, 3],
      ['a', 2, 2, 3],
      ['b', 3, 0, 1],
    ])
    expect(groups(jobs)).toEqual([0, 0, 0, 0])
    expect(phases(jobs)).toEqual([0, 0, 0, 0])
  })

  it('stonewall waits and opens a group, new_group only opens one, the first job opens none', () => {
    const jobs = jobsOf(
      '[a]\n[b]\nstonewall\n[c]\n[d]\nnew_group\n[e]\nstonewall=0\n[f]\nnew_group\nstonewall\n',
    )
    expect(groups(jobs)).toEqual([0, 1, 1, 2, 2, 3])
    expect(phases(jobs)).toEqual([0, 1, 1, 1, 1, 2])
    expect(groups(jobsOf('stonewall\n[a]\n[b]\nnumjobs=2\n'))).toEqual([0, 1, 1])
    expect(phases(jobsOf('new_group\n[a]\n[b]\n'))).toEqual([0, 0])
  })

  it('the second file stands behind a wall', () => {
    const plan = planOf(['x', 'y'], {
      x: '[a]\nsize=1m\n[b]\nsize=1m\n',
      y: '[c]\nsize=1m\n[d]\nsize=1m\n',
    })
    expect(phases(plan.jobs)).toEqual([0, 0, 1, 1])
    expect(groups(plan.jobs)).toEqual([0, 0, 1, 1])
  })

  it('group_reporting is a flag of each job', () => {
    const jobs = jobsOf('[a]\ngroup_reporting\n[b]\n')
    expect(jobs.map(job => job.groupReporting)).toEqual([true, false])
  })

  it('more jobs than --max-jobs are refused, 4096 unless said', () => {
    expect(jobsOf('[a]\nnumjobs=4096\nfilename=/dev/nvme0n1\n')).toHaveLength(4096)
    expect(error('[a]\n[b]\nnumjobs=4096\n')).toBe(
      'j.fio:8: numjobs=4096: more than 4096 jobs (--max-jobs)',
    )
    expect(error('[a]\nnumjobs=999999999\n')).toContain('more than 4096 jobs')
    expect(error('[a]\nnumjobs=3\n', ['--max-jobs=2'])).toContain('more than 2 jobs')
  })

  it('more files and buffers than memory holds are refused', () => {
    expect(
      errorOf(() => planOf(['j'], { j: '[a]\nsize=1g\nnrfiles=65536\nnumjobs=8\nbs=512\n' })),
    ).toContain('at most 262144')
    expect(error('[a]\niodepth=65536\nbs=1m\nsize=1g\n')).toContain(
      'more than 2 GiB of buffers in flight at once',
    )
    // One after the other they fit.
    const half = 'iodepth=1024\nbs=1m\nsize=1g\nrw=randread\n'
    expect(jobsOf(`[a]\n${half}[b]\nstonewall\n${half}[c]\nstonewall\n${half}`)).toHaveLength(3)
    expect(error(`[a]\n${half}[b]\n${half}[c]\n${half}`)).toContain('in flight')
  })
})

describe('wait_for', () => {
  it('takes a unique name above: all its clones', () => {
    const jobs = jobsOf('[a]\nnumjobs=2\n[b]\nwait_for=a\n[c]\nname=z\n[d]\nwait_for=z\n')
    expect(jobs.map(job => job.waitFor)).toEqual([[], [], [0, 1], [], [3]])
  })

  it('refuses unknown, later, doubled names and itself', () => {
    expect(error('[a]\n[b]\nwait_for=nope\n')).toBe(
      'j.fio:8: wait_for=nope: no section above has this name',
    )
    expect(error('[a]\nwait_for=b\n[b]\n')).toContain('no section above has this name')
    expect(error('[a]\n[a]\n[b]\nwait_for=a\n')).toContain('several sections above have this name')
    expect(error('[a]\nwait_for=a\n')).toContain('a job cannot wait for itself')
  })
})

describe('times', () => {
  it('keeps runtime, ramp and start delay apart', () => {
    expect(jobOf('runtime=2s', 'ramp_time=500ms', 'startdelay=3', 'time_based')).toMatchObject({
      runtimeNs: 2e9,
      rampTimeNs: 5e8,
      startDelayNs: 3e9,
      timeBased: true,
    })
  })

  it('draws a start delay from a range, the same each time and another for each clone', () => {
    const delays = (): number[] =>
      jobsOf('[a]\nnumjobs=8\nstartdelay=1-5\n').map(j => j.startDelayNs)
    expect(delays()).toEqual(delays())
    expect(new Set(delays()).size).toBeGreaterThan(4)
    for (const delay of delays()) expect(delay >= 1e9 && delay <= 5e9).toBe(true)
  })

  it('time_based without a runtime has no effect and says so', () => {
    expect(jobOf('time_based').timeBased).toBe(false)
    expect(notesOf('time_based')).toEqual([
      'j.fio:6: [a]: time_based without a runtime has no effect',
    ])
  })

  it('exitall and its companions', () => {
    expect(jobOf('exitall', 'exit_what=all', 'exitall_on_error')).toMatchObject({
      exitall: true,
      exitWhat: 'all',
      exitallOnError: true,
    })
    expect(jobOf()).toMatchObject({ exitall: false, exitWhat: 'group' })
  })
})

describe('patterns', () => {
  it('rw says directions, order and postfix', () => {
    expect(jobOf('rw=randread:8')).toMatchObject({
      rw: 'randread',
      random: true,
      uses: [true, false, false],
      ddirSeqCount: 8,
      ddirSeqAdd: 0,
    })
    expect(jobOf('rw=write:4k')).toMatchObject({ random: false, ddirSeqCount: 1, ddirSeqAdd: 4096 })
    expect(jobOf('rw=read:-8k').ddirSeqAdd).toBe(-8192)
    expect(jobOf('rw=randrw').uses).toEqual([true, true, false])
    expect(jobOf('rw=readwrite')).toMatchObject({ rw: 'rw', uses: [true, true, false] })
    expect(jobOf('rw=trimwrite').uses).toEqual([false, true, true])
    expect(jobOf('rw=randtrimwrite')).toMatchObject({ random: true, uses: [false, true, true] })
    expect(jobOf('rw=randread:0').ddirSeqCount).toBe(1)
    expect(jobOf()).toMatchObject({ rw: 'read', rwmixread: 50, rwSequencer: 'sequential' })
  })

  it('of rwmixread and rwmixwrite the last one wins', () => {
    expect(jobOf('rwmixread=20', 'rwmixwrite=30').rwmixread).toBe(70)
    expect(jobOf('rwmixwrite=30', 'rwmixread=20').rwmixread).toBe(20)
    expect(jobOf('rwmixwrite=0').rwmixread).toBe(100)
  })

  it('bssplit overrules bsrange, bsrange overrules bs, in any order', () => {
    expect(jobOf('bsrange=4k-8k,', 'bs=2k')).toMatchObject({
      bsMin: [4096, 2048, 2048],
      bsMax: [8192, 2048, 2048],
    })
    expect(jobOf('bssplit=,4k/50:16k/50', 'bsrange=1k-8k')).toMatchObject({
      bsMin: [1024, 4096, 4096],
      bsMax: [8192, 16384, 16384],
      blockAlign: [1024, 4096, 4096],
    })
    expect(jobOf('ba=8k', 'rw=randread').blockAlign).toEqual([8192, 8192, 8192])
  })

  it('seeds differ by clone, follow randseed, and the run seed only without randrepeat', () => {
    const seeds = (lines: string, argv: string[] = []): number[] =>
      jobsOf(`[a]\nnumjobs=3\n${lines}\n`, argv).map(job => job.seed)
    expect(new Set(seeds('')).size).toBe(3)
    expect(seeds('')).toEqual(seeds('', ['--seed=5']))
    expect(seeds('randseed=7')).not.toEqual(seeds(''))
    expect(seeds('randseed=9007199254740991')).not.toEqual(seeds('randseed=4294967295'))
    expect(seeds('randrepeat=0')).toEqual(seeds('randrepeat=0'))
    expect(seeds('randrepeat=0')).not.toEqual(seeds('randrepeat=0', ['--seed=5']))
    expect(seeds('randrepeat=0\nrandseed=7')).toEqual(seeds('randseed=7', ['--seed=5']))
    expect(jobOf()).toMatchObject({ randrepeat: true, randseed: 0x89 })
  })

  it('strided zones', () => {
    expect(jobOf('zonemode=strided', 'zonesize=64k', 'zoneskip=64k')).toMatchObject({
      zonemode: 'strided',
      zonesize: 65536,
      zonerange: 65536,
      zoneskip: 65536,
    })
    expect(complaint('zonemode=strided')).toBe('j.fio:7: zonemode=strided: needs zonesize')
    expect(complaint('zonesize=64k')).toBe('j.fio:7: zonesize=64k: needs zonemode=strided')
    expect(notesOf('zoneskip=4k')).toEqual([
      'j.fio:7: zoneskip=4k: no effect without zonemode=strided',
    ])
  })
})

describe('engines and depth', () => {
  it('sync engines have depth 1 and say so', () => {
    expect(jobOf('ioengine=psync', 'iodepth=8')).toMatchObject({
      engineKind: 'sync',
      iodepth: 8,
      queueDepth: 1,
      iodepthLow: 1,
    })
    expect(notesOf('ioengine=psync', 'iodepth=8')[0]).toContain('is synchronous: its depth is 1')
    expect(planOf(['--name=x', '--size=1m']).jobs[0]).toMatchObject({
      ioengine: 'psync',
      iodepth: 1,
    })
  })

  it('batches stay within the depth, 0 stands for it', () => {
    expect(jobOf('iodepth=16')).toMatchObject({
      engineKind: 'async',
      iodepthBatch: 1,
      iodepthBatchCompleteMin: 1,
      iodepthBatchCompleteMax: 0,
      iodepthLow: 16,
    })
    expect(
      jobOf('iodepth=4', 'iodepth_batch=8', 'iodepth_low=8', 'iodepth_batch_complete=8'),
    ).toMatchObject({ iodepthBatch: 4, iodepthLow: 4, iodepthBatchCompleteMin: 4 })
    expect(jobOf('iodepth=4', 'iodepth_batch=0').iodepthBatch).toBe(4)
    expect(jobOf('iodepth=4', 'iodepth_batch_complete_min=0').iodepthBatchCompleteMin).toBe(0)
    expect(jobOf('iodepth=8', 'iodepth_batch_complete_max=6')).toMatchObject({
      iodepthBatchCompleteMin: 1,
      iodepthBatchCompleteMax: 6,
    })
  })

  it('polling: hipri, a share of it, and the share alone', () => {
    expect(jobOf('ioengine=io_uring', 'hipri').hipriPercentage).toBe(100)
    expect(jobOf('ioengine=pvsync2', 'hipri', 'hipri_percentage=30').hipriPercentage).toBe(30)
    expect(jobOf('ioengine=pvsync2', 'hipri_percentage=30').hipriPercentage).toBe(0)
    expect(notesOf('ioengine=pvsync2', 'hipri_percentage=30')[0]).toContain(
      'no effect without hipri',
    )
  })

  it('engine notes: io_uring, mmap and splice', () => {
    expect(notesOf('ioengine=io_uring')[0]).toContain('Linux 4.19 has none')
    expect(jobOf('ioengine=io_uring').engineKind).toBe('async')
    expect(notesOf('ioengine=mmap')).toEqual(['ioengine=mmap: run as psync'])
    expect(jobOf('ioengine=splice').engineKind).toBe('sync')
  })

  it('whoever says nothing is direct, and told so once', () => {
    const notes = (text: string): readonly string[] =>
      planOf(['j'], { j: `[global]\nfilename=/dev/nvme0n1\nsize=1m\n${text}` }).notes
    expect(notes('[a]\ndirect=1\n')).toEqual([])
    expect(notes('[a]\nbuffered=0\n')).toEqual([])
    expect(notes('[a]\n[b]\n')).toEqual([
      'jobs that say neither direct nor buffered run as direct=1 (fio: buffered)',
    ])
    expect(notes('[a]\ndirect=0\n[b]\nbuffered=1\n')).toEqual([])
    expect(notes('[a]\ndirect=0\nbuffered=0\n')).toEqual([])
    expect(notes('[a]\nioengine=null\n')).toEqual([])
  })

  it('CPU sets: shared, or split over all jobs of the run', () => {
    const split = jobsOf('[a]\nnumjobs=3\ncpus_allowed=2-3\ncpus_allowed_policy=split\n')
    expect(split.map(job => job.cpusAllowed)).toEqual([[2], [3], [2]])
    expect(jobOf('cpus_allowed=0-2').cpusAllowed).toEqual([0, 1, 2])
    expect(jobOf('cpus_allowed=0-2', 'cpumask=0x2').cpusAllowed).toEqual([1])
    expect(jobOf('cpumask=0x2', 'cpus_allowed=0-2').cpusAllowed).toEqual([0, 1, 2])
    expect(jobOf().cpusAllowed).toBeNull()
  })
})

describe('pace and goals', () => {
  it('rates in bytes and I/Os a second', () => {
    expect(jobOf('rate=64m,16m', 'ratemin=1m,')).toMatchObject({
      rate: [64 * 2 ** 20, 16 * 2 ** 20, 16 * 2 ** 20],
      rateMin: [2 ** 20, 0, 0],
      rateCycleNs: 1e9,
    })
    // As in fio, a k is 1024 here too.
    expect(jobOf('rate_iops=1k,,2k', 'rate_process=poisson')).toMatchObject({
      rateIops: [1024, 0, 2048],
      rateProcess: 'poisson',
    })
  })

  it('refuses rates that exclude each other or are below their floor', () => {
    expect(complaint('rate=1m', 'rate_iops=100')).toBe('j.fio:8: rate_iops=100: excludes rate')
    expect(complaint('rate=1m', 'rate_min=2m')).toBe('j.fio:8: rate_min=2m: is above rate')
    expect(complaint('rate_iops=5', 'rate_iops_min=6')).toContain('is above rate_iops')
    expect(complaint('rate_min=1', 'rate_iops_min=6')).toContain('excludes rate_min')
    expect(jobOf('rate=1m,0', 'rate_iops=0,100').rateIops).toEqual([0, 100, 100])
  })

  it('thinktime in microseconds, burnt part within it', () => {
    expect(jobOf('thinktime=200', 'thinktime_spin=300', 'thinktime_blocks=16')).toMatchObject({
      thinktimeNs: 200_000,
      thinktimeSpinNs: 200_000,
      thinktimeBlocks: 16,
      thinktimeBlocksType: 'complete',
    })
    expect(jobOf('thinktime_iotime=2').thinktimeIotimeNs).toBe(2e9)
  })

  it('flow', () => {
    expect(jobOf('flow=3', 'flow_id=2', 'flow_sleep=10')).toMatchObject({
      flow: 3,
      flowId: 2,
      flowSleepNs: 10_000,
    })
  })

  it('latency_target', () => {
    expect(
      jobOf('latency_target=200us', 'latency_window=250ms', 'latency_percentile=99.0')
        .latencyTarget,
    ).toEqual({ targetNs: 200_000, windowNs: 250e6, percentile: 99, keepAdjusting: false })
    expect(jobOf().latencyTarget).toBeNull()
    expect(jobOf('max_latency=5').maxLatencyNs).toBe(5000)
  })

  it('steadystate needs a duration; a duration alone takes the default criterion', () => {
    expect(jobOf('ss=bw:10%', 'ss_dur=5', 'ss_ramp=1', 'ss_interval=500ms').steadyState).toEqual({
      metric: 'bw',
      slope: false,
      limit: 10,
      limitIsPercent: true,
      durationNs: 5e9,
      rampNs: 1e9,
      intervalNs: 5e8,
    })
    expect(jobOf('ss_dur=5').steadyState).toMatchObject({
      metric: 'iops',
      slope: true,
      limit: 0.01,
    })
    expect(notesOf('ss=bw:10%')).toEqual([
      'j.fio:7: ss=bw:10%: no effect without steadystate_duration',
    ])
    expect(complaint('ss_dur=500ms')).toContain('is shorter than steadystate_check_interval')
    expect(complaint('ss_dur=5', 'ss_interval=0')).toContain('must not be 0')
  })
})

describe('integrity', () => {
  it('syncs', () => {
    expect(
      jobOf(
        'fsync=32',
        'fdatasync=1',
        'end_fsync=1',
        'fsync_on_close=1',
        'sync=1',
        'write_barrier=4',
      ),
    ).toMatchObject({
      fsync: 32,
      fdatasync: 1,
      endFsync: true,
      fsyncOnClose: true,
      sync: 'sync',
      writeBarrier: 4,
    })
    expect(jobOf('sync=dsync').sync).toBe('dsync')
    expect(complaint('sync=2')).toContain('must be one of')
  })

  it('verify and its defaults', () => {
    expect(jobOf('verify=crc32c-intel', 'rw=write')).toMatchObject({
      verify: { method: 'crc32c', atEnd: true, only: false, interval: 0, backlog: 0, fatal: false },
      refillBuffers: true,
    })
    expect(jobOf('do_verify=0', 'verify=md5').verify.atEnd).toBe(false)
    expect(jobOf().verify).toMatchObject({ method: 'none', pattern: [] })
    expect(jobOf().refillBuffers).toBe(false)
  })

  it('the header interval is at most the smallest write, and that when sizes vary', () => {
    expect(jobOf('verify=md5', 'verify_interval=1m', 'bs=4k').verify.interval).toBe(4096)
    expect(jobOf('verify=md5', 'verify_interval=512', 'bs=4k').verify.interval).toBe(512)
    expect(jobOf('verify=md5', 'bsrange=4k-16k').verify.interval).toBe(4096)
    expect(jobOf('bsrange=4k-16k').verify.interval).toBe(0)
  })

  it('verify=pattern takes its pattern, or zeros with a warning', () => {
    expect(jobOf('verify=pattern', 'verify_pattern=0xff%o').verify.pattern).toEqual([
      { bytes: [255] },
      { offset: true },
    ])
    expect(jobOf('verify=pattern').verify.pattern).toEqual([{ bytes: [0] }])
    expect(notesOf('verify=pattern')[0]).toContain('without verify_pattern the pattern is zeros')
  })

  it('warns of clones that overwrite each other', () => {
    const warning = 'j.fio:6: [a]: clones overwrite each other'
    expect(notesOf('rw=write', 'verify=md5', 'numjobs=2')[0]).toContain(warning)
    expect(notesOf('rw=write', 'verify=md5', 'numjobs=2', 'offset_increment=1m')).toEqual([])
    expect(notesOf('rw=read', 'verify=md5', 'numjobs=2')).toEqual([])
  })

  it('trims of a verify job', () => {
    expect(jobOf('verify=md5', 'trim_percentage=20', 'trim_backlog=8').trim).toEqual({
      percent: 20,
      verifyZero: true,
      backlog: 8,
      backlogBatch: 0,
    })
    expect(notesOf('trim_percentage=20')[0]).toContain('no effect without verify')
  })

  it('buffers and errors', () => {
    expect(jobOf('buffer_pattern=0xab', 'zero_buffers', 'refill_buffers')).toMatchObject({
      bufferPattern: [{ bytes: [0xab] }],
      zeroBuffers: true,
      refillBuffers: true,
    })
    expect(jobOf('continue_on_error=io', 'ignore_error=EIO')).toMatchObject({
      continueOnError: { read: true, write: true, verify: false },
      ignoreError: { read: [5], write: [], verify: [] },
    })
  })
})

describe('priority', () => {
  it('of the job and of commands', () => {
    expect(jobOf('prio=3')).toMatchObject({ prio: 3, prioClass: 2 })
    expect(jobOf('prio=3', 'prioclass=1')).toMatchObject({ prio: 3, prioClass: 1 })
    expect(jobOf('cmdprio_percentage=10,20', 'cmdprio=2').cmdPrio).toEqual({
      percentage: [10, 20],
      class: [1, 1],
      level: [2, 2],
      split: [[], []],
    })
    expect(complaint('cmdprio_percentage=10', 'cmdprio_bssplit=4k/50')).toBe(
      'j.fio:8: cmdprio_bssplit=4k/50: excludes cmdprio_percentage',
    )
  })
})

describe('reporting', () => {
  it('gtod_reduce switches all latencies off', () => {
    expect(jobOf('gtod_reduce=1', 'lat_percentiles=1')).toMatchObject({
      gtodReduce: true,
      disableLat: true,
      disableClat: true,
      disableSlat: true,
      disableBw: true,
      clatPercentiles: false,
      latPercentiles: false,
    })
  })

  it('percentiles follow their latencies', () => {
    expect(jobOf()).toMatchObject({ clatPercentiles: true, latPercentiles: false })
    expect(jobOf('disable_clat=1').clatPercentiles).toBe(false)
    expect(jobOf('slat_percentiles=1').slatPercentiles).toBe(true)
    expect(jobOf('percentile_list=99:50').percentileList).toEqual([50, 99])
    expect(jobOf().percentileList).toHaveLength(17)
  })

  it('logs take the job name when they have none', () => {
    expect(
      jobOf('write_bw_log', 'write_lat_log=x', 'write_hist_log=', 'log_avg_msec=100').log,
    ).toMatchObject({ bw: 'a', lat: 'x', hist: 'a', iops: null, averageNs: 1e8, perJob: true })
    expect(jobOf('log_hist_coarseness=3', 'log_hist_msec=50', 'per_job_logs=0').log).toMatchObject({
      histCoarseness: 3,
      histNs: 5e7,
      perJob: false,
    })
  })

  it('other forms of the result', () => {
    expect(
      jobOf(
        'unified_rw_reporting=1',
        'unit_base=8',
        'stats=0',
        'significant_figures=6',
        'bwavgtime=250',
      ),
    ).toMatchObject({
      unifiedRwReporting: 'mixed',
      unitBase: 8,
      stats: false,
      significantFigures: 6,
      bwAvgNs: 25e7,
      iopsAvgNs: 5e8,
      kbBase: 1024,
    })
  })

  it('replay', () => {
    const log =
      'fio version 3 iolog\n0 f add\n0 f open\n5 f read 512 512\n9 f trim 0 512\n9 f write 0 1024\n'
    const lines = ['replay_skip=trim', 'replay_time_scale=50', 'replay_redirect=/dev/nullb0']
    const text = `${COMPLETE}[a]\nread_iolog=x.log\n${lines.join('\n')}`
    const job = planOf(['j.fio'], { 'j.fio': text, 'x.log': log }).jobs[0]!
    expect(job).toMatchObject({ rw: 'rw', uses: [true, true, false], bsMax: [512, 1024, 4096] })
    expect(job.files).toEqual([{ name: '/dev/nullb0', disk: '/dev/nullb0', base: 0, size: 1024 }])
    expect(job.replay).toEqual({
      path: 'x.log',
      entries: [
        { gapNs: 0, ddir: 0, file: 0, offset: 512, length: 512 },
        { gapNs: 0, ddir: 1, file: 0, offset: 0, length: 1024 },
      ],
      noStall: false,
      timeScale: 50,
      redirect: '/dev/nullb0',
      skip: [false, false, true],
      skipSync: false,
      align: 0,
      scale: 1,
    })
    expect(jobOf('write_iolog=y')).toMatchObject({ writeIolog: 'y', replay: null })
  })
})
