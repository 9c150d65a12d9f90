// A machine in virtual time with an emulated kernel and one null_blk disk, for tests of the block layer. Timers fire at
// their expiry (timer=exact), so that jiffies can be counted.

import { blk_mq_init_sched } from '../../../src/block/blk-mq-sched.js'
import type { elevator_type, request_queue } from '../../../src/block/blkdev.js'
import type { kiocb } from '../../../src/fs/block_dev.js'
import type { Sleep } from '../../../src/kernel/core.js'
import type { Kernel } from '../../../src/kernel/kernel.js'
import { schedule_timeout_uninterruptible } from '../../../src/kernel/timer-sleep.js'
import type { Machine } from '../../../src/machine/booted.js'
import { hostKernelBytes } from '../../../src/machine/host-kernel.js'
import { bootMachine } from '../../../src/machine/machine.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { type TraceRingOptions, TraceRings, traceBytes } from '../../../src/machine/trace-ring.js'
import { blk_fill_rwbs } from '../../../src/block/trace-events.js'
import { builtOnly, diskConfig } from '../../../src/workload/machine-config.js'

const RECORDS = 1 << 14

export class Hosted {
  readonly machine: Machine
  readonly k: Kernel
  readonly q: request_queue
  readonly data: number
  readonly rings: TraceRings
  readonly #jiffyNs: number

  constructor(
    device: string,
    cpus = 2,
    sched: elevator_type | null = null,
    hz = 250,
    rings: TraceRingOptions = {},
    heapBytes = 0,
  ) {
    this.#jiffyNs = 1e9 / hz
    const disks = parseDevices(device.split(' ')).map(s =>
      diskConfig(builtOnly(s), 'virtual', 0, cpus),
    )
    this.machine = bootMachine({
      clock: 'virtual',
      cpus,
      hz,
      seed: 1,
      lat: 'none',
      stages: false,
      trace: true,
      memBytes: 2 ** 20,
      disks,
      extraBytes:
        traceBytes(cpus, RECORDS) + hostKernelBytes(cpus, disks.length * cpus, heapBytes) + 2 ** 20,
      jobs: 1,
      kernel: { timer: 'exact', heapBytes },
    })
    const host = this.machine.host!
    this.k = host.k
    const blocks = Array.from({ length: cpus }, (_, i) => this.machine.cpuAddress(i))
    const memory = this.machine.alloc(traceBytes(cpus, RECORDS))
    this.rings = new TraceRings(this.machine.view, blocks, memory, RECORDS, rings)
    this.k.trace.sink = this.rings
    this.q = host.queue(this.machine.disks[0]!)
    this.data = this.machine.alloc(64 * 4096, 4096)
    blk_mq_init_sched(this.q, sched, hctx => host.schedTags(hctx))
  }

  /** A 4 KiB I/O at a block number. */
  io(block: number, write = false, rest: Partial<kiocb> = {}): kiocb {
    return { q: this.q, write, pos: block * 4096, bytes: 4096, data: this.data, ...rest }
  }

  /** Starts a task at a jiffy; the result says when it ended, in jiffies. */
  task(at: number, cpu: number, body: () => Sleep<void>): { ended: number | null } {
    const result: { ended: number | null } = { ended: null }
    const { k } = this
    const sleep = this.sleepUntil.bind(this)
    k.spawn(
      'test',
      function* () {
        yield* sleep(at)
        yield* body()
        result.ended = k.jiffies
      },
      [cpu],
    )
    return result
  }

  *sleepUntil(jiffy: number): Sleep<void> {
    if (jiffy > this.k.jiffies)
      yield* schedule_timeout_uninterruptible(this.k, jiffy - this.k.jiffies)
  }

  /** Lets time pass until a jiffy. */
  async until(jiffy: number): Promise<void> {
    const ns = jiffy * this.#jiffyNs
    while (this.machine.now() < ns) {
      const end = await this.machine.run(ns)
      if (end === 'idle') break
    }
  }

  record(on: boolean): void {
    this.rings.on = on
    this.k.trace.on = on
  }

  /** Letters of the requests that the driver was given, in order, and their sectors. */
  issued(): { rwbs: string; sector: number }[] {
    return this.rings
      .drain()
      .filter(entry => entry.name === 'block_rq_issue')
      .map(entry => ({ rwbs: blk_fill_rwbs(entry.opf ?? 0), sector: entry.sector ?? 0 }))
  }
}
