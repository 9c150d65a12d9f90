// Builds everything that the package runs: the three WASM cores and the JavaScript.
// The cores are compiled only when something under assembly/ or asconfig.json has changed.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
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
      code === 0 ? resolve() : reject(new Error(`${script} ${args.join(' ')}: exit status ${code}`)),
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

try {
  await Promise.all([buildCores(), run(bin('typescript/bin/tsc'), ['-p', 'tsconfig.json'])])
} catch (error) {
  console.error(`build failed: ${error.message}`)
  process.exitCode = 1
}
