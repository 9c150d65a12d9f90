// Files share a process: the memory of one file's machines goes before the next begins, which the engine alone does late.
// Lists of steps are as long as the tests say: of itself fast-check draws ten at most, six on the average.

import fc from 'fast-check'
import { afterAll } from 'vitest'

fc.configureGlobal({ defaultSizeToMaxWhenMaxSpecified: true })

afterAll(() => globalThis.gc?.())
