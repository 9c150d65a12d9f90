// Real TCP sockets, as the drivers see sockets (src/drivers/nvme/socket.ts).
//
// Both directions are bounded: when RECEIVE_BYTES have come that nobody took, the host's socket is paused, and the peer's
// window closes; when SEND_BYTES are on their way, sk_stream_is_writeable() says no until they are gone.

import { createServer, type Server, Socket } from 'node:net'
import type { socket } from '../drivers/nvme/socket.js'
import { OutputError } from '../core/errors.js'

const RECEIVE_BYTES = 256 * 1024
const SEND_BYTES = 256 * 1024
/** How long what was sent may take to be delivered after a shutdown, ms. */
const LINGER_MS = 1000
/** TCP keep-alive: a peer that has vanished is found out, ms. */
const PROBE_MS = 15_000

/** One connection. */
export class TcpSocket implements socket {
  readonly host: Socket
  closed = false
  sk_data_ready: () => void = () => {}
  sk_write_space: () => void = () => {}
  sk_state_change: () => void = () => {}
  readonly #poke: () => void
  #chunks: Uint8Array[] = []
  #bytes = 0
  #paused = false

  /** @param poke called after each callback, so that what it queued is run */
  constructor(host: Socket, poke: () => void) {
    this.host = host
    this.#poke = poke
    host.setNoDelay(true)
    host.setKeepAlive(true, PROBE_MS)
    host.on('data', chunk => this.#received(chunk))
    host.on('drain', () => this.#call(this.sk_write_space))
    host.on('error', () => this.#over())
    host.on('end', () => this.#over())
    host.on('close', () => this.#over())
  }

  #call(fn: () => void): void {
    fn()
    this.#poke()
  }

  #received(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > RECEIVE_BYTES && !this.#paused) {
      this.#paused = true
      this.host.pause()
    }
    this.#call(this.sk_data_ready)
  }

  #over(): void {
    if (this.closed) return
    this.closed = true
    this.#call(this.sk_state_change)
  }

  recv(): Uint8Array | null {
    const chunk = this.#chunks.shift()
    if (chunk === undefined) return null
    this.#bytes -= chunk.length
    if (this.#paused && this.#bytes < RECEIVE_BYTES / 2) {
      this.#paused = false
      this.host.resume()
    }
    return chunk
  }

  unread(rest: Uint8Array): void {
    this.#chunks.unshift(rest)
    this.#bytes += rest.length
  }

  send(bytes: Uint8Array): void {
    if (!this.host.destroyed && this.host.writable) this.host.write(bytes)
  }

  sk_stream_is_writeable(): boolean {
    return this.host.writableLength < SEND_BYTES
  }

  kernel_sock_shutdown(): void {
    this.host.end()
    this.#chunks = []
    this.#bytes = 0
    this.host.resume()
    setTimeout(() => this.host.destroy(), LINGER_MS).unref()
  }

  sock_release(): void {
    this.host.destroy()
  }
}

/** A listening socket. */
export interface TcpListener {
  /** The port, also where any was asked for. */
  readonly port: number
  close(): Promise<void>
}

/**
 * Listens, and hands over every connection.
 * @throws OutputError when the address cannot be had
 */
export function listenTcp(
  address: string,
  port: number,
  accept: (connection: Socket) => void,
): Promise<TcpListener> {
  const server = createServer(accept)
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(new OutputError(`${address}:${port}: ${error.message}`)))
    server.listen(port, address, () => resolve(listener(server, port)))
  })
}

function listener(server: Server, asked: number): TcpListener {
  const at = server.address()
  return {
    port: typeof at === 'object' && at !== null ? at.port : asked,
    close: () => new Promise(resolve => server.close(() => resolve())),
  }
}

/**
 * Connects.
 * @throws OutputError when nobody is there, or nobody answers in time
 */
export function connectTcp(address: string, port: number, timeoutMs: number): Promise<Socket> {
  const host = new Socket()
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      host.destroy()
      reject(new OutputError(`${address}:${port}: ${why}`))
    }
    const timer = setTimeout(() => fail('no answer'), timeoutMs)
    host.once('error', error => {
      clearTimeout(timer)
      fail(error.message)
    })
    host.connect(port, address, () => {
      clearTimeout(timer)
      host.removeAllListeners('error')
      resolve(host)
    })
  })
}
