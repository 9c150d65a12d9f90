// `phasebit bench NAME`
//
//   poll-vs-irq   src/workload/poll-vs-irq.ts as a table, JSON and an HTML page
//   mq-vs-sq      src/workload/mq-vs-sq.ts as a table and JSON
//   write-amp     src/workload/write-amp.ts as a table, JSON and an HTML page
//   probe         src/workload/probe-time.ts as a line and JSON
//   micro         the microbenchmarks of a source tree (bench/micro), which the package does not carry

import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { UserError } from '../core/errors.js'
import { distUrl } from '../core/wasm.js'
import { pollVsIrqHtml } from '../report/poll-vs-irq-html.js'
import { writeAmpHtml } from '../report/write-amp-html.js'
import { mqVsSq, type MqVsSqPoint } from '../workload/mq-vs-sq.js'
import { OutFile } from '../workload/out-file.js'
import { probeTime } from '../workload/probe-time.js'
import {
  COMPLETION_MODES,
  type CompletionMode,
  completionMode,
  type Crossover,
  crossovers,
  pollVsIrq,
  type PollVsIrqGrid,
  type PollVsIrqPoint,
} from '../workload/poll-vs-irq.js'
import { AMP_LAYERS, writeAmp, type WriteAmpPoint } from '../workload/write-amp.js'
import { printOut } from './output.js'

/** What is swept unless the user says. Real time takes as long as it says; virtual time is cheap. */
const DEFAULTS: Readonly<Record<PollVsIrqGrid['clock'], Omit<PollVsIrqGrid, 'clock' | 'seed'>>> = {
  virtual: {
    services: [0, 2, 5, 10, 20, 50, 100, 200],
    depths: [1, 4, 16, 64, 256],
    cpus: [1, 4],
    modes: COMPLETION_MODES,
    ios: 4000,
  },
  real: {
    services: [0, 10, 50, 100, 200],
    depths: [1, 32],
    cpus: [1],
    modes: COMPLETION_MODES,
    ios: 5000,
  },
}

interface Options {
  readonly grid: PollVsIrqGrid
  readonly json: string | undefined
  readonly html: string | undefined
}

/** Runs `phasebit bench ARGS...`; the result is the exit status. */
export async function benchCommand(argv: readonly string[]): Promise<number> {
  if (argv[0] === 'micro') return microbenchmarks(argv.slice(1))
  if (argv[0] === 'mq-vs-sq') return queues(argv.slice(1))
  if (argv[0] === 'write-amp') return amplification(argv.slice(1))
  if (argv[0] === 'probe') return probe(argv.slice(1))
  const { grid, json, html } = readOptions(argv)
  const files = [json, html].map(path => (path === undefined ? null : new OutFile(path)))
  try {
    await printOut(`${HEAD}\n`)
    const points = await pollVsIrq(grid, point => void printOut(`${pointRow(point)}\n`))
    const found = crossovers(points)
    await printOut(crossoverText(found))
    const { clock, seed } = grid
    const document = { version: version(), clock, seed, points, crossovers: found }
    files[0]?.write(`${JSON.stringify(document, null, 1)}\n`)
    files[1]?.write(pollVsIrqHtml(document))
    for (const file of files) file?.commit()
    return 0
  } catch (error) {
    for (const file of files) file?.discard()
    throw error
  }
}

const CPUS = [1, 2, 4, 8, 16, 32, 64]

async function queues(argv: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments(argv)
  const strange =
    positionals[0] ??
    Object.keys(values).find(name => !['cpus', 'ios', 'seed', 'json'].includes(name))
  if (strange !== undefined)
    throw new UserError(
      `phasebit bench mq-vs-sq: ${strange}: --cpus, --ios, --seed and --json are accepted`,
    )
  const cpus = numbers('cpus', values.cpus, 1, 64) ?? CPUS
  const ios = numbers('ios', values.ios, 1, 1e9)?.[0] ?? 4000
  const seed = numbers('seed', values.seed, 0, 2 ** 53 - 1)?.[0] ?? 1
  const file = values.json === undefined ? null : new OutFile(values.json)
  try {
    await printOut('cpus     sq IOPS  mean us     mq IOPS  mean us   mq/sq\n')
    const points = await mqVsSq(cpus, ios, seed, (sq, mq) => {
      const of = (p: MqVsSqPoint): string => `${p.iops.toFixed(0).padStart(11)} ${us(p.mean, 8)}`
      const ratio = (mq.iops / sq.iops).toFixed(2).padStart(7)
      void printOut(`${String(sq.cpus).padStart(4)} ${of(sq)} ${of(mq)} ${ratio}\n`)
    })
    file?.write(`${JSON.stringify({ version: version(), seed, points }, null, 1)}\n`)
    file?.commit()
    return 0
  } catch (error) {
    file?.discard()
    throw error
  }
}

