// From what the user asked for to the machine that is booted: number of CPUs, disks, sizes, models.
//
//   no --device   /dev/nvme0n1, as large as the jobs need (1 GiB to 16 TiB), sparse;
//                 real clock: model ram in the submitting thread; virtual clock: fixed, 10 us, 8 units, interrupts;
//                 /dev/nullb0 as `modprobe null_blk` makes it, where a job names it
//   --device      exactly what was said; a region past the end of a disk is refused before any I/O
//
// Open-channel devices and the targets on them are in lightnvm-disks.ts.

import { default_elevator } from '../block/schedulers.js'
import { UserError } from '../core/errors.js'
import { formatBytes } from '../core/memory.js'
import { WORKER_FILE } from './worker-file.js'
import type { DiskConfig, FaultConfig, MachineConfig, PageCacheConfig } from '../machine/config.js'
import { pageCacheBytes } from '../machine/host-files.js'
import { hostKernelBytes, needsHostKernel } from '../machine/host-kernel.js'
import { SPARE_BLOCKS } from '../machine/nand.js'
import { queuesOf } from '../machine/plan.js'
import type {
  DeviceSpec,
  FaultSpec,
  LatencyPoint,
  MediaSpec,
  NandCell,
  NullBlkSpec,
  NvmeSpec,
} from '../machine/spec.js'
import { nullBlkConfig } from '../machine/spec-null-blk.js'
import { formatDevice, parseDevices } from '../machine/spec-parse.js'
import { dumpNeedsKernel } from './dump.js'
import type { JobSpec, RunPlan } from './job.js'
import { queueWritesBytes } from './queue-writes.js'
import type { KernelEra } from '../drivers/nvme/host/era.js'
import { diskController, isProbed, withNamespaces } from './controller-disks.js'
import { ocssdDisk, parentOf, targetDisk, targetHeap } from './lightnvm-disks.js'

const GIB = 2 ** 30
/** The default disk is never larger. */
const LARGEST_DISK = 16 * 2 ** 40
/** Media of the default disk in virtual time. */
const DEFAULT_SERVICE_NS = 10_000
const DEFAULT_UNITS = 8
const DEFAULT_DISK = '/dev/nvme0n1'
const DEFAULT_NULLB = '/dev/nullb0'
const DEFAULT_HZ = 250
/** Entries of the table that an empirical curve becomes. */
const EMPIRICAL = 1000

/** What the executor adds to the plan before the machine can be described. */
export interface MachineNeeds {
  readonly nrCpus: number
  readonly jobs: number
  readonly extraBytes: number
}

/** The devices of a plan in full, as `--device` texts. */
export function deviceTexts(plan: RunPlan): string[] {
  return (plan.devices.length > 0 ? plan.devices : defaultDisks(plan)).map(formatDevice)
}

/**
 * The machine of a plan.
 * @throws UserError when a device does not exist, is too small, or is of a kind that is not built yet
 */
export function machineConfig(plan: RunPlan, needs: MachineNeeds): MachineConfig {
  const specs = plan.devices.length > 0 ? plan.devices : defaultDisks(plan)
  const disks = specs.flatMap(spec => planDisks(plan, spec, needs.nrCpus))
  checkNeeds(plan, disks)
  const machine = { clock: plan.clock, cpus: needs.nrCpus }
  const pageCache = pageCacheOf(plan)
  const wanted = pageCache !== undefined || dumpNeedsKernel(plan) || plan.queueWrites.length > 0
  const kernel = wanted || disks.some(disk => needsHostKernel(disk, machine))
  const cacheBytes = pageCache ? pageCacheBytes(pageCache, needs.jobs) : 0
  const heapBytes =
    controllerHeaps(disks) +
    targetHeaps(plan.devices) +
    queueWritesBytes(plan.queueWrites, needs.nrCpus)
  return {
    clock: plan.clock,
    cpus: needs.nrCpus,
    hz: plan.machine.hz ?? DEFAULT_HZ,
    ...topology(plan, needs.nrCpus),
    seed: plan.seed,
    lat: latencyMode(plan),
    stages: plan.stages || plan.clock === 'virtual',
    trace: plan.trace !== null,
    memBytes: memBytes(plan, specs),
    disks,
    extraBytes:
      needs.extraBytes + (kernel ? kernelBytes(disks, needs.nrCpus) + heapBytes + cacheBytes : 0),
    ...(kernel
      ? {
          kernel: {
            ...(heapBytes > 0 ? { heapBytes } : {}),
            ...(pageCache ? { pageCache } : {}),
            ...(plan.kernel === '4.19' ? {} : { era: plan.kernel }),
            ...(plan.machine.timer === 'exact' ? { timer: 'exact' as const } : {}),
          },
        }
      : {}),
    jobs: needs.jobs,
    costs: plan.machine.costs,
    workerFile: WORKER_FILE,
  }
}

