// Where jobs work: targets, sizes, offsets, percentages, plain files.

import { describe, expect, it } from 'vitest'
import type { JobFile, JobSpec } from '../../../src/workload/job.js'
import { diskNeeds } from '../../../src/workload/layout.js'
import { errorOf, planOf } from './plan-of.js'

const MIB = 2 ** 20
const GIB = 2 ** 30

const jobs = (text: string, ...argv: string[]): readonly JobSpec[] =>
  planOf(['j', ...argv], { j: text }).jobs
const files = (text: string, ...argv: string[]): (readonly JobFile[])[] =>
  jobs(text, ...argv).map(job => job.files)
const error = (text: string, ...argv: string[]): string => errorOf(() => jobs(text, ...argv))
const notes = (text: string): string => planOf(['j'], { j: text }).notes.join('\n')
/** Base and size of the first file of each job. */
const places = (text: string, ...argv: string[]): (number | undefined)[][] =>
  files(text, ...argv).map(list => [list[0]?.base, list[0]?.size])

describe('disks', () => {
  it('knows the default machine', () => {
    expect(files('[a]\nfilename=/dev/nvme0n1:/dev/nullb0\nsize=2m')).toEqual([
      [
        { name: '/dev/nvme0n1', disk: '/dev/nvme0n1', base: 0, size: MIB },
        { name: '/dev/nullb0', disk: '/dev/nullb0', base: 0, size: MIB },
      ],
    ])
  })

  it('refuses disks that the machine does not have', () => {
    expect(error('[a]\nfilename=/dev/nvme1n1\nsize=1m')).toBe(
      'j:2: filename=/dev/nvme1n1: /dev/nvme1n1: the machine has /dev/nvme0n1, /dev/nullb0',
    )
    expect(error('[a]\nfilename=/dev/nvme0n1p1\nsize=1m')).toContain('the machine has')
    expect(error('[a]\nfilename=/dev/nvme0n1\nsize=1m', '--device=null_blk')).toContain(
      'the machine has /dev/nullb0',
    )
  })

  it('numbers several devices', () => {
    const argv = ['--device=nvme,size=1G', '--device', 'nvme,size=2G', '--device=null_blk,gb=1']
    const text = '[a]\nfilename=/dev/nvme1n1\n[b]\nfilename=/dev/nullb0\n'
    expect(places(text, ...argv)).toEqual([
      [0, 2 * GIB],
      [0, GIB],
    ])
  })

  it('an open-channel device is no target, what is on it is', () => {
    const argv = ['--device=nvme,ocssd=2.0', '--device=pblk,parent=nvme0n1']
    expect(places('[a]\nfilename=/dev/pblk0\nsize=1m\n', ...argv)).toEqual([[0, MIB]])
    expect(error('[a]\nfilename=/dev/nvme0n1\nsize=1m\n', ...argv)).toContain(
      'the machine has /dev/pblk0',
    )
    const [[base = 1, size = 0] = []] = places('[a]\nfilename=/dev/pblk0\n', ...argv)
    expect([base, size % (16 * MIB), size > 8 * GIB]).toEqual([0, 0, true])
  })

  it('a pblk of 4.19 shows more than one whose spare space is always enough', () => {
    const device = '--device=nvme,ocssd=2.0,groups=2,pus=2,chunks=32,clba=256,ws-opt=4,mw-cunits=8'
    const sectors = (more: string): number =>
      places('[a]\nfilename=/dev/pblk0\n', device, `--device=pblk,parent=nvme0n1${more}`)[0]![1]! /
      4096
    expect([sectors(''), sectors(',quirks=4.19')]).toEqual([22272, 28672])
  })
})

