// Every cell, in the order of the table.

import type { Cell } from '../cell.js'
import { GROWTH_CELLS } from './growth.js'
import { INLINE_CELLS } from './inline.js'
import { LIGHTNVM_CELLS } from './lightnvm.js'
import { NVME_CELLS } from './nvme.js'
import { PROGRAM_CELLS } from './program.js'
import { SCHEDULER_CELLS } from './schedulers.js'
import { THREAD_CELLS } from './threads.js'
import { TYPESCRIPT_CELLS } from './typescript.js'
import { TCP_CELLS } from './tcp.js'
import { TRACE_CELLS } from './trace.js'
import { VIRTUAL_CELLS } from './virtual.js'

export const CELLS: readonly Cell[] = [
  ...INLINE_CELLS,
  ...THREAD_CELLS,
  ...TYPESCRIPT_CELLS,
  ...PROGRAM_CELLS,
  ...TCP_CELLS,
  ...VIRTUAL_CELLS,
  ...SCHEDULER_CELLS,
  ...TRACE_CELLS,
  ...LIGHTNVM_CELLS,
  ...NVME_CELLS,
  ...GROWTH_CELLS,
]
