// Builds everything that the package runs: the three WASM cores and the JavaScript. dist/src is what tsc makes of each file,
// for tests, benches and types; dist/lib is what is published and run: the same in a few files, because a process that loads
// 280 modules one by one spends most of its start on finding them.
// The cores are compiled only when something under assembly/ or asconfig.json has changed. Output whose source is gone
// is removed, so that dist/ is what a fresh build would make.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = name => join(root, 'node_modules', name)
const lib = join(root, 'dist', 'lib')
const TARGETS = ['release', 'debug', 'trace']

function run(script, args, stdout = 'inherit') {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      cwd: root,
      stdio: ['inherit', stdout, 'inherit'],
    })
    child.on('error', reject)
    child.on('exit', code =>
      code === 0
        ? resolve()
        : reject(new Error(`${script} ${args.join(' ')}: exit status ${code}`)),
    )
  })
}

function sourceHash() {
  const hash = createHash('sha256')
  const files = readdirSync(join(root, 'assembly'), { recursive: true })
    .filter(f => f.endsWith('.ts'))
    .sort()
  for (const f of files) hash.update(f).update(readFileSync(join(root, 'assembly', f)))
  for (const f of ['asconfig.json', 'package-lock.json']) hash.update(readFileSync(join(root, f)))
  return hash.digest('hex')
}

async function buildCores() {
  const stamp = join(root, 'dist', 'core.hash')
  const hash = sourceHash()
  const done = TARGETS.every(t => existsSync(join(root, 'dist', `core.${t}.wasm`)))
  if (done && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return
  mkdirSync(join(root, 'dist'), { recursive: true })
  const asc = bin('assemblyscript/bin/asc.js')
  await Promise.all(TARGETS.map(t => run(asc, ['--config', 'asconfig.json', '--target', t])))
  writeFileSync(stamp, hash)
}

/** What reports carry inside themselves. */
function copyAssets() {
  mkdirSync(join(root, 'dist', 'report'), { recursive: true })
  for (const file of ['uPlot.iife.min.js', 'uPlot.min.css'])
    copyFileSync(bin(`uplot/dist/${file}`), join(root, 'dist', 'report', file))
}

/** The command's program, and files of dist/src that others import by their path or by the package's name. They share their parts. */
const PROGRAM = 'cli/main.js'
const MODULES = {
  index: 'index.js',
  'gate-probe': 'cli/gate-probe.js',
}

/** Programs of the gate, which need nothing of the others. */
const GATE = { 'gate-child': 'cli/gate-child.js', 'gate-seat': 'cli/gate-seat.js' }

/** Files that threads load: each by itself, so that a thread reads only what it needs, and as CommonJS, which begins sooner. */
const WORKERS = {
  'cpu.worker': 'workload/cpu.worker.js',
  'bare-cpu.worker': 'machine/cpu.worker.js',
}

/** Bundles entries, and returns the files made. Names in them stay as they are, so that profiles and stacks can be read. */
async function bundle(entries, options, transform = {}) {
  const input = Object.entries(entries).map(([name, file]) => [name, join(root, 'dist/src', file)])
  const build = await rolldown({
    input: Object.fromEntries(input),
    platform: 'node',
    external: ['piscina', /^node:/],
    transform,
  })
  const { output } = await build.write({
    dir: lib,
    minify: { mangle: false, compress: false, codegen: { removeWhitespace: true } },
    ...options,
  })
  await build.close()
  return output
}

async function bundleWorkers() {
  const alone = { format: 'cjs', codeSplitting: false, entryFileNames: '[name].cjs' }
  const made = await Promise.all(
    Object.entries(WORKERS).map(([name, file]) => bundle({ [name]: file }, alone)),
  )
  return made.flat().map(({ fileName }) => fileName)
}

/** The same program in ASCII: its characters take a byte each in the engine, too. */
function ascii(text) {
  return text.replace(/[^\0-\x7f]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** The program (src/cli/program.ts) and what the engine makes of it, the command that runs both, and a module for each of MODULES. */
async function bundleProgram() {
  const name = '[name]-[hash].cjs'
  const options = { format: 'cjs', entryFileNames: name, chunkFileNames: `part-${name}` }
  const made = await bundle({ program: PROGRAM, ...MODULES }, options)
  const files = made.map(({ fileName }) => fileName)
  for (const file of files)
    writeFileSync(join(lib, file), ascii(readFileSync(join(lib, file), 'utf8')))
  const fileOf = Object.fromEntries(made.map(one => [one.isEntry ? one.name : '', one]))
  for (const module of Object.keys(MODULES)) {
    const { exports, fileName } = fileOf[module]
    const names = exports.length > 0 ? `export { ${exports.join(', ')} } from` : 'import'
    writeFileSync(join(lib, `${module}.js`), `${names} './${fileName}'\n`)
  }
  const program = fileOf.program.fileName
  const define = { PROGRAM: JSON.stringify(program) }
  await bundle({ cli: 'cli.js' }, { format: 'esm', entryFileNames: '[name].js' }, { define })
  chmodSync(join(lib, 'cli.js'), 0o755)
  const modules = ['cli', ...Object.keys(MODULES)].map(module => `${module}.js`)
  const code = files.map(file => file.replace(/cjs$/, 'code'))
  return { program, files: [...files, ...code, ...modules] }
}

async function bundleGate() {
  const names = { entryFileNames: '[name].js', chunkFileNames: 'part-[name]-[hash].js' }
  return (await bundle(GATE, { format: 'esm', ...names })).map(({ fileName }) => fileName)
}

/** Returns the program's path. */
async function bundleAll() {
  const parts = [bundleWorkers(), bundleGate(), bundleProgram()]
  const [workers, gate, { program, files }] = await Promise.all(parts)
  const made = new Set([...workers, ...gate, ...files])
  for (const file of readdirSync(lib)) if (!made.has(file)) rmSync(join(lib, file))
  return join(lib, program)
}

function removeStale() {
  for (const folder of ['assembly', 'src', 'bench', 'test']) {
    const out = join(root, 'dist', folder)
    if (!existsSync(out)) continue
    for (const file of readdirSync(out, { recursive: true })) {
      if (!/\.(d\.ts|js\.map|js)$/.test(file)) continue
      const source = file.replace(/\.(d\.ts|js\.map|js)$/, '.ts')
      if (!existsSync(join(root, folder, source))) rmSync(join(out, file), { force: true })
    }
  }
}

try {
  await Promise.all([buildCores(), run(bin('typescript/bin/tsc'), ['-p', 'tsconfig.json'])])
  removeStale()
  const program = await bundleAll()
  copyAssets()
  await run(join(root, 'scripts/code-cache.mjs'), [program], 'ignore')
} catch (error) {
  console.error(`build failed: ${error.message}`)
  process.exitCode = 1
}
