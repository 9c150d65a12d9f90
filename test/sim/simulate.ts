// One seed, run twice in virtual time, and everything checked that must hold whatever was drawn:
//
//   every I/O ended once, the books balance, nothing is left held: tags, list pages, split bios, pages of the store
//   counts match the limits, a job fails only for a reason that was drawn
//   verification finds no error, unless a byte was changed on its way: then it does
//   the second run leaves the same memory, byte for byte

import * as L from '../../assembly/layout.js'
import type { View } from '../../src/core/view.js'
import { bootMachine, type Machine } from '../../src/machine/machine.js'
import { placeJobs } from '../../src/workload/cpus.js'
import { Executor } from '../../src/workload/executor.js'
import { hostHandlers } from '../../src/workload/host.js'
import type { RunPlan } from '../../src/workload/job.js'
import { fillJob } from '../../src/workload/job-block.js'
import { type JobMemory, planJobMemory } from '../../src/workload/job-memory.js'
import { jobLimits } from '../../src/workload/limits.js'
import { LogFiles } from '../../src/workload/log-files.js'
import { machineConfig } from '../../src/workload/machine-config.js'
import { Phases } from '../../src/workload/phases.js'
import { parseRun } from '../../src/workload/run-command.js'
import { RunningJob } from '../../src/workload/running-job.js'
import { type Draw, draw } from './draw.js'

const PAGE = 4096
const EIO = 5
const ENOSPC = 28
const EILSEQ = 84
/** Returns of Machine.run without anything having happened; more is a machine that stands still. */
const MAX_IDLE = 1000

/** What a seed did, for the curious. */
export interface SimFacts {
  readonly ios: number
  readonly virtualNs: number
}

/**
 * Runs a seed.
 * @throws Error that names the seed, what was drawn and what is wrong
 */
export async function simulate(seed: number): Promise<SimFacts> {
  const drawn = draw(seed)
  try {
    const first = await runOnce(drawn)
    check(drawn, first)
    const second = await runOnce(drawn)
    sameMemory(first, second)
    return { ios: total(first, L.CPU_SUBMITTED), virtualNs: first.now() }
  } catch (error) {
    const { args, machine, disk } = drawn
    const what = `${args.join(' ')}\n${JSON.stringify({ machine, disk })}`
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    throw new Error(`seed ${seed}: ${text}\n${what}`)
  }
}

// ---------------------------------------------------------------- running

function planOf(drawn: Draw): RunPlan {
  return parseRun(drawn.args, {
    readFile: path => {
      throw new Error(`there is no file ${path}`)
    },
    env: {},
    hostCpus: 4,
  })
}

async function runOnce(drawn: Draw): Promise<Machine> {
  const plan = planOf(drawn)
  const { nrCpus, cpuOfJob } = placeJobs(plan.jobs, plan.cpus, null)
  const memory = planJobMemory(plan)
  const jobs = plan.jobs.length
  const config = machineConfig(plan, { nrCpus, jobs, extraBytes: memory.bytes + PAGE })
  const disks = config.disks.map(disk => ({ ...disk, ...drawn.disk }))
  const machine = bootMachine({ ...config, ...drawn.machine, disks })
  failWhenIdle(machine)
  const running = prepareJobs(plan, machine, cpuOfJob, memory)
  const executor = new Executor(
    machine,
    running,
    new Phases(plan.jobs, machine.now()),
    [],
    () => {},
  )
  await machine.start({ handlers: hostHandlers(executor.serveHere) })
  await executor.run()
  await machine.stop()
  return machine
}

function prepareJobs(
  plan: RunPlan,
  machine: Machine,
  cpuOfJob: readonly number[],
  memory: JobMemory,
): RunningJob[] {
  const { view, core } = machine
  const base = machine.alloc(memory.bytes, PAGE)
  const tables = memory.tables === 0 ? 0 : base + memory.tables
  if (tables !== 0) core.checksum_tables(tables)
  const files = new LogFiles(plan.jobs)
  const disk = machine.disks[0]!
  return plan.jobs.map((spec, i) => {
    const lbaBytes = 2 ** disk.config.lbaShift
    const job = machine.jobAddress(i)
    const site = { job, q: disk.q, lbaBytes, base, places: memory.jobs[i]!, tables }
    const limits = jobLimits(spec, plan)
    fillJob(view, spec, limits, site)
    machine.linkJob(job, cpuOfJob[i]!)
    return new RunningJob(
      view,
      spec,
      limits,
      site,
      cpuOfJob[i]!,
      files,
      machine.config.lat === 'every',
    )
  })
}

