// The house rules on files that break them: a rule that finds nothing in the tree must be known to look.

import { describe, expect, it } from 'vitest'
import { clockUses } from '../tidy/clocks.js'
import { type HouseFile, parsed } from '../tidy/files.js'
import { cycles, layerOf, strangePackages, wrongDirections } from '../tidy/imports.js'
import { coreTextProblems, lockProblems, type Manifest, manifestProblems } from '../tidy/package.js'
import { emptyTests, leftOutTests } from '../tidy/tests.js'
import {
  leftoverMarkers,
  machinePaths,
  machinePathsInText,
  mutableGlobals,
  notConstant,
  withoutStory,
} from '../tidy/texts.js'

/** Files from `path: text` pairs. */
function made(texts: Record<string, string>): HouseFile[] {
  return Object.entries(texts).map(([path, text]) => ({ path, text }))
}

const code = (texts: Record<string, string>): ReturnType<typeof parsed> => parsed(made(texts))

describe('imports', () => {
  it.each([
    ['src/block/bio.ts', '../drivers/nvme/host/core.js', 'src/drivers/nvme/host/core.ts'],
    ['src/drivers/pci.ts', '../device/regs.js', 'src/device/regs.ts'],
    ['src/device/regs.ts', '../drivers/pci.js', 'src/drivers/pci.ts'],
    ['src/kernel/wait.ts', '../block/bio.js', 'src/block/bio.ts'],
    ['src/core/view.ts', '../kernel/wait.js', 'src/kernel/wait.ts'],
    ['src/machine/cpu.ts', '../workload/job.js', 'src/workload/job.ts'],
    ['src/report/stat.ts', '../workload/job.js', 'src/workload/job.ts'],
    ['src/report/stat.ts', '../machine/cpu.js', 'src/machine/cpu.ts'],
    ['src/gate/gate.ts', '../workload/job.js', 'src/workload/job.ts'],
    ['src/workload/job.ts', '../cli/run.js', 'src/cli/run.ts'],
    ['src/workload/job.ts', '../index.js', 'src/index.ts'],
    ['src/cli/run.ts', '../../bench/run.js', 'bench/run.ts'],
    ['src/cli/run.ts', '../../test/helper.js', 'test/helper.ts'],
    ['src/fs/sync.ts', '../drivers/pci.js', 'src/drivers/pci.ts'],
    ['src/core/wasm.ts', '../../assembly/submit.js', 'assembly/submit.ts'],
    ['assembly/layout.ts', './submit', 'assembly/submit.ts'],
    ['assembly/submit.ts', '../src/core/view', 'src/core/view.ts'],
  ])('from %s to %s point the wrong way', (from, specifier, to) => {
    const files = code({ [from]: `import { x } from '${specifier}'`, [to]: '' })
    expect(wrongDirections(files)).toHaveLength(1)
  })

  it.each([
    ['src/drivers/pci.ts', '../block/bio.js', 'src/block/bio.ts'],
    ['src/workload/run.ts', '../report/result.js', 'src/report/result.ts'],
    ['src/machine/cpu.ts', '../../assembly/layout.js', 'assembly/layout.ts'],
    ['assembly/submit.ts', './layout', 'assembly/layout.ts'],
    ['test/unit/a.test.ts', '../../bench/run.js', 'bench/run.ts'],
  ])('from %s to %s point down', (from, specifier, to) => {
    expect(wrongDirections(code({ [from]: `import { x } from '${specifier}'`, [to]: '' }))).toEqual(
      [],
    )
  })

  it.each([
    "import type { x } from '../workload/job.js'",
    "export * from '../workload/job.js'",
    "const x = await import('../workload/job.js')",
    "let x: import('../workload/job.js').Job",
    "import '../workload/job.js'",
  ])('are seen in every form: %s', text => {
    const files = code({ 'src/machine/cpu.ts': text, 'src/workload/job.ts': '' })
    expect(wrongDirections(files)).toHaveLength(1)
  })

  it('of a file that is not there, or from a folder that no table knows, are wrong', () => {
    expect(wrongDirections(code({ 'src/core/a.ts': "import './b.js'" }))).toHaveLength(1)
    expect(wrongDirections(code({ 'src/misc/a.ts': '' }))).toHaveLength(1)
  })

  it('know where a file belongs', () => {
    expect(layerOf('assembly/nvme.ts')).toBe('constants')
    expect(layerOf('assembly/nvme2.ts')).toBe('assembly')
    expect(layerOf('src/cli/run.ts')).toBe('cli')
    expect(layerOf('src/other.ts')).toBeUndefined()
    expect(layerOf('src/constructor/a.ts')).toBeUndefined()
  })

  it('in a circle are found, once, inside a folder and across', () => {
    const texts = {
      'src/core/a.ts': "import './b.js'",
      'src/core/b.ts': "import type { c } from './c.js'",
      'src/core/c.ts': "export { a } from './a.js'",
      'src/core/d.ts': "import './a.js'",
    }
    expect(cycles(code(texts))).toEqual([
      'src/core/a.ts -> src/core/b.ts -> src/core/c.ts -> src/core/a.ts',
    ])
    expect(
      cycles(
        code({
          'assembly/a.ts': "import { b } from './b'",
          'assembly/b.ts': "import { a } from './a'",
        }),
      ),
    ).toHaveLength(1)
    expect(cycles(code({ 'src/core/a.ts': "import './a.js'" }))).toHaveLength(1)
    expect(cycles(code({ ...texts, 'src/core/c.ts': '' }))).toEqual([])
  })

  it('of packages need a dependency or node:', () => {
    const files = code({
      'src/core/a.ts':
        "import 'fs'\nimport 'node:fs'\nimport 'piscina'\nimport 'lodash'\nimport 'node:none'",
    })
    expect(strangePackages(files, ['piscina'])).toEqual([
      "src/core/a.ts:1: 'fs' is neither node: nor a dependency",
      "src/core/a.ts:4: 'lodash' is neither node: nor a dependency",
      "src/core/a.ts:5: 'node:none' is neither node: nor a dependency",
    ])
  })
})

