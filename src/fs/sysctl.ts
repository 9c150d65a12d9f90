// The settings of write-back that /proc/sys/vm has: kernel/sysctl.c of Linux 4.19.

import { dirty_writeback_centisecs_handler } from '../mm/page-writeback.js'
import type { mm_state } from '../mm/mm.js'
import { type page_cache, vm_laptop_mode } from './page-cache.js'

export const SYSCTLS = [
  'vm.laptop_mode',
  'vm.dirty_background_ratio',
  'vm.dirty_ratio',
  'vm.dirty_expire_centisecs',
  'vm.dirty_writeback_centisecs',
] as const

export type SysctlName = (typeof SYSCTLS)[number]

/** Values by name; what is left out stays as it is. */
export type Sysctls = Readonly<Partial<Record<SysctlName, number>>>

/** Least and greatest value of each. */
export const SYSCTL_RANGES: Readonly<Record<SysctlName, readonly [min: number, max: number]>> = {
  'vm.laptop_mode': [0, 2 ** 31 / 1000],
  'vm.dirty_background_ratio': [0, 100],
  'vm.dirty_ratio': [0, 100],
  'vm.dirty_expire_centisecs': [0, 2 ** 31 - 1],
  'vm.dirty_writeback_centisecs': [0, 2 ** 31 - 1],
}

type Write = (cache: page_cache, value: number) => void

function set(change: (mm: mm_state, value: number) => void): Write {
  return ({ mm }, value) => change(mm, value)
}

const WRITES: Readonly<Record<SysctlName, Write>> = {
  'vm.laptop_mode': vm_laptop_mode,
  'vm.dirty_background_ratio': set((mm, value) => {
    mm.dirty_background_ratio = value
  }),
  'vm.dirty_ratio': set((mm, value) => {
    mm.vm_dirty_ratio = value
  }),
  'vm.dirty_expire_centisecs': set((mm, value) => {
    mm.dirty_expire_interval = value
  }),
  'vm.dirty_writeback_centisecs': set(dirty_writeback_centisecs_handler),
}

/** sysctl -w, for each value that is said. */
export function write_sysctls(cache: page_cache, values: Sysctls): void {
  for (const name of SYSCTLS) {
    const value = values[name]
    if (value !== undefined) WRITES[name](cache, value)
  }
}
