/** Resolves in the event loop's next turn: whoever works for long gives the rest of the process its own. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
