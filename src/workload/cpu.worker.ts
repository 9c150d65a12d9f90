// The file that the threads of a machine load when it runs jobs: the life of a CPU, with what jobs need of TypeScript.
import { runThread, type ThreadTask } from '../machine/cpu.js'
import { type HostRequest, hostHandlers } from './host.js'

export default function cpuWorker(task: ThreadTask): Promise<void> {
  return runThread(
    task,
    hostHandlers((context, job) => context.post({ job } satisfies HostRequest)),
  )
}
