import { describe, expect, test } from 'vitest'
import { KernelBug } from '../../../src/kernel/bug.js'
import { schedule_timeout_uninterruptible } from '../../../src/kernel/timer-sleep.js'
import {
  add_timer,
  add_timer_on,
  del_timer,
  del_timer_sync,
  mod_timer,
  mod_timer_pending,
  timer_pending,
  timer_reduce,
  timer_setup,
  try_to_del_timer_sync,
} from '../../../src/kernel/timer.js'
import {
  LVL_GRAN,
  LVL_START,
  TIMER_DEFERRABLE,
  TIMER_IRQSAFE,
  TIMER_PINNED,
  timer_base,
  timer_list,
} from '../../../src/kernel/timer-wheel.js'
import { VirtualKernel } from './support.js'

/** A timer that notes the jiffies (since boot) at which it fired. */
function noting(v: VirtualKernel, flags = 0): { timer: timer_list<null>; fired: number[] } {
  const timer = new timer_list(v.k, null)
  const fired: number[] = []
  timer_setup(timer, () => void fired.push(v.j), flags)
  return { timer, fired }
}

function wheel(hz = 1000, exact = false): timer_base {
  const { k } = new VirtualKernel({ hz })
  return new timer_base(k.cpus[0], hz, 100, exact)
}

/** Delay in jiffies between arming and firing, for a kernel that has just begun. */
function delayOf(hz: number, seconds: number, timer: 'wheel' | 'exact' = 'wheel'): number {
  const v = new VirtualKernel({ hz, timer, initialJiffies: 0 })
  v.ticks(7)
  const from = v.j
  const { timer: t, fired } = noting(v)
  mod_timer(t, v.k.jiffies + seconds * hz)
  v.ticks(seconds * hz * 2)
  return fired[0] - from
}

describe('the wheel: placement', () => {
  test('workqueue-timers 9: levels, granularities and starts', () => {
    expect(Array.from({ length: 9 }, (_, n) => LVL_GRAN(n))).toEqual([
      1, 8, 64, 512, 4096, 32768, 262144, 2097152, 16777216,
    ])
    expect(Array.from({ length: 10 }, (_, n) => LVL_START(n))).toEqual([
      0, 63, 504, 4032, 32256, 258048, 2064384, 16515072, 132120576, 1056964608,
    ])
    expect(wheel(1000).depth).toBe(9)
    expect(wheel(250).depth).toBe(9)
    expect(wheel(100).depth).toBe(8)
  })

  test.each([
    [162, 35],
    [163, 64 + 21],
    [603, 64 + 12],
    [604, 128 + 10],
  ])(
    'workqueue-timers 15.11, workqueue-timers 15.12: clk 100, expires %i: bucket %i',
    (expires, bucket) => {
      expect(wheel().calc_wheel_index(expires, 100)).toBe(bucket)
    },
  )

  test.each([
    [162, 163],
    [163, 168],
    [603, 608],
    [604, 640],
  ])(
    'workqueue-timers 15.11, workqueue-timers 15.12: clk 100, expires %i fires at %i',
    (expires, at) => {
      const base = wheel()
      expect(base.bucket_expiry(base.calc_wheel_index(expires, 100))).toBe(at)
    },
  )

  test('workqueue-timers 9: every level fires in (expires, expires + 8^n]', () => {
    const base = wheel()
    for (let level = 0; level < 8; level++) {
      for (const delta of [LVL_START(level), LVL_START(level) + 5, LVL_START(level + 1) - 1]) {
        const at = base.bucket_expiry(base.calc_wheel_index(100 + delta, 100))
        expect(at).toBeGreaterThan(100 + delta)
        expect(at).toBeLessThanOrEqual(100 + delta + LVL_GRAN(level))
      }
    }
  })

  test('workqueue-timers 9: an expiry before the clock goes to the current bucket', () => {
    const base = wheel()
    expect(base.calc_wheel_index(42, 100)).toBe(100 & 63)
    expect(base.bucket_expiry(100 & 63)).toBe(100)
  })

  test('workqueue-timers 15.14, 9: 4.19 replaces what is too far by the absolute maximum', () => {
    const max = 1056964608 - 16777216
    expect(max).toBe(1040187392)
    const base = wheel()
    const last = 8 * 64 + 63
    // Absolute expiry above the cutoff, distance on the last level: one fixed bucket, whatever was
    // asked for.
    const clk = 2 ** 32
    for (const delta of [132120576, 200_000_000, 1056964608, 2 ** 40]) {
      expect(base.calc_wheel_index(clk + delta, clk)).toBe(last)
    }
    expect(base.calc_wheel_index(clk + 132120575, clk)).not.toBe(last)
    // Below the cutoff the bucket follows from the expiry.
    expect(base.calc_wheel_index(200_000_000, 0)).toBe(8 * 64 + 12)
    const small = wheel(100)
    expect(small.calc_wheel_index(clk + 2 ** 33, clk)).toBe(7 * 64 + 63)
  })
})

