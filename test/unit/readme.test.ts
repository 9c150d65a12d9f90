// The papers say what is true: README's job file, commands and program are run, what it says is refused is refused, and
// files, functions and links that README, ARCHITECTURE and CHANGELOG name are there.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runHelp } from '../../src/cli/run-help.js'
import { run, UserError } from '../../src/index.js'
import { DEFAULT_COSTS } from '../../src/machine/costs.js'
import { houseFiles, ROOT } from '../tidy/files.js'

const PAPERS = ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md']
const text = Object.fromEntries(PAPERS.map(name => [name, readFileSync(join(ROOT, name), 'utf8')]))
const readme = text['README.md']!
const architecture = text['ARCHITECTURE.md']!
const place = mkdtempSync(join(tmpdir(), 'phasebit-readme-'))
const cli = join(ROOT, 'dist', 'lib', 'cli.js')

/** Fenced blocks of a language, in order. */
function blocks(paper: string, language: string): string[] {
  return [...paper.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    m => m[1]!,
  )
}

/** Lines of the shell blocks, without comments. */
const shell = blocks(readme, 'sh')
  .flatMap(block => block.split('\n'))
  .map(line => line.replace(/\s+#.*/, '').trim())
  .filter(line => line !== '')
const commands = shell.filter(line => line.startsWith('phasebit '))

/** Texts between single backticks. */
function spans(line: string): string[] {
  return [...line.matchAll(/`([^`]+)`/g)].map(m => m[1]!)
}

/** Cells of the row of a table that begins with `name`. */
function row(paper: string, name: string): string[] {
  const line = paper.split('\n').find(one => one.startsWith(`| ${name} |`))
  expect(line, `a row ${name}`).toBeDefined()
  return line!.split(/(?<!\\)\|/).slice(1, -1)
}

beforeAll(() => {
  const job = blocks(readme, 'ini')[0]!
  writeFileSync(join(place, /^; (\S+)/.exec(job)![1]!), job)
  mkdirSync(join(place, 'node_modules'))
  symlinkSync(ROOT, join(place, 'node_modules', 'phasebit'))
})

afterAll(() => rmSync(place, { recursive: true, force: true }))

describe('README', () => {
  it('has commands to try', () => {
    expect(commands.length).toBeGreaterThan(5)
  })

  it.each(commands)('%s', command => {
    const args = [cli, ...command.split(/\s+/).slice(1)]
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: place, encoding: 'utf8' })
    expect({ status, stderr: stderr.replace(/^phasebit: note: .*\n/gm, '') }).toEqual({
      status: 0,
      stderr: '',
    })
  })

  it('names npm scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: object
    }
    const named = [...readme.matchAll(/\bnpm (?:run )?([a-z]+)/g)].map(m => m[1]!)
    expect(named).toContain('test')
    expect(named.filter(name => name !== 'ci' && !Object.hasOwn(scripts, name))).toEqual([])
  })

  it.each(blocks(readme, 'js').map((program, i) => [i, program] as const))(
    'program %i',
    (i, program) => {
      writeFileSync(join(place, `program${i}.mjs`), program)
      const { status, stdout } = spawnSync(process.execPath, [`program${i}.mjs`], {
        cwd: place,
        encoding: 'utf8',
      })
      expect(status).toBe(0)
      const lines = stdout.split('\n')
      if (program.includes('openMachine')) {
        expect(lines).toEqual(['true', ''])
        return
      }
      expect(lines[0]).toMatch(/^16384 \d+\.\d+ true 0$/)
      expect(lines[1]).toMatch(/^3;fio-3\.33;reads;/)
      expect(lines.at(-2)).toMatch(/^true missing\.fio: /)
    },
  )

  const refused = readme
    .split('\n')
    .slice(readme.split('\n').findIndex(line => line.includes('refused by name')))
    .filter(line => /^\| \w+ \|.*\|.*`/.test(line))
    .flatMap(line => spans(line.split(/(?<!\\)\|/)[3] ?? ''))

  it.each(refused)('%s is refused', async span => {
    const option = span.startsWith('--') ? span : `--device nvme,${span}`
    const devices = option.startsWith('--device ') ? `--device nvme ${option}` : option
    const job =
      '--name=a --filename=/dev/nvme0n1 --rw=randread --size=1m --direct=1 --clock=virtual'
    const refusal = run([...job.split(' '), ...devices.split(' ')])
    await expect(refusal).rejects.toThrow(UserError)
    await expect(refusal).rejects.toThrow(/not built yet|not yet/)
  })

  it.each(spans(row(readme, 'media')[1]!))('the medium %s works', async model => {
    const more = /fixed|normal/.test(model)
      ? ',latency=10us/1us'
      : model === 'empirical'
        ? ',read=50:10us/100:20us'
        : ''
    const device = `nvme,model=${model}${model === 'fixed' ? ',latency=10us' : more}`
    const job =
      '--name=a --filename=/dev/nvme0n1 --rw=randread --size=1m --direct=1 --ioengine=libaio --iodepth=4'
    const { result } = await run([...job.split(' '), '--clock=virtual', '--device', device])
    expect(result.jobs[0]!.read.totalIos).toBe(256)
  })

  it('admits what is accepted without effect, as long as it is', () => {
    const fields = {
      hipri: 'JOB_POLLED',
      iodepth_batch_complete_min: 'JOB_REAP_MIN',
      thinktime_spin: 'JOB_THINK_SPIN_NS',
    }
    const core = houseFiles().filter(({ path }) => /^assembly\/(?!layout)/.test(path))
    for (const [option, field] of Object.entries(fields)) {
      const read = core.some(file => new RegExp(`, ${field}\\)`).test(file.text))
      expect(readme.includes(`\`${option}\``), `${option} in README`).toBe(!read)
      expect(architecture.includes(`\`${option}\``), `${option} in ARCHITECTURE`).toBe(!read)
    }
  })

  it('names options that --help knows', () => {
    const help = runHelp()
    const table = readme.slice(readme.indexOf('| option |'), readme.indexOf('**Output.**'))
    const named = [...table.matchAll(/`--([a-z-]+)/g)].map(m => m[1]!)
    expect(named.length).toBeGreaterThan(10)
    expect(
      named.filter(name => !help.includes(`--${name} `) && !help.includes(`--${name}\n`)),
    ).toEqual([])
  })

  it.each(PAPERS.slice(0, 2))('%s gives the costs of virtual time as they are', name => {
    const said = (cost: string, ns: number): RegExp => new RegExp(`\`${cost}\`( \\||)\\s+${ns}\\b`)
    const wrong = Object.entries(DEFAULT_COSTS).filter(
      ([cost, ns]) => !said(cost, ns).test(text[name]!),
    )
    expect(wrong).toEqual([])
  })
})

describe('ARCHITECTURE', () => {
  const rows = architecture
    .split('\n')
    .map(line => /^\| (`.*) \| `((?:assembly|src)\/\S+\.ts)` \|$/.exec(line))
    .filter(match => match !== null)
    .map(([, functions, file]) => [file!, spans(functions!)] as const)

  it('lists where the functions of Linux have their bodies', () => {
    expect(rows.length).toBeGreaterThan(10)
  })

  it.each(rows)('%s has what is said of it', (file, functions) => {
    const source = readFileSync(join(ROOT, file), 'utf8')
    const missing = functions.filter(
      name => !new RegExp(`^(export )?function\\*? ${name}\\b`, 'm').test(source),
    )
    expect(missing).toEqual([])
  })

  it('names functions beside files that have them', () => {
    const pairs = [...architecture.matchAll(/`(\w+)` \(`((?:assembly|src)\/[\w/.-]+\.ts)`/g)]
    expect(pairs.length).toBeGreaterThan(10)
    for (const [, name, file] of pairs)
      expect(readFileSync(join(ROOT, file!), 'utf8'), `${name} in ${file}`).toMatch(
        new RegExp(`\\b${name}\\b`),
      )
  })

  it('names constants that the layout has', () => {
    const layout = readFileSync(join(ROOT, 'assembly', 'layout.ts'), 'utf8')
    const constants = spans(architecture).filter(span => /^[A-Z]+_[A-Z_]+$/.test(span))
    expect(constants.length).toBeGreaterThan(5)
    expect(constants.filter(name => !layout.includes(`export const ${name} =`))).toEqual([])
  })
})

describe('all papers', () => {
  it.each(PAPERS)('%s links to what is there', name => {
    const links = [...text[name]!.matchAll(/\]\(([^)#\s]+)(#[^)]*)?\)/g)].map(m => m[1]!)
    const missing = links.filter(
      link => !link.startsWith('https://') && !existsSync(join(ROOT, dirname(name), link)),
    )
    expect(missing).toEqual([])
  })

  it.each(PAPERS)('%s names files that are there', name => {
    const files = spans(text[name]!).filter(span =>
      /^(assembly|src|test|bench|examples|scripts|\.ci)\/[\w./-]+$/.test(span),
    )
    expect(files.filter(file => !existsSync(join(ROOT, file)))).toEqual([])
  })

  it('ARCHITECTURE links to headings that it has', () => {
    const headings = [...architecture.matchAll(/^#+ (.+)$/gm)].map(m =>
      m[1]!
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )
    const anchors = [...architecture.matchAll(/\]\(#([^)]+)\)/g)].map(m => m[1]!)
    expect(anchors.filter(anchor => !headings.includes(anchor))).toEqual([])
  })
})
