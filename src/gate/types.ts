// What the gate hands from its judges to its printers: plain data.
//
//   GateReport
//     results[]    one for each metric of each benchmark: both sides with every sample, the ratio, the verdict
//     fingerprints what was compared on what; they agree, or there would be no report
//
// A ratio always reads the same way: above 1 the head is better, below 1 it is worse, whatever the metric's own direction.

/** The version of the native JSON. Readers refuse any other. */
export const GATE_SCHEMA = 'phasebit-gate/1'

export type GateMode = 'exact' | 'pair' | 'process' | 'history' | 'files'

/**
 * regressed, improved, same, unclear: of the interval. noisy: the machine cannot tell. changed: an exact metric differs.
 * new: nothing stored to compare with. advisory: a figure that never decides anything.
 */
export type Verdict =
  | 'regressed'
  | 'improved'
  | 'same'
  | 'unclear'
  | 'noisy'
  | 'changed'
  | 'new'
  | 'advisory'

export type Better = 'higher' | 'lower'

/** head/base as a ratio where more is better, with its 95 % interval. */
export interface Ratio {
  readonly estimate: number
  readonly lo: number
  readonly hi: number
}

/** One side of a comparison. Exact values may be text (hashes). */
export interface Side {
  readonly value: number | string
  /** One for each process or file. */
  readonly samples: readonly number[]
}

export interface GateResult {
  /** What was run: a benchmark, or job and direction. */
  readonly benchmark: string
  readonly metric: string
  readonly unit: string
  readonly better: Better
  readonly verdict: Verdict
  /** Advisory figures are printed and never decide. */
  readonly gated: boolean
  readonly ratio: Ratio | null
  /** The limit L as a share, 0.05 for 5 %; null for exact metrics. */
  readonly limit: number | null
  readonly base: Side | null
  readonly head: Side | null
  /** The A/A pair of the base build. */
  readonly selfCheck: Ratio | null
  /** The fresh batch that was asked about a regression. */
  readonly confirmation: Ratio | null
  readonly notes: readonly string[]
}

/** Facts that must agree before two sides are compared; texts by name. */
export type Fingerprint = Readonly<Record<string, string>>

export interface GateReport {
  readonly schema: typeof GATE_SCHEMA
  readonly mode: GateMode
  readonly seed: number
  readonly fingerprint: { readonly base: Fingerprint; readonly head: Fingerprint }
  readonly results: readonly GateResult[]
  readonly notes: readonly string[]
}

/** Unclear counts as failure, and a first baseline does not. */
export interface ExitRules {
  readonly strict: boolean
  readonly init: boolean
}

/** What the command returns: 1 regressed; 2 changed, or unclear when that is not accepted; 3 no baseline yet; else 0. */
export function exitStatus(results: readonly GateResult[], rules: ExitRules): number {
  const has = (...verdicts: Verdict[]): boolean =>
    results.some(one => one.gated && verdicts.includes(one.verdict))
  if (has('regressed')) return 1
  if (has('changed') || (rules.strict && has('unclear', 'noisy'))) return 2
  return has('new') && !rules.init ? 3 : 0
}

/** A result without figures, to be completed by its maker. */
export function blankResult(
  benchmark: string,
  metric: string,
  unit: string,
  better: Better,
): GateResult {
  return {
    benchmark,
    metric,
    unit,
    better,
    verdict: 'unclear',
    gated: true,
    ratio: null,
    limit: null,
    base: null,
    head: null,
    selfCheck: null,
    confirmation: null,
    notes: [],
  }
}
