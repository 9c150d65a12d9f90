// The WASM core: where its file is, what it exports, and how a thread gets its instance.
//
// The module is compiled once, on the main thread; workers receive the compiled module together with the memory and
// make one instance each, for their whole life (each instantiation writes the constant data again). All arguments and
// results are numbers: addresses and counts are u32, times are f64 nanoseconds.
import { existsSync, readFileSync } from 'node:fs'
import { NVME_SC_DNR, NVME_SC_INVALID_OPCODE } from '../../assembly/nvme.js'

/** Which build of the core: `trace` has the function hooks, `debug` has assertions. */
export type CoreTarget = 'release' | 'debug' | 'trace'

/**
 * What the core exports. Addresses are byte offsets into the memory; RUN_* of assembly/layout.ts are the results of a
 * run; booleans are 0 or 1.
 */
export interface Core {
  // --- running
  /** Real clock: runs the jobs of one CPU for about `budget` ended bios. Returns RUN_* and the flag RUN_SLOW. */
  cpu_run(cpu: number, budget: number): number
  /**
   * Before the thread sleeps on CPU_WAKE, which the caller has read: sets CPU_WAITING and looks once more. When the CPU has
   * something to do by itself, ns; Infinity = never, -1 = now.
   */
  cpu_arm(cpu: number): number
  /** 1 if the CPU has something to do now. */
  cpu_pending(cpu: number): number
  /** Stamps the time of the next batch, in ns on the machine's clock. */
  cpu_set_now(cpu: number, ns: number): void
  /** Runs all queues of a device that has its own thread; returns the number of entries handled. */
  device_run(dev: number, budget: number): number
  /** Virtual clock: handles events. Returns RUN_* and the flag RUN_SLOW. `untilNs` from 2^64 on is no limit. */
  virtual_run(budget: number, untilNs: number): number
  /** Virtual clock: puts an event for this CPU at the present time. */
  virtual_kick(cpu: number): void

  /** Real time, all CPUs on one thread: handles the events that the clock has reached. As virtual_run otherwise. */
  shared_run(budget: number, untilNs: number): number
  /** When the next event is due, ns; Infinity = there is none. */
  shared_deadline(): number
  /** Turns what devices with threads of their own have posted into events. */
  look_at_threads(now: number): void

  // --- a controller in TypeScript (src/device)
  /** Fetches what is new in a queue (DSQ_*) and posts what is due. */
  dev_step(dsq: number, now: number): void
  /** Posts a completion: 0 = no room, keep it until DV_ROOM; 1 = posted; 2 = posted, the interrupt has nobody to go to. */
  dev_complete(
    dsq: number,
    cid: number,
    status: number,
    dw0: number,
    dw1: number,
    now: number,
  ): number
  /** Ends a command in service early, with another status; 0 = it is not in service. */
  dev_abort(dsq: number, cid: number, status: number, now: number): number
  /** When the medium is done with a command given to it now, ns. */
  dev_service(dev: number, opcode: number, now: number): number
  /** Copies from a data store (ST_*) to memory, and back: how many bytes were written, fewer when `mem=` is used up. */
  dev_read(store: number, at: number, to: number, bytes: number): void
  dev_write(store: number, at: number, from: number, bytes: number): number
  dev_zero(store: number, at: number, bytes: number): void
  /** The page (4096 bytes) of a byte, made if it is not there; 0 when `mem=` is used up. */
  dev_page(store: number, at: number): number

  // --- boot
  sbitmap_words(depth: number, shift: number): number
  sbitmap_queue_init_node(
    sbq: number,
    depth: number,
    shift: number,
    roundRobin: number,
    map: number,
    hints: number,
    nrCpus: number,
    shared: number,
    seed: number,
  ): number
  nvme_init_prp_pool(nq: number, base: number, links: number, count: number): void
  checksum_tables(tables: number): void
  /** Flash (NA_*) whose fields are written: every block free, and filled as far as NA_FILL says. */
  nand_init(na: number): void

  // --- bios
  /** Submits a filled bio: its cookie, -1 = nothing to poll for, -2 = no tag free, call submit_bio_again later. */
  submit_bio(cpu: number, bio: number): number
  submit_bio_again(cpu: number, bio: number): number
  /**
   * Fills and submits a read or write (REQ_OP_*) by a slot of a program's queue: its cookie, or NOT_PLAIN when the caller has to
   * fill the bio and call submit_bio. `offset` and `bytes` are bytes.
   */
  plain_rw(cpu: number, bio: number, opf: number, offset: number, bytes: number): number
  /** cpu_run(cpu, 1), by a short way where there is one. */
  plain_look(cpu: number): number
  blk_start_plug(cpu: number): void
  blk_finish_plug(cpu: number): void
  /** The task that plugged goes to sleep. */
  blk_schedule_flush_plug(cpu: number): void