/** A machine in which nothing will ever happen again is an error here, not a wait without end. */
function failWhenIdle(machine: Machine): void {
  const run = machine.run.bind(machine)
  let idle = 0
  machine.run = async untilNs => {
    const end = await run(untilNs)
    idle = end === 'event' ? 0 : idle + 1
    const forEver = untilNs === undefined || untilNs === Number.POSITIVE_INFINITY
    if ((end === 'idle' && forEver) || idle > MAX_IDLE)
      throw new Error(`the machine stands still at ${machine.now()} ns: ${standing(machine)}`)
    return end
  }
}

function standing(machine: Machine): string {
  const { view } = machine
  const states = Array.from({ length: machine.config.jobs }, (_, i) => {
    const job = machine.jobAddress(i)
    return `job ${i} state ${view.load(job + L.JOB_STATE)} in flight ${view.u32(job + L.JOB_IN_FLIGHT)}`
  })
  return [...states, ...machine.books().problems].join('; ')
}

// ---------------------------------------------------------------- checking

function total({ view, config }: Machine, field: number): number {
  const first = view.u32(L.M_BASE + L.M_CPUS)
  let sum = 0
  for (let i = 0; i < config.cpus; i++) sum += view.u64(first + i * L.CPU_SIZE + field)
  return sum
}

function ensure(good: boolean, what: () => string): void {
  if (!good) throw new Error(what())
}

function equal(got: number, wanted: number, what: string): void {
  ensure(got === wanted, () => `${what}: ${got}, expected ${wanted}`)
}

function check(drawn: Draw, machine: Machine): void {
  const books = machine.books()
  ensure(books.balanced, () => `the books do not balance: ${books.problems.join('; ')}`)
  for (const queue of machine.queueFacts()) equal(queue.spurious, 0, 'spurious completions')
  checkPools(machine)
  const jobs = drawn.jobs.map((_, i) => jobFacts(machine, i))
  checkTotals(machine, jobs)
  jobs.forEach((facts, i) => {
    checkJob(drawn, machine, facts, i)
  })
}

interface JobFacts {
  readonly issued: number
  /** Good reads, writes, trims and syncs. */
  readonly ended: number
  /** Syncs that went down and are not among them: those of end_fsync, and what failed. */
  readonly syncs: number
  readonly errors: number
  readonly errno: number
  readonly bad: number
  readonly checked: number
}

function jobFacts(machine: Machine, index: number): JobFacts {
  const { view } = machine
  const job = machine.jobAddress(index)
  const ended = [0, 1, 2, 3].map(d => view.u64(job + L.JOB_STATS + d * L.STAT_SIZE + L.STAT_IOS))
  return {
    issued: view.u64(job + L.JOB_ISSUED),
    ended: ended.reduce((a, b) => a + b, 0),
    syncs: view.u64(job + L.JOB_FSYNCS) - ended[3]!,
    errors: view.u64(job + L.JOB_ERRORS),
    errno: view.u32(job + L.JOB_ERROR),
    bad: view.u64(job + L.JOB_VER + L.JV_ERRORS),
    checked: view.u64(job + L.JOB_VER + L.JV_CHECKED),
  }
}

/** An I/O is good or an error, never both, never neither; a failed check is an error of a good I/O. */
function checkTotals(machine: Machine, jobs: readonly JobFacts[]): void {
  const ended = jobs.reduce((n, job) => n + job.ended, 0)
  const errors = jobs.reduce((n, job) => n + job.errors, 0)
  const submitted = total(machine, L.CPU_SUBMITTED)
  const failed = total(machine, L.CPU_FAILED)
  const syncs = jobs.reduce((n, job) => n + job.syncs, 0)
  if (failed === 0) equal(ended + syncs, submitted, 'I/Os that jobs saw end')
  const missing = submitted - failed - ended
  ensure(missing >= 0 && missing <= syncs, () => `${missing} I/Os have not ended`)
  ensure(errors >= failed, () => `${failed} bios failed, jobs saw ${errors} errors`)
  if (jobs.every(job => job.bad === 0)) equal(errors, failed, 'errors of jobs')
}

