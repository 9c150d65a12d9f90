// PCI functions and their drivers: drivers/pci/pci-driver.c, pci.c and msi.c of Linux 4.19, as far as drivers here need
// them.
//
//   pci_bus               the functions of a machine; a driver that registers is given those that it matches
//   pci_enable_device_mem, pci_set_master, pci_disable_device
//   pci_alloc_irq_vectors_affinity, pci_request_irq   MSI-X: how many vectors there are, and which CPU each interrupts
//   pci_reset_function, pcie_do_recovery              the function is reset, with its driver's knowledge, or the bus lost it
//   pci_pm_suspend, pci_pm_resume                     the machine sleeps and wakes up
//   readl, writel, lo_hi_readq, lo_hi_writeq          registers of BAR 0
//
// An interrupt itself is the core's: the driver's queues know the block of their vector (IRQ_*), which says the CPU.
// A function that is pulled out answers all ones.

import { IRQ_CPU } from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { Sleep } from './core.js'
import { EBUSY, ENODEV, ENOSPC } from './errno.js'
import type { Kernel } from './kernel.js'
import { type mutex, mutex_lock, mutex_unlock } from './mutex.js'
import { enter, leave, trace_call } from './trace.js'

/** What a device gives to the bus. */
export interface PciFunction {
  readonly vendor: number
  readonly device: number
  readonly classCode: number
  /** Size of its MSI-X table. */
  readonly vectors: number
  /** False after surprise removal: reads give all ones. */
  present(): boolean
  /** Aligned; a number from 0 to 2^32 - 1. */
  read32(offset: number): number
  read64(offset: number): bigint
  write32(offset: number, value: number): void
  write64(offset: number, value: bigint): void
  /** Command register; off: no DMA, no interrupts. */
  busMaster(on: boolean): void
  /** Function level reset: registers as after power-on. */
  functionReset?(): void
}

/** pci_channel_state, and what a driver answers to one (pci_ers_result). */
export type pci_channel_state = 'normal' | 'frozen' | 'perm_failure'
export type pci_ers_result = 'can_recover' | 'need_reset' | 'recovered' | 'disconnect'

/** struct pci_driver. */
export interface pci_driver {
  readonly name: string
  readonly matches: (dev: pci_dev) => boolean
  /** @returns 0 or -errno */
  readonly probe: (dev: pci_dev) => Sleep<number>
  readonly remove: (dev: pci_dev) => Sleep<void>
  readonly shutdown?: (dev: pci_dev) => Sleep<void>
  readonly suspend?: (dev: pci_dev) => Sleep<number>
  readonly resume?: (dev: pci_dev) => Sleep<number>
  /** Before and after a function level reset. */
  readonly reset_prepare?: (dev: pci_dev) => Sleep<void>
  readonly reset_done?: (dev: pci_dev) => Sleep<void>
  /** Recovery from an error of the bus (pci_error_handlers). */
  readonly error_detected?: (dev: pci_dev, state: pci_channel_state) => Sleep<pci_ers_result>
  readonly slot_reset?: (dev: pci_dev) => Sleep<pci_ers_result>
  readonly error_resume?: (dev: pci_dev) => Sleep<void>
}

/** struct pci_dev. */
export interface pci_dev {
  readonly k: Kernel
  readonly view: View
  readonly fn: PciFunction
  /** 0000:00:04.0 */
  readonly name: string
  /** Blocks of the interrupt vectors (IRQ_*). */
  readonly irqs: number
  readonly irq_stride: number
  /** CPU blocks by number. */
  readonly cpus: readonly number[]
  /** Whatever the machine knows of it for its driver. */
  readonly platform_data: unknown
  driver: pci_driver | null
  drvdata: unknown
  enabled: boolean
  /** Vectors allocated, and the CPUs of each. */
  irq_affinity: (readonly number[])[]
  readonly requested: Set<number>
  /** pci_channel_offline. */
  offline: boolean
  /** One reset of the function, recovery or sleep at a time (device_lock, and the bus's own order). */
  readonly lock: mutex
}

/** The functions of a machine, in the order in which they are found. */
export interface pci_bus {
  readonly k: Kernel
  readonly devices: pci_dev[]
  readonly drivers: pci_driver[]
}

// ---------------------------------------------------------------- drivers

function* bind(dev: pci_dev, driver: pci_driver): Sleep<number> {
  if (dev.driver !== null || !driver.matches(dev)) return -ENODEV
  dev.driver = driver
  const error = yield* driver.probe(dev)
  if (error < 0) {
    dev.driver = null
    dev.drvdata = null
  }
  return error
}