  /** Queues a waiter (WT_*) on one of the bitmap's wait queues (WS_*). */
  sbitmap_prepare_to_wait(sbq: number, ws: number, waiter: number): void
  sbitmap_finish_wait(sbq: number, waiter: number): void
  sbitmap_queue_wake_all(sbq: number): void
  /** The smallest depth of a word that will be asked for. */
  sbitmap_queue_min_shallow_depth(sbq: number, depth: number): void
  /** Another depth within the words that there are. */
  sbitmap_queue_resize(sbq: number, depth: number): void
  /** As if a bit had been freed. */
  sbitmap_queue_wake_up(sbq: number): void
  /** So many users share the map. */
  sbitmap_queue_share(sbq: number, users: number): void
  /** 1 if a bit is set. */
  sbitmap_any_bit_set(sbq: number): number

  /** The end of a bio, on the CPU that submitted it. */
  bio_endio(cpu: number, bio: number): void
  /** Cuts the first bytes off a bio: a chained part, to be submitted before the rest; 0 = no bio is free. */
  bio_split(cpu: number, bio: number, bytes: number): number
  /** Puts a part back that could not go in. */
  bio_unsplit(cpu: number, bio: number, part: number): void

  // --- requests
  /** True (1) when the bio joined the request, at its end or its beginning. */
  blk_try_merge(q: number, rq: number, bio: number): number
  /** Gives the slot and its tags back. */
  blk_mq_free_request(cpu: number, rq: number): void
  /** The slot of a tag, made ready. */
  blk_mq_rq_ctx_init(
    q: number,
    hctx: number,
    ctx: number,
    cpu: number,
    tag: number,
    opf: number,
  ): number
  /** The same for a tag of the scheduler. */
  blk_mq_sched_rq_init(
    q: number,
    hctx: number,
    ctx: number,
    cpu: number,
    tag: number,
    opf: number,
  ): number
  /** Writes the slots of `depth` fresh tags, and the table of their addresses. */
  blk_mq_init_rqs(rqs: number, requests: number, depth: number): void
  /** The hardware queue that a software queue takes for an I/O with these REQ_* bits. */
  blk_mq_map_queue(ctx: number, opf: number): number
  /** `flags`: BLK_MQ_REQ_*. Negative = none is free. */
  blk_mq_get_tag(hctx: number, cpu: number, flags: number): number
  __blk_mq_get_tag(hctx: number, cpu: number, flags: number, shallow: number): number
  blk_mq_put_tag(tags: number, cpu: number, tag: number): void
  /** It is the device's from now on: deadline, state. */
  blk_mq_start_request(cpu: number, q: number, rq: number): void
  __blk_mq_requeue_request(cpu: number, rq: number): void
  /** 0 = none is free. */
  blk_mq_get_driver_tag(cpu: number, rq: number): number
  blk_mq_put_driver_tag(cpu: number, rq: number): void
  /** The timeout scan lets go of a request (RQ_REF). */
  blk_mq_put_reference(cpu: number, rq: number): void
  /** The deadline of a request that was started, or is to have a new one. */
  blk_add_timer(cpu: number, q: number, rq: number): void
  /** `status` is a blk_status_t. */
  blk_mq_end_request(cpu: number, rq: number, status: number): void
  blk_mq_request_bypass_insert(cpu: number, hctx: number, rq: number, run: number): void
  __blk_mq_insert_req_list(ctx: number, rq: number, atHead: number): void
  blk_mq_update_dispatch_busy(hctx: number, busy: number): void
  /** Returns a blk_status_t. */
  queue_rq(cpu: number, hctx: number, rq: number): number
  blk_mq_insert_dispatch_head(cpu: number, hctx: number, rq: number): void
  /** The next request that waits on hctx->dispatch or the slow list; 0 = none, and the gate is open. */
  blk_mq_take_waiting(hctx: number): number
  complete_remote(cpu: number, to: number, rq: number): void
  /** blk_mq_complete_request for a request whose RQ_STATUS is filled in; 0 = it was complete already. */
  blk_mq_complete_any(cpu: number, rq: number): number

  // --- the NVMe driver
  nvme_ring_doorbells(cpu: number): void
  /** Writes the submission tail of one queue, if it moved. */
  nvme_write_sq_db(cpu: number, nq: number): void
  /** Takes up to `max` new completion entries; how many there were. */
  nvme_process_cq(cpu: number, nq: number, max: number): number
  /** 1 if the entry at the head is new. */
  nvme_cqe_pending(nq: number): number

  // --- hybrid polling
  /** The bucket of a command, -1 = it has none; `write` 0 or 1. */
  blk_mq_poll_stats_bkt(bytes: number, write: number): number
  /** How long to sleep before polling for it, ns. */
  blk_mq_poll_nsecs(q: number, bytes: number, write: number, now: number): number
  /** A command of a bucket took so long, ns. */
  blk_stat_add(q: number, bucket: number, took: number, now: number): void

