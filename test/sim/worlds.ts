// The worlds in which `npm run sim` runs seeds. A new one is one line here.

import { simulateRrpc } from './rrpc.js'
import { simulateFabric } from './fabrics.js'
import { simulateHosted } from './hosted.js'
import { simulateNvme } from './nvme.js'
import { simulatePblk } from './pblk.js'
import { type SimFacts, simulate } from './simulate.js'

/** Runs a seed in one world. @throws Error that names the seed and what is wrong */
export type World = (seed: number) => Promise<SimFacts>

export const WORLDS: Readonly<Record<string, World>> = {
  /** fio jobs on machines of all kinds; each seed twice. */
  jobs: simulate,
  /** Tasks on null_blk disks of an emulated kernel. */
  block: simulateHosted,
  /** Host and target of NVMe over fabrics, and what can happen to a connection. */
  fabrics: async seed => {
    const { ios, virtualNs } = simulateFabric(seed)
    return { ios, virtualNs }
  },
  /** The NVMe driver and its controller under faults, resets, losses of power and removal. */
  nvme: simulateNvme,
  /** pblk under failures of the media, losses of power and collection. */
  pblk: async seed => simulatePblk(seed),
  /** rrpc under failures of the media and losses of power. */
  rrpc: async seed => simulateRrpc(seed),
}
