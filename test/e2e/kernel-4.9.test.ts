// `--kernel 4.9`: jobs on a disk whose driver is of the age of one nvme_workq.
import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import { run } from '../../src/index.js'

const JOB = ['--name=a', '--rw=randrw', '--bs=4k', '--filename=/dev/nvme0n1', '--size=1m']
const MORE = ['--direct=1', '--ioengine=libaio', '--iodepth=8', '--number_ios=200', '--cpus=2']

describe('jobs on the driver of 4.9', () => {
  it.each(['virtual', 'real'])('end, every one, in %s time', async clock => {
    const { result, failures } = await run([...JOB, ...MORE, '--kernel=4.9', `--clock=${clock}`])
    expect(failures).toEqual([])
    const [{ read, write }] = result.jobs
    expect(read.totalIos + write.totalIos).toBe(200)
    expect(result.phasebit).toMatchObject({ kernel: '4.9', books: { balanced: true } })
  })

  it.each([1, 8])(
    'depth %i: a read that is lost takes its whole timeout, and is not tried again after the reset',
    async depth => {
      const device = '--device=nvme,size=64M,fault=drop/op:read/nth:20'
      const args = [
        ...JOB,
        ...MORE,
        `--iodepth=${depth}`,
        device,
        '--kernel=4.9',
        '--clock=virtual',
      ]
      const { result, failures } = await run([...args, '--continue_on_error=read'])
      expect(failures).toEqual(['job a: Input/output error'])
      expect(result.phasebit.books).toMatchObject({ balanced: true, failed: 1 })
      const [{ read, write, totalErrors }] = result.jobs
      expect([read.totalIos + write.totalIos, totalErrors]).toEqual([199, 1])
    },
  )

  it('of 4.19 it is tried again', async () => {
    const device = '--device=nvme,size=64M,fault=drop/op:read/nth:20'
    const { result, failures } = await run([...JOB, ...MORE, device, '--clock=virtual'])
    expect(failures).toEqual([])
    expect(result.phasebit.books).toMatchObject({ balanced: true, failed: 0 })
    expect(result.jobs[0].read.totalIos + result.jobs[0].write.totalIos).toBe(200)
  })
})

describe('what 4.9 has not', () => {
  it.each([
    ['nvme,size=64M,sched=kyber', 'sched=kyber: Linux 4.9 has no scheduler for several queues'],
    ['nvme,ocssd=2.0', 'nvme,ocssd=2.0: Linux 4.9 has no driver for it'],
  ])('%s is refused', async (device, why) => {
    const refused = run([...JOB, '--kernel=4.9', '--clock=virtual', `--device=${device}`])
    await expect(refused).rejects.toThrow(UserError)
    await expect(refused).rejects.toThrow(why)
  })
})