/** Which CPUs are threads of one core, and which share a cache, where any are and do. */
function topology(plan: RunPlan, cpus: number): Pick<MachineConfig, 'siblings' | 'caches'> {
  const { threads, cache } = plan.machine
  const firsts = (together: number): number[] =>
    Array.from({ length: cpus }, (_, cpu) => cpu - (cpu % together))
  return {
    ...(threads > 1 ? { siblings: firsts(threads) } : {}),
    ...(cache > 1 ? { caches: firsts(cache) } : {}),
  }
}

/** Whether a job is to go through the page cache. */
export function isBuffered(job: JobSpec): boolean {
  return !job.direct && job.engineKind !== 'null'
}

function pageCacheOf(plan: RunPlan): PageCacheConfig | undefined {
  if (!plan.jobs.some(isBuffered)) return undefined
  return { bytes: plan.pageCacheBytes, sysctls: plan.sysctls }
}

/** Of the kernel's own memory for one controller: admin queue, commands, buffers of identify data. */
const CONTROLLER_HEAP = 2 ** 20

/** The kernel's memory for controllers, and what they want to borrow of it. */
export function controllerHeaps(disks: readonly DiskConfig[]): number {
  return disks.reduce((sum, { controller }) => {
    if (controller === undefined) return sum
    const borrowed = (controller.config.hostMemory?.preferred ?? 0) * 4096
    return sum + CONTROLLER_HEAP + 2 * borrowed
  }, 0)
}

/** The disks of a device: one, or one for each namespace. */
function planDisks(plan: RunPlan, spec: DeviceSpec, nrCpus: number): DiskConfig[] {
  if (spec.kind === 'ocssd') return [ocssdDisk(spec, nrCpus, plan.seed)]
  if (spec.kind === 'pblk' || spec.kind === 'rrpc')
    return [targetDisk(spec, parentOf(spec, plan.devices))]
  const need = plan.diskNeeds.get(`/dev/${spec.name}`) ?? 0
  return diskConfigs(builtOnly(spec), plan.clock, need, nrCpus, plan.kernel)
}

function targetHeaps(devices: readonly DeviceSpec[]): number {
  return devices.reduce(
    (sum, one) =>
      sum +
      (one.kind === 'pblk' || one.kind === 'rrpc' ? targetHeap(one, parentOf(one, devices)) : 0),
    0,
  )
}

/** What an emulated kernel takes for disks with their queues. */
function kernelBytes(disks: readonly DiskConfig[], cpus: number): number {
  const queues = disks.reduce((sum, disk) => sum + queuesOf(disk, cpus), 0)
  return hostKernelBytes(cpus, queues)
}

/** A job is judged by its latencies: then they are measured, whatever --lat says. */
function judgesLatency(plan: RunPlan): boolean {
  return plan.jobs.some(job => job.latencyTarget !== null || job.maxLatencyNs > 0)
}