describe('size', () => {
  it('is shared by several names, and is the amount unless io_size says otherwise', () => {
    const [job] = jobs('[a]\nfilename=/dev/nvme0n1:/dev/nullb0\nsize=10m\n')
    expect(job).toMatchObject({ size: 10 * MIB, ioSize: 10 * MIB })
    expect(jobs('[a]\nsize=1m\nio_size=2m\n')[0]).toMatchObject({ size: MIB, ioSize: 2 * MIB })
    expect(jobs('[a]\nsize=1m\nio_size=50%\n')[0]).toMatchObject({ size: MIB, ioSize: MIB / 2 })
    expect(jobs('[a]\nsize=1m\nio_limit=0\n')[0]!.ioSize).toBe(MIB)
  })

  it('left out, a disk of known size is taken whole', () => {
    expect(places('[a]\nfilename=/dev/nvme0n1\noffset=1m\n', '--device=nvme,size=1G')).toEqual([
      [MIB, GIB - MIB],
    ])
  })

  it('left out, a disk made to measure is taken whole: 1 GiB or what others need', () => {
    const text = '[a]\nfilename=/dev/nvme0n1\n'
    expect(places(text)).toEqual([[0, GIB]])
    expect(places(`${text}size=0\n`)).toEqual([[0, GIB]])
    expect(places(`${text}[b]\nfilename=/dev/nvme0n1\nsize=5g\n`)).toEqual([
      [0, 5 * GIB],
      [0, 5 * GIB],
    ])
    expect(places(`${text}offset=1000k\n`)).toEqual([[1000 * 1024, GIB + MIB - 1000 * 1024]])
    expect(notes(text)).toContain('without size= it takes all of /dev/nvme0n1')
  })

  it('is required for plain files and for engine null', () => {
    expect(error('[a]\n')).toBe('j:1: [a]: a.0.0: needs size= (only a disk has a size of its own)')
    expect(error('[a]\nioengine=null\n')).toContain('needs size=')
  })

  it('must hold one block', () => {
    expect(error('[a]\nsize=2k\n')).toBe(
      'j:1: [a]: a.0.0: a region of 2 KiB is smaller than one block of 4 KiB',
    )
    // Only the directions in use count.
    expect(jobs('[a]\nsize=2k\nbs=2k,64k\n')).toHaveLength(1)
  })

  it('percentages are of a disk of known size, whole blocks, within the disk', () => {
    const text = (lines: string): string => `[a]\nfilename=/dev/nvme0n1\n${lines}\n`
    const disk = '--device=nvme,size=100M'
    expect(places(text('size=50%'), disk)).toEqual([[0, 50 * MIB]])
    expect(places(text('size=33%\nbs=1m'), disk)).toEqual([[0, 33 * MIB]])
    expect(places(text('offset=75%\nsize=50%'), disk)).toEqual([[75 * MIB, 25 * MIB]])
    expect(places(text('offset=33%\nbs=64k\nsize=1m'), disk)).toEqual([[33 * MIB, MIB]])
    expect(places(text('offset=1%\nbs=3m'), disk)).toEqual([[3 * MIB, 97 * MIB]])
    expect(places(text('offset_increment=10%\nsize=1m\nnumjobs=2'), disk)).toEqual([
      [0, MIB],
      [10 * MIB, MIB],
    ])
    expect(error(text('size=50%'))).toBe(
      'j:3: size=50%: a percentage needs a target of known size; give --device a size or write bytes',
    )
    expect(error(text('size=1m\noffset=5%'))).toContain('offset=5%: a percentage needs')
    expect(error('[a]\nsize=10%\n')).toContain('a percentage needs a target of known size')
  })

  it('sizes that overflow are one line', () => {
    expect(error('[a]\nsize=99999999999t\n')).toContain('is too large')
    expect(error('[a]\nsize=17t\n')).toContain('would have to be larger than 16 TiB')
    expect(error('[a]\nfilename=/dev/nvme0n1\nsize=17t\n')).toContain('larger than 16 TiB')
    expect(error('[a]\nfilename=/dev/nvme0n1\nsize=1m\noffset=7p\n')).toContain(
      'larger than 16 TiB',
    )
    expect(error('[a]\nsize=1m\noffset=9007199254740991\n')).toContain('together are too large')
    expect(error('[a]\nsize=7p\noffset=7p\nioengine=null\n')).toContain('together are too large')
    const many = 'size=1m\nnumjobs=3\noffset_increment=7p\nfilename=/dev/nvme0n1\n'
    expect(error(`[a]\n${many}`)).toContain('offset_increment=7p: is too large')
  })
})

describe('regions of a disk of known size', () => {
  it('must end before the disk does', () => {
    const text = '[a]\nfilename=/dev/nvme0n1\nsize=2g\n'
    expect(error(text, '--device=nvme,size=1G')).toBe(
      'j:1: [a]: the region ends at 2 GiB, but /dev/nvme0n1 ends at 1 GiB',
    )
    expect(error('[a]\nfilename=/dev/nvme0n1\noffset=1g\n', '--device=nvme,size=1G')).toContain(
      'the region begins at 1 GiB',
    )
    expect(error('[a]\nsize=900m\n[b]\nsize=200m\n', '--device=nvme,size=1G')).toContain(
      'b.0.0: with it /dev/nvme0n1 would have to be larger than 1 GiB',
    )
  })

  it('blocks must be whole blocks of the disk', () => {
    const text = (lines: string): string => `[a]\nfilename=/dev/nvme0n1\nsize=1m\n${lines}\n`
    expect(error(text('bs=3000'))).toBe(
      'j:1: [a]: a block of 3000 bytes is not a multiple of the 512-byte blocks of /dev/nvme0n1',
    )
    expect(error(text('bs=512'), '--device=nvme,size=1G,lba=4096')).toContain('4096-byte blocks')
    expect(error(text('offset=100'))).toContain('an offset of 100 bytes')
    expect(error(text('bssplit=4k/50:5000/50'))).toContain('a block of 5000 bytes')
    expect(error(text('rw=randread\nba=100'))).toContain('blockalign of 100 bytes')
    expect(error(text('rw=read:100'))).toContain('a gap of 100 bytes')
    expect(error(text('zonemode=strided\nzonesize=65537'))).toContain('zonesize of 65537 bytes')
    expect(error(text('bs_unaligned\nbsrange=4k-8k'))).toBe(
      'j:4: bs_unaligned: direct I/O needs whole blocks',
    )
    expect(jobs('[a]\nioengine=null\nsize=1m\nbs=3000\n')[0]!.bsMin[0]).toBe(3000)
  })
})

