// A target for real hosts: a machine that keeps pace with the host's clock, an nvmet subsystem over its disks, and a port
// of listening TCP sockets.
//
// Each disk is a namespace, in their order from 1. With a store file per disk, what was written is there again the next
// time; without, a target begins empty. Names of namespaces are made of the subsystem's name, so that a host finds the
// same ones after a restart.
//
// Limits, so that neither a slow reader nor a flood of connections makes memory grow: MAX_QUEUES connections (one more
// closes the oldest that is no queue yet, or is closed as it comes); POOL_BYTES of data for all commands together, of which
// a connection gets a quarter of what is free, and as much again for data in capsules that cannot wait; as many commands a
// connection as its queue has entries; 256 KiB waiting in each direction of a socket.

import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import { resolve } from 'node:path'
import { blkdev_write_iter } from '../fs/block_dev.js'
import { UserError } from '../core/errors.js'
import { nvmet_ns_enable, nvmet_subsys_alloc } from '../drivers/nvme/target/core.js'
import { nvmet_bdev_ns } from '../drivers/nvme/target/io-cmd-bdev.js'
import { nvmet, NVMET_NR_QUEUES, type nvmet_subsys } from '../drivers/nvme/target/nvmet.js'
import { sgl_pool } from '../drivers/nvme/target/sgl-pool.js'
import { nvmet_tcp_alloc_queue, nvmet_tcp_port } from '../drivers/nvme/target/tcp.js'
import {
  NVME_DISC_SUBSYS_NAME,
  NVMF_ADDR_FAMILY_IP4,
  NVMF_ADDR_FAMILY_IP6,
  NVMF_NQN_SIZE,
} from '../drivers/nvme/nvme.js'
import type { socket } from '../drivers/nvme/socket.js'
import { DiskImage } from '../machine/disk-image.js'
import { hostKernelBytes } from '../machine/host-kernel.js'
import { bootMachine, type Disk, type Machine } from '../machine/machine.js'
import { DEFAULT_MACHINE, parseDevices } from '../machine/spec-parse.js'
import { listenTcp, type TcpListener, TcpStack } from '../machine/tcp-socket.js'
import { builtOnly, diskConfig } from './machine-config.js'

const POOL_BYTES = 64 * 2 ** 20
const MAX_QUEUES = 1024
const INLINE_BYTES = 16384
const MAXH2CDATA = 131072
/** 2^8 pages of 4 KiB: 1 MiB. */
const MDTS = 8
const HZ = 250
const LOAD_BYTES = 2 ** 20
const PAGE = 4096

/** The name of a target that was given none. */
export const DEFAULT_NQN = 'nqn.2026-11.io.phasebit:target'

export interface ServeOptions {
  readonly address: string
  /** 0 = any that is free. */
  readonly port: number
  readonly nqn?: string
  /** Names of hosts that may connect; none = all. */
  readonly allowHosts?: readonly string[]
  /** Disks, as after --device. */
  readonly devices?: readonly string[]
  /** Files that keep the disks' data, in their order. */
  readonly stores?: readonly string[]
  readonly memBytes?: number
  readonly seed?: number
  /** Largest data of one H2CData PDU. */
  readonly maxh2cdata?: number
  /** Bytes of data that an I/O capsule may carry. */
  readonly inlineBytes?: number
  /** Bytes for the data of all commands, a power of two from 4 MiB. */
  readonly poolBytes?: number
  readonly maxQueues?: number
  /** Called when the target cannot go on. */
  readonly onFailure?: (error: unknown) => void
}

/** @throws UserError */
export function checkNqn(nqn: string, what: string): string {
  if (nqn.length === 0 || nqn.length >= NVMF_NQN_SIZE || !/^nqn\.[\x21-\x7e]+$/.test(nqn))
    throw new UserError(
      `${what} ${nqn}: a name begins with nqn. and has less than ${NVMF_NQN_SIZE} characters`,
    )
  if (what === '--nqn' && nqn === NVME_DISC_SUBSYS_NAME)
    throw new UserError(`--nqn ${nqn}: is the discovery subsystem's name`)
  return nqn
}