const AMP_HEAD =
  'layer      writes  spare %   written     moved  amplification  FIFO all  FIFO in use\n'

function ampRow(p: WriteAmpPoint): string {
  return [
    p.layer.padEnd(5),
    p.distribution.padStart(11),
    String(p.spare).padStart(8),
    String(p.written).padStart(9),
    String(p.moved).padStart(9),
    p.amplification.toFixed(3).padStart(14),
    p.nominal.toFixed(3).padStart(9),
    p.inUse.toFixed(3).padStart(12),
  ].join(' ')
}

async function amplification(argv: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments(argv)
  const strange =
    positionals[0] ??
    Object.keys(values).find(name => !['spare', 'seed', 'json', 'html'].includes(name))
  if (strange !== undefined)
    throw new UserError(
      `phasebit bench write-amp: ${strange}: --spare, --seed, --json and --html are accepted`,
    )
  const seed = numbers('seed', values.seed, 0, 2 ** 53 - 1)?.[0] ?? 1
  const grid = {
    layers: AMP_LAYERS,
    spares: numbers('spare', values.spare, 20, 80) ?? [20, 30, 40, 50, 60, 70],
    distributions: ['random', 'zipf:1.1'],
    blocks: 64,
    sectors: 64,
    settle: 2,
    measure: 1,
    seed,
  }
  const [json, html] = [values.json, values.html].map(path => path && new OutFile(path))
  try {
    await printOut(AMP_HEAD)
    const points = await writeAmp(grid, point => void printOut(`${ampRow(point)}\n`))
    const document = { version: version(), seed, points }
    if (json) json.write(`${JSON.stringify(document, null, 1)}\n`)
    if (html) html.write(writeAmpHtml(document))
    for (const file of [json, html]) if (file) file.commit()
    return 0
  } catch (error) {
    for (const file of [json, html]) if (file) file.discard()
    throw error
  }
}

async function probe(argv: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments(argv)
  const strange =
    positionals[0] ?? Object.keys(values).find(name => !['queues', 'json'].includes(name))
  if (strange !== undefined)
    throw new UserError(`phasebit bench probe: ${strange}: --queues and --json are accepted`)
  const queues = numbers('queues', values.queues, 1, 64)?.[0] ?? 64
  const file = values.json === undefined ? null : new OutFile(values.json)
  const time = await probeTime(queues)
  const [ms, cpu, virtual] = [time.ms, time.cpuMs, time.virtualMs].map(n => n.toFixed(1))
  await printOut(
    `probe to LIVE, ${queues} queues: ${ms} ms of this host, ${cpu} ms of its CPUs; ${virtual} ms of virtual time\n`,
  )
  file?.write(`${JSON.stringify({ version: version(), ...time }, null, 1)}\n`)
  file?.commit()
  return 0
}

/** They run in a process of their own. */
function microbenchmarks(argv: readonly string[]): Promise<number> {
  const program = fileURLToPath(distUrl('bench/run.js'))
  if (!existsSync(program))
    throw new UserError(
      'phasebit bench micro: these are part of the source tree, not of the package',
    )
  const strange = argv.find((arg, i) => !arg.startsWith('--json') && argv[i - 1] !== '--json')
  if (strange !== undefined)
    throw new UserError(`phasebit bench micro: ${strange}: only --json FILE is accepted`)
  const child = spawn(process.execPath, [program, 'micro', ...argv], { stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', status => resolve(status ?? 1))
  })
}

function version(): string {
  const { version } = JSON.parse(readFileSync(distUrl('../package.json'), 'utf8')) as {
    version: string
  }
  return version
}

