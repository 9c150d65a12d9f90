// The package as somebody gets it: packed, unpacked into another project's node_modules, run and imported there.
//
// The dependencies are linked from this project's node_modules, since a registry may be out of reach.

import { execFileSync, spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROOT } from './tidy/files.js'

/** What npm says about a tarball. */
interface Packed {
  readonly filename: string
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

/** Bytes of the tarball, and of what it becomes. */
const MAX_PACKED = 1024 * 1024
const MAX_UNPACKED = 4 * 1024 * 1024

const place = mkdtempSync(join(tmpdir(), 'phasebit-package-'))
const modules = join(place, 'node_modules')
let packed: Packed

/** npm pack, without the build that comes before it: the tests run on what is built. */
function pack(): Packed {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', place]
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const output = execFileSync(npm, args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return (JSON.parse(output) as [Packed])[0]
}

/** What npm install would do with the tarball. */
function install({ filename }: Packed): void {
  mkdirSync(join(modules, 'phasebit'), { recursive: true })
  mkdirSync(join(modules, '.bin'))
  execFileSync('tar', [
    '-xzf',
    join(place, filename),
    '-C',
    join(modules, 'phasebit'),
    '--strip-components=1',
  ])
  symlinkSync(join('..', 'phasebit', 'dist', 'lib', 'cli.js'), join(modules, '.bin', 'phasebit'))
  for (const name of ['piscina', '@napi-rs'])
    if (readdirSync(join(ROOT, 'node_modules')).includes(name))
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  writeFileSync(join(place, 'package.json'), '{ "type": "module" }')
}

function node(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, args, { cwd: place, encoding: 'utf8' })
}

beforeAll(() => {
  packed = pack()
  install(packed)
})

afterAll(() => rmSync(place, { recursive: true, force: true }))

describe('the tarball', () => {
  it('holds what runs, and the papers', () => {
    const paths = packed.files.map(file => file.path)
    for (const path of [
      'package.json',
      'LICENSE',
      'README.md',
      'ARCHITECTURE.md',
      'CHANGELOG.md',
      'dist/core.release.wasm',
      'dist/core.hash',
      'dist/lib/cli.js',
      'dist/lib/index.js',
      'dist/lib/cpu.worker.cjs',
      'dist/lib/gate-probe.js',
      'dist/src/index.d.ts',
    ])
      expect(paths).toContain(path)
  })

  it('holds no sources, tests, maps, texts of the core or leftovers of tests', () => {
    const paths = packed.files.map(file => file.path)
    const known =
      /^(package\.json|LICENSE|(README|ARCHITECTURE|CHANGELOG)\.md|examples\/.*|dist\/lib\/[\w.-]+\.c?js|dist\/(src|assembly)\/.*\.d\.ts|dist\/core\.(release|trace)\.wasm|dist\/core\.hash|dist\/report\/uPlot\.(iife\.min\.js|min\.css))$/
    expect(paths.filter(path => !known.test(path))).toEqual([])
  })

  it('is small', () => {
    expect(packed.size).toBeLessThan(MAX_PACKED)
    expect(packed.unpackedSize).toBeLessThan(MAX_UNPACKED)
  })
})

describe('the installed package', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    version: string
  }

  it('answers to its name', () => {
    const { status, stdout, stderr } = spawnSync(join(modules, '.bin', 'phasebit'), ['--version'], {
      encoding: 'utf8',
    })
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: `phasebit ${version}\n`,
      stderr: '',
    })
  })

  it('runs a job in real time, on threads of its own', () => {
    const job = [
      '--name=a',
      '--rw=randread',
      '--bs=4k',
      '--filename=/dev/nvme0n1',
      '--size=1m',
      '--direct=1',
    ]
    const { status, stdout, stderr } = node(
      join(modules, 'phasebit', 'dist', 'lib', 'cli.js'),
      ...['run', ...job, '--number_ios=64', '--output-format=json'],
    )
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const { jobs } = JSON.parse(stdout) as { jobs: { read: { total_ios: number } }[] }
    expect(jobs[0]!.read.total_ios).toBe(64)
  })

  it('keeps the code of the program after its first job, and runs by it', () => {
    const lib = join(modules, 'phasebit', 'dist', 'lib')
    const code = (): string[] => readdirSync(lib).filter(name => name.includes('.code'))
    const job = [
      '--clock=virtual',
      '--name=a',
      '--filename=/dev/nvme0n1',
      '--size=1m',
      '--direct=1',
    ]
    for (const name of code()) rmSync(join(lib, name))
    const first = node(join(lib, 'cli.js'), 'run', ...job, '--output-format=json')
    const names = code()
    const times = names.map(name => statSync(join(lib, name)).mtimeMs)
    const second = node(join(lib, 'cli.js'), 'run', ...job, '--output-format=json')
    expect(first).toMatchObject({ status: 0, stderr: '' })
    expect(second.stdout).toBe(first.stdout)
    expect(names.length).toBeGreaterThan(5)
    expect(names.every(name => /^[\w-]+\.code$/.test(name))).toBe(true)
    expect(code().map(name => statSync(join(lib, name)).mtimeMs)).toEqual(times)
  })

  it("runs without code that is not its engine's", () => {
    const lib = join(modules, 'phasebit', 'dist', 'lib')
    const names = readdirSync(lib).filter(name => name.endsWith('.code'))
    for (const name of names) writeFileSync(join(lib, name), 'no code')
    const { status, stdout, stderr } = node(join(lib, 'cli.js'), '--version')
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: `phasebit ${version}\n`,
      stderr: '',
    })
    expect(names.length).toBeGreaterThan(5)
  })

  it('is imported by its name, and runs a job in virtual time', () => {
    const program = `
      import * as phasebit from 'phasebit'
      import manifest from 'phasebit/package.json' with { type: 'json' }
      const { result, failures } = await phasebit.run(['--clock=virtual', '--name=a', '--rw=randread', '--bs=4k',
        '--iodepth=4', '--ioengine=libaio', '--direct=1', '--filename=/dev/nvme0n1', '--size=1m'])
      console.log(JSON.stringify([Object.keys(phasebit).sort(), manifest.version, failures, result.jobs[0].read.totalIos]))`
    writeFileSync(join(place, 'api.js'), program)
    const { status, stdout } = node('--no-warnings', 'api.js')
    expect(status).toBe(0)
    const names = ['OutputError', 'UserError', 'formatReport', 'plan', 'run']
    expect(JSON.parse(stdout)).toEqual([expect.arrayContaining(names), version, [], 256])
  })

  it('keeps the rest of itself private', () => {
    const { status, stderr } = node(
      '--input-type=module',
      '-e',
      "await import('phasebit/dist/lib/gate-probe.js')",
    )
    expect(status).toBe(1)
    expect(stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })

  it('describes its types to a program that uses them', () => {
    writeFileSync(
      join(place, 'types.ts'),
      `import { formatReport, plan, run, type RunOutcome, UserError } from 'phasebit'
       const outcome: RunOutcome = await run(plan(['job.fio']), { onFailure: line => line.length })
       export const text: string = formatReport(outcome.result, { formats: ['json'] })
       export const error: Error = new UserError('no')
       // @ts-expect-error: the arguments are a list
       void run('job.fio')`,
    )
    const { status, stdout } = node(
      join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
      ...[
        '--noEmit',
        '--strict',
        '--module',
        'nodenext',
        '--target',
        'es2023',
        '--lib',
        'es2024',
        '--skipLibCheck',
      ],
      ...['--types', 'node', '--typeRoots', join(ROOT, 'node_modules', '@types'), 'types.ts'],
    )
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
  })
})
