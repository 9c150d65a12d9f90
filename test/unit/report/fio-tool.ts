// Whether a real tool is there to compare with. Without it its tests are skipped, with a line that says so; in CI (the
// environment variable CI is set) its absence is a failure instead.

import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** True when the tool is on the path. */
export function installed(tool: string): boolean {
  const found = spawnSync('which', [tool]).status === 0
  if (!found) console.warn(`${tool} is not installed: the tests that compare with it are skipped`)
  return found
}

/** Registers a test that fails in CI when one of the tools is missing. */
export function requireInCi(tools: Record<string, boolean>): void {
  test.runIf(process.env['CI'])('the tools to compare with are installed', () => {
    expect(Object.keys(tools).filter(tool => !tools[tool])).toEqual([])
  })
}
