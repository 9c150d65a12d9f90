// CPU time of single threads, from Linux's /proc: what a measurement costs whatever else the host
// is doing.

import { readFileSync, readlinkSync } from 'node:fs'

/** The kernel's number of the thread that calls; 0 where there is no /proc. */
export function ownThread(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  } catch {
    return 0
  }
}

/** CPU time that a thread of this process has used, ns; NaN where it cannot be told. */
export function threadTime(thread: number): number {
  try {
    return Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')[0])
  } catch {
    return Number.NaN
  }
}
