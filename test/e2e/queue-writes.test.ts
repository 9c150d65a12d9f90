// phasebit run --queue: attributes of queues that change while jobs run.

import { describe, expect, it } from 'vitest'
import { CPU_IPIS } from '../../assembly/layout.js'
import { UserError } from '../../src/core/errors.js'
import { pblk_sysfs } from '../../src/drivers/lightnvm/pblk-sysfs.js'
import { PBLK_WRITABLE } from '../../src/workload/queue-writes.js'
import { execute, iops, job, succeed } from './run.js'

const FILES = {
  'j.fio':
    '[a]\nfilename=/dev/nullb0\ndirect=1\nioengine=libaio\nbs=4k\nsize=32m\nrw=randrw\niodepth=16\nnumber_ios=4000\n',
}
const DISK = 'null_blk,size=64,irqmode=2,completion_nsec=100000,submit_queues=2,hw_queue_depth=4'

function run(clock: 'real' | 'virtual', writes: readonly string[]) {
  const queue = writes.map(text => `--queue=${text}`)
  return succeed(['j.fio', `--clock=${clock}`, '--cpus=2', '--device', DISK, ...queue], FILES)
}

async function refused(...writes: string[]): Promise<string> {
  const queue = writes.map(text => `--queue=${text}`)
  try {
    await execute(['j.fio', '--clock=virtual', '--device', DISK, ...queue], FILES)
  } catch (error) {
    if (error instanceof UserError) return error.message
    throw error
  }
  return ''
}

/** How many completions went to another CPU, of two with one queue between them. */
async function ipis(machine: object, ...writes: string[]): Promise<number> {
  const text = JSON.stringify({ devices: ['nvme,size=64M,queues=1,wait=irq'], ...machine })
  const lines =
    '[a]\nfilename=/dev/nvme0n1\ndirect=1\nioengine=libaio\nbs=4k\nsize=32m\nrw=randread\niodepth=4\nnumber_ios=100\nnumjobs=2\n'
  const queue = writes.map(write => `--queue=${write}`)
  let sent = -1
  const { failures } = await execute(
    ['j.fio', '--clock=virtual', '--cpus=2', '--machine=m.json', ...queue],
    { 'j.fio': lines, 'm.json': text },
    { onEnd: m => (sent = [0, 1].reduce((n, i) => n + m.view.u64(m.cpuAddress(i) + CPU_IPIS), 0)) },
  )
  expect(failures).toEqual([])
  return sent
}

describe('rq_affinity', () => {
  it('blk-mq 20.23: who shares a cache with the submitter completes for it, unless it is 2', async () => {
    expect(await ipis({})).toBe(100)
    expect(await ipis({ cache: 2 }, 'nvme0n1/rq_affinity=1')).toBe(0)
    expect(await ipis({ cache: 2 }, 'nvme0n1/rq_affinity=2')).toBe(100)
    expect(await ipis({}, 'nvme0n1/rq_affinity=0')).toBe(0)
  })
})

