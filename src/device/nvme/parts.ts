// What the admin commands of a controller work on together: its configuration, queues and events beside the services that
// extensions have too.

import type { ControllerConfig } from './config.js'
import type { Events } from './events.js'
import type { ControllerServices, Extension } from './extension.js'
import type { Queues } from './queues.js'

export interface AdminParts extends ControllerServices {
  readonly config: ControllerConfig
  /** Device block (DEV_*). */
  readonly dev: number
  readonly queues: Queues
  readonly events: Events
  readonly extensions: readonly Extension[]
  /** CSTS.PP. */
  processing(paused: boolean): void
  /** Controller Fatal Status. */
  fatal(): void
  /** The write cache was switched on or off, or is to be flushed. */
  cache(enabled: boolean): void
}
