// The built command in a folder of its own, for the tests of gate and sweep.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { main } from '../../src/cli/main.js'
import { capture } from './capture.js'

export const CLI: string = fileURLToPath(new URL('../../dist/lib/cli.js', import.meta.url))
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))

export const JOB: string = [
  '[a]',
  'filename=/dev/nvme0n1',
  'ioengine=libaio',
  'direct=1',
  'rw=randrw',
  'bs=4k',
  'size=1m',
  'iodepth=4',
  '',
].join('\n')

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `phasebit ARGS...` in a process, in a folder. */
export function phasebitIn(cwd: string, args: readonly string[]): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    cwd,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

/** The same in this process, which is quicker. */
export async function phasebitHere(
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  const [before, place] = [{ ...process.env }, process.cwd()]
  const [out, err] = [capture(process.stdout), capture(process.stderr)]
  delete process.env['GITHUB_STEP_SUMMARY']
  delete process.env['GITHUB_ACTIONS']
  Object.assign(process.env, env)
  process.chdir(cwd)
  try {
    await main(args)
    return { status: Number(process.exitCode), stdout: out.text(), stderr: err.text() }
  } finally {
    process.chdir(place)
    process.env = before
    process.exitCode = 0
    out.restore()
    err.restore()
  }
}
