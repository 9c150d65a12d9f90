// Real TCP sockets, as the drivers see sockets (src/drivers/nvme/socket.ts).
//
// What is sent in one turn of a machine (paced.ts) is put together in a buffer and handed to the host in pieces of up to
// FLUSH_BYTES, the last when the machine has nothing more to do. The host takes a piece at once as a rule, and the buffer
// is used again; a piece that it could not take keeps its buffer, those behind it are copied.
//
// Sockets that connected here read into one buffer, which every read overwrites: what the machine did not take at once is
// copied. (Node gives each read of an accepted connection 64 KiB of its own.)
//
// Both directions are bounded: when RECEIVE_BYTES have come that nobody took, the host's socket is paused, and the peer's
// window closes; when SEND_BYTES are on their way, sk_stream_is_writeable() says no until they are gone.

import {
  type ConnectOpts,
  createServer,
  type Server,
  Socket,
  type SocketConstructorOpts,
} from 'node:net'
import type { socket } from '../drivers/nvme/socket.js'
import { OutputError } from '../core/errors.js'

const RECEIVE_BYTES = 256 * 1024
/** Most that one read brings: half of what 32 reads of 4 KiB are answered with, so that both ends have work. */
const READ_BYTES = 64 * 1024
const SEND_BYTES = 256 * 1024
const FLUSH_BYTES = 64 * 1024
const BUFFER_BYTES = 256 * 1024
/** Buffers that are kept for the next turn. */
const SPARE = 4
/** How long what was sent may take to be delivered after a shutdown, ms. */
const LINGER_MS = 1000
/** TCP keep-alive: a peer that has vanished is found out, ms. */
const PROBE_MS = 15_000

/** The host says that there is room again when all of so much is gone. */
type ClientOptions = SocketConstructorOpts & ConnectOpts & { readonly highWaterMark: number }

/** The machine that sockets belong to. */
interface Paced {
  poke(): void
  atRest(fn: () => void): void
}

/** The sockets of one machine. */
export class TcpStack {
  readonly #machine: Paced
  readonly #unsent: TcpSocket[] = []
  readonly #spare: Uint8Array[] = []
  readonly #inlet = new Uint8Array(READ_BYTES)

  constructor(machine: Paced) {
    this.#machine = machine
    machine.atRest(() => this.flush())
  }

  /** A connection that came in becomes a socket of the machine. */
  socket(host: Socket): TcpSocket {
    const sock = new TcpSocket(host, this)
    host.on('data', chunk => sock.received(chunk))
    return sock
  }

  /**
   * Connects.
   * @throws OutputError when nobody is there, or nobody answers in time
   */
  async connect(address: string, port: number, timeoutMs: number): Promise<TcpSocket> {
    const buffer = this.#inlet
    const callback = (bytes: number): boolean => {
      sock.lent(buffer.subarray(0, bytes))
      return true
    }
    const options: ClientOptions = { highWaterMark: SEND_BYTES, onread: { buffer, callback } }
    const host = new Socket(options)
    const sock = new TcpSocket(host, this)
    await connected(host, address, port, timeoutMs)
    return sock
  }

  /** What callbacks have queued is run. */
  poke(): void {
    this.#machine.poke()
  }

  /** A buffer to send from. */
  buffer(): Uint8Array {
    return this.#spare.pop() ?? new Uint8Array(BUFFER_BYTES)
  }

  giveBack(buffer: Uint8Array): void {
    if (this.#spare.length < SPARE) this.#spare.push(buffer)
  }

  /** Something waits in a socket's buffer. */
  unsent(sock: TcpSocket): void {
    this.#unsent.push(sock)
  }

  flush(): void {
    for (const sock of this.#unsent.splice(0)) sock.flush()
  }
}

/** One connection. */
export class TcpSocket implements socket {
  readonly host: Socket
  closed = false
  sk_data_ready: () => void = () => {}
  sk_write_space: () => void = () => {}
  sk_state_change: () => void = () => {}
  readonly #stack: TcpStack
  #chunks: Uint8Array[] = []
  #bytes = 0
  #paused = false
  /** What is to be sent: a buffer, and how much of it is filled. */
  #out: Uint8Array | null = null
  #filled = 0

  constructor(host: Socket, stack: TcpStack) {
    this.host = host
    this.#stack = stack
    host.setNoDelay(true)
    host.setKeepAlive(true, PROBE_MS)
    host.on('drain', () => this.#call(this.sk_write_space))
    host.on('error', () => this.#over())
    host.on('end', () => this.#over())
    host.on('close', () => this.#over())
  }

  #call(fn: () => void): void {
    fn()
    this.#stack.poke()
  }

  /** Bytes came that are this socket's to keep. */
  received(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > RECEIVE_BYTES && !this.#paused) {
      this.#paused = true
      this.host.pause()
    }
    this.#call(this.sk_data_ready)
  }

  /** Bytes came in a buffer that is used again. */
  lent(bytes: Uint8Array): void {
    this.received(bytes)
    for (const [i, chunk] of this.#chunks.entries())
      if (chunk.buffer === bytes.buffer) this.#chunks[i] = chunk.slice()
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

  sendmsg(bytes: number, fill: (out: Uint8Array, at: number) => void): void {
    if (this.host.destroyed || !this.host.writable) return
    if (bytes > BUFFER_BYTES) {
      this.flush()
      const out = new Uint8Array(bytes)
      fill(out, 0)
      this.host.write(out)
      return
    }
    if (this.#filled + bytes > BUFFER_BYTES) this.flush()
    if (this.#out === null) {
      this.#out = this.#stack.buffer()
      this.#stack.unsent(this)
    }
    fill(this.#out, this.#filled)
    this.#filled += bytes
    if (this.#filled >= FLUSH_BYTES) this.flush()
  }

  /** Hands what was sent to the host. */
  flush(): void {
    const out = this.#out
    if (out === null) return
    this.#out = null
    const filled = this.#filled
    this.#filled = 0
    if (this.host.destroyed || !this.host.writable) return
    // Behind a peer that does not read, small pieces must not hold a buffer each.
    const behind = this.host.writableLength > 0
    const piece = Buffer.from(out.buffer, 0, filled)
    this.host.write(behind ? Buffer.from(piece) : piece)
    if (behind || this.host.writableLength === 0) this.#stack.giveBack(out)
  }

  sk_stream_is_writeable(): boolean {
    return this.host.writableLength + this.#filled < SEND_BYTES
  }

  kernel_sock_shutdown(): void {
    this.flush()
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
  const server = createServer({ highWaterMark: SEND_BYTES }, accept)
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

function connected(host: Socket, address: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer)
      host.destroy()
      reject(new OutputError(`${address}:${port}: ${why}`))
    }
    // A process that was stopped meanwhile has the answer, and has not looked.
    const late = (): void => {
      if (host.connecting) fail('no answer')
    }
    const timer = setTimeout(() => setImmediate(late), timeoutMs)
    const failed = (error: Error): void => fail(error.message)
    host.once('error', failed)
    host.connect(port, address, () => {
      clearTimeout(timer)
      host.off('error', failed)
      resolve()
    })
  })
}
