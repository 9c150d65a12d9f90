import { describe, expect, test } from 'vitest'
import { TASK_UNINTERRUPTIBLE } from '../../../src/kernel/core.js'
import {
  CLOCK_MONOTONIC,
  HRTIMER_MODE_ABS,
  HRTIMER_MODE_PINNED,
  HRTIMER_MODE_REL,
  HRTIMER_MODE_SOFT,
  HRTIMER_NORESTART,
  HRTIMER_RESTART,
  hrtimer,
  hrtimer_active,
  hrtimer_cancel,
  hrtimer_forward,
  hrtimer_forward_now,
  hrtimer_get_remaining,
  hrtimer_init,
  hrtimer_is_queued,
  hrtimer_restart,
  hrtimer_start,
  hrtimer_start_range_ns,
  hrtimer_try_to_cancel,
  schedule_hrtimeout_range,
  usleep_range,
} from '../../../src/kernel/hrtimer.js'
import { set_current_state, wake_up_process } from '../../../src/kernel/task.js'
import { VirtualKernel } from './support.js'

function make(v: VirtualKernel, fn: (timer: hrtimer<null>) => number): hrtimer<null> {
  const timer = new hrtimer<null>(v.k, null)
  hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL)
  timer.function = fn
  return timer
}

describe('hrtimers', () => {
  test('fire at their nanosecond, in hardirq of their CPU; equal expiries in the order of arming', () => {
    const v = new VirtualKernel()
    const seen: (string | number)[] = []
    const named = (name: string): hrtimer<null> =>
      make(v, () => {
        seen.push(name, v.ns, v.k.ctx.name)
        return HRTIMER_NORESTART
      })
    hrtimer_start(named('c'), 700, HRTIMER_MODE_ABS)
    hrtimer_start(named('a'), 123, HRTIMER_MODE_REL)
    hrtimer_start(named('b'), 123, HRTIMER_MODE_REL)
    v.runUntil(1000)
    expect(seen).toEqual(['a', 123, 'hardirq', 'b', 123, 'hardirq', 'c', 700, 'hardirq'])
  })

  test('workqueue-timers 10: RESTART after hrtimer_forward, which counts overruns', () => {
    const v = new VirtualKernel()
    const ticks: number[] = []
    const timer = make(v, t => {
      ticks.push(v.ns)
      expect(hrtimer_forward_now(t, 100)).toBe(1)
      return ticks.length < 4 ? HRTIMER_RESTART : HRTIMER_NORESTART
    })
    hrtimer_start(timer, 100, HRTIMER_MODE_REL)
    v.runUntil(10_000)
    expect(ticks).toEqual([100, 200, 300, 400])
    timer.expires = 1000
    expect(hrtimer_forward(timer, 999, 100)).toBe(0)
    expect(hrtimer_forward(timer, 1000, 100)).toBe(1)
    expect(timer.expires).toBe(1100)
    expect(hrtimer_forward(timer, 1450, 100)).toBe(4)
    expect(timer.expires).toBe(1500)
  })

  test('a timer that is queued is not forwarded', () => {
    const v = new VirtualKernel()
    const timer = make(v, () => HRTIMER_NORESTART)
    hrtimer_start(timer, 100, HRTIMER_MODE_REL)
    expect(hrtimer_forward(timer, 500, 10)).toBe(0)
    expect(v.warnings.length).toBe(1)
  })

  test('workqueue-timers 10: cancel says 1 if active; try_to_cancel -1 while the callback runs', () => {
    const v = new VirtualKernel()
    const seen: (number | boolean)[] = []
    const timer = make(v, t => {
      seen.push(hrtimer_try_to_cancel(t), hrtimer_is_queued(t), hrtimer_active(t))
      return HRTIMER_NORESTART
    })
    hrtimer_start(timer, 100, HRTIMER_MODE_REL)
    expect(hrtimer_get_remaining(timer)).toBe(100)
    expect(hrtimer_cancel(timer)).toBe(1)
    expect(hrtimer_cancel(timer)).toBe(0)
    hrtimer_restart(timer)
    v.runUntil(200)
    expect(seen).toEqual([-1, false, true])
    expect(hrtimer_active(timer)).toBe(false)
  })

  test('hrtimer_cancel from its own callback is a deadlock', () => {
    const v = new VirtualKernel()
    const timer = make(v, t => hrtimer_cancel(t))
    hrtimer_start(timer, 100, HRTIMER_MODE_REL)
    expect(() => v.runUntil(200)).toThrow(/its own end/)
  })

  test('workqueue-timers 10: a range timer fires between its soft and its hard expiry', () => {
    const v = new VirtualKernel()
    const fired: number[] = []
    const note = (): number => {
      fired.push(v.ns)
      return HRTIMER_NORESTART
    }
    const lazy = make(v, note)
    hrtimer_start_range_ns(lazy, 100, 400, HRTIMER_MODE_REL)
    expect(v.k.nextDeadline()).toBe(500)
    v.runUntil(1000)
    expect(fired).toEqual([500])
    hrtimer_start_range_ns(lazy, 1100, 400, HRTIMER_MODE_ABS)
    hrtimer_start(make(v, note), 1200, HRTIMER_MODE_ABS)
    v.runUntil(2000)
    // The interrupt at 1200 takes the lazy one along.
    expect(fired).toEqual([500, 1200, 1200])
  })

  test('starting a queued timer moves it', () => {
    const v = new VirtualKernel()
    const fired: number[] = []
    const timer = make(v, () => {
      fired.push(v.ns)
      return HRTIMER_NORESTART
    })
    hrtimer_start(timer, 100, HRTIMER_MODE_REL)
    hrtimer_start(timer, 50, HRTIMER_MODE_REL)
    hrtimer_start(timer, 300, HRTIMER_MODE_REL)
    v.runUntil(1000)
    expect(fired).toEqual([300])
    expect(v.k.hrtimer_bases[0].count).toBe(0)
  })

  test('many timers come out in order whatever the order of arming and cancelling', () => {
    const v = new VirtualKernel()
    const fired: number[] = []
    const timers = Array.from({ length: 200 }, () =>
      make(v, () => {
        fired.push(v.ns)
        return HRTIMER_NORESTART
      }),
    )
    timers.forEach((timer, i) => {
      hrtimer_start(timer, ((i * 7919) % 200) + 1, HRTIMER_MODE_ABS)
    })
    for (let i = 0; i < 200; i += 3) hrtimer_cancel(timers[i])
    v.runUntil(500)
    const expected = timers.flatMap((_, i) => (i % 3 === 0 ? [] : [((i * 7919) % 200) + 1]))
    expect(fired).toEqual(expected.sort((a, b) => a - b))
  })

  test('an idle CPU arms for a busy one unless pinned', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    v.k.spawn(
      'busy',
      function* () {
        while (true) yield 'turn'
      },
      [1],
    )
    v.k.runReady(1)
    const timer = make(v, () => HRTIMER_NORESTART)
    hrtimer_start(timer, 100, HRTIMER_MODE_REL)
    expect(timer.base).toBe(v.k.hrtimer_bases[1])
    hrtimer_start(timer, 100, HRTIMER_MODE_REL | HRTIMER_MODE_PINNED)
    expect(timer.base).toBe(v.k.hrtimer_bases[0])
  })

  test('what is not modelled is refused', () => {
    const v = new VirtualKernel()
    const timer = new hrtimer(v.k, null)
    expect(() => hrtimer_init(timer, 0, HRTIMER_MODE_REL)).toThrow(/clock 0/)
    expect(() => hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_SOFT)).toThrow(/SOFT/)
    expect(() => hrtimer_start(timer, 5, HRTIMER_MODE_REL)).toThrow(/not initialised/)
  })

  test('events carry the function', () => {
    const v = new VirtualKernel()
    v.k.trace.on = true
    const timer = make(v, function null_cmd_timer_expired() {
      return HRTIMER_NORESTART
    })
    hrtimer_start(timer, 10, HRTIMER_MODE_REL)
    v.runUntil(20)
    expect(v.events('hrtimer_start')).toEqual([{ function: 'null_cmd_timer_expired' }])
    expect(v.events('hrtimer_expire_entry')).toEqual([{ function: 'null_cmd_timer_expired' }])
    expect(v.calls).toContain('hrtimer_start_range_ns')
  })
})

describe('sleeping on hrtimers', () => {
  test('usleep_range sleeps as long as it is let', () => {
    const v = new VirtualKernel()
    v.run(() => usleep_range(v.k, 10, 30))
    expect(v.ns).toBe(30_000)
  })

  test('schedule_hrtimeout_range tells a wake-up from the end of time', () => {
    const v = new VirtualKernel()
    const { k } = v
    const expired = v.run(function* () {
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      return yield* schedule_hrtimeout_range(k, 500, 0, HRTIMER_MODE_REL)
    })
    expect(expired).toBe(true)
    expect(v.ns).toBe(500)
    const results: boolean[] = []
    const task = k.spawn('sleeper', function* () {
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      results.push(yield* schedule_hrtimeout_range(k, 500, 0, HRTIMER_MODE_REL))
      set_current_state(k, TASK_UNINTERRUPTIBLE)
      results.push(yield* schedule_hrtimeout_range(k, Number.MAX_SAFE_INTEGER, 0, 0))
    })
    k.runReady()
    v.runUntil(700)
    wake_up_process(task)
    k.runReady()
    expect(k.hrtimer_bases[0].count).toBe(0)
    wake_up_process(task)
    k.runReady()
    expect(results).toEqual([false, false])
  })
})
