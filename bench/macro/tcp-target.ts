// The target of the cell `tcp`, in a process of its own: says where it listens, and on every message how much CPU time it
// has used. It goes with the process that started it.

import { openTarget } from '../../src/workload/serve.js'

/** What the target says at first. */
export interface TargetPlace {
  readonly port: number
}

/** What it answers. */
export interface TargetCpu {
  readonly cpuUs: number
}

const target = await openTarget({
  address: '127.0.0.1',
  port: 0,
  devices: ['nvme,size=64m,model=ram'],
})

process.on('disconnect', () => process.exit())
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send!({ cpuUs: user + system } satisfies TargetCpu)
})
process.send!({ port: target.port } satisfies TargetPlace)
