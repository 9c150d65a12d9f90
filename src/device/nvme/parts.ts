// What the admin commands of a controller work on together: its configuration, queues and events beside the services that
// extensions have too.

import type { ControllerConfig } from './config.js'
import type { Events } from './events.js'
import type { ControllerServices, Extension } from './extension.js'
import type { Late } from './late.js'
import type { Queues } from './queues.js'

export interface AdminParts extends ControllerServices {
  readonly config: ControllerConfig
  /** Device block (DEV_*). */
  readonly dev: number
  readonly queues: Queues
  readonly events: Events
  readonly extensions: readonly Extension[]
  /** Commands that end later. */
  readonly late: Late
  /** CSTS.PP. */
  processing(paused: boolean): void
  /** Controller Fatal Status. */
  fatal(): void
  /** Who executes plain reads and writes may have changed: the core, or the controller. */
  mode(): void
  /** The arbitration's numbers changed. */
  arbitrate(): void
  /** Stops for good (a fault), or is pulled out. */
  stick(fatal: boolean): void
  remove(): void
}
