// The objects of the NVMe target: drivers/nvme/target/nvmet.h of Linux 4.19 and 5.10.
//
//   nvmet_port ── lists ──▶ nvmet_subsys ── has ──▶ nvmet_ns ── reads and writes ──▶ request_queue of the machine
//                                │
//                                └── nvmet_ctrl (one for each admin Connect) ── nvmet_sq, nvmet_cq (one pair for each queue)
//
// A transport has a queue with one nvmet_sq and one nvmet_cq, receives commands, and makes an nvmet_req of each:
//
//   nvmet_req_init      what the command means; false when it has been answered already, with an error
//   req.execute         after its data are there (req.sg, req.transfer_len)
//   ops.queue_response  called once for every request, with req.rsp filled
//
// Data lie in the machine's memory at req.sg, in one piece: a scatter list of one entry.
//
// Not modelled: configfs as a file system (configfs.ts has the functions behind some of its files), ANA, reservations, passthrough controllers,
// namespaces on files, P2P memory.

import type { BlockLayer, request_queue } from '../../../block/blkdev.js'
import type { Sleep } from '../../../kernel/core.js'
import { wait_queue_head } from '../../../kernel/wait.js'
import { delayed_work, work_struct } from '../../../kernel/workqueue-structs.js'
import { CMD_BYTES, RSP_BYTES } from '../nvme.js'

/** Largest queue: 1024 entries (CAP.MQES 1023). */
export const NVMET_QUEUE_SIZE = 1024
export const NVMET_NR_QUEUES = 128
export const NVMET_MAX_CMD: number = NVMET_QUEUE_SIZE
export const NVMET_ASYNC_EVENTS = 4
export const NVMET_MIN_CNTLID = 1
export const NVMET_MAX_CNTLID = 0xffef
/** Keep-alive granularity, units of 100 ms. */
export const NVMET_KAS = 10
/** Seconds for a discovery controller that asked for no keep-alive. */
export const NVMET_DISC_KATO = 120
/** Changed namespaces that are remembered. */
export const NVME_MAX_CHANGED_NAMESPACES = 1024

/** What a transport gives the target. */
export interface nvmet_fabrics_ops {
  /** NVMF_TRTYPE_*. */
  readonly type: number
  readonly msdbd: number
  readonly has_keyed_sgls: boolean
  /** Bytes of data that an I/O capsule may carry; 0 = none. */
  readonly inline_data_size: number
  /** The transport's part of opening a port. */
  readonly add_port?: (port: nvmet_port) => void
  readonly queue_response: (req: nvmet_req) => void
  /** The association ends: every queue of this controller is dropped. */
  readonly delete_ctrl: (ctrl: nvmet_ctrl) => void
  /** Address for the discovery log, where it depends on the connection it is read over. */
  readonly disc_traddr?: (req: nvmet_req) => string
}

/** How one machine's target behaves. */
export interface nvmet_options {
  /** Any command counts as a sign of life (5.10); else only Keep Alive does (4.19). */
  readonly traffic_based_keep_alive: boolean
  /** Largest transfer as a power of two of 4 KiB; 0 = no limit. */
  readonly mdts: number
  readonly model: string
  readonly firmware: string
}

/** The target of one machine: what its module keeps in globals. */
export class nvmet {
  readonly blk: BlockLayer
  readonly options: nvmet_options
  readonly ports: nvmet_port[] = []
  /** Grows with every change that a discovery log shows. */
  genctr = 0
  readonly cntlids: Set<number> = new Set()
  /** The discovery subsystem, which every port has. */
  disc_subsys: nvmet_subsys | null = null
  /** Requests that wait for a bio. */
  readonly bio_wait: wait_queue_head

  constructor(blk: BlockLayer, options: nvmet_options) {
    this.blk = blk
    this.options = options
    this.bio_wait = new wait_queue_head(blk.k, 'a bio of the target')
  }
}

export interface nvmet_port {
  readonly portid: number
  readonly trtype: number
  readonly adrfam: number
  readonly traddr: string
  readonly trsvcid: string
  readonly subsystems: nvmet_subsys[]
  readonly ops: nvmet_fabrics_ops
}

