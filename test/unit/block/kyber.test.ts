// kyber without a driver: domains, tokens, batches, latency targets.

import { describe, expect, it } from 'vitest'
import { REQ_OP_DISCARD } from '../../../assembly/nvme.js'
import {
  AWFUL,
  BAD,
  GOOD,
  GREAT,
  KYBER_OTHER,
  kyber_adjust_other_depth,
  kyber_adjust_rw_depth,
  kyber_lat_status,
  type kyber_queue_data,
  kyber_sched,
  NONE,
} from '../../../src/block/kyber-iosched.js'
import { EINVAL } from '../../../src/kernel/errno.js'
import { READ, SchedRig, SYNC_WRITE, WRITE } from './sched-rig.js'

function depths(rig: SchedRig): number[] {
  const kqd = rig.q.elevator!.elevator_data as kyber_queue_data
  return kqd.domain_tokens.map(tokens => tokens.depth)
}

/** Requests in flight after everything was dispatched that could be. */
function flood(op: number, count: number): SchedRig {
  const rig = new SchedRig(kyber_sched)
  for (let i = 0; i < count; i++) rig.add(op, i * 100)
  return rig
}

describe('kyber', () => {
  it('has 256 tokens for reads, 128 for synchronous writes, 64 for the rest', () => {
    expect(flood(READ, 300).drain().length).toBe(256)
    expect(flood(SYNC_WRITE, 300).drain().length).toBe(128)
    expect(flood(WRITE, 300).drain().length).toBe(64)
    expect(flood(REQ_OP_DISCARD, 300).drain().length).toBe(64)
  })

  it('gives a token back when a request ends or is put back', () => {
    const rig = flood(WRITE, 70)
    const first = rig.dispatch()
    expect(rig.drain().length).toBe(63)
    expect(rig.has_work()).toBe(true)
    rig.end(first)
    const again = rig.dispatch()
    expect(rig.sector(again)).toBe(6400)
    expect(rig.dispatch()).toBe(0)
    kyber_sched.ops.requeue_request!(rig.q, again)
    expect(rig.drain()).toEqual([6500])
  })

  it('serves domains in batches of 16 and 8', () => {
    const rig = new SchedRig(kyber_sched)
    for (let i = 0; i < 40; i++) {
      rig.add(READ, i)
      rig.add(SYNC_WRITE, 10_000 + i)
      rig.add(WRITE, 20_000 + i)
    }
    const order = rig.drain().map(sector => Math.floor(sector / 10_000))
    const runs = order.reduce<[number, number][]>((list, domain) => {
      if (list.at(-1)?.[0] === domain) list.at(-1)![1]++
      else list.push([domain, 1])
      return list
    }, [])
    expect(runs.slice(0, 6)).toEqual([
      [0, 16],
      [1, 8],
      [2, 8],
      [0, 16],
      [1, 8],
      [2, 8],
    ])
    expect(order.length).toBe(120)
  })

  it('takes requests from the lists of several CPUs in turn, oldest first on each', () => {
    const rig = new SchedRig(kyber_sched, 250, 2)
    rig.add(READ, 10, 8, 1)
    rig.add(READ, 0, 8, 0)
    rig.add(READ, 20, 8, 1)
    expect(rig.drain()).toEqual([0, 10, 20])
  })

  it('joins a bio to a request of its CPU and domain', () => {
    const rig = new SchedRig(kyber_sched)
    const rq = rig.add(READ, 100)
    rig.add(WRITE, 500)
    expect(rig.merge(rig.bio(READ, 108))).toBe(true)
    expect(rig.merge(rig.bio(SYNC_WRITE, 508))).toBe(false)
    expect(rig.bios(rq)).toEqual([100, 108])
    for (let i = 0; i < 8; i++) rig.add(READ, 10_000 + 100 * i)
    expect(rig.merge(rig.bio(READ, 116))).toBe(false)
  })

  it('blk-mq 17: rates a mean against its target', () => {
    const rate = (mean: number | null): number => kyber_lat_status(mean, 2000)
    expect([null, 4000, 3999, 2001, 2000, 1001, 1000].map(rate)).toEqual([
      NONE,
      AWFUL,
      BAD,
      BAD,
      GOOD,
      GOOD,
      GREAT,
    ])
  })

  it('blk-mq 17: changes the depths by how both did', () => {
    const rw = (own: number, other: number): number => kyber_adjust_rw_depth(64, own, other)
    expect([rw(NONE, BAD), rw(GOOD, GREAT), rw(BAD, AWFUL)]).toEqual([64, 64, 64])
    expect([rw(GOOD, NONE), rw(GOOD, AWFUL), rw(GOOD, BAD)]).toEqual([65, 48, 56])
    expect([rw(GREAT, AWFUL), rw(GREAT, BAD)]).toEqual([32, 48])
    expect([rw(BAD, GREAT), rw(AWFUL, GREAT), rw(AWFUL, GOOD)]).toEqual([65, 66, 65])
    const other = (read: number, write: number, samples = true): number =>
      kyber_adjust_other_depth(32, read, write, samples)
    expect([other(NONE, NONE, false), other(BAD, BAD, false)]).toEqual([34, 32])
    expect([other(GREAT, AWFUL), other(NONE, GOOD), other(BAD, AWFUL), other(AWFUL, NONE)]).toEqual(
      [34, 33, 24, 16],
    )
  })

  it('measures for 10 ms after a read that took too long, and holds the rest back', () => {
    const rig = new SchedRig(kyber_sched)
    const read = (ms: number): void => {
      rig.add(READ, 0)
      const rq = rig.dispatch()
      rig.vk.runUntil(rig.vk.ns + ms * 1e6)
      rig.end(rq)
    }
    read(1)
    expect((rig.q.elevator!.elevator_data as kyber_queue_data).timer.idx).toBe(-1)
    read(5)
    read(5)
    rig.add(WRITE, 0)
    rig.end(rig.dispatch())
    rig.vk.runUntil(rig.vk.ns + 20e6)
    // reads awful, no synchronous writes, asynchronous ones seen: OTHER is halved
    expect(depths(rig)).toEqual([256, 128, 32])
    rig.vk.runUntil(rig.vk.ns + 5e9)
    // windows follow until OTHER has all its tokens again: two more after each without samples
    expect(depths(rig)).toEqual([256, 128, 64])
    expect((rig.q.elevator!.elevator_data as kyber_queue_data).timer.idx).toBe(-1)
  })

  it('runs the queue when a token is free again', () => {
    const rig = flood(WRITE, 65)
    let runs = 0
    rig.onRun = () => {
      runs++
    }
    const first = rig.dispatch()
    rig.drain()
    rig.vk.k.runReady()
    expect(runs).toBe(0)
    rig.end(first)
    rig.vk.k.runReady()
    expect(runs).toBe(1)
    const kqd = rig.q.elevator!.elevator_data as kyber_queue_data
    expect(kqd.domain_tokens[KYBER_OTHER]!.waiting.size).toBe(0)
  })

  it('has two tunables, in ns', () => {
    const rig = new SchedRig(kyber_sched)
    expect([rig.show('read_lat_nsec'), rig.show('write_lat_nsec')]).toEqual([
      '2000000\n',
      '10000000\n',
    ])
    expect([rig.set('read_lat_nsec', '75000'), rig.set('write_lat_nsec', '1ms')]).toEqual([
      0,
      -EINVAL,
    ])
    expect(rig.show('read_lat_nsec')).toBe('75000\n')
  })
})
