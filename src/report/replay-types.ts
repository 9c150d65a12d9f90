// The actions of a replay, in the order of the trace.

/** One action. Times are microseconds since the trace began. */
export type ReplayAction =
  | { timeUs: number; file: string; action: 'add' | 'open' | 'close' }
  | {
      timeUs: number
      file: string
      action: 'read' | 'write' | 'trim' | 'sync' | 'datasync'
      /** Bytes; 0 for sync and datasync. */
      offset: number
      length: number
    }

export interface ReplayTrace {
  actions: ReplayAction[]
  /** One line per thing that was read but not understood as its writer may have meant it. */
  notes: string[]
}

/** An action that moves data or orders it. */
export function isIo(action: ReplayAction): boolean {
  return 'length' in action
}