/** Makes a driver known; it is given every function that it matches and nobody has. @returns 0 or -EBUSY */
export function* pci_register_driver(bus: pci_bus, driver: pci_driver): Sleep<number> {
  const t = enter(bus.k, 'pci_register_driver')
  if (bus.drivers.some(other => other.name === driver.name)) return leave(bus.k, t, -EBUSY)
  bus.drivers.push(driver)
  for (const dev of [...bus.devices]) yield* bind(dev, driver)
  return leave(bus.k, t, 0)
}

/** The driver lets go of everything. */
export function* pci_unregister_driver(bus: pci_bus, driver: pci_driver): Sleep<void> {
  const t = enter(bus.k, 'pci_unregister_driver')
  for (const dev of [...bus.devices]) if (dev.driver === driver) yield* device_release_driver(dev)
  const at = bus.drivers.indexOf(driver)
  if (at >= 0) bus.drivers.splice(at, 1)
  leave(bus.k, t)
}

/** Writes a function's name to `bind` of a driver. @returns what probe says */
export function* pci_bind(bus: pci_bus, dev: pci_dev, driver: pci_driver): Sleep<number> {
  if (!bus.drivers.includes(driver)) bus.drivers.push(driver)
  return yield* bind(dev, driver)
}

/** The driver's remove function; the function is nobody's afterwards. */
export function* device_release_driver(dev: pci_dev): Sleep<void> {
  const { driver } = dev
  if (driver === null) return
  yield* driver.remove(dev)
  dev.driver = null
}

/** The function has gone, or is to go: its driver is told, and the bus forgets it. */
export function* pci_stop_and_remove_bus_device(bus: pci_bus, dev: pci_dev): Sleep<void> {
  yield* device_release_driver(dev)
  const at = bus.devices.indexOf(dev)
  if (at >= 0) bus.devices.splice(at, 1)
}

// ---------------------------------------------------------------- resets

/** Resets a function; its driver stops it before and sets it up again (`reset` in sysfs). */
export function* pci_reset_function(dev: pci_dev): Sleep<void> {
  const t = enter(dev.k, 'pci_reset_function')
  yield* mutex_lock(dev.lock)
  if (dev.driver?.reset_prepare) yield* dev.driver.reset_prepare(dev)
  dev.fn.functionReset?.()
  if (dev.driver?.reset_done) yield* dev.driver.reset_done(dev)
  mutex_unlock(dev.lock)
  leave(dev.k, t)
}

/** An error of the bus: the driver is asked what to do about it. @returns what came of it */
export function* pcie_do_recovery(dev: pci_dev, state: pci_channel_state): Sleep<pci_ers_result> {
  const t = enter(dev.k, 'pcie_do_recovery')
  yield* mutex_lock(dev.lock)
  const result = yield* recover(dev, state)
  mutex_unlock(dev.lock)
  return leave(dev.k, t, result)
}

function* recover(dev: pci_dev, state: pci_channel_state): Sleep<pci_ers_result> {
  const { driver } = dev
  dev.offline = state !== 'normal'
  let result = driver?.error_detected ? yield* driver.error_detected(dev, state) : 'disconnect'
  if (result === 'need_reset') {
    dev.fn.functionReset?.()
    dev.offline = false
    result = driver?.slot_reset ? yield* driver.slot_reset(dev) : 'disconnect'
  }
  if (result !== 'disconnect' && driver?.error_resume) yield* driver.error_resume(dev)
  return result
}

/** The function goes to sleep, and nothing else happens to it until pci_pm_resume. @returns 0 or -errno: its driver cannot */
export function* pci_pm_suspend(dev: pci_dev): Sleep<number> {
  const t = enter(dev.k, 'pci_pm_suspend')
  yield* mutex_lock(dev.lock)
  const error = dev.driver?.suspend ? yield* dev.driver.suspend(dev) : 0
  if (error !== 0) mutex_unlock(dev.lock)
  return leave(dev.k, t, error)
}

/** It wakes up, by the task that sent it to sleep. @returns 0 or -errno */
export function* pci_pm_resume(dev: pci_dev): Sleep<number> {
  const t = enter(dev.k, 'pci_pm_resume')
  const error = dev.driver?.resume ? yield* dev.driver.resume(dev) : 0
  mutex_unlock(dev.lock)
  return leave(dev.k, t, error)
}

// ---------------------------------------------------------------- the function

export function pci_is_enabled(dev: pci_dev): boolean {
  return dev.enabled
}

export function pci_device_is_present(dev: pci_dev): boolean {
  return dev.fn.present()
}

export function pci_channel_offline(dev: pci_dev): boolean {
  return dev.offline
}

/** @returns 0 or -ENODEV */
export function pci_enable_device_mem(dev: pci_dev): number {
  const t = enter(dev.k, 'pci_enable_device_mem')
  if (!dev.fn.present()) return leave(dev.k, t, -ENODEV)
  dev.enabled = true
  return leave(dev.k, t, 0)
}

