// Sockets of a machine: what is sent in a turn goes out in one piece, and a peer that reads nothing costs no more than is
// waiting for it.

import { createServer, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import {
  listenTcp,
  type TcpListener,
  type TcpSocket,
  TcpStack,
} from '../../../src/machine/tcp-socket.js'

/** A machine that is always at rest: the test says when. */
class Machine {
  rest: () => void = () => {}
  pokes = 0

  poke(): void {
    this.pokes++
  }

  atRest(fn: () => void): void {
    this.rest = fn
  }
}

let listener: TcpListener | undefined
const open: Socket[] = []

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy()
  await listener?.close()
  listener = undefined
})

/** Both ends of a connection; the peer reads when it is told to. */
async function pair(
  machine: Machine,
): Promise<{ sock: TcpSocket; here: Socket; peer: Socket; stack: TcpStack }> {
  const stack = new TcpStack(machine)
  const peer = new Promise<Socket>(resolve => {
    void listenTcp('127.0.0.1', 0, resolve).then(one => {
      listener = one
    })
  })
  while (listener === undefined) await new Promise(resolve => setTimeout(resolve, 1))
  const sock = await stack.connect('127.0.0.1', listener.port, 5000)
  const accepted = await peer
  accepted.pause()
  open.push(sock.host, accepted)
  return { sock, here: sock.host, peer: accepted, stack }
}

it('what is sent in a turn is one write', async () => {
  const machine = new Machine()
  const { sock, here, peer } = await pair(machine)
  const chunks: Buffer[] = []
  peer.on('data', chunk => chunks.push(chunk))
  for (let i = 0; i < 32; i++) sock.sendmsg(100, (out, at) => out.fill(i, at, at + 100))
  expect(here.bytesWritten).toBe(0)
  machine.rest()
  expect(here.bytesWritten).toBe(3200)
  peer.resume()
  while (chunks.reduce((sum, { length }) => sum + length, 0) < 3200)
    await new Promise(resolve => setTimeout(resolve, 1))
  const all = Buffer.concat(chunks)
  expect([all[0], all[99], all[100], all[3199]]).toEqual([0, 0, 1, 31])
})

it('a peer that does not read: small pieces wait without a buffer each, and arrive in order', async () => {
  const machine = new Machine()
  const { sock, here, peer } = await pair(machine)
  let sent = 0
  const send = (bytes: number): void => {
    sock.sendmsg(bytes, (out, at) => {
      for (let i = 0; i < bytes; i++) out[at + i] = (sent + i) & 0xff
    })
    sent += bytes
    machine.rest()
  }
  while (here.writableLength === 0) send(65536)
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 2000 && sock.sk_stream_is_writeable(); i++) send(24)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 2 ** 20)
  let got = 0
  let good = true
  peer.on('data', chunk => {
    for (let i = 0; i < chunk.length; i++) good &&= chunk[i] === ((got + i) & 0xff)
    got += chunk.length
  })
  peer.resume()
  while (got < sent) await new Promise(resolve => setTimeout(resolve, 1))
  expect(got).toBe(sent)
  expect(good).toBe(true)
})

it('what came and was not taken at once stays as it came, whoever reads next', async () => {
  const machine = new Machine()
  const { sock, peer } = await pair(machine)
  let ready = 0
  sock.sk_data_ready = () => ready++
  const got: number[] = []
  for (let i = 0; i < 3; i++) {
    peer.write(Buffer.alloc(1000, i + 1))
    while (ready <= i) await new Promise(resolve => setTimeout(resolve, 1))
  }
  for (let chunk = sock.recv(); chunk !== null; chunk = sock.recv()) got.push(...chunk)
  expect(got.length).toBe(3000)
  expect(got.filter((byte, i) => byte !== Math.floor(i / 1000) + 1)).toEqual([])
})

it('a socket that nobody reads stops taking, and goes on when it is read', async () => {
  const machine = new Machine()
  const { sock, peer } = await pair(machine)
  const bytes = 4 * 2 ** 20
  let sent = 0
  const fill = (): void => {
    while (sent < bytes && peer.write(Buffer.alloc(65536, sent / 65536))) sent += 65536
  }
  peer.on('drain', fill)
  fill()
  await new Promise(resolve => setTimeout(resolve, 50))
  expect(sock.host.bytesRead).toBeLessThan(2 ** 20)
  let got = 0
  while (got < 2 ** 20) {
    for (let chunk = sock.recv(); chunk !== null; chunk = sock.recv()) got += chunk.length
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  expect(got).toBeGreaterThanOrEqual(2 ** 20)
})

it('an answer that came while the process had no CPU is not too late', async () => {
  const there = await listenTcp('127.0.0.1', 0, socket => open.push(socket))
  listener = there
  // From here timers are looked at before sockets.
  await new Promise(resolve => setImmediate(resolve))
  const connecting = new TcpStack(new Machine()).connect('127.0.0.1', there.port, 20)
  await new Promise<void>(resolve => process.nextTick(resolve))
  for (const until = performance.now() + 60; performance.now() < until; );
  open.push((await connecting).host)
})

it('nobody there is an error that names the place', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  const stack = new TcpStack(new Machine())
  await expect(stack.connect('127.0.0.1', port, 1000)).rejects.toThrow(`127.0.0.1:${port}`)
})
