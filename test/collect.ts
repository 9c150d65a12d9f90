// Files share a process: the memory of one file's machines goes before the next begins, which the engine alone does late.
import { afterAll } from 'vitest'

afterAll(() => globalThis.gc?.())
