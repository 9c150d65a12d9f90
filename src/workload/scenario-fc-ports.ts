// How a Fibre Channel target and the way to it are set up by hand, for traces: ports of the link, a subsystem with a disk, a
// port of the target with the subsystem, and the remote port that leads the host there.

import {
  nvmet_addr_adrfam_store,
  nvmet_addr_traddr_store,
  nvmet_addr_trsvcid_store,
  nvmet_addr_trtype_store,
  nvmet_ns_device_path_store,
  nvmet_ns_enable_store,
  nvmet_ns_make,
  nvmet_port_subsys_allow_link,
  nvmet_ports_make,
  nvmet_subsys_attr_allow_any_host_store,
  nvmet_subsys_make,
} from '../drivers/nvme/target/configfs.js'
import { nvmet_fc_add_port, type nvmet_fc_tgtport } from '../drivers/nvme/target/fc.js'
import {
  fcloop_create_local_port,
  fcloop_create_remote_port,
  fcloop_create_target_port,
} from '../drivers/nvme/target/fcloop.js'
import type { nvmet_subsys } from '../drivers/nvme/target/nvmet.js'
import { blkdev_get_by_path } from '../fs/block_dev-open.js'
import type { Sleep } from '../kernel/core.js'
import type { FabricStage } from './fabric-stage.js'

const NQN = 'nqn.2026-11.io.phasebit:by-hand'
const TARGET = 'wwnn=0x10000000000000cc,wwpn=0x20000000000000cc'
const TARGET_TRADDR = 'nn-0x10000000000000cc:pn-0x20000000000000cc'
const LOCAL = 'wwnn=0x10000000000000dd,wwpn=0x20000000000000dd'
const REMOTE = `${TARGET},lpwwnn=0x10000000000000dd,lpwwpn=0x20000000000000dd`

/** A program that does a part of it. */
export type Program = (name: string, body: () => Sleep<void>) => Promise<void>

function made<T>(port: T | number): T {
  if (typeof port === 'number') throw new Error(`a port could not be made: ${port}`)
  return port
}

// biome-ignore lint/correctness/useYield: nothing sleeps
function* told(what: () => void): Sleep<void> {
  what()
}

/** Sets everything up, program by program. */
export async function setUpFcPorts(stage: FabricStage, run: Program): Promise<void> {
  const { link, machine, target } = stage
  const disk = machine.disks[0]!
  let tport: nvmet_fc_tgtport | undefined
  let subsys!: nvmet_subsys
  await run('init', () =>
    told(() => {
      made(fcloop_create_local_port(link, LOCAL))
      tport = made(fcloop_create_target_port(link, TARGET))
    }),
  )
  await run('mkdir', () =>
    told(() => {
      subsys = nvmet_subsys_make(target, NQN, '2')
    }),
  )
  await run('init', () => told(() => nvmet_subsys_attr_allow_any_host_store(subsys, true)))
  let ns!: ReturnType<typeof nvmet_ns_make>
  await run('mkdir', () =>
    told(() => {
      ns = nvmet_ns_make(subsys, 1)
    }),
  )
  await run('init', function* () {
    nvmet_ns_device_path_store(ns, machine.host!.queue(disk), disk.config.sizeBytes)
    yield* nvmet_ns_enable_store(ns, blkdev_get_by_path)
  })
  let port!: ReturnType<typeof nvmet_ports_make>
  await run('mkdir', () =>
    told(() => {
      port = nvmet_ports_make(target, 2)
    }),
  )
  await run('init', () =>
    told(() => {
      nvmet_addr_trtype_store(port, 'fc')
      nvmet_addr_traddr_store(port, TARGET_TRADDR)
      nvmet_addr_trsvcid_store(port, 'none')
      nvmet_addr_adrfam_store(port, 'fc')
    }),
  )
  await run('ln', () =>
    told(
      () =>
        void nvmet_port_subsys_allow_link(port, subsys, subsystems =>
          nvmet_fc_add_port(tport!, subsystems),
        ),
    ),
  )
  await run('init', () => told(() => void made(fcloop_create_remote_port(link, REMOTE))))
}
