// NVMe disks whose controller is more than the boot image's device: what `--device nvme,...` says of it becomes the
// controller's configuration, and each further namespace a disk of its own for the jobs.

import { DEFAULT_CONFIG, type ControllerConfig, type LbaFormat } from '../device/nvme/config.js'
import type { DiskConfig, DiskController } from '../machine/config.js'
import { namespaceBytes, namespaceNames, needsProbe } from '../machine/spec-features.js'
import type { ControllerFeatures, FaultSpec, NvmeSpec } from '../machine/spec.js'

const PAGE = 4096

/** What a fault needs that the boot image has not: somebody who waits with a timeout, aborts, resets, removes. */
function needsDriver({ match, action }: FaultSpec): boolean {
  const data = action.kind === 'corrupt' && (action.what ?? 'data') === 'data'
  const plain = action.kind === 'status' || action.kind === 'delay' || data
  return !plain || match.admin === true || (match.count !== undefined && match.count !== 1)
}

/** Whether the driver has to find a controller. */
export function isProbed(spec: NvmeSpec): boolean {
  return needsProbe(spec.features) || spec.faults.some(needsDriver)
}

/** The LBA formats of a controller that has this one, and its number. */
function formatsWith(dataShift: number, metadataBytes: number): [readonly LbaFormat[], number] {
  const same = (f: LbaFormat): boolean =>
    f.dataShift === dataShift && f.metadataBytes === metadataBytes
  const { formats } = DEFAULT_CONFIG
  const at = formats.findIndex(same)
  if (at >= 0) return [formats, at]
  return [[...formats, { dataShift, metadataBytes }], formats.length]
}

/** What of the controller differs from the defaults. */
function configOf(spec: NvmeSpec, sizeBytes: number): Partial<ControllerConfig> {
  const { features: f, faults, lbaBytes } = spec
  const parts = f.namespaces ?? 1
  const [formats, format] = formatsWith(Math.log2(lbaBytes), f.metadataBytes ?? 0)
  const namespace = {
    bytes: namespaceBytes(sizeBytes, parts),
    format,
    protection: f.protection ?? 0,
    protectionFirst: f.protectionFirst ?? false,
    extended: f.extended ?? false,
  }
  return {
    faults,
    formats,
    namespaces: Array.from({ length: parts }, () => namespace),
    ...(f.hmb
      ? { hostMemory: { preferred: f.hmb.preferred / PAGE, minimum: f.hmb.minimum / PAGE } }
      : {}),
    ...(f.retryMs ? { retryDelays: retryUnits(f.retryMs) } : {}),
    ...(f.sgl === true ? { sgls: 1 } : {}),
    ...(f.weighted === undefined ? {} : { weighted: f.weighted }),
    ...(f.inflight === undefined ? {} : { serviceSlots: f.inflight }),
    ...(f.readyNs === undefined ? {} : { readyNs: f.readyNs }),
    ...(f.events?.some(({ action }) => action.kind === 'power-loss') ? { trackCache: true } : {}),
  }
}

/** CRDT counts in steps of 100 ms. */
function retryUnits([a, b, c]: readonly [number, number, number]): [number, number, number] {
  return [a / 100, b / 100, c / 100]
}

function zonesOf({ zoned }: ControllerFeatures, lbaBytes: number): DiskController['zoned'] {
  if (zoned === undefined) return undefined
  const { zoneBytes, capacityBytes, maxOpen, maxActive } = zoned
  return {
    zoneBlocks: zoneBytes / lbaBytes,
    capacityBlocks: capacityBytes / lbaBytes,
    maxOpen,
    maxActive,
    appendBytes: 0,
  }
}

/** The controller of a disk, with room for so many namespaces more than it has. */
export function diskController(spec: NvmeSpec, sizeBytes: number, spare: number): DiskController {
  const { features: f } = spec
  const zoned = zonesOf(f, spec.lbaBytes)
  return {
    config: configOf(spec, sizeBytes),
    slots: (f.namespaces ?? 1) + spare,
    ...(zoned === undefined ? {} : { zoned }),
    ...(f.events === undefined ? {} : { events: f.events }),
    ...(f.cmbBytes === undefined ? {} : { cmbBytes: f.cmbBytes }),
    ...(f.cmbSqs === undefined ? {} : { use_cmb_sqs: f.cmbSqs }),
    ...(f.writeQueues === undefined ? {} : { write_queues: f.writeQueues }),
    ...(spec.pollQueues === 0 ? {} : { poll_queues: spec.pollQueues }),
  }
}

/** The disks of a controller's namespaces: the disk itself, and one for each further namespace. */
export function withNamespaces(spec: NvmeSpec, disk: DiskConfig): DiskConfig[] {
  const names = namespaceNames(spec.name, spec.features)
  if (names.length === 1) return [disk]
  const sizeBytes = namespaceBytes(spec.sizeBytes!, names.length)
  const { controller: _, ...plain } = disk
  return [
    disk,
    ...names.slice(1).map(name => ({ ...plain, name, sizeBytes, namespaceOf: disk.name })),
  ]
}
