// What one emulated kernel is made of: its CPUs, its tasks, its clock, its log. State only; who
// changes it is elsewhere.
//
//   core.ts ← task.ts ← softirq.ts ← irq.ts, smp.ts, timer*.ts, hrtimer.ts
//           ← wait.ts, completion.ts, mutex.ts ← workqueue*.ts ← cpu.ts ← kernel.ts (class Kernel)
//
// There are no module globals: what Linux keeps in global and per-CPU variables hangs on the
// kernel, so that many kernels live in one process. Each subsystem says in an interface what it
// adds to `KernelCore` (TimerKernel, HrtimerKernel, WorkqueueKernel); the class `Kernel` has all of
// it. Two rules follow for every signature:
//
// - an object is made for one kernel and carries it (`new timer_list(k, ...)`), so that functions
//   on it take the arguments they take in Linux: `mod_timer(timer, expires)`, `queue_work(wq,
//   work)`;
// - where Linux reads a global or the CPU it runs on, `k` comes first: `schedule_timeout(k, t)`,
//   `raise_softirq(k, nr)`.
//
// One thread serves all CPUs of a kernel. Code between two sleeps is atomic: nothing runs beside
// it, hence no locks, no atomics, no memory barriers. Where Linux disables interrupts, nothing is
// needed either.

import { INITIAL_JIFFIES, tick_nsec } from './time.js'
import type { ContextKind, TraceContext, TraceHost, TraceSink } from './trace.js'
import { NO_SINK, Trace } from './trace.js'

/**
 * A function that may sleep: `yield* mutex_lock(m)`. What it yields, on the way to the run loop, is
 * a word for what it waits for, kept in `task_struct.waiting_on`.
 */
export type Sleep<T> = Generator<string, T, void>

export const TASK_RUNNING = 0
export const TASK_INTERRUPTIBLE = 1
export const TASK_UNINTERRUPTIBLE = 2
export const TASK_DEAD = 0x80
/** Uninterruptible, and does not count as load: idle workers. */
export const TASK_IDLE = 0x402
export const TASK_NORMAL: number = TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE

export const PF_WQ_WORKER = 0x20
export const PF_MEMALLOC = 0x800
export const PF_KTHREAD = 0x200000

/**
 * The priority of a normal task. Recorded and shown; the run loop goes by the order of wake-ups
 * alone.
 */
export const MIN_NICE = -20

/** Whoever can run code: a task, or an interrupt level of a CPU. */
export class ExecContext implements TraceContext {
  readonly id: number
  name: string
  readonly kind: ContextKind
  depth = 0

  constructor(id: number, name: string, kind: ContextKind) {
    this.id = id
    this.name = name
    this.kind = kind
  }
}

/**
 * What the block layer hangs on a task between blk_start_plug and blk_finish_plug: flushed before
 * the task sleeps.
 */
export interface TaskPlug {
  blk_needs_flush_plug(): boolean
  blk_schedule_flush_plug(): void
  /** The task is preempted: what it has plugged leaves the CPU with it, and comes back. */
  blk_plug_out(): void
  blk_plug_in(): void
}

/** Calls that a workqueue worker's task makes when it stops and resumes being runnable. */
export interface SleepHooks {
  wq_worker_sleeping(task: task_struct): void
  wq_worker_waking_up(task: task_struct): void
}

export class task_struct extends ExecContext {
  readonly k: KernelCore
  /** The CPU it runs on, or ran on last. */
  cpu: Cpu
  state: number = TASK_RUNNING
  flags = 0
  nice = 0
  /** CPUs it may run on; null for all. */
  cpus_allowed: readonly number[] | null = null
  /** Running or waiting to run: not asleep. */
  on_rq = false
  /** The next task in the run queue. */
  rq_next: task_struct | null = null
  /**
   * Earliest time at which it may run again, in ns (its wake-up plus the cost of a switch, if that
   * is not 0).
   */
  ready_at = 0
  /** Until when it computes, in ns, if it said so (submit_time). */
  computes_until = 0
  /** What it does; called at its first turn. */
  start: (() => Sleep<void>) | null = null
  body: Sleep<void> | null = null
  /** What it sleeps on, in words. */
  waiting_on = ''
  /** It has slept and was woken, and has not run since. */
  woken = false
  plug: TaskPlug | null = null
  hooks: SleepHooks | null = null
  kthread_data: unknown = null
  should_stop = false
  /** Tasks that wait for its end (kthread_stop). */
  readonly exit_waiters: task_struct[] = []

