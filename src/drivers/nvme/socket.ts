// A stream socket as the TCP transports see it: include/net/sock.h, as far as nvme-tcp and nvmet-tcp use it.
//
// The other side of this interface is a real socket of the host (src/machine/tcp-socket.ts) or an emulated link of virtual
// time (src/device/tcp-link.ts). Callbacks come in the middle of nothing: they queue a work and return.

/** struct socket. */
export interface socket {
  /** Bytes that came, oldest first; null when there are none now. What is not used up goes back by unread(). */
  recv(): Uint8Array | null
  unread(rest: Uint8Array): void
  /** Sends so many bytes, which `fill` writes at `at` of `out` before this returns. */
  sendmsg(bytes: number, fill: (out: Uint8Array, at: number) => void): void
  /** Whether more may be sent now; sk_write_space is called when it becomes true again. */
  sk_stream_is_writeable(): boolean
  /** The peer has gone: nothing more comes once recv() is empty. */
  readonly closed: boolean
  /** What was sent is still delivered, then the connection ends. */
  kernel_sock_shutdown(): void
  /** The connection is gone at once. */
  sock_release(): void
  sk_data_ready: () => void
  sk_write_space: () => void
  sk_state_change: () => void
}

/** Sends what is there already. */
export function kernel_sendmsg(sock: socket, bytes: Uint8Array): void {
  sock.sendmsg(bytes.length, (out, at) => out.set(bytes, at))
}