describe('the wheel: firing', () => {
  test.each([
    // HZ, seconds asked, earliest, latest delay
    [1000, 1, 1001, 1064],
    [250, 1, 251, 258],
    [100, 1, 101, 108],
    [1000, 5, 5001, 5512],
    [250, 5, 1251, 1314],
    [100, 5, 501, 508],
    [1000, 30, 30001, 30512],
    [250, 30, 7501, 8012],
    [100, 30, 3001, 3064],
    [1000, 60, 60001, 64096],
    [250, 60, 15001, 15512],
    [100, 60, 6001, 6512],
  ])('workqueue-timers 9, 15.13: HZ %i, %i s fire after %i to %i jiffies', (hz, s, from, to) => {
    const delay = delayOf(hz, s)
    expect(delay).toBeGreaterThanOrEqual(from)
    expect(delay).toBeLessThanOrEqual(to)
  })

  test('workqueue-timers 15.13: a 30 s timer at HZ 1000, armed at any moment', () => {
    for (let offset = 0; offset < 600; offset += 37) {
      const v = new VirtualKernel({ hz: 1000, initialJiffies: offset })
      const { timer, fired } = noting(v)
      mod_timer(timer, v.k.jiffies + 30_000)
      v.ticks(31_000)
      expect(fired[0]).toBeGreaterThanOrEqual(30_001)
      expect(fired[0]).toBeLessThanOrEqual(30_512)
    }
  })

  test('blk-timers 10.25: 2500 armed at 1000 fires at 2560, 1010 at 1011', () => {
    const v = new VirtualKernel({ initialJiffies: 1000 })
    const far = noting(v)
    const near = noting(v)
    mod_timer(far.timer, 2500)
    mod_timer(near.timer, 1010)
    v.ticks(2000)
    expect(near.fired).toEqual([11])
    expect(far.fired).toEqual([1560])
  })

  test('timer=exact fires at the expiry', () => {
    for (const s of [1, 5, 30, 60]) expect(delayOf(250, s, 'exact')).toBe(s * 250)
    const v = new VirtualKernel({ timer: 'exact' })
    const far = noting(v)
    const delta = 2 ** 31 + 12345
    mod_timer(far.timer, v.k.jiffies + delta)
    v.ticks(delta - 1)
    expect(far.fired).toEqual([])
    v.ticks(1)
    expect(far.fired).toEqual([delta])
  })

  test('workqueue-timers 9: timers do not cascade, and the highest level of a tick runs first', () => {
    const v = new VirtualKernel({ initialJiffies: 100 })
    const order: string[] = []
    const arm = (name: string, expires: number): void => {
      const timer = new timer_list(v.k, null)
      timer_setup(timer, () => void order.push(name))
      mod_timer(timer, expires)
    }
    arm('level 2', 604) // fires at 640
    arm('level 1', 638 - 100) // fires at 544
    v.ticks(500)
    expect(order).toEqual(['level 1'])
    order.length = 0
    arm('level 1', 39 + 600) // from here level 0: fires at 640
    arm('level 0', 639)
    v.ticks(40)
    // Inside a bucket the one armed last runs first.
    expect(order).toEqual(['level 2', 'level 0', 'level 1'])
  })

  test('workqueue-timers 9: level 0 fires one jiffy after its expiry, the past at the next tick', () => {
    const v = new VirtualKernel()
    v.ticks(3)
    const now = noting(v)
    const past = noting(v)
    const soon = noting(v)
    mod_timer(now.timer, v.k.jiffies)
    mod_timer(past.timer, v.k.jiffies - 50)
    mod_timer(soon.timer, v.k.jiffies + 1)
    v.k.advance()
    expect(past.fired).toEqual([])
    v.ticks(5)
    expect(now.fired).toEqual([4])
    expect(past.fired).toEqual([4])
    expect(soon.fired).toEqual([5])
  })

  test('workqueue-timers 9: after tick J the base clock is J + 1; an idle base is forwarded when a timer is armed', () => {
    const v = new VirtualKernel()
    const { std } = v.k.timer_bases[0]
    const { timer, fired } = noting(v)
    v.ticks(1000)
    // Nothing was due: the clock has stayed behind.
    expect(std.clk).toBeLessThan(v.k.jiffies)
    mod_timer(timer, v.k.jiffies + 10)
    expect(std.clk).toBe(v.k.jiffies)
    v.ticks(11)
    expect(fired).toEqual([1011])
    expect(std.clk).toBe(v.k.jiffies + 1)
  })

  test('workqueue-timers 9: a callback may re-arm its timer; it was detached before the call', () => {
    const v = new VirtualKernel()
    const seen: boolean[] = []
    const timer = new timer_list(v.k, null)
    timer_setup(timer, t => {
      seen.push(timer_pending(t))
      if (seen.length < 4) mod_timer(t, v.k.jiffies + 2)
    })
    mod_timer(timer, v.k.jiffies + 2)
    v.ticks(20)
    expect(seen).toEqual([false, false, false, false])
    expect(timer_pending(timer)).toBe(false)
  })

  test('a clock that jumps fires everything in between, once, in order', () => {
    const v = new VirtualKernel()
    const order: number[] = []
    for (const delay of [700, 20, 5000, 63, 20]) {
      const timer = new timer_list(v.k, delay)
      timer_setup(timer, t => void order.push(t.container))
      mod_timer(timer, v.k.jiffies + delay)
    }
    v.ns = v.k.jiffyNs(v.k.jiffies + 10_000)
    expect(v.k.advance()).toBe(true)
    expect(order).toEqual([20, 20, 63, 700, 5000])
    expect(v.k.advance()).toBe(false)
  })

  test('jiffies cross 2^32 with timers armed', () => {
    const v = new VirtualKernel({ hz: 1000 })
    const hits: number[] = []
    const timer = new timer_list(v.k, null)
    timer_setup(timer, t => {
      hits.push(v.k.jiffies)
      mod_timer(t, v.k.jiffies + 10_000)
    })
    mod_timer(timer, v.k.jiffies + 10_000)
    v.runUntil(400e9)
    expect(v.k.jiffies).toBe(2 ** 32 + 100_000)
    expect(hits.length).toBeGreaterThan(35)
    const gaps = hits.slice(1).map((hit, i) => hit - hits[i])
    for (const gap of gaps) expect(gap).toBeGreaterThan(10_000)
    for (const gap of gaps) expect(gap).toBeLessThanOrEqual(10_512)
    expect(hits.some(hit => hit > 2 ** 32)).toBe(true)
  })

  test('jiffies that begin just below 2^32 wrap in the next ticks', () => {
    const v = new VirtualKernel({ initialJiffies: 2 ** 32 - 3 })
    const { timer, fired } = noting(v)
    mod_timer(timer, v.k.jiffies + 100)
    v.ticks(120)
    expect(fired[0]).toBeGreaterThanOrEqual(101)
    expect(fired[0]).toBeLessThanOrEqual(108)
  })
})