export function pci_set_master(dev: pci_dev): void {
  trace_call(dev.k, 'pci_set_master')
  dev.fn.busMaster(true)
}

export function pci_disable_device(dev: pci_dev): void {
  trace_call(dev.k, 'pci_disable_device')
  if (!dev.enabled) return
  dev.enabled = false
  dev.fn.busMaster(false)
}

/** @returns 0 or -EBUSY */
export function pci_request_mem_regions(dev: pci_dev): number {
  trace_call(dev.k, 'pci_select_bars')
  trace_call(dev.k, 'pci_request_selected_regions')
  return dev.fn.present() ? 0 : -EBUSY
}

export function pci_release_mem_regions(dev: pci_dev): void {
  trace_call(dev.k, 'pci_select_bars')
}

// ---------------------------------------------------------------- registers

export function readl(dev: pci_dev, offset: number): number {
  return dev.fn.read32(offset)
}

export function writel(dev: pci_dev, offset: number, value: number): void {
  dev.fn.write32(offset, value >>> 0)
}

/** The low half first. */
export function lo_hi_readq(dev: pci_dev, offset: number): bigint {
  return BigInt(readl(dev, offset)) | (BigInt(readl(dev, offset + 4)) << 32n)
}

export function lo_hi_writeq(dev: pci_dev, offset: number, value: number): void {
  writel(dev, offset, value % 2 ** 32)
  writel(dev, offset + 4, Math.floor(value / 2 ** 32))
}

// ---------------------------------------------------------------- vectors

/** CPUs of each of so many vectors: neighbours together, the first ones get those that are over (irq_create_affinity_masks). */
export function irq_spread(cpus: number, vectors: number): number[][] {
  const masks: number[][] = []
  let next = 0
  for (let v = 0; v < vectors; v++) {
    const share = Math.floor(cpus / vectors) + (v < cpus % vectors ? 1 : 0)
    masks.push(Array.from({ length: share }, (_, i) => next + i))
    next += share
  }
  // More vectors than CPUs: those left over interrupt the CPUs in turn.
  return masks.map((mask, v) => (mask.length > 0 ? mask : [v % cpus]))
}

/**
 * Takes `min` to `max` vectors. The first `pre_vectors` are not spread: they may interrupt any CPU, and interrupt the first.
 * @param calc_sets says for so many others how many make a set; each set is spread over all CPUs (Linux 5.0). Absent: one set
 * @returns how many there are now, or -ENOSPC
 */
export function pci_alloc_irq_vectors_affinity(
  dev: pci_dev,
  min: number,
  max: number,
  pre_vectors: number | null,
  calc_sets?: (vectors: number) => readonly number[],
): number {
  const { k, cpus } = dev
  const t = enter(k, 'pci_alloc_irq_vectors_affinity')
  let most = max
  if (pre_vectors !== null) {
    trace_call(k, 'irq_calc_affinity_vectors')
    if (!calc_sets) most = Math.min(most, pre_vectors + cpus.length)
  }
  const n = Math.min(most, dev.fn.vectors)
  if (n < min) return leave(k, t, -ENOSPC)
  const all = cpus.map((_, cpu) => cpu)
  const pre = Math.min(pre_vectors ?? n, n)
  const sets = calc_sets?.(n - pre) ?? [n - pre]
  dev.irq_affinity = [
    ...Array.from({ length: pre }, () => all),
    ...sets.flatMap(size => irq_spread(cpus.length, size)),
  ]
  dev.irq_affinity.forEach((mask, v) => {
    dev.view.setU32(irq_block(dev, v) + IRQ_CPU, cpus[mask[0]!]!)
  })
  return leave(k, t, n)
}

export function pci_free_irq_vectors(dev: pci_dev): void {
  trace_call(dev.k, 'pci_free_irq_vectors')
  dev.irq_affinity = []
}

/** CPUs that a vector may interrupt. */
export function pci_irq_get_affinity(dev: pci_dev, nr: number): readonly number[] {
  return dev.irq_affinity[nr] ?? []
}

/** The block of a vector (IRQ_*). */
export function irq_block(dev: pci_dev, nr: number): number {
  return dev.irqs + nr * dev.irq_stride
}

/** @returns 0, or -ENODEV for a vector that was not allocated */
export function pci_request_irq(dev: pci_dev, nr: number): number {
  trace_call(dev.k, 'pci_request_irq')
  if (nr >= dev.irq_affinity.length) return -ENODEV
  dev.requested.add(nr)
  return 0
}

export function pci_free_irq(dev: pci_dev, nr: number): void {
  trace_call(dev.k, 'pci_free_irq')
  dev.requested.delete(nr)
}
