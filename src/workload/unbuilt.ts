// What the options can say and the machine cannot do yet: refused by name, before anything exists, or, where the run still
// means what was asked for, done without it and said in a note. Nothing is ignored in silence.

import { UserError } from '../core/errors.js'
import type { RunPlan } from './job.js'

type Check<T> = readonly [option: string, wanted: (of: T) => boolean]

const PLAN: readonly Check<RunPlan>[] = [['--kernel 4.9', plan => plan.kernel !== '4.19']]

/** @throws UserError naming the first option that is not built yet */
export function refuseUnbuilt(plan: RunPlan): void {
  for (const [option, wanted] of PLAN)
    if (wanted(plan)) throw new UserError(`${option}: not built yet`)
}