/** `--lat none` does not hold: a line for the user, or none. */
export function latencyNotes(plan: RunPlan): string[] {
  if (plan.lat !== 'none' || !judgesLatency(plan)) return []
  return [
    '--lat none: latencies are measured all the same, latency_target and max_latency need them',
  ]
}

/** In virtual time a stamp is a load, so that every I/O gets its own. Jobs that all time nothing need no stamps at all. */
function latencyMode(plan: RunPlan): MachineConfig['lat'] {
  const judged = judgesLatency(plan)
  if (plan.jobs.every(job => job.gtodReduce) && !judged) return 'none'
  const lat = judged && plan.lat === 'none' ? 'batch' : plan.lat
  return plan.clock === 'virtual' && lat === 'batch' ? 'every' : lat
}

/** Budget of all data stores: what the devices ask for, or the machine's. */
function memBytes(plan: RunPlan, specs: readonly DeviceSpec[]): number {
  const asked = specs.reduce(
    (sum, spec) => sum + ('memBytes' in spec ? (spec.memBytes ?? 0) : 0),
    0,
  )
  return asked > 0 ? asked : plan.machine.memBytes
}

/** The kinds of disks that a machine can have. */
export type BuiltSpec = NvmeSpec | NullBlkSpec

/** @throws UserError for a kind of device that is not built yet */
export function builtOnly(spec: DeviceSpec): BuiltSpec {
  if (spec.kind === 'nvme' || spec.kind === 'null_blk') return spec
  throw new UserError(
    `--device ${spec.kind}: not built yet here; the devices that exist are nvme and null_blk`,
  )
}

