// All families of trace scenarios, by name.

import { FABRIC_SCENARIOS, parseFabricScenario, runFabricScenario } from './scenario-fabrics.js'
import { NVME_SCENARIOS, parseNvmeScenario, runNvmeScenario } from './scenario-nvme.js'
import { PBLK_SCENARIOS, parsePblkScenario, runPblkScenario } from './scenario-pblk.js'
import { parseRrpcScenario, RRPC_SCENARIOS, runRrpcScenario } from './scenario-rrpc.js'
import { parseScenario, SCENARIOS } from './scenario-names.js'
import { runScenario } from './scenario-run.js'
import type { ScenarioTrace } from './scenario-recorder.js'

/** A short scenario of each story, for `--list` and `--all`. */
export const ALL_SCENARIOS: readonly string[] = [
  ...SCENARIOS,
  ...NVME_SCENARIOS,
  ...FABRIC_SCENARIOS,
  ...PBLK_SCENARIOS,
  ...RRPC_SCENARIOS,
]

/** A scenario that can be run. */
export interface NamedScenario {
  readonly name: string
  readonly cpus: number
  run(): Promise<ScenarioTrace>
}

/** @throws UserError when there is no such scenario */
export function scenarioOf(name: string): NamedScenario {
  const nvme = parseNvmeScenario(name)
  if (nvme) return { name, cpus: nvme.cpus, run: () => runNvmeScenario(nvme) }
  const fabric = parseFabricScenario(name)
  if (fabric) return { name, cpus: fabric.cpus, run: () => runFabricScenario(fabric) }
  const pblk = parsePblkScenario(name)
  if (pblk) return { name, cpus: pblk.cpus, run: () => runPblkScenario(pblk) }
  const rrpc = parseRrpcScenario(name)
  if (rrpc) return { name, cpus: rrpc.cpus, run: () => runRrpcScenario(rrpc) }
  const scenario = parseScenario(name)
  return { name, cpus: scenario.cpus, run: () => runScenario(scenario) }
}
