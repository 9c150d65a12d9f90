// After the jobs: whoever had files open through the page cache closes them, and the last one to close a disk has
// everything written. Until that is over the machine goes on.

import { JOB_OPEN } from '../../assembly/layout.js'
import type { Machine } from '../machine/booted.js'

/** How often this is looked at, ns. */
const LOOK_NS = 1e6

/** Lets time pass until no job has a file open. */
export async function filesClosed(machine: Machine): Promise<void> {
  const { view, config } = machine
  if (!config.kernel?.pageCache) return
  const open = (): boolean =>
    Array.from({ length: config.jobs }, (_, i) => machine.jobAddress(i)).some(
      job => view.load(job + JOB_OPEN) !== 0,
    )
  while (open()) await machine.run(machine.now() + LOOK_NS)
}
