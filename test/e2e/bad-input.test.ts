// What a user may get wrong: one line that says what and where, the exit status that belongs to it, and nothing begun.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OutputError, UserError } from '../../src/core/errors.js'
import { execute } from './run.js'

const GOOD = '[a]\nfilename=/dev/nvme0n1\ndirect=1\nsize=1m\n'

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-bad-'))
  mkdirSync(join(dir, 'folder'))
  writeFileSync(join(dir, 'empty.fio'), '')
  writeFileSync(join(dir, 'binary.fio'), Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 0))
  writeFileSync(join(dir, 'latin.fio'), Uint8Array.of(0x5b, 0x61, 0x5d, 0x0a, 0xe4, 0xf6))
  writeFileSync(join(dir, 'loop.fio'), `[a]\ninclude ${join(dir, 'one.inc')}\n`)
  writeFileSync(join(dir, 'one.inc'), `include ${join(dir, 'two.inc')}\n`)
  writeFileSync(join(dir, 'two.inc'), `include ${join(dir, 'one.inc')}\n`)
  symlinkSync('/dev/full', join(dir, 'full_bw.1.log'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** How the run ended: its error, and whether any job began. */
async function failure(args: readonly string[]): Promise<{ error: Error; began: boolean }> {
  let began = false
  try {
    await execute(
      ['--clock=virtual', ...args],
      { 'good.fio': GOOD },
      { onStart: () => (began = true) },
    )
  } catch (error) {
    return { error: error as Error, began }
  }
  throw new Error('it succeeded')
}

/** A word that names a file of this test's folder. */
const place = (word: string): string => word.replace('DIR', dir)

describe('exit status 64, before any I/O', () => {
  it.each([
    [['DIR/missing.fio'], /missing\.fio: cannot be read: no such file/],
    [['DIR/empty.fio'], /empty\.fio: the file is empty/],
    [['DIR/binary.fio'], /binary\.fio: not a text file/],
    [['DIR/latin.fio'], /latin\.fio: not a text file/],
    [['DIR/folder'], /folder: cannot be read: is a directory/],
    [['DIR/loop.fio'], /two\.inc:1: include .*one\.inc: the file includes itself/],
    [['good.fio', '--size=99999999999t'], /size=99999999999t: .* is too large/],
    [['good.fio', '--offset=9007199254740992'], /offset=9007199254740992: .* is too large/],
    [['good.fio', '--bs=8g'], /bs=8g: must be at most 2147483647/],
    [['good.fio', '--iodepth=0'], /iodepth=0: must be at least 1/],
    [
      ['good.fio', '--queue=nvme0n1/nr_requests=many'],
      /nr_requests=many: nr_requests must be a whole number/,
    ],
    [['good.fio', '--queue=nvme0n1/nr_hw_queues=2'], /must be one of scheduler, nomerges/],
    [['good.fio', '--numjobs=0'], /numjobs=0: must be at least 1/],
    [['good.fio', '--numjobs=5000'], /numjobs=5000: more than 4096 jobs/],
    [
      ['good.fio', '--numjobs=4000', '--ioengine=libaio', '--iodepth=512'],
      /more than 2 GiB of buffers in flight at once/,
    ],
    [
      ['good.fio', '--device=nvme,size=1g,queues=2,poll-queues=3'],
      /poll-queues=3 leaves none of queues=2 with an interrupt/,
    ],
    [['good.fio', '--device=nvme,size=1g,model=null,latency=1us'], /unknown key latency/],
    [['good.fio', '--device=nvme,size=1g,size=2g'], /size is given twice/],
    [['good.fio', '--device=nvme,size=1g,depth=1'], /depth=1: must be a whole number from 2/],
    [['good.fio', '--device=nvme,size=1m', '--size=2m'], /ends at 2 MiB, .* ends at 1 MiB/],
    [['good.fio', '--device=nvme', '--filename=/dev/nvme3n1'], /the machine has \/dev\/nvme0n1/],
  ])('%j', async (args, message) => {
    const { error, began } = await failure(args.map(place))
    expect(error).toBeInstanceOf(UserError)
    expect((error as UserError).exitStatus).toBe(64)
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('\n')
    expect(began).toBe(false)
  })
})

describe('exit status 1, nothing left behind', () => {
  it.each([
    [['good.fio', '--write_bw_log=DIR/none/x'], false, /none\/x_bw\.1\.log: its folder does not/],
    [['good.fio', '--write_iolog=DIR/folder'], false, /folder: it is a folder/],
    [['good.fio', '--write_bw_log=DIR/full', '--rw=write'], true, /no space left on the device/],
  ])('%j', async (args, begins, message) => {
    const before = readdirSync(dir)
    const { error, began } = await failure(args.map(place))
    expect(error).toBeInstanceOf(OutputError)
    expect((error as OutputError).exitStatus).toBe(1)
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain('\n')
    expect(began).toBe(begins)
    expect(readdirSync(dir)).toEqual(before)
  })
})
