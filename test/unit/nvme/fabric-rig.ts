// Host and target of NVMe over fabrics on one emulated kernel, in virtual time: a machine with one disk, the target over
// it, the host's modules, and tasks that do I/O on what was connected.

import { LinkNetwork } from '../../../src/device/tcp-link.js'
import { VerbsFabric, type VerbsOptions } from '../../../src/device/verbs.js'
import { nvme_core_init } from '../../../src/drivers/nvme/host/core-ctrl.js'
import { nvme_delete_ctrl } from '../../../src/drivers/nvme/host/core-state.js'
import { type KernelEra, NVME_ERAS } from '../../../src/drivers/nvme/host/era.js'
import {
  nvmf_dev_write,
  nvmf_init,
  type nvmf_module,
} from '../../../src/drivers/nvme/host/fabrics.js'
import type { nvme_core, nvme_ctrl, nvme_ns } from '../../../src/drivers/nvme/host/nvme.js'
import { nvme_rdma_init_module } from '../../../src/drivers/nvme/host/rdma.js'
import type { nvme_rdma_module } from '../../../src/drivers/nvme/host/rdma-queue.js'
import { nvme_fc_init_module } from '../../../src/drivers/nvme/host/fc.js'
import type { nvme_fc_module } from '../../../src/drivers/nvme/host/fc-ctrl.js'
import { nvme_tcp_init_module } from '../../../src/drivers/nvme/host/tcp.js'
import { nvmet_ns_enable, nvmet_subsys_alloc } from '../../../src/drivers/nvme/target/core.js'
import { nvmet_fc_add_port, type nvmet_fc_tgtport } from '../../../src/drivers/nvme/target/fc.js'
import {
  fcloop,
  fcloop_create_local_port,
  fcloop_create_remote_port,
  fcloop_create_target_port,
  fcloop_delete_remote_port,
} from '../../../src/drivers/nvme/target/fcloop.js'
import { nvmet_bdev_ns } from '../../../src/drivers/nvme/target/io-cmd-bdev.js'
import { nvme_loop_init_module } from '../../../src/drivers/nvme/target/loop.js'
import { nvmet, type nvmet_subsys } from '../../../src/drivers/nvme/target/nvmet.js'
import { nvmet_rdma_port } from '../../../src/drivers/nvme/target/rdma.js'
import { sgl_pool } from '../../../src/drivers/nvme/target/sgl-pool.js'
import { nvmet_tcp_alloc_queue, nvmet_tcp_port } from '../../../src/drivers/nvme/target/tcp.js'
import {
  blkdev_issue_flush,
  blkdev_read_iter,
  blkdev_write_iter,
} from '../../../src/fs/block_dev.js'
import type { Sleep } from '../../../src/kernel/core.js'
import { work_busy } from '../../../src/kernel/workqueue-control.js'
import { hostKernelBytes } from '../../../src/machine/host-kernel.js'
import { bootMachine, type Machine } from '../../../src/machine/machine.js'
import { parseDevices } from '../../../src/machine/spec-parse.js'
import { builtOnly, diskConfig } from '../../../src/workload/machine-config.js'

export const RIG_NQN = 'nqn.2026-11.io.phasebit:rig'
const POOL = 4 * 2 ** 20
const HEAP = 8 * 2 ** 20
const BUFFERS = 2 ** 20
export const ADDRESS = '10.0.0.1:4420'
export const TCP_TEXT: string = `transport=tcp,traddr=10.0.0.1,trsvcid=4420,nqn=${RIG_NQN}`

export const RDMA_TEXT: string = `transport=rdma,traddr=10.0.0.2,trsvcid=4420,nqn=${RIG_NQN}`
export const LOOP_TEXT: string = `transport=loop,nqn=${RIG_NQN}`

