// Builds everything that the package runs: the three WASM cores and the JavaScript.
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
  copyAssets()
  chmodSync(join(root, 'dist/src/cli.js'), 0o755)
} catch (error) {
  console.error(`build failed: ${error.message}`)
  process.exitCode = 1
}
