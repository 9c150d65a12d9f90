// The single-queue block layer with null_blk's single-queue mode on it. Tests are named after the statements of the sheets
// on block timers and null_blk.

import { describe, expect, it } from 'vitest'
import * as L from '../../../assembly/layout.js'
import * as N from '../../../assembly/nvme.js'
import {
  blk_delay_queue,
  blk_run_queue_async,
  blk_start_queue,
  blk_stop_queue,
} from '../../../src/block/blk-core.js'
import { blk_init_queue, blk_queue_bio, blk_queue_depth } from '../../../src/block/blk-queue-bio.js'
import type { sq_queue } from '../../../src/block/sq.js'
import { null_blk, type NullbOptions } from '../../../src/drivers/block/null_blk.js'
import { null_rq_driver } from '../../../src/drivers/block/null_blk-rq.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { alloc_workqueue, WQ_HIGHPRI, WQ_MEM_RECLAIM } from '../../../src/kernel/workqueue.js'
import { diskConfig } from '../../../src/workload/machine-config.js'
import { VirtualKernel } from '../kernel/support.js'
import { machineConfig } from '../machine/helper.js'

interface Shape {
  readonly irqmode?: number
  readonly depth?: number
  readonly completion_nsec?: number
  readonly options?: Partial<NullbOptions>
  readonly writeCache?: boolean
  readonly fua?: boolean
}

/** A queue over the blocks of a booted disk; its own kernel keeps the time. */
class SqRig {
  readonly vk: VirtualKernel = new VirtualKernel({ timer: 'exact' })
  readonly machine: Machine
  readonly q: sq_queue
  readonly cpu: number
  /** Commands that the driver handled: op letter and sector. */
  readonly handled: string[] = []
  readonly #data: number

