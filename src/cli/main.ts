// Which command, and what its outcome means to the shell.
//
//   0   success
//   1   the run started and something failed, or an output could not be written
//   64  anything wrong with what the user wrote
//   70  our own fault (NODE_DEBUG=phasebit shows where)
//
// An error is one line on standard error.

import { readFileSync } from 'node:fs'
import { OutputError, UserError } from '../core/errors.js'
import { distUrl } from '../core/wasm.js'
import type { ThreadPool } from '../machine/thread-pool.js'
import { WORKER_FILE } from '../workload/worker-file.js'
import { printErr, printOut } from './output.js'

/** A command: what --help says about it, and what runs it. The result is the exit status. */
interface Command {
  readonly summary: string
  readonly run: (args: readonly string[]) => Promise<number>
  readonly help: () => Promise<string>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    summary: 'run fio job files on the emulated machine',
    run: async args => {
      const early = inRealTime(args) ? await earlyThread() : undefined
      return (await import('./run.js')).runCommand(args, early)
    },
    help: async () => (await import('./run-help.js')).runHelp(),
  },
  gate: {
    summary: 'compare results or builds, and fail when something has become worse',
    run: async args => (await import('./gate.js')).gateCommand(args),
    help: async () => (await import('./gate-help.js')).gateHelp(),
  },
  sweep: {
    summary: 'run a grid of jobs, resumable and in shards',
    run: async args => (await import('./sweep.js')).sweepCommand(args),
    help: async () => (await import('./sweep-help.js')).sweepHelp(),
  },
  bench: {
    summary: 'measure polling against interrupts',
    run: async args => (await import('./bench.js')).benchCommand(args),
    help: async () => (await import('./bench-help.js')).benchHelp(),
  },
  trace: {
    summary: 'show what the storage stack does, function by function',
    run: async args => (await import('./trace.js')).traceCommand(args),
    help: async () => (await import('./trace-help.js')).traceHelp(),
  },
  nvme: {
    summary: "nvme-cli's words: connect to NVMe/TCP targets, discover them",
    run: async args => (await import('./nvme.js')).nvmeCommand(args),
    help: async () => (await import('./nvme-help.js')).nvmeHelp(),
  },
  lnvm: {
    summary: "open-channel devices and their targets, in nvme-cli's words",
    run: async args => (await import('./lnvm.js')).lnvmCommand(args),
    help: async () => (await import('./lnvm-help.js')).lnvmHelp(),
  },
  serve: {
    summary: 'serve the disks of a machine to NVMe/TCP hosts',
    run: async args => (await import('./serve.js')).serveCommand(args),
    help: async () => (await import('./serve-help.js')).serveHelp(),
  },
  stress: {
    summary: 'random I/O on an NVMe disk under faults and resets, with every result checked',
    run: async args => (await import('./stress.js')).stressCommand(args),
    help: async () => (await import('./stress-help.js')).stressHelp(),
  },
  merge: {
    summary: 'put the shards of a sweep together',
    run: async args => (await import('./merge.js')).mergeCommand(args),
    help: async () => (await import('./sweep-help.js')).mergeHelp(),
  },
}

const INTERNAL_ERROR = 70

/** Whether a run will have threads, as far as a glance can tell: one too many does no harm. */
function inRealTime(args: readonly string[]): boolean {
  return !args.some(arg =>
    ['virtual', '--clock=virtual', '--parse-only', '--showcmd'].includes(arg),
  )
}

/** The thread of the first CPU, which begins while this one reads the rest of the program. */
async function earlyThread(): Promise<ThreadPool> {
  const { threadPool } = await import('../machine/thread-pool.js')
  return threadPool(1, WORKER_FILE)
}

/** Runs `phasebit` with these arguments and sets the exit status. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    process.exitCode = await dispatch(args)
  } catch (error) {
    process.exitCode = reportError(error)
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === '--version' || name === '-V') return printOut(`phasebit ${version()}\n`)
  if (name === '--help' || name === '-h') return printOut(overview())
  const command = find(name === 'help' ? (rest[0] ?? name) : name)
  if (name === 'help') return printOut(command === null ? overview() : await command.help())
  if (rest.includes('--help') || rest.includes('-h')) return printOut(await command!.help())
  return command!.run(rest)
}

/** The command of that name; null for `help` itself. */
function find(name: string | undefined): Command | null {
  if (name === 'help') return null
  if (name !== undefined && Object.hasOwn(COMMANDS, name)) return COMMANDS[name]!
  const what = name === undefined ? 'no command given' : `unknown command '${name}'`
  throw new UserError(`${what}; the commands are ${Object.keys(COMMANDS).join(', ')}, help`)
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map(name => name.length))
  const commands = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`,
  )
  return [
    'phasebit: an emulated computer with the Linux 4.19 storage stack and NVMe disks',
    '',
    'usage: phasebit COMMAND [ARGUMENTS]',
    '',
    ...commands,
    '',
    'phasebit COMMAND --help says more; phasebit --version names the version.',
    '',
  ].join('\n')
}

function version(): string {
  const file = readFileSync(distUrl('../package.json'), 'utf8')
  return (JSON.parse(file) as { version: string }).version
}

/** One line on standard error; returns the exit status. */
export function reportError(error: unknown): number {
  const own = error instanceof UserError || error instanceof OutputError
  const text = error instanceof Error ? error.message : String(error)
  const debug = /\bphasebit\b/.test(process.env['NODE_DEBUG'] ?? '')
  printErr(`phasebit: ${own ? '' : 'internal error: '}${text.replace(/\s*\n\s*/g, ' ')}\n`)
  if (debug && error instanceof Error) printErr(`${error.stack}\n`)
  return own ? error.exitStatus : INTERNAL_ERROR
}
