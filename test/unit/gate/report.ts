// A made-up report for the printers.
import {
  blankResult,
  GATE_SCHEMA,
  type GateReport,
  type GateResult,
} from '../../../src/gate/types.js'

const RATIO = { estimate: 0.9, lo: 0.89, hi: 0.91 }

export const REGRESSED: GateResult = {
  ...blankResult('inline, <qd> 32', 'rate', 'IO/s', 'higher'),
  verdict: 'regressed',
  ratio: RATIO,
  limit: 0.05,
  base: { value: 4_000_000, samples: [4_000_000, 4_000_000] },
  head: { value: 3_600_000, samples: [3_500_000, 3_700_000] },
  selfCheck: { estimate: 1, lo: 0.99, hi: 1.01 },
  confirmation: RATIO,
}

export const SLOWER: GateResult = {
  ...blankResult('a: read', 'p99', 'ns', 'lower'),
  verdict: 'unclear',
  ratio: { estimate: 0.8, lo: 0.5, hi: 1.1 },
  limit: 0.05,
  base: { value: 1000, samples: [1000, 1100] },
  head: { value: 1250, samples: [1250, 1300] },
  notes: ['100 % strange'],
}

export const CHANGED: GateResult = {
  ...blankResult('j.fio: run', 'order', 'hash', 'higher'),
  verdict: 'changed',
  base: { value: 'abc', samples: [] },
  head: { value: 'def', samples: [] },
}

export const SAME: GateResult = {
  ...blankResult('j.fio: a: read', 'ios', 'IOs', 'higher'),
  verdict: 'same',
  base: { value: 7, samples: [] },
  head: { value: 7, samples: [] },
}

export function reportOf(
  results: readonly GateResult[],
  mode: GateReport['mode'] = 'pair',
): GateReport {
  const facts = { 'Node version': 'v20' }
  return {
    schema: GATE_SCHEMA,
    mode,
    seed: 1,
    fingerprint: { base: facts, head: facts },
    results,
    notes: ['a | note'],
  }
}
