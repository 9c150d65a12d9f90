// --dump: what /sys, /proc and debugfs would show of the machine while jobs run.

import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import type { DebugFile } from '../../src/machine/debug-views.js'
import { type Dump, formatDump } from '../../src/workload/dump.js'
import { execute, job } from './run.js'

function file(lines: string): Record<string, string> {
  return { 'j.fio': `[a]\ndirect=1\nioengine=libaio\nbs=4k\nsize=32m\n${lines}` }
}

async function dumps(args: readonly string[], lines: string) {
  const found: Dump[] = []
  const { result, failures } = await execute(['j.fio', ...args], file(lines), {
    onDump: dump => found.push(dump),
  })
  expect(failures).toEqual([])
  return { found, result }
}

function text(files: readonly DebugFile[], path: string): string {
  const one = files.find(found => found.path === path)
  if (!one) throw new Error(`no ${path}; there are ${files.map(f => f.path).join(' ')}`)
  return one.text
}

const DEBUG = '/sys/kernel/debug/block'

/** Numbers of a stat file: reads, merges, sectors, ms; writes ...; in flight, busy, in queue; discards ... */
function stat(files: readonly DebugFile[], disk: string): number[] {
  return text(files, `/sys/block/${disk}/stat`).trim().split(/\s+/).map(Number)
}

