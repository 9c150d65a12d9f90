// Model tests draw a new seed each time and print it when they fail. To repeat a failure, or to run
// longer:
//
//     PHASEBIT_TEST_SEED=1234567 PHASEBIT_TEST_PATH=12:3:1 PHASEBIT_TEST_RUNS=2000 npx vitest run ...

import type { Parameters } from 'fast-check'

/** Options of fc.assert: so many runs, or what the environment says. */
export function seeded<T>(numRuns: number): Parameters<T> {
  const seed = process.env['PHASEBIT_TEST_SEED']
  const path = process.env['PHASEBIT_TEST_PATH']
  const runs = process.env['PHASEBIT_TEST_RUNS']
  return {
    numRuns: runs === undefined ? numRuns : Number(runs),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path }),
  }
}
