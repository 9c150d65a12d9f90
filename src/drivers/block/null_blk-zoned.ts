// Zones of null_blk: drivers/block/null_blk_zoned.c of Linux 4.19.
//
// The disk is cut into equal zones, host-managed: a zone is written at its write pointer only. What is left behind the
// last whole zone belongs to none.
//
//   condition   write at wp                      write elsewhere   reset
//   EMPTY       IMP_OPEN, wp moves on            IOERR             EMPTY, wp at the start
//   IMP_OPEN    wp moves on; at the end FULL     IOERR             same
//   FULL        IOERR                            IOERR             same
//
// A write of a whole zone goes from EMPTY to FULL. Reads are not restricted. The checks come after the data were stored.

import { BLK_STS_IOERR, BLK_STS_OK } from '../../../assembly/nvme.js'
import { enter, leave, type TraceHost } from '../../kernel/trace.js'

export const BLK_ZONE_TYPE_SEQWRITE_REQ = 2
export const BLK_ZONE_COND_EMPTY = 1
export const BLK_ZONE_COND_IMP_OPEN = 2
export const BLK_ZONE_COND_FULL = 14

/** struct blk_zone. Sectors. */
export interface blk_zone {
  readonly type: number
  readonly start: number
  readonly len: number
  wp: number
  cond: number
}

/** The zones of a disk. */
export interface null_zones {
  readonly zone_size_sects: number
  readonly zones: readonly blk_zone[]
}

/** Zones of a disk of so many bytes, all empty. */
export function null_zone_init(k: TraceHost, bytes: number, zone_size_sects: number): null_zones {
  const t = enter(k, 'null_zone_init')
  const count = Math.floor(bytes / (zone_size_sects * 512))
  const zones = Array.from({ length: count }, (_, i) => ({
    type: BLK_ZONE_TYPE_SEQWRITE_REQ,
    start: i * zone_size_sects,
    len: zone_size_sects,
    wp: i * zone_size_sects,
    cond: BLK_ZONE_COND_EMPTY,
  }))
  return leave(k, t, { zone_size_sects, zones })
}

function zoneOf(dev: null_zones, sector: number): blk_zone | undefined {
  return dev.zones[Math.floor(sector / dev.zone_size_sects)]
}

/** Moves the write pointer: a blk_status_t. */
export function null_zone_write(
  k: TraceHost,
  dev: null_zones,
  sector: number,
  sectors: number,
): number {
  const t = enter(k, 'null_zone_write')
  return leave(k, t, write(zoneOf(dev, sector), sector, sectors))
}

function write(zone: blk_zone | undefined, sector: number, sectors: number): number {
  if (zone === undefined || zone.cond === BLK_ZONE_COND_FULL) return BLK_STS_IOERR
  if (sector !== zone.wp || sector + sectors > zone.start + zone.len) return BLK_STS_IOERR
  zone.cond = BLK_ZONE_COND_IMP_OPEN
  zone.wp += sectors
  if (zone.wp === zone.start + zone.len) zone.cond = BLK_ZONE_COND_FULL
  return BLK_STS_OK
}

/** Empties the zone of a sector. */
export function null_zone_reset(k: TraceHost, dev: null_zones, sector: number): number {
  const t = enter(k, 'null_zone_reset')
  const zone = zoneOf(dev, sector)
  if (zone === undefined) return leave(k, t, BLK_STS_IOERR)
  zone.cond = BLK_ZONE_COND_EMPTY
  zone.wp = zone.start
  return leave(k, t, BLK_STS_OK)
}

/** What a zone report from `sector` on would say, at most `nr_zones` of them. */
export function null_zone_report(
  k: TraceHost,
  dev: null_zones,
  sector: number,
  nr_zones: number,
): readonly Readonly<blk_zone>[] {
  const t = enter(k, 'null_zone_report')
  const first = Math.floor(sector / dev.zone_size_sects)
  const report = dev.zones.slice(first, first + nr_zones).map(zone => ({ ...zone }))
  return leave(k, t, report)
}
