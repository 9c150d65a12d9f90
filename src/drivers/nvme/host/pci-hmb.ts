// Memory that the host lends a controller: the host memory buffer and the shadow doorbells, drivers/nvme/host/pci.c of
// Linux 4.19.
//
//   nvme_setup_host_mem    HMPRE as far as the host's limit goes, in pieces from 4 MiB downwards, at least HMMIN
//   nvme_dbbuf_dma_alloc   two buffers as large as the doorbells
//   nvme_dbbuf_set         Doorbell Buffer Config
//
// 4.19 keeps the shadow doorbells' old contents over a reset and does not configure them again, although the reset switched
// them off: a doorbell can then be withheld for good. Here they are cleared and configured again, as 5.10 does.

import type { Sleep } from '../../../kernel/core.js'
import { ENOMEM } from '../../../kernel/errno.js'
import { enter, leave, trace_call } from '../../../kernel/trace.js'
import { ctrl_log, nvme_submit_sync_cmd } from './core-cmd.js'
import {
  NVME_CTRL_OACS_DBBUF_SUPP,
  NVME_FEAT_HOST_MEM_BUF,
  nvme_admin_dbbuf,
  nvme_admin_set_features,
} from './nvme.js'
import type { nvme_dev } from './pci-queue.js'

const PAGE = 4096
const MIB = 2 ** 20
const NVME_HOST_MEM_ENABLE = 1
const NVME_HOST_MEM_RETURN = 2
const DESC_BYTES = 16
/** max_host_mem_size_mb. */
const MAX_HOST_MEM_MB = 128
const LARGEST_CHUNK = 4 * MIB

// ---------------------------------------------------------------- host memory buffer

function* nvme_set_host_mem(dev: nvme_dev, bits: number): Sleep<number> {
  const mem = dev.host_mem!
  const cmd = {
    opcode: nvme_admin_set_features,
    cdw10: NVME_FEAT_HOST_MEM_BUF,
    cdw11: bits,
    cdw12: mem.size / PAGE,
    cdw13: mem.descs % 2 ** 32,
    cdw14: Math.floor(mem.descs / 2 ** 32),
    cdw15: mem.chunks,
  }
  const ret = yield* nvme_submit_sync_cmd(dev.ctrl.admin_q!, cmd)
  if (ret) ctrl_log(dev.ctrl, 'warn', `failed to set host mem (err ${ret}, flags ${bits}).`)
  return ret
}

/** Gives the buffer back to the host's memory. */
export function nvme_free_host_mem(dev: nvme_dev): void {
  const { mem, k } = { mem: dev.nvme.blk.mem, k: dev.nvme.k }
  trace_call(k, 'nvme_free_host_mem')
  for (const at of dev.host_mem?.at ?? []) mem.kfree(at)
  mem.kfree(dev.host_mem?.descs ?? 0)
  dev.host_mem = null
}

/** Pieces of one size for as much as there is memory. */
function alloc_chunks(dev: nvme_dev, preferred: number, chunk: number): number {
  const { mem, view } = dev.nvme.blk
  const most = Math.ceil(preferred / chunk)
  const entries = Math.min(most, dev.ctrl.hmmaxd || most)
  const descs = mem.kzalloc(entries * DESC_BYTES)
  if (descs === 0) return 0
  const at: number[] = []
  let size = 0
  while (size < preferred && at.length < entries) {
    const bytes = Math.min(preferred - size, chunk)
    const piece = mem.kzalloc(bytes)
    if (piece === 0) break
    view.setU64(descs + at.length * DESC_BYTES, piece)
    view.setU32(descs + at.length * DESC_BYTES + 8, bytes / PAGE)
    at.push(piece)
    size += bytes
  }
  dev.host_mem = { descs, at, size, chunks: at.length }
  return size
}

function nvme_alloc_host_mem(dev: nvme_dev, min: number, preferred: number): boolean {
  const least = Math.max(dev.ctrl.hmminds * PAGE, 2 * PAGE)
  for (let chunk = Math.min(preferred, LARGEST_CHUNK); chunk >= least; chunk /= 2) {
    const size = alloc_chunks(dev, preferred, chunk)
    if (size > 0 && (min === 0 || size >= min)) return true
    nvme_free_host_mem(dev)
  }
  return false
}

