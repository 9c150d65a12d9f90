// npm run gate -- [COMMIT] [OPTIONS OF phasebit gate]: is this checkout slower than a commit?
//
// Without a commit it is the last tag. The commit is unpacked and built in build/gate/HASH, once, with the packages that are
// installed here; then `phasebit gate --base build/gate/HASH --head .` compares the two in one process.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

function git(...args) {
  const output = execFileSync('git', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  return output.toString().trim()
}

/** The commit that is meant. */
function commitOf(name) {
  try {
    return git(
      'rev-parse',
      '--verify',
      '--quiet',
      `${name ?? git('describe', '--tags', '--abbrev=0')}^{commit}`,
    )
  } catch {
    throw new Error(
      name === undefined
        ? 'there is no tag yet: give a commit, such as npm run gate -- HEAD~1'
        : `${name}: no such commit`,
    )
  }
}

/** The folder of a built commit. */
function built(commit) {
  const folder = join(root, 'build', 'gate', commit)
  if (existsSync(folder)) return folder
  const fresh = `${folder}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  try {
    const archive = join(fresh, '.archive.tar')
    git('archive', '--output', archive, commit)
    execFileSync('tar', ['-xf', archive, '-C', fresh])
    rmSync(archive)
    symlinkSync(join(root, 'node_modules'), join(fresh, 'node_modules'), 'junction')
    execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: fresh, stdio: 'inherit' })
    renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return folder
}

try {
  const args = process.argv.slice(2)
  const named = args[0] !== undefined && !args[0].startsWith('-') && !args[0].endsWith('.fio')
  const base = built(commitOf(named ? args.shift() : undefined))
  const cli = join(root, 'dist', 'lib', 'cli.js')
  const command = [cli, 'gate', '--base', base, '--head', root, ...args]
  const { status } = spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' })
  process.exitCode = status ?? 70
} catch (error) {
  console.error(`gate: ${error.message}`)
  process.exitCode = 64
}
