// Bios of emulated tasks: block/bio.c and the submission side of block/blk-core.c, Linux 4.19.
//
//   bio_alloc_bioset, bio_put   a bio out of a fixed set; who finds none free has asked for too many at once
//   submit_bio                  the core's, once; a task that finds no tag sleeps for one here, as blk_mq_get_tag does
//   submit_bio_wait             ... and until the bio has ended
//   blk_start_plug              a task's plug, which goes on by itself when the task sleeps
//
// The wait for a tag stands in the middle of blk_mq_get_tag, whose frames above are the core's: the depth of the trace
// is set to that place, and the core goes through its functions again in silence (submit_bio_again).

import * as L from '../../assembly/layout.js'
import { BLK_STS_IOERR } from '../../assembly/nvme.js'
import { type Sleep, TASK_UNINTERRUPTIBLE, type TaskPlug } from '../kernel/core.js'
import { io_schedule, set_current_state, wake_up_process } from '../kernel/task.js'
import { enter, leave } from '../kernel/trace.js'
import { wait_event, wake_up_all } from '../kernel/wait.js'
import { blk_mq_dispatch_wake, blk_mq_run_hw_queue, this_cpu } from './blk-mq.js'
import type { BlockLayer, blk_mq_hw_ctx, request_queue } from './blkdev.js'

/** submit_bio's answer when no tag is free. */
const SUBMIT_AGAIN = -2

/** Frames of the core above what blk_mq_get_tag calls: submit_bio ... blk_mq_get_tag. */
const FRAMES = 5

// ---------------------------------------------------------------- bios

export interface bio_init_options {
  readonly q: request_queue
  readonly opf: number
  readonly sector: number
  readonly bytes: number
  /** Address of the data. */
  readonly data: number
  readonly end_io: (bio: number) => void
}

function fill(blk: BlockLayer, bio: number, options: bio_init_options): void {
  const { view } = blk
  for (let at = bio; at < bio + L.BIO_BYTES; at += 4) view.setU32(at, 0)
  view.setU32(bio + L.BIO_OPF, options.opf)
  view.setU64(bio + L.BIO_SECTOR, options.sector)
  view.setU32(bio + L.BIO_SIZE, options.bytes)
  view.setU32(bio + L.BIO_DATA, options.data)
  view.setU32(bio + L.BIO_END_IO, L.END_IO_HOST)
  view.setU32(bio + L.BIO_DISK, options.q.at)
  blk.bios.end_io.set(bio, options.end_io)
}

function take(blk: BlockLayer): number {
  const bio = blk.bios.bios.pop() ?? blk.mem.kzalloc(L.BIO_BYTES)
  if (bio === 0) throw new Error('no bio is free')
  return bio
}

/** A bio on the caller's stack. */
export function bio_init(blk: BlockLayer, options: bio_init_options): number {
  const t = enter(blk.k, 'bio_init')
  const bio = take(blk)
  fill(blk, bio, options)
  return leave(blk.k, t, bio)
}

export function bio_uninit(blk: BlockLayer, bio: number): void {
  const t = enter(blk.k, 'bio_uninit')
  blk.bios.bios.push(bio)
  leave(blk.k, t)
}

export function bio_alloc_bioset(blk: BlockLayer, options: bio_init_options): number {
  const t = enter(blk.k, 'bio_alloc_bioset')
  const bio = take(blk)
  fill(blk, bio, options)
  return leave(blk.k, t, bio)
}

/** A bio that only carries pages of a request, and is for no disk; bio_put_pages takes it back. */
export function bio_of_pages(blk: BlockLayer, opf: number, data: number, bytes: number): number {
  const { view } = blk
  const bio = take(blk)
  view.words.fill(0, bio >>> 2, (bio + L.BIO_BYTES) >>> 2)
  view.setU32(bio + L.BIO_OPF, opf)
  view.setU32(bio + L.BIO_SIZE, bytes)
  view.setU32(bio + L.BIO_DATA, data)
  view.setU32(bio + L.BIO_END_IO, L.END_IO_NONE)
  return bio
}

/** The bios of a request that has ended, from the first on. */
export function bio_put_pages(blk: BlockLayer, first: number): void {
  for (let bio = first; bio !== 0; bio = blk.view.u32(bio + L.BIO_NEXT)) blk.bios.bios.push(bio)
}

/** The same from the block layer's own set. */
export function bio_alloc(blk: BlockLayer, options: bio_init_options): number {
  const t = enter(blk.k, 'bio_alloc')
  return leave(blk.k, t, bio_alloc_bioset(blk, options))
}

