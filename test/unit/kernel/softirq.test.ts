import { describe, expect, test } from 'vitest'
import { in_interrupt } from '../../../src/kernel/core.js'
import {
  disable_irq,
  enable_irq,
  free_irq,
  handle_irq_event,
  IRQ_HANDLED,
  request_irq,
} from '../../../src/kernel/irq.js'
import {
  call_single_data,
  smp_call_function_single,
  smp_call_function_single_async,
} from '../../../src/kernel/smp.js'
import {
  BLOCK_SOFTIRQ,
  IRQ_POLL_SOFTIRQ,
  local_bh_disable,
  local_bh_enable,
  NET_RX_SOFTIRQ,
  open_softirq,
  raise_softirq,
  run_hardirq,
} from '../../../src/kernel/softirq.js'
import { VirtualKernel } from './support.js'

describe('softirqs', () => {
  test('raised in a hardirq, they run when it ends, on its CPU, lowest number first', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const seen: string[] = []
    const action = (name: string) => () => {
      seen.push(`${name} ${k.ctx.name} cpu${k.cpu.id} ${in_interrupt(k)}`)
    }
    open_softirq(k, BLOCK_SOFTIRQ, action('block'))
    open_softirq(k, IRQ_POLL_SOFTIRQ, action('poll'))
    run_hardirq(k, k.cpus[1], () => {
      raise_softirq(k, IRQ_POLL_SOFTIRQ)
      raise_softirq(k, BLOCK_SOFTIRQ)
      seen.push(`irq ${k.ctx.name}`)
    })
    expect(seen).toEqual(['irq hardirq', 'block softirq cpu1 true', 'poll softirq cpu1 true'])
    expect(k.cpu.id).toBe(0)
    expect(in_interrupt(k)).toBe(false)
  })

  test('raised by a task, they run in ksoftirqd after it', () => {
    const v = new VirtualKernel()
    const { k } = v
    const seen: string[] = []
    open_softirq(k, BLOCK_SOFTIRQ, () => void seen.push(`${k.current.name} as ${k.ctx.name}`))
    k.spawn('io1', function* () {
      raise_softirq(k, BLOCK_SOFTIRQ)
      seen.push('io1')
      yield 'turn'
    })
    k.runReady()
    expect(seen).toEqual(['io1', 'ksoftirqd/0 as softirq'])
  })

  test('ten passes at most, then ksoftirqd goes on', () => {
    const v = new VirtualKernel()
    const { k } = v
    let runs = 0
    open_softirq(k, BLOCK_SOFTIRQ, () => {
      if (++runs < 25) raise_softirq(k, BLOCK_SOFTIRQ)
    })
    run_hardirq(k, k.cpus[0], () => raise_softirq(k, BLOCK_SOFTIRQ))
    expect(runs).toBe(10)
    k.runReady()
    expect(runs).toBe(25)
  })

  test('local_bh_disable holds them off', () => {
    const v = new VirtualKernel()
    const { k } = v
    let runs = 0
    open_softirq(k, NET_RX_SOFTIRQ, () => void runs++)
    local_bh_disable(k)
    run_hardirq(k, k.cpus[0], () => raise_softirq(k, NET_RX_SOFTIRQ))
    expect(runs).toBe(0)
    local_bh_enable(k)
    expect(runs).toBe(1)
  })

  test('a hardirq inside a softirq leaves its softirqs to the one that runs', () => {
    const v = new VirtualKernel()
    const { k } = v
    const seen: string[] = []
    open_softirq(k, NET_RX_SOFTIRQ, () => {
      run_hardirq(k, k.cpus[0], () => raise_softirq(k, BLOCK_SOFTIRQ))
      seen.push('rx done')
    })
    open_softirq(k, BLOCK_SOFTIRQ, () => void seen.push('block'))
    run_hardirq(k, k.cpus[0], () => raise_softirq(k, NET_RX_SOFTIRQ))
    expect(seen).toEqual(['rx done', 'block'])
  })

  test('events: softirq_raise and softirq_entry with the action', () => {
    const v = new VirtualKernel()
    const { k } = v
    open_softirq(k, BLOCK_SOFTIRQ, () => {})
    k.trace.on = true
    run_hardirq(k, k.cpus[0], () => raise_softirq(k, BLOCK_SOFTIRQ))
    expect(v.events('softirq_raise')).toEqual([{ action: 'BLOCK' }])
    expect(v.events('softirq_entry')).toEqual([{ action: 'BLOCK' }])
  })
})

