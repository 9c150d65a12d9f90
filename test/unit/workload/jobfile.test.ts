// The lexical rules of job files, in the order of fio-jobs 1.

import { describe, expect, it } from 'vitest'
import { type JobFileSource, type RawSection, readJobFile } from '../../../src/workload/jobfile.js'
import { Notes } from '../../../src/workload/notes.js'
import { errorOf } from './plan-of.js'

type Files = Record<string, string | Uint8Array>

function read(
  files: Files,
  env: Record<string, string> = {},
): { sections: RawSection[]; notes: readonly string[] } {
  const notes = new Notes(false)
  const source: JobFileSource = {
    readFile: path => {
      const text = files[path]
      if (text === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' })
      return typeof text === 'string' ? new TextEncoder().encode(text) : text
    },
    env,
    pageSize: 4096,
    mbMemory: 2048,
    ncpus: 4,
  }
  return { sections: readJobFile('j.fio', source, notes), notes: notes.lines }
}

/** Key and value of the first section. */
function pairs(text: string, env: Record<string, string> = {}): [string, string | null][] {
  return read({ 'j.fio': text }, env).sections[0]!.options.map(raw => [raw.key, raw.value])
}

const error = (text: string | Uint8Array, more: Files = {}): string =>
  errorOf(() => read({ 'j.fio': text, ...more }))

describe('1.1 lines', () => {
  it('drops blanks and control characters at both ends, and carriage returns', () => {
    expect(pairs(' \t[a]\x01\r\n\t  bs=4k \x02\r\n\r\n\x00'.replace('\x00', ''))).toEqual([
      ['bs', '4k'],
    ])
  })

  it('refuses a line of 8192 bytes and takes one below', () => {
    expect(pairs(`[a]\ndescription=${'x'.repeat(8000)}`)[0]![1]).toHaveLength(8000)
    expect(error(`[a]\ndescription=${'x'.repeat(8200)}`)).toBe(
      'j.fio:2: the line is longer than 8191 bytes',
    )
  })
})

describe('1.2 comments', () => {
  it('begin with ; or # anywhere, without a blank before', () => {
    expect(pairs('[a]\n; one\n# two\ndescription=a;b\nbs=4k#x\nrw=read ; y')).toEqual([
      ['description', 'a'],
      ['bs', '4k'],
      ['rw', 'read'],
    ])
  })

  it('are not undone by quotes', () => {
    expect(pairs('[a]\nbuffer_pattern="x#y"')).toEqual([['buffer_pattern', '"x']])
  })
})

describe('1.3 sections', () => {
  it('take everything up to the last ] as the name', () => {
    expect(read({ 'j.fio': '[a]b]\n[ c ]' }).sections.map(s => s.name)).toEqual(['a]b', ' c '])
  })

  it('are global when the name begins with the six characters', () => {
    const flags = read({ 'j.fio': '[global]\n[globalx]\n[Global]\n[glob]' }).sections
    expect(flags.map(s => s.global)).toEqual([true, true, false, false])
  })

  it('remember file and line', () => {
    expect(read({ 'j.fio': '\n\n[a]' }).sections[0]!.where).toBe('j.fio:3')
  })

  it('refuse text before the first, text after the ], no ], no name', () => {
    expect(error('bs=4k\n[a]')).toBe("j.fio:1: 'bs=4k' stands before the first [section]")
    expect(error('[a] bs=4k')).toBe("j.fio:1: ' bs=4k' stands after the section name")
    expect(error('[a ; b]')).toBe("j.fio:1: '[a' has no closing ]")
    expect(error('[ ]')).toBe('j.fio:1: a section needs a name')
  })
})

describe('1.4 keys and values', () => {
  it('allows blanks before = and trims after it, with a warning', () => {
    const { sections, notes } = read({ 'j.fio': '[a]\nbs =4k\nrw  = write' })
    expect(sections[0]!.options.map(o => [o.key, o.value])).toEqual([
      ['bs', '4k'],
      ['rw', 'write'],
    ])
    expect(notes).toEqual([
      "j.fio:3: rw: the blank after '=' is left out (fio would misread units)",
    ])
  })

  it('splits at the first =', () => {
    expect(pairs('[a]\ndescription=x=y')).toEqual([['description', 'x=y']])
  })

  it('keeps a key without = apart from one with an empty value', () => {
    expect(pairs('[a]\nstonewall\nname=')).toEqual([
      ['stonewall', null],
      ['name', ''],
    ])
  })

  it('refuses a line without a key', () => {
    expect(error('[a]\n=5')).toBe("j.fio:2: '=5' has no option name")
  })
})

describe('1.6 include', () => {
  it('finds the file as given, then beside the including file, also nested', () => {
    const files = {
      'j.fio': '[a]\ninclude sub/one.opt\ninclude=two.opt',
      'sub/one.opt': 'bs=4k\ninclude three.opt',
      'sub/three.opt': 'rw=write',
      'two.opt': 'iodepth=2',
    }
    const options = read(files).sections[0]!.options
    expect(options.map(o => `${o.where} ${o.key}`)).toEqual([
      'sub/one.opt:1 bs',
      'sub/three.opt:1 rw',
      'two.opt:1 iodepth',
    ])
  })

  it('prefers the path as given', () => {
    const files = { 'd/x.opt': 'bs=1k', 'x.opt': 'bs=2k', 'd/i.opt': 'include x.opt' }
    const { sections } = read({ 'j.fio': '[a]\ninclude d/i.opt', ...files })
    expect(sections[0]!.options[0]!.value).toBe('2k')
  })

  it('puts the environment into the path', () => {
    const files = { 'j.fio': `[a]\ninclude \${WHERE}.opt`, 'x.opt': 'bs=4k' }
    expect(read(files, { WHERE: 'x' }).sections[0]!.options).toHaveLength(1)
  })

  it('refuses what is missing, empty, a section inside, and nothing at all', () => {
    expect(error('[a]\ninclude nope')).toBe('j.fio:2: include nope: no such file')
    expect(error(`[a]\ninclude \${NOPE}`)).toBe('j.fio:2: include needs a file name')
    expect(error('[a]\ninclude x', { x: '[b]\n' })).toBe(
      'x:1: [b]: an included file may not contain sections',
    )
    expect(error('[a]\ninclude x', { x: '' })).toBe('x: the file is empty')
  })

  it('refuses an include without end', () => {
    expect(error('[a]\ninclude j.fio')).toBe('j.fio:2: include j.fio: the file includes itself')
    const loop = { x: 'include y', y: 'include x' }
    expect(error('[a]\ninclude x', loop)).toBe('y:1: include x: the file includes itself')
    const deep: Files = {}
    for (let i = 0; i < 40; i++) deep[`f${i}`] = `include f${i + 1}`
    expect(error('[a]\ninclude f0', deep)).toContain('more than 16 levels deep')
  })

  it('refuses a pyramid of includes', () => {
    const pyramid: Files = {}
    for (let i = 0; i < 12; i++) pyramid[`f${i}`] = `include f${i + 1}\n`.repeat(10)
    pyramid['f12'] = 'bs=4k'
    expect(error('[a]\ninclude f0', pyramid)).toContain('more than 50000 lines')
  })
})

describe('1.7 environment and keywords', () => {
  it('puts variables into values, undefined ones as nothing', () => {
    const env = { D: 'nvme0n1', EMPTY: '' }
    expect(pairs(`[a]\nfilename=/dev/\${D}\nname=x\${NOPE}y\${EMPTY}z`, env)).toEqual([
      ['filename', '/dev/nvme0n1'],
      ['name', 'xyz'],
    ])
  })

  it(`leaves $NAME and an unclosed \${ alone`, () => {
    expect(pairs(`[a]\ndescription=$HOME \${X`, { HOME: '/h', X: '1' })[0]![1]).toBe(`$HOME \${X`)
  })

  it('does not read from the prototype of the environment', () => {
    expect(pairs(`[a]\nname=a\${constructor}b`)[0]![1]).toBe('ab')
  })

  it('replaces $pagesize, $mb_memory and $ncpus, then evaluates', () => {
    expect(
      pairs('[a]\nbs=$pagesize\nsize=$mb_memory*2\nnumjobs=$ncpus+1\niodepth=$ncpus*7/2'),
    ).toEqual([
      ['bs', '4096'],
      ['size', '4096'],
      ['numjobs', '5'],
      ['iodepth', '14'],
    ])
    expect(pairs('[a]\nbs=$pagesize,8k\nfilename_format=$jobname.$ncpusx')).toEqual([
      ['bs', '4096,8k'],
      ['filename_format', '$jobname.$ncpusx'],
    ])
  })

  it('remembers what was written', () => {
    const [raw] = read({ 'j.fio': '[a]\nbs=$pagesize' }).sections[0]!.options
    expect(raw).toMatchObject({ value: '4096', written: '$pagesize' })
  })
})

describe('files that are none', () => {
  it('names the missing, the empty, the binary and the sectionless', () => {
    expect(errorOf(() => read({}))).toBe('j.fio: cannot be read: no such file')
    expect(error('')).toBe('j.fio: the file is empty')
    expect(error('\n; nothing\n')).toBe('j.fio: no section; a job file needs at least one [name]')
    expect(error(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1))).toBe('j.fio: not a text file')
    expect(error(Uint8Array.of(0x5b, 0xff, 0xfe, 0x5d))).toBe('j.fio: not a text file')
  })

  it('names a directory and what may not be read', () => {
    const fails = (code: string): string =>
      errorOf(() =>
        readJobFile(
          'j.fio',
          {
            readFile: () => {
              throw Object.assign(new Error(`${code}: x`), { code })
            },
            env: {},
            pageSize: 1,
            mbMemory: 1,
            ncpus: 1,
          },
          new Notes(false),
        ),
      )
    expect(fails('EISDIR')).toBe('j.fio: cannot be read: is a directory')
    expect(fails('EACCES')).toBe('j.fio: cannot be read: permission denied')
    expect(fails('EIO')).toBe('j.fio: cannot be read: EIO: x')
  })

  it('reads a byte order mark as nothing', () => {
    expect(read({ 'j.fio': '\ufeff[a]\nbs=4k' }).sections[0]!.name).toBe('a')
  })
})
