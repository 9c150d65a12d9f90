// Names of trace scenarios, and what they mean.
//
//   nullblk-{mq|rq|bio|cache|nocache}[-depthN][-irqN][-{none|mq-deadline|kyber}]-{read|write|flush|wflush|dsync|commit|batchrN|batchwN}
//   nullblk-requeue-SCHED-readN       the N-th read while the driver asks for a requeue on every second request
//   nullblk-fault-timeout-readN       the N-th read while every fifth request is lost
//   nullblk-throttle-mbpsN-batchwN    out of bandwidth: queue stopped, restarted by its timer
//   laptop-mode-{off-read|write-read-timer|write-without-completion|sync-cancels|two-completions}[-SCHED]
//   nvme-polled-read                 a read on a queue without interrupts
//   nullblk-mq-create, -destroy       the disk is made, removed
//   nullblk-...-freeze, -switch       a read while the queue is frozen; the scheduler is attached, then a read
//   ...-SCHED                         the scheduler may stand at the end of any name instead
//   ...-Ncpu                          other than two CPUs
//
// `cache` is memory-backed with a write-back cache, `nocache` memory-backed without; `rq` is a single queue (queue_mode 1)
// with such a cache. `commit` is a journal's: a write with PREFLUSH and FUA, and a second one behind it. Without a word: queue_mode 2,
// irqmode 1 (bio: 0; a depth: 2), scheduler none, HZ 250, a hardware queue for each CPU (a depth: one).

import { BLK_MQ_MAX_DEPTH } from '../../assembly/nvme.js'
import { UserError } from '../core/errors.js'

/** The most that null_blk takes. */
const MAX_MBPS = 40960

export type ScenarioOp =
  | 'read'
  | 'write'
  | 'flush'
  | 'wflush'
  | 'dsync'
  | 'batchr'
  | 'batchw'
  | 'commit'
  | 'create'
  | 'destroy'
  | 'freeze'
  | 'switch'
export type ScenarioSched = 'none' | 'mq-deadline' | 'kyber'

export interface NullBlkScenario {
  readonly name: string
  readonly kind: 'mq' | 'rq' | 'polled' | 'bio' | 'cache' | 'nocache'
  readonly depth: number | null
  readonly irqmode: 0 | 1 | 2
  readonly sched: ScenarioSched
  readonly op: ScenarioOp
  /** I/Os of a batch. */
  readonly count: number
  /** Which of several equal I/Os is recorded, from 1. */
  readonly nth: number
  readonly fault: 'requeue' | 'timeout' | null
  /** A story of laptop mode (scenario-laptop.ts). */
  readonly laptop: LaptopStory | null
  readonly mbps: number
  readonly cpus: number
}

export const LAPTOP_STORIES = [
  'off-read',
  'write-read-timer',
  'write-without-completion',
  'sync-cancels',
  'two-completions',
] as const
export type LaptopStory = (typeof LAPTOP_STORIES)[number]

const LAPTOP = new RegExp(
  `^laptop-mode-(${LAPTOP_STORIES.join('|')})(?:-(none|mq-deadline|kyber))?$`,
)
const CPUS = /-(\d+)cpu$/
const PLAIN =
  /^nullblk-(mq|rq|bio|cache|nocache)(?:-depth(\d+))?(?:-irq([012]))?(?:-(none|mq-deadline|kyber))?-(read|write|flush|wflush|dsync|commit|freeze|switch|batchr(\d*)|batchw(\d*))$/
const LIFE = /^nullblk-mq(?:-depth(\d+))?-(create|destroy)$/
const REQUEUE = /^nullblk-requeue-(none|mq-deadline|kyber)-read(\d+)$/
const TIMEOUT = /^nullblk-fault-timeout(?:-(none|mq-deadline|kyber))?-read(\d+)$/
const THROTTLE = /^nullblk-throttle-mbps(\d+)(?:-(none|mq-deadline|kyber))?-(batchr|batchw)(\d*)$/

