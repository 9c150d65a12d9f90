// phasebit run on LightNVM targets, in virtual time: every I/O ends, data are what was written, the books balance. Tests are
// named after the statements of the sheet of pblk.

import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import { execute, ios, job, succeed } from './run.js'

/** 2 groups of 2 units, 40 chunks of 2 MiB each. */
const SMALL = 'nvme,ocssd=2.0,groups=2,pus=2,chunks=40,clba=512'

interface Setup {
  readonly device?: string
  readonly target?: string
  readonly cpus?: number
  readonly head?: string
}

function words({ device = SMALL, target = 'pblk,parent=nvme0n1', cpus = 2 }: Setup): string[] {
  return ['j.fio', '--clock=virtual', `--cpus=${cpus}`, '--device', device, '--device', target]
}

function text(lines: string, head = 'filename=/dev/pblk0\nbs=4k\nsize=8m'): Record<string, string> {
  return { 'j.fio': `[a]\n${head}\ndirect=1\nioengine=libaio\n${lines}` }
}

const run = (lines: string, setup: Setup = {}) => succeed(words(setup), text(lines, setup.head))

describe('jobs on /dev/pblk0', () => {
  it.each(['rw=write', 'rw=randwrite', 'rw=randrw', 'rw=read', 'rw=randread'])(
    '%s: every I/O ends, and the books balance',
    async rw => {
      const result = await run(`${rw}\niodepth=32\nnumber_ios=1500\n`)
      const [reads, writes] = ios(job(result, 'a'))
      expect(reads + writes).toBe(1500)
      expect(result.phasebit.books).toMatchObject({ balanced: true, failed: 0, tagsHeld: 0 })
    },
  )

  it.each(['mq-deadline', 'kyber'])(
    'the device below has %s, whose tokens come back',
    async name => {
      const lines = `rw=randwrite\nbs=16k\niodepth=4\nnumber_ios=400\n`
      const args = [...words({}), '--queue', `nvme0n1/scheduler=${name}`]
      const result = await succeed(args, text(lines))
      expect(ios(job(result, 'a'))[1]).toBe(400)
      expect(result.phasebit.books).toMatchObject({ balanced: true, failed: 0, tagsHeld: 0 })
    },
  )

  it('verification finds what was written, when it has left the buffer, too', async () => {
    const result = await run('rw=randwrite\niodepth=16\nverify=crc32c\n')
    expect(ios(job(result, 'a')).slice(0, 2)).toEqual([2048, 2048])
  })

  it('pieces larger than a vector command are split', async () => {
    const head = 'filename=/dev/pblk0\nbs=1m\nsize=16m'
    const result = await run('rw=write\niodepth=4\nverify=xxhash\n', { head })
    expect(ios(job(result, 'a')).slice(0, 2)).toEqual([16, 16])
  })

  it('a write waits for the media when the buffer is full', async () => {
    const result = await run('rw=write\niodepth=32\n')
    const { write } = job(result, 'a')
    const seconds = write.runtimeNs / 1e9
    expect((write.totalIos * 4096) / seconds).toBeLessThan(200e6)
  })

  it('fsync waits until what was written is on the media', async () => {
    const plain = await run('rw=randwrite\niodepth=1\nnumber_ios=64\n')
    const synced = await run('rw=randwrite\niodepth=1\nnumber_ios=64\nfsync=4\n')
    const [fast, slow] = [plain, synced].map(one => job(one, 'a').write.runtimeNs)
    expect(slow! / fast!).toBeGreaterThan(4)
  })

  it('trims are answered, and what was trimmed can be written again', async () => {
    const trims = await run('rw=randtrimwrite\niodepth=4\nnumber_ios=200\n')
    const [, writes, trimmed] = ios(job(trims, 'a'))
    expect([writes + trimmed, trimmed > 0]).toEqual([400, true])
  })

  it('several jobs on several CPUs', async () => {
    const lines = 'rw=randrw\niodepth=16\nnumber_ios=400\nnumjobs=4\nverify=crc32c\n'
    const head = 'filename=/dev/pblk0\nbs=4k\nsize=2m\noffset_increment=2m'
    const result = await run(lines, { cpus: 4, head })
    expect(result.jobs).toHaveLength(4)
    for (const one of result.jobs) expect(ios(one).every((n, i) => i === 2 || n > 0)).toBe(true)
    expect(result.phasebit.books).toMatchObject({ balanced: true })
  })

  it('deeper than the controller has tags: nothing is lost', async () => {
    const device = `${SMALL},depth=4,queues=1`
    const result = await run('rw=randrw\niodepth=64\nnumber_ios=800\nnumjobs=2\n', { device })
    expect(result.jobs.map(one => ios(one)[0] + ios(one)[1])).toEqual([800, 800])
  })

  it('overwriting a full disk makes the collector work', async () => {
    const device = 'nvme,ocssd=2.0,groups=1,pus=2,chunks=40,clba=64'
    const head = 'filename=/dev/pblk0\nbs=4k\nsize=60%'
    const lines = 'rw=randwrite\niodepth=16\nloops=2\nverify=crc32c\nverify_backlog=64\n'
    const result = await run(lines, { device, head, target: 'pblk,parent=nvme0n1,op=40' })
    expect(result.phasebit.books).toMatchObject({ balanced: true, failed: 0 })
  })

  it('a device of revision 1.2', async () => {
    const device = 'nvme,ocssd=1.2,channels=2,luns=2,planes=2,blocks=40,pages=64'
    const result = await run('rw=randwrite\niodepth=8\nsize=4m\nverify=crc32c\n', { device })
    expect(ios(job(result, 'a')).slice(0, 2)).toEqual([1024, 1024])
  })

  it('two targets on one device, an NVMe disk beside them', async () => {
    const args = [
      'j.fio',
      '--clock=virtual',
      '--cpus=2',
      '--device',
      SMALL.replace('pus=2', 'pus=4'),
    ]
    args.push(
      '--device',
      'pblk,parent=nvme0n1,luns=0-3',
      '--device',
      'pblk,parent=nvme0n1,luns=4-7',
    )
    const lines = ['pblk0', 'pblk1', 'nvme1n1'].map(name => `[${name}]\nfilename=/dev/${name}\n`)
    const file = `[global]\nbs=4k\nsize=2m\nrw=randwrite\nioengine=libaio\niodepth=8\nverify=crc32c\n${lines.join('')}`
    const result = await succeed([...args, '--device', 'nvme,size=1G'], { 'j.fio': file })
    expect(result.jobs.map(one => ios(one)[1])).toEqual([512, 512, 512])
  })

  it('without size= a job takes all that the target shows', async () => {
    const head = 'filename=/dev/pblk0\nbs=64k'
    const device = 'nvme,ocssd=2.0,groups=1,pus=2,chunks=40,clba=64'
    const result = await run('rw=write\niodepth=4\n', {
      head,
      device,
      target: 'pblk,parent=nvme0n1,op=40',
    })
    const bytes = job(result, 'a').write.totalIos * 65536
    expect(bytes).toBeGreaterThan(4 * 2 ** 20)
    expect(bytes).toBeLessThan(2 * 40 * 64 * 4096)
  })

  it('the same run gives the same result', async () => {
    const once = async () => {
      const result = await run('rw=randrw\niodepth=8\nnumber_ios=300\nnumjobs=2\n')
      return JSON.stringify(result.jobs)
    }
    expect(await once()).toBe(await once())
  })
})

