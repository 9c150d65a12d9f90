// The TCP transport of the target: drivers/nvme/target/tcp.c of Linux 5.10 (4.19 has none), with the specification's

import type { Sleep } from '../../../kernel/core.js'
import { enter, leave } from '../../../kernel/trace.js'
import { wait_event } from '../../../kernel/wait.js'
import { alloc_workqueue } from '../../../kernel/workqueue-alloc.js'
import { cancel_delayed_work } from '../../../kernel/workqueue-cancel.js'
import {
  INIT_DELAYED_WORK,
  INIT_WORK,
  schedule_delayed_work,
} from '../../../kernel/workqueue-queue.js'
import {
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  type work_struct,
  type workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import { NVMF_TRTYPE_TCP } from '../nvme.js'
import type { socket } from '../socket.js'
import {
  nvmet_async_events,
  nvmet_enable_port,
  nvmet_req_execute,
  nvmet_sq_destroy,
} from './core.js'
import type { nvmet, nvmet_ctrl, nvmet_port, nvmet_req, nvmet_subsys } from './nvmet.js'
import {
  EXECUTING,
  close,
  feed_hungry,
  kick,
  type nvmet_tcp_options,
  type nvmet_tcp_port_of,
  nvmet_tcp_queue,
  put_buffer,
  queue_of,
} from './tcp-queue.js'
import { nvmet_tcp_try_recv, sink_of } from './tcp-recv.js'
import { nvmet_tcp_queue_response, nvmet_tcp_try_send } from './tcp-send.js'

/** Rounds of receiving and sending in one go of a queue's work. */
const IO_WORK_BUDGET = 64

/** Seconds that a connection may take to become a queue. */
const CONNECT_SECONDS = 30

/** Connections beyond the limit, for as long as those that made room for them take to end. */
const ENDING = 64

/** One listening address. */
export class nvmet_tcp_port implements nvmet_tcp_port_of {
  readonly target: nvmet
  readonly options: nvmet_tcp_options
  readonly nport: nvmet_port
  readonly queues: Set<nvmet_tcp_queue> = new Set()
  readonly wq: workqueue_struct
  beside = 0

  constructor(target: nvmet, options: nvmet_tcp_options, subsystems: readonly nvmet_subsys[]) {
    this.target = target
    this.options = options
    const wq = alloc_workqueue(target.blk.k, 'nvmet_tcp_wq', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)
    if (wq === null) throw new Error('nvmet_tcp_wq could not be made')
    this.wq = wq
    const { portid, adrfam, traddr, trsvcid, inline_data_size, local_address } = options
    const address = { portid, trtype: NVMF_TRTYPE_TCP, adrfam, traddr, trsvcid }
    const sock_of = (req: nvmet_req): socket => queue_of(req).sock
    this.nport = nvmet_enable_port(
      target,
      address,
      {
        type: NVMF_TRTYPE_TCP,
        msdbd: 1,
        has_keyed_sgls: false,
        inline_data_size,
        queue_response: nvmet_tcp_queue_response,
        delete_ctrl: ctrl => nvmet_tcp_delete_ctrl(this, ctrl),
        ...(local_address
          ? { disc_traddr: req => local_address(sock_of(req)) ?? options.traddr }
          : {}),
      },
      subsystems,
    )
  }
}

// ---------------------------------------------------------------- connections

/** Whether there is room for one more: if there is none, who has been there longest without a queue makes some. */
function make_room(port: nvmet_tcp_port): boolean {
  const { max_queues } = port.options
  if (port.queues.size < max_queues) return true
  if (port.queues.size >= max_queues + ENDING) return false
  for (const queue of port.queues) {
    if (queue.closing || queue.nvme_sq.ctrl !== null) continue
    close(queue)
    return true
  }
  return false
}

/** A connection came in. */
export function nvmet_tcp_alloc_queue(port: nvmet_tcp_port, sock: socket): nvmet_tcp_queue | null {
  const { k } = port.target.blk
  const t = enter(k, 'nvmet_tcp_alloc_queue')
  if (!make_room(port)) {
    sock.sock_release()
    return leave(k, t, null)
  }
  const queue = new nvmet_tcp_queue(port, sock, sink_of)
  INIT_WORK(queue.io_work, nvmet_tcp_io_work)
  INIT_WORK(queue.release_work, nvmet_tcp_release_queue_work)
  INIT_DELAYED_WORK(queue.connect_work, nvmet_tcp_connect_timeout)
  schedule_delayed_work(k, queue.connect_work, CONNECT_SECONDS * k.hz)
  port.queues.add(queue)
  sock.sk_data_ready = () => nvmet_tcp_data_ready(queue)
  sock.sk_write_space = () => kick(queue)
  sock.sk_state_change = () => nvmet_tcp_state_change(queue)
  if (sock.closed) close(queue)
  else kick(queue)
  return leave(k, t, queue)
}

function nvmet_tcp_data_ready(queue: nvmet_tcp_queue): void {
  const t = enter(queue.io_work.k, 'nvmet_tcp_data_ready')
  kick(queue)
  leave(queue.io_work.k, t)
}

function nvmet_tcp_state_change(queue: nvmet_tcp_queue): void {
  const t = enter(queue.io_work.k, 'nvmet_tcp_state_change')
  if (queue.sock.closed) close(queue)
  leave(queue.io_work.k, t)
}

/** Nobody connected a queue over this connection. */
function nvmet_tcp_connect_timeout(work: work_struct<nvmet_tcp_queue>): void {
  const queue = work.container
  if (queue.nvme_sq.ctrl === null) close(queue)
}

function nvmet_tcp_delete_ctrl(port: nvmet_tcp_port, ctrl: nvmet_ctrl): void {
  const { k } = port.target.blk
  const t = enter(k, 'nvmet_tcp_delete_ctrl')
  for (const queue of port.queues) if (queue.nvme_sq.ctrl === ctrl) close(queue)
  leave(k, t)
}

function* nvmet_tcp_release_queue_work(work: work_struct<nvmet_tcp_queue>): Sleep<void> {
  const queue = work.container
  const { port } = queue
  const t = enter(work.k, 'nvmet_tcp_release_queue_work')
  cancel_delayed_work(queue.connect_work)
  for (const list of [queue.resp_list, queue.ready, queue.hungry]) list.length = 0
  yield* wait_event(queue.idle, () => queue.inflight === nvmet_async_events(queue.nvme_sq))
  yield* nvmet_sq_destroy(port.target, queue.nvme_sq)
  for (const cmd of queue.commands) put_buffer(cmd)
  port.queues.delete(queue)
  leave(work.k, t)
}

// ---------------------------------------------------------------- the work

function* execute_ready(queue: nvmet_tcp_queue): Sleep<void> {
  while (queue.ready.length > 0 && !queue.closing) {
    const cmd = queue.ready.shift()!
    cmd.state = EXECUTING
    queue.inflight++
    const sleep = nvmet_req_execute(cmd)
    if (sleep !== undefined) yield* sleep
  }
}

function* nvmet_tcp_io_work(work: work_struct<nvmet_tcp_queue>): Sleep<void> {
  const queue = work.container
  const t = enter(work.k, 'nvmet_tcp_io_work')
  let pending = true
  for (let round = 0; pending && round < IO_WORK_BUDGET && !queue.closing; round++) {
    pending = nvmet_tcp_try_recv(queue)
    if (feed_hungry(queue)) pending = true
    if (queue.ready.length > 0) {
      yield* execute_ready(queue)
      pending = true
    }
    while (nvmet_tcp_try_send(queue)) pending = true
  }
  if (pending && !queue.closing) kick(queue)
  leave(work.k, t)
}
