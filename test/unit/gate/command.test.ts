// The gate's command line, and the builds it finds.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { parseGate } from '../../../src/cli/gate-args.js'
import { findBuild, Workshop } from '../../../src/cli/gate-build.js'
import { chosenProbes, commonProbes, hostFingerprint } from '../../../src/cli/gate-speed.js'
import { unpack } from '../../../src/cli/tarball.js'
import { UserError } from '../../../src/core/errors.js'

const place = mkdtempSync(join(tmpdir(), 'phasebit-gate-test-'))
const workshop = new Workshop()
afterAll(() => {
  workshop.close()
  rmSync(place, { recursive: true })
})

describe('the command line', () => {
  it('gives sides as many words as there are', () => {
    const args = parseGate(['--base', 'a.json', 'b.json', '--head=c.json', 'd.json', '--strict'])
    expect(args).toMatchObject({
      base: ['a.json', 'b.json'],
      head: ['c.json', 'd.json'],
      strict: true,
      jobFiles: [],
    })
  })

  it('knows job files wherever they stand, and their options by the equals sign', () => {
    const args = parseGate(['--base', '../old', 'j.fio', '--limit', '3%', '--iodepth=4', '--csv=x'])
    expect(args).toMatchObject({
      base: ['../old'],
      jobFiles: ['j.fio'],
      runOptions: ['--iodepth=4'],
      limit: 0.03,
      exports: { csv: 'x' },
    })
  })

  it.each([
    ['--limit=0', /--limit=0: a percentage above 0/],
    ['--limit=x', /--limit=x/],
    ['--mode=fast', /--mode=fast: exact, pair, process, history, files is accepted/],
    ['--count=1', /--count=1: 2 to/],
    ['--doublings=99', /0 to 10/],
    ['--seed=-1', /--seed=-1/],
    ['--strict=yes', /--strict takes no value/],
    ['--basline', /unknown option --basline.*baseline/],
    ['-x', /unknown option -x/],
    ['--json', /--json needs a value/],
    ['--base', /--base needs a value/],
    ['--csv=a --csv=b', /--csv was given twice/],
  ])('refuses %s', (text, line) => {
    expect(() => parseGate(text.split(' '))).toThrow(UserError)
    expect(() => parseGate(text.split(' '))).toThrow(line)
  })
})

/** A tar archive of these files. */
function tar(files: Record<string, string>, type = '0'): Buffer {
  const blocks = Object.entries(files).flatMap(([name, text]) => {
    const header = Buffer.alloc(512)
    header.write(name, 0)
    header.write(Buffer.byteLength(text).toString(8).padStart(11, '0'), 124)
    header.write(type, 156)
    const data = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / 512) * 512)
    data.write(text)
    return [header, data]
  })
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]))
}

function write(name: string, data: string | Uint8Array): string {
  const path = join(place, name)
  writeFileSync(path, data)
  return path
}

describe('a tarball', () => {
  it('is unpacked without its outermost folder', () => {
    const path = write(
      'good.tgz',
      tar({ 'package/a/b.txt': 'hello', 'package/c': 'x'.repeat(700) }),
    )
    unpack(path, join(place, 'out'))
    expect(readFileSync(join(place, 'out', 'a', 'b.txt'), 'utf8')).toBe('hello')
    expect(readFileSync(join(place, 'out', 'c'), 'utf8').length).toBe(700)
  })

  it.each([
    ['something else', Buffer.from('hello'), /is no tarball/],
    ['cut off', tar({ 'package/a': 'x'.repeat(4000) }).subarray(0, 40), /cut off or damaged/],
    ['empty', gzipSync(Buffer.alloc(1024)), /is no tarball of a package/],
    ['with links', tar({ 'package/a': '' }, '2'), /something else than files/],
    ['that leads out', tar({ 'package/../../a': 'x' }), /holds the path/],
  ])('%s is refused', (_, data, line) => {
    const path = write('bad.tgz', data)
    expect(() => unpack(path, join(place, 'bad'))).toThrow(UserError)
    expect(() => unpack(path, join(place, 'bad'))).toThrow(line)
  })
})

describe('a build', () => {
  it.each([
    ['nowhere', /no such folder or tarball, and no version/],
    ['9.9.9', /9\.9\.9: not installed \(.*npm install phasebit-base@npm:phasebit@9\.9\.9/],
    ['phasebit@9.9.9', /not installed/],
  ])('%s is not there', (text, line) => {
    expect(() => findBuild(text, workshop)).toThrow(UserError)
    expect(() => findBuild(text, workshop)).toThrow(line)
  })

  it('must be phasebit, and built', () => {
    const other = join(place, 'other')
    mkdirSync(other)
    expect(() => findBuild(other, workshop)).toThrow(/is no phasebit/)
    writeFileSync(join(other, 'package.json'), '{"name": "phasebit", "version": "1.0.0"}')
    expect(() => findBuild(other, workshop)).toThrow(/is not built; run npm run build there/)
  })

  it('may be a tarball', () => {
    const path = write(
      'build.tgz',
      tar({
        'package/package.json':
          '{"name": "phasebit", "version": "1.2.3", "bin": {"phasebit": "./dist/lib/cli.js"}}',
        'package/dist/lib/cli.js': '',
        'package/dist/core.release.wasm': '',
      }),
    )
    const build = findBuild(path, workshop)
    expect(build).toMatchObject({ label: path, version: '1.2.3', core: 'unknown', probe: null })
  })
})

describe('benchmarks', () => {
  const probe = (name: string, does = name) => ({ name, per: 'IO', does, threads: 'one' as const })

  it('are compared where both builds mean the same by them', () => {
    const { common, notes } = commonProbes(
      [probe('a'), probe('b', 'other work')],
      [probe('a'), probe('b'), probe('c')],
    )
    expect(common.map(one => one.name)).toEqual(['a'])
    expect(notes).toEqual([
      'b: does something else in the base, not compared',
      'c: the base does not have this benchmark',
    ])
  })

  it('are chosen by name', () => {
    expect(chosenProbes([probe('a'), probe('b')], ['b'])).toEqual([probe('b')])
    expect(() => chosenProbes([probe('a')], ['x'])).toThrow(
      /--bench=x: unknown benchmark; there are a/,
    )
  })

  it('belong to a host', () => {
    expect(hostFingerprint({ options: 'x' })).toMatchObject({
      'Node version': process.version,
      options: 'x',
    })
  })
})
