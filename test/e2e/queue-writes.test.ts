// phasebit run --queue: attributes of queues that change while jobs run.

import { describe, expect, it } from 'vitest'
import { CPU_IPIS } from '../../assembly/layout.js'
import { UserError } from '../../src/core/errors.js'
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
