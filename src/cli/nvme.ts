// `phasebit nvme WORD`: nvme-cli's words.

import { UserError } from '../core/errors.js'

interface Word {
  readonly run: (args: readonly string[]) => Promise<number>
}

const WORDS: Readonly<Record<string, Word>> = {
  connect: { run: async args => (await import('./nvme-connect.js')).connectCommand(args) },
  discover: { run: async args => (await import('./nvme-connect.js')).discoverCommand(args) },
  disconnect: { run: async args => (await import('./nvme-connect.js')).disconnectCommand(args) },
}

const ADMIN = [
  'list',
  'id-ctrl',
  'id-ns',
  'list-ns',
  'get-feature',
  'set-feature',
  'get-log',
  'smart-log',
  'error-log',
  'show-regs',
  'reset',
  'format',
  'create-ns',
  'delete-ns',
  'attach-ns',
]

/** Runs `phasebit nvme ARGS...`; the exit status. */
export async function nvmeCommand(args: readonly string[]): Promise<number> {
  const [word, ...rest] = args
  if (word !== undefined && Object.hasOwn(WORDS, word)) return WORDS[word]!.run(rest)
  if (word !== undefined && ADMIN.includes(word))
    return (await import('./nvme-admin.js')).adminCommand(word, rest)
  const what = word === undefined ? 'which word?' : `unknown word '${word}'`
  throw new UserError(
    `nvme: ${what}; the words are ${[...Object.keys(WORDS), ...ADMIN].join(', ')}`,
  )
}
