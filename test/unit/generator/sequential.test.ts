// Sequential modes, checked against runs of fio 3.33 with the null engine.

import { describe, expect, it } from 'vitest'
import { type Ask, JOB, KiB, MiB, Rig } from './rig.js'

/** Offsets in KiB. */
function offsets(ios: readonly { offset: number }[]): number[] {
  return ios.map(io => io.offset / KiB)
}

describe('sequential offsets', () => {
  it('go through the region once, to its exact end', () => {
    const rig = new Rig({ rw: 'read' })
    const ios = rig.run()
    expect(offsets(ios)).toEqual(Array.from({ length: 256 }, (_, i) => 4 * i))
    expect(ios.every(io => io.len === 4 * KiB && io.ddir === 0)).toBe(true)
    expect(rig.next()).toBeNull()
  })

  it('leave out a last block that does not fit', () => {
    const ios = new Rig({ rw: 'write', bs: 12 * KiB }).run()
    expect(ios.length).toBe(85)
    expect(ios.at(-1)).toMatchObject({ offset: 1008 * KiB, ddir: 1 })
  })

  it('begin again after gen_restart', () => {
    const rig = new Rig({ rw: 'trim', size: 16 * KiB })
    expect(offsets(rig.run())).toEqual([0, 4, 8, 12])
    rig.core.gen_restart(JOB)
    expect(offsets(rig.run())).toEqual([0, 4, 8, 12])
  })

  it('add the start of the region to what the disk sees', () => {
    const base = 5 * 2 ** 40
    const files = [{ name: 'x', disk: '/dev/nvme0n1', base, size: 8 * KiB }]
    const ios = new Rig({ rw: 'read', files }).run()
    expect(ios.map(io => [io.offset, io.disk])).toEqual([
      [0, base],
      [4 * KiB, base + 4 * KiB],
    ])
  })

  it('with holes of 8k end the pass after 86 I/Os: the last one reaches the end', () => {
    const ios = new Rig({ rw: 'read', ddirSeqAdd: 8 * KiB }).run(MiB)
    expect(ios.length).toBe(86)
    expect(offsets(ios).slice(-2)).toEqual([1008, 1020])
  })

  it('with holes of 12k wrap, and go on to the byte limit: 256 I/Os', () => {
    const ios = new Rig({ rw: 'read', ddirSeqAdd: 12 * KiB }).run(MiB)
    expect(ios.length).toBe(256)
    expect(offsets(ios).slice(62, 66)).toEqual([992, 1008, 0, 16])
  })

  it('with holes of 3k end where the next I/O would pass the end: 146 I/Os', () => {
    const ios = new Rig({ rw: 'read', ddirSeqAdd: 3 * KiB }).run(MiB)
    expect(ios.length).toBe(146)
    expect(ios.at(-1)!.offset).toBe(1015 * KiB)
  })

  it('run backwards with negative holes', () => {
    const ios = new Rig({ rw: 'read', ddirSeqAdd: -8 * KiB }).run(MiB)
    expect(ios.length).toBe(256)
    expect(offsets(ios).slice(0, 4)).toEqual([0, 1016, 1012, 1008])
    expect(offsets(ios).slice(-2)).toEqual([4, 0])
  })

  it('end when a hole is larger than the region', () => {
    expect(new Rig({ rw: 'read', ddirSeqAdd: -2 * MiB }).run(MiB).length).toBe(1)
  })

  it('of one direction in a mix do not depend on the other', () => {
    const ios = new Rig({ rw: 'rw', rwmixread: 90 }).run(MiB)
    expect(ios.length).toBe(256)
    for (const ddir of [0, 1]) {
      const mine = ios.filter(io => io.ddir === ddir)
      expect(offsets(mine)).toEqual(mine.map((_, i) => 4 * i))
    }
  })

  it('wrap direction by direction when the job writes more than its region', () => {
    const ios = new Rig({ rw: 'rw', rwmixread: 80, ioSize: 3 * MiB }).run(3 * MiB)
    expect(ios.length).toBe(768)
    const reads = ios.filter(io => io.ddir === 0)
    expect(offsets(reads)).toEqual(reads.map((_, i) => 4 * (i % 256)))
  })

  it('of a time-based job wrap by themselves', () => {
    const ios = new Rig({ rw: 'read', size: 12 * KiB, timeBased: true }).take(7)
    expect(offsets(ios)).toEqual([0, 4, 8, 0, 4, 8, 0])
  })
})