/** A target that can be connected to. */
export interface Target {
  readonly address: string
  readonly port: number
  readonly nqn: string
  readonly disks: readonly { readonly name: string; readonly bytes: number }[]
  readonly facts: () => TargetFacts
  close(): Promise<void>
}

/** What a target holds at the moment. */
export interface TargetFacts {
  readonly connections: number
  readonly controllers: number
  /** Bytes of command data that are held. */
  readonly heldBytes: number
  /** Bytes of capsules that are kept beside those. */
  readonly besideBytes: number
  readonly balanced: boolean
}

/**
 * Boots a machine and lets it listen.
 * @throws UserError for options that contradict themselves, OutputError when the address cannot be had
 */
export async function openTarget(options: ServeOptions): Promise<Target> {
  const target = new ServedTarget(options)
  try {
    await target.start()
  } catch (error) {
    await target.close()
    throw error
  }
  return target
}

class ServedTarget implements Target {
  readonly address: string
  readonly nqn: string
  port: number
  readonly #options: ServeOptions
  readonly #machine: Machine
  readonly #stack: TcpStack
  readonly #nvmet: nvmet
  readonly #subsys: nvmet_subsys
  readonly #images: readonly (DiskImage | null)[]
  readonly #pool: sgl_pool
  readonly #sockets = new Map<socket, Socket>()
  #tcp!: nvmet_tcp_port
  #listener: TcpListener | undefined
  #closed = false

