// Connections of the RDMA host, by the connection manager's events: nvme_rdma_cm_handler, nvme_rdma_alloc_queue and how a
// queue stops, drivers/nvme/host/rdma.c of Linux 4.19.
//
//   address → route → connect (identifier and sizes of the queue) → established; each step within NVME_RDMA_CONNECT_TIMEOUT_MS
//   disconnected, device removed: error recovery

import { complete, wait_for_completion_timeout } from '../../../kernel/completion.js'
import type { Sleep } from '../../../kernel/core.js'
import { ECONNRESET, EHOSTUNREACH, ENOMEM } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { put16 } from '../bytes.js'
import { ib_mr_pool_destroy, ib_mr_pool_init } from '../mr-pool.js'
import { RDMA_CM_REQ_BYTES, type rdma_event } from '../verbs.js'
import { ctrl_log } from './core-cmd.js'
import { nvmf_error_recovery } from './fabrics-ctrl.js'
import type { nvmf_life } from './fabrics-life.js'
import { nvme_rdma_post_recv } from './rdma-io.js'
import type { nvme_ctrl } from './nvme.js'
import { type nvme_rdma_module, nvme_rdma_queue, queue_at } from './rdma-queue.js'

/** ms for each step of a connection. */
const NVME_RDMA_CONNECT_TIMEOUT_MS = 3000

/** Private data of the connection request. */
function cm_request(queue: nvme_rdma_queue): Uint8Array {
  const data = new Uint8Array(RDMA_CM_REQ_BYTES)
  const { qid, size, life } = queue
  put16(data, 2, qid)
  put16(data, 4, qid === 0 ? size : life.ctrl.sqsize + 1)
  put16(data, 6, qid === 0 ? size - 1 : life.ctrl.sqsize)
  return data
}

function connected(queue: nvme_rdma_queue, error: number): void {
  queue.cm_error = error
  queue.waiting = false
  complete(queue.cm_done)
}

export function nvme_rdma_cm_handler(
  m: nvme_rdma_module,
  queue: nvme_rdma_queue,
  { event }: rdma_event,
): void {
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_cm_handler')
  switch (event) {
    case 'ADDR_RESOLVED': {
      const error = nvme_rdma_create_queue_ib(m, queue)
      if (error) connected(queue, error)
      else called(k, 'rdma_resolve_route', () => queue.cm_id.rdma_resolve_route())
      break
    }
    case 'ROUTE_RESOLVED':
      called(k, 'rdma_connect', () => queue.cm_id.rdma_connect(cm_request(queue)))
      break
    case 'ESTABLISHED':
      for (let n = 0; n < queue.size; n++) nvme_rdma_post_recv(queue)
      connected(queue, 0)
      break
    case 'REJECTED':
      nvme_rdma_destroy_queue_ib(m, queue)
      connected(queue, -ECONNRESET)
      break
    case 'DISCONNECTED':
      if (queue.waiting) connected(queue, -ECONNRESET)
      else nvmf_error_recovery(queue.life)
      break
    default:
      connected(queue, -EHOSTUNREACH)
  }
  leave(k, t)
}

/** A call of the fabric's, under its name. */
function called(k: nvme_ctrl['k'], name: string, what: () => void): void {
  const t = enter(k, name)
  what()
  leave(k, t)
}

/** A request sends up to three times: registration of its memory, command, invalidation. */
const SEND_WR_FACTOR = 3

/** Pages of one region: NVME_RDMA_MAX_SEGMENTS. */
const MAX_FR_PAGES = 256

/**
 * The queue pair, a receive buffer for each response, a region of memory for each request. One more of each: to drain it.
 * @returns 0 or -ENOMEM
 */
function nvme_rdma_create_queue_ib(m: nvme_rdma_module, queue: nvme_rdma_queue): number {
  const { k } = queue.life.ctrl
  const { size } = queue
  nvme_rdma_find_get_device(m, k)
  const init = {
    pd: m.pd,
    poll: 'softirq',
    max_send_wr: SEND_WR_FACTOR * size + 1,
    max_recv_wr: size + 1,
    cqe: (SEND_WR_FACTOR + 1) * size + 1,
    event_handler: () => trace_call(k, 'nvme_rdma_qp_event'),
  } as const
  called(k, 'nvme_rdma_create_qp', () => queue.cm_id.rdma_create_qp(init))
  for (let n = 0; n < queue.size; n++) trace_call(k, 'nvme_rdma_alloc_qe')
  const error = ib_mr_pool_init(queue.rdma_mrs, m.pd!, size, MAX_FR_PAGES)
  if (error === -ENOMEM) {
    const of = `of ${size} for queue ${queue.qid}`
    ctrl_log(queue.life.ctrl, 'err', `no memory regions for a pool ${of} (${error})`)
    queue.cm_id.rdma_destroy_qp()
    nvme_rdma_dev_put(m, k)
    return error
  }
  queue.has_ib = true
  return 0
}

