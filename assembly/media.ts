// How long the medium takes, and which commands it serves at once: the latency models of a drive.
//
//   fixed       every command the same time
//   normal      Gaussian around the mean, cut at zero
//   lognormal   of the given mean and standard deviation
//   empirical   drawn from a table of measured latencies
//
// Reads, writes, trims and flushes may each have times of their own.
//
// A drive has `units` servers; a command goes to the next one in turn and waits until it is free.
// Random numbers are the device's own (DEV_SEED); the arithmetic is compiled into the core, so that
// a seed gives the same times on every machine.

import {
  DEV_EMPIRICAL, DEV_EMPIRICAL_N, DEV_MODEL, DEV_NEXT_UNIT, DEV_OPS, DEV_SEED, DEV_SERVICE_NS,
  DEV_SIGMA_NS, DEV_UNITS, DEV_UNIT_FREE, MODEL_EMPIRICAL, MODEL_FIXED, MODEL_LOGNORMAL, MODEL_NAND, OT_EMPIRICAL,
  OT_EMPIRICAL_N, OT_SERVICE_NS, OT_SIGMA_NS, OT_SIZE,
} from './layout'
import { NVME_CMD_COMPARE, NVME_CMD_DSM, NVME_CMD_FLUSH, NVME_CMD_READ, NVME_CMD_VERIFY } from './nvme'

/** splitmix64 over DEV_SEED. */
function next_random(dev: u32): u64 {
  let z = load<u64>(dev, DEV_SEED) + 0x9e3779b97f4a7c15
  store<u64>(dev, z, DEV_SEED)
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb
  return z ^ (z >> 31)
}

/** Uniform in (-1, 1). */
function signed_unit(dev: u32): f64 {
  return <f64>(<i64>next_random(dev) >> 11) * (1.0 / 4503599627370496.0)
}

/** A standard normal deviate (Marsaglia's polar method; the second value is not kept). */
function normal(dev: u32): f64 {
  while (true) {
    const u = signed_unit(dev)
    const v = signed_unit(dev)
    const s = u * u + v * v
    if (s > 0.0 && s < 1.0) return u * Math.sqrt((-2.0 * Math.log(s)) / s)
  }
}

function lognormal(dev: u32, mean: f64, sigma: f64): f64 {
  const ratio = sigma / mean
  const variance = Math.log(1.0 + ratio * ratio)
  return Math.exp(Math.log(mean) - variance / 2.0 + Math.sqrt(variance) * normal(dev))
}

/** The times of a command that is not a read, where they differ; 0 = those of the device. */
function times_of(dev: u32, opcode: u32): u32 {
  const ops = load<u32>(dev, DEV_OPS)
  if (!ops || opcode == NVME_CMD_READ || opcode == NVME_CMD_COMPARE || opcode == NVME_CMD_VERIFY) return 0
  if (opcode == NVME_CMD_DSM) return ops + OT_SIZE
  return opcode == NVME_CMD_FLUSH ? ops + 2 * OT_SIZE : ops
}

/** The service time of the next command, ns. */
// @ts-ignore: decorator
@inline
export function service_time(dev: u32, opcode: u32): u64 {
  if (load<u32>(dev, DEV_MODEL) == MODEL_FIXED && !load<u32>(dev, DEV_OPS)) return load<u64>(dev, DEV_SERVICE_NS)
  return varying_time(dev, opcode)
}

/** The same of all models, and of commands that differ. */
function varying_time(dev: u32, opcode: u32): u64 {
  const model = load<u32>(dev, DEV_MODEL)
  if (model < <u32>MODEL_FIXED) return 0
  const own = times_of(dev, opcode)
  const mean = own ? load<u64>(own, OT_SERVICE_NS) : load<u64>(dev, DEV_SERVICE_NS)
  if (model == MODEL_FIXED || model == MODEL_NAND) return mean // what is no I/O of the flash
  if (model == MODEL_EMPIRICAL) {
    const n = own ? load<u32>(own, OT_EMPIRICAL_N) : load<u32>(dev, DEV_EMPIRICAL_N)
    const table = own ? load<u32>(own, OT_EMPIRICAL) : load<u32>(dev, DEV_EMPIRICAL)
    return load<u64>(table + <u32>(next_random(dev) % <u64>n) * 8)
  }
  const sigma = own ? load<f64>(own, OT_SIGMA_NS) : load<f64>(dev, DEV_SIGMA_NS)
  const time = model == MODEL_LOGNORMAL
    ? lognormal(dev, <f64>mean, sigma)
    : <f64>mean + sigma * normal(dev)
  return time > 0.0 ? <u64>time : 0
}

/** Gives a command that takes `time` to the next unit: when it will be done. */
// @ts-ignore: decorator
@inline
export function serve(dev: u32, now: u64, time: u64): u64 {
  const unit = load<u32>(dev, DEV_NEXT_UNIT)
  store<u32>(dev, unit + 1 == load<u32>(dev, DEV_UNITS) ? 0 : unit + 1, DEV_NEXT_UNIT)
  const free = load<u32>(dev, DEV_UNIT_FREE) + unit * 8
  const done = max<u64>(now, load<u64>(free)) + time
  store<u64>(free, done)
  return done
}
