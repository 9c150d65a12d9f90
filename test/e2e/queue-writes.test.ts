// phasebit run --queue: attributes of queues that change while jobs run.

import { describe, expect, it } from 'vitest'
import { CPU_IPIS } from '../../assembly/layout.js'
import { UserError } from '../../src/core/errors.js'
import { execute, job, succeed } from './run.js'

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