const BASE = {
  kind: 'mq',
  depth: null,
  irqmode: 1,
  sched: 'none',
  op: 'read',
  count: 1,
  nth: 1,
  fault: null,
  laptop: null,
  mbps: 0,
} as const

/** A short scenario of each story, for `--list` and `--all`. */
export const SCENARIOS: readonly string[] = [
  ...['none', 'mq-deadline', 'kyber'].flatMap(sched =>
    ['read', 'write', 'batchr4', 'batchw4'].flatMap(op =>
      [0, 1, 2].map(irq => `nullblk-mq-irq${irq}-${sched}-${op}`),
    ),
  ),
  'nullblk-mq-depth1-none-batchr4',
  ...['read', 'write', 'wflush', 'commit', 'batchr4'].map(op => `nullblk-rq-${op}`),
  'nullblk-rq-irq2-commit',
  'nvme-polled-read',
  'nullblk-mq-create',
  'nullblk-mq-destroy',
  'nullblk-mq-none-freeze',
  'nullblk-mq-mq-deadline-switch',
  'nullblk-mq-kyber-switch',
  'nullblk-bio-read',
  'nullblk-bio-write',
  'nullblk-bio-wflush',
  ...['none', 'mq-deadline'].flatMap(sched =>
    ['read', 'write', 'flush', 'wflush', 'dsync'].flatMap(op =>
      ['cache', 'nocache'].map(kind => `nullblk-${kind}-irq1-${sched}-${op}`),
    ),
  ),
  'nullblk-cache-irq0-none-wflush',
  ...[1, 2, 3].map(n => `nullblk-requeue-none-read${n}`),
  ...[1, 3, 4].map(n => `nullblk-fault-timeout-read${n}`),
  'nullblk-throttle-mbps1-batchw8',
  ...LAPTOP_STORIES.map(story => `laptop-mode-${story}`),
]

function batch(text: string | undefined): number {
  return text ? Number(text) : 4
}

function plain(name: string, cpus: number, m: RegExpExecArray): NullBlkScenario {
  const kind = m[1] as NullBlkScenario['kind']
  const depth = m[2] ? Number(m[2]) : null
  const usual = kind === 'bio' ? 0 : depth === null ? 1 : 2
  const irqmode = (m[3] ? Number(m[3]) : usual) as 0 | 1 | 2
  const sched = (m[4] ?? 'none') as ScenarioSched
  const op = m[5]!.replace(/\d+$/, '') as ScenarioOp
  const count = op.startsWith('batch') ? batch(m[6] || m[7]) : 1
  return { ...BASE, name, cpus, kind, depth, irqmode, sched, op, count }
}

const SCHEDS = '{none|mq-deadline|kyber}'

/** Names of the family that was meant, or the families. */
function acceptedNames(name: string): string {
  if (name.startsWith('nullblk-'))
    return `there are nullblk-{mq|rq|bio|cache|nocache}[-depthN][-irq{0|1|2}][-${SCHEDS}]-{read|write|flush|wflush|dsync|commit|freeze|switch|batchrN|batchwN}, nullblk-requeue-${SCHEDS}-readN, nullblk-fault-timeout-readN, nullblk-throttle-mbpsN-batchwN, nullblk-mq-{create|destroy}; -Ncpu may follow`
  if (name.startsWith('laptop-'))
    return `there are laptop-mode-{${LAPTOP_STORIES.join('|')}}[-${SCHEDS}][-Ncpu]`
  if (name.startsWith('pblk-'))
    return `there are pblk-{create|remove|write1|batchwN|flush|discard|read-from-buffer|read-from-device|nvme-register|nvme-unregister}[-${SCHEDS}][-Ncpu], with N from 1 to 1024`
  return 'names begin with nullblk-, laptop-mode-, nvmepci-, nvmeloop-, nvmerdma-, nvmefc-, nvmetcp-, pblk- or rrpc-, as in nullblk-mq-irq1-none-read; phasebit trace --list shows some of each'
}

/**
 * What a scenario name asks for.
 * @throws UserError when it is none
 */
