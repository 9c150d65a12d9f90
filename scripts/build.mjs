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
const TARGETS = ['release', 'debug', 'trace']

function run(script, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' })
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

/** Files of dist/src that are begun with: by a command line, an import, a thread, or the gate of another build. */
const ENTRIES = {
  cli: 'cli.js',
  index: 'index.js',
  'cpu.worker': 'workload/cpu.worker.js',
  'bare-cpu.worker': 'machine/cpu.worker.js',
  'gate-probe': 'cli/gate-probe.js',
  'gate-child': 'cli/gate-child.js',
  'gate-seat': 'cli/gate-seat.js',
}

/** Names stay as they are, so that profiles and stacks can be read. */
async function bundle() {
  const src = join(root, 'dist', 'src')
  const input = Object.entries(ENTRIES).map(([name, file]) => [name, join(src, file)])
  const build = await rolldown({
    input: Object.fromEntries(input),
    platform: 'node',
    external: ['piscina', /^node:/],
  })
  const { output } = await build.write({
    dir: join(root, 'dist', 'lib'),
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'part-[name]-[hash].js',
    minify: { mangle: false, compress: false, codegen: { removeWhitespace: true } },
  })
  await build.close()
  const made = new Set(output.map(({ fileName }) => fileName))
  for (const file of readdirSync(join(root, 'dist', 'lib')))
    if (!made.has(file)) rmSync(join(root, 'dist', 'lib', file))
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
  await bundle()
  copyAssets()
  chmodSync(join(root, 'dist/lib/cli.js'), 0o755)
} catch (error) {
  console.error(`build failed: ${error.message}`)
  process.exitCode = 1
}
