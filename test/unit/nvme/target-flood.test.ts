// What strangers can do to a target over real sockets: connections that say nothing, or half of an ICReq; a host that sends
// commands and reads nothing. Memory stays within the limits that are stated (phasebit serve --help), and other hosts live.

import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { Target } from '../../../src/workload/serve.js'
import { closeHost, connectHost, icreq, RawQueue } from './raw-host.js'
import { withTarget } from './with-target.js'

const NQN = 'nqn.2026-11.io.phasebit:flood'
const MANY = 1000

let target: Target

withTarget({ nqn: NQN, devices: ['nvme,size=64m,model=ram'] }, opened => {
  target = opened
})

/** A connection whose end is no error. */
function stranger(): Promise<Socket> {
  const socket = connect({ port: target.port, host: '127.0.0.1' })
  socket.on('error', () => {})
  return new Promise(resolve => {
    socket.once('connect', () => resolve(socket))
    socket.once('close', () => resolve(socket))
  })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(r => setTimeout(r, 5))
}

describe('a flood of connections', () => {
  it(`${MANY} that send nothing, ${MANY} that send half an ICReq: a host connects and reads as ever`, async () => {
    const host = await connectHost(target.port, NQN)
    const sockets: Socket[] = []
    for (let n = 0; n < 2 * MANY; n += 100)
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, stranger))))
    const half = icreq({}).subarray(0, 64)
    for (const socket of sockets.slice(MANY)) socket.write(half)
    await until(() => target.facts().connections <= 1024)
    expect(target.facts()).toMatchObject({ controllers: 1, heldBytes: 0, besideBytes: 0 })
    const late = await connectHost(target.port, NQN)
    for (const { io } of [host, late])
      expect((await io[0]!.run({ opcode: 2, nsid: 1, cdw: [0, 0, 7], length: 4096 })).status).toBe(
        0,
      )
    for (const socket of sockets) socket.destroy()
    await until(() => target.facts().connections === 4)
    closeHost(host)
    closeHost(late)
    await until(() => target.facts().connections === 0)
  })
})

describe('a host that does not read', () => {
  it("is read from no more, leaves room in the pool, and is in nobody else's way", async () => {
    const deaf = await connectHost(target.port, NQN, { queues: 8, sqsize: 127 })
    const other = await connectHost(target.port, NQN)
    const before = process.memoryUsage()
    for (const q of deaf.io) {
      q.socket.pause()
      for (let n = 0; n < 127; n++)
        q.send({ opcode: 2, nsid: 1, cid: n, cdw: [0, 0, 2047], length: 2 ** 20 })
    }
    const admin = deaf.admin.socket.pause()
    for (let n = 0; n < 2000; n++)
      deaf.admin.send({ opcode: 6, cid: n % 28, cdw: [1], length: 4096 })
    for (let n = 0; n < 20; n++) {
      const read = { opcode: 2, nsid: 1, cdw: [n * 8, 0, 7], length: 4096 }
      const { status } = await other.io[0]!.run(read)
      expect(status).toBe(0)
      expect(target.facts().heldBytes).toBeLessThan(60 * 2 ** 20)
    }
    const large = { opcode: 1, nsid: 1, cdw: [0, 0, 2047], out: Buffer.alloc(2 ** 20) }
    expect((await other.io[0]!.run(large)).status).toBe(0)
    const after = process.memoryUsage()
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 * 2 ** 20)
    expect(admin.bytesWritten).toBeGreaterThan(0)
    closeHost(deaf)
    await until(() => target.facts().heldBytes === 0 && target.facts().controllers === 1)
    closeHost(other)
  })

  it('a host that leaves in the middle of its data leaves nothing behind', async () => {
    const host = await connectHost(target.port, NQN)
    const q = host.io[0]!
    for (let n = 0; n < 64; n++)
      q.send({ opcode: 1, nsid: 1, cid: n, cdw: [0, 0, 2047], length: 2 ** 20 })
    await q.until(() => q.r2ts.length >= 8)
    const raw = await RawQueue.open(target.port)
    raw.socket.destroy()
    closeHost(host)
    await until(() => target.facts().heldBytes === 0 && target.facts().connections === 0)
  })
})
