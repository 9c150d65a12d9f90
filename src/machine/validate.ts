// What a machine refuses before it takes any memory. Each message names the option as the user writes it.

import { UserError } from '../core/errors.js'
import { sharesThread } from './clock.js'
import type { DiskConfig, MachineConfig } from './config.js'
import { costsOf } from './costs.js'
import { needsHostKernel } from './host-kernel.js'

/** CPUs of a machine in virtual time, where a CPU is no thread. */
export const MAX_CPUS = 4096

/** CPUs of a machine in real time, where each is a thread with a JavaScript engine of its own. */
export const MAX_REAL_CPUS = 256

const HZ = [100, 250, 300, 1000]

function inRange(what: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new UserError(`${what}=${value}: a whole number from ${low} to ${high} is accepted`)
}

function validateMedia(disk: DiskConfig, at: string): void {
  for (const times of disk.operations ?? [])
    validateMedia({ ...disk, empirical: [], ...times, operations: [] }, at)
  inRange(`${at}units`, disk.units, 1, 65536)
  inRange(`${at}service time in ns`, disk.serviceNs, 0, 3.6e12)
  const sigma = disk.sigmaNs ?? 0
  if (!(sigma >= 0 && sigma <= 3.6e12))
    throw new UserError(`${at}deviation=${sigma}: 0 to one hour is accepted`)
  if (disk.model === 'lognormal' && disk.serviceNs === 0)
    throw new UserError(`${at}model=lognormal needs a mean above 0`)
  const table = disk.empirical ?? []
  if (disk.model === 'empirical' && table.length === 0)
    throw new UserError(`${at}model=empirical needs at least one latency`)
  for (const ns of table) inRange(`${at}empirical latency in ns`, ns, 0, 3.6e12)
}

function validateDisk(disk: DiskConfig, config: MachineConfig): void {
  const at = `${disk.name}: `
  if (!config.kernel && needsHostKernel(disk, config))
    throw new UserError(`${at}this disk needs a machine with a kernel`)
  inRange(`${at}lba shift`, disk.lbaShift, 9, 12)
  const lba = 2 ** disk.lbaShift
  if (!(disk.sizeBytes >= lba && disk.sizeBytes % lba === 0 && disk.sizeBytes <= 2 ** 53))
    throw new UserError(
      `${at}size=${disk.sizeBytes}: a multiple of the ${lba}-byte block is accepted`,
    )
  inRange(`${at}queues`, disk.queues, 1, 65535)
  inRange(`${at}poll-queues`, disk.pollQueues, 0, disk.queues)
  inRange(`${at}depth`, disk.depth, disk.driver === 'nvme' ? 2 : 1, 65536)
  if (disk.stride !== null) inRange(`${at}stride`, disk.stride, 0, 15)
  inRange(`${at}coalesce entries`, disk.coalesceCount, 1, 65536)
  inRange(`${at}coalesce time in ns`, disk.coalesceNs, 0, 3.6e12)
  inRange(`${at}mdts`, disk.mdtsBytes, 0, 2 ** 31)
  if (disk.mdtsBytes !== 0 && disk.mdtsBytes < 4096)
    throw new UserError(`${at}mdts=${disk.mdtsBytes}: 0 or at least 4096 bytes are accepted`)
  if (disk.controller && disk.driver !== 'nvme')
    throw new UserError(`${at}a controller that is probed is one of NVMe`)
  if (disk.controller && disk.where === 'thread')
    throw new UserError(
      `${at}where=thread: a controller that the driver finds is on the thread of its kernel; take where=inline`,
    )
  if (disk.where === 'thread' && config.clock === 'virtual')
    throw new UserError(`${at}where=thread exists in real time only; virtual time has no threads`)
  validateMedia(disk, at)
}

/** @throws UserError for anything that no machine can be made of */
export function validateConfig(config: MachineConfig): void {
  const threads = config.clock === 'real' && !sharesThread(config)
  const most = threads ? MAX_REAL_CPUS : MAX_CPUS
  if (threads && config.cpus > most && config.cpus <= MAX_CPUS)
    throw new UserError(
      `cpus=${config.cpus}: in real time each CPU is a thread and at most ${most} are accepted; --clock virtual takes ${MAX_CPUS}`,
    )
  inRange('cpus', config.cpus, 1, most)
  inRange('jobs', config.jobs, 0, 2 ** 20)
  if (!HZ.includes(config.hz)) throw new UserError(`hz=${config.hz}: ${HZ.join(', ')} are accepted`)
  if (!(config.memBytes >= 0)) throw new UserError(`mem=${config.memBytes}: bytes are accepted`)
  for (const what of ['siblings', 'caches'] as const)
    if (config[what] && config[what].length !== config.cpus)
      throw new UserError(`${what}: ${config[what].length} entries for ${config.cpus} CPUs`)
  const names = new Set<string>()
  for (const disk of config.disks) {
    if (names.has(disk.name)) throw new UserError(`two disks are named ${disk.name}`)
    names.add(disk.name)
    validateDisk(disk, config)
  }
  costsOf(config.costs)
}
