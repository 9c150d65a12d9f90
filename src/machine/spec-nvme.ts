// `--device nvme,...` and `--device nvme,ocssd=REVISION,...`: the keys of a PCIe controller and of what is behind it.
//
//   both   queues poll-queues depth stride where wait coalesce mem fault (repeatable)
//   nvme   size lba vwc sched model and the keys of the model (spec-media.ts), what the controller offers (spec-features.ts)
//   ocssd  2.0: groups pus chunks clba ws-min ws-opt mw-cunits maxoc maxocpu early-reset multi-reset copy
//          1.2: channels luns planes blocks pages sectors l2p
//          oob endurance write-fail reset-fail read-fail high-ecc bad (repeatable) dnr channel, cell and times
//
// What nobody says is the device of the emulators (2.0: 2 x 8 LUNs, 15 GiB; 1.2: 4 LUNs, 2 GiB). One that keeps a table
// (l2p, or an rrpc on it) has blocks of 512 sectors, the most that rrpc can have, and as many bytes.
//
// What contradicts itself is refused here: an inline device has completed before anyone could wait for it; polling needs
// no interrupts and so no coalescing.

import { SCHEDULER_NAMES } from './spec.js'
import type {
  ControllerSpec,
  MediaSpec,
  NvmeSpec,
  OcssdGeometry12,
  OcssdGeometry20,
  OcssdSpec,
} from './spec.js'
import { formatFeatures, readFeatures } from './spec-features.js'
import { formatFault, parseFault } from './spec-fault.js'
import { formatMedia, formatTiming, nandCapacity, readMedia, readTiming } from './spec-media.js'
import { formatNs, formatSize, type Keys, parseNs, parseWhole, show } from './spec-values.js'

/** Smallest and largest disk, and the largest data store of one. */
export const MIN_SIZE: number = 2 ** 20
export const MAX_SIZE: number = 2 ** 44
const MAX_STORE = 2 ** 32
/** A sector of an open-channel device. */
const SECTOR = 4096

function readController(keys: Keys): ControllerSpec {
  const controller: ControllerSpec = {
    queues: keys.whole('queues', 1, 65535) ?? null,
    pollQueues: keys.whole('poll-queues', 0, 65534) ?? 0,
    depth: keys.whole('depth', 2, 65536) ?? 1024,
    stride: keys.whole('stride', 0, 15) ?? null,
    where: keys.choice('where', ['inline', 'thread']) ?? null,
    wait: keys.choice('wait', ['poll', 'irq', 'hybrid']) ?? null,
    coalesce:
      keys.form(
        'coalesce',
        parseCoalesce,
        'ENTRIES/TIME, 1 to 256 and up to 25500us in steps of 100us',
      ) ?? null,
    memBytes: keys.size('mem', MIN_SIZE, MAX_STORE) ?? null,
    faults: keys.all('fault').map(text => {
      const fault = parseFault(text)
      return typeof fault === 'string' ? keys.fail(`fault=${show(text)}: ${fault}`) : fault
    }),
  }
  checkController(keys, controller)
  return controller
}

/** Interrupt coalescing counts time in steps of 100 us, at most 255 of them. */
function parseCoalesce(text: string): ControllerSpec['coalesce'] | undefined {
  const [first, second, ...more] = text.split('/')
  const entries = parseWhole(first!)
  const ns = parseNs(second ?? '')
  if (entries === undefined || ns === undefined || more.length > 0) return undefined
  const valid = entries >= 1 && entries <= 256 && ns % 100_000 === 0 && ns <= 25_500_000
  return valid ? { entries, ns } : undefined
}

function checkController(keys: Keys, c: ControllerSpec): void {
  if (c.queues !== null && c.pollQueues >= c.queues) {
    keys.fail(`poll-queues=${c.pollQueues} leaves none of queues=${c.queues} with an interrupt`)
  }
  if (c.where === 'inline') {
    const waits = c.wait !== null ? `wait=${c.wait}` : c.coalesce !== null ? 'coalesce' : null
    const needs = waits ?? (c.pollQueues > 0 ? 'poll-queues' : null)
    if (needs !== null) {
      keys.fail(`${needs} contradicts where=inline, where nothing is waited for; use where=thread`)
    }
  }
  if (c.wait !== 'poll') return
  if (c.coalesce !== null) keys.fail('coalesce contradicts wait=poll, which takes no interrupts')
  if (c.pollQueues > 0) keys.fail('poll-queues contradicts wait=poll, which polls every queue')
}

