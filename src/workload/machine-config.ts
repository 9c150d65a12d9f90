// From what the user asked for to the machine that is booted: number of CPUs, disks, sizes, models.
//
//   no --device   /dev/nvme0n1, as large as the jobs need (1 GiB to 16 TiB), sparse;
//                 real clock: model ram in the submitting thread; virtual clock: fixed, 10 us, 8 units, interrupts
//   --device      exactly what was said; a region past the end of a disk is refused before any I/O
//
// Not built yet, and refused by name: null_blk, open-channel devices and the disks on top of them, media model nand,
// latencies that differ between reads and writes.

import { UserError } from '../core/errors.js'
import { formatBytes } from '../core/memory.js'
import type { DiskConfig, MachineConfig } from '../machine/config.js'
import type { DeviceSpec, LatencyPoint, LatencySpec, MediaSpec, NvmeSpec } from '../machine/spec.js'
import type { RunPlan } from './job.js'

const GIB = 2 ** 30
/** The default disk is never larger. */
const LARGEST_DISK = 16 * 2 ** 40
/** Media of the default disk in virtual time. */
const DEFAULT_SERVICE_NS = 10_000
const DEFAULT_UNITS = 8
const DEFAULT_DEPTH = 1024
const DEFAULT_HZ = 250
/** Entries of the table that an empirical curve becomes. */
const EMPIRICAL = 1000

/** What the executor adds to the plan before the machine can be described. */
export interface MachineNeeds {
  readonly nrCpus: number
  readonly jobs: number
  readonly extraBytes: number
}

/**
 * The machine of a plan.
 * @throws UserError when a device does not exist, is too small, or is of a kind that is not built yet
 */
export function machineConfig(plan: RunPlan, needs: MachineNeeds): MachineConfig {
  const specs = plan.devices.length > 0 ? plan.devices.map(nvmeOnly) : [defaultDisk(plan)]
  checkNeeds(plan, specs)
  return {
    clock: plan.clock,
    cpus: needs.nrCpus,
    hz: plan.machine.hz ?? DEFAULT_HZ,
    seed: plan.seed,
    lat: plan.lat,
    stages: plan.stages || plan.clock === 'virtual',
    trace: false,
    memBytes: plan.machine.memBytes,
    disks: specs.map(spec => diskConfig(spec, plan, needs.nrCpus)),
    extraBytes: needs.extraBytes,
    jobs: needs.jobs,
    costs: plan.machine.costs,
  }
}

function nvmeOnly(spec: DeviceSpec): NvmeSpec {
  if (spec.kind === 'nvme') return spec
  throw new UserError(`--device ${spec.kind}: not built yet; the device that exists is nvme`)
}

/** Path without /dev/. */
function diskName(path: string): string {
  return path.replace(/^\/dev\//, '')
}

function checkNeeds(plan: RunPlan, specs: readonly NvmeSpec[]): void {
  for (const [path, bytes] of plan.diskNeeds) {
    const spec = specs.find(s => s.name === diskName(path))
    if (!spec) {
      const have = specs.map(s => `/dev/${s.name}`).join(', ')
      const why = /nullb\d+$/.test(path) ? 'null_blk is not built yet' : 'there is no such disk'
      throw new UserError(`${path}: ${why}; this machine has ${have}`)
    }
    const size = spec.sizeBytes ?? LARGEST_DISK
    if (bytes > size)
      throw new UserError(
        `${path}: the jobs reach byte ${bytes}, the disk ends at ${size} (${formatBytes(size)})`,
      )
  }
}

function defaultDisk(plan: RunPlan): NvmeSpec {
  const media: MediaSpec = { model: 'ram' }
  return {
    kind: 'nvme',
    name: 'nvme0n1',
    sizeBytes: null,
    lbaBytes: 512,
    media: plan.clock === 'real' ? media : null,
    writeCache: true,
    queues: null,
    pollQueues: 0,
    depth: DEFAULT_DEPTH,
    stride: null,
    where: null,
    wait: null,
    coalesce: null,
    memBytes: null,
    faults: [],
  } as unknown as NvmeSpec
}

function diskConfig(spec: NvmeSpec, plan: RunPlan, nrCpus: number): DiskConfig {
  const virtual = plan.clock === 'virtual'
  return {
    name: spec.name,
    driver: 'nvme',
    sizeBytes: spec.sizeBytes ?? sizeFor(plan.diskNeeds.get(`/dev/${spec.name}`) ?? 0),
    lbaShift: spec.lbaBytes === 4096 ? 12 : 9,
    queues: spec.queues ?? nrCpus,
    pollQueues: spec.pollQueues,
    depth: spec.depth,
    ...media(spec, virtual),
    where: spec.where ?? 'inline',
    wait: spec.wait ?? 'irq',
    coalesceCount: spec.coalesce?.entries ?? 1,
    coalesceNs: spec.coalesce?.ns ?? 0,
    stride: spec.stride,
    shadow: false,
    mdtsBytes: 0,
    wc: spec.writeCache,
  }
}

/** A disk of its own size: what the jobs need, at least 1 GiB, whole gibibytes. */
function sizeFor(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / GIB)) * GIB
}

type Media = Pick<DiskConfig, 'model' | 'serviceNs' | 'units' | 'sigmaNs' | 'empirical'>

function media(spec: NvmeSpec, virtual: boolean): Media {
  const { media: m } = spec
  if (m === null)
    return virtual
      ? { model: 'fixed', serviceNs: DEFAULT_SERVICE_NS, units: DEFAULT_UNITS }
      : { model: 'ram', serviceNs: 0, units: 1 }
  if (m.model === 'null' || m.model === 'ram') return { model: m.model, serviceNs: 0, units: 1 }
  if (m.model === 'nand') throw new UserError('--device nvme,model=nand: not built yet')
  if (m.model === 'empirical')
    return { model: 'empirical', serviceNs: 0, units: m.units, empirical: quantiles(m.read) }
  const one = same(spec.name, m.read, m.write)
  return { model: m.model, serviceNs: one.meanNs, sigmaNs: one.devNs, units: m.units }
}

/** Latencies to draw from uniformly, so that they follow the curve: one for each of EMPIRICAL equal shares. */
export function quantiles(curve: readonly LatencyPoint[]): number[] {
  return Array.from({ length: EMPIRICAL }, (_, i) => {
    const percent = ((i + 0.5) * 100) / EMPIRICAL
    const above = curve.findIndex(p => p.percent >= percent)
    const high = curve[above]
    const low = curve[above - 1] ?? { percent: 0, ns: high.ns }
    if (high.percent === low.percent) return high.ns
    const share = (percent - low.percent) / (high.percent - low.percent)
    return Math.round(low.ns + share * (high.ns - low.ns))
  })
}

function same(name: string, read: LatencySpec, write: LatencySpec): LatencySpec {
  if (read.meanNs === write.meanNs && read.devNs === write.devNs) return read
  throw new UserError(
    `${name}: reads of ${read.meanNs} ns and writes of ${write.meanNs} ns: ` +
      'different latencies for reads and writes are not built yet',
  )
}