  constructor(options: ServeOptions) {
    this.#options = options
    this.address = options.address
    this.port = options.port
    this.nqn = checkNqn(options.nqn ?? DEFAULT_NQN, '--nqn')
    const poolBytes = options.poolBytes ?? POOL_BYTES
    this.#machine = boot(options, poolBytes)
    this.#images = openImages(this.#machine.disks, options.stores ?? [])
    this.#stack = new TcpStack(this.#machine)
    this.#pool = new sgl_pool(this.#machine.alloc(poolBytes, PAGE), poolBytes)
    this.#nvmet = new nvmet(this.#machine.host!.blk, {
      traffic_based_keep_alive: true,
      mdts: MDTS,
      model: 'phasebit',
      firmware: '1',
    })
    this.#subsys = this.#makeSubsystem()
  }

  get disks(): Target['disks'] {
    return this.#machine.disks.map(({ config }) => ({
      name: config.name,
      bytes: config.sizeBytes,
    }))
  }

  #failed(error: unknown): void {
    if (this.#options.onFailure) this.#options.onFailure(error)
    else throw error
  }

  #makeSubsystem(): nvmet_subsys {
    const serial = digest(this.nqn).subarray(0, 8).toString('hex')
    const subsys = nvmet_subsys_alloc(this.#nvmet, this.nqn, serial, NVMET_NR_QUEUES)
    const allowed = (this.#options.allowHosts ?? []).map(nqn => checkNqn(nqn, '--allow-host'))
    subsys.allow_any_host = allowed.length === 0
    for (const nqn of allowed) subsys.hosts.add(nqn)
    for (const [i, disk] of this.#machine.disks.entries()) {
      const nsid = i + 1
      const id = digest(`${this.nqn} ${nsid}`)
      nvmet_ns_enable(
        nvmet_bdev_ns({
          nsid,
          subsys,
          bdev: this.#machine.host!.queue(disk),
          bytes: disk.config.sizeBytes,
          uuid: uuidOf(id.subarray(0, 16)),
          nguid: Uint8Array.from(id.subarray(16, 32)),
          persist: this.#images[i] ?? null,
        }),
      )
    }
    return subsys
  }

  async start(): Promise<void> {
    await this.#machine.start()
    await this.#load()
    const { address, port } = this.#options
    this.#listener = await listenTcp(address, port, connection => this.#accept(connection))
    this.port = this.#listener.port
    this.#tcp = new nvmet_tcp_port(
      this.#nvmet,
      {
        portid: 1,
        adrfam: address.includes(':') ? NVMF_ADDR_FAMILY_IP6 : NVMF_ADDR_FAMILY_IP4,
        traddr: address,
        trsvcid: String(this.port),
        inline_data_size: this.#options.inlineBytes ?? INLINE_BYTES,
        maxh2cdata: this.#options.maxh2cdata ?? MAXH2CDATA,
        max_queues: this.#options.maxQueues ?? MAX_QUEUES,
        pool: this.#pool,
        local_address: sock =>
          this.#sockets.get(sock)?.localAddress?.replace(/^::ffff:/, '') ?? null,
      },
      [this.#subsys],
    )
    void this.#run()
  }

  /** Until close(). */
  async #run(): Promise<void> {
    try {
      while (!this.#closed) await this.#machine.run()
    } catch (error) {
      this.#failed(error)
    }
  }

  #accept(connection: Socket): void {
    const sock = this.#stack.socket(connection)
    this.#sockets.set(sock, connection)
    connection.once('close', () => this.#sockets.delete(sock))
    nvmet_tcp_alloc_queue(this.#tcp, sock)
    this.#stack.poke()
  }

  /** What the files hold goes onto the disks. */
  async #load(): Promise<void> {
    const machine = this.#machine
    const { host, view, disks } = machine
    const data = this.#pool.alloc(LOAD_BYTES)
    for (const [i, image] of this.#images.entries()) {
      if (image === null) continue
      const q = host!.queue(disks[i]!)
      let over = false
      host!.k.spawn('load', function* () {
        for (const piece of image.pieces(LOAD_BYTES)) {
          view.bytes.set(piece.data, data)
          const at = { pos: piece.offset, bytes: piece.data.length, data }
          const status = yield* blkdev_write_iter({ q, write: true, ...at })
          if (status !== 0) throw new Error('the data of --store do not fit; raise --mem')
        }
        over = true
        machine.interrupt()
      })
      while (!over) await machine.run()
    }
    this.#pool.free(data, LOAD_BYTES)
  }

  facts(): TargetFacts {
    return {
      connections: this.#tcp.queues.size,
      controllers: this.#subsys.ctrls.length,
      heldBytes: this.#pool.used,
      besideBytes: this.#tcp.beside,
      balanced: this.#machine.books().balanced,
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#sockets.values()) connection.destroy()
    await this.#listener?.close()
    this.#closed = true
    for (const image of this.#images) {
      image?.flush()
      image?.close()
    }
    await this.#machine.stop()
  }
}

function boot(options: ServeOptions, poolBytes: number): Machine {
  const specs = parseDevices(options.devices ?? ['nvme,model=ram']).map(builtOnly)
  const stores = options.stores?.length ?? 0
  if (stores > specs.length)
    throw new UserError(`--store: there are ${stores} files for ${specs.length} disks`)
  return bootMachine({
    clock: 'virtual',
    cpus: 1,
    hz: HZ,
    seed: options.seed ?? 0,
    lat: 'none',
    stages: false,
    trace: false,
    memBytes: options.memBytes ?? DEFAULT_MACHINE.memBytes,
    disks: specs.map(spec => diskConfig(spec, 'virtual', 0, 1)),
    extraBytes: hostKernelBytes(1, specs.length) + poolBytes + 2 * PAGE,
    jobs: 0,
    kernel: {},
    paced: true,
  })
}

function openImages(disks: readonly Disk[], stores: readonly string[]): (DiskImage | null)[] {
  const twice = stores.find((path, i) =>
    stores.slice(0, i).some(one => resolve(one) === resolve(path)),
  )
  if (twice !== undefined)
    throw new UserError(`--store ${twice}: each disk needs a file of its own`)
  const images: (DiskImage | null)[] = []
  try {
    for (const [i, { config }] of disks.entries())
      images.push(stores[i] === undefined ? null : new DiskImage(stores[i], config.sizeBytes))
  } catch (error) {
    for (const image of images) image?.close()
    throw error
  }
  return images
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** 16 bytes as a UUID of version 8 (made of whatever its maker likes). */
function uuidOf(bytes: Uint8Array): Uint8Array {
  const uuid = Uint8Array.from(bytes)
  uuid[6] = (uuid[6]! & 0x0f) | 0x80
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  return uuid
}