/** @returns 0, or a negative errno that is fatal; a status of the controller is not */
export function* nvme_setup_host_mem(dev: nvme_dev): Sleep<number> {
  const { k } = dev.nvme
  const { hmpre, hmmin } = dev.ctrl
  const t = enter(k, 'nvme_setup_host_mem')
  const max = (dev.memory.max_host_mem_mb ?? MAX_HOST_MEM_MB) * MIB
  const preferred = Math.min(hmpre * PAGE, max)
  const min = hmmin * PAGE
  if (min > max) {
    ctrl_log(dev.ctrl, 'warn', `min host memory (${min / MIB} MiB) above limit (${max / MIB} MiB).`)
    nvme_free_host_mem(dev)
    return leave(k, t, 0)
  }
  let bits = NVME_HOST_MEM_ENABLE
  // A buffer that was kept over a reset still holds what the controller wrote.
  if (dev.host_mem) {
    if (dev.host_mem.size >= min) bits |= NVME_HOST_MEM_RETURN
    else nvme_free_host_mem(dev)
  }
  if (!dev.host_mem) {
    if (!nvme_alloc_host_mem(dev, min, preferred)) {
      ctrl_log(dev.ctrl, 'warn', 'failed to allocate host memory buffer.')
      return leave(k, t, 0)
    }
    const mib = Math.floor(dev.host_mem!.size / MIB)
    ctrl_log(dev.ctrl, 'info', `allocated ${mib} MiB host memory buffer.`)
  }
  const ret = yield* nvme_set_host_mem(dev, bits)
  if (ret) nvme_free_host_mem(dev)
  return leave(k, t, ret)
}

// ---------------------------------------------------------------- shadow doorbells

function dbbuf_bytes(dev: nvme_dev): number {
  return (dev.nvme.blk.cpus.length + 1) * 8 * dev.db_stride
}

/** Buffers for the shadow doorbells, cleared if they are there already. @returns 0 or -ENOMEM */
export function nvme_dbbuf_dma_alloc(dev: nvme_dev): number {
  const { mem, view } = dev.nvme.blk
  if (!(dev.ctrl.oacs & NVME_CTRL_OACS_DBBUF_SUPP) || !dev.nvme.era.dbbuf) return 0
  const bytes = Math.max(dbbuf_bytes(dev), PAGE)
  if (dev.dbbuf_dbs) {
    view.fill(dev.dbbuf_dbs, bytes, 0)
    view.fill(dev.dbbuf_eis, bytes, 0)
    return 0
  }
  dev.dbbuf_dbs = mem.kzalloc(bytes)
  dev.dbbuf_eis = mem.kzalloc(bytes)
  if (dev.dbbuf_dbs && dev.dbbuf_eis) return 0
  free_buffers(dev)
  ctrl_log(dev.ctrl, 'warn', 'unable to allocate dma for dbbuf')
  return -ENOMEM
}

function free_buffers(dev: nvme_dev): void {
  const { mem } = dev.nvme.blk
  mem.kfree(dev.dbbuf_dbs)
  mem.kfree(dev.dbbuf_eis)
  dev.dbbuf_dbs = 0
  dev.dbbuf_eis = 0
}

export function nvme_dbbuf_dma_free(dev: nvme_dev): void {
  trace_call(dev.nvme.k, 'nvme_dbbuf_dma_free')
  free_buffers(dev)
}

/** Tells the controller of the buffers. False: it did not want them, and they are gone. */
export function* nvme_dbbuf_set(dev: nvme_dev): Sleep<boolean> {
  if (!dev.dbbuf_dbs) return true
  const cmd = { opcode: nvme_admin_dbbuf, prp1: dev.dbbuf_dbs, prp2: dev.dbbuf_eis }
  const status = yield* nvme_submit_sync_cmd(dev.ctrl.admin_q!, cmd)
  if (status === 0) return true
  ctrl_log(dev.ctrl, 'warn', 'unable to set dbbuf')
  free_buffers(dev)
  return false
}