/** Drops the last reference. */
export function bio_put(blk: BlockLayer, bio: number): void {
  const t = enter(blk.k, 'bio_put')
  const f = enter(blk.k, 'bio_free')
  blk.bios.bios.push(bio)
  leave(blk.k, f)
  leave(blk.k, t)
}

// ---------------------------------------------------------------- plugs

/** Where a CPU keeps what is plugged, and how many bytes: counts, hashed sectors, requests. */
const PLUG_BYTES: readonly (readonly [number, number])[] = [
  [L.CPU_PLUG_COUNT, 8],
  [L.CPU_PLUG_STARTS, 16],
  [L.CPU_PLUG_RQS, 4 * L.PLUG_MAX],
]

/** A task's plug. Its requests are with the CPU (CPU_PLUG_*) as long as the task runs. */
export class blk_plug implements TaskPlug {
  readonly #blk: BlockLayer
  /** How many blk_start_plug are open; the machine carries it into the core and back. */
  depth = 0
  /** What was plugged when the task was preempted, by PLUG_BYTES. */
  #away: Uint8Array[] = []

  constructor(blk: BlockLayer) {
    this.#blk = blk
  }

  blk_needs_flush_plug(): boolean {
    const { view } = this.#blk
    return this.depth > 0 && view.u32(this_cpu(this.#blk) + L.CPU_PLUG_COUNT) > 0
  }

  blk_schedule_flush_plug(): void {
    if (this.depth > 0) this.#blk.core.blk_schedule_flush_plug(this_cpu(this.#blk))
  }

  blk_plug_out(): void {
    const { view } = this.#blk
    const cpu = this_cpu(this.#blk)
    if (view.u32(cpu + L.CPU_PLUG_COUNT) === 0) return
    const kept = PLUG_BYTES.map(([at, bytes]) => {
      const here = view.bytes.subarray(cpu + at, cpu + at + bytes)
      const copy = here.slice()
      here.fill(0)
      return copy
    })
    this.#away = kept
  }

  blk_plug_in(): void {
    const { view } = this.#blk
    const cpu = this_cpu(this.#blk)
    for (const [i, bytes] of this.#away.entries()) view.bytes.set(bytes, cpu + PLUG_BYTES[i]![0])
    this.#away = []
  }
}

export function blk_start_plug(blk: BlockLayer): void {
  const task = blk.k.cpu.current
  task.plug ??= new blk_plug(blk)
  blk.core.blk_start_plug(this_cpu(blk))
}

export function blk_finish_plug(blk: BlockLayer): void {
  const task = blk.k.cpu.current
  blk.core.blk_finish_plug(this_cpu(blk))
  if (task.plug instanceof blk_plug && task.plug.depth === 0) task.plug = null
}

// ---------------------------------------------------------------- submission

/** The hardware queue that a bio takes from this CPU. */
function hctx_here(q: request_queue, bio: number): blk_mq_hw_ctx {
  const { blk } = q
  const { view, core, k } = blk
  const ctx = view.u32(q.at + L.Q_CTXS) + k.cpu.id * L.CTX_SIZE
  return blk.hctxs.get(core.blk_mq_map_queue(ctx, view.u32(bio + L.BIO_OPF)) >>> 0)!
}

/** The bitmap in which a request of this queue finds its tag. */
function bitmap(hctx: blk_mq_hw_ctx): number {
  const { view } = hctx.q.blk
  const tags = view.u32(hctx.at + (hctx.q.elevator ? L.HC_SCHED_TAGS : L.HC_TAGS))
  return tags + L.TAGS_BITMAP
}

/** One round of blk_mq_get_tag's wait: a cookie, or SUBMIT_AGAIN after a sleep. */
function* wait_round(q: request_queue, bio: number, waiter: number): Sleep<number> {
  const { blk } = q
  const { k, core, view } = blk
  const depth = k.ctx.depth
  const hctx = hctx_here(q, bio)
  const sbq = bitmap(hctx)
  const again = (): number => {
    k.ctx.depth = depth
    const cookie = core.submit_bio_again(this_cpu(blk), bio)
    if (cookie === SUBMIT_AGAIN && k.trace.on) k.ctx.depth = depth + FRAMES
    return cookie
  }
  if (k.trace.on) k.ctx.depth = depth + FRAMES
  blk_mq_run_hw_queue(hctx, false)
  let cookie = again()
  if (cookie === SUBMIT_AGAIN) {
    const index = view.u32(hctx.at + L.HC_WAIT_INDEX)
    const ws = sbq + L.SBQ_WS + index * L.WS_SIZE
    view.setU32(hctx.at + L.HC_WAIT_INDEX, (index + 1) % L.SBQ_WAIT_QUEUES)
    view.setU32(waiter + L.WT_CPU, this_cpu(blk))
    core.sbitmap_prepare_to_wait(sbq, ws, waiter)
    blk.bios.sleeping.set(waiter, k.cpu.current)
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    cookie = again()
    if (cookie === SUBMIT_AGAIN) yield* io_schedule(k, 'a tag')
    set_current_state(k, 0)
    blk.bios.sleeping.delete(waiter)
    core.sbitmap_finish_wait(sbq, waiter)
    // It goes on with other tags, on another CPU or with another scheduler: the wake-up is for the next one who waits here.
    if (bitmap(hctx_here(q, bio)) !== sbq) core.sbitmap_queue_wake_up(sbq)
  }
  k.ctx.depth = depth
  return cookie
}

/** Wakes the tasks whose waiters were woken by a tag that was given back. */
export function wake_tag_waiters(blk: BlockLayer): void {
  const { sleeping, dispatching } = blk.bios
  if (sleeping.size > 0)
    for (const [waiter, task] of sleeping)
      if (blk.view.load(waiter + L.WT_WOKEN)) wake_up_process(task)
  if (dispatching.size > 0)
    for (const [waiter, hctx] of [...dispatching])
      if (blk.view.load(waiter + L.WT_WOKEN)) blk_mq_dispatch_wake(hctx)
}

/** A queue that has been let go of; its blocks may be another's. Linux keeps them while somebody has the disk open. */
function is_gone(q: request_queue): boolean {
  return q.dying && q.blk.queues.get(q.at) !== q
}

/** Ends a bio for such a queue. */
function bio_io_error({ blk }: request_queue, bio: number): number {
  const { view, core } = blk
  const submitted = this_cpu(blk) + L.CPU_SUBMITTED
  view.setU64(submitted, view.u64(submitted) + 1)
  view.setU64(bio + L.BIO_NEXT, 0) // and BIO_REMAINING
  view.setU32(bio + L.BIO_STATUS, BLK_STS_IOERR)
  core.bio_endio(this_cpu(blk), bio)
  return 0
}

/** Gives a bio to its disk. The task sleeps while the queue is frozen, or has no tag. */
export function* submit_bio(q: request_queue, bio: number): Sleep<number> {
  const { blk } = q
  yield* wait_event(q.mq_freeze_wq, () => q.mq_freeze_depth === 0 || q.dying)
  if (is_gone(q)) return bio_io_error(q, bio)
  const cookie = blk.core.submit_bio(this_cpu(blk), bio)
  return cookie === SUBMIT_AGAIN ? yield* wait_for_tag(q, bio) : cookie
}

/** submit_bio where there is nothing to sleep for, as a rule: then it returns nothing, else what is left to do. */
export function submit_bio_now(q: request_queue, bio: number): Sleep<number> | undefined {
  const { blk } = q
  if (q.dying || q.mq_freeze_depth > 0) return submit_bio(q, bio)
  const cookie = blk.core.submit_bio(this_cpu(blk), bio)
  return cookie === SUBMIT_AGAIN ? wait_for_tag(q, bio) : undefined
}

/** The rest of a submission that found no tag. */
function* wait_for_tag(q: request_queue, bio: number): Sleep<number> {
  const { blk } = q
  let cookie = SUBMIT_AGAIN
  const waiter = blk.bios.waiters.pop()
  if (waiter === undefined) throw new Error('too many tasks wait for a tag')
  q.tag_waiters++
  while (cookie === SUBMIT_AGAIN) cookie = yield* wait_round(q, bio, waiter)
  q.tag_waiters--
  blk.bios.waiters.push(waiter)
  // a freeze that waits for it looks again: it may have ended without a tag
  if (q.mq_freeze_depth > 0) wake_up_all(q.mq_freeze_wq)
  return cookie
}

/** The bi_status of a bio. */
export function bio_status(blk: BlockLayer, bio: number): number {
  return blk.view.u32(bio + L.BIO_STATUS)
}

/** Submits a bio made by `make` and sleeps until it has ended; its status. The caller puts it. */
export function* submit_bio_wait(
  q: request_queue,
  make: (end_io: () => void) => number,
): Sleep<{ bio: number; status: number }> {
  const { k } = q.blk
  const task = k.cpu.current
  let done = false
  const bio = make(() => {
    const t = enter(k, 'submit_bio_wait_endio')
    done = true
    wake_up_process(task)
    leave(k, t)
  })
  const t = enter(k, 'submit_bio_wait')
  yield* submit_bio(q, bio)
  while (!done) {
    set_current_state(k, TASK_UNINTERRUPTIBLE)
    if (done) break
    yield* io_schedule(k, 'a bio')
  }
  set_current_state(k, 0)
  leave(k, t)
  leave(k, enter(k, 'blk_status_to_errno'))
  return { bio, status: bio_status(q.blk, bio) }
}
