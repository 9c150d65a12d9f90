// Interrupt lines and their handlers, after kernel/irq/manage.c and handle.c.
//
// The machine raises a line for a CPU (`handle_irq_event`), and the handlers run there as a
// hardirq. Which CPU a line is bound to is the machine's business (MSI-X vectors, affinity). A line
// that is disabled remembers that it was raised and fires once when it is enabled again. Handlers
// never sleep, so none can be running when a task frees or disables a line: nothing has to be
// waited for, and synchronize_irq has nothing to do.

import type { Cpu } from './core.js'
import { WARN } from './core.js'
import { EBUSY, EINVAL } from './errno.js'
import type { SoftirqKernel } from './softirq.js'
import { run_hardirq } from './softirq.js'
import { enter, leave, trace_event } from './trace.js'

export const IRQ_NONE = 0
export const IRQ_HANDLED = 1

/** @returns IRQ_HANDLED if the interrupt was this handler's */
export type irq_handler_t = (irq: number) => number

interface IrqLine {
  readonly name: string
  readonly handler: irq_handler_t
  disable_depth: number
  /** The CPU of an interrupt that came while the line was disabled. */
  pending: Cpu | null
}

/** What interrupt lines add to a kernel. */
export interface IrqKernel extends SoftirqKernel {
  readonly irqs: Map<number, IrqLine>
}

/**
 * Takes a line. 0, or -EBUSY if it has a handler, -EINVAL if the number is none. Lines are not
 * shared.
 */
export function request_irq(
  k: IrqKernel,
  irq: number,
  handler: irq_handler_t,
  name: string,
): number {
  const t = enter(k, 'request_irq')
  if (!Number.isInteger(irq) || irq < 0) return leave(k, t, -EINVAL)
  if (k.irqs.has(irq)) return leave(k, t, -EBUSY)
  k.irqs.set(irq, { name, handler, disable_depth: 0, pending: null })
  return leave(k, t, 0)
}

/** Gives a line back. */
export function free_irq(k: IrqKernel, irq: number): void {
  const t = enter(k, 'free_irq')
  WARN(k, !k.irqs.delete(irq), `Trying to free already-free IRQ ${irq}`)
  leave(k, t)
}

/** Holds a line's interrupts back; calls nest. */
export function disable_irq(k: IrqKernel, irq: number): void {
  const t = enter(k, 'disable_irq')
  const line = k.irqs.get(irq)
  if (line !== undefined) line.disable_depth++
  leave(k, t)
}

/** Undoes one disable_irq; an interrupt that came meanwhile is delivered now. */
export function enable_irq(k: IrqKernel, irq: number): void {
  const t = enter(k, 'enable_irq')
  const line = k.irqs.get(irq)
  if (
    line !== undefined &&
    !WARN(k, line.disable_depth === 0, `Unbalanced enable for IRQ ${irq}`)
  ) {
    line.disable_depth--
    const cpu = line.pending
    if (line.disable_depth === 0 && cpu !== null) {
      line.pending = null
      handle_irq_event(k, irq, cpu)
    }
  }
  leave(k, t)
}

/** An interrupt arrives on a line, at a CPU. A line without a handler swallows it. */
export function handle_irq_event(k: IrqKernel, irq: number, cpu: Cpu): void {
  const line = k.irqs.get(irq)
  if (line === undefined) return
  if (line.disable_depth > 0) {
    line.pending = cpu
    return
  }
  run_hardirq(k, cpu, () => {
    if (k.trace.on) trace_event(k, 'irq_handler_entry', { name: line.name })
    line.handler(irq)
  })
}