/** An ordinary disk called `name`. */
export function readNvme(keys: Keys, name: string): NvmeSpec {
  const lbaBytes = keys.size('lba', 512, 4096) ?? 512
  if ((lbaBytes & (lbaBytes - 1)) !== 0)
    keys.fail(`lba=${lbaBytes}: must be 512, 1024, 2048 or 4096`)
  const given = keys.size('size', MIN_SIZE, MAX_SIZE) ?? null
  const controller = readController(keys)
  const writeCache = keys.bool('vwc') ?? true
  const sched = keys.choice('sched', SCHEDULER_NAMES) ?? 'none'
  const media = readMedia(keys)
  keys.all('ocssd')
  const sizeBytes = nvmeSize(keys, given, media)
  if (sizeBytes !== null && sizeBytes % lbaBytes !== 0) {
    keys.fail(`size=${sizeBytes} is not a multiple of lba=${lbaBytes}`)
  }
  if (media?.model === 'null' && controller.memBytes !== null) {
    keys.fail('mem contradicts model=null, which keeps no data')
  }
  const features = readFeatures(keys, { sizeBytes, lbaBytes })
  return {
    kind: 'nvme',
    name,
    sizeBytes,
    lbaBytes,
    media,
    writeCache,
    sched,
    features,
    ...controller,
  }
}

/** Flash whose blocks are counted gives the size, or must at least hold it. */
function nvmeSize(keys: Keys, given: number | null, media: MediaSpec | null): number | null {
  if (media?.model !== 'nand') return given
  const capacity = nandCapacity(media.geometry)
  if (capacity === null) return given
  if (capacity < MIN_SIZE || capacity > MAX_SIZE) {
    keys.fail(
      `the flash holds ${formatSize(capacity)}; a disk has ${formatSize(MIN_SIZE)} to ${formatSize(MAX_SIZE)}`,
    )
  }
  if (given !== null && given > capacity) {
    keys.fail(`size=${formatSize(given)} is more than the flash holds (${formatSize(capacity)})`)
  }
  return given ?? capacity
}

/** An open-channel device called `name`. `table`: it keeps one unless it says otherwise. */
export function readOcssd(keys: Keys, name: string, table: boolean): OcssdSpec {
  const version = keys.choice('ocssd', ['2.0', '1.2']) ?? '2.0'
  const geometry = version === '2.0' ? readGeometry20(keys) : readGeometry12(keys, table)
  const bytes = ocssdSectors(geometry) * SECTOR
  if (bytes > MAX_SIZE)
    keys.fail(`the geometry has ${formatSize(bytes)}; at most ${formatSize(MAX_SIZE)}`)
  return {
    kind: 'ocssd',
    name,
    geometry,
    timing: readTiming(keys),
    oobBytes: keys.whole('oob', 0, 64) ?? 16,
    endurance: keys.whole('endurance', 0, 1_000_000) ?? 0,
    writeFailPercent: keys.whole('write-fail', 0, 100) ?? 0,
    resetFailPercent: keys.whole('reset-fail', 0, 100) ?? 0,
    readFailPercent: keys.whole('read-fail', 0, 100) ?? 0,
    highEccPercent: keys.whole('high-ecc', 0, 100) ?? 0,
    bad: keys.all('bad').map(text => readBad(keys, text, geometry)),
    dnr: keys.bool('dnr') ?? true,
    channel: keys.bool('channel') ?? true,
    ...readController(keys),
  }
}

/** A chunk that is bad from the factory: its number in the device. */
function readBad(keys: Keys, text: string, g: OcssdGeometry20 | OcssdGeometry12): number {
  const [groups, pus, chunks] =
    g.version === '2.0' ? [g.groups, g.pus, g.chunks] : [g.channels, g.luns, g.blocks]
  const [group = -1, pu = -1, chunk = -1, ...more] = text
    .split('/')
    .map(word => parseWhole(word) ?? -1)
  const inside = (n: number, count: number): boolean => n >= 0 && n < count
  if (more.length > 0 || !inside(group, groups) || !inside(pu, pus) || !inside(chunk, chunks))
    keys.fail(
      `bad=${show(text)}: must be GROUP/PU/CHUNK, up to ${groups - 1}/${pus - 1}/${chunks - 1}`,
    )
  return (group * pus + pu) * chunks + chunk
}

function readGeometry20(keys: Keys): OcssdGeometry20 {
  const geometry: OcssdGeometry20 = {
    version: '2.0',
    groups: keys.whole('groups', 1, 256) ?? 2,
    pus: keys.whole('pus', 1, 256) ?? 8,
    chunks: keys.whole('chunks', 1, 65536) ?? 60,
    clba: keys.whole('clba', 1, 1_048_576) ?? 4096,
    wsMin: keys.whole('ws-min', 1, 64) ?? 4,
    wsOpt: keys.whole('ws-opt', 1, 64) ?? 8,
    mwCunits: keys.whole('mw-cunits', 0, 65536) ?? 24,
    maxoc: keys.whole('maxoc', 0, 65536) ?? 0,
    maxocpu: keys.whole('maxocpu', 0, 65536) ?? 0,
    earlyReset: keys.bool('early-reset') ?? false,
    multiReset: keys.bool('multi-reset') ?? false,
    copy: keys.bool('copy') ?? false,
  }
  checkGeometry20(keys, geometry)
  return geometry
}

