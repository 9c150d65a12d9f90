// Errors that are addressed to the user, and the exit status each one leads to.
//
//   64  anything wrong with what the user wrote: options, job file, device spec, input files
//    1  the run started and something failed, or an output could not be written
//   70  our own fault (any other exception)

/** The message on one line: what a file or an argument brought along is shown, not obeyed. */
function oneLine(message: string | undefined): string | undefined {
  const shown = (char: string): string => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
  return message?.replaceAll(CONTROL, shown)
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are meant
const CONTROL = /[\u0000-\u001f\u007f]/g

/** What the user wrote cannot be used. The message is one line that names file, line, option and what is accepted. */
export class UserError extends Error {
  override readonly name: string = 'UserError'
  readonly exitStatus: number = 64

  constructor(message?: string, options?: ErrorOptions) {
    super(oneLine(message), options)
  }
}

/** An output could not be written, or the run failed. One line; exit status 1. */
export class OutputError extends Error {
  override readonly name: string = 'OutputError'
  readonly exitStatus: number = 1

  constructor(message?: string, options?: ErrorOptions) {
    super(oneLine(message), options)
  }
}
