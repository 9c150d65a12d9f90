// The I/O schedulers that a multi-queue disk can have, by the names that sysfs shows.

import type { elevator_type } from './blkdev.js'
import { kyber_sched } from './kyber-iosched.js'
import { mq_deadline } from './mq-deadline.js'

export type SchedulerName = 'none' | 'mq-deadline' | 'kyber'

/**
 * What elevator_init_mq of Linux 4.19 gives a disk about which nobody says anything: mq-deadline, when it has one hardware
 * queue and its driver does not forbid it (BLK_MQ_F_NO_SCHED).
 */
export function default_elevator(nr_hw_queues: number, no_sched: boolean): SchedulerName {
  return nr_hw_queues === 1 && !no_sched ? 'mq-deadline' : 'none'
}

/** Null is "none". */
export const SCHEDULERS: Readonly<Record<SchedulerName, elevator_type | null>> = {
  none: null,
  'mq-deadline': mq_deadline,
  kyber: kyber_sched,
}
