// All fuzzers. A new one is one line here and a file beside this one that exports `fuzz` (see fuzzer.ts).

import { fuzz as deviceSpec } from './device-spec.js'
import type { Fuzz } from './fuzzer.js'
import { fuzz as jobfile } from './jobfile.js'
import { fuzz as nvmeController } from './nvme-controller.js'
import { fuzz as nvmeDriver } from './nvme-driver.js'
import { host as nvmeTcpHost } from './nvme-tcp-host.js'
import { life as nvmeTcpLife } from './nvme-tcp-life.js'
import { codec as nvmeTcpCodec, target as nvmeTcpTarget } from './nvme-tcp.js'

/** By name, in the order they run. */
export const FUZZERS: Readonly<Record<string, Fuzz>> = {
  jobfile,
  'device-spec': deviceSpec,
  'nvme-controller': nvmeController,
  'nvme-driver': nvmeDriver,
  'nvme-tcp-codec': nvmeTcpCodec,
  'nvme-tcp-target': nvmeTcpTarget,
  'nvme-tcp-host': nvmeTcpHost,
  'nvme-tcp-life': nvmeTcpLife,
}

/** A case of these is a whole life of a connection: one where others have so many. */
export const LONG_CASES: Readonly<Record<string, number>> = { 'nvme-tcp-life': 500 }
