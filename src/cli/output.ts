// Standard output and standard error.
//
// A reader that goes away (`phasebit run ... | head`) is no error: what is left is not written. Anything else that stops
// standard output (a full disk behind `> file`) is an OutputError.

import { cannotWrite } from '../workload/out-file.js'

let watched = false

/** Without a listener a failed write would end the process with a stack trace; the callbacks of write() report it. */
function watch(): void {
  if (watched) return
  watched = true
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
}

/**
 * Writes to standard output and resolves to 0, the exit status of a command that only prints.
 * @throws OutputError when it cannot be written
 */
export function printOut(text: string): Promise<number> {
  watch()
  return new Promise((resolve, reject) => {
    process.stdout.write(text, error => {
      if (!error || (error as NodeJS.ErrnoException).code === 'EPIPE') resolve(0)
      else reject(cannotWrite('standard output', error))
    })
  })
}

/** Writes to standard error; nobody can be told when that fails. */
export function printErr(text: string): void {
  watch()
  process.stderr.write(text)
}
