// The half of null_blk that is TypeScript's, on the thread that runs it: the main thread in virtual time and where a kernel
// is, else the thread of CPU 0 (such a disk then has no other CPU: a disk's state belongs to one thread).

import { NULL_Q_RQ, RQ_HCTX } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core, CoreImports } from '../core/wasm.js'
import { null_blk, type NullbOptions } from '../drivers/block/null_blk.js'
import { NO_SINK, Trace, type TraceHost } from '../kernel/trace.js'
import { nullBlkFeatures } from './boot-null-blk.js'
import type { DiskConfig } from './config.js'
import type { DiskPlan } from './plan.js'

/** Whether TypeScript has a part in the commands of a disk. */
export function hasHostPart({ nullBlk }: Pick<DiskConfig, 'nullBlk'>): boolean {
  if (nullBlk === undefined) return false
  return nullBlk.queueMode === NULL_Q_RQ || nullBlkFeatures(nullBlk) !== 0
}

/** The disks of a machine in whose commands TypeScript has a part; plain data, sent to workers. */
export function nullBlkDisks(plans: readonly DiskPlan[]): NullbOptions[] {
  return plans
    .filter(disk => hasHostPart(disk.config))
    .map(({ config, nullb, q }) => ({
      ...config.nullBlk!,
      nullb,
      q,
      sizeBytes: config.sizeBytes,
      blockBytes: 2 ** config.lbaShift,
    }))
}

/** A context for functions that run outside of an emulated kernel: nothing is recorded. */
function untraced(now: () => number): TraceHost {
  const ctx = { id: 0, name: 'machine', kind: 'task', depth: 0 } as const
  return { trace: new Trace(NO_SINK), ctx: { ...ctx }, cpu: { id: 0 }, now }
}

/** What a thread's core calls for null_blk; nothing when no disk needs it. */
export function nullBlkImports(
  view: View,
  disks: readonly NullbOptions[],
  seed: number,
  now: () => number,
  core: () => Core,
): Pick<CoreImports, 'null_cmd'> {
  if (disks.length === 0) return {}
  const none = (): never => {
    throw new Error('this disk has no queue that could be stopped')
  }
  const layer = {
    stop: none,
    restart_async: none,
    requeue: (cpu: number, rq: number): void => {
      core().__blk_mq_requeue_request(cpu, rq)
      core().blk_mq_request_bypass_insert(cpu, view.u32(rq + RQ_HCTX), rq, 0)
    },
  }
  return { null_cmd: new null_blk(untraced(now), view, layer, disks, seed, null).null_cmd }
}