describe('the timer API', () => {
  test('workqueue-timers 15.15: mod_timer says whether it was pending', () => {
    const v = new VirtualKernel()
    const order: string[] = []
    const named = (name: string): timer_list<null> => {
      const timer = new timer_list(v.k, null)
      timer_setup(timer, () => void order.push(name))
      return timer
    }
    const [timer, other] = [named('first'), named('second')]
    const when = v.k.jiffies + 1000
    expect(mod_timer(timer, when)).toBe(0)
    expect(mod_timer(timer, when + 500)).toBe(1)
    expect(mod_timer(other, when + 500)).toBe(0)
    const { idx, next } = timer
    expect(mod_timer(timer, when + 500)).toBe(1)
    expect([timer.idx, timer.next]).toEqual([idx, next])
    v.ticks(1600)
    // the one armed last runs first, and the other one was not armed again
    expect(order).toEqual(['second', 'first'])
    expect(mod_timer(timer, when + 500)).toBe(0)
  })

  test('workqueue-timers 10: in the same bucket only the expiry changes; no event', () => {
    const v = new VirtualKernel()
    v.k.trace.on = true
    const first = noting(v)
    const second = noting(v)
    const when = v.k.initial_jiffies + 1000
    mod_timer(first.timer, when)
    mod_timer(second.timer, when)
    const { next } = first.timer
    expect(mod_timer(first.timer, when + 1)).toBe(1)
    expect(first.timer.expires).toBe(when + 1)
    expect(first.timer.next).toBe(next)
    expect(v.events('timer_start').length).toBe(2)
  })

  test('workqueue-timers 14: re-arming to the same jiffy does not postpone', () => {
    const v = new VirtualKernel()
    const { timer, fired } = noting(v)
    mod_timer(timer, v.k.jiffies + 10)
    v.ticks(5)
    expect(mod_timer(timer, v.k.jiffies + 5)).toBe(1)
    v.ticks(20)
    expect(fired).toEqual([11])
  })

  test('workqueue-timers 10: nor does it move the timer to a finer level', () => {
    const v = new VirtualKernel({ initialJiffies: 100 })
    const { timer, fired } = noting(v)
    mod_timer(timer, 170)
    expect(timer.idx).toBe(64 + 22)
    v.ticks(60)
    expect(mod_timer(timer, 170)).toBe(1)
    expect(timer.idx).toBe(64 + 22)
    v.ticks(30)
    expect(fired).toEqual([76])
  })

  test('workqueue-timers 10: mod_timer_pending never activates, timer_reduce never prolongs', () => {
    const v = new VirtualKernel()
    const { timer, fired } = noting(v)
    expect(mod_timer_pending(timer, v.k.jiffies + 5)).toBe(0)
    expect(timer_pending(timer)).toBe(false)
    mod_timer(timer, v.k.jiffies + 50)
    expect(mod_timer_pending(timer, v.k.jiffies + 30)).toBe(1)
    expect(timer_reduce(timer, v.k.jiffies + 40)).toBe(1)
    expect(timer.expires).toBe(v.k.jiffies + 30)
    expect(timer_reduce(timer, v.k.jiffies + 10)).toBe(1)
    v.ticks(100)
    expect(fired).toEqual([11])
    expect(timer_reduce(timer, v.k.jiffies + 10)).toBe(0)
  })

  test('workqueue-timers 15.19: del_timer says 1 once, try_to_del_timer_sync -1 during the callback', () => {
    const v = new VirtualKernel()
    const { timer, fired } = noting(v)
    mod_timer(timer, v.k.jiffies + 5)
    expect(del_timer(timer)).toBe(1)
    expect(del_timer(timer)).toBe(0)
    v.ticks(10)
    expect(fired).toEqual([])
    const seen: number[] = []
    const self = new timer_list(v.k, null)
    timer_setup(self, t => {
      seen.push(try_to_del_timer_sync(t), del_timer(t))
    })
    mod_timer(self, v.k.jiffies + 1)
    v.ticks(5)
    // workqueue-timers 14: del_timer does not stop a running callback; here it only finds nothing
    // pending.
    expect(seen).toEqual([-1, 0])
    expect(try_to_del_timer_sync(self)).toBe(0)
    mod_timer(self, v.k.jiffies + 1)
    expect(try_to_del_timer_sync(self)).toBe(1)
  })

  test('workqueue-timers 10: del_timer_sync from its own callback is a deadlock', () => {
    const v = new VirtualKernel()
    const timer = new timer_list(v.k, null)
    timer_setup(timer, t => void del_timer_sync(t))
    mod_timer(timer, v.k.jiffies + 1)
    expect(() => v.ticks(5)).toThrow(KernelBug)
  })

  test('workqueue-timers 10: add_timer and add_timer_on stop on a pending timer or one without function', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { timer } = noting(v)
    timer.expires = v.k.jiffies + 5
    add_timer(timer)
    expect(() => add_timer(timer)).toThrow(/pending/)
    expect(() => add_timer_on(timer, 1)).toThrow(/pending/)
    const blank = new timer_list(v.k, null)
    expect(() => add_timer_on(blank, 1)).toThrow(/without a function/)
    expect(() => mod_timer(blank, 5)).toThrow(/without a function/)
  })

  test('workqueue-timers 10: add_timer_on fires on that CPU', () => {
    const v = new VirtualKernel({ nrCpus: 4 })
    const cpus: number[] = []
    const timer = new timer_list(v.k, null)
    timer_setup(timer, () => void cpus.push(v.k.cpu.id))
    timer.expires = v.k.jiffies + 5
    add_timer_on(timer, 3)
    v.ticks(10)
    expect(cpus).toEqual([3])
    expect(v.k.cpu.id).toBe(0)
  })

  test('a timer that another one of the same tick deletes does not fire', () => {
    const v = new VirtualKernel()
    const victim = noting(v)
    const killer = new timer_list(v.k, null)
    timer_setup(killer, () => void del_timer(victim.timer))
    mod_timer(victim.timer, v.k.jiffies + 3)
    mod_timer(killer, v.k.jiffies + 3)
    v.ticks(10)
    expect(victim.fired).toEqual([])
    expect(v.k.timer_bases[0].std.count).toBe(0)
  })

  test('del_timer_sync in hardirq warns unless the timer is IRQSAFE', () => {
    const v = new VirtualKernel()
    const safe = noting(v, TIMER_IRQSAFE)
    const plain = noting(v)
    v.k.cpu.in_hardirq++
    del_timer_sync(safe.timer)
    expect(v.warnings).toEqual([])
    del_timer_sync(plain.timer)
    expect(v.warnings.length).toBe(1)
    v.k.cpu.in_hardirq--
  })
})

