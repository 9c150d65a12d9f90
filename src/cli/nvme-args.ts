// Words, options and numbers of `phasebit nvme WORD /dev/nvme0 ...`: each word takes its own options and no others. Short
// forms are nvme-cli's. Words with -- between them are said to one machine.

import { UserError } from '../core/errors.js'
import { type KernelEra, NVME_ERAS } from '../drivers/nvme/host/era.js'
import { MOST_BYTES } from '../workload/nvme-admin.js'
import { didYouMean } from '../workload/suggest.js'

/** What stands behind a word. */
export interface Options {
  readonly path: string
  readonly json: boolean
  readonly devices: readonly string[]
  readonly era: KernelEra
  /** By their long names, without dashes. */
  readonly values: ReadonlyMap<string, number>
  /** Those that are no numbers. */
  readonly texts: ReadonlyMap<string, string>
}

/** An option of a word: long name, nvme-cli's letter, largest value; null = any text. */
type Option = readonly [name: string, letter: string, most: number | null]

const BYTE = 0xff
const DWORD = 0xffffffff
const NSID: Option = ['namespace-id', 'n', DWORD]
const FID: Option = ['feature-id', 'f', BYTE]

/** The words and their options. */
const OPTIONS: Readonly<Record<string, readonly Option[]>> = {
  list: [],
  'list-subsys': [],
  'id-ctrl': [],
  'id-ns': [NSID],
  'list-ns': [NSID],
  'get-feature': [NSID, FID, ['sel', 's', 3], ['cdw11', 'c', DWORD]],
  'set-feature': [NSID, FID, ['value', 'v', DWORD], ['save', 's', 1]],
  'get-log': [NSID, ['log-id', 'i', BYTE], ['log-len', 'l', MOST_BYTES]],
  'smart-log': [],
  'error-log': [['log-entries', 'e', 256]],
  'show-regs': [],
  reset: [],
  format: [
    NSID,
    ['lbaf', 'l', 15],
    ['ses', 's', 2],
    ['pi', 'i', 3],
    ['pil', 'p', 1],
    ['ms', 'm', 1],
  ],
  'create-ns': [
    ['nsze', 's', 2 ** 48],
    ['ncap', 'c', 2 ** 48],
    ['flbas', 'f', BYTE],
    ['dps', 'd', 15],
  ],
  'delete-ns': [NSID],
  'attach-ns': [NSID, ['controllers', 'c', 0xffff]],
  'detach-ns': [NSID, ['controllers', 'c', 0xffff]],
  'subsystem-reset': [],
  'ns-rescan': [],
  'fw-download': [
    ['fw', 'f', null],
    ['xfer', 'x', MOST_BYTES],
  ],
  'fw-commit': [
    ['slot', 's', 7],
    ['action', 'a', 7],
  ],
  'fw-log': [],
  sanitize: [['sanact', 'a', 7]],
  'sanitize-log': [],
  'admin-passthru': [
    ['opcode', 'O', BYTE],
    NSID,
    ['data-len', 'l', MOST_BYTES],
    ...[10, 11, 12, 13, 14, 15].map((n): Option => [`cdw${n}`, `${n - 6}`, DWORD]),
  ],
}

/** The words that a machine is booted for. */
export const ADMIN_WORDS: readonly string[] = Object.keys(OPTIONS)

/** Words that are about the machine, not about one of its devices. */
const NO_DEVICE = ['list', 'list-subsys']

const COMMON = ['--device', '--kernel', '--output-format']

function numberOf(word: string, name: string, most: number, text: string | undefined): number {
  const value = text !== undefined && /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value))
    throw new UserError(`nvme ${word} --${name}: '${text ?? ''}' is no number from 0 to ${most}`)
  if (value > most)
    throw new UserError(`nvme ${word} --${name}: ${text} is no number from 0 to ${most}`)
  return value
}

function isJson(text: string | undefined): boolean {
  if (text === 'json' || text === 'normal') return text === 'json'
  throw new UserError(`nvme -o: '${text ?? ''}' is none of normal, json`)
}

/** @throws UserError */
export function eraOf(text: string | undefined): KernelEra {
  if (text !== undefined && Object.hasOwn(NVME_ERAS, text)) return text as KernelEra
  throw new UserError(`--kernel ${text ?? ''}: 4.19 and 4.9 are accepted`)
}

function unknown(word: string, arg: string): never {
  const own = OPTIONS[word]!.map(([name, letter]) => `-${letter}, --${name}`)
  const near = didYouMean(arg, [...OPTIONS[word]!.map(([name]) => `--${name}`), ...COMMON])
  const has = own.length > 0 ? `it takes ${own.join('; ')}` : 'it takes none of its own'
  throw new UserError(`nvme ${word}: unknown option ${arg}${near === '' ? `; ${has}` : near}`)
}

/** `--name=value` as two words. */
function split(args: readonly string[]): string[] {
  return args.flatMap(arg => {
    const at = arg.startsWith('--') ? arg.indexOf('=') : -1
    return at < 0 ? [arg] : [arg.slice(0, at), arg.slice(at + 1)]
  })
}

/**
 * Words with what stands behind each: they are separated by --.
 * @throws UserError
 */
export function splitWords(
  word: string,
  args: readonly string[],
): { word: string; args: readonly string[] }[] {
  const at = args.indexOf('--')
  if (at < 0) return [{ word, args }]
  const next = args[at + 1] ?? ''
  if (!ADMIN_WORDS.includes(next))
    throw new UserError(`nvme ${word} --: '${next}' is none of the words ${ADMIN_WORDS.join(', ')}`)
  const rest = splitWords(next, args.slice(at + 2))
  const machine = rest[0]!.args.find(arg => /^--(device|kernel)(=|$)/.test(arg))
  if (machine !== undefined)
    throw new UserError(
      `nvme ${next} ${machine}: belongs to the first word, which boots the machine`,
    )
  return [{ word, args: args.slice(0, at) }, ...rest]
}

/**
 * Reads what stands behind a word of ADMIN_WORDS.
 * @throws UserError
 */
export function parseNvme(word: string, argv: readonly string[]): Options {
  let [path, json, era] = ['', false, '4.19' as KernelEra]
  const devices: string[] = []
  const values = new Map<string, number>()
  const texts = new Map<string, string>()
  const args = split(argv)
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    const text = arg
    const option = OPTIONS[word]!.find(([n, letter]) => text === `-${letter}` || text === `--${n}`)
    if (option?.[2] === null) texts.set(option[0], args.shift() ?? '')
    else if (option) values.set(option[0], numberOf(word, option[0], option[2]!, args.shift()))
    else if (arg === '-o' || arg === '--output-format') json = isJson(args.shift())
    else if (arg === '--device') devices.push(args.shift() ?? '')
    else if (arg === '--kernel') era = eraOf(args.shift())
    else if (arg.startsWith('-')) unknown(word, arg)
    else if (NO_DEVICE.includes(word))
      throw new UserError(`nvme ${word}: it takes no device, not ${arg}`)
    else if (path === '') path = arg
    else throw new UserError(`nvme ${word}: one device at a time, not ${path} and ${arg}`)
  }
  if (path === '' && !NO_DEVICE.includes(word))
    throw new UserError(`nvme ${word}: which device? /dev/nvme0`)
  return { path, json, devices, era, values, texts }
}
