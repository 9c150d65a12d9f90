// The machine: boots the computer and runs it under one of two clocks.

export type {
  CostKey,
  CpuCounters,
  Disk,
  DiskConfig,
  DiskQueue,
  Machine,
  MachineConfig,
  MediaModel,
  QueueFacts,
  RunEnd,
  SlowContext,
  SlowHandlers,
  StartOptions,
} from './config.js'