describe('jobs on /dev/pblk0 in real time', () => {
  const real = async (lines: string, setup: Setup = {}) => {
    const args = words(setup).map(arg => arg.replace('virtual', 'real'))
    const result = await succeed(args, text(lines, setup.head))
    const { books, cpuThreads } = result.phasebit
    expect(books).toMatchObject({ balanced: true, failed: 0, tagsHeld: 0, ringEntries: 0 })
    expect(cpuThreads).toBe(1)
    return result
  }

  it('every I/O ends, on several CPUs', async () => {
    const lines = 'rw=randrw\niodepth=16\nnumber_ios=300\nnumjobs=3\n'
    const result = await real(lines, { cpus: 3 })
    for (const one of result.jobs) {
      const [reads, writes] = ios(one)
      expect(reads + writes).toBe(300)
    }
  })

  it('verification finds what was written, when it has left the buffer, too', async () => {
    const result = await real('rw=randwrite\niodepth=16\nverify=crc32c\nfsync=128\n')
    expect(ios(job(result, 'a')).slice(0, 2)).toEqual([2048, 2048])
  })

  it('what was written twice is collected', async () => {
    const head = 'filename=/dev/pblk0\nbs=64k'
    const setup = {
      head,
      device: 'nvme,ocssd=2.0,groups=1,pus=2,chunks=40,clba=64',
      target: 'pblk,parent=nvme0n1,op=40',
    }
    const result = await real('rw=randwrite\niodepth=4\nloops=2\nnorandommap\n', setup)
    expect(job(result, 'a').write.totalIos).toBeGreaterThan(100)
  })
})

describe('what cannot be is one line', () => {
  const fails = async (setup: Setup, lines: string): Promise<string> => {
    const error = await run(lines, setup).then(
      () => new Error('it ran'),
      (caught: unknown) => caught,
    )
    expect(error).toBeInstanceOf(UserError)
    return (error as UserError).message
  }
  const job = 'rw=write\nnumber_ios=1\n'

  it('a device that is too small', async () => {
    expect(await fails({ device: 'nvme,ocssd=2.0,groups=1,pus=1,chunks=4' }, job)).toMatch(
      /too small/,
    )
  })

  it('spare space that frees no line', async () => {
    const target = 'pblk,parent=nvme0n1,op=3'
    expect(await fails({ target }, job)).toMatch(/op=3 leaves .* ask for more/)
  })

  it('LUNs that two targets share', async () => {
    const args = [...words({}), '--device', 'pblk,parent=nvme0n1,luns=0-1']
    await expect(async () => execute(args, text(job))).rejects.toThrow(/are shared with pblk0/)
  })

  it('a range that begins inside of a channel and ends in another', async () => {
    const target = 'pblk,parent=nvme0n1,luns=1-2'
    expect(await fails({ target }, job)).toMatch(/begin inside of a channel/)
  })

  it('a device on a thread of its own', async () => {
    const args = words({ device: `${SMALL},where=thread` }).map(a => a.replace('virtual', 'real'))
    await expect(async () => execute(args, text(job))).rejects.toThrow(/take where=inline/)
  })

  it('a region past the end of the target', async () => {
    const head = 'filename=/dev/pblk0\nbs=4k\nsize=1g'
    expect(await fails({ head }, job)).toMatch(/ends at/)
  })
})
