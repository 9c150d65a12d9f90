/** The proof that nothing was lost: totals over the whole run. */
export interface Books {
  readonly submitted: number
  readonly completed: number
  readonly failed: number
  /** Counted anew: bios of the requests that hold a tag. */
  readonly inFlight: number
  readonly tagsHeld: number
  /** Submission and completion entries not consumed, commands in service, requests on any list, bios unread in a ring. */
  readonly ringEntries: number
  /** submitted - completed - failed - inFlight: bios that got lost (positive) or ended twice (negative). */
  readonly biosUnbalanced: number
  /** One line for each thing that is not zero. */
  readonly problems: readonly string[]
  readonly balanced: boolean
}
