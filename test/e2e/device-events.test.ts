// Events of controllers while jobs run: from the device's text, from a machine file, and asked for by a program.

import { describe, expect, test } from 'vitest'
import { parseDevices, formatDevice } from '../../src/machine/spec-parse.js'
import { openMachine } from '../../src/workload/open-machine.js'
import { execute, job } from './run.js'

const JOB =
  '[a]\nfilename=/dev/nvme0n1\ndirect=1\nioengine=libaio\niodepth=8\nbs=4k\nsize=8m\nrw=randrw\nverify=crc32c\n'

/** A job that verifies what it wrote, on a disk with these events. */
async function run(events: readonly string[], ...args: string[]) {
  const texts = events.map(one => `event=${one}`)
  const device = ['nvme,size=16M', ...texts].join(',')
  const { result, failures } = await execute(
    ['j.fio', '--clock=virtual', `--device=${device}`, ...args],
    { 'j.fio': JOB },
  )
  const { read, write, error } = job(result, 'a')
  return { failures, error, ios: [read.totalIos, write.totalIos], ns: read.runtimeNs }
}

describe('events while a job runs', () => {
  test.each([
    ['reset', 0],
    ['flr', 0],
    ['aer', 0],
    ['aer/nonfatal', 0],
    ['suspend/5s', 5e9],
    ['rescan', 0],
    // nobody is told: the driver's timeouts find it
    ['subsystem-reset', 30e9],
  ])('%s: everything is written and read, after a while', async (event, least) => {
    const plain = await run(['100s:reset'])
    const { ns, ...rest } = await run([`1ms:${event}`])
    expect(rest).toEqual({ failures: [], error: 0, ios: plain.ios })
    expect(ns).toBeGreaterThan(least)
    if (event !== 'rescan' && event !== 'aer/nonfatal') expect(ns).toBeGreaterThan(plain.ns)
  })

  test('several at once, by a machine file and in the old driver', async () => {
    const event = ['1ms:flr', '1ms:flr', '2ms:suspend/300ms', '3ms:flr']
    const machine = { devices: [{ type: 'nvme', size: '16M', event }] }
    const { result, failures } = await execute(['j.fio', '--clock=virtual', '--machine=m.json'], {
      'j.fio': JOB,
      'm.json': JSON.stringify(machine),
    })
    expect([failures, job(result, 'a').error]).toEqual([[], 0])
    expect(await run(['1ms:flr', '400ms:suspend/1s'], '--kernel=4.9')).toMatchObject({ error: 0 })
  })

  test('power that goes takes what was not flushed along, and verification finds it', async () => {
    const lost = await run(['2ms:power-loss'], '--rw=write')
    expect(lost.failures.join()).toMatch(/verify=crc32c failed .* of \d+ bad intervals/)
    const late = await run(['10ms:power-loss'], '--rw=write')
    expect(late.failures.join()).toMatch(/verify=crc32c failed/)
    const flushed = await run(['10ms:power-loss'], '--rw=write', '--end_fsync=1')
    expect(flushed).toMatchObject({ failures: [], error: 0, ios: [2048, 2048] })
    expect(flushed.ns).toBeGreaterThan(30e9)
  })

  test('a controller without its driver: the job fails, and events that come later', async () => {
    const { error, failures } = await run(['1ms:unbind', '1ms:reset'])
    expect(error).not.toBe(0)
    expect(failures.join('\n')).toMatch(/^nvme0n1: event=1ms:reset: (ENODEV|EBUSY)$/m)
  })

  test('what is no event is one line', () => {
    for (const [event, line] of [
      ['reset', /TIME:EVENT, such as 10ms:reset/],
      ['1ms:sleep', /one of reset, flr, .*suspend\/TIME/],
      ['1ms:suspend', /suspend needs a time/],
      ['1ms:flr/2', /flr takes nothing/],
      ['1ms:aer/fatal', /aer takes nothing or \/nonfatal/],
    ] as const)
      expect(() => parseDevices([`nvme,event=${event}`])).toThrow(line)
    const text = 'nvme,event=1ms:suspend/5s,event=2ms:aer,event=0:aer/nonfatal,event=3s:power-loss'
    const [spec] = parseDevices([text])
    expect(parseDevices([formatDevice(spec!)])).toEqual([spec])
  })
})

describe('events asked for by a program', () => {
  test('each ends; data are there', async () => {
    const machine = await openMachine({ devices: ['nvme,size=16M'], probe: true })
    const data = new Uint8Array(4096).fill(7)
    await machine.write(0, data)
    for (const event of ['reset', 'flr', 'suspend/1s', 'aer', 'aer/nonfatal', 'rescan']) {
      const under_way = Array.from({ length: 8 }, (_, i) => machine.read(i * 4096, 4096))
      await Promise.all([...under_way, machine.event(event)])
      expect(await machine.read(0, 4096)).toEqual(data)
    }
    expect(machine.balanced).toBe(true)
    await expect(machine.event('sleep')).rejects.toThrow(/one of reset/)
    await machine.event('unbind')
    await expect(machine.event('reset')).rejects.toThrow()
    await machine.close()
  })

  test('a disk without a controller, and events of a device text, are refused', async () => {
    const machine = await openMachine({ devices: ['nvme,size=16M'] })
    await expect(machine.event('reset')).rejects.toThrow(/probe: true/)
    await machine.close()
    await expect(openMachine({ devices: ['nvme,event=1ms:reset'] })).rejects.toThrow(/event\(\)/)
  })
})