  // --- null_blk
  /** Real clock: ends the commands of a CPU whose timers have fired; how many. */
  null_cmd_timers(cpu: number): number
  /** When the next timer of a CPU fires, ns; Infinity = none runs. */
  null_deadline(cpu: number): number
  /** The machine's clock goes on by what it costs to record a function (M_TRACE_NS). */
  time_passed(cpu: number, ns: number): void
  /** Stops the timer of a command that this CPU armed; 0 = none runs. */
  null_cmd_cancel(cpu: number, nullb: number, rq: number): number
  /** blk_mq_complete_request of a null_blk request; `status` is a blk_status_t. */
  null_complete_request(cpu: number, nullb: number, rq: number, status: number): void

  // --- pblk
  /** 1 if the core works on instances by itself. */
  pblk_in_core(): number
  /** Sends one request of the ring of an instance (PB_*), if nothing is special about it; 0 = TypeScript has to look. */
  pblk_submit_write(cpu: number, pb: number): number

  // --- jobs
  /** TypeScript has compared the digest of an io_u that JOB_DONE_HEAD held. */
  job_checked(cpu: number, job: number, iou: number, bad: number): void
}

const here = new URL('.', import.meta.url)
const built = here.pathname.match(/\/dist\/(lib\/|src\/core\/)$/)?.[1]
const dist = built === undefined ? '../../dist/' : built.replaceAll(/\w+(?=\/)/g, '..')

/** A file of the build, by its path below dist/; the same from the built package and from the sources in a test. */
export function distUrl(path: string): URL {
  return new URL(`${dist}${path}`, here)
}

/** What was compiled: a process that boots machine after machine has each core once, with the code that became fast. */
const compiled: Partial<Record<CoreTarget, WebAssembly.Module>> = {}

/**
 * Reads and compiles the core, once a thread.
 * @throws Error when the package was not built
 */
export function compileCore(target: CoreTarget): WebAssembly.Module {
  compiled[target] ??= readCore(target)
  return compiled[target]
}

function readCore(target: CoreTarget): WebAssembly.Module {
  const file = distUrl(`core.${target}.wasm`)
  if (!existsSync(file)) throw new Error(`${file.pathname} is missing: run npm run build`)
  return new WebAssembly.Module(readFileSync(file))
}

/** What the core calls. */
export interface CoreImports {
  /** The real clock in ns; read only where a time is needed in the middle of a batch. */
  readonly now: () => number
  /** Gives the core away for some tens of microseconds: another thread holds a lock. */
  readonly relax: () => void
  /** What null_blk does for a command beyond ending it: a blk_status_t or NULL_CMD_*. Absent = nothing. */
  readonly null_cmd?: (cpu: number, nullb: number, rq: number, faults: number) => number
  /** The make_request_fn of disks whose driver is TypeScript's (BIO_BASED_HOST). Absent = there is no such disk. */
  readonly make_request?: (cpu: number, bio: number) => number
  /** The block layer's answer to HB_* (M_HOST). Absent = there is no kernel. */
  readonly block_host?: (cpu: number, what: number, a: number, b: number) => number
  /** A controller's answer to DV_*. Absent = no device has one. */
  readonly device_host?: (what: number, dsq: number, sqe: number, arg: number) => number
}

const noMakeRequest = (): never => {
  throw new Error('nobody takes the bios of this disk')
}

const noKernel = (): never => {
  throw new Error('no kernel is attached to this machine')
}

/** Without a controller every command that the core does not know is an unknown one. */
const noController = (): number => NVME_SC_INVALID_OPCODE | NVME_SC_DNR

/** This thread's instance. */
export function instantiateCore(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  imports: CoreImports,
): Core {
  const { now, relax, null_cmd = () => 0, make_request = noMakeRequest } = imports
  const { block_host = noKernel, device_host = noController } = imports
  const env = {
    memory,
    now,
    relax,
    null_cmd,
    make_request,
    block_host,
    device_host,
    abort: coreAbort,
  }
  return new WebAssembly.Instance(module, { env }).exports as unknown as Core
}

/** Called by the debug build when an assertion fails; the position is all that crosses without reading strings. */
function coreAbort(_message: number, _file: number, line: number, column: number): never {
  throw new Error(`assertion in the core failed at line ${line}, column ${column}`)
}

/** The rules whose breach stops the machine, by the code in M_TRAP (assembly/bug.ts). */
const TRAPS = [
  'the core trapped',
  'a tag outside of its map was freed',
  'a free tag was freed again',
  'a request was started twice',
  'a submission queue overflowed',
  'no PRP page was left',
  'the event queue overflowed',
  'more completions than commands',
  'no free block in the flash',
]

/** What a trap code means. */
export function trapText(code: number): string {
  return TRAPS[code] ?? `broken invariant ${code}`
}
