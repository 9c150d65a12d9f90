// Buffered I/O of jobs: each job has a task of the emulated kernel that reads and writes its disks as files, through the
// page cache (fs/block_dev.ts), one I/O after the other, as io_submit does with files that are not open for direct I/O.
//
//   file_io      the core hands over an io_u of a job (HB_FILE_IO); the task takes it from its queue
//   open         at the first I/O to a disk: what is dirty of it is written, and the cache forgets it (fio's invalidate=1)
//   read back    before a pass of verification the same, so that what is checked comes from the disk
//   close        when the job is over; the last one who closes a disk has everything written (__blkdev_put)
//
// A direct job on a disk that others use through the cache goes the same way, past the pages but not past their order:
// its I/Os are asynchronous, and what is dirty of their range is written first.
//
// JOB_OPEN counts the files that a job's task has open: the machine must not stop before it is 0.

import * as L from '../../assembly/layout.js'
import {
  BLK_STS_IOERR,
  BLK_STS_OK,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_MASK,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../assembly/nvme.js'
import { bio_alloc_bioset, bio_put, submit_bio_wait } from '../block/bio.js'
import type { BlockLayer, request_queue } from '../block/blkdev.js'
import { blkdev_close, blkdev_open } from '../fs/block_dev-open.js'
import { blkdev_fsync, blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { type page_cache, page_cache_init } from '../fs/page-cache.js'
import { write_sysctls } from '../fs/sysctl.js'
import type { Sleep } from '../kernel/core.js'
import { wait_event, wait_queue_head, wake_up_all } from '../kernel/wait.js'
import {
  filemap_write_and_wait,
  filemap_write_and_wait_range,
  invalidate_inode_pages2_range,
} from '../mm/filemap.js'
import { type inode, PAGE_SIZE } from '../mm/mm.js'
import type { PageCacheConfig } from './config.js'

/** Bytes of the machine's memory that a page cache takes, with a bio for each page and a waiter for each job. */
export function pageCacheBytes({ bytes }: PageCacheConfig, jobs: number): number {
  const frames = Math.floor(bytes / PAGE_SIZE)
  return (frames + 2) * PAGE_SIZE + frames * L.BIO_BYTES + (jobs + 1) * L.LINE
}

/** The page cache of a kernel, and the tasks of the jobs that use it. */
export class HostFiles {
  readonly cache: page_cache
  readonly #blk: BlockLayer
  readonly #jobs: Map<number, JobTask> = new Map()
  /** Tasks that have a disk open. */
  readonly #opens: Map<request_queue, number> = new Map()

  /** @param jobs of the machine, each of which may wait for a tag */
  constructor(
    blk: BlockLayer,
    config: PageCacheConfig,
    jobs: number,
    alloc: (bytes: number, align?: number) => number,
  ) {
    this.#blk = blk
    const count = Math.floor(config.bytes / PAGE_SIZE)
    this.cache = page_cache_init(blk, { at: alloc(count * PAGE_SIZE, PAGE_SIZE), count })
    const bios = alloc(count * L.BIO_BYTES)
    for (let i = count; i--; ) blk.bios.bios.push(bios + i * L.BIO_BYTES)
    for (let i = jobs; i--; ) blk.bios.waiters.push(alloc(L.LINE))
    write_sysctls(this.cache, config.sysctls)
    blk.file_io = (job, iou) => this.#taskOf(job).push(iou)
  }

  #taskOf(job: number): JobTask {
    let task = this.#jobs.get(job)
    if (task === undefined) {
      task = new JobTask(this.#blk, job, this)
      this.#jobs.set(job, task)
    }
    return task
  }

  *open(q: request_queue): Sleep<void> {
    this.#opens.set(q, (this.#opens.get(q) ?? 0) + 1)
    yield* blkdev_open(q)
  }

  *close(q: request_queue): Sleep<void> {
    const left = this.#opens.get(q)! - 1
    this.#opens.set(q, left)
    if (left === 0) yield* filemap_write_and_wait(this.cache.bdevs.get(q)!.i_mapping)
    yield* blkdev_close(q)
  }
}

/** One job's task. */
class JobTask {
  readonly #blk: BlockLayer
  readonly #job: number
  readonly #files: HostFiles
  /** io_us in order; 0 = close. */
  readonly #queue: number[] = []
  readonly #wait: wait_queue_head
  readonly #open: Set<request_queue> = new Set()
  /** Direct I/Os that have not ended. */
  #flying = 0
  #reading = false

  constructor(blk: BlockLayer, job: number, files: HostFiles) {
    const { k, view, cpus } = blk
    this.#blk = blk
    this.#job = job
    this.#files = files
    const number = view.u32(job + L.JOB_INDEX)
    this.#wait = new wait_queue_head(k, `I/O of job ${number}`)
    const cpu = cpus.indexOf(view.u32(job + L.JOB_CPU))
    k.spawn(`job${number}`, () => this.#run(), [cpu])
  }

  push(iou: number): void {
    this.#queue.push(iou)
    wake_up_all(this.#wait)
  }

  #has(bit: number): boolean {
    return (this.#blk.view.u32(this.#job + L.JOB_FEATURES) & bit) !== 0
  }

  *#run(): Sleep<void> {
    for (;;) {
      yield* wait_event(this.#wait, () => this.#queue.length > 0)
      const iou = this.#queue.shift()!
      if (iou === 0) yield* this.#closeAll()
      else yield* this.#serve(iou)
    }
  }

  *#closeAll(): Sleep<void> {
    yield* wait_event(this.#wait, () => this.#flying === 0)
    for (const q of this.#open) {
      this.#open.delete(q)
      yield* this.#files.close(q)
      this.#blk.view.add(this.#job + L.JOB_OPEN, -1)
    }
    this.#reading = false
  }

  *#serve(iou: number): Sleep<void> {
    const { view, queues } = this.#blk
    const q = queues.get(view.u32(iou + L.BIO_DISK))!
    const file = this.#files.cache.bdevs.get(q)!
    if (!this.#open.has(q)) {
      this.#open.add(q)
      view.add(this.#job + L.JOB_OPEN, 1)
      yield* this.#files.open(q)
      if (this.#has(L.JF_INVALIDATE)) yield* forget(file)
    }
    const verifying = view.u32(this.#job + L.JOB_VERIFYING) !== 0
    if (verifying && !this.#reading)
      for (const open of this.#open) yield* forget(this.#files.cache.bdevs.get(open)!)
    this.#reading = verifying
    const status = yield* this.#io(iou, q, file)
    if (status !== null) this.#end(iou, status)
  }

  /** One I/O: its blk_status_t, or null when it goes on alone. */
  *#io(iou: number, q: request_queue, file: inode): Sleep<number | null> {
    const { view } = this.#blk
    const opf = view.u32(iou + L.BIO_OPF)
    const bytes = view.u32(iou + L.BIO_SIZE)
    const write = (opf & REQ_OP_MASK) === REQ_OP_WRITE
    if (opf & REQ_PREFLUSH) {
      const status = yield* blkdev_fsync(q, file)
      if (status !== BLK_STS_OK || bytes === 0) return status
    }
    const data = view.u32(iou + L.BIO_DATA)
    const pos = view.u64(iou + L.IOU_OFFSET)
    if ((opf & REQ_OP_MASK) === REQ_OP_DISCARD) return yield* discard(q, file, pos, bytes)
    const io = { q, write, pos, bytes, data, dsync: (opf & REQ_FUA) !== 0, inode: file }
    if (this.#has(L.JF_PAST_CACHE)) return yield* this.#direct(iou, io)
    const copy = write
      ? (at: number, n: number, done: number) =>
          view.bytes.copyWithin(at, data + done, data + done + n)
      : (at: number, n: number, done: number) => view.bytes.copyWithin(data + done, at, at + n)
    return write
      ? yield* blkdev_write_iter({ ...io, copy })
      : yield* blkdev_read_iter({ ...io, copy })
  }

  /** An asynchronous one; a write with O_DSYNC is waited for. */
  *#direct(iou: number, io: kiocb): Sleep<number | null> {
    const waits = io.write && io.dsync === true
    let early: number | null = null
    const done = (status: number): void => {
      this.#flying--
      this.#end(iou, status)
      wake_up_all(this.#wait)
    }
    if (!waits) this.#flying++
    const kiocb = waits ? io : { ...io, done }
    early = io.write ? yield* blkdev_write_iter(kiocb) : yield* blkdev_read_iter(kiocb)
    if (waits) return early
    if (early !== BLK_STS_OK) done(early)
    return null
  }

  #end(iou: number, status: number): void {
    const { view, core, cpus, k } = this.#blk
    if (status !== BLK_STS_OK) view.setU32(iou + L.BIO_STATUS, status)
    const here = cpus[k.cpu.id]!
    const owner = view.u32(this.#job + L.JOB_CPU)
    core.bio_endio(here, iou)
    if (owner !== here) core.virtual_kick(owner)
  }
}

/** BLKFLSBUF: what is dirty of a disk is written, and the cache forgets it. */
function* forget(file: inode): Sleep<void> {
  yield* filemap_write_and_wait(file.i_mapping)
  invalidate_inode_pages2_range(file.i_mapping, 0, file.i_size)
}

/** BLKDISCARD: the cache forgets the range, the disk discards it. */
function* discard(q: request_queue, file: inode, pos: number, bytes: number): Sleep<number> {
  const { blk } = q
  const last = pos + bytes - 1
  if (yield* filemap_write_and_wait_range(file.i_mapping, pos, last)) return BLK_STS_IOERR
  invalidate_inode_pages2_range(file.i_mapping, pos, last)
  const opf = REQ_OP_DISCARD | REQ_SYNC
  const { bio, status } = yield* submit_bio_wait(q, end_io =>
    bio_alloc_bioset(blk, { q, opf, sector: pos / 512, bytes, data: 0, end_io }),
  )
  bio_put(blk, bio)
  return status
}