function nvme_rdma_find_get_device(m: nvme_rdma_module, k: nvme_ctrl['k']): void {
  if (m.device_refs > 0) nvme_rdma_dev_get(m, k)
  else {
    m.device_refs = 1
    m.pd = m.fabric.ib_alloc_pd(!m.register_always)
  }
}

/** The device is kept by queue pairs and sets of tags. */
export function nvme_rdma_dev_get(m: nvme_rdma_module, k: nvme_ctrl['k']): void {
  trace_call(k, 'nvme_rdma_dev_get')
  m.device_refs++
}

export function nvme_rdma_dev_put(m: nvme_rdma_module, k: nvme_ctrl['k']): void {
  trace_call(k, 'nvme_rdma_dev_put')
  if (--m.device_refs > 0) return
  m.pd?.ib_dealloc_pd()
  m.pd = null
}

function nvme_rdma_destroy_queue_ib(m: nvme_rdma_module, queue: nvme_rdma_queue): void {
  if (!queue.has_ib) return
  queue.has_ib = false
  const { k } = queue.life.ctrl
  const t = enter(k, 'nvme_rdma_destroy_queue_ib')
  ib_mr_pool_destroy(queue.rdma_mrs)
  queue.cm_id.rdma_destroy_qp()
  nvme_rdma_dev_put(m, k)
  leave(k, t)
}

export function* nvme_rdma_alloc_queue(
  m: nvme_rdma_module,
  c: nvmf_life,
  qid: number,
  size: number,
): Sleep<number> {
  const { k } = c.ctrl
  const t = enter(k, 'nvme_rdma_alloc_queue')
  const queue = new nvme_rdma_queue(
    m,
    c,
    qid,
    size,
    one => event => nvme_rdma_cm_handler(m, one, event),
  )
  m.queues.get(c)![qid] = queue
  const address = `${c.opts.traddr}:${c.opts.trsvcid || '4420'}`
  called(k, 'rdma_resolve_addr', () => queue.cm_id.rdma_resolve_addr(address))
  const timeout = Math.ceil((NVME_RDMA_CONNECT_TIMEOUT_MS * k.hz) / 1000)
  yield* wait_for_completion_timeout(queue.cm_done, timeout)
  const error = queue.cm_error
  if (error) {
    ctrl_log(c.ctrl, 'info', `rdma connection establishment failed (${error})`)
    yield* nvme_rdma_free_queue(m, c, qid)
  }
  leave(k, t)
  // For the command that waits for events.
  if (error === 0 && qid === 0) trace_call(k, 'nvme_rdma_alloc_qe')
  return error
}

export function* nvme_rdma_stop_queue(m: nvme_rdma_module, c: nvmf_life, qid: number): Sleep<void> {
  const queue = queue_at(m, c, qid)
  if (queue === undefined || queue.stopped) return
  queue.stopped = true
  called(c.ctrl.k, 'rdma_disconnect', () => queue.cm_id.rdma_disconnect())
  const t = enter(c.ctrl.k, 'ib_drain_qp')
  yield* queue.cm_id.ib_drain_qp()
  leave(c.ctrl.k, t)
}

export function* nvme_rdma_free_queue(m: nvme_rdma_module, c: nvmf_life, qid: number): Sleep<void> {
  const queue = queue_at(m, c, qid)
  if (queue === undefined) return
  yield* nvme_rdma_stop_queue(m, c, qid)
  m.queues.get(c)![qid] = undefined
  if (qid === 0 && !queue.waiting) trace_call(c.ctrl.k, 'nvme_rdma_free_qe')
  nvme_rdma_destroy_queue_ib(m, queue)
  queue.cm_id.rdma_destroy_id()
  queue.requests.clear()
}
