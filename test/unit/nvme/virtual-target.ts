// The NVMe/TCP target on a machine in virtual time, with sockets that are two lists: no host clock, no network. Everything
// is a plain call, so that a hundred thousand conversations take seconds.

import { nvmet_ns_enable, nvmet_subsys_alloc } from '../../../src/drivers/nvme/target/core.js'
import { nvmet_bdev_ns } from '../../../src/drivers/nvme/target/io-cmd-bdev.js'
import { nvmet, type nvmet_subsys } from '../../../src/drivers/nvme/target/nvmet.js'
import { sgl_pool } from '../../../src/drivers/nvme/target/sgl-pool.js'
import { nvmet_tcp_alloc_queue, nvmet_tcp_port } from '../../../src/drivers/nvme/target/tcp.js'
import type { nvmet_tcp_queue } from '../../../src/drivers/nvme/target/tcp-queue.js'
import type { socket } from '../../../src/drivers/nvme/socket.js'
import { hostKernelBytes } from '../../../src/machine/host-kernel.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { builtOnly, diskConfig } from '../../../src/workload/machine-config.js'

export const VNQN = 'nqn.2026-11.io.phasebit:virtual'

/** A socket whose other end is the test. */
export class ListSocket implements socket {
  closed = false
  writeable = true
  released = false
  readonly sent: Uint8Array[] = []
  readonly received: Uint8Array[] = []
  sk_data_ready: () => void = () => {}
  sk_write_space: () => void = () => {}
  sk_state_change: () => void = () => {}

  recv(): Uint8Array | null {
    return this.received.shift() ?? null
  }

  unread(rest: Uint8Array): void {
    this.received.unshift(rest)
  }

  sendmsg(bytes: number, fill: (out: Uint8Array, at: number) => void): void {
    const out = new Uint8Array(bytes)
    fill(out, 0)
    this.sent.push(out)
  }

  sk_stream_is_writeable(): boolean {
    return this.writeable
  }

  kernel_sock_shutdown(): void {
    this.released = true
  }

  sock_release(): void {
    this.released = true
  }

  /** The peer sends. */
  bring(bytes: Uint8Array): void {
    this.received.push(bytes)
    this.sk_data_ready()
  }

  /** The peer goes. */
  hangUp(): void {
    this.closed = true
    this.sk_state_change()
  }

  /** What was sent, as one piece, and forgotten. */
  take(): Buffer {
    return Buffer.concat(this.sent.splice(0))
  }
}

export interface VirtualOptions {
  readonly poolBytes?: number
  readonly maxQueues?: number
  readonly tbkas?: boolean
  readonly sizeBytes?: number
}

export class VirtualTarget {
  readonly machine: Machine
  readonly target: nvmet
  readonly subsys: nvmet_subsys
  readonly port: nvmet_tcp_port
  readonly pool: sgl_pool

  constructor(options: VirtualOptions = {}) {
    const { poolBytes = 4 * 2 ** 20, maxQueues = 64, tbkas = true } = options
    const { sizeBytes = 16 * 2 ** 20 } = options
    const disks = parseDevices([`nvme,size=${sizeBytes},model=ram`]).map(spec =>
      diskConfig(builtOnly(spec), 'virtual', 0, 1),
    )
    this.machine = bootMachine({
      clock: 'virtual',
      cpus: 1,
      hz: 250,
      seed: 0,
      lat: 'none',
      stages: false,
      trace: false,
      memBytes: 64 * 2 ** 20,
      disks,
      extraBytes: hostKernelBytes(1, 1) + poolBytes + 8192,
      jobs: 0,
      kernel: {},
    })
    void this.machine.start()
    const { host } = this.machine
    this.pool = new sgl_pool(this.machine.alloc(poolBytes, 4096), poolBytes)
    this.target = new nvmet(host!.blk, {
      traffic_based_keep_alive: tbkas,
      mdts: 8,
      model: 'test',
      firmware: '1',
    })
    this.subsys = nvmet_subsys_alloc(this.target, VNQN, '1', 16)
    nvmet_ns_enable(
      nvmet_bdev_ns({
        nsid: 1,
        subsys: this.subsys,
        bdev: host!.queue(this.machine.disks[0]!),
        bytes: sizeBytes,
        uuid: new Uint8Array(16),
        nguid: new Uint8Array(16),
        persist: null,
      }),
    )
    this.port = new nvmet_tcp_port(
      this.target,
      {
        portid: 1,
        adrfam: 1,
        traddr: '10.0.0.1',
        trsvcid: '4420',
        inline_data_size: 16384,
        maxh2cdata: 65536,
        max_queues: maxQueues,
        pool: this.pool,
      },
      [this.subsys],
    )
  }

  accept(): { sock: ListSocket; queue: nvmet_tcp_queue | null } {
    const sock = new ListSocket()
    return { sock, queue: nvmet_tcp_alloc_queue(this.port, sock) }
  }

  /** Lets everything happen that can happen now, I/Os included, but no later timer. */
  settle(): void {
    const { machine } = this
    const { blk } = machine.host!
    for (;;) {
      const flying = blk.bios.end_io.size > 0
      const end = machine.turn(machine.now() + (flying ? 1e6 : 0))
      if ((end === 'time' || end === 'idle') && blk.bios.end_io.size === 0 && !flying) return
    }
  }

  /** Lets so many seconds pass. */
  pass(seconds: number): void {
    const until = this.machine.now() + seconds * 1e9
    while (this.machine.now() < until) this.machine.turn(until)
    this.settle()
  }
}