/** Path without /dev/. */
function diskName(path: string): string {
  return path.replace(/^\/dev\//, '')
}

function checkNeeds(plan: RunPlan, disks: readonly DiskConfig[]): void {
  for (const [path, bytes] of plan.diskNeeds) {
    const disk = disks.find(({ name }) => name === diskName(path))
    if (!disk) {
      const have = disks.map(({ name }) => `/dev/${name}`).join(', ')
      throw new UserError(`${path}: there is no such disk; this machine has ${have}`)
    }
    const namespace = disk.controller?.config.namespaces?.[0]
    const size = Math.min(namespace?.bytes ?? disk.sizeBytes, LARGEST_DISK)
    const format = namespace && disk.controller?.config.formats?.[namespace.format]
    const metadata = format?.metadataBytes ?? 0
    if (metadata > 0 && (metadata !== 8 || (namespace?.protection ?? 0) === 0))
      throw new UserError(
        `${path}: ms=${metadata}: Linux shows such a disk without capacity; jobs can use ms=8 with pi=`,
      )
    if (bytes > size)
      throw new UserError(
        `${path}: the jobs reach byte ${bytes}, the disk ends at ${size} (${formatBytes(size)})`,
      )
  }
}

/** The disks of a machine that was not described, as large as they need to be; null_blk's only where a job names it. */
function defaultDisks(plan: RunPlan): BuiltSpec[] {
  const size = sizeFor(plan.diskNeeds.get(DEFAULT_DISK) ?? 0)
  const need = plan.diskNeeds.get(DEFAULT_NULLB)
  const nullb = need === undefined ? [] : [`null_blk,size=${sizeFor(need) / 2 ** 20}`]
  return parseDevices([`nvme,size=${size}`, ...nullb]).map(builtOnly)
}

/** One disk, large enough for `need` bytes unless its size was said; with its further namespaces behind it. */
export function diskConfigs(
  spec: BuiltSpec,
  clock: RunPlan['clock'],
  need: number,
  nrCpus: number,
  era: KernelEra = '4.19',
): DiskConfig[] {
  const disk = diskConfig(spec, clock, need, nrCpus, era)
  return spec.kind === 'nvme' ? withNamespaces(spec, disk) : [disk]
}

/** The first of them. @throws UserError for what is not built yet */
export function diskConfig(
  spec: BuiltSpec,
  clock: RunPlan['clock'],
  need: number,
  nrCpus: number,
  era: KernelEra = '4.19',
): DiskConfig {
  if (spec.kind === 'null_blk') return nullBlkConfig(spec, sizeFor(need))
  return nvmeConfig(spec, clock, need, nrCpus, era)
}

function nvmeConfig(
  spec: NvmeSpec,
  clock: RunPlan['clock'],
  need: number,
  nrCpus: number,
  era: KernelEra,
): DiskConfig {
  const { features } = spec
  // Classes of queues are beside those of the CPUs when the driver makes them.
  const probed = isProbed(spec)
  const pollQueues = probed ? Math.min(spec.pollQueues, nrCpus) : spec.pollQueues
  const classes = probed ? pollQueues + Math.min(features.writeQueues ?? 0, nrCpus) : 0
  const queues = spec.queues ?? nrCpus + classes
  const shown = spec.sizeBytes ?? sizeFor(need)
  const sizeBytes = shown + (features.unallocatedBytes ?? 0)
  return {
    name: spec.name,
    driver: 'nvme',
    sizeBytes,
    lbaShift: LBA_SHIFTS[spec.lbaBytes]!,
    queues,
    pollQueues,
    depth: spec.depth,
    sched:
      spec.sched === 'default' ? default_elevator(Math.min(queues, nrCpus), false) : spec.sched,
    ...media(spec, clock === 'virtual', sizeBytes),
    where: spec.where ?? 'inline',
    wait: spec.wait ?? 'irq',
    coalesceCount: spec.coalesce?.entries ?? 1,
    coalesceNs: spec.coalesce?.ns ?? 0,
    // a device on a thread of its own wants each doorbell on its own line unless told otherwise
    stride: spec.stride === 0 ? null : spec.stride,
    shadow: features.shadow ?? false,
    mdtsBytes: features.mdtsBytes ?? 0,
    wc: spec.writeCache,
    ...faultsOf(spec, shown, era),
  }
}

/** Faults of the boot image's device; or a whole controller, which the driver finds and recovers. */
function faultsOf(
  spec: NvmeSpec,
  sizeBytes: number,
  era: KernelEra,
): Pick<DiskConfig, 'faults' | 'controller'> {
  const { faults, name } = spec
  // the boot image is what the reference's driver leaves behind; another age's is seen at work
  if (era === '4.19' && !isProbed(spec))
    return { faults: faults.map(fault => faultConfig(name, fault)) }
  checkClasses(spec, era)
  return { controller: diskController(spec, sizeBytes, 0) }
}

/** Which of a probed controller's queues are polled is said by their number, and by the I/O. */
function checkClasses({ name, wait, pollQueues, features }: NvmeSpec, era: KernelEra): void {
  if ((wait ?? 'irq') !== 'irq')
    throw new UserError(
      `${name}: wait=${wait!}: the queues of a controller that is probed have interrupts; poll-queues= adds some that have none, for hipri jobs`,
    )
  if (era !== '4.19' && (pollQueues > 0 || features.writeQueues !== undefined))
    throw new UserError(`${name}: poll-queues and write-queues: the driver of ${era} has neither`)
}

/** log2 of the block sizes that a device text may name. */
const LBA_SHIFTS: Readonly<Record<number, DiskConfig['lbaShift']>> = {
  512: 9,
  1024: 10,
  2048: 11,
  4096: 12,
}

function faultConfig(name: string, { match, action }: FaultSpec): FaultConfig {
  const refuse = (what: string): never => {
    throw new UserError(`${name}: fault ${what}: not built yet`)
  }
  if (match.admin) refuse('of admin commands')
  if (match.count !== undefined && (match.nth === undefined || match.count !== 1)) refuse('count=')
  const { opcode, queue: qid, lba, nth } = match
  const where = {
    ...(opcode === undefined ? {} : { opcode }),
    ...(qid === undefined ? {} : { qid }),
    ...(lba === undefined ? {} : { lba }),
    ...(nth === undefined ? {} : { nth }),
  }
  if (action.kind === 'status') return { ...where, action: 'status', value: action.status }
  if (action.kind === 'delay') return { ...where, action: 'delay', value: action.ns }
  if (action.kind === 'corrupt') return { ...where, action: 'corrupt', value: 0 }
  return refuse(action.kind)
}

/** A disk of its own size: what the jobs need, at least 1 GiB, whole gibibytes. */
function sizeFor(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / GIB)) * GIB
}

