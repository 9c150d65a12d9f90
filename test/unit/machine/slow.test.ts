import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import { END_IO_RING } from '../../../assembly/layout.js'
import { REQ_OP_READ } from '../../../assembly/nvme.js'
import {
  bootMachine,
  type Machine,
  type SlowContext,
  type SlowHandlers,
} from '../../../src/machine/machine.js'
import { serviceSlow, slowPending } from '../../../src/machine/slow.js'
import { diskConfig, machineConfig } from './helper.js'

function boot(): { machine: Machine; context: SlowContext } {
  const machine = bootMachine(machineConfig({ disks: [diskConfig({ model: 'fixed' })] }))
  const cpu = machine.cpuAddress(0)
  const { core, view, now } = machine
  return { machine, context: { core, view, cpu, index: 0, now, post: () => {} } }
}

describe('serviceSlow', () => {
  it('clears the flags that called it', () => {
    const { machine, context } = boot()
    machine.view.setU32(context.cpu + L.CPU_SLOW, 1)
    machine.view.store(context.cpu + L.CPU_MAIL, 1)
    expect(slowPending(machine.view, context.cpu)).toBe(true)
    serviceSlow(context, {})
    expect(slowPending(machine.view, context.cpu)).toBe(false)
  })

  it('hands jobs that wait for TypeScript to the job handler, with their reason', () => {
    const { machine, context } = boot()
    const jobs = [0, 1, 2].map(i => machine.jobAddress(i))
    for (const job of jobs) machine.linkJob(job, 0)
    machine.view.store(jobs[1]! + L.JOB_STATE, L.JOB_WAIT_HOST)
    machine.view.setU32(jobs[1]! + L.JOB_HOST_WHY, L.HOST_LOG)
    const seen: [number, number][] = []
    const handlers: SlowHandlers = { job: (_, job, why) => seen.push([job, why]) }
    serviceSlow(context, handlers)
    expect(seen).toEqual([[jobs[1], L.HOST_LOG]])
    expect(() => serviceSlow(context, {})).toThrow(`nobody serves host request ${L.HOST_LOG}`)
  })

  it('asks for the check of digests before anything else, whatever the job does', () => {
    const { machine, context } = boot()
    const job = machine.jobAddress(0)
    machine.linkJob(job, 0)
    machine.view.setU32(job + L.JOB_DONE_HEAD, 4096)
    machine.view.store(job + L.JOB_STATE, L.JOB_RUN)
    const seen: number[] = []
    const handlers: SlowHandlers = {
      job: (_, job, why) => {
        seen.push(why)
        machine.view.setU32(job + L.JOB_DONE_HEAD, 0)
      },
    }
    serviceSlow(context, handlers)
    serviceSlow(context, handlers)
    expect(seen).toEqual([L.HOST_CHECK])
  })

  it('notes the rolling timer of a queue as running, so that requests ask no more', () => {
    const { machine, context } = boot()
    const { q } = machine.disks[0]!
    machine.view.store(L.M_BASE + L.M_JIFFIES, 100)
    serviceSlow(context, {})
    expect(machine.view.load(q + L.Q_TIMER_ARMED)).toBe(1)
    expect(machine.view.load(q + L.Q_TIMER_NEXT)).toBe(100)
  })

  it('delivers bios of TypeScript in the order in which they ended', async () => {
    const { machine, context } = boot()
    const { core, view } = machine
    const { cpu } = context
    const seen: number[] = []
    await machine.start()
    core.blk_start_plug(cpu)
    for (let i = 0; i < 5; i++) {
      const bio = machine.alloc(L.BIO_BYTES)
      view.setU32(bio + L.BIO_OPF, REQ_OP_READ)
      view.setU64(bio + L.BIO_SECTOR, i * 1000)
      view.setU32(bio + L.BIO_SIZE, 4096)
      view.setU32(bio + L.BIO_DATA, machine.alloc(4096, 4096))
      view.setU32(bio + L.BIO_END_IO, END_IO_RING)
      view.setU32(bio + L.BIO_PRIVATE, i + 1)
      view.setU32(bio + L.BIO_DISK, machine.disks[0]!.q)
      expect(core.submit_bio(cpu, bio)).toBeGreaterThanOrEqual(0)
    }
    core.blk_finish_plug(cpu)
    machine.kick(0)
    await machine.run(1e6)
    serviceSlow(context, { bio: (_, bio) => seen.push(view.u32(bio + L.BIO_PRIVATE)) })
    expect(seen).toEqual([1, 2, 3, 4, 5])
    expect(machine.books()).toMatchObject({ submitted: 5, completed: 5, balanced: true })
  })
})
