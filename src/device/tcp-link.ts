// An emulated network for stream sockets: connections between two ends in one machine, in virtual time. A socket here has
// the shape that the TCP transports of NVMe want; what is sent is at the other end at once.
//
//   listen     who takes connections to an address
//   connect    a pair of sockets, or -ECONNREFUSED
//   cut        the wire is gone: nothing arrives any more, and nobody is told (half-open)
//   reset      the wire is gone, and both ends know
//   tamper     what arrives is not what was sent: digests, and a peer that breaks the rules
//
// Faults are asked for by who drives the machine; bytes are never reordered, as TCP promises.

import { ECONNREFUSED } from '../kernel/errno.js'

/** Which end of a connection: who connected, or who listened. */
export type LinkEnd = 'connector' | 'listener'

/** What arrives at an end in place of what was sent to it. */
export type LinkTamper = (bytes: Uint8Array, at: LinkEnd) => Uint8Array

/** One end of a connection. */
export class LinkSocket {
  readonly #network: LinkNetwork
  readonly #end: LinkEnd
  closed = false
  peer: LinkSocket | null = null
  /** Nothing arrives, nobody knows. */
  silent = false
  /** May be sent now. */
  writeable = true
  sk_data_ready: () => void = () => {}
  sk_write_space: () => void = () => {}
  sk_state_change: () => void = () => {}
  readonly #received: Uint8Array[] = []

  constructor(network: LinkNetwork, end: LinkEnd) {
    this.#network = network
    this.#end = end
  }

  recv(): Uint8Array | null {
    return this.#received.shift() ?? null
  }

  unread(rest: Uint8Array): void {
    this.#received.unshift(rest)
  }

  sendmsg(bytes: number, fill: (out: Uint8Array, at: number) => void): void {
    const { peer } = this
    if (peer === null || this.closed || this.silent || peer.silent) return
    const out = new Uint8Array(bytes)
    fill(out, 0)
    peer.#arrive(out)
  }

  #arrive(bytes: Uint8Array): void {
    const { tamper } = this.#network
    const arrived = tamper === null ? bytes : tamper(bytes, this.#end)
    if (arrived.length === 0) return
    this.#received.push(arrived)
    this.sk_data_ready()
  }

  sk_stream_is_writeable(): boolean {
    return this.writeable
  }

  kernel_sock_shutdown(): void {
    this.sock_release()
  }

  sock_release(): void {
    const { peer } = this
    this.peer = null
    if (peer === null) return
    peer.peer = null
    if (!this.silent && !peer.silent) peer.close()
  }

  /** The other end has gone. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.sk_state_change()
  }
}

/** A network of one machine. */
export class LinkNetwork {
  readonly #listeners: Map<string, (sock: LinkSocket) => void> = new Map()
  /** Connections that are open: the ends of those who connected. */
  readonly connections: Set<LinkSocket> = new Set()
  tamper: LinkTamper | null = null

  listen(address: string, accept: (sock: LinkSocket) => void): void {
    this.#listeners.set(address, accept)
  }

  /** Nobody is there any more; connections stay as they are. */
  unlisten(address: string): void {
    this.#listeners.delete(address)
  }

  /** A connection, or -ECONNREFUSED. */
  connect(address: string): LinkSocket | number {
    const accept = this.#listeners.get(address)
    if (accept === undefined) return -ECONNREFUSED
    const here = new LinkSocket(this, 'connector')
    const there = new LinkSocket(this, 'listener')
    here.peer = there
    there.peer = here
    this.connections.add(here)
    accept(there)
    return here
  }

  #all(): LinkSocket[] {
    const open = [...this.connections].filter(sock => sock.peer !== null)
    this.connections.clear()
    return open
  }

  /** Every connection breaks, and both ends know. */
  reset(): void {
    for (const sock of this.#all()) {
      const { peer } = sock
      sock.peer = null
      if (peer) peer.peer = null
      sock.close()
      peer?.close()
    }
  }

  /** Every connection goes dead, and nobody knows. */
  cut(): void {
    for (const sock of this.#all()) {
      sock.silent = true
      if (sock.peer) sock.peer.silent = true
    }
  }
}
