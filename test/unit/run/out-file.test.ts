import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OutputError } from '../../../src/core/errors.js'
import { OutFile } from '../../../src/workload/out-file.js'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-out-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('OutFile', () => {
  it('appears when it is complete, not before', () => {
    const path = join(dir, 'a.json')
    const file = new OutFile(path)
    file.write('one\n')
    file.flush()
    expect(existsSync(path)).toBe(false)
    file.write('two\n')
    file.commit()
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
    expect(readdirSync(dir)).toEqual(['a.json'])
  })

  it('leaves the old file alone until then, and for good when discarded', () => {
    const path = join(dir, 'a')
    writeFileSync(path, 'old')
    const file = new OutFile(path)
    file.write('new')
    file.flush()
    expect(readFileSync(path, 'utf8')).toBe('old')
    file.discard()
    file.discard()
    expect(readFileSync(path, 'utf8')).toBe('old')
    expect(readdirSync(dir)).toEqual(['a'])
  })

  it('keeps a symbolic link', () => {
    writeFileSync(join(dir, 'real'), '')
    symlinkSync(join(dir, 'real'), join(dir, 'link'))
    const file = new OutFile(join(dir, 'link'))
    file.write('x')
    file.commit()
    expect(readFileSync(join(dir, 'real'), 'utf8')).toBe('x')
  })

  it('writes what is no regular file directly', () => {
    const file = new OutFile('/dev/null')
    file.write('x')
    file.commit()
    file.discard()
    expect(existsSync('/dev/null')).toBe(true)
  })

  it.each([
    ['missing/a', /its folder does not exist/],
    ['sub', /it is a folder/],
    ['file/a', /its folder is a file/],
  ])('refuses %s at once, in one line', (name, reason) => {
    mkdirSync(join(dir, 'sub'))
    writeFileSync(join(dir, 'file'), '')
    const open = (): OutFile => new OutFile(join(dir, name))
    expect(open).toThrow(OutputError)
    expect(open).toThrow(reason)
    expect(readdirSync(dir).sort()).toEqual(['file', 'sub'])
  })

  it('says so when the device is full', () => {
    const file = new OutFile('/dev/full')
    file.write('x')
    expect(() => file.commit()).toThrow(/cannot write \/dev\/full: no space left on the device/)
  })
})
