// A broken invariant of the emulated kernel, after include/asm-generic/bug.h.
//
// Linux stops the machine (BUG) or hangs (a task that waits for itself). Here both become one
// exception that ends the run: no caller catches it, and the command line reports it as our own
// fault. Warnings, after which Linux goes on, are `WARN` in core.ts: they write a line to the
// kernel log.

/** What would have been a BUG, an oops or a certain deadlock in Linux. */
export class KernelBug extends Error {
  override readonly name: string = 'KernelBug'
}

/** Stops the emulated kernel. */
export function BUG(text: string): never {
  throw new KernelBug(text)
}

/** Stops the emulated kernel if the condition holds. */
export function BUG_ON(condition: boolean, text: string): void {
  if (condition) BUG(text)
}
