import { describe, expect, test } from 'vitest'
import { list_entries } from '../../../src/kernel/list.js'
import {
  alloc_ordered_workqueue,
  alloc_workqueue,
  create_freezable_workqueue,
  create_singlethread_workqueue,
  create_workqueue,
  destroy_workqueue,
  freeze_workqueues_begin,
  INIT_WORK,
  queue_work,
  WQ_FREEZABLE,
  WQ_HIGHPRI,
  WQ_MEM_RECLAIM,
  WQ_POWER_EFFICIENT,
  WQ_SYSFS,
  WQ_UNBOUND,
  work_struct,
} from '../../../src/kernel/workqueue.js'
import {
  WQ_UNBOUND_MAX_ACTIVE,
  workqueue_sysfs_register,
} from '../../../src/kernel/workqueue-alloc.js'
import * as wq from '../../../src/kernel/workqueue-structs.js'
import { VirtualKernel } from './support.js'

const pwqs = (queue: wq.workqueue_struct): wq.pool_workqueue[] => list_entries(queue.pwqs)

describe('constants', () => {
  test('workqueue-timers 2: flags and limits', () => {
    expect([
      wq.WQ_UNBOUND,
      wq.WQ_FREEZABLE,
      wq.WQ_MEM_RECLAIM,
      wq.WQ_HIGHPRI,
      wq.WQ_CPU_INTENSIVE,
      wq.WQ_SYSFS,
      wq.WQ_POWER_EFFICIENT,
    ]).toEqual([2, 4, 8, 16, 32, 64, 128])
    expect([wq.__WQ_DRAINING, wq.__WQ_ORDERED, wq.__WQ_LEGACY, wq.__WQ_ORDERED_EXPLICIT]).toEqual([
      1 << 16,
      1 << 17,
      1 << 18,
      1 << 19,
    ])
    expect([wq.WQ_MAX_ACTIVE, wq.WQ_DFL_ACTIVE, wq.WQ_NAME_LEN]).toEqual([512, 256, 24])
    expect([wq.WORK_NR_COLORS, wq.WORK_NO_COLOR]).toEqual([15, 15])
    expect([wq.IDLE_WORKER_TIMEOUT_S, wq.MAX_IDLE_WORKERS_RATIO]).toEqual([300, 4])
    expect([wq.WORK_BUSY_PENDING, wq.WORK_BUSY_RUNNING]).toEqual([1, 2])
    expect([wq.RESCUER_NICE_LEVEL, wq.HIGHPRI_NICE_LEVEL]).toEqual([-20, -20])
  })

  test('workqueue-timers 2: mayday timeouts', () => {
    expect([1000, 250, 100].map(wq.MAYDAY_INITIAL_TIMEOUT)).toEqual([10, 2, 2])
    expect([1000, 250, 100].map(wq.MAYDAY_INTERVAL)).toEqual([100, 25, 10])
  })

  test('workqueue-timers 1: two pools per CPU, nice 0 and -20, each with workers', () => {
    const { k } = new VirtualKernel({ nrCpus: 3 })
    const pools = k.wq.cpu_worker_pools
    expect(pools.map(pair => pair.map(pool => [pool.cpu, pool.attrs.nice]))).toEqual([
      [
        [0, 0],
        [0, -20],
      ],
      [
        [1, 0],
        [1, -20],
      ],
      [
        [2, 0],
        [2, -20],
      ],
    ])
    for (const pool of pools.flat()) expect(pool.nr_idle).toBe(2)
  })
})