describe('clocks', () => {
  it.each([
    'Date.now()',
    'new Date()',
    'Date()',
    'performance.now()',
    'process.hrtime.bigint()',
    'Math.random()',
    'setTimeout(f, 1)',
    'setInterval(f, 1)',
    'setImmediate(f)',
    'crypto.randomBytes(4)',
    'randomUUID()',
    'crypto.getRandomValues(a)',
    'globalThis.setTimeout(f)',
    'const p = globalThis.performance',
    "import { performance } from 'node:perf_hooks'",
    "import { setTimeout as sleep } from 'node:timers/promises'",
  ])('%s is found', text => {
    expect(clockUses(code({ 'src/workload/a.ts': text }))).not.toEqual([])
    expect(clockUses(code({ 'src/kernel/wait.ts': text }))).not.toEqual([])
    expect(clockUses(code({ 'assembly/a.ts': text }))).not.toEqual([])
    expect(clockUses(code({ 'src/machine/clock.ts': text, 'src/kernel/time.ts': text }))).toEqual(
      [],
    )
  })

  it('a date from a number, and words in comments and texts, are none', () => {
    const text =
      "// Date.now()\nconst a = new Date(5)\nconst b = 'Math.random()'\nMath.max(1, 2)\nthis.setTimeout(3)"
    expect(clockUses(code({ 'src/report/a.ts': text }))).toEqual([])
  })
})

describe('texts', () => {
  it('with a marker are found, in any kind of file', () => {
    const word = ['TO', 'DO'].join('')
    const files = made({
      'a.md': `x\n${word}: y`,
      'src/b.ts': `// ${['FIX', 'ME'].join('')}`,
      'src/c.ts': 'ODOT',
    })
    expect(leftoverMarkers(files)).toHaveLength(2)
    expect(leftoverMarkers(files)[0]).toBe(`a.md:2: ${word}`)
  })

  it('need a story', () => {
    const files = made({
      'src/a.ts': 'const a = 1',
      'src/b.ts': '// b\n',
      'src/cli.ts': '#!/usr/bin/env node\n// cli\n',
      'src/d.ts': '#!/usr/bin/env node\nx',
      'assembly/e.ts': '',
    })
    expect(withoutStory(files).map(line => line.split(':')[0])).toEqual([
      'src/a.ts',
      'src/d.ts',
      'assembly/e.ts',
    ])
  })

  it('must not name places of one machine', () => {
    const place = ['', 'work', 'main'].join('/')
    expect(machinePaths(code({ 'src/a.ts': `const a = '${place}/x'` }))).toHaveLength(1)
    expect(machinePaths(code({ 'src/a.ts': `const a = \`file://${place}/\${b}\`` }))).toHaveLength(
      1,
    )
    expect(machinePaths(code({ 'test/a.ts': `const a = '${place}/x'` }))).toHaveLength(1)
    expect(machinePaths(code({ 'test/a.ts': "const a = '/tmp/x'" }))).toEqual([])
    expect(machinePaths(code({ 'src/a.ts': "const a = '/tmp/x'" }))).toHaveLength(1)
    expect(
      machinePaths(code({ 'src/a.ts': "const a = 'src/work/x'; const b = '/dev/nvme0n1'" })),
    ).toEqual([])
    expect(machinePathsInText(made({ 'README.md': `see ${place}/x\nand src/home/` }))).toHaveLength(
      1,
    )
  })

  it('of the core hold no variables, and its layout nothing but constants', () => {
    const files = code({
      'assembly/a.ts':
        'let x: u32 = 0\nexport let y: u32\nconst z = 1\nfunction f(): void { let l = 1 }',
    })
    expect(mutableGlobals(files)).toHaveLength(2)
    const layout =
      'export const A = 4 // bytes\nexport const B_C = A * 2 + (1 << 3)\nexport const D = -1\n'
    expect(notConstant(code({ 'assembly/layout.ts': layout }))).toEqual([])
    expect(notConstant(code({ 'assembly/layout.ts': `${layout}const E = 1` }))).toHaveLength(1)
    expect(notConstant(code({ 'assembly/nvme.ts': 'export const F = load(4)\n' }))).toHaveLength(0)
    expect(notConstant(code({ 'assembly/nvme.ts': "export const F = 'x'\n" }))).toHaveLength(1)
  })
})