export function parseScenario(name: string): NullBlkScenario {
  const cpus = Number(CPUS.exec(name)?.[1] ?? 2)
  const bare = name.replace(CPUS, '')
  const scenario = parseBare(name, bare, cpus) ?? withScheduler(name, bare, cpus)
  if (scenario === null)
    throw new UserError(`trace: unknown scenario '${name}'; ${acceptedNames(name)}`)
  checkKind(scenario)
  // a bio-based disk has no scheduler, whatever is written to its attribute
  const sched = scenario.kind === 'bio' ? 'none' : scenario.sched
  for (const [what, number, low, high] of numbersOf(scenario))
    if (number < low || number > high)
      throw new UserError(`trace ${name}: ${what} must be ${low} to ${high}, not ${number}`)
  return { ...scenario, sched }
}

/** Each number of a name, and its range. */
function numbersOf(
  s: NullBlkScenario,
): [what: string, number: number, low: number, high: number][] {
  const throttled = s.name.startsWith('nullblk-throttle-')
  return [
    ['CPUs', s.cpus, 1, 64],
    ['I/Os of a batch', s.count, 1, 128],
    ['the read', s.nth, 1, 1000],
    ['the depth', s.depth ?? 1, 1, BLK_MQ_MAX_DEPTH],
    ['mbps', throttled ? s.mbps : 1, 1, MAX_MBPS],
  ]
}

/** @throws UserError for what this kind of disk has not */
function checkKind({ name, kind, sched, op }: NullBlkScenario): void {
  if (kind === 'rq' && (sched !== 'none' || op === 'freeze' || op === 'switch'))
    throw new UserError(
      `trace ${name}: a single queue has the scheduler noop, and cannot be frozen`,
    )
}

const TRAILING = /-(none|mq-deadline|kyber)$/

/** A name with its scheduler at the end; null when it is none, or says its scheduler twice. */
function withScheduler(name: string, bare: string, cpus: number): NullBlkScenario | null {
  const sched = TRAILING.exec(bare)?.[1] as ScenarioSched | undefined
  if (sched === undefined) return null
  const rest = bare.replace(TRAILING, '')
  const scenario = SAYS_SCHED.test(rest) ? null : parseBare(name, rest, cpus)
  return scenario && !isLifeOp(scenario) && scenario.kind !== 'polled'
    ? { ...scenario, sched }
    : null
}

const SAYS_SCHED = /-(none|mq-deadline|kyber)-/

function isLifeOp({ op }: NullBlkScenario): boolean {
  return op === 'create' || op === 'destroy'
}

function parseBare(name: string, bare: string, cpus: number): NullBlkScenario | null {
  const p = PLAIN.exec(bare)
  if (p) return plain(name, cpus, p)
  if (bare === 'nvme-polled-read') return { ...BASE, name, cpus, kind: 'polled', irqmode: 0 }
  const r = REQUEUE.exec(bare)
  if (r)
    return {
      ...BASE,
      name,
      cpus,
      fault: 'requeue',
      sched: r[1] as ScenarioSched,
      nth: Number(r[2]),
    }
  const t = TIMEOUT.exec(bare)
  if (t) {
    const sched = (t[1] ?? 'none') as ScenarioSched
    return { ...BASE, name, cpus, fault: 'timeout', sched, nth: Number(t[2]) }
  }
  const b = THROTTLE.exec(bare)
  if (b) {
    const op = b[3] as ScenarioOp
    const sched = (b[2] ?? 'none') as ScenarioSched
    return { ...BASE, name, cpus, irqmode: 0, mbps: Number(b[1]), op, sched, count: batch(b[4]) }
  }
  const c = LIFE.exec(bare)
  if (c) {
    const depth = c[1] ? Number(c[1]) : null
    return { ...BASE, name, cpus, irqmode: 0, depth, op: c[2] as ScenarioOp }
  }
  const l = LAPTOP.exec(bare)
  if (l) {
    const [laptop, sched] = [l[1] as LaptopStory, (l[2] ?? 'none') as ScenarioSched]
    return { ...BASE, name, cpus, kind: 'nocache', irqmode: 0, sched, laptop }
  }
  return null
}
