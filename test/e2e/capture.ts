// What a command writes, taken in this process.
import { expect, vi } from 'vitest'

/** Takes what is written to a stream, until it is restored. */
export function capture(stream: NodeJS.WriteStream): {
  readonly text: () => string
  restore(): void
} {
  let text = ''
  const spy = vi.spyOn(stream, 'write').mockImplementation((data, ...rest) => {
    text += String(data)
    const done = rest.find(one => typeof one === 'function') as
      | ((error?: Error) => void)
      | undefined
    done?.()
    return true
  })
  return { text: () => text, restore: () => spy.mockRestore() }
}

/** What a word of phasebit's, which succeeds, writes to standard output. */
export async function stdoutOf(
  command: (argv: readonly string[]) => Promise<number>,
  args: readonly string[],
): Promise<string> {
  const out = capture(process.stdout)
  try {
    expect(await command(args)).toBe(0)
    return out.text()
  } finally {
    out.restore()
  }
}
