// Faults as data: to which commands something happens, and what. Rules come with the configuration or while the controller
// runs; the first that matches acts.
//
//   status      it ends with a status and moves no data
//   delay       it takes so much longer
//   drop        it is never heard of again
//   duplicate   it completes twice
//   corrupt     data: a byte of what is read or written; cid: its completion names another command; phase: its completion
//               carries the old phase, and the host does not see it
//   stuck       the controller stops, and no register changes any more; fatal: it says so in CSTS.CFS
//   remove      it is pulled out

import type { Command } from './command.js'

export type FaultAction =
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'delay'; readonly ns: number }
  | { readonly kind: 'drop' | 'duplicate' | 'remove' }
  | { readonly kind: 'corrupt'; readonly what?: 'data' | 'cid' | 'phase' }
  | { readonly kind: 'stuck'; readonly fatal?: boolean }

/** Which commands; what is absent matches all. */
export interface FaultMatch {
  readonly opcode?: number
  /** The admin queue's commands; else those of the I/O queues. */
  readonly admin?: boolean
  /** Queue identifier. */
  readonly queue?: number
  /** First and last logical block. */
  readonly lba?: readonly [first: number, last: number]
  /** From the n-th that matches, counted from 1; without count, that one only. */
  readonly nth?: number
  /** So many at most. */
  readonly count?: number
}

export interface FaultRule {
  readonly match: FaultMatch
  readonly action: FaultAction
}

/** A rule at work. */
interface Armed {
  readonly rule: FaultRule
  met: number
  acted: number
}

export class Faults {
  #rules: Armed[] = []

  constructor(rules: readonly FaultRule[]) {
    for (const rule of rules) this.add(rule)
  }

  /** Some rule is about I/O commands: the controller must see all of them. */
  get io(): boolean {
    return this.#rules.some(({ rule }) => !rule.match.admin)
  }

  /** @returns takes the rule back */
  add(rule: FaultRule): () => void {
    const armed = { rule, met: 0, acted: 0 }
    this.#rules.push(armed)
    return () => {
      this.#rules = this.#rules.filter(one => one !== armed)
    }
  }

  clear(): void {
    this.#rules = []
  }

  /** What happens to this command; undefined = nothing. */
  find(c: Command): FaultAction | undefined {
    for (const armed of this.#rules) if (acts(armed, c)) return armed.rule.action
    return undefined
  }
}

function acts(armed: Armed, c: Command): boolean {
  const { nth, count } = armed.rule.match
  if (!meets(armed.rule.match, c)) return false
  armed.met++
  const first = nth ?? 1
  const most = count ?? (nth === undefined ? Number.POSITIVE_INFINITY : 1)
  if (armed.met < first || armed.acted >= most) return false
  armed.acted++
  return true
}

function meets({ opcode, admin, queue, lba }: FaultMatch, c: Command): boolean {
  if ((c.qid === 0) !== (admin ?? false) && queue !== c.qid) return false
  if (opcode !== undefined && opcode !== c.opcode) return false
  if (queue !== undefined && queue !== c.qid) return false
  if (!lba) return true
  const first = c.u64(10)
  return first <= lba[1] && first + (c.cdw(12) & 0xffff) >= lba[0]
}