export const FC_TEXT: string = `transport=fc,traddr=nn-0x10000000000000aa:pn-0x20000000000000aa,host_traddr=nn-0x10000000000000bb:pn-0x20000000000000bb,nqn=${RIG_NQN}`
export const FC_TARGET = 'wwnn=0x10000000000000aa,wwpn=0x20000000000000aa'
const FC_LOCAL = 'wwnn=0x10000000000000bb,wwpn=0x20000000000000bb'
export const FC_REMOTE: string = `${FC_TARGET},lpwwnn=0x10000000000000bb,lpwwpn=0x20000000000000bb`

export interface RigOptions {
  readonly cpus?: number
  readonly device?: string
  readonly seed?: number
  readonly era?: KernelEra
  readonly verbs?: VerbsOptions
  readonly register_always?: boolean
}

export class FabricRig {
  readonly machine: Machine
  readonly nvme: nvme_core
  readonly f: nvmf_module
  readonly subsys: nvmet_subsys
  readonly target: nvmet
  readonly network: LinkNetwork = new LinkNetwork()
  readonly pool: sgl_pool
  readonly buffers: number
  readonly port: nvmet_tcp_port
  readonly verbs: VerbsFabric
  readonly rdma_port: nvmet_rdma_port
  readonly rdma: nvme_rdma_module
  readonly fc: nvme_fc_module
  readonly link: fcloop
  readonly fc_port: nvmet_fc_tgtport
  readonly loop: ReturnType<typeof nvme_loop_init_module>

