// Every fault by each of the four ways to set it: the device's text, a machine file, the API's devices, and while a machine
// runs. The same happens, at the same time.

import { describe, expect, test } from 'vitest'
import { IoError } from '../../src/workload/open-io.js'
import { openMachine } from '../../src/workload/open-machine.js'
import { execute, job } from './run.js'

const LINES = '[a]\nfilename=/dev/nvme0n1\ndirect=1\nbs=4k\nsize=32k\nrw=read\nignore_error=EIO\n'
const SIZE = 'size=16M'

/** What a job of eight reads came to. */
async function run(...args: string[]): Promise<unknown> {
  const files = {
    'j.fio': LINES,
    'm.json': JSON.stringify({ devices: [{ type: 'nvme', size: '16M', fault: [FAULT.text] }] }),
  }
  const { result, failures } = await execute(
    ['j.fio', '--clock=virtual', '--cpus=1', ...args],
    files,
  )
  const { read, error, totalErrors } = job(result, 'a')
  return { failures, error, totalErrors, ios: read.totalIos, ns: read.runtimeNs }
}

const FAULT = { text: '' }

let plain: number | undefined

/** ns of the same job without a fault. */
async function unharmed(): Promise<number> {
  plain ??= ((await run(`--device=nvme,${SIZE}`)) as { ns: number }).ns
  return plain
}

interface Reads {
  /** errno of each read, 0 = good. */
  readonly errors: number[]
  /** Reads whose data were not what was written. */
  readonly spoilt: number
  readonly ns: number
}

/** Four reads of what was written, after `arm`. */
async function reads(device: string, arm: (fault: (text: string) => void) => void): Promise<Reads> {
  const machine = await openMachine({ devices: [device], probe: true })
  const data = new Uint8Array(4096).fill(7)
  await machine.write(0, data)
  arm(text => machine.addFault(text))
  const began = machine.nowNs
  const errors: number[] = []
  let spoilt = 0
  for (let n = 0; n < 4; n++)
    try {
      if ((await machine.read(0, 4096)).some(byte => byte !== 7)) spoilt++
      errors.push(0)
    } catch (error) {
      expect(error).toBeInstanceOf(IoError)
      errors.push((error as IoError).errno)
    }
  const ns = machine.nowNs - began
  await machine.close()
  return { errors, spoilt, ns }
}

const SECOND = 1e9
const EIO = 5

describe.each([
  ['status:0x4281/op:read/nth:2', [0, EIO, 0, 0], 0, 0],
  ['delay:7ms/op:read/nth:2', [0, 0, 0, 0], 0, 7e6],
  // aborted after 30 s, and sent again
  ['drop/op:read/nth:2', [0, 0, 0, 0], 0, 30 * SECOND],
  ['duplicate/op:read/nth:2', [0, 0, 0, 0], 0, 0],
  ['corrupt/op:read/nth:2', [0, 0, 0, 0], 1, 0],
  ['corrupt:cid/op:read/nth:2', [0, 0, 0, 0], 0, 30 * SECOND],
  ['corrupt:phase/op:read/nth:2', [0, 0, 0, 0], 0, 30 * SECOND],
  ['stuck/op:read/nth:2', [0, EIO, EIO, EIO], 0, 30 * SECOND],
  ['stuck:fatal/op:read/nth:2', [0, EIO, EIO, EIO], 0, 30 * SECOND],
  ['remove/op:read/nth:2', [0, EIO, EIO, EIO], 0, 0],
] as const)('%s', (text, errors, spoilt, least) => {
  test('by the API, and while the machine runs', async () => {
    const before = await reads(`nvme,${SIZE},fault=${text}`, () => {})
    const during = await reads(`nvme,${SIZE}`, add => add(text))
    expect(before).toEqual(during)
    expect(before.errors).toEqual(errors)
    expect(before.spoilt).toBe(spoilt)
    expect(before.ns).toBeGreaterThanOrEqual(least * 0.99)
    expect(before.ns).toBeLessThan(least + 150 * SECOND)
  })

  test('by the text of a device, and by a machine file', async () => {
    FAULT.text = text
    const device = await run(`--device=nvme,${SIZE},fault=${text}`)
    const file = await run('--machine=m.json')
    expect(file).toEqual(device)
    const { ios, totalErrors, ns } = device as { ios: number; totalErrors: number; ns: number }
    // a job goes on after an error, but not without its disk
    if (errors.some(error => error !== 0)) expect(totalErrors).toBeGreaterThan(0)
    else expect([ios, totalErrors]).toEqual([8, 0])
    if (least > 0) expect(ns - (await unharmed())).toBeGreaterThan(least * 0.9)
  })
})