describe('attributes of a queue while jobs run', () => {
  it.each(['virtual', 'real'] as const)('the scheduler changes five times, %s', async clock => {
    const result = await run(clock, [
      '1ms:nullb0/scheduler=mq-deadline',
      '5ms:nullb0/iosched/fifo_batch=2',
      '8ms:nullb0/iosched/front_merges=0',
      '12ms:/sys/block/nullb0/queue/scheduler=kyber',
      '16ms:nullb0/iosched/read_lat_nsec=1000000',
      '20ms:nullb0/scheduler=none',
      '24ms:nullb0/scheduler=mq-deadline',
      '28ms:nullb0/scheduler=kyber',
      '30ms:nullb0/nomerges=2',
      '32ms:nullb0/rq_affinity=0',
    ])
    const { read, write } = job(result, 'a')
    expect(read.totalIos + write.totalIos).toBe(4000)
  })

  it.each(['virtual', 'real'] as const)('the number of requests, %s', async clock => {
    const result = await run(clock, [
      '1ms:nullb0/nr_requests=4',
      '3ms:nullb0/scheduler=mq-deadline',
      '5ms:nullb0/nr_requests=4',
      '8ms:nullb0/nr_requests=200',
      '12ms:nullb0/nr_requests=2048',
      '16ms:nullb0/nr_requests=7',
      '20ms:nullb0/scheduler=kyber',
      '24ms:nullb0/nr_requests=100',
      '28ms:nullb0/scheduler=none',
    ])
    const { read, write } = job(result, 'a')
    expect(read.totalIos + write.totalIos).toBe(4000)
  })

  it('blk-mq 17: more than 2048 requests, or more than the driver has tags, are refused; less than 4 are 4', async () => {
    const writes = ['nullb0/nr_requests=0', 'nullb0/nr_requests=5']
    const more = ['1ms:nullb0/scheduler=kyber', '2ms:nullb0/nr_requests=2049']
    const queue = [...writes, ...more].map(text => `--queue=${text}`)
    const args = ['j.fio', '--clock=virtual', '--device', DISK, ...queue]
    const { failures } = await execute(args, FILES)
    expect(failures).toEqual(['5', '2049'].map(n => `--queue nullb0/nr_requests=${n}: EINVAL`))
  })

  it('with four requests a job of depth 16 is as slow as four at once are', async () => {
    const speed = async (...writes: string[]): Promise<number> => {
      const disk = DISK.replace('hw_queue_depth=4', 'hw_queue_depth=16')
      const queue = writes.map(text => `--queue=${text}`)
      const result = await succeed(['j.fio', '--clock=virtual', '--device', disk, ...queue], FILES)
      return iops(job(result, 'a'), 'read')
    }
    const [many, few] = [await speed(), await speed('nullb0/nr_requests=4')]
    expect(many / few).toBeGreaterThan(3)
  })

  it('a tunable that is not there when it is written is a failure of the run', async () => {
    const { failures } = await execute(
      ['j.fio', '--clock=virtual', '--device', DISK, '--queue=1ms:nullb0/iosched/fifo_batch=4'],
      FILES,
    )
    expect(failures).toEqual(['--queue nullb0/iosched/fifo_batch=4: ENOENT'])
  })

  it.each([
    ['nullb0/scheduler=cfq', 'none, mq-deadline, kyber'],
    ['nullb0/colour=red', 'scheduler, nomerges, rq_affinity'],
    ['sda/scheduler=none', 'nullb0'],
    ['nullb0', '[TIME:]DISK/ATTRIBUTE=VALUE'],
    ['soon:nullb0/scheduler=none', '[TIME:]DISK/ATTRIBUTE=VALUE'],
  ])('--queue=%s is refused, and what there is is said', async (text, says) => {
    const message = await refused(text)
    expect(message).toContain(says)
    expect(message).not.toContain('\n')
  })
})

describe('attributes of a pblk while jobs run', () => {
  const LINES =
    '[a]\nfilename=/dev/pblk0\ndirect=1\nioengine=libaio\nbs=4k\nsize=2m\nrw=randwrite\niodepth=16\n'
  const DEVICES = [
    'nvme,ocssd=2.0,groups=2,pus=2,chunks=40,clba=64,ws-opt=4,mw-cunits=8',
    'pblk,parent=nvme0n1,op=40',
  ].flatMap(device => ['--device', device])

  /** What the attributes of the pblk say when the job is over. */
  async function written(clock: string, ...writes: string[]) {
    const texts = new Map<string, string>()
    const queue = writes.map(one => `--queue=${one}`)
    const { failures } = await execute(
      ['j.fio', `--clock=${clock}`, '--cpus=1', '--dump=pblk', ...DEVICES, ...queue],
      { 'j.fio': LINES },
      {
        onDump: dump => {
          for (const { path, text } of dump.files) texts.set(path.split('/').pop()!, text.trim())
        },
      },
    )
    return { failures, value: (name: string) => texts.get(name) ?? '' }
  }

  it.each(['virtual', 'real'])('are written at their time, %s', async clock => {
    const untouched = await written(clock)
    expect(untouched.value('max_sec_per_write')).toBe('4')
    const { failures, value } = await written(
      clock,
      '/sys/block/pblk0/pblk/max_sec_per_write=8',
      '1us:pblk0/pblk/write_amp_trip=0',
    )
    expect(failures).toEqual([])
    expect(value('max_sec_per_write')).toBe('8')
    expect(value('write_amp_mileage')).toMatch(/^user:512 /)
  })

  it('what a pblk refuses is a failure of the run', async () => {
    const { failures } = await written('virtual', 'pblk0/pblk/max_sec_per_write=7')
    expect(failures).toEqual(['--queue pblk0/pblk/max_sec_per_write=7: EINVAL'])
  })

  it('are those that a pblk has, and of a pblk', async () => {
    const writable = pblk_sysfs.attributes.filter(attr => attr.writable).map(attr => attr.name)
    expect([...PBLK_WRITABLE].sort()).toEqual(writable.sort())
    expect(await refused('nullb0/pblk/gc_force=1')).toContain('no such pblk; there are none')
    expect(await refused('nullb0/pblk/lines=1')).toContain('gc_force, max_sec_per_write')
  })
})