  constructor(options: RigOptions = {}) {
    const { cpus = 2, device = 'nvme,size=16m,model=ram', seed = 1 } = options
    this.machine = bootMachine({
      clock: 'virtual',
      cpus,
      hz: 250,
      seed,
      lat: 'none',
      stages: false,
      trace: false,
      memBytes: 17 * 2 ** 20,
      disks: parseDevices([device]).map(spec => diskConfig(builtOnly(spec), 'virtual', 0, cpus)),
      extraBytes: hostKernelBytes(cpus, cpus) + HEAP + POOL + BUFFERS + 65536,
      jobs: 0,
      kernel: { heapBytes: HEAP },
    })
    void this.machine.start()
    const { blk } = this.machine.host!
    this.pool = new sgl_pool(this.machine.alloc(POOL, 4096), POOL)
    this.buffers = this.machine.alloc(BUFFERS, 4096)
    this.target = new nvmet(blk, {
      traffic_based_keep_alive: false,
      mdts: 8,
      model: 'Linux',
      firmware: '4.19.71',
    })
    this.subsys = nvmet_subsys_alloc(this.target, RIG_NQN, '1', 128)
    const disk = this.machine.disks[0]!
    nvmet_ns_enable(
      nvmet_bdev_ns({
        nsid: 1,
        subsys: this.subsys,
        bdev: this.machine.host!.queue(disk),
        bytes: disk.config.sizeBytes,
        uuid: new Uint8Array(16).fill(1),
        nguid: new Uint8Array(16).fill(2),
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
        max_queues: 64,
        pool: this.pool,
      },
      [this.subsys],
    )
    this.nvme = nvme_core_init(blk, NVME_ERAS[options.era ?? '4.19'])!
    this.f = nvmf_init(this.nvme, { nqn: 'nqn.host', id: new Uint8Array(16).fill(9) })
    nvme_tcp_init_module(this.f, (traddr, trsvcid, done) =>
      done(this.network.connect(`${traddr}:${trsvcid || 4420}`)),
    )
    const { k } = this.machine.host!
    this.verbs = new VerbsFabric(k, this.machine.view.bytes, options.verbs)
    this.rdma_port = new nvmet_rdma_port(this.target, this.verbs, '10.0.0.2', '4420', [this.subsys])
    this.rdma_port.listen()
    const { register_always = true } = options
    const rdma = nvme_rdma_init_module(this.f, this.verbs, [], { register_always })
    if (typeof rdma === 'number') throw new Error(`nvme_rdma: ${rdma}`)
    this.rdma = rdma
    const fc = nvme_fc_init_module(this.f)
    if (typeof fc === 'number') throw new Error(`nvme_fc: ${fc}`)
    this.fc = fc
    this.link = new fcloop(k, this.target, fc.lports)
    fcloop_create_local_port(this.link, FC_LOCAL)
    this.fc_port = fcloop_create_target_port(this.link, FC_TARGET) as nvmet_fc_tgtport
    nvmet_fc_add_port(this.fc_port, [this.subsys])
    fcloop_create_remote_port(this.link, FC_REMOTE)
    this.loop = nvme_loop_init_module(this.f, this.target, [this.subsys])
    this.listen()
  }

  listen(): void {
    this.network.listen(ADDRESS, sock => void nvmet_tcp_alloc_queue(this.port, sock))
  }

  /** The target goes away. */
  lose(): void {
    this.network.unlisten(ADDRESS)
    this.network.reset()
    this.rdma_port.remove()
    fcloop_delete_remote_port(this.link, FC_TARGET)
  }

  /** Nobody takes new connections; what is connected goes on. */
  shut(): void {
    this.network.unlisten(ADDRESS)
    this.verbs.rdma_unlisten(this.rdma_port.address)
  }

  /** Nothing arrives over what is connected, and nobody is told. */
  silence(): void {
    this.network.cut()
    this.verbs.silence()
    this.link.silent = true
  }

  /** It is there again. */
  back(): void {
    this.link.silent = false
    this.listen()
    this.rdma_port.listen()
    fcloop_create_remote_port(this.link, FC_REMOTE)
  }

  get now(): number {
    return this.machine.now()
  }

  /** Runs a task to its end; fails after so many seconds. */
  run<T>(body: () => Sleep<T>, seconds = 700): T {
    const { host } = this.machine
    let result: { value: T } | undefined
    host!.k.spawn('task', function* () {
      result = { value: yield* body() }
    })
    const end = this.now + seconds * 1e9
    while (result === undefined && this.now < end) this.machine.turn(end)
    if (result === undefined) {
      const waits = [...host!.k.tasks].map(t => `${t.name}: ${t.waiting_on}`)
      throw new Error(`the task has not ended: ${waits.join(', ')}\n${this.log().join('\n')}`)
    }
    return result.value
  }

  /** Lets seconds pass. */
  pass(seconds: number): void {
    const end = this.now + seconds * 1e9
    while (this.now < end) this.machine.turn(end)
  }

  log(): string[] {
    return this.machine.host!.k.dmesg.map(line => line.text)
  }

  /** Connects, and waits until the disks are there. */
  connect(text: string = TCP_TEXT): nvme_ctrl {
    const ctrl = this.run(() => nvmf_dev_write(this.f, text))
    if (typeof ctrl === 'number') throw new Error(`connect: ${ctrl} ${this.log().join('\n')}`)
    this.pass(1)
    for (let n = 0; n < 60 && work_busy(ctrl.scan_work) !== 0; n++) this.pass(1)
    return ctrl
  }

  disconnect(ctrl: nvme_ctrl): void {
    nvme_delete_ctrl(ctrl)
    this.pass(1)
  }

  ns(ctrl: nvme_ctrl): nvme_ns {
    const ns = ctrl.namespaces[0]
    if (ns === undefined) throw new Error(`no namespace: ${this.log().join('\n')}`)
    return ns
  }

  write(ns: nvme_ns, pos: number, data: Uint8Array, at: number = this.buffers): Sleep<number> {
    this.machine.view.bytes.set(data, at)
    return blkdev_write_iter({ q: ns.queue, write: true, pos, bytes: data.length, data: at })
  }

  *read(
    ns: nvme_ns,
    pos: number,
    bytes: number,
    at: number = this.buffers,
  ): Sleep<Uint8Array | number> {
    const status = yield* blkdev_read_iter({ q: ns.queue, write: false, pos, bytes, data: at })
    return status === 0 ? this.machine.view.bytes.slice(at, at + bytes) : status
  }

  flush(ns: nvme_ns): Sleep<number> {
    return blkdev_issue_flush(ns.queue)
  }
}