describe('creating', () => {
  test('workqueue-timers 15.1: unbound, max_active 0, 8 CPUs on 2 nodes: 256 per node; the limit is 512', () => {
    const v = new VirtualKernel({ nrCpus: 8, cpuToNode: [0, 0, 0, 0, 1, 1, 1, 1] })
    const queue = alloc_workqueue(v.k, 'nvme', WQ_UNBOUND | WQ_MEM_RECLAIM, 0)!
    expect(queue.numa_pwq_tbl.map(pwq => pwq.max_active)).toEqual([256, 256])
    expect(queue.numa_pwq_tbl.map(pwq => pwq.pool.attrs.cpumask)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ])
    expect(WQ_UNBOUND_MAX_ACTIVE(v.k)).toBe(512)
    expect(alloc_workqueue(v.k, 'x', WQ_UNBOUND, 512)!.saved_max_active).toBe(512)
    expect(v.warnings).toEqual([])
  })

  test('workqueue-timers 15.1: 200 CPUs: limit 800', () => {
    const v = new VirtualKernel({ nrCpus: 200 })
    expect(WQ_UNBOUND_MAX_ACTIVE(v.k)).toBe(800)
    expect(alloc_workqueue(v.k, 'x', WQ_UNBOUND, 900)!.saved_max_active).toBe(800)
    expect(v.warnings.length).toBe(1)
    expect(alloc_workqueue(v.k, 'y', 0, 800)!.saved_max_active).toBe(512)
  })

  test('workqueue-timers 15.2: out of range is clamped with a warning', () => {
    const v = new VirtualKernel()
    expect(alloc_workqueue(v.k, 'x', 0, 1000)!.saved_max_active).toBe(512)
    expect(v.warnings).toEqual([
      'workqueue: max_active 1000 requested for x is out of range, clamping between 1 and 512',
    ])
    expect(alloc_workqueue(v.k, 'y', 0, -1)!.saved_max_active).toBe(1)
    expect(v.warnings.length).toBe(2)
  })

  test('workqueue-timers 3.1: unbound with max_active 1 is ordered, with one pwq for all nodes', () => {
    const v = new VirtualKernel({ nrCpus: 4, cpuToNode: [0, 0, 1, 1] })
    const queue = alloc_workqueue(v.k, 'x', WQ_UNBOUND, 1)!
    expect(queue.flags & wq.__WQ_ORDERED).not.toBe(0)
    expect(queue.flags & wq.__WQ_ORDERED_EXPLICIT).toBe(0)
    expect(pwqs(queue).length).toBe(1)
    expect(new Set(queue.numa_pwq_tbl).size).toBe(1)
    expect(pwqs(alloc_workqueue(v.k, 'y', WQ_UNBOUND, 2)!).length).toBe(3)
  })

  test('workqueue-timers 3.2: POWER_EFFICIENT is unbound if the boot option says so', () => {
    const off = new VirtualKernel()
    const on = new VirtualKernel({ wqPowerEfficient: true })
    const flags = (v: VirtualKernel): number =>
      alloc_workqueue(v.k, 'x', WQ_POWER_EFFICIENT, 0)!.flags & WQ_UNBOUND
    expect(flags(off)).toBe(0)
    expect(flags(on)).toBe(WQ_UNBOUND)
    expect(on.k.system_power_efficient_wq.flags & WQ_UNBOUND).toBe(WQ_UNBOUND)
  })

  test('workqueue-timers 3.3, 3 (a), blk-timers 10.24: max_active 0 is 256, not "unlimited"', () => {
    const v = new VirtualKernel()
    expect(alloc_workqueue(v.k, 'kblockd', WQ_MEM_RECLAIM | WQ_HIGHPRI, 0)!.saved_max_active).toBe(
      256,
    )
  })

  test('workqueue-timers 3.6: MEM_RECLAIM gets a rescuer task named after the queue', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'kblockd', WQ_MEM_RECLAIM, 0)!
    expect(queue.rescuer?.task.name).toBe('kblockd')
    expect(queue.rescuer?.task.nice).toBe(-20)
    expect(alloc_workqueue(v.k, 'plain', 0, 0)!.rescuer).toBe(null)
  })

  test('workqueue-timers 3.7: SYSFS registers, refused with a warning for explicitly ordered queues', () => {
    const v = new VirtualKernel()
    expect(alloc_workqueue(v.k, 'writeback', WQ_UNBOUND | WQ_SYSFS, 0)!.sysfs).toBe(true)
    // As in Linux the queue is not made at all then.
    expect(alloc_ordered_workqueue(v.k, 'o', WQ_SYSFS)).toBe(null)
    expect(v.warnings.length).toBe(1)
    expect(workqueue_sysfs_register(alloc_ordered_workqueue(v.k, 'o', 0)!)).toBe(-22)
  })

  test('workqueue-timers 3.8: while the system is freezing, a freezable queue starts at 0', () => {
    const v = new VirtualKernel()
    freeze_workqueues_begin(v.k)
    expect(pwqs(alloc_workqueue(v.k, 'f', WQ_FREEZABLE, 0)!)[0].max_active).toBe(0)
    expect(pwqs(alloc_workqueue(v.k, 'n', 0, 0)!)[0].max_active).toBe(256)
  })

  test('workqueue-timers 3: the helpers', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const plain = create_workqueue(k, 'nvme_rdma_wq')!
    expect(plain.flags).toBe(wq.__WQ_LEGACY | WQ_MEM_RECLAIM)
    expect(pwqs(plain).map(pwq => pwq.max_active)).toEqual([1, 1])
    const single = create_singlethread_workqueue(k, 's')!
    expect(single.flags).toBe(
      WQ_UNBOUND | wq.__WQ_ORDERED | wq.__WQ_ORDERED_EXPLICIT | wq.__WQ_LEGACY | WQ_MEM_RECLAIM,
    )
    expect(pwqs(single).map(pwq => pwq.max_active)).toEqual([1])
    const freezable = create_freezable_workqueue(k, 'f')!
    expect(freezable.flags).toBe(
      wq.__WQ_LEGACY | WQ_FREEZABLE | WQ_UNBOUND | WQ_MEM_RECLAIM | wq.__WQ_ORDERED,
    )
    const ordered = alloc_ordered_workqueue(k, 'o', WQ_MEM_RECLAIM)!
    expect(ordered.flags).toBe(
      WQ_UNBOUND | wq.__WQ_ORDERED | wq.__WQ_ORDERED_EXPLICIT | WQ_MEM_RECLAIM,
    )
    expect(ordered.saved_max_active).toBe(1)
  })

  test('workqueue-timers 3: the system queues, in the order of boot', () => {
    const { k } = new VirtualKernel()
    expect(k.wq.workqueues.map(queue => [queue.name, queue.flags, queue.saved_max_active])).toEqual(
      [
        ['events', 0, 256],
        ['events_highpri', WQ_HIGHPRI, 256],
        ['events_long', 0, 256],
        ['events_unbound', WQ_UNBOUND, 512],
        ['events_freezable', WQ_FREEZABLE, 256],
        ['events_power_efficient', WQ_POWER_EFFICIENT, 256],
        ['events_freezable_power_', WQ_FREEZABLE | WQ_POWER_EFFICIENT, 256],
      ],
    )
    expect(k.system_wq.name).toBe('events')
    expect(k.system_freezable_power_efficient_wq.name.length).toBe(23)
  })

  test('without memory for its first worker an unbound queue cannot be made', () => {
    let memory = true
    const v = new VirtualKernel({ nrCpus: 2, canCreateWorker: () => memory })
    memory = false
    // The pool of normal priority exists; one of high priority does not.
    expect(alloc_workqueue(v.k, 'x', WQ_UNBOUND, 0)).not.toBe(null)
    expect(alloc_workqueue(v.k, 'y', WQ_UNBOUND | WQ_HIGHPRI, 0)).toBe(null)
    memory = true
    expect(alloc_workqueue(v.k, 'y', WQ_UNBOUND | WQ_HIGHPRI, 0)).not.toBe(null)
  })

  test('a queue of two nodes that is half made is undone', () => {
    let left = 100
    const v = new VirtualKernel({
      nrCpus: 2,
      cpuToNode: [0, 1],
      canCreateWorker: () => left-- > 0,
    })
    left = 1
    const before = v.k.wq.unbound_pool_hash.size
    expect(alloc_workqueue(v.k, 'y', WQ_UNBOUND | WQ_HIGHPRI, 0)).toBe(null)
    left = 100
    v.k.runReady()
    expect(v.k.wq.unbound_pool_hash.size).toBe(before)
    expect(v.k.wq.workqueues.some(queue => queue.name === 'y')).toBe(false)
  })
})