type Media = Pick<
  DiskConfig,
  'model' | 'serviceNs' | 'units' | 'sigmaNs' | 'empirical' | 'operations' | 'nand'
>

function media(spec: NvmeSpec, virtual: boolean, sizeBytes: number): Media {
  const { media: m } = spec
  if (m === null)
    return virtual
      ? { model: 'fixed', serviceNs: DEFAULT_SERVICE_NS, units: DEFAULT_UNITS }
      : { model: 'ram', serviceNs: 0, units: 1 }
  if (m.model === 'null' || m.model === 'ram') return { model: m.model, serviceNs: 0, units: 1 }
  if (m.model === 'nand') return nandMedia(m, sizeBytes)
  const { model, units } = m
  const [read, ...others] =
    m.model === 'empirical'
      ? [m.read, m.write, m.trim, m.flush].map(curve => ({
          serviceNs: 0,
          empirical: quantiles(curve),
        }))
      : [m.read, m.write, m.trim, m.flush].map(({ meanNs, devNs }) => ({
          serviceNs: meanNs,
          sigmaNs: devNs,
        }))
  const differ = others.some(one => JSON.stringify(one) !== JSON.stringify(read))
  return { model, units, ...read!, ...(differ ? { operations: others } : {}) }
}

type NandMedia = Extract<MediaSpec, { readonly model: 'nand' }>

/** Times of flash by cell, ns: pages of the fast kind. */
const CELL_TIMES: Readonly<Record<NandCell, readonly [number, number, number, number]>> = {
  // read, program, erase, page over its channel
  slc: [40_000, 800_000, 2_000_000, 20_000],
  mlc: [48_000, 850_000, 3_000_000, 52_433],
  tlc: [56_500, 820_500, 3_000_000, 52_433],
  qlc: [59_325, 861_525, 3_000_000, 52_433],
}

/** Flash of a drive: its blocks follow from the size and the over-provisioning unless they were said. */
function nandMedia(m: NandMedia, sizeBytes: number): Media {
  const { geometry: g, timing: t } = m
  const dies = g.channels * g.dies
  const rowBytes = g.planes * g.pageBytes
  const perBlock = g.pages * rowBytes
  const data = Math.ceil(sizeBytes / dies / perBlock)
  const shown = (sizeBytes * (1 + g.overProvisioning / 100)) / dies / perBlock
  const blocks = g.blocks ?? Math.ceil(shown) + SPARE_BLOCKS
  if (blocks < data + SPARE_BLOCKS) {
    throw new UserError(
      `model=nand: ${blocks} blocks a plane hold no ${formatBytes(sizeBytes)} with ${SPARE_BLOCKS} to spare; raise blocks= or lower size=`,
    )
  }
  const [read, program, erase, transfer] = CELL_TIMES[t.cell]
  const nand = {
    channels: g.channels,
    dies: g.dies,
    planes: g.planes,
    blocks,
    pages: g.pages,
    pageBytes: g.pageBytes,
    readNs: t.readNs ?? read,
    programNs: t.programNs ?? program,
    eraseNs: t.eraseNs ?? erase,
    transferNs: t.transferNs ?? transfer,
    fillBytes: Math.floor((sizeBytes * m.fillPercent) / 100),
    keepsData: m.keepsData,
  }
  return { model: 'nand', serviceNs: nand.readNs, units: 1, nand }
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
