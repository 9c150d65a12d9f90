// Host and target of NVMe over fabrics on one emulated kernel, in virtual time: what trace scenarios and simulations play on.
//
// The first disk of the machine is the target's namespace. The host's modules are loaded, the target's ports listen, and
// all wires are emulated: loop, verbs (RDMA), a Fibre Channel link (fcloop), a network (TCP).

import { LinkNetwork } from '../device/tcp-link.js'
import { VerbsFabric } from '../device/verbs.js'
import { nvme_core_init } from '../drivers/nvme/host/core-ctrl.js'
import { type KernelEra, NVME_ERAS } from '../drivers/nvme/host/era.js'
import { nvmf_init, type nvmf_module } from '../drivers/nvme/host/fabrics.js'
import type { nvme_core } from '../drivers/nvme/host/nvme.js'
import { nvme_fc_init_module } from '../drivers/nvme/host/fc.js'
import type { nvme_fc_module } from '../drivers/nvme/host/fc-ctrl.js'
import { nvme_rdma_init_module } from '../drivers/nvme/host/rdma.js'
import type { nvme_rdma_module } from '../drivers/nvme/host/rdma-queue.js'
import { nvme_tcp_init_module } from '../drivers/nvme/host/tcp.js'
import { NVMF_ADDR_FAMILY_IP4 } from '../drivers/nvme/nvme.js'
import { nvmet_ns_enable, nvmet_subsys_alloc } from '../drivers/nvme/target/core.js'
import { nvmet_fc_add_port } from '../drivers/nvme/target/fc.js'
import {
  fcloop,
  fcloop_create_local_port,
  fcloop_create_remote_port,
  fcloop_create_target_port,
  fcloop_delete_remote_port,
} from '../drivers/nvme/target/fcloop.js'
import { nvmet_bdev_ns } from '../drivers/nvme/target/io-cmd-bdev.js'
import { nvme_loop_init_module } from '../drivers/nvme/target/loop.js'
import { nvmet, type nvmet_subsys } from '../drivers/nvme/target/nvmet.js'
import { nvmet_rdma_port } from '../drivers/nvme/target/rdma.js'
import { sgl_pool } from '../drivers/nvme/target/sgl-pool.js'
import { nvmet_tcp_alloc_queue, nvmet_tcp_port } from '../drivers/nvme/target/tcp.js'
import type { Machine } from '../machine/booted.js'
import { type FabricSpec, PLAIN_FABRIC } from '../machine/spec-fabric.js'
import { PAGE_SIZE } from '../mm/mm.js'

const POOL_BYTES = 4 * 2 ** 20
export const FABRIC_HEAP: number = 8 * 2 ** 20
export const FABRIC_NQN = 'nqn.2026-11.io.phasebit:stage'

/** Memory that a stage takes of its machine, beside the kernel's with FABRIC_HEAP. */
export const FABRIC_BYTES: number = POOL_BYTES + 2 * PAGE_SIZE

export type FabricTransport = 'loop' | 'rdma' | 'fc' | 'tcp'

/** Options of a connection by transport, as they are written to /dev/nvme-fabrics. */
export const FABRIC_TEXTS: Readonly<Record<FabricTransport, string>> = {
  loop: `transport=loop,nqn=${FABRIC_NQN}`,
  rdma: `transport=rdma,traddr=10.0.0.2,trsvcid=4420,nqn=${FABRIC_NQN}`,
  fc: `transport=fc,traddr=nn-0x10000000000000aa:pn-0x20000000000000aa,host_traddr=nn-0x10000000000000bb:pn-0x20000000000000bb,nqn=${FABRIC_NQN}`,
  tcp: `transport=tcp,traddr=10.0.0.1,trsvcid=4420,nqn=${FABRIC_NQN}`,
}

const TCP_ADDRESS = '10.0.0.1:4420'

/** Where the target is to be found, and its name. */
export interface FabricPlace {
  readonly nqn: string
  /** Address and port over RDMA. */
  readonly rdma: readonly [traddr: string, trsvcid: string]
  /** Names of node and port over FC, the target's and the host's: as fcloop takes them, nn and pn in 16 digits. */
  readonly fc: { readonly target: FcNames; readonly host: FcNames }
}

export interface FcNames {
  readonly nn: string
  readonly pn: string
}

/** Where scenarios find it. */
export const FABRIC_PLACE: FabricPlace = {
  nqn: FABRIC_NQN,
  rdma: ['10.0.0.2', '4420'],
  fc: {
    target: { nn: '0x10000000000000aa', pn: '0x20000000000000aa' },
    host: { nn: '0x10000000000000bb', pn: '0x20000000000000bb' },
  },
}

/** Everything of fabrics on one machine. */
export class FabricStage {
  readonly machine: Machine
  readonly nvme: nvme_core
  readonly f: nvmf_module
  readonly target: nvmet
  readonly subsys: nvmet_subsys
  readonly pool: sgl_pool
  readonly network: LinkNetwork = new LinkNetwork()
  readonly tcp: nvmet_tcp_port
  readonly verbs: VerbsFabric
  readonly rdma_port: nvmet_rdma_port
  readonly rdma: nvme_rdma_module
  readonly fc: nvme_fc_module
  readonly link: fcloop
  readonly #place: FabricPlace