describe('phasebit run --dump', () => {
  it('shows at the end what the jobs did, in the fields of iostats', async () => {
    const args = ['--clock=virtual', '--dump=all', '--cpus=2']
    const { found, result } = await dumps(args, 'rw=randrw\niodepth=8\nnumber_ios=400\n')
    expect(found).toHaveLength(1)
    const { read, write } = job(result, 'a')
    const { files } = found[0]!
    const numbers = stat(files, 'nvme0n1')
    expect(numbers).toHaveLength(15)
    expect([numbers[0], numbers[2]]).toEqual([read.totalIos, read.totalIos * 8])
    expect([numbers[4], numbers[6]]).toEqual([write.totalIos, write.totalIos * 8])
    expect(numbers[8]).toBe(0)
    const line = text(files, '/proc/diskstats').trim().split(/\s+/)
    expect(line.slice(0, 3)).toEqual(['259', '0', 'nvme0n1'])
    expect(line.slice(3).map(Number)).toEqual(numbers)
    const queued = [0, 1].map(i => Number(text(files, `${DEBUG}/nvme0n1/hctx${i}/queued`)))
    expect(queued[0]! + queued[1]!).toBe(400)
    expect(text(files, `${DEBUG}/nvme0n1/hctx0/busy`)).toBe('')
    const queues = text(files, 'workqueues')
    expect(queues).toMatch(/^workqueue kblockd: MEM_RECLAIM\|HIGHPRI$/m)
    expect(queues).toMatch(/^pool 0: cpu=0 nice=0 workers=2 idle=2\n {4}kworker\/0:0 idle$/m)
  })

  it('shows requests in flight, tags and schedulers at the times asked for', async () => {
    const at = ['--dump=hctx,stat', '--dump-at=100us,50us,300us']
    const device = [
      '--clock=virtual',
      '--cpus=1',
      '--device=null_blk,size=64,irqmode=2,completion_nsec=40000,hw_queue_depth=4,sched=mq-deadline',
    ]
    const { found } = await dumps(
      [...device, ...at],
      'filename=/dev/nullb0\nrw=randread\niodepth=16\nnumber_ios=200\n',
    )
    expect(found.map(({ nowNs }) => nowNs)).toEqual([50_000, 100_000, 300_000])
    for (const { files } of found) {
      const hctx = `${DEBUG}/nullb0/hctx0`
      const busy = text(files, `${hctx}/busy`).trim().split('\n')
      expect(busy).toHaveLength(4)
      expect(busy[0]).toMatch(
        /^[0-9a-f]{8} \{\.op=READ, \.cmd_flags=.*, \.rq_flags=.*STARTED.*, \.state=in_flight, \.tag=\d, \.internal_tag=\d+\}$/,
      )
      expect(text(files, `${hctx}/tags`)).toMatch(
        /^nr_tags=4\n.*\nactive_queues=0\n\nbitmap_tags:\ndepth=4\nbusy=4\n/,
      )
      expect(text(files, `${hctx}/sched_tags`)).toMatch(/^nr_tags=8\n/)
      expect(stat(files, 'nullb0')[8]).toBe(4)
      expect(text(files, `${hctx}/flags`)).toBe('alloc_policy=FIFO SHOULD_MERGE\n')
      expect(text(files, `${DEBUG}/nullb0/state`)).toMatch(/SAME_COMP\|.*IO_STAT/)
      // one has been taken out by a run of the queue that found no tag for it
      const waiting = text(files, `${DEBUG}/nullb0/sched/read_fifo_list`)
      expect(waiting.split('\n').length - 1).toBe(3)
      expect(text(files, `${hctx}/dispatch`).split('\n').length - 1).toBe(1)
    }
  })

  it("shows a pblk's attributes: what the job wrote, and what that cost", async () => {
    const devices = [
      '--device=nvme,ocssd=2.0,groups=2,pus=2,chunks=40,clba=64',
      '--device=pblk,parent=nvme0n1',
    ]
    const args = ['--clock=virtual', '--dump=pblk', ...devices]
    const lines = 'filename=/dev/pblk0\nrw=write\nsize=1m\nnumber_ios=202\nend_fsync=1\n'
    const { files } = (await dumps(args, lines)).found[0]!
    const of = (name: string): string => text(files, `/sys/block/pblk0/pblk/${name}`)
    // 202 sectors in units of 8: six of padding at the flush
    expect(of('write_amp_mileage')).toBe('user:202 gc:0 pad:6 WA:1.02970\n')
    expect(of('padding_dist')).toMatch(/ 6:100% /)
    expect(of('write_buffer')).toMatch(/NULL - 0\/\d+\/0 - 0\n$/)
    expect(files.map(({ path }) => path)).not.toContain('/sys/block/pblk0/pblk/gc_force')
  })

  it('is of about one moment in real time, and busy time is what was in flight', async () => {
    const args = ['--dump=stat,hctx', '--device=nvme,model=fixed,read=2ms,where=thread']
    const { found, result } = await dumps(args, 'rw=randread\niodepth=1\nnumber_ios=20\n')
    const numbers = stat(found[0]!.files, 'nvme0n1')
    expect(numbers[0]).toBe(20)
    const tookMs = job(result, 'a').read.runtimeNs / 1e6
    expect(numbers[3]).toBeGreaterThanOrEqual(20)
    expect(numbers[9]).toBeGreaterThan(0)
    expect(numbers[9]).toBeLessThanOrEqual(Math.ceil(tookMs) + 8)
  })

  it('is text like that of tail -n +1', () => {
    const files = [
      { path: '/a', text: '1\n' },
      { path: '/b', text: '' },
    ]
    expect(formatDump({ nowNs: 1_500_000_000, files })).toBe(
      '# 1.500000000 s\n==> /a <==\n1\n\n==> /b <==\n\n',
    )
  })

  it.each([
    [['--dump=queues'], /must be one of workqueues, stat, diskstats, hctx, pblk, all/],
    [['--dump-at=1s'], /--dump-at needs --dump=/],
    [['--dump-file=x'], /--dump-file needs --dump=/],
    [['--dump=stat', '--dump-at=soon'], /'soon' is not a number/],
  ])('refuses %j', async (args, message) => {
    const run = async () => execute(['j.fio', ...args], file('rw=read\n'))
    await expect(run()).rejects.toThrow(UserError)
    await expect(run()).rejects.toThrow(message)
  })
})
