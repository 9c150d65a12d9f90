// What differs between the kernels that the NVMe driver may be of: one table, and nobody else asks for the age.
//
//   4.19   the reference: one workqueue each for resets, deletions and the rest; the state machine refuses a second reset;
//          queues are frozen across a reset; vectors are asked for by affinity
//   4.9    what the older source texts describe (about 4.9 to 4.12): `nvme_workq` for resets alone, other works on the
//          system's queue; nvme_reset by the pending work; 256 admin entries; a watchdog once a second

export type nvme_ctrl_state =
  | 'NEW'
  | 'LIVE'
  | 'ADMIN_ONLY'
  | 'RESETTING'
  | 'CONNECTING'
  | 'RECONNECTING'
  | 'DELETING'
  | 'DEAD'

export type KernelEra = '4.19' | '4.9'

export interface nvme_era {
  readonly name: KernelEra
  /** NVME_AQ_DEPTH, and the commands of it that are kept for events. */
  readonly aq_depth: number
  readonly nr_aen: number
  /** States from which a controller may become each state. */
  readonly states: Readonly<Partial<Record<nvme_ctrl_state, readonly nvme_ctrl_state[]>>>
  /** Names of workqueues: resets, deletions, the rest; null: the system's queue. */
  readonly reset_wq: string
  readonly delete_wq: string | null
  readonly core_wq: string | null
  /** Functions whose names changed. */
  readonly configure_admin_queue: string
  /** The state changes when the reset is asked for, not when it runs. */
  readonly resets_by_state: boolean
  /** A failed or missing set of I/O queues leaves a controller with an admin queue alone, in this state. */
  readonly admin_only: nvme_ctrl_state
  /** While it initialises after a reset, the controller is in this state; null: it stays RESETTING. */
  readonly connecting: nvme_ctrl_state | null
  readonly freezes: boolean
  readonly watchdog: boolean
  /** nvme_timeout looks at the completion queue and at CSTS first. */
  readonly timeout_polls: boolean
  /** I/O queue q interrupts by vector q - 1, queue 1 together with the admin queue. */
  readonly shares_admin_vector: boolean
  /** I/O submission queues are of medium priority. */
  readonly medium_prio_sq: boolean
  /** nvme_init_queue of the admin queue is called by the reset work, after the queue was configured. */
  readonly admin_init_in_reset: boolean
  /** The command effects log is read, events are asked for by Set Features. */
  readonly reads_effects: boolean
  readonly sgl: boolean
  /** The controller is told the time of day. */
  readonly timestamp: boolean
  readonly hmb: boolean
  readonly dbbuf: boolean
  readonly async_probe: boolean
  /** Identify Namespace Descriptor lists are read from controllers of 1.3. */
  readonly reads_ns_descs: boolean
  readonly reads_changed_ns: boolean
  /** A request that has taken its whole timeout, all tries together, is not tried again. */
  readonly retries_in_time: boolean
}

const V4_19: nvme_era = {
  name: '4.19',
  aq_depth: 32,
  nr_aen: 1,
  states: {
    ADMIN_ONLY: ['CONNECTING'],
    LIVE: ['NEW', 'RESETTING', 'CONNECTING'],
    RESETTING: ['NEW', 'LIVE', 'ADMIN_ONLY'],
    CONNECTING: ['NEW', 'RESETTING'],
    DELETING: ['LIVE', 'ADMIN_ONLY', 'RESETTING', 'CONNECTING'],
    DEAD: ['DELETING'],
  },
  reset_wq: 'nvme-reset-wq',
  delete_wq: 'nvme-delete-wq',
  core_wq: 'nvme-wq',
  configure_admin_queue: 'nvme_pci_configure_admin_queue',
  resets_by_state: true,
  admin_only: 'ADMIN_ONLY',
  connecting: 'CONNECTING',
  freezes: true,
  watchdog: false,
  timeout_polls: true,
  shares_admin_vector: false,
  medium_prio_sq: false,
  admin_init_in_reset: false,
  reads_effects: true,
  sgl: true,
  timestamp: true,
  hmb: true,
  dbbuf: true,
  async_probe: true,
  reads_ns_descs: true,
  reads_changed_ns: true,
  retries_in_time: false,
}

const V4_9: nvme_era = {
  ...V4_19,
  name: '4.9',
  aq_depth: 256,
  states: {
    LIVE: ['NEW', 'RESETTING', 'RECONNECTING'],
    RESETTING: ['NEW', 'LIVE', 'RECONNECTING'],
    RECONNECTING: ['LIVE'],
    DELETING: ['LIVE', 'RESETTING', 'RECONNECTING'],
    DEAD: ['DELETING'],
  },
  reset_wq: 'nvme',
  delete_wq: null,
  core_wq: null,
  configure_admin_queue: 'nvme_configure_admin_queue',
  resets_by_state: false,
  admin_only: 'LIVE',
  connecting: null,
  freezes: false,
  watchdog: true,
  timeout_polls: false,
  shares_admin_vector: true,
  medium_prio_sq: true,
  admin_init_in_reset: true,
  reads_effects: false,
  sgl: false,
  timestamp: false,
  hmb: false,
  dbbuf: false,
  async_probe: false,
  reads_ns_descs: false,
  reads_changed_ns: false,
  retries_in_time: true,
}

export const NVME_ERAS: Readonly<Record<KernelEra, nvme_era>> = { '4.19': V4_19, '4.9': V4_9 }
