// What a connection of the target's TCP transport is made of: struct nvmet_tcp_queue and nvmet_tcp_cmd of
// drivers/nvme/target/tcp.c, Linux 5.10, their buffers, and how a connection ends.
//
// Buffers come from one pool (sgl-pool.ts), of which a queue may hold a part at most; a command without room waits in
// `hungry`, oldest first.
//
// Data in a capsule that find no room are not read as a rule, and the peer's window closes. That must not be while data are
// outstanding that R2Ts have asked for: they come behind the capsule, and only they give room back. Then what is in the
// capsule is kept beside the pool, in all as much as the pool has, and its command waits in `hungry` as well.

import { enter, leave } from '../../../kernel/trace.js'
import { wait_queue_head } from '../../../kernel/wait.js'
import { queue_work, schedule_work } from '../../../kernel/workqueue-queue.js'
import {
  delayed_work,
  work_struct,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import {
  nvme_tcp_c2h_term,
  nvme_tcp_reader,
  type pdu_digests,
  type pdu_sink,
  type pdu_violation,
  term_pdu,
} from '../nvme-tcp.js'
import { NVME_AQ_DEPTH, nvme_is_write } from '../nvme.js'
import { kernel_sendmsg, type socket } from '../socket.js'
import { nvmet_ctrl_fatal_error } from './core.js'
import { type nvmet, nvmet_cq, type nvmet_port, nvmet_req, nvmet_sq } from './nvmet.js'
import type { sgl_pool } from './sgl-pool.js'

/** A queue may hold this share of what is free: whoever takes no answers never has it all, however many queues it has. */
const QUEUE_SHARE = 4

/** What a port is made with. */
export interface nvmet_tcp_options {
  readonly portid: number
  readonly adrfam: number
  readonly traddr: string
  readonly trsvcid: string
  /** Bytes that an I/O capsule may carry, a multiple of 16. */
  readonly inline_data_size: number
  readonly maxh2cdata: number
  /** Connections at once. One more closes the oldest that is no queue yet, or is closed as it comes. */
  readonly max_queues: number
  readonly pool: sgl_pool
  /** Address for the discovery log as a connection sees it. */
  readonly local_address?: (sock: socket) => string | null
}

/** A port as its queues see it. */
export interface nvmet_tcp_port_of {
  readonly target: nvmet
  readonly options: nvmet_tcp_options
  readonly nport: nvmet_port
  readonly queues: Set<nvmet_tcp_queue>
  readonly wq: workqueue_struct
  /** Bytes of capsules that are kept beside the pool. */
  beside: number
}

const FREE = 0

/** Parsed; its data in the capsule are coming in, or it waits for a buffer. */
export const PARSED = 1

export const DATA_IN = 2

export const EXECUTING = 3

export const RESPONSE = 4

export class nvmet_tcp_command extends nvmet_req {
  readonly queue: nvmet_tcp_queue
  /** Its number, which is its transfer tag. */
  readonly ttag: number
  state: number = FREE
  /** Its buffer: address and bytes; 0 = none. */
  buffer = 0
  buffer_len = 0
  /** What its capsule brought, where the pool had no room. */
  beside: Uint8Array | null = null
  /** Bytes of data that have come. */
  rbytes_done = 0
  /** End of what the last R2T asked for. */
  r2t_end = 0
  r2t_due = false
  bad_digest = false

  constructor(queue: nvmet_tcp_queue, ttag: number) {
    super()
    this.queue = queue
    this.ttag = ttag
  }
}

export function queue_of(req: nvmet_req): nvmet_tcp_queue {
  if (req instanceof nvmet_tcp_command) return req.queue
  throw new Error('a request of another transport came to nvmet_tcp')
}

/** One connection. */
export class nvmet_tcp_queue {
  readonly port: nvmet_tcp_port_of
  readonly sock: socket
  readonly reader: nvme_tcp_reader
  readonly nvme_cq: nvmet_cq = new nvmet_cq()
  readonly nvme_sq: nvmet_sq
  readonly io_work: work_struct<nvmet_tcp_queue>
  readonly release_work: work_struct<nvmet_tcp_queue>
  readonly connect_work: delayed_work<nvmet_tcp_queue>
  readonly idle: wait_queue_head
  digests: pdu_digests = { hdr_digest: false, data_digest: false }
  readonly commands: nvmet_tcp_command[] = []
  readonly free: nvmet_tcp_command[] = []
  /** In the order of their ends; R2Ts that are due among them. */
  readonly resp_list: nvmet_tcp_command[] = []
  /** Ready to be executed. */
  readonly ready: nvmet_tcp_command[] = []
  /** In need of a buffer. */
  readonly hungry: nvmet_tcp_command[] = []
  /** Bytes of the pool. */
  held = 0
  /** Executing: their end comes from elsewhere. */
  inflight = 0
  closing = false
  waits = false
  /** Whose data are coming; null = they are dropped. */
  receiving: nvmet_tcp_command | null = null

  /** @param sink takes what the connection's reader finds */
  constructor(port: nvmet_tcp_port_of, sock: socket, sink: (queue: nvmet_tcp_queue) => pdu_sink) {
    const { k } = port.target.blk
    this.port = port
    this.sock = sock
    this.nvme_sq = new nvmet_sq(this)
    this.reader = new nvme_tcp_reader('host', sink(this))
    this.io_work = new work_struct<nvmet_tcp_queue>(k, this)
    this.release_work = new work_struct<nvmet_tcp_queue>(k, this)
    this.connect_work = new delayed_work<nvmet_tcp_queue>(k, this)
    this.idle = new wait_queue_head(k, 'commands of a closing queue')
  }

  /** Commands that may be outstanding: as many as the queue has entries. */
  get nr_cmds(): number {
    return this.nvme_sq.size || NVME_AQ_DEPTH
  }
}

export function kick(queue: nvmet_tcp_queue): void {
  queue_work(queue.port.wq, queue.io_work)
}

/** The queue is done for: nothing more is read or sent. */
export function close(queue: nvmet_tcp_queue): void {
  if (queue.closing) return
  queue.closing = true
  queue.sock.sk_data_ready = () => {}
  queue.sock.sk_write_space = () => {}
  queue.sock.sk_state_change = () => {}
  queue.sock.kernel_sock_shutdown()
  schedule_work(queue.io_work.k, queue.release_work)
}

/** The peer broke a rule: it is told which, and that was it. */
export function nvmet_tcp_fatal_error(queue: nvmet_tcp_queue, what: pdu_violation): void {
  const t = enter(queue.io_work.k, 'nvmet_tcp_fatal_error')
  kernel_sendmsg(queue.sock, term_pdu(nvme_tcp_c2h_term, what, queue.reader.header))
  const { ctrl } = queue.nvme_sq
  if (ctrl) nvmet_ctrl_fatal_error(ctrl)
  close(queue)
  leave(queue.io_work.k, t)
}

// ---------------------------------------------------------------- buffers

/** Gets the buffer of a command; false when it has to wait. */
export function get_buffer(cmd: nvmet_tcp_command): boolean {
  const { queue, transfer_len } = cmd
  if (transfer_len === 0) return true
  const { pool } = queue.port.options
  const sg = has_share(queue, transfer_len) ? pool.alloc(transfer_len) : 0
  if (sg === 0) return false
  hold(cmd, sg, transfer_len)
  cmd.sg = sg
  return true
}

function hold(cmd: nvmet_tcp_command, sg: number, bytes: number): void {
  cmd.buffer = sg
  cmd.buffer_len = bytes
  cmd.queue.held += cmd.queue.port.options.pool.rounded(bytes)
}

function has_share(queue: nvmet_tcp_queue, bytes: number): boolean {
  const { pool } = queue.port.options
  const free = pool.bytes - pool.used
  return queue.held === 0 || queue.held + pool.rounded(bytes) <= free / QUEUE_SHARE
}

/**
 * Gets room for what a capsule brings: in the pool, or beside it if there is none and this connection must be read on;
 * false when the capsule has to wait.
 */
export function get_capsule_buffer(cmd: nvmet_tcp_command, bytes: number): boolean {
  const { queue } = cmd
  const { port } = queue
  const { pool } = port.options
  const sg = has_share(queue, bytes) ? pool.alloc(bytes) : 0
  if (sg !== 0) {
    hold(cmd, sg, bytes)
    return true
  }
  const asked = queue.commands.some(({ state }) => state === DATA_IN)
  if (!asked || port.beside + bytes > pool.bytes) return false
  cmd.beside = new Uint8Array(bytes)
  port.beside += bytes
  return true
}

function put_beside(cmd: nvmet_tcp_command): void {
  if (cmd.beside === null) return
  cmd.queue.port.beside -= cmd.beside.length
  cmd.beside = null
}

export function put_buffer(cmd: nvmet_tcp_command): void {
  put_beside(cmd)
  if (cmd.buffer_len === 0) return
  const { pool } = cmd.queue.port.options
  const { buffer, buffer_len } = cmd
  cmd.queue.held -= pool.rounded(buffer_len)
  cmd.buffer = 0
  cmd.buffer_len = 0
  pool.free(buffer, buffer_len)
}

/** The queue goes on when there is room again. */
export function wait_for_room(queue: nvmet_tcp_queue): void {
  if (queue.waits) return
  queue.waits = true
  queue.port.options.pool.wait(() => {
    queue.waits = false
    if (!queue.closing) kick(queue)
  })
}

/** Gives buffers to commands that lack one, oldest first. */
export function feed_hungry(queue: nvmet_tcp_queue): boolean {
  const { hungry } = queue
  let fed = false
  while (hungry.length > 0 && get_buffer(hungry[0]!)) {
    start_data(hungry.shift()!)
    fed = true
  }
  if (hungry.length > 0) wait_for_room(queue)
  return fed
}

/** A command has its buffer: its data are there, are asked for, or it can be executed. */
export function start_data(cmd: nvmet_tcp_command): void {
  if (cmd.beside !== null) {
    cmd.queue.port.target.blk.view.bytes.set(cmd.beside, cmd.sg)
    put_beside(cmd)
    cmd.queue.ready.push(cmd)
  } else if (nvme_is_write(cmd.cmd) && cmd.transfer_len > 0) {
    cmd.state = DATA_IN
    cmd.r2t_due = true
    cmd.queue.resp_list.push(cmd)
  } else cmd.queue.ready.push(cmd)
}

export function get_cmd(queue: nvmet_tcp_queue): nvmet_tcp_command | null {
  const free = queue.free.pop()
  if (free) return free
  if (queue.commands.length >= queue.nr_cmds) return null
  const cmd = new nvmet_tcp_command(queue, queue.commands.length)
  queue.commands.push(cmd)
  return cmd
}

export function put_cmd(cmd: nvmet_tcp_command): void {
  put_buffer(cmd)
  cmd.state = FREE
  cmd.queue.free.push(cmd)
}
