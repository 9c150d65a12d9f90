// Why a job failed, in one line for the user.

import {
  JOB_VER,
  JV_BAD_FILE,
  JV_BAD_GOT,
  JV_BAD_OFFSET,
  JV_BAD_WANT,
  JV_BAD_WHY,
  JV_ERRORS,
  POOL_FULL,
  ST_POOL,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import { EILSEQ, ENOSPC, ETIME, ETIMEDOUT } from '../kernel/errno.js'
import type { Disk } from '../machine/machine.js'
import { errorText } from './error-text.js'
import type { JobSpec } from './job.js'

/** What a failed check compared, by BAD_*. */
const CHECKS = [
  'data',
  'magic number of the header',
  'checksum of the header',
  'verify method in the header',
  'length in the header',
  'offset in the header',
  'seed in the header',
  'number of the write in the header',
  'checksum of the data',
  'pattern',
  'zeros of a trimmed block',
]
/** From here on the second word is a place, not a value. */
const BY_PLACE = 9

/** The line for a job that ended with `errno`. `own` is what a policy said. */
export function failureLine(
  view: View,
  job: JobSpec,
  address: number,
  errno: number,
  disks: readonly Disk[],
  own: string | null,
): string {
  const who = `${job.name}${job.numjobs > 1 ? `, clone ${job.cloneIndex}` : ''}`
  return `job ${who}: ${own ?? reason(view, job, address, errno, disks)}`
}

function reason(
  view: View,
  job: JobSpec,
  address: number,
  errno: number,
  disks: readonly Disk[],
): string {
  if (errno === EILSEQ) return verifyText(view, job, address)
  if (errno === ENOSPC) return spaceText(view, disks)
  const late = errno === ETIME || errno === ETIMEDOUT
  if (late && job.maxLatencyNs > 0)
    return `an I/O took longer than max_latency, ${job.maxLatencyNs} ns`
  return errorText(errno)
}

/** What the first interval that failed held, and what it should have held. */
function verifyText(view: View, job: JobSpec, address: number): string {
  const field = (offset: number): number => address + JOB_VER + offset
  const why = view.u32(field(JV_BAD_WHY))
  const offset = view.u64(field(JV_BAD_OFFSET))
  const file = job.files[view.u32(field(JV_BAD_FILE))] ?? job.files[0]!
  const got = `0x${view.u64(field(JV_BAD_GOT)).toString(16)}`
  const want = view.u64(field(JV_BAD_WANT))
  const compared =
    why >= BY_PLACE
      ? `found ${got} at byte ${want} of the interval`
      : `found ${got}, expected 0x${want.toString(16)}`
  const count = view.u64(field(JV_ERRORS))
  const more = count > 1 ? ` (the first of ${count} bad intervals)` : ''
  return `verify=${job.verify.method} failed at offset ${offset} of ${file.disk}: ${CHECKS[why] ?? CHECKS[0]}: ${compared}${more}`
}

function spaceText(view: View, disks: readonly Disk[]): string {
  const full = disks.some(d => d.store !== 0 && view.load(view.u32(d.store + ST_POOL) + POOL_FULL))
  const hint = full ? ': the data stores of the machine are full; mem= gives them more' : ''
  return `${errorText(ENOSPC)}${hint}`
}
