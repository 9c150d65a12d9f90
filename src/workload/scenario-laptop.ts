// The stories of laptop mode, for phasebit trace. The disk is a memory-backed null_blk without interrupts; a page cache
// lies over it, and periodic write-back comes so seldom (vm.dirty_writeback_centisecs 60000) that none of them sees it.
//
//   off-read                   laptop mode is off: a read arms no timer
//   write-read-timer           a dirty page; a direct read arms the timer; five seconds later the page is written
//   write-without-completion   a dirty page while the timer of an earlier read runs: it goes when that fires
//   sync-cancels               a dirty page, a direct read, sync: all is written, and the timer is stopped
//   two-completions            two direct writes: the second one pushes the timer

import { blkdev_close, blkdev_open } from '../fs/block_dev-open.js'
import { blkdev_read_iter, blkdev_write_iter, type kiocb } from '../fs/block_dev.js'
import { type page_cache, page_cache_init, vm_laptop_mode } from '../fs/page-cache.js'
import { ksys_sync } from '../fs/sync.js'
import type { request_queue } from '../block/blkdev.js'
import type { Sleep } from '../kernel/core.js'
import { msleep } from '../kernel/timer-sleep.js'
import type { Machine } from '../machine/booted.js'
import { dirty_writeback_centisecs_handler } from '../mm/page-writeback.js'
import { PAGE_SIZE } from '../mm/mm.js'
import type { LaptopStory, NullBlkScenario } from './scenario-names.js'

const FRAMES = 64
const LAPTOP_S = 5
const WRITEBACK_CENTISECS = 60_000

/** Longer than the timer of requests runs. */
const QUIET_MS = 10_000

/** One task of a story. */
export interface StoryTask {
  readonly name: string
  readonly cpu: number
  readonly body: () => Sleep<void>
}

export interface Story {
  /** What happens before anything is recorded. */
  readonly before: readonly StoryTask[]
  readonly tasks: readonly StoryTask[]
  /** How long after the last task is recorded, ns. */
  readonly restNs: number
}

/** Memory that a story takes of the machine. */
export function laptopBytes(): number {
  return (FRAMES + 2) * PAGE_SIZE
}

/** The story in the words of recordings. */
export function laptopWords(s: NullBlkScenario): Record<string, string> {
  const off = s.laptop === 'off-read'
  return {
    ...(off ? { op: 'read', count: '1' } : {}),
    laptop_mode: off ? '0' : String(LAPTOP_S),
    sched: s.sched,
    cpus: String(s.cpus),
  }
}

/** What tasks do with the disk. */
class Acts {
  readonly #q: request_queue
  readonly #cache: page_cache
  readonly #data: number

  constructor(q: request_queue, cache: page_cache, data: number) {
    this.#q = q
    this.#cache = cache
    this.#data = data
  }

  #io(write: boolean, page: number): kiocb {
    const inode = this.#cache.bdevs.get(this.#q)!
    return { q: this.#q, write, pos: page * PAGE_SIZE, bytes: PAGE_SIZE, data: this.#data, inode }
  }

  *direct(write: boolean, page: number): Sleep<void> {
    yield* write ? blkdev_write_iter(this.#io(true, page)) : blkdev_read_iter(this.#io(false, page))
  }

  *buffered(page: number): Sleep<void> {
    const { bytes } = this.#q.blk.view
    const copy = (at: number, n: number): void => {
      bytes.fill(1, at, at + n)
    }
    yield* blkdev_write_iter({ ...this.#io(true, page), copy })
  }

  /** The same by a program that opens the disk for it. */
  *opened(act: () => Sleep<void>): Sleep<void> {
    yield* blkdev_open(this.#q)
    yield* act()
    yield* blkdev_close(this.#q)
  }

  *sync(): Sleep<void> {
    yield* ksys_sync(this.#cache.targets)
  }

  // biome-ignore lint/correctness/useYield: a task, as the others are
  *laptop(): Sleep<void> {
    vm_laptop_mode(this.#cache, LAPTOP_S)
  }

  *wait(ms: number): Sleep<void> {
    yield* msleep(this.#q.blk.k, ms)
  }
}

/** A page that is dirtied, one that is read past it. */
const DIRTY = 5
const OTHER = 40

type Telling = (acts: Acts) => {
  before: (() => Sleep<void>)[]
  tasks: readonly (readonly [name: string, body: () => Sleep<void>])[]
  restNs: number
}

const STORIES: Readonly<Record<LaptopStory, Telling>> = {
  'off-read': acts => ({
    before: [() => acts.direct(false, OTHER), () => acts.wait(QUIET_MS)],
    tasks: [['io1', () => acts.direct(false, OTHER)]],
    restNs: 1e6,
  }),
  'write-read-timer': acts => ({
    before: [
      () => acts.wait(QUIET_MS),
      () => acts.direct(false, OTHER),
      () => acts.laptop(),
      () => acts.wait(100),
    ],
    tasks: [
      ['io1', () => acts.opened(() => acts.buffered(DIRTY))],
      ['dd', () => acts.opened(() => acts.direct(false, OTHER))],
    ],
    restNs: 8e9,
  }),
  'write-without-completion': acts => ({
    before: [
      // the page has been in the cache before
      () => acts.buffered(DIRTY),
      () => acts.sync(),
      () => acts.wait(QUIET_MS),
      () => acts.laptop(),
      // the requests' timer of the first read is over before the laptop timer of the second one is
      () => acts.direct(false, OTHER),
      () => acts.wait(3000),
      () => acts.direct(false, OTHER),
      () => acts.wait(4000),
    ],
    tasks: [['io1', () => acts.opened(() => acts.buffered(DIRTY))]],
    restNs: 3e9,
  }),
  'sync-cancels': acts => ({
    before: [() => acts.direct(false, OTHER), () => acts.wait(QUIET_MS), () => acts.laptop()],
    tasks: [
      ['io1', () => acts.opened(() => acts.buffered(DIRTY))],
      ['dd', () => acts.opened(() => acts.direct(false, OTHER))],
      ['sync', () => acts.sync()],
    ],
    restNs: 8e9,
  }),
  'two-completions': acts => ({
    before: [() => acts.direct(false, OTHER), () => acts.wait(QUIET_MS), () => acts.laptop()],
    tasks: [
      [
        'io1',
        function* () {
          yield* acts.direct(true, DIRTY)
          yield* acts.direct(true, DIRTY + 2)
        },
      ],
    ],
    restNs: 1e6,
  }),
}

/** The tasks of a story on a booted machine with a kernel. */
export function laptopStory(machine: Machine, q: request_queue, s: NullBlkScenario): Story {
  const frames = machine.alloc(FRAMES * PAGE_SIZE, PAGE_SIZE)
  const cache = page_cache_init(q.blk, { at: frames, count: FRAMES })
  dirty_writeback_centisecs_handler(cache.mm, WRITEBACK_CENTISECS)
  const acts = new Acts(q, cache, machine.alloc(PAGE_SIZE, PAGE_SIZE))
  const { before, tasks, restNs } = STORIES[s.laptop!](acts)
  const cpu = s.cpus - 1
  return {
    before: before.map(body => ({ name: 'sh', cpu: 0, body })),
    tasks: tasks.map(([name, body]) => ({ name, cpu, body })),
    restNs,
  }
}
