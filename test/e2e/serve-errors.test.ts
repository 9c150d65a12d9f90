// What `phasebit serve` does not take: one clear line each, before anything is served.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseServe } from '../../src/cli/serve.js'
import { OutputError, UserError } from '../../src/core/errors.js'
import { openTarget } from '../../src/workload/serve.js'

const folder = mkdtempSync(join(tmpdir(), 'phasebit-serve-'))
const at = (name: string): string => join(folder, name)
let busy: Server

beforeAll(async () => {
  writeFileSync(at('short'), 'x')
  writeFileSync(at('other'), 'no image of a disk, and longer than its header would be')
  busy = createServer()
  await new Promise<void>(resolve => busy.listen(0, '127.0.0.1', resolve))
})

afterAll(() => {
  busy.close()
  rmSync(folder, { recursive: true })
})

/** Serves, which must fail. @returns its error */
async function refused(args: readonly string[]): Promise<Error> {
  const smaller = args.includes('--device')
    ? args
    : [...args, '--device', 'nvme,size=16m,model=ram']
  try {
    const target = await openTarget(parseServe(smaller))
    await target.close()
  } catch (error) {
    return error as Error
  }
  throw new Error('it serves')
}

describe('phasebit serve', () => {
  const ours = ['--nvme-tcp', '127.0.0.1:0']

  it.each([
    ['a name that is none', ['--nqn', 'foo'], 'begins with nqn.'],
    ['the discovery name', ['--nqn', 'nqn.2014-08.org.nvmexpress.discovery'], 'discovery'],
    ['a name of 223 characters', ['--nqn', `nqn.${'x'.repeat(219)}`], 'less than 223'],
    ['a host that is none', ['--allow-host', 'bad'], 'begins with nqn.'],
    ['no address', ['--nvme-tcp', 'nonsense'], 'ADDRESS:PORT'],
    ['no port', ['--nvme-tcp', '127.0.0.1:99999'], 'ADDRESS:PORT'],
    ['no size', ['--mem', 'x'], 'a size such as 2g'],
    ['size 0', ['--mem', '0'], 'a size such as 2g'],
    ['no device', ['--device', 'foo'], 'is not a device'],
    ['a word too many', ['extra'], 'extra'],
    ['no option', ['--nope'], '--nope'],
  ])('%s', async (_, args, why) => {
    const error = await refused([...ours, ...args])
    expect(error).toBeInstanceOf(UserError)
    expect(error.message).toContain(why)
    expect(error.message).not.toContain('\n')
  })

  it.each([
    ['in a folder that is not there', ['none/disk'], 'ENOENT'],
    ['a folder', [''], 'EISDIR'],
    ['shorter than its header', ['short'], 'no image'],
    ['something else', ['other'], 'no image'],
    ['for a disk that is not there', ['a', 'b'], '2 files for 1 disk'],
  ])('a store: %s', async (_, files, why) => {
    const stores = files.flatMap(file => ['--store', at(file)])
    const error = await refused([...ours, ...stores])
    expect(error).toBeInstanceOf(UserError)
    expect(error.message).toContain(why)
  })

  it('a store: no file, one for two disks, one of a disk of another size', async () => {
    expect((await refused([...ours, '--store', '/dev/null'])).message).toContain('is no file')
    const disk = ['--device', 'nvme,size=16m,model=ram']
    const twice = ['--store', at('two'), '--store', join(folder, '.', 'two')]
    expect((await refused([...ours, ...disk, ...disk, ...twice])).message).toContain('of its own')
    const first = await openTarget(parseServe([...ours, ...disk, '--store', at('sized')]))
    await first.close()
    const larger = ['--device', 'nvme,size=32m,model=ram', '--store', at('sized')]
    expect((await refused([...ours, ...larger])).message).toContain(
      'holds a disk of 16777216 bytes',
    )
  })

  it('a store that somebody serves, until it is given back', async () => {
    const args = ['--device', 'nvme,size=16m,model=ram', '--store', at('shared')]
    const first = await openTarget(parseServe([...ours, ...args]))
    const error = await refused([...ours, ...args])
    expect(error).toBeInstanceOf(UserError)
    expect(error.message).toBe(
      `${at('shared')}: process ${process.pid} serves it (${at('shared')}.lock)`,
    )
    await first.close()
    expect(existsSync(at('shared.lock'))).toBe(false)
    // a port that cannot be had leaves no lock behind
    const { port } = busy.address() as { port: number }
    await refused(['--nvme-tcp', `127.0.0.1:${port}`, ...args])
    expect(existsSync(at('shared.lock'))).toBe(false)
  })

  it.each([
    ['of a process that is no more', '4194305 1\n'],
    ['of a process whose number is used again', `${process.pid} 1\n`],
    ['that says nothing', ''],
  ])('the lock of a store %s is taken over', async (_, text) => {
    writeFileSync(at('left.lock'), text)
    const args = ['--device', 'nvme,size=16m,model=ram', '--store', at('left')]
    const target = await openTarget(parseServe([...ours, ...args]))
    expect(readFileSync(at('left.lock'), 'latin1')).toMatch(new RegExp(`^${process.pid} `))
    await target.close()
    expect(existsSync(at('left.lock'))).toBe(false)
  })

  it('a port that somebody has', async () => {
    const { port } = busy.address() as { port: number }
    const error = await refused(['--nvme-tcp', `127.0.0.1:${port}`])
    expect(error).toBeInstanceOf(OutputError)
    expect(error.message).toBe(
      `127.0.0.1:${port}: listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
    )
  })
})
