// Calls from the core into the block layer's half in TypeScript, in the middle of a function, where Linux makes them.
//
// They are made only while M_HOST says that an emulated kernel is attached to the machine and serves this thread's
// queues (virtual time). Without it such requests go to the slow list, and TypeScript looks at them when the call into
// the core has returned.

import { HB_PBLK_KICK, M_BASE, M_HOST, M_WRITER } from './layout'
// @ts-ignore: decorator
@external("env", "block_host")
declare function block_host(cpu: u32, what: u32, a: u32, b: u32): u32

/** True when TypeScript answers at once. */
// @ts-ignore: decorator
@inline
export function hosted(): bool {
  return load<u32>(M_BASE, M_HOST) != 0
}

/** HB_* of layout.ts. A writer that was kicked before is woken before whoever wakes by this. */
export function host(cpu: u32, what: u32, a: u32, b: u32): u32 {
  const writer = load<u32>(M_BASE, M_WRITER)
  if (!writer) return block_host(cpu, what, a, b)
  store<u32>(M_BASE, 0, M_WRITER)
  if (writer != 1) block_host(cpu, HB_PBLK_KICK, writer, 0)
  const answer = block_host(cpu, what, a, b)
  store<u32>(M_BASE, 1, M_WRITER)
  return answer
}

// The device's half: commands that the core does not execute itself go to the controller in TypeScript (src/device). A
// device without one never calls.
// @ts-ignore: decorator
@external("env", "device_host")
export declare function device_host(what: u32, dsq: u32, sqe: u32, arg: u32): u32
