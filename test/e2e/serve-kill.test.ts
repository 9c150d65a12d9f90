// `phasebit serve --store` is killed without warning in the middle of a job, and started again: nothing that was answered
// is lost, and the job goes on.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { fabricDisk, fabricPlan } from '../../src/workload/connect.js'
import { executePlan } from '../../src/workload/run.js'
import { Prng } from '../fuzz/prng.js'
import { ROOT } from '../tidy/files.js'
import { closeHost, connectHost, type RawQueue } from '../unit/nvme/raw-host.js'

const NQN = 'nqn.2026-11.io.phasebit:kill'
const SIZE = 16 * 2 ** 20
/** How often it is killed. */
const KILLS = 2
const folder = mkdtempSync(join(tmpdir(), 'phasebit-kill-'))
const children: ChildProcess[] = []

afterAll(() => {
  for (const child of children) kill(child)
  rmSync(folder, { recursive: true })
})

function kill(child: ChildProcess): void {
  child.removeAllListeners('exit')
  child.kill('SIGKILL')
}

/** Starts `phasebit serve`, on a port that nobody has or on that of the one before; resolves when it listens. */
function serve(file: string, port = 0): Promise<{ child: ChildProcess; port: number }> {
  const cli = join(ROOT, 'dist', 'lib', 'cli.js')
  const place = ['--nvme-tcp', `127.0.0.1:${port}`, '--nqn', NQN]
  const disk = ['--device', `nvme,size=${SIZE},model=ram`, '--store', join(folder, file)]
  const child = spawn(process.execPath, [cli, 'serve', ...place, ...disk], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return new Promise((resolve, reject) => {
    child.once('exit', code => reject(new Error(`serve ended: ${code}`)))
    child.stdout.once('data', (said: Buffer) =>
      resolve({ child, port: Number(/ port (\d+) /.exec(said.toString())![1]) }),
    )
  })
}

it('a target that is killed and restarted keeps what was written', async () => {
  const { child, port } = await serve('disk')
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
  kill(child)
  await serve('disk', port)
  const { result, failures } = await run
  expect(failures).toEqual([])
  expect(result.jobs[0]!.write.totalIos).toBe(512)
  expect(result.jobs[0]!.read.totalIos).toBe(512)
  expect(result.phasebit.books.balanced).toBe(true)
})

const PAGE = 4096
const PAGES = 512

/** What each page may hold: one value, or two while a command on it is not answered. */
type Pages = number[][]

/** One command of a host that is soon cut off: a write, a discard or Write Zeroes of some pages, a flush now and then. */
async function command(q: RawQueue, random: Prng, pages: Pages): Promise<void> {
  const count = 1 + random.below(16)
  const first = random.below(PAGES - count)
  const span = { nsid: 1, cdw: [first * 8, 0, count * 8 - 1] }
  const value = random.chance(75) ? 1 + random.below(255) : 0
  const own = pages.slice(first, first + count)
  for (const page of own) page.push(value)
  const data = Buffer.alloc(count * PAGE, value)
  const place = count <= 4 ? { inline: data } : { out: data }
  const { status } = await q.run(
    value === 0 ? { ...span, opcode: 8 } : { ...span, opcode: 1, ...place },
  )
  expect(status).toBe(0)
  for (const page of own) page.splice(0, page.length, value)
  if (random.chance(10)) expect((await q.run({ opcode: 0, nsid: 1 })).status).toBe(0)
}

async function until(q: RawQueue, random: Prng, pages: Pages): Promise<void> {
  try {
    while (!q.closed) await command(q, random, pages)
  } catch (error) {
    if (!q.closed) throw error
  }
}

async function compare(q: RawQueue, pages: Pages): Promise<void> {
  for (let at = 0; at < PAGES; at += 128) {
    const read = { opcode: 2, nsid: 1, cdw: [at * 8, 0, 128 * 8 - 1], length: 128 * PAGE }
    const { data } = await q.run(read)
    for (let i = 0; i < 128; i++) {
      const page = data.subarray(i * PAGE, (i + 1) * PAGE)
      const value = page[0]!
      expect(pages[at + i]).toContain(value)
      expect(page.equals(Buffer.alloc(PAGE, value))).toBe(true)
      pages[at + i]!.splice(0, 9, value)
    }
  }
}

it(`${KILLS} kills in the middle of writes: the file is never torn`, {
  timeout: 600_000,
}, async () => {
  const random = new Prng(17)
  const pages: Pages = Array.from({ length: PAGES }, () => [0])
  for (let n = 0; n <= KILLS; n++) {
    const { child, port } = await serve('torn')
    const host = await connectHost(port, NQN)
    await compare(host.io[0]!, pages)
    if (n === KILLS) {
      closeHost(host)
      break
    }
    const io = until(host.io[0]!, random, pages)
    await new Promise(resolve => setTimeout(resolve, 5 + random.below(60)))
    kill(child)
    await io
    await host.admin.end()
    closeHost(host)
  }
})