  constructor(k: KernelCore, name: string, kind: ContextKind, cpu: Cpu) {
    super(k.next_id(), name, kind)
    this.k = k
    this.cpu = cpu
  }
}

/** One call of call_rcu. */
export interface rcu_head {
  readonly cpu: Cpu
  /** The jiffy at which its grace period is over. */
  readonly due: number
  readonly fn: () => void
}

export class Cpu {
  readonly id: number
  readonly node: number
  online = true
  /**
   * The task that runs when nothing else does; also the context of code that the machine calls
   * outside all tasks.
   */
  readonly idle: task_struct
  current: task_struct
  readonly hardirq: ExecContext
  readonly softirq: ExecContext
  in_hardirq = 0
  in_softirq = false
  bh_disabled = 0
  softirq_pending = 0
  ksoftirqd: task_struct | null = null
  /** Runnable tasks, the running one included. */
  nr_running = 0
  /** A kernel thread was woken here since the turn of the running task began (TIF_NEED_RESCHED). */
  need_resched = false

  constructor(k: KernelCore, id: number, node: number) {
    this.id = id
    this.node = node
    this.idle = new task_struct(k, `swapper/${id}`, 'idle', this)
    this.current = this.idle
    this.hardirq = new ExecContext(k.next_id(), 'hardirq', 'hardirq')
    this.softirq = new ExecContext(k.next_id(), 'softirq', 'softirq')
  }
}

export type LogLevel = 'emerg' | 'err' | 'warn' | 'info'

export interface LogLine {
  /** Clock, in ns. */
  readonly time: number
  readonly level: LogLevel
  readonly text: string
}

export interface KernelOptions {
  /** The clock: ns since some epoch, never going back. */
  readonly now: () => number
  /** Ticks a second (CONFIG_HZ): 100, 250, 300 or 1000. Default 250. */
  readonly hz?: number
  /** Default 1. */
  readonly nrCpus?: number
  /** The NUMA node of each CPU. Default: one node. */
  readonly cpuToNode?: readonly number[]
  /** The CPU on which code outside all tasks runs. Default 0. */
  readonly bootCpu?: number
  /**
   * Clock value at which the first jiffy began, in ns. Default: now. Threads of one machine give
   * the same value.
   */
  readonly bootNs?: number
  /** Where jiffies begin. Default: 300 s before 2^32, as in Linux. */
  readonly initialJiffies?: number
  /** Called when jiffies have moved, before anything that fires at the new tick. */
  readonly onJiffies?: (jiffies: number) => void
  /** Where the kernel log goes. It is kept in `dmesg` as well (the last 1000 lines). */
  readonly printk?: (line: LogLine) => void
  readonly trace?: TraceSink
  /** Time between an IPI's sending and its arrival, in ns. Default 0. */
  readonly ipiNs?: number
  /** Time between a wake-up and the task's first instruction, in ns. Default 0. */
  readonly switchNs?: number
  /** ... and up to so much more, in ns, another time at each wake-up; a new task has none. Default 0. */
  readonly switchSpreadNs?: number
  /**
   * Time that a task takes for one request where it submits many in a row, in ns: what a fast device
   * has done by then interrupts it. Default 0: it is through before anything ends.
   */
  readonly submitNs?: number
  /** Runs other tasks in the middle of a call that the core has made for the current one (might_sleep_within). */
  readonly within?: (run: () => void) => void
  /**
   * `exact` fires a timer at its expiry and leaves out the wheel's rounding (boot option
   * timer=exact).
   */
  readonly timer?: 'wheel' | 'exact'
  /**
   * The sysctl kernel.timer_migration: unpinned timers armed on an idle CPU go to a busy one.
   * Default true.
   */
  readonly timerMigration?: boolean
  /** Whether a pool can get another worker now; false stands for "no memory". Default: always. */
  readonly canCreateWorker?: () => boolean
  /** CPUs for works queued on no particular CPU (wq_unbound_cpumask). Default: all. */
  readonly unboundCpus?: readonly number[]
  /**
   * Boot option workqueue.power_efficient: WQ_POWER_EFFICIENT queues are unbound. Default false.
   */
  readonly wqPowerEfficient?: boolean
  /**
   * Boot option workqueue.watchdog_thresh, in s: report pools that make no progress. Default 0:
   * off.
   */
  readonly wqWatchdogThresh?: number
}