describe('interrupt lines', () => {
  test('a handler runs as a hardirq of the CPU, with its event', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    k.trace.on = true
    const seen: string[] = []
    const nvme_irq = (irq: number): number => {
      seen.push(`${irq} ${k.ctx.name} cpu${k.cpu.id}`)
      return IRQ_HANDLED
    }
    expect(request_irq(k, 24, nvme_irq, 'nvme0q1')).toBe(0)
    expect(request_irq(k, 24, nvme_irq, 'nvme0q1')).toBe(-16)
    expect(request_irq(k, -1, nvme_irq, 'nvme0q1')).toBe(-22)
    handle_irq_event(k, 24, k.cpus[1])
    expect(seen).toEqual(['24 hardirq cpu1'])
    expect(v.events('irq_handler_entry')).toEqual([{ name: 'nvme0q1' }])
    free_irq(k, 24)
    handle_irq_event(k, 24, k.cpus[1])
    expect(seen.length).toBe(1)
    free_irq(k, 24)
    expect(v.warnings.length).toBe(1)
  })

  test('a disabled line delivers once when it is enabled', () => {
    const v = new VirtualKernel()
    const { k } = v
    let runs = 0
    request_irq(k, 5, () => ++runs, 'nvme0q0')
    disable_irq(k, 5)
    disable_irq(k, 5)
    handle_irq_event(k, 5, k.cpus[0])
    handle_irq_event(k, 5, k.cpus[0])
    enable_irq(k, 5)
    expect(runs).toBe(0)
    enable_irq(k, 5)
    expect(runs).toBe(1)
    enable_irq(k, 5)
    expect(runs).toBe(1)
    expect(v.warnings).toEqual(['Unbalanced enable for IRQ 5'])
  })
})

describe('calls between CPUs', () => {
  test('an asynchronous call runs as a hardirq of the target, later; a local one at once', () => {
    const v = new VirtualKernel({ nrCpus: 3 })
    const { k } = v
    const seen: string[] = []
    const csd = new call_single_data(() => void seen.push(`${k.ctx.name} cpu${k.cpu.id}`))
    expect(smp_call_function_single_async(k, 0, csd)).toBe(0)
    expect(seen).toEqual(['swapper/0 cpu0'])
    expect(smp_call_function_single_async(k, 2, csd)).toBe(0)
    // On its way already: it is not sent twice.
    expect(smp_call_function_single_async(k, 2, csd)).toBe(0)
    expect(seen.length).toBe(1)
    k.runReady()
    expect(seen).toEqual(['swapper/0 cpu0', 'hardirq cpu2'])
    expect(smp_call_function_single_async(k, 7, csd)).toBe(-6)
  })

  test('ipiNs delays the arrival', () => {
    const v = new VirtualKernel({ nrCpus: 2, ipiNs: 800 })
    const { k } = v
    let at = -1
    smp_call_function_single_async(k, 1, new call_single_data(() => void (at = k.now())))
    k.runReady()
    expect(at).toBe(-1)
    expect(k.nextDeadline()).toBe(800)
    v.runUntil(2000)
    expect(at).toBe(800)
  })

  test('a call that waits ends when the function has run', () => {
    const v = new VirtualKernel({ nrCpus: 2, ipiNs: 800 })
    const { k } = v
    const order: string[] = []
    const err = v.run(function* () {
      const ret = yield* smp_call_function_single(k, 1, () => void order.push('there'), true)
      order.push('back')
      return ret
    })
    expect(err).toBe(0)
    expect(order).toEqual(['there', 'back'])
    expect(v.run(() => smp_call_function_single(k, 9, () => {}, true))).toBe(-6)
  })
})