  constructor(shape: Shape = {}) {
    const spec = parseDevices(['null_blk,size=64,hw_queue_depth=256'])[0]
    const disk = diskConfig(spec as never, 'virtual', 0, 1)
    this.machine = bootMachine(machineConfig({ disks: [disk], extraBytes: 2 ** 22 }))
    const { core, view } = this.machine
    this.cpu = this.machine.cpuAddress(0)
    this.#data = this.machine.alloc(2 ** 20, 4096)
    const { k } = this.vk
    const kblockd = alloc_workqueue(k, 'kblockd', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)!
    const blk = { k, core, view, cpus: [this.cpu], kblockd }
    const at = this.machine.disks[0]!.q
    const plan = { nullb: this.machine.view.u32(this.#hctx(at) + L.HC_DRIVER_DATA), q: at }
    const options: NullbOptions = {
      ...plan,
      sizeBytes: 2 ** 26,
      blockBytes: 512,
      memoryBacked: false,
      cacheBytes: 0,
      memBytes: 2 ** 20,
      mbps: 0,
      badblocks: [],
      zoneSectors: 0,
      timeout: null,
      requeue: null,
      quirks: false,
      ...shape.options,
    }
    const layer = {
      stop: () => blk_stop_queue(this.q),
      restart_async: () => {
        this.q.stopped = false
        blk_run_queue_async(this.q)
      },
      requeue: () => {},
    }
    const module = new null_blk(k, view, layer, [options], 1, k)
    const spy = (cpu: number, nullb: number, rq: number, faults: number): number => {
      const op = view.u32(rq + L.RQ_CMD_FLAGS) & N.REQ_OP_MASK
      const status = module.null_cmd(cpu, nullb, rq, faults)
      if (status < L.NULL_CMD_AGAIN) this.handled.push(`${'RWF'[op]}${view.u64(rq + L.RQ_SECTOR)}`)
      return status
    }
    const driver = null_rq_driver(
      k,
      {
        null_cmd: spy,
        should_timeout_request: nullb => module.should_timeout_request(nullb),
        should_requeue_request: nullb => module.should_requeue_request(nullb),
      },
      {
        nullb: plan.nullb,
        irqmode: shape.irqmode ?? 0,
        completion_nsec: shape.completion_nsec ?? 10_000,
        hw_queue_depth: shape.depth ?? 64,
      },
    )
    if (shape.writeCache) {
      const wc = (1 << N.QUEUE_FLAG_WC) | (shape.fua ? 1 << N.QUEUE_FLAG_FUA : 0)
      view.store(at + L.Q_FLAGS, view.load(at + L.Q_FLAGS) | wc)
    }
    this.q = blk_init_queue(blk, at, 'nullb0', driver)
  }

  #hctx(q: number): number {
    return this.machine.view.u32(q + L.Q_HCTXS)
  }

  bio(opf: number, sector = 0, bytes = 4096): number {
    const { view } = this.machine
    const bio = this.machine.alloc(L.BIO_BYTES, 64)
    view.setU32(bio + L.BIO_OPF, opf)
    view.setU64(bio + L.BIO_SECTOR, sector)
    view.setU32(bio + L.BIO_SIZE, bytes)
    view.setU32(bio + L.BIO_DATA, this.#data)
    view.setU32(bio + L.BIO_DISK, this.q.at)
    view.setU32(bio + L.BIO_END_IO, L.END_IO_RING)
    return bio
  }

  /** Submits: the cookie. */
  submit(opf: number, sector = 0, bytes = 4096): number {
    const cookie = blk_queue_bio(this.q, this.cpu, this.bio(opf, sector, bytes))
    this.vk.runUntil(this.vk.ns)
    return cookie
  }

  /** Statuses of the bios that ended since the last call. */
  ended(): number[] {
    const { view } = this.machine
    const ring = view.u32(this.cpu + L.CPU_RING)
    const found: number[] = []
    for (;;) {
      const head = view.u32(ring + L.RING_HEAD)
      if (head === view.u32(ring + L.RING_TAIL)) return found
      const at = view.u32(ring + L.RING_BASE) + 4 * (head & view.u32(ring + L.RING_MASK))
      found.push(view.u32(view.u32(at) + L.BIO_STATUS))
      view.setU32(ring + L.RING_HEAD, head + 1)
    }
  }

  /** Jiffies until the queue's request_fn runs next, at most 1000. */
  untilRun(): number {
    const before = this.vk.calls.length
    this.vk.k.trace.on = true
    for (let ticks = 0; ticks < 1000; ticks++) {
      this.vk.k.runReady()
      if (this.vk.calls.slice(before).includes('null_request_fn')) return ticks
      this.vk.ticks(1)
    }
    return 1000
  }
}

const READ = N.REQ_OP_READ
const WRITE = N.REQ_OP_WRITE

describe('a single queue', () => {
  it('takes bios to the driver and back, whatever the irq mode', () => {
    for (const irqmode of [0, 1, 2]) {
      const rig = new SqRig({ irqmode })
      for (let i = 0; i < 5; i++) expect(rig.submit(READ, i * 100)).toBe(-1)
      rig.vk.runUntil(rig.vk.ns + 1e6)
      expect(rig.ended()).toEqual([0, 0, 0, 0, 0])
      expect(rig.handled).toEqual(['R0', 'R100', 'R200', 'R300', 'R400'])
      expect([blk_queue_depth(rig.q), rig.machine.books().tagsHeld]).toEqual([0, 0])
    }
  })

  it('ends at once without interrupts, later with timers', () => {
    const at_once = new SqRig({ irqmode: 0 })
    at_once.submit(READ)
    expect(at_once.ended()).toEqual([0])
    const timed = new SqRig({ irqmode: 2, completion_nsec: 50_000 })
    timed.submit(READ)
    timed.vk.runUntil(timed.vk.ns + 49_000)
    expect(timed.ended()).toEqual([])
    timed.vk.runUntil(timed.vk.ns + 2000)
    expect(timed.ended()).toEqual([0])
  })

  it('goes by the names that Linux has', () => {
    const rig = new SqRig({ irqmode: 1 })
    rig.vk.k.trace.on = true
    rig.submit(READ)
    const calls = rig.vk.calls.filter(name => /^(blk|null|noop|elv|__blk|__elv)/.test(name))
    expect(calls).toEqual([
      'blk_queue_bio',
      '__elv_add_request',
      'noop_add_request',
      'blk_run_queue',
      '__blk_run_queue',
      '__blk_run_queue_uncond',
      'null_request_fn',
      'blk_fetch_request',
      'blk_peek_request',
      'noop_dispatch',
      'null_rq_prep_fn',
      'blk_start_request',
      'blk_add_timer',
      'null_handle_cmd',
      'blk_complete_request',
      '__blk_complete_request',
      'blk_fetch_request',
      'blk_peek_request',
      'noop_dispatch',
      'blk_done_softirq',
      'null_softirq_done_fn',
      'blk_end_request_all',
      'blk_update_request',
      'blk_finish_request',
      'blk_account_io_done',
    ])
  })

  it('splits what is too large, and joins what continues', () => {
    const rig = new SqRig()
    rig.submit(READ, 0, 2 ** 20)
    expect(rig.handled.length).toBe(9)
    expect(rig.ended()).toEqual([0])
    blk_stop_queue(rig.q)
    rig.handled.length = 0
    for (const sector of [0, 8, 100, 16]) rig.submit(WRITE, sector)
    blk_start_queue(rig.q)
    expect(rig.handled).toEqual(['W0', 'W100'])
    expect(rig.ended().length).toBe(4)
  })

  it('stops when there is no command, and goes on when one is free', () => {
    const rig = new SqRig({ irqmode: 2, depth: 2, completion_nsec: 1_000_000 })
    for (let i = 0; i < 5; i++) rig.submit(READ, i * 100)
    expect([rig.handled.length, rig.q.stopped]).toEqual([2, true])
    rig.vk.runUntil(rig.vk.ns + 10e6)
    expect([rig.ended().length, rig.q.stopped]).toEqual([5, false])
  })

  it('says when no request is free', () => {
    const rig = new SqRig()
    blk_stop_queue(rig.q)
    for (let i = 0; i < 256; i++) expect(rig.submit(READ, i * 100)).toBe(-1)
    expect(rig.submit(READ, 90_000)).toBe(-2)
    blk_start_queue(rig.q)
    expect(rig.ended().length).toBe(256)
    expect(rig.submit(READ, 90_000)).toBe(-1)
  })
})

describe('delay work', () => {
  it('blk-timers 10.23: the earlier delay stays, a run from kblockd is at once', () => {
    const kept = new SqRig()
    blk_delay_queue(kept.q, 3)
    blk_delay_queue(kept.q, 100)
    expect(kept.untilRun()).toBe(1)
    const async = new SqRig()
    blk_delay_queue(async.q, 100)
    blk_run_queue_async(async.q)
    expect(async.untilRun()).toBe(0)
    const late = new SqRig()
    blk_delay_queue(late.q, 100)
    expect(late.untilRun()).toBe(25)
  })

  it('does nothing on a stopped queue', () => {
    const rig = new SqRig()
    blk_delay_queue(rig.q, 8)
    blk_stop_queue(rig.q)
    blk_run_queue_async(rig.q)
    expect(rig.untilRun()).toBe(1000)
  })
})

describe('faults of a single queue', () => {
  it('null-blk 9: a requeue fault puts the request first again', () => {
    const rig = new SqRig({
      options: { requeue: { interval: 1, probability: 100, space: 0, times: 2 } },
    })
    rig.submit(READ, 7)
    expect([rig.handled, rig.ended()]).toEqual([['R7'], [0]])
  })

  it('null-blk 11.12: a lost request ends by its timeout, after five to six seconds', () => {
    const rig = new SqRig({
      irqmode: 1,
      options: { timeout: { interval: 1, probability: 100, space: 0, times: 1 } },
    })
    const began = rig.vk.ns
    rig.submit(READ, 7)
    rig.submit(READ, 100)
    expect(rig.ended()).toEqual([0])
    while (rig.machine.books().tagsHeld > 0 && rig.vk.ns < began + 10e9) rig.vk.ticks(1)
    expect(rig.ended()).toEqual([0])
    expect(rig.vk.ns - began).toBeGreaterThanOrEqual(5e9 - 8e6)
    expect(rig.vk.ns - began).toBeLessThan(6.1e9)
  })

  it('null-blk 11.5: the bandwidth limit stops and starts the queue', () => {
    const rig = new SqRig({ options: { mbps: 1 } })
    rig.vk.runUntil(rig.vk.ns + 1e9)
    for (let i = 0; i < 20; i++) rig.submit(WRITE, i * 100)
    expect([rig.ended().length, rig.q.stopped]).toEqual([6, true])
    rig.vk.runUntil(rig.vk.ns + 20e6)
    expect(rig.ended().length).toBe(5)
    rig.vk.runUntil(rig.vk.ns + 60e6)
    expect(rig.ended().length).toBe(9)
    expect(rig.machine.books().tagsHeld).toBe(0)
  })
})

describe('flushes of a single queue', () => {
  const PRE = WRITE | N.REQ_PREFLUSH
  const BOTH = PRE | N.REQ_FUA

  it('blk-timers 10.18: the steps by cache and FUA', () => {
    const steps = (writeCache: boolean, fua: boolean, opf: number): string[] => {
      const rig = new SqRig({ writeCache, fua })
      rig.submit(opf, 8)
      rig.vk.runUntil(rig.vk.ns + 1e6)
      expect(rig.ended()).toEqual([0])
      return rig.handled
    }
    expect(steps(true, true, BOTH)).toEqual(['F0', 'W8'])
    expect(steps(true, false, BOTH)).toEqual(['F0', 'W8', 'F0'])
    expect(steps(true, false, WRITE | N.REQ_FUA)).toEqual(['W8', 'F0'])
    expect(steps(false, false, WRITE)).toEqual(['W8'])
  })

  it('blk-timers 10.19: flushes that wait for one share the next', () => {
    const rig = new SqRig({ writeCache: true, irqmode: 2, completion_nsec: 1_000_000 })
    for (let i = 0; i < 11; i++) rig.submit(PRE, 0, 0)
    rig.vk.runUntil(rig.vk.ns + 10e6)
    expect(rig.handled).toEqual(['F0', 'F0'])
    expect(rig.ended().length).toBe(11)
    expect(rig.machine.books().tagsHeld).toBe(0)
  })

  it('goes by the names that Linux has, and on from kblockd', () => {
    const rig = new SqRig({ writeCache: true, irqmode: 2, completion_nsec: 1_000_000 })
    rig.vk.k.trace.on = true
    rig.submit(PRE, 8)
    rig.vk.runUntil(rig.vk.ns + 5e6)
    expect(rig.ended()).toEqual([0])
    for (const name of ['blk_insert_flush', 'blk_kick_flush', 'flush_end_io', 'flush_data_end_io'])
      expect(rig.vk.calls).toContain(name)
    expect(rig.vk.calls).toContain('blk_delay_work')
  })
})
