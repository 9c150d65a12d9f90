// What a device adds to a plain NVMe controller: opcodes of its own, log pages, fields of Identify. Open-channel drives are
// made of one. An extension's own opcodes come before the controller's, so that it may also replace one.

import type { View } from '../../core/view.js'
import type { Core } from '../../core/wasm.js'
import type { WriteCache } from './cache.js'
import type { Answer, Command, Done } from './command.js'
import type { Dma } from './dma.js'
import type { Medium } from './medium.js'
import type { Namespace, Namespaces } from './namespaces.js'

/** What a handler works with. */
export interface ControllerServices {
  readonly view: View
  readonly core: Core
  readonly dma: Dma
  readonly medium: Medium
  readonly spaces: Namespaces
  readonly cache: WriteCache
  /** ns on the machine's clock. */
  now(): number
  /** Calls `fn` after so many ns, unless a reset comes first; at once for 0. */
  later(ns: number, fn: () => void): void
  /** Executes a command of the NVM command set. */
  nvm(c: Command): Answer
  /** Ends a command that was answered with 'pending'. */
  complete(c: Command, done: Done): void
  /** An asynchronous event: type, info, log page that explains it. */
  notify(type: number, info: number, log: number): void
}

export type Handler = (c: Command, services: ControllerServices) => Answer

export interface Extension {
  /** I/O command set of all namespaces (CSI); then all of their commands are the controller's. */
  readonly commandSet?: number
  readonly adminOpcodes?: ReadonlyMap<number, Handler>
  readonly ioOpcodes?: ReadonlyMap<number, Handler>
  /** A whole log page by its identifier; a number is a status. */
  readonly logPages?: ReadonlyMap<
    number,
    (c: Command, services: ControllerServices) => Uint8Array | number
  >
  /** A whole structure of Identify by the command's CNS and CSI; undefined = not one of its own. */
  identify?(c: Command, services: ControllerServices): Uint8Array | undefined
  /** Fills in what it has to say; `data` holds the controller's own fields. */
  identifyController?(data: Uint8Array): void
  identifyNamespace?(nsid: number, data: Uint8Array): void
  /** Features beyond those of any controller, and those whose values concern it. */
  readonly features?: ReadonlySet<number>
  /** One of them was set, or a reset has put it back. */
  feature?(fid: number, value: number): void
  /** A namespace holds nothing any more: formatted, sanitized or deleted. */
  erased?(ns: Namespace): void
  /** The power went and came back. */
  powerCycle?(): void
  /** A controller reset: commands in flight are gone. */
  reset?(): void
}