describe('where timers run', () => {
  test('workqueue-timers 10: deferrable timers wait for something else to wake their CPU', () => {
    const v = new VirtualKernel()
    const lazy = noting(v, TIMER_DEFERRABLE)
    mod_timer(lazy.timer, v.k.jiffies + 5)
    expect(v.k.nextDeadline()).toBe(Number.POSITIVE_INFINITY)
    v.ticks(100)
    expect(lazy.fired).toEqual([])
    v.k.spawn('io1', function* () {
      yield 'turn'
    })
    v.k.runReady()
    expect(lazy.fired).toEqual([100])
  })

  test('a deferrable timer fires with a normal one of its CPU', () => {
    const v = new VirtualKernel()
    const lazy = noting(v, TIMER_DEFERRABLE)
    const normal = noting(v)
    mod_timer(lazy.timer, v.k.jiffies + 5)
    mod_timer(normal.timer, v.k.jiffies + 30)
    v.ticks(40)
    expect(lazy.fired).toEqual([31])
  })

  test('workqueue-timers 10: armed on an idle CPU, an unpinned timer goes to a busy one', () => {
    const v = new VirtualKernel({ nrCpus: 3 })
    const busy = v.k.spawn('busy', () => forever(), [2])
    v.k.runReady(1)
    expect(busy.cpu.id).toBe(2)
    const free = noting(v)
    const pinned = noting(v, TIMER_PINNED)
    mod_timer(free.timer, v.k.jiffies + 5)
    mod_timer(pinned.timer, v.k.jiffies + 5)
    expect(free.timer.base).toBe(v.k.timer_bases[2].std)
    expect(pinned.timer.base).toBe(v.k.timer_bases[0].std)
    const off = new VirtualKernel({ nrCpus: 3, timerMigration: false })
    off.k.spawn('busy', () => forever(), [2])
    off.k.runReady(1)
    const stays = noting(off)
    mod_timer(stays.timer, off.k.jiffies + 5)
    expect(stays.timer.base).toBe(off.k.timer_bases[0].std)
  })

  test('a timer armed while its function runs stays on its CPU', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const cpus: number[] = []
    const timer = new timer_list(v.k, null)
    timer_setup(timer, t => {
      cpus.push(v.k.cpu.id)
      if (cpus.length === 1) mod_timer(t, v.k.jiffies + 2)
    })
    mod_timer(timer, v.k.jiffies + 2)
    v.k.spawn('busy', () => forever(), [1])
    v.k.runReady(1)
    v.ns = v.k.jiffyNs(v.k.jiffies + 3)
    v.k.advance()
    expect(timer.base).toBe(v.k.timer_bases[0].std)
    expect(cpus).toEqual([0])
  })

  function* forever(): Generator<string, void, void> {
    while (true) yield 'turn'
  }
})

