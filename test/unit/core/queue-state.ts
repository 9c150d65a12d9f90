// What is left in memory of the first CPU, and of the first queue of the first disk: to compare two ways of doing the same.

import * as L from '../../../assembly/layout.js'
import type { Machine } from '../../../src/machine/machine.js'

export function wordsAt({ view }: Machine, from: number, bytes: number): number[] {
  return Array.from({ length: bytes / 4 }, (_, i) => view.u32(from + 4 * i))
}

export function queueState(machine: Machine): Record<string, unknown> {
  const { view } = machine
  const disk = machine.disks[0]!
  const cpu = machine.cpuAddress(0)
  const words = (from: number, bytes: number): number[] => wordsAt(machine, from, bytes)
  const ctx = view.u32(disk.q + L.Q_CTXS)
  const nq = view.u32(view.u32(ctx + L.CTX_HCTX) + L.HC_DRIVER_DATA)
  const tags = view.u32(view.u32(ctx + L.CTX_HCTX) + L.HC_TAGS)
  const sbq = tags + L.TAGS_BITMAP
  const slots = view.u32(tags + L.TAGS_STATIC_RQS)
  const depth = machine.config.disks[0]!.depth
  return {
    counters: words(cpu + L.CPU_SUBMITTED, L.CPU_BELLS_SAVED + 8 - L.CPU_SUBMITTED),
    stages: words(cpu + L.CPU_STAGE_N, 48),
    now: view.u64(cpu + L.CPU_NOW),
    ctx: words(ctx + L.CTX_DISPATCHED_ASYNC, L.CTX_SIZE - L.CTX_DISPATCHED_ASYNC),
    queued: view.u64(view.u32(ctx + L.CTX_HCTX) + L.HC_QUEUED),
    heads: words(nq + L.NQ_SQ_TAIL, 8).concat(words(nq + L.NQ_CQ_HEAD, 8)),
    submission: words(view.u32(nq + L.NQ_SQ), depth * 64),
    completion: words(view.u32(nq + L.NQ_CQ), depth * 16),
    tags: words(view.u32(sbq + L.SBQ_MAP), view.u32(sbq + L.SBQ_MAP_NR) * L.SBW_SIZE),
    hint: view.u32(view.u32(sbq + L.SBQ_HINTS)),
    requests: Array.from({ length: depth - 1 }, (_, tag) => {
      const rq = slots + tag * L.RQ_SIZE
      return [L.RQ_TAG, L.RQ_CMD_FLAGS, L.RQ_GEN, L.RQ_DATA_LEN, L.RQ_STATE].map(f =>
        view.u32(rq + f),
      )
    }),
    commands: view.u64(disk.queues[0]!.dsq + L.DSQ_COMMANDS),
  }
}