const DMESG_LINES = 1000

export class KernelCore implements TraceHost {
  readonly options: KernelOptions
  readonly hz: number
  /** Length of a jiffy in ns. */
  readonly tick_nsec: number
  readonly boot_ns: number
  readonly initial_jiffies: number
  /** The tick count. Moves only in `advance()`. */
  jiffies: number
  readonly trace: Trace
  readonly cpus: readonly Cpu[]
  /** The CPU whose code runs now. */
  cpu: Cpu
  /** The context that runs now. */
  ctx: ExecContext
  /** All live tasks but the idle ones. */
  readonly tasks: Set<task_struct> = new Set()
  /** Tasks ready to run, in the order of their wake-ups over all CPUs. */
  rq_head: task_struct | null = null
  rq_tail: task_struct | null = null
  /** Wake-ups so far. */
  nr_switches = 0
  /** Some CPU may have softirqs pending: whoever looks at all of them and finds none says so. */
  softirqs = false
  /** Who waits for a grace period, in the order in which they asked (rcu.ts). */
  readonly rcu: rcu_head[] = []
  /** Rounds of cond_resched in this turn. */
  unbroken = 0
  readonly dmesg: LogLine[] = []
  readonly warned: Set<string> = new Set()
  #next_id = 1

  constructor(options: KernelOptions) {
    this.options = options
    this.hz = options.hz ?? 250
    this.tick_nsec = tick_nsec(this.hz)
    this.boot_ns = options.bootNs ?? options.now()
    this.initial_jiffies = options.initialJiffies ?? INITIAL_JIFFIES(this.hz)
    this.jiffies = this.initial_jiffies
    this.trace = new Trace(options.trace ?? NO_SINK)
    const nodes = options.cpuToNode ?? []
    const count = options.nrCpus ?? 1
    this.cpus = Array.from({ length: count }, (_, id) => new Cpu(this, id, nodes[id] ?? 0))
    this.cpu = this.cpus[options.bootCpu ?? 0]
    this.ctx = this.cpu.idle
  }

  /** The clock, in ns. */
  now(): number {
    return this.options.now()
  }

  /**
   * The task that runs on this CPU, also while an interrupt has the CPU; the idle task when there
   * is none.
   */
  get current(): task_struct {
    return this.cpu.current
  }

  /** A number for a new context (a process id, for a task). */
  next_id(): number {
    return this.#next_id++
  }
}

export function smp_processor_id(k: KernelCore): number {
  return k.cpu.id
}

/** Whether a hardirq or softirq runs on this CPU, or softirqs are held off. */
export function in_interrupt(k: KernelCore): boolean {
  return k.cpu.in_hardirq > 0 || k.cpu.in_softirq || k.cpu.bh_disabled > 0
}

/** Calls `fn` as code of another context on some CPU, then goes back to where we are. */
export function run_in_context<T>(k: KernelCore, cpu: Cpu, ctx: ExecContext, fn: () => T): T {
  const { cpu: cpu_before, ctx: ctx_before } = k
  k.cpu = cpu
  k.ctx = ctx
  const result = fn()
  k.cpu = cpu_before
  k.ctx = ctx_before
  return result
}

/** Writes a line to the kernel log. */
export function printk(k: KernelCore, level: LogLevel, text: string): void {
  const line = { time: k.now(), level, text }
  if (k.dmesg.length === DMESG_LINES) k.dmesg.shift()
  k.dmesg.push(line)
  k.options.printk?.(line)
}

/** Logs a warning if the condition holds; returns the condition. */
export function WARN(k: KernelCore, condition: boolean, text: string): boolean {
  if (condition) printk(k, 'warn', text)
  return condition
}

/** As WARN, but each text is logged once in the life of a kernel. */
export function WARN_ONCE(k: KernelCore, condition: boolean, text: string): boolean {
  if (condition && !k.warned.has(text)) {
    k.warned.add(text)
    printk(k, 'warn', text)
  }
  return condition
}
