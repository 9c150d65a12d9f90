// `phasebit nvme WORD`: nvme-cli's words.

import { UserError } from '../core/errors.js'

interface Word {
  readonly run: (args: readonly string[]) => Promise<number>
}

const WORDS: Readonly<Record<string, Word>> = {
  connect: { run: async args => (await import('./nvme-connect.js')).connectCommand(args) },
  discover: { run: async args => (await import('./nvme-connect.js')).discoverCommand(args) },
  disconnect: { run: async args => (await import('./nvme-connect.js')).disconnectCommand(args) },
  'disconnect-all': {
    run: async args => (await import('./nvme-connect.js')).disconnectAllCommand(args),
  },
}

/** Runs `phasebit nvme ARGS...`; the exit status. */
export async function nvmeCommand(args: readonly string[]): Promise<number> {
  const [word, ...rest] = args
  if (word !== undefined && Object.hasOwn(WORDS, word)) return WORDS[word]!.run(rest)
  const { ADMIN_WORDS } = await import('./nvme-args.js')
  if (word !== undefined && ADMIN_WORDS.includes(word))
    return (await import('./nvme-admin.js')).adminCommand(word, rest)
  const what = word === undefined ? 'which word?' : `unknown word '${word}'`
  throw new UserError(
    `nvme: ${what}; the words are ${[...Object.keys(WORDS), ...ADMIN_WORDS].join(', ')}`,
  )
}