describe('offsets', () => {
  it('offset_increment shifts each clone', () => {
    expect(
      places('[a]\nfilename=/dev/nvme0n1\nsize=1m\noffset=4m\noffset_increment=2m\nnumjobs=3\n'),
    ).toEqual([
      [4 * MIB, MIB],
      [6 * MIB, MIB],
      [8 * MIB, MIB],
    ])
  })
})

describe('plain files', () => {
  it('are consecutive regions, each on a MiB, behind what jobs address directly', () => {
    const text =
      '[a]\nsize=1000k\n[b]\nfilename=x:/tmp/y\nsize=4m\n[c]\nfilename=/dev/nvme0n1\nsize=10m\noffset=512\n'
    expect(files(text)).toEqual([
      [{ name: 'a.0.0', disk: '/dev/nvme0n1', base: 11 * MIB, size: 1000 * 1024 }],
      [
        { name: 'x', disk: '/dev/nvme0n1', base: 12 * MIB, size: 2 * MIB },
        { name: '/tmp/y', disk: '/dev/nvme0n1', base: 14 * MIB, size: 2 * MIB },
      ],
      [{ name: '/dev/nvme0n1', disk: '/dev/nvme0n1', base: 512, size: 10 * MIB }],
    ])
    expect(notes(text).match(/plain files/g)).toHaveLength(1)
    expect(notes(text)).toContain('such as a.0.0, are regions of /dev/nvme0n1')
  })

  it('are shared by name, as large as the largest use', () => {
    const text = '[a]\nfilename=x\nsize=1m\n[b]\nfilename=x\noffset=2m\nsize=1m\n[c]\nsize=1m\n'
    expect(places(text)).toEqual([
      [0, MIB],
      [2 * MIB, MIB],
      [3 * MIB, MIB],
    ])
  })

  it('have a name for each clone and file unless filename or filename_format says otherwise', () => {
    const namesOf = (lines: string): string[][] =>
      files(`[a]\nsize=1m\nnumjobs=2\n${lines}\n`).map(list => list.map(file => file.name))
    expect(namesOf('nrfiles=2')).toEqual([
      ['a.0.0', 'a.0.1'],
      ['a.1.0', 'a.1.1'],
    ])
    expect(namesOf('filename=q')).toEqual([['q'], ['q']])
    expect(namesOf('filename_format=f.$jobname.$filenum')).toEqual([['f.a.0'], ['f.a.0']])
    expect(namesOf('directory=d1:d2')).toEqual([['d1/a.0.0'], ['d2/a.1.0']])
    expect(namesOf('directory=d1/\nfilename=q:/abs')).toEqual([
      ['d1/q', '/abs'],
      ['d1/q', '/abs'],
    ])
    expect(notes('[a]\nsize=1m\nnrfiles=2\nfilename=q\n')).toContain(
      'nrfiles=2: no effect beside filename',
    )
  })

  it('share size equally, or have filesize each', () => {
    expect(jobs('[a]\nsize=1000k\nnrfiles=3\n')[0]!.files.map(file => file.size)).toEqual([
      341333, 341333, 341333,
    ])
    expect(jobs('[a]\nfilesize=128k\nnrfiles=2\nsize=1m\n')[0]).toMatchObject({
      size: 2 * 131072,
      ioSize: 2 * 131072,
    })
    for (const size of ['1m', '50%'])
      expect(jobs(`[a]\nfilesize=1m\nnrfiles=2\nsize=${size}\n`)[0]).toMatchObject({
        size: 2 * MIB,
        ioSize: MIB,
      })
  })

  it('a filesize range is drawn in whole blocks, the same each time', () => {
    const draw = (): number[] =>
      jobs('[a]\nfilesize=128k-1m\nnrfiles=20\nbs=64k\n')[0]!.files.map(file => file.size)
    expect(draw()).toEqual(draw())
    expect(new Set(draw()).size).toBeGreaterThan(5)
    for (const size of draw()) {
      expect(size >= 131072 && size <= MIB && size % 65536 === 0).toBe(true)
    }
  })

  it('go to the first disk when there is no nvme0n1, and need a disk', () => {
    expect(files('[a]\nsize=1m\n', '--device=null_blk,gb=1')[0]![0]!.disk).toBe('/dev/nullb0')
    expect(error('[a]\nsize=1m\n', '--device=nvme,ocssd=2.0')).toBe('the machine has no disk')
  })
})

describe('diskNeeds', () => {
  it('is the end of the last region of each disk', () => {
    const plan = planOf(['j'], {
      j: '[a]\nfilename=/dev/nvme0n1:/dev/nullb0\nsize=8m\noffset=1m\n[b]\nsize=3000k\n[c]\nioengine=null\nsize=1p\n',
    })
    expect([...plan.diskNeeds]).toEqual([
      ['/dev/nvme0n1', 5 * MIB + 3000 * 1024],
      ['/dev/nullb0', 5 * MIB],
    ])
    expect(diskNeeds(plan.jobs)).toEqual(plan.diskNeeds)
  })
})
