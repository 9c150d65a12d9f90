// A target on loopback for the tests of a file: opened before the first, closed after the last.

import { afterAll, beforeAll } from 'vitest'
import { openTarget, type Target } from '../../../src/workload/serve.js'

type Options = Omit<Parameters<typeof openTarget>[0], 'address' | 'port'>

/** `opened` gets the target before the first test. */
export function withTarget(options: Options, opened: (target: Target) => void): void {
  let target: Target | undefined
  beforeAll(async () => {
    target = await openTarget({ address: '127.0.0.1', port: 0, ...options })
    opened(target)
  })
  afterAll(() => target?.close())
}
