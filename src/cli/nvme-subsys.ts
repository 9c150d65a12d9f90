// `nvme list-subsys`: subsystems, and the controllers that lead to them, as nvme-cli shows them.

import type { nvme_ctrl } from '../drivers/nvme/host/nvme.js'
import { toJson } from './nvme-format.js'

interface Path {
  readonly Name: string
  readonly Transport: string
  readonly Address: string
  readonly State: string
}

/** A controller with what stands in its sysfs file `address`. */
export interface SubsysCtrl {
  readonly ctrl: nvme_ctrl
  readonly address: string
}

/** The words of sysfs: a live controller is `live`. */
function pathOf({ ctrl, address }: SubsysCtrl): Path {
  const { device, ops, state } = ctrl
  return { Name: device, Transport: ops.name, Address: address, State: state.toLowerCase() }
}

/** Subsystems by name, in the order in which they were found. */
export function listSubsys(ctrls: readonly SubsysCtrl[], json: boolean): string {
  const nqns = [...new Set(ctrls.map(({ ctrl }) => ctrl.subnqn))]
  const subsystems = nqns.map((NQN, i) => ({
    Name: `nvme-subsys${i}`,
    NQN,
    Paths: ctrls.filter(({ ctrl }) => ctrl.subnqn === NQN).map(pathOf),
  }))
  if (json) return toJson({ Subsystems: subsystems })
  return subsystems
    .map(({ Name, NQN, Paths }) => {
      const paths = Paths.map(p => ` +- ${p.Name} ${p.Transport} ${p.Address} ${p.State}\n`)
      return `${Name} - NQN=${NQN}\n\\\n${paths.join('')}`
    })
    .join('')
}