test('nextDeadline is the jiffy edge at which the next bucket fires', () => {
  const v = new VirtualKernel()
  const { timer } = noting(v)
  mod_timer(timer, v.k.jiffies + 10)
  expect(v.k.nextDeadline()).toBe(11 * 4_000_000)
  mod_timer(timer, v.k.jiffies + 5)
  expect(v.k.nextDeadline()).toBe(6 * 4_000_000)
  del_timer(timer)
  expect(v.k.nextDeadline()).toBe(Number.POSITIVE_INFINITY)
})

test('a kernel can be told where jiffies stand and hears when they move', () => {
  const seen: number[] = []
  const v = new VirtualKernel({ initialJiffies: 7, bootNs: 0, onJiffies: j => seen.push(j) })
  v.runUntil(3 * 4_000_000 + 1)
  expect(v.k.jiffies).toBe(10)
  expect(seen).toEqual([10])
})

test('many kernels live side by side', () => {
  const a = new VirtualKernel({ hz: 100 })
  const b = new VirtualKernel({ hz: 1000 })
  const left = noting(a)
  const right = noting(b)
  mod_timer(left.timer, a.k.jiffies + 1)
  mod_timer(right.timer, b.k.jiffies + 1)
  a.ticks(5)
  expect(left.fired).toEqual([2])
  expect(right.fired).toEqual([])
  expect(b.run(() => schedule_timeout_uninterruptible(b.k, 1))).toBe(0)
  expect(right.fired).toEqual([2])
})
