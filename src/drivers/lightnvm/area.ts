// Logical sectors of a device for its targets: nvm_get_area and nvm_put_area of drivers/lightnvm/core.c, as kernels had them
// until 4.17. A device that keeps a table knows sectors by these numbers, so a target gets a range that no other one has,
// the first that is free. Targets made again in the same order find their own.

import { EINVAL } from '../../kernel/errno.js'
import type { nvm_dev } from './lightnvm.js'

/** The first of so many free logical sectors, or -EINVAL when there are not as many. */
export function nvm_get_area(dev: nvm_dev, sectors: number): number {
  let [begin, place] = [0, 0]
  for (const area of dev.areas) {
    if (begin + sectors <= area.begin) break
    begin = area.begin + area.sectors
    place++
  }
  if (begin + sectors > dev.geo!.total_secs) return -EINVAL
  dev.areas.splice(place, 0, { begin, sectors })
  return begin
}

export function nvm_put_area(dev: nvm_dev, begin: number): void {
  const at = dev.areas.findIndex(area => area.begin === begin)
  if (at >= 0) dev.areas.splice(at, 1)
}