export interface nvmet_ns {
  readonly nsid: number
  readonly subsys: nvmet_subsys
  readonly bdev: request_queue
  readonly blksize_shift: number
  readonly bytes: number
  readonly uuid: Uint8Array
  readonly nguid: Uint8Array
  /** Keeps what was written somewhere else as well, before the command is answered. */
  readonly persist: nvmet_persist | null
  enabled: boolean
  /** Units as in the SMART log: counted in bytes here. */
  read_bytes: number
  written_bytes: number
  reads: number
  writes: number
}

/** Where writes are kept beside the disk; errors are positive errnos, 0 = good. */
export interface nvmet_persist {
  write(offset: number, data: Uint8Array): number
  discard(offset: number, bytes: number): number
  flush(): number
}

export class nvmet_subsys {
  readonly target: nvmet
  readonly subsysnqn: string
  /** NVME_NQN_DISC or NVME_NQN_NVME. */
  readonly type: number
  readonly serial: string
  readonly max_qid: number
  allow_any_host = true
  readonly hosts: Set<string> = new Set()
  readonly namespaces: Map<number, nvmet_ns> = new Map()
  readonly ctrls: nvmet_ctrl[] = []

  constructor(target: nvmet, subsysnqn: string, type: number, serial: string, max_qid: number) {
    this.target = target
    this.subsysnqn = subsysnqn
    this.type = type
    this.serial = serial
    this.max_qid = max_qid
  }
}

export class nvmet_cq {
  qid = 0
  size = 0
}

export class nvmet_sq {
  ctrl: nvmet_ctrl | null = null
  qid = 0
  /** 0 until Connect. */
  size = 0
  sqhd = 0
  sqhd_disabled = false
  /** The transport's queue, for its own eyes. */
  readonly queue: unknown

  constructor(queue: unknown = null) {
    this.queue = queue
  }
}

/** One command. */
export class nvmet_req {
  readonly cmd: Uint8Array = new Uint8Array(CMD_BYTES)
  readonly rsp: Uint8Array = new Uint8Array(RSP_BYTES)
  sq!: nvmet_sq
  cq!: nvmet_cq
  port!: nvmet_port
  ops!: nvmet_fabrics_ops
  ns: nvmet_ns | null = null
  /** Address of the data; 0 = none. */
  sg = 0
  transfer_len = 0
  /** What the command itself says about its length. */
  data_len = 0
  execute: nvmet_execute = no_execute
}

/** What a command does: plain, or a generator if it may sleep. */
export type nvmet_execute = (req: nvmet_req) => Sleep<void> | undefined

function no_execute(): undefined {
  throw new Error('a request of the target was executed before it was parsed')
}

export class nvmet_ctrl {
  readonly subsys: nvmet_subsys
  readonly cntlid: number
  readonly port: nvmet_port
  readonly ops: nvmet_fabrics_ops
  readonly hostid: Uint8Array
  readonly hostnqn: string
  readonly cap: bigint
  cc = 0
  csts = 0
  /** Seconds; 0 = no keep-alive. */
  kato: number
  /** A command came since the keep-alive timer was set. */
  cmd_seen = false
  readonly sqs: Map<number, nvmet_sq> = new Map()
  readonly cqs: Map<number, nvmet_cq> = new Map()
  ref = 1
  aen_enabled = 0
  /** Events that were reported and whose log was not read. */
  aen_masked = 0
  readonly async_event_cmds: nvmet_req[] = []
  readonly async_events: { type: number; info: number; log: number }[] = []
  /** Changed namespaces since the log was read; null = too many. */
  changed_ns: number[] | null = []
  readonly async_event_work: work_struct<nvmet_ctrl>
  readonly fatal_err_work: work_struct<nvmet_ctrl>
  readonly ka_work: delayed_work<nvmet_ctrl>

  constructor(
    subsys: nvmet_subsys,
    cntlid: number,
    port: nvmet_port,
    host: { readonly hostid: Uint8Array; readonly hostnqn: string },
    cap: bigint,
    kato: number,
  ) {
    const { k } = subsys.target.blk
    this.subsys = subsys
    this.cntlid = cntlid
    this.port = port
    this.ops = port.ops
    this.hostid = host.hostid
    this.hostnqn = host.hostnqn
    this.cap = cap
    this.kato = kato
    this.async_event_work = new work_struct<nvmet_ctrl>(k, this)
    this.fatal_err_work = new work_struct<nvmet_ctrl>(k, this)
    this.ka_work = new delayed_work<nvmet_ctrl>(k, this)
  }
}