describe('trimwrite', () => {
  it('trims a block, then writes it', () => {
    const ios = new Rig({ rw: 'trimwrite', size: 12 * KiB }).run()
    expect(ios.map(io => [io.ddir, io.offset / KiB])).toEqual([
      ...[
        [2, 0],
        [1, 0],
      ],
      ...[
        [2, 4],
        [1, 4],
      ],
      ...[
        [2, 8],
        [1, 8],
      ],
    ])
  })

  it('writes up to a longer trim before it trims again', () => {
    const bs = [4 * KiB, 4 * KiB, 16 * KiB] as const
    const ios = new Rig({ rw: 'trimwrite', bsMin: bs, bsMax: bs, blockAlign: bs }).run(MiB, false)
    const text = ios.slice(0, 9).map(io => `${'rwt'[io.ddir]}${io.offset / KiB}+${io.len / KiB}`)
    expect(text.join(' ')).toBe('t0+16 w0+4 t16+16 w4+4 w8+4 w12+4 w16+4 t32+16 w20+4')
  })
})

describe('strided zones', () => {
  const zones = {
    zonemode: 'strided',
    zonesize: 256 * KiB,
    zonerange: 512 * KiB,
    zoneskip: 512 * KiB,
  } as const

  it('move on after zonesize bytes, and wrap to the first zone', () => {
    const ios = new Rig({ rw: 'read', bs: 64 * KiB, size: 4 * MiB, ...zones }).run(4 * MiB)
    expect(ios.length).toBe(64)
    const zone = (start: number) => [0, 64, 128, 192].map(o => start + o)
    const round = [0, 1024, 2048, 3072].flatMap(zone)
    expect(offsets(ios).slice(0, 32)).toEqual([...round, ...round])
  })

  it('repeat their range when zonesize is larger', () => {
    const larger = { ...zones, zonesize: 192 * KiB, zonerange: 128 * KiB }
    const ios = new Rig({ rw: 'read', bs: 64 * KiB, size: MiB, ...larger }).take(6)
    expect(offsets(ios)).toEqual([0, 64, 0, 640, 704, 640])
  })

  it('cut a zone that passes the end of the region, and never pass it themselves', () => {
    const ios = new Rig({ rw: 'read', bs: 64 * KiB, size: 1100 * KiB, ...zones }).take(12)
    expect(offsets(ios)).toEqual([0, 64, 128, 192, 1024, 1024, 1024, 1024, 0, 64, 128, 192])
  })

  it('cover their range once at random, with a new order each time', () => {
    const all = { ...zones, zonesize: 512 * KiB }
    const ios = new Rig({ rw: 'randread', bs: 64 * KiB, size: 2 * MiB, ...all }).take(32)
    const rounds = [0, 8, 16, 24].map(i => offsets(ios.slice(i, i + 8)))
    for (const [i, round] of rounds.entries()) {
      const start = i % 2 ? 1024 : 0
      expect(round.toSorted((a, b) => a - b)).toEqual(
        [0, 1, 2, 3, 4, 5, 6, 7].map(k => start + 64 * k),
      )
    }
    expect(rounds[0]).not.toEqual(rounds[2])
  })

  it('take mixed sizes with the bitmap', () => {
    const bsMin = [4 * KiB, 4 * KiB, 4 * KiB] as const
    const bsMax = [16 * KiB, 16 * KiB, 16 * KiB] as const
    const all = { ...zones, zonesize: 512 * KiB }
    const rig = new Rig({ rw: 'randread', size: 2 * MiB, ...all, bsMin, bsMax })
    const seen = new Set<number>()
    for (let bytes = 0; bytes < 512 * KiB; ) {
      const io = rig.next()!
      for (let b = io.offset; b < io.offset + io.len; b += 4 * KiB) seen.add(b)
      bytes += io.len
    }
    expect(seen.size).toBe(128)
    expect(Math.max(...seen)).toBe(508 * KiB)
    expect(rig.next()!.offset).toBeGreaterThanOrEqual(MiB)
  })
})

