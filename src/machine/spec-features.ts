// Keys of `--device nvme,...` about what its controller offers beside one plain namespace.
//
//   namespaces=N unallocated=SIZE          N equal parts of size=, /dev/nvme0n1 to n<N>; room that create-ns can take
//   ms=BYTES pi=TYPE pil=1 ext=1           metadata of each block, end-to-end protection in its last (pil: first) 8 bytes,
//                                          behind the data (ext) or in a buffer of their own
//   zoned=1 zone-size zone-capacity max-open max-active     the zoned command set
//   cmb=SIZE cmb-sqs=0 hmb=SIZE[/LEAST]    a buffer in the controller, where submission queues go unless told;
//                                          memory that it wants of the host
//   crdt=T1/T2/T3                          delays before another try, as a status chooses one of them
//   shadow=1 sgl=1 mdts=SIZE               doorbell buffers, SGLs, the largest transfer
//   write-queues=N                         queue pairs for writes alone, those left over are for reads
//   wrr=0 inflight=N ready=TIME            weighted round robin; commands in service at once; CC.EN to CSTS.RDY
//   event=TIME:EVENT                       what happens to it while jobs run (spec-event.ts); repeatable
//
// All but shadow and mdts need a controller that the driver finds (needsProbe).

import type { ControllerFeatures, EventSpec, ZonedFeature } from './spec.js'
import { formatEvent, parseEvent } from './spec-event.js'
import { formatNs, formatSize, type Keys, parseBytes, parseNs, show } from './spec-values.js'

const MIB = 2 ** 20
const MOST_NAMESPACES = 32
const PAGE = 4096

/** The size of a zone that was not said. */
const ZONE_BYTES = 16 * MIB

type Sizes = { readonly sizeBytes: number | null; readonly lbaBytes: number }

/** Reads the keys; what was not said is absent. */
export function readFeatures(keys: Keys, { sizeBytes, lbaBytes }: Sizes): ControllerFeatures {
  const features: ControllerFeatures = {
    ...some('namespaces', keys.whole('namespaces', 1, MOST_NAMESPACES)),
    ...some('unallocatedBytes', keys.size('unallocated', PAGE, 2 ** 44)),
    ...some('metadataBytes', number(keys.choice('ms', ['0', '8', '16', '64']))),
    ...some('protection', number(keys.choice('pi', ['0', '1', '2', '3']))),
    ...some('protectionFirst', keys.bool('pil')),
    ...some('extended', keys.bool('ext')),
    ...some('zoned', readZoned(keys, lbaBytes)),
    ...some('cmbBytes', keys.size('cmb', PAGE, 256 * MIB)),
    ...some('cmbSqs', keys.bool('cmb-sqs')),
    ...some('retryMs', keys.form('crdt', parseDelays, 'up to three times, 100ms to 6553500ms')),
    ...some('hmb', keys.form('hmb', parseHmb, 'SIZE or SIZE/LEAST, 4K to 64M, whole pages')),
    ...some('shadow', keys.bool('shadow')),
    ...some('sgl', keys.bool('sgl')),
    ...some('mdtsBytes', keys.size('mdts', PAGE, 2 ** 31)),
    ...some('weighted', keys.bool('wrr')),
    ...some('writeQueues', keys.whole('write-queues', 1, 65534)),
    ...some('inflight', keys.whole('inflight', 1, 65536)),
    ...some('readyNs', keys.time('ready')),
    ...some('events', readEvents(keys)),
  }
  check(keys, features, sizeBytes)
  return features
}

function some<K extends string, V>(key: K, value: V | undefined): { [k in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [k in K]?: V })
}

function number<T extends number>(text: `${T}` | undefined): T | undefined {
  return text === undefined ? undefined : (Number(text) as T)
}

function parseHmb(text: string): ControllerFeatures['hmb'] | undefined {
  const [first, second, ...more] = text.split('/')
  const preferred = parseBytes(first!)
  const minimum = second === undefined ? 0 : parseBytes(second)
  if (preferred === undefined || minimum === undefined || more.length > 0) return undefined
  const pages = preferred % PAGE === 0 && minimum % PAGE === 0
  const fits = preferred >= PAGE && preferred <= 64 * MIB && minimum <= preferred
  return pages && fits ? { preferred, minimum } : undefined
}

/** Steps of CRDT. */
const DELAY_MS = 100

function parseDelays(text: string): [number, number, number] | undefined {
  const ms = text.split('/').map(part => (parseNs(part) ?? Number.NaN) / 1e6)
  const good = (n: number): boolean => n % DELAY_MS === 0 && n >= DELAY_MS && n <= 65535 * DELAY_MS
  if (ms.length > 3 || !ms.every(good)) return undefined
  return [ms[0]!, ms[1] ?? 0, ms[2] ?? 0]
}

function readEvents(keys: Keys): readonly EventSpec[] | undefined {
  const texts = keys.all('event')
  if (texts.length === 0) return undefined
  return texts.map(text => {
    const event = parseEvent(text)
    return typeof event === 'string' ? keys.fail(`event=${show(text)}: ${event}`) : event
  })
}

