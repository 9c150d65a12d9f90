// The file that a pool's threads load when nothing above the machine brings one of its own.
import { runThread, type ThreadTask } from './cpu.js'

export default function cpuWorker(task: ThreadTask): Promise<void> {
  return runThread(task, {})
}
