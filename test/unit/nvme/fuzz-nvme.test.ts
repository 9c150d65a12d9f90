// The fuzzers of NVMe/TCP in short; with the share they have in fuzz.test.ts 100,000 cases (npm run fuzz for more).

import { expect, test } from 'vitest'
import { codec, target } from '../../fuzz/nvme-tcp.js'
import { host } from '../../fuzz/nvme-tcp-host.js'

test('40,000 streams through the codec', () => {
  expect(codec(1, 40_000).cases).toBe(40_000)
})

test('10,000 conversations with the target', () => {
  expect(target(1, 10_000).cases).toBe(10_000)
})

test('12,500 PDUs for the host', () => {
  expect(host(1, 12_500).cases).toBe(12_500)
})
