// nvme-cli's words on a booted machine.

import { describe, expect, test } from 'vitest'
import { nvmeCommand } from '../../src/cli/nvme.js'
import { OutputError, UserError } from '../../src/core/errors.js'

/** What a word writes to standard output. */
async function out(...args: string[]): Promise<string> {
  let text = ''
  const write = process.stdout.write
  process.stdout.write = ((chunk: string, done: (error?: Error) => void) => {
    text += chunk
    done()
    return true
  }) as typeof process.stdout.write
  try {
    expect(await nvmeCommand(args)).toBe(0)
  } finally {
    process.stdout.write = write
  }
  return text
}

describe('phasebit nvme', () => {
  test('id-ctrl: fields by their names', async () => {
    const id = JSON.parse(await out('id-ctrl', '/dev/nvme0', '-o', 'json')) as Record<
      string,
      unknown
    >
    expect(id.sqes).toBe(0x66)
    expect(id.cqes).toBe(0x44)
    expect(await out('id-ctrl', '/dev/nvme0')).toContain('mn        : phasebit NVMe Ctrl')
  })

  test('id-ns, list, list-ns: the disk of the device text', async () => {
    const device = ['--device', 'nvme,size=1G,lba=4096']
    const ns = JSON.parse(await out('id-ns', '/dev/nvme0n1', '-o', 'json', ...device)) as {
      nsze: number
      flbas: number
      lbafs: { ds: number }[]
    }
    expect(ns.nsze).toBe(2 ** 18)
    expect(ns.lbafs[ns.flbas & 15]!.ds).toBe(12)
    const list = JSON.parse(await out('list', '-o', 'json', ...device)) as {
      Devices: { DevicePath: string; PhysicalSize: number }[]
    }
    expect(list.Devices).toMatchObject([{ DevicePath: '/dev/nvme0n1', PhysicalSize: 2 ** 30 }])
    expect(await out('list-ns', '/dev/nvme0', ...device)).toBe('[   0]:0x1\n')
  })

  test('features, logs, registers', async () => {
    expect(await out('get-feature', '/dev/nvme0', '-f', '7')).toMatch(
      /^get-feature:0x07, Current value:0x/,
    )
    expect(await out('set-feature', '/dev/nvme0', '-f', '4', '-v', '0x150')).toContain(
      'value:0x00000150',
    )
    expect(await out('smart-log', '/dev/nvme0')).toContain('critical_warning')
    expect(await out('error-log', '/dev/nvme0', '-e', '1')).toContain('error_count')
    expect(await out('get-log', '/dev/nvme0', '-i', '2', '--log-len=64')).toContain('0030: ')
    const regs = JSON.parse(await out('show-regs', '/dev/nvme0', '-o', 'json')) as Record<
      string,
      number
    >
    expect(regs).toMatchObject({ cc: 0x460001, csts: 1, aqa: 0x1f001f })
    const old = ['--kernel', '4.9', '-o', 'json']
    const before = JSON.parse(await out('show-regs', '/dev/nvme0', ...old)) as Record<
      string,
      number
    >
    expect(before).toMatchObject({ cc: 0x460001, csts: 1, aqa: 0xff00ff })
  })

  test('reset, format, delete-ns', async () => {
    expect(await out('reset', '/dev/nvme0')).toBe('')
    expect(await out('format', '/dev/nvme0n1', '-l', '2')).toContain('Success')
    expect(await out('delete-ns', '/dev/nvme0', '-n', '1')).toContain('deleted nsid:1')
  })

  test('what the controller refuses is its status, what the user got wrong a line', async () => {
    await expect(nvmeCommand(['id-ns', '/dev/nvme0', '-n', '77'])).rejects.toThrow(OutputError)
    for (const args of [
      ['id-ctrl'],
      ['id-ctrl', '/dev/nvme7'],
      ['id-ctrl', '/dev/nvme0', '--frobnicate'],
      ['get-feature', '/dev/nvme0'],
      ['get-feature', '/dev/nvme0', '-f', '0x1ff'],
      ['get-feature', '/dev/nvme0', '-f', 'x'],
      ['get-log', '/dev/nvme0', '-i', '2', '--log-len', '3'],
      ['show-regs', '/dev/nvme0', '-o', 'yaml'],
      ['show-regs', '/dev/nvme0', '--kernel', '3.2'],
      ['nonsense'],
    ])
      await expect(nvmeCommand(args), args.join(' ')).rejects.toThrow(UserError)
  })
})