function readZoned(keys: Keys, lbaBytes: number): ZonedFeature | undefined {
  const zoned = keys.bool('zoned') ?? false
  const said = ['zone-size', 'zone-capacity', 'max-open', 'max-active'].filter(key => keys.has(key))
  const zoneBytes = keys.size('zone-size', 64 * 1024, 2 ** 33) ?? ZONE_BYTES
  const capacityBytes = keys.size('zone-capacity', 64 * 1024, 2 ** 33) ?? zoneBytes
  const maxOpen = keys.whole('max-open', 0, 65536) ?? 0
  const maxActive = keys.whole('max-active', 0, 65536) ?? 0
  if (!zoned && said.length > 0) keys.fail(`${said[0]!} without zoned=1`)
  if (!zoned) return undefined
  if (capacityBytes > zoneBytes) keys.fail('zone-capacity is above zone-size')
  if (zoneBytes % lbaBytes !== 0 || capacityBytes % lbaBytes !== 0)
    keys.fail(`zone-size and zone-capacity are not multiples of lba=${lbaBytes}`)
  if (maxActive > 0 && maxOpen > maxActive) keys.fail('max-open is above max-active')
  return { zoneBytes, capacityBytes, maxOpen, maxActive }
}

function check(keys: Keys, f: ControllerFeatures, sizeBytes: number | null): void {
  const parts = f.namespaces ?? 1
  if (parts > 1 && sizeBytes === null) keys.fail(`namespaces=${parts} needs size=`)
  const each = sizeBytes === null ? null : namespaceBytes(sizeBytes, parts)
  if (each !== null && each < MIB)
    keys.fail(`namespaces=${parts}: ${formatSize(each)} for each, and a namespace has 1M at least`)
  if (f.unallocatedBytes !== undefined && sizeBytes === null) keys.fail('unallocated needs size=')
  if ((f.unallocatedBytes ?? 0) % PAGE !== 0) keys.fail('unallocated is not a multiple of 4K')
  if ((f.protection ?? 0) > 0 && (f.metadataBytes ?? 0) === 0)
    keys.fail(`pi=${f.protection!} needs metadata to stand in: ms=8, 16 or 64`)
  if (f.protectionFirst === true && (f.protection ?? 0) === 0) keys.fail('pil needs pi=')
  if (f.extended === true && (f.metadataBytes ?? 0) === 0) keys.fail('ext needs ms=')
  if (f.cmbSqs !== undefined && f.cmbBytes === undefined) keys.fail('cmb-sqs needs cmb=')
  if ((f.cmbBytes ?? 0) % PAGE !== 0) keys.fail('cmb is not a multiple of 4K')
  const mdts = f.mdtsBytes ?? PAGE
  if (2 ** Math.round(Math.log2(mdts / PAGE)) * PAGE !== mdts)
    keys.fail(`mdts=${formatSize(mdts)} is not 4K times a power of two`)
  checkZoned(keys, f, each)
}

function checkZoned(keys: Keys, f: ControllerFeatures, each: number | null): void {
  if (f.zoned === undefined) return
  if (each === null) keys.fail('zoned needs size=')
  if ((f.metadataBytes ?? 0) > 0) keys.fail('zoned and ms= together: not modelled')
  const { zoneBytes } = f.zoned
  if (each % zoneBytes !== 0)
    keys.fail(`a namespace of ${formatSize(each)} is not whole zones of ${formatSize(zoneBytes)}`)
}

/** Bytes of each of so many namespaces: whole pages. */
export function namespaceBytes(sizeBytes: number, parts: number): number {
  return parts === 1 ? sizeBytes : Math.floor(sizeBytes / parts / PAGE) * PAGE
}

/** Names of a disk's namespaces, the disk's own first. */
export function namespaceNames(name: string, { namespaces = 1 }: ControllerFeatures): string[] {
  return Array.from({ length: namespaces }, (_, i) => name.replace(/n1$/, `n${i + 1}`))
}

/** Whether a controller has to be found for them: the boot image's device has none. */
export function needsProbe(features: ControllerFeatures): boolean {
  return Object.keys(features).some(key => key !== 'shadow' && key !== 'mdtsBytes')
}

/** The keys that readFeatures reads as these. */
export function formatFeatures(f: ControllerFeatures): string[] {
  const { zoned, hmb } = f
  const words: readonly (readonly [string, string | number | boolean | undefined])[] = [
    ['namespaces', f.namespaces],
    ['unallocated', size(f.unallocatedBytes)],
    ['ms', f.metadataBytes],
    ['pi', f.protection],
    ['pil', f.protectionFirst],
    ['ext', f.extended],
    ['zoned', zoned === undefined ? undefined : 1],
    ['zone-size', size(zoned?.zoneBytes)],
    ['zone-capacity', size(zoned?.capacityBytes)],
    ['max-open', zoned?.maxOpen],
    ['max-active', zoned?.maxActive],
    ['cmb', size(f.cmbBytes)],
    ['cmb-sqs', f.cmbSqs],
    [
      'crdt',
      f.retryMs
        ?.filter(ms => ms > 0)
        .map(ms => `${ms}ms`)
        .join('/'),
    ],
    ['hmb', hmb && `${formatSize(hmb.preferred)}/${formatSize(hmb.minimum)}`],
    ['shadow', f.shadow],
    ['sgl', f.sgl],
    ['mdts', size(f.mdtsBytes)],
    ['wrr', f.weighted],
    ['write-queues', f.writeQueues],
    ['inflight', f.inflight],
    ['ready', f.readyNs === undefined ? undefined : formatNs(f.readyNs)],
    ...(f.events ?? []).map(event => ['event', formatEvent(event)] as const),
  ]
  return words.flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${typeof value === 'boolean' ? Number(value) : value}`],
  )
}

function size(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : formatSize(bytes)
}
