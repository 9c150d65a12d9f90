// The target of the cell `tcp`, in a process of its own: `phasebit serve` as users start it, which on every message says how
// much CPU time it has used. It goes with the process that started it.

import { distUrl } from '../../src/core/wasm.js'

/** What it answers. */
export interface TargetCpu {
  readonly cpuUs: number
}

process.on('disconnect', () => process.exit())
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send!({ cpuUs: user + system } satisfies TargetCpu)
})
await import(distUrl('lib/cli.js').href)