  constructor(
    machine: Machine,
    era: KernelEra = '4.19',
    place: FabricPlace = FABRIC_PLACE,
    fabric: FabricSpec = PLAIN_FABRIC,
  ) {
    this.machine = machine
    this.#place = place
    const { blk, k } = machine.host!
    this.pool = new sgl_pool(machine.alloc(POOL_BYTES, PAGE_SIZE), POOL_BYTES)
    this.target = new nvmet(blk, {
      traffic_based_keep_alive: false,
      mdts: 0,
      model: 'Linux',
      firmware: '4.19.71',
    })
    this.subsys = this.#subsystem()
    this.tcp = this.#tcpPort()
    this.verbs = new VerbsFabric(k, machine.view.bytes, fabric)
    this.rdma_port = new nvmet_rdma_port(this.target, this.verbs, ...place.rdma, [this.subsys])
    const core = nvme_core_init(blk, NVME_ERAS[era])
    if (core === null) throw new Error('nvme_core: no memory')
    this.nvme = core
    this.f = nvmf_init(core, {
      nqn: 'nqn.2014-08.org.nvmexpress:host',
      id: new Uint8Array(16).fill(9),
    })
    this.rdma = this.#modules(fabric)
    const fc = nvme_fc_init_module(this.f)
    if (typeof fc === 'number') throw new Error(`nvme_fc: ${fc}`)
    this.fc = fc
    this.link = new fcloop(k, this.target, fc.lports)
    this.#fcPorts()
    this.listen()
  }

  #subsystem(): nvmet_subsys {
    const subsys = nvmet_subsys_alloc(this.target, this.#place.nqn, '1', 128)
    const disk = this.machine.disks[0]!
    nvmet_ns_enable(
      nvmet_bdev_ns({
        nsid: 1,
        subsys,
        bdev: this.machine.host!.queue(disk),
        bytes: disk.config.sizeBytes,
        uuid: new Uint8Array(16).fill(1),
        nguid: new Uint8Array(16),
        persist: null,
      }),
    )
    return subsys
  }

  #tcpPort(): nvmet_tcp_port {
    const options = {
      portid: 1,
      adrfam: NVMF_ADDR_FAMILY_IP4,
      traddr: '10.0.0.1',
      trsvcid: '4420',
      inline_data_size: 16384,
      maxh2cdata: 65536,
      max_queues: 64,
      pool: this.pool,
    }
    return new nvmet_tcp_port(this.target, options, [this.subsys])
  }

  #fcPorts(): void {
    const { nn, pn } = this.#place.fc.host
    fcloop_create_local_port(this.link, `wwnn=${nn},wwpn=${pn}`)
    const tport = fcloop_create_target_port(this.link, this.#fcTarget)
    if (typeof tport === 'number') throw new Error(`fcloop: ${tport}`)
    nvmet_fc_add_port(tport, [this.subsys])
  }

  get #fcTarget(): string {
    const { nn, pn } = this.#place.fc.target
    return `wwnn=${nn},wwpn=${pn}`
  }

  #modules({ registerAlways }: FabricSpec): nvme_rdma_module {
    const { f, network } = this
    nvme_tcp_init_module(f, (traddr, trsvcid, done) =>
      done(network.connect(`${traddr}:${trsvcid || '4420'}`)),
    )
    nvme_loop_init_module(f, this.target, [this.subsys])
    const rdma = nvme_rdma_init_module(f, this.verbs, [], { register_always: registerAlways })
    if (typeof rdma === 'number') throw new Error(`nvme_rdma: ${rdma}`)
    return rdma
  }

  /** The target can be connected to. */
  listen(): void {
    this.network.listen(TCP_ADDRESS, sock => void nvmet_tcp_alloc_queue(this.tcp, sock))
    this.rdma_port.listen()
    this.findPort()
  }

  /** The target goes away: nobody listens, connections end. */
  lose(): void {
    this.network.unlisten(TCP_ADDRESS)
    this.network.reset()
    this.rdma_port.remove()
    fcloop_delete_remote_port(this.link, this.#fcTarget)
  }

  /** The FC target's port is lost to the host, and found again. */
  losePort(): void {
    fcloop_delete_remote_port(this.link, this.#fcTarget)
  }

  findPort(): void {
    const { nn, pn } = this.#place.fc.host
    fcloop_create_remote_port(this.link, `${this.#fcTarget},lpwwnn=${nn},lpwwpn=${pn}`)
  }

  /** Nothing arrives over what is connected, and nobody is told. An FC link stays so, until it is said to carry again. */
  silence(silent = true): void {
    if (silent) {
      this.network.cut()
      this.verbs.silence()
    }
    this.link.silent = silent
  }

  /** Nobody takes new connections; what is connected goes on. */
  shut(): void {
    this.network.unlisten(TCP_ADDRESS)
    this.verbs.rdma_unlisten(this.rdma_port.address)
  }

  /** Connections end, the target is still there. */
  cut(): void {
    this.network.reset()
    this.verbs.cut()
  }
}