function checkGeometry20(keys: Keys, g: OcssdGeometry20): void {
  if (g.wsOpt % g.wsMin !== 0) keys.fail(`ws-opt=${g.wsOpt} is not a multiple of ws-min=${g.wsMin}`)
  if (g.clba % g.wsOpt !== 0) keys.fail(`clba=${g.clba} is not a multiple of ws-opt=${g.wsOpt}`)
  if (g.mwCunits >= g.clba) keys.fail(`mw-cunits=${g.mwCunits} is not below clba=${g.clba}`)
  if (g.maxoc > 0 && g.maxocpu > g.maxoc) {
    keys.fail(`maxocpu=${g.maxocpu} is above maxoc=${g.maxoc}`)
  }
}

function readGeometry12(keys: Keys, table: boolean): OcssdGeometry12 {
  const l2p = keys.bool('l2p') ?? table
  const planes = keys.whole('planes', 1, 4) ?? (l2p ? 1 : 2)
  if (planes === 3) keys.fail('planes=3: must be 1, 2 or 4')
  const sectors = keys.whole('sectors', 1, 16) ?? 4
  return {
    version: '1.2',
    channels: keys.whole('channels', 1, 255) ?? 1,
    luns: keys.whole('luns', 1, 255) ?? 4,
    planes,
    blocks: keys.whole('blocks', 1, 65535) ?? (l2p ? 256 : 32),
    pages: keys.whole('pages', 1, 65535) ?? (l2p ? Math.floor(512 / (planes * sectors)) : 512),
    sectors,
    l2p,
  }
}

/** LUNs (parallel units) of the whole device. */
export function ocssdLuns(g: OcssdGeometry20 | OcssdGeometry12): number {
  return g.version === '2.0' ? g.groups * g.pus : g.channels * g.luns
}

/** 4 KiB sectors of the whole device. */
export function ocssdSectors(g: OcssdGeometry20 | OcssdGeometry12): number {
  const each = g.version === '2.0' ? g.chunks * g.clba : g.planes * g.blocks * g.pages * g.sectors
  return ocssdLuns(g) * each
}

/** The keys that readNvme reads as this disk. */
export function formatNvme(spec: NvmeSpec): string[] {
  const keys = [`lba=${spec.lbaBytes}`, `vwc=${Number(spec.writeCache)}`, `sched=${spec.sched}`]
  if (spec.sizeBytes !== null) keys.push(`size=${formatSize(spec.sizeBytes)}`)
  if (spec.media !== null) keys.push(...formatMedia(spec.media))
  return [...keys, ...formatFeatures(spec.features), ...formatController(spec)]
}

/** The keys that readOcssd reads as this device. */
export function formatOcssd(spec: OcssdSpec): string[] {
  const g = spec.geometry
  const shape =
    g.version === '2.0'
      ? {
          groups: g.groups,
          pus: g.pus,
          chunks: g.chunks,
          clba: g.clba,
          'ws-min': g.wsMin,
          'ws-opt': g.wsOpt,
          'mw-cunits': g.mwCunits,
          maxoc: g.maxoc,
          maxocpu: g.maxocpu,
          'early-reset': Number(g.earlyReset),
          'multi-reset': Number(g.multiReset),
          copy: Number(g.copy),
        }
      : {
          channels: g.channels,
          luns: g.luns,
          planes: g.planes,
          blocks: g.blocks,
          pages: g.pages,
          sectors: g.sectors,
          l2p: Number(g.l2p),
        }
  return [
    `ocssd=${g.version}`,
    ...Object.entries(shape).map(([key, value]) => `${key}=${value}`),
    `oob=${spec.oobBytes}`,
    `endurance=${spec.endurance}`,
    `write-fail=${spec.writeFailPercent}`,
    `reset-fail=${spec.resetFailPercent}`,
    `read-fail=${spec.readFailPercent}`,
    `high-ecc=${spec.highEccPercent}`,
    ...spec.bad.map(chunk => `bad=${formatBad(chunk, g)}`),
    `dnr=${Number(spec.dnr)}`,
    `channel=${Number(spec.channel)}`,
    ...formatTiming(spec.timing),
    ...formatController(spec),
  ]
}

function formatBad(chunk: number, g: OcssdGeometry20 | OcssdGeometry12): string {
  const [pus, chunks] = g.version === '2.0' ? [g.pus, g.chunks] : [g.luns, g.blocks]
  const lun = Math.floor(chunk / chunks)
  return `${Math.floor(lun / pus)}/${lun % pus}/${chunk % chunks}`
}

function formatController(c: ControllerSpec): string[] {
  const keys = [`depth=${c.depth}`, `poll-queues=${c.pollQueues}`]
  if (c.stride !== null) keys.push(`stride=${c.stride}`)
  if (c.queues !== null) keys.push(`queues=${c.queues}`)
  if (c.where !== null) keys.push(`where=${c.where}`)
  if (c.wait !== null) keys.push(`wait=${c.wait}`)
  if (c.coalesce !== null) keys.push(`coalesce=${c.coalesce.entries}/${formatNs(c.coalesce.ns)}`)
  if (c.memBytes !== null) keys.push(`mem=${formatSize(c.memBytes)}`)
  return [...keys, ...c.faults.map(fault => `fault=${formatFault(fault)}`)]
}
