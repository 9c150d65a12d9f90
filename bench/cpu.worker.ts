// The file that the threads of a bench's machine load: as the workload's own, and each CPU says
// which thread it is, so that its CPU time can be read.

import { runThread, type ThreadMessage, type ThreadTask } from '../src/machine/cpu.js'
import { hostHandlers } from '../src/workload/host.js'
import { ownThread } from '../src/machine/thread-time.js'

/** What a CPU's thread says before it begins. */
export interface ThreadNumber {
  readonly thread: number
}

export default function cpuWorker(task: ThreadTask): Promise<void> {
  if (task.kind === 'cpu') {
    const message: ThreadNumber = { thread: ownThread() }
    task.port.postMessage({ type: 'message', message } satisfies ThreadMessage)
  }
  return runThread(
    task,
    hostHandlers(() => {
      throw new Error('a bench has no files that a job could wait for')
    }),
  )
}
