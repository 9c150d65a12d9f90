// The I/O schedulers that a multi-queue disk can have, by the names that sysfs shows.

import type { elevator_type } from './blkdev.js'
import { kyber_sched } from './kyber-iosched.js'
import { mq_deadline } from './mq-deadline.js'

export type SchedulerName = 'none' | 'mq-deadline' | 'kyber'

/** Null is "none". */
export const SCHEDULERS: Readonly<Record<SchedulerName, elevator_type | null>> = {
  none: null,
  'mq-deadline': mq_deadline,
  kyber: kyber_sched,
}