function checkJob(drawn: Draw, machine: Machine, facts: JobFacts, index: number): void {
  const { ios, verify } = drawn.jobs[index]!
  const where = `job ${index}`
  const faults = drawn.disk.faults ?? []
  const full = machine.view.u32(poolOf(machine) + L.POOL_FULL) !== 0
  const reasons = new Set([0])
  if (faults.some(f => f.action === 'status')) reasons.add(EIO)
  if (full) reasons.add(ENOSPC)
  if (drawn.mustFind) reasons.add(EILSEQ)
  ensure(reasons.has(facts.errno), () => `${where} failed with errno ${facts.errno}`)
  if (facts.errno === 0) {
    equal(facts.errors, 0, `${where}, errors`)
    if (ios !== null) equal(facts.issued, ios, `${where}, I/Os issued`)
  }
  if (!verify) return
  if (drawn.mustFind) checkFound(machine, facts, where)
  else equal(facts.bad, 0, `${where}, bad intervals`)
}

/** Every write of the job is read back, so that the changed byte cannot hide. */
function checkFound(machine: Machine, facts: JobFacts, where: string): void {
  const hits = machine.view.u32(machine.view.u32(machine.disks[0]!.dev + L.DEV_FAULTS) + L.FLT_HITS)
  ensure(facts.checked > 0, () => `${where} checked nothing`)
  equal(facts.bad > 0 ? 1 : 0, hits > 0 ? 1 : 0, `${where}, corruption found (${hits} hits)`)
}

function poolOf({ view, disks }: Machine): number {
  const { store } = disks[0]!
  return store ? view.u32(store + L.ST_POOL) : 0
}

/** What is lent out comes back: list pages, bios for splitting; pages of the store are where they belong. */
function checkPools(machine: Machine): void {
  const { view, config, disks } = machine
  const disk = disks[0]!
  for (const { nq, index } of disk.queues) {
    const base = view.u32(nq + L.NQ_PRP_BASE)
    const links = view.u32(nq + L.NQ_PRP_LINKS)
    const free = listLength(
      view,
      view.u32(nq + L.NQ_PRP_FREE),
      page => links + (page - base) / 1024,
    )
    const wanted = disk.config.prpPages ?? disk.tags
    equal(free, wanted, `list pages of queue ${index + 1}`)
  }
  let bios = 0
  const first = view.u32(L.M_BASE + L.M_CPUS)
  for (let i = 0; i < config.cpus; i++) {
    const head = view.u32(first + i * L.CPU_SIZE + L.CPU_BIO_FREE)
    bios += listLength(view, head, bio => bio + L.BIO_NEXT)
  }
  equal(bios, config.cpus * 1024, 'bios for splitting')
  if (disk.store) checkStore(view, disk.store)
}

function listLength(view: View, head: number, next: (at: number) => number): number {
  let n = 0
  for (let at = head; at; at = view.u32(next(at)))
    if (++n > 1e6) throw new Error('a list has no end')
  return n
}

/** The directory names as many pages as are lent out, and none that is free. */
function checkStore(view: View, store: number): void {
  const pool = view.u32(store + L.ST_POOL)
  const pages = new Set<number>()
  for (let i = 0; i < view.u32(store + L.ST_DIRS); i++) {
    const leaf = view.u32(view.u32(store + L.ST_DIR) + i * 4)
    if (!leaf) continue
    pages.add(leaf)
    for (let j = 0; j < 1024; j++) if (view.u32(leaf + j * 4)) pages.add(view.u32(leaf + j * 4))
  }
  equal(pages.size, view.u32(pool + L.POOL_USED), 'pages of the store')
  for (let page = view.u32(pool + L.POOL_FREE); page; page = view.u32(page))
    ensure(!pages.has(page), () => `page ${page} is free and in use`)
}

function sameMemory(a: Machine, b: Machine): void {
  const [x, y] = [a.view.bytes, b.view.bytes]
  if (Buffer.compare(x, y) === 0) return
  const at = x.findIndex((byte, i) => byte !== y[i])
  throw new Error(`the second run differs from the first at byte ${at}`)
}