// ---------------------------------------------------------------- what the user says

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      clock: { type: 'string' },
      service: { type: 'string' },
      depth: { type: 'string' },
      cpus: { type: 'string' },
      mode: { type: 'string' },
      ios: { type: 'string' },
      seed: { type: 'string' },
      spare: { type: 'string' },
      queues: { type: 'string' },
      json: { type: 'string' },
      html: { type: 'string' },
    },
  })
}

function readArguments(argv: readonly string[]): ReturnType<typeof parse> {
  try {
    return parse(argv)
  } catch (error) {
    throw new UserError((error as Error).message)
  }
}

function readOptions(argv: readonly string[]): Options {
  const { values, positionals } = readArguments(argv)
  if (positionals.length !== 1 || positionals[0] !== 'poll-vs-irq')
    throw new UserError(
      `phasebit bench: ${positionals.length === 0 ? 'which one' : `no benchmark '${positionals.join(' ')}'`}; there are poll-vs-irq, mq-vs-sq, write-amp, probe and micro`,
    )
  const clock = values.clock ?? 'virtual'
  if (clock !== 'real' && clock !== 'virtual')
    throw new UserError(`--clock=${clock}: real and virtual are accepted`)
  const usual = DEFAULTS[clock]
  return {
    grid: {
      clock,
      services: numbers('service', values.service, 0, 1e6) ?? usual.services,
      depths: numbers('depth', values.depth, 1, 4096) ?? usual.depths,
      cpus: numbers('cpus', values.cpus, 1, 64) ?? usual.cpus,
      modes: modes(values.mode) ?? usual.modes,
      ios: numbers('ios', values.ios, 1, 1e9)?.[0] ?? usual.ios,
      seed: numbers('seed', values.seed, 0, 2 ** 53 - 1)?.[0] ?? 1,
    },
    json: values.json,
    html: values.html,
  }
}

/** A list of whole numbers. */
function numbers(
  name: string,
  text: string | undefined,
  least: number,
  most: number,
): number[] | null {
  if (text === undefined) return null
  return text.split(',').map(word => {
    const n = Number(word)
    if (/^\d+$/.test(word) && n >= least && n <= most) return n
    throw new UserError(
      `--${name}=${text}: whole numbers from ${least} to ${most}, separated by commas, are accepted`,
    )
  })
}

function modes(text: string | undefined): CompletionMode[] | null {
  if (text === undefined) return null
  return text.split(',').map(word => {
    const mode = completionMode(word)
    if (mode) return mode
    throw new UserError(
      `--mode=${text}: ${COMPLETION_MODES.join(', ')} and coalesce:N/T (1 to 256 completions, 100us to 25500us in steps of 100), separated by commas, are accepted`,
    )
  })
}

// ---------------------------------------------------------------- the table

const HEAD =
  'cpus depth  service us             mode        IOPS   mean us    p50 us    p99 us  p99.9 us  CPU us/IO  looks/IO  irqs/IO  completed by'

function us(ns: number, width: number): string {
  return (ns / 1000).toFixed(2).padStart(width)
}

function pointRow(p: PollVsIrqPoint): string {
  const proof = p.polled > 0 ? `${p.polled} looks` : `${p.interrupted} interrupts' entries`
  return [
    String(p.cpus).padStart(4),
    String(p.depth).padStart(5),
    String(p.serviceUs).padStart(11),
    p.mode.padStart(16),
    p.iops.toFixed(0).padStart(11),
    us(p.mean, 9),
    us(p.p50, 9),
    us(p.p99, 9),
    us(p.p999, 9),
    us(p.cpuPerIo, 10),
    p.spinsPerIo.toFixed(2).padStart(9),
    p.irqsPerIo.toFixed(3).padStart(8),
    ` ${proof}`,
  ].join(' ')
}

function crossoverText(found: readonly Crossover[]): string {
  if (found.every(c => c.cpuUs === null && c.latencyUs === null))
    return '\nno crossover of poll and irq in this range\n'
  const show = (value: number | null): string =>
    value === null ? 'not in this range' : `${value.toFixed(1)} us`
  const rows = found.map(
    c =>
      `  ${c.cpus} CPUs, depth ${c.depth}: equal CPU time at ${show(c.cpuUs)}, latency within 10 % from ${show(c.latencyUs)}; crossover ${show(c.crossoverUs)}`,
  )
  return [
    '',
    'from this service time on the interrupt costs less CPU at equal latency:',
    ...rows,
    '',
  ].join('\n')
}
