// phasebit run on /dev/rrpc0, beside pblk and alone: every I/O ends, data are what was written, the books balance.

import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import { execute, ios, job, succeed } from './run.js'

/** Four LUNs, 32 blocks of 64 sectors each. */
const SMALL =
  'nvme,ocssd=1.2,l2p=1,channels=2,luns=2,planes=1,sectors=1,pages=64,blocks=32,cell=slc'

interface Setup {
  readonly device?: string
  readonly target?: string
  readonly cpus?: number
  readonly head?: string
}

function words({ device = SMALL, target = 'rrpc,parent=nvme0n1', cpus = 2 }: Setup): string[] {
  return ['j.fio', '--clock=virtual', `--cpus=${cpus}`, '--device', device, '--device', target]
}

function text(lines: string, head = 'filename=/dev/rrpc0\nbs=4k\nsize=8m'): Record<string, string> {
  return { 'j.fio': `[a]\n${head}\ndirect=1\nioengine=libaio\n${lines}` }
}

const run = (lines: string, setup: Setup = {}) => succeed(words(setup), text(lines, setup.head))

describe('jobs on /dev/rrpc0', () => {
  it.each(['rw=write', 'rw=randrw', 'rw=randread'])(
    '%s: every I/O ends, and the books balance',
    async rw => {
      const result = await run(`${rw}\niodepth=16\nnumber_ios=800\n`)
      const [reads, writes] = ios(job(result, 'a'))
      expect(reads + writes).toBe(800)
      expect(result.phasebit.books).toMatchObject({ balanced: true, failed: 0, tagsHeld: 0 })
    },
  )

  it('verification finds what was written, when blocks have been collected, too', async () => {
    // 25.2 MiB of 32: written once and again.
    const head = 'filename=/dev/rrpc0\nbs=16k\nsize=24m\nloops=2'
    const result = await run('rw=randwrite\niodepth=8\nverify=crc32c\n', { head })
    // Written twice, read once.
    expect(ios(job(result, 'a')).slice(0, 2)).toEqual([1536, 2 * 1536])
    expect(result.phasebit.books).toMatchObject({ balanced: true })
  })

  it('a write waits for the media, and a flush for nothing', async () => {
    const result = await run('rw=randwrite\niodepth=1\nnumber_ios=64\n')
    const { write } = job(result, 'a')
    // SLC: 20 us on the channel, 800 us for the program.
    expect(write.runtimeNs / write.totalIos).toBeGreaterThan(820_000)
    const synced = await run('rw=randwrite\niodepth=1\nnumber_ios=64\nfsync=1\n')
    const ratio = job(synced, 'a').write.runtimeNs / write.runtimeNs
    expect(ratio).toBeLessThan(1.05)
  })

  it('trims, large pieces, several jobs on several CPUs', async () => {
    const trims = await run('rw=randtrimwrite\niodepth=4\nnumber_ios=100\n')
    const [, writes, trimmed] = ios(job(trims, 'a'))
    expect([writes + trimmed, trimmed > 0]).toEqual([200, true])
    const large = { head: 'filename=/dev/rrpc0\nbs=1m\nsize=8m' }
    const split = await run('rw=write\niodepth=4\nverify=xxhash\n', large)
    expect(ios(job(split, 'a')).slice(0, 2)).toEqual([8, 8])
    const head = 'filename=/dev/rrpc0\nbs=4k\nsize=2m\noffset_increment=2m'
    const lines = 'rw=randrw\niodepth=8\nnumber_ios=150\nnumjobs=4\nverify=crc32c\n'
    const many = await run(lines, { cpus: 4, head })
    expect(many.jobs).toHaveLength(4)
    expect(many.phasebit.books).toMatchObject({ balanced: true })
  })

  it('pblk ends a write in its buffer, rrpc on the media', async () => {
    const tiny = 'nvme,ocssd=2.0,groups=2,pus=2,chunks=32,clba=256,ws-opt=4,mw-cunits=8'
    const pblk = { device: tiny, target: 'pblk,parent=nvme0n1', head: 'filename=/dev/pblk0\nbs=4k' }
    const lines = 'size=4m\nrw=randwrite\niodepth=8\nnumber_ios=400\n'
    const [a, b] = [
      await run(lines, pblk),
      await run(lines, { head: 'filename=/dev/rrpc0\nbs=4k' }),
    ]
    const [fast, slow] = [a, b].map(one => job(one, 'a').write)
    expect(slow!.clat.min / fast!.clat.min).toBeGreaterThan(50)
  })

  it('what cannot be is told before any I/O', async () => {
    const fails = async (setup: Setup): Promise<string> => {
      const error = await (async () => execute(words(setup), text('rw=read\n')))().then(
        () => null,
        (e: unknown) => e,
      )
      expect(error).toBeInstanceOf(UserError)
      return (error as UserError).message
    }
    expect(await fails({ device: 'nvme,ocssd=1.2,planes=2,pages=512' })).toBe(
      'rrpc0: nvme0n1: 4096 sectors in a block, at most 512 can be',
    )
    expect(await fails({ device: SMALL.replace('l2p=1', 'l2p=0') })).toContain('keeps a table')
    expect(await fails({ device: SMALL.replace('blocks=32', 'blocks=13') })).toContain(
      'at least 14',
    )
    const old = {
      device: SMALL.replace('blocks=32', 'blocks=4'),
      target: 'rrpc,parent=nvme0n1,quirks=4.19',
    }
    expect(await fails(old)).toContain('too small')
  })

  it('in real time, too', async () => {
    const [file, , cpus, ...devices] = words({ cpus: 1 })
    const args = [file!, '--clock=real', cpus!, ...devices]
    const lines = 'rw=randwrite\niodepth=8\nnumber_ios=200\nverify=crc32c\n'
    const result = await succeed(args, text(lines, 'filename=/dev/rrpc0\nbs=4k\nsize=1m'))
    expect(ios(job(result, 'a'))[1]).toBe(200)
    expect(result.phasebit.books).toMatchObject({ balanced: true })
  })

  it('the stall of those kernels ends the writes, and the run', async () => {
    const target = 'rrpc,parent=nvme0n1,quirks=4.19'
    const { failures } = await execute(words({ target }), text('rw=write\nsize=24m\n'))
    expect(failures.join()).toMatch(/No space left|ENOSPC|error=28/i)
  })
})
