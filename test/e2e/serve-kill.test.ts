// `phasebit serve --store` is killed without warning in the middle of a job, and started again: nothing that was answered
// is lost, and the job goes on.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { fabricDisk, fabricPlan } from '../../src/workload/connect.js'
import { executePlan } from '../../src/workload/run.js'
import { ROOT } from '../tidy/files.js'

const NQN = 'nqn.2026-11.io.phasebit:kill'
const SIZE = 16 * 2 ** 20
const folder = mkdtempSync(join(tmpdir(), 'phasebit-kill-'))
let child: ChildProcess | undefined

afterAll(() => {
  child?.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

/** A port that nobody has. */
function freePort(): Promise<number> {
  const server = createServer()
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Starts `phasebit serve`; resolves when it listens. */
function serve(port: number): Promise<ChildProcess> {
  const cli = join(ROOT, 'dist', 'lib', 'cli.js')
  const place = ['--nvme-tcp', `127.0.0.1:${port}`, '--nqn', NQN]
  const disk = ['--device', `nvme,size=${SIZE},model=ram`, '--store', join(folder, 'disk')]
  const started = spawn(process.execPath, [cli, 'serve', ...place, ...disk], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return new Promise((resolve, reject) => {
    started.once('exit', code => reject(new Error(`serve ended: ${code}`)))
    started.stdout.once('data', () => resolve(started))
  })
}

it('a target that is killed and restarted keeps what was written', {
  timeout: 60_000,
}, async () => {
  const port = await freePort()
  child = await serve(port)
  const job = ['--name=a', '--rw=write', '--bs=16k', '--size=8m', '--iodepth=8', '--rate_iops=500']
  const disk = ['--filename=/dev/nvme0n1', '--ioengine=libaio', '--direct=1', '--verify=crc32c']
  const context = { readFile: () => Buffer.alloc(0), env: {}, hostCpus: 1 }
  const plan = fabricPlan([...job, ...disk], { bytes: SIZE, lbaShift: 9 }, context)
  const options = ['reconnect_delay=1']
  const target = { traddr: '127.0.0.1', trsvcid: String(port), nqn: NQN, options }
  let begun = (): void => {}
  const start = new Promise<void>(resolve => (begun = resolve))
  const run = executePlan(plan, { attachment: fabricDisk(target), onStart: begun })
  await Promise.race([start, run])
  await new Promise(resolve => setTimeout(resolve, 300))
  child.removeAllListeners('exit')
  child.kill('SIGKILL')
  child = await serve(port)
  const { result, failures } = await run
  expect(failures).toEqual([])
  expect(result.jobs[0]!.write.totalIos).toBe(512)
  expect(result.jobs[0]!.read.totalIos).toBe(512)
  expect(result.phasebit.books.balanced).toBe(true)
})
