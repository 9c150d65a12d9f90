// What TypeScript does for a job that waits for it (JOB_WAIT_HOST), on the thread of the job's CPU.
//
//   HOST_FILL     a write wants its digest (verify=md5, sha*): done here, at once
//   HOST_CHECK    io_us that were read back want theirs compared: done here, at once
//   the rest      a full log buffer, a replay that has run dry: the main thread's, which has the files. In real time it
//                 gets a message, and the job waits until it has been served; in virtual time this is the main thread

import {
  HOST_CHECK,
  HOST_FILL,
  HOST_NONE,
  IOU_BUF,
  IOU_FILE,
  IOU_LEN,
  IOU_NEXT,
  IOU_NUMBER,
  IOU_OFFSET,
  JOB_DONE_HEAD,
  JOB_DONE_TAIL,
  JOB_HOST_WHY,
  JOB_RETRY,
  JOB_RUN,
  JOB_STATE,
  JOB_WAIT_HOST,
  JOB_WAIT_IO,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Core } from '../core/wasm.js'
import type { SlowContext, SlowHandlers } from '../machine/machine.js'
import { checkDigests, type DigestCore, fillDigests, hostMethod } from './verify-host.js'

/** What a CPU's thread asks of the main thread: to serve the job at this address. */
export interface HostRequest {
  readonly job: number
}

/** The handlers of a CPU's thread. `main` serves what only the main thread can. */
export function hostHandlers(main: (context: SlowContext, job: number) => void): SlowHandlers {
  return {
    job(context, job, why) {
      if (why === HOST_FILL) fillWrite(context, job)
      else if (why === HOST_CHECK) checkReads(context, job)
      else main(context, job)
    },
  }
}

function fillWrite(context: SlowContext, job: number): void {
  const { view } = context
  const iou = view.u32(job + JOB_RETRY)
  fillDigests(view, job, hostMethod(view, job), view.u32(iou + IOU_BUF), view.u32(iou + IOU_LEN))
  resume(context, job)
}

function checkReads(context: SlowContext, job: number): void {
  const { view, core } = context
  const method = hostMethod(view, job)
  let iou = view.u32(job + JOB_DONE_HEAD)
  view.setU32(job + JOB_DONE_HEAD, 0)
  view.setU32(job + JOB_DONE_TAIL, 0)
  while (iou !== 0) {
    const next = view.u32(iou + IOU_NEXT)
    const bad = checkDigests(core as Core & DigestCore, view, job, method, {
      file: view.u32(iou + IOU_FILE),
      buf: view.u32(iou + IOU_BUF),
      disk: view.u64(iou + IOU_OFFSET),
      len: view.u32(iou + IOU_LEN),
      number: view.u32(iou + IOU_NUMBER),
    })
    core.job_checked(context.cpu, job, iou, bad)
    iou = next
  }
  // they are counted only now: a job whose depth they filled, or that waited for the last of them, may go on
  if (view.load(job + JOB_STATE) === JOB_WAIT_IO) resumeJob(view, job)
  core.virtual_kick(context.cpu)
}

function resume({ view, core, cpu }: SlowContext, job: number): void {
  resumeJob(view, job)
  core.virtual_kick(cpu)
}

/** The job has what it waited for. The caller wakes its CPU. */
export function resumeJob(view: View, job: number): void {
  view.setU32(job + JOB_HOST_WHY, HOST_NONE)
  view.store(job + JOB_STATE, JOB_RUN)
}

/** Whether the job still waits for TypeScript: a second message about the same wait is ignored. */
export function waitsForHost(view: View, job: number): boolean {
  return view.load(job + JOB_STATE) === JOB_WAIT_HOST
}