describe('destroying', () => {
  test('the queue drains, its rescuer ends, and an unbound pool goes with its last queue', () => {
    const v = new VirtualKernel({ nrCpus: 2 })
    const { k } = v
    const queue = alloc_workqueue(k, 'x', WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0)!
    const twin = alloc_workqueue(k, 'twin', WQ_UNBOUND | WQ_HIGHPRI, 0)!
    const pool = queue.numa_pwq_tbl[0].pool
    expect(twin.numa_pwq_tbl[0].pool).toBe(pool)
    expect(pool.refcnt).toBe(2)
    let runs = 0
    const work = new work_struct(k, null)
    INIT_WORK(work, () => void runs++)
    queue_work(queue, work)
    const rescuer = queue.rescuer!.task
    v.run(() => destroy_workqueue(queue))
    v.k.runReady()
    expect(runs).toBe(1)
    expect(k.tasks.has(rescuer)).toBe(false)
    expect(k.wq.workqueues).not.toContain(queue)
    expect(pool.refcnt).toBe(1)
    expect([...k.wq.unbound_pool_hash.values()]).toContain(pool)
    v.run(() => destroy_workqueue(twin))
    v.k.runReady()
    expect([...k.wq.unbound_pool_hash.values()]).not.toContain(pool)
    expect(pool.nr_workers).toBe(0)
    expect([...k.tasks].some(task => task.name.startsWith(`kworker/u${pool.id}:`))).toBe(false)
    expect(() => queue_work(queue, work)).toThrow(/after its end/)
  })

  test('a bound queue takes no works after its end', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'x', 0, 0)!
    v.run(() => destroy_workqueue(queue))
    const work = new work_struct(v.k, null)
    INIT_WORK(work, () => {})
    expect(() => queue_work(queue, work)).toThrow(/after its end/)
    expect(v.warnings).toEqual([])
  })

  test('the recorded shape: destroying an unbound queue flushes, then queues the release', () => {
    const v = new VirtualKernel()
    const queue = alloc_workqueue(v.k, 'pblk-gc', WQ_UNBOUND | WQ_MEM_RECLAIM, 1)!
    v.k.trace.on = true
    v.run(() => destroy_workqueue(queue))
    const kept = new Set(['destroy_workqueue', 'flush_workqueue', 'queue_work_on', '__queue_work'])
    expect(v.calls.filter(name => kept.has(name))).toEqual([
      'destroy_workqueue',
      'flush_workqueue',
      'queue_work_on',
      '__queue_work',
    ])
    expect(v.events('workqueue_queue_work')).toEqual([
      { function: 'pwq_unbound_release_workfn', workqueue: 'events' },
    ])
  })
})
