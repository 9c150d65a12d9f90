// Programs that a bench runs: their standard output, or an error that says why there is none.

import { execFile } from 'node:child_process'

const MAX_OUTPUT = 64 * 2 ** 20

/**
 * Runs a program to its end and returns what it printed.
 * @throws Error with the command and the first line of its complaint
 */
export function output(command: string, args: readonly string[], cwd?: string): Promise<string> {
  const options = { maxBuffer: MAX_OUTPUT, ...(cwd === undefined ? {} : { cwd }) }
  return new Promise((resolve, reject) => {
    execFile(command, [...args], options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout)
      const why = stderr.trim().split('\n')[0] || error.message
      reject(new Error(`${command} ${args.join(' ')}: ${why}`))
    })
  })
}