describe('several regions', () => {
  const files = [0, 1, 2].map(i => ({
    name: `f${i}`,
    disk: '/dev/nvme0n1',
    base: i * MiB,
    size: (i + 1) * 8 * KiB,
  }))

  it('take turns, and leave when they are covered', () => {
    const rig = new Rig({ rw: 'read', files })
    const text = rig.run().map(io => `${io.file}:${io.offset / KiB}`)
    expect(text.join(' ')).toBe('0:0 1:0 2:0 0:4 1:4 2:4 1:8 2:8 1:12 2:12 2:16 2:20')
    expect(rig.next()).toBeNull()
    rig.core.gen_restart(JOB)
    expect(rig.run().length).toBe(12)
  })

  it('have maps of their own', () => {
    const ios = new Rig({ rw: 'randwrite', files }).run()
    expect(new Set(ios.map(io => io.disk)).size).toBe(12)
    expect(ios.every(io => io.disk === io.offset + io.file * MiB)).toBe(true)
    expect(files.map((_, i) => ios.filter(io => io.file === i).length)).toEqual([2, 4, 6])
  })

  it('keep a trim and its write together', () => {
    const ios = new Rig({ rw: 'randtrimwrite', files }).run()
    for (const i of [0, 1, 2]) {
      const mine = ios.filter(io => io.file === i)
      expect(mine.map(io => io.ddir)).toEqual(mine.map((_, k) => (k % 2 ? 1 : 2)))
      for (let k = 0; k < mine.length; k += 2) expect(mine[k + 1]!.offset).toBe(mine[k]!.offset)
    }
  })
})

describe('the passes of a job, counted by fio 3.33', () => {
  const twice = { ioSize: 2 * MiB }
  const holes = (kib: number) => ({ rw: 'read', ddirSeqAdd: kib * KiB }) as const

  it.each([
    [{ rw: 'randread', bs: 12 * KiB, ...twice }, 170],
    [{ rw: 'read', bs: 12 * KiB, ...twice }, 170],
    [{ rw: 'write', bs: 12 * KiB, ...twice }, 170],
    [{ ...holes(8) }, 86],
    [{ ...holes(8), ...twice }, 512],
    [{ rw: 'write', ddirSeqAdd: 8 * KiB, ...twice }, 512],
    [{ ...holes(8), loops: 3 }, 258],
    [{ ...holes(12), loops: 3 }, 768],
    [{ rw: 'randread', bs: 12 * KiB, loops: 3 }, 255],
    [{ rw: 'randread', loops: 3 }, 768],
    [{ rw: 'trimwrite', loops: 2 }, 1024],
    [{ rw: 'randtrimwrite' }, 512],
    [{ rw: 'rw', rwmixread: 99, loops: 2 }, 512],
    [{ rw: 'read', ioSize: 510 * KiB }, 128],
  ] as [Ask, number][])('%j: %d I/Os', (ask, want) => {
    expect(new Rig(ask).count()).toBe(want)
  })

  it('never end for a time-based job', () => {
    expect(new Rig({ rw: 'read', timeBased: true }).core.gen_again(JOB, 0n)).toBe(1)
  })
})
