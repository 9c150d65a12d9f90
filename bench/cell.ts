// What a bench is made of: cells, their sides, and what a cell comes to.
//
//   side   one thing that is measured: phasebit at QD32, the yardstick, one point of a curve
//   round  every side once, one right after the other, in turning order
//   cell   some sides and one figure made of them, such as the ratio of two; with or without a goal
//
// A figure is made within a round and only then is its median taken: a machine that is slow for a
// minute is slow for all sides of the round.

/** Small: everything works, in some milliseconds (tests). Large: what the figures are made from. */
export type Size = 'small' | 'large'

/** What one measurement of a side came to, in the cell's unit. */
export interface Measured {
  readonly value: number
  /**
   * The same by CPU time of the threads that do the work, where it means anything: what other
   * processes take is left out.
   */
  readonly cpu?: number
}

/** One thing that is measured. */
export interface Side {
  readonly name: string
  /**
   * `child`: in a process of its own that lives for the rounds of one process; `here`: it starts
   * what it needs itself.
   */
  readonly where: 'child' | 'here'
  readonly measure: (size: Size) => Promise<Measured>
}

export interface Goal {
  readonly is: 'at most' | 'at least'
  readonly value: number
}

/** What must be installed beside phasebit. */
export type Need = 'yardstick' | 'fio' | 'bare core'

/** One row of the table. */
export interface Cell {
  readonly name: string
  readonly title: string
  /** Of what the sides measure, such as ns for each I/O. */
  readonly unit: string
  readonly sides: readonly Side[]
  /** The round's figure from the values of its sides; NaN when the round says nothing. */
  readonly figure: (values: readonly number[]) => number
  /** Of the figure; a ratio has none. */
  readonly figureUnit: string
  readonly goal: Goal | null
  readonly needs: readonly Need[]
}

/** First side by second side. */
export function ratio(values: readonly number[]): number {
  return values[0]! / values[1]!
}

/** Slowest side by fastest side: 1 is flat. */
export function spread(values: readonly number[]): number {
  return Math.max(...values) / Math.min(...values)
}

export function atMost(value: number): Goal {
  return { is: 'at most', value }
}

export function atLeast(value: number): Goal {
  return { is: 'at least', value }
}

/** Whether a figure reaches its goal. */
export function reached(goal: Goal, figure: number): boolean {
  return goal.is === 'at most' ? figure <= goal.value : figure >= goal.value
}

/** A side of which only the elapsed time counts: several threads work, or one sleeps. */
export function elapsedOnly(side: Side): Side {
  return { ...side, measure: async size => ({ value: (await side.measure(size)).value }) }
}
