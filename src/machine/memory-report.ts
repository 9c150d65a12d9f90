/** Bytes that one hardware queue takes. */
export interface QueueMemory {
  readonly disk: string
  readonly qid: number
  readonly submission: number
  readonly completion: number
  readonly requests: number
  readonly tags: number
  readonly prpPages: number
  readonly control: number
  readonly total: number
}