describe('tests', () => {
  it('must be there and assert, themselves or through a helper', () => {
    const files = code({
      'test/helper.ts':
        'export function check(x: number): void { deeper(x) }\nconst deeper = (x: number) => { expect(x) }',
      'test/good.test.ts':
        "it('a', () => { expect(1).toBe(1) })\nit.each([1])('b', x => { check(x) })\ntest('c', check)",
      'test/empty.test.ts': '// nothing',
      'test/silent.test.ts':
        "it('a', () => { run() })\nit.each([1])('b', async x => { await run(x) })",
    })
    expect(emptyTests(files)).toEqual([
      'test/empty.test.ts: has no test',
      'test/silent.test.ts:1: asserts nothing',
      'test/silent.test.ts:2: asserts nothing',
    ])
  })

  it('must not run alone, nor be left out without a reason', () => {
    const files = code({
      'test/a.test.ts': [
        "it.only('a', f)",
        "describe.skip('b', f)",
        "it.skipIf(x)('c', f) // no such tool",
        '// the host has one core',
        "describe.runIf(y).each([1])('d', f)",
        "list.skip('e')",
      ].join('\n'),
      'test/b.test.ts': "requireInCi({ fio: hasFio })\ndescribe.runIf(hasFio)('a', f)",
    })
    expect(leftOutTests(files)).toEqual([
      'test/a.test.ts:1: .only',
      'test/a.test.ts:2: .skip without a reason',
    ])
  })
})

describe('the package', () => {
  const good: Manifest = {
    type: 'module',
    engines: { node: '>=20.19' },
    bin: { phasebit: './dist/lib/cli.js' },
    exports: { '.': { types: './a.d.ts', default: './a.js' } },
    files: ['dist/lib', 'README.md'],
    scripts: { test: 'vitest' },
    dependencies: { piscina: '^5.3.2' },
    devDependencies: { vitest: '4.1.12' },
  }

  it.each([
    [{ scripts: { postinstall: 'node x.js' } }],
    [{ scripts: { prepare: 'npm run build' } }],
    [{ files: ['dist'] }],
    [{ files: ['test/'] }],
    [{ engines: { node: '>=18' } }],
    [{ bin: {} }],
    [{ type: 'commonjs' }],
    [{ exports: { '.': { default: './a.js', types: './a.d.ts' } } }],
    [{ dependencies: { piscina: '5.3.2' } }],
    [{ devDependencies: { vitest: '^4.1.12' } }],
    [{ optionalDependencies: { fsevents: '^2.0.0' } }],
  ] satisfies [Manifest][])('%j is a problem', change => {
    expect(manifestProblems(good)).toEqual([])
    expect(manifestProblems({ ...good, ...change })).toHaveLength(1)
  })

  it('brings neither many packages nor scripts nor strangers', () => {
    const some = (count: number, more: object): { packages: Record<string, object> } => ({
      packages: Object.fromEntries([
        ['', {}],
        ...Array.from({ length: count }, (_, i) => [`node_modules/p${i}`, more]),
      ]),
    })
    expect(lockProblems(some(25, {}))).toEqual([])
    expect(lockProblems(some(26, {}))).toHaveLength(1)
    expect(lockProblems(some(100, { dev: true }))).toEqual([])
    expect(lockProblems(some(1, { hasInstallScript: true }))).toHaveLength(1)
    expect(lockProblems(some(1, { resolved: 'https://example.org/p.tgz' }))).toHaveLength(1)
    expect(lockProblems(some(2, { optionalDependencies: { p0: '1' } }))).toEqual([])
    expect(lockProblems(some(1, { optionalDependencies: { p9: '1' } }))).toHaveLength(1)
  })

  it('has a release core without start, hooks, abort or globals', () => {
    const core =
      '(module\n (import "env" "memory" (memory $0 16 65536 shared))\n (func $assembly/cpu/cpu_run\n'
    expect(coreTextProblems(core)).toEqual([])
    expect(coreTextProblems(`${core} (start $~start)`)).toHaveLength(1)
    expect(coreTextProblems(`${core} (call $assembly/trace/enter (i32.const 1))`)).toHaveLength(1)
    expect(coreTextProblems(`${core} (import "env" "abort" (func))`)).toHaveLength(1)
    expect(
      coreTextProblems(`${core} (global $assembly/cpu/x (mut i32) (i32.const 0))`),
    ).toHaveLength(1)
    expect(coreTextProblems('(module)')).toHaveLength(1)
  })
})
