// `phasebit lnvm info | list | sysfs | create | remove`: the words of nvme-cli's lightnvm plugin, on a machine that is booted
// for them. What --device says of targets has been made when a word is run.

import { UserError } from '../core/errors.js'
import {
  type LnvmCreate,
  type LnvmMachine,
  type LnvmTarget,
  openLightnvm,
} from '../workload/lnvm-machine.js'
import { didYouMean } from '../workload/suggest.js'
import { toJson, toLines } from './nvme-format.js'
import { printOut } from './output.js'

/** Long name, letter, whether a value follows. */
type Option = readonly [name: string, letter: string, value: 'text' | 'number' | 'flag']

const NAME: Option = ['target-name', 'n', 'text']
const OUTPUT: Option = ['output-format', 'o', 'text']
/** As OUTPUT, where -o is something else. */
const LONG_OUTPUT: Option = ['output-format', '', 'text']

interface Word {
  readonly options: readonly Option[]
  /** Whether a device stands behind the word, and attributes to write behind that. */
  readonly path?: true
  readonly writes?: true
  readonly run: (m: LnvmMachine, o: Options) => Promise<string>
}

interface Options {
  readonly word: string
  readonly path: string
  readonly json: boolean
  readonly writes: readonly (readonly [name: string, value: string])[]
  readonly values: ReadonlyMap<string, string>
}

const version = (numbers: readonly number[]): string => `(${numbers.join(',')})`

async function info(m: LnvmMachine, { json }: Options): Promise<string> {
  const all = await m.info()
  if (json) return toJson(all)
  const head = `LightNVM ${version(all.version)}. ${all.types.length} target type(s) registered.\n`
  const rows = all.types.map(type => `${type.name}\t${version(type.version)}\n`)
  return `${head}Type\tVersion\n${rows.join('')}`
}

function targetRows(targets: readonly LnvmTarget[]): string {
  if (targets.length === 0) return ''
  const rows = targets.map(({ name, type, device, luns, bytes }) =>
    [name, type, device, luns.join('-'), `${bytes}`].join('\t'),
  )
  return `Target\tType\tDevice\tLUNs\tBytes\n${rows.join('\n')}\n`
}

async function list(m: LnvmMachine, { json }: Options): Promise<string> {
  const [devices, { targets }] = [await m.devices(), m]
  if (json) return toJson({ devices, targets })
  const row = (cells: readonly string[]): string => cells.map(cell => cell.padEnd(12)).join('\t')
  const rows = devices.map(one => `${row([one.name, one.manager])}\t${version(one.version)}\n`)
  const head = `Number of devices: ${devices.length}\n${row(['Device', 'Block manager'])}\tVersion\n`
  return `${head}${rows.join('')}${targetRows(targets)}`
}

/** Attributes, once those that are to be written have been. */
function sysfs(m: LnvmMachine, { path, json, writes }: Options): Promise<string> {
  for (const [name, value] of writes) m.setAttribute(path, name, value)
  const attributes = m.attributes(path)
  return Promise.resolve(json ? toJson(attributes) : attributeLines(attributes))
}

/** One line each; further lines of an attribute stand below its first. */
function attributeLines(attributes: Readonly<Record<string, string>>): string {
  const indent = ' '.repeat(Math.max(9, ...Object.keys(attributes).map(name => name.length)) + 3)
  const rows = Object.entries(attributes)
  return toLines(
    Object.fromEntries(
      rows.map(([name, text]) => [name, text.trimEnd().replaceAll('\n', `\n${indent}`)]),
    ),
  )
}

function needed({ word, values }: Options, name: string): string {
  const value = values.get(name)
  if (value === undefined) throw new UserError(`lnvm ${word}: --${name} is needed`)
  return value
}

async function create(m: LnvmMachine, o: Options): Promise<string> {
  const number = (name: string): number | undefined => {
    const text = o.values.get(name)
    return text === undefined ? undefined : Number(text)
  }
  const [begin, end, op] = ['lun-begin', 'lun-end', 'over-prov'].map(number)
  const what: LnvmCreate = {
    type: needed(o, 'target-type'),
    device: needed(o, 'device-name'),
    name: needed(o, 'target-name'),
    factory: o.values.has('factory'),
    ...(begin === undefined ? {} : { begin }),
    ...(end === undefined ? {} : { end }),
    ...(op === undefined ? {} : { op }),
  }
  const made = await m.create(what)
  return o.json ? toJson(made) : targetRows([made])
}

async function remove(m: LnvmMachine, o: Options): Promise<string> {
  const name = needed(o, 'target-name')
  await m.remove(name)
  return o.json ? toJson({ removed: name, targets: m.targets }) : targetRows(m.targets)
}

const WORDS: Readonly<Record<string, Word>> = {
  list: { options: [OUTPUT], run: list },
  info: { options: [OUTPUT], run: info },
  sysfs: { options: [OUTPUT], path: true, writes: true, run: sysfs },
  create: {
    options: [
      ['target-type', 't', 'text'],
      ['device-name', 'd', 'text'],
      NAME,
      ['lun-begin', 'b', 'number'],
      ['lun-end', 'e', 'number'],
      ['over-prov', 'o', 'number'],
      ['factory', 'f', 'flag'],
      LONG_OUTPUT,
    ],
    run: create,
  },
  remove: { options: [NAME, OUTPUT], run: remove },
}

// ---------------------------------------------------------------- arguments

function unknownOption(word: string, arg: string): never {
  const { options } = WORDS[word]!
  const all = options.map(([n, letter]) => (letter === '' ? `--${n}` : `-${letter}, --${n}`))
  const near = didYouMean(arg, [...options.map(([n]) => `--${n}`), '--device'])
  const known = near === '' ? `; it takes ${[...all, '--device'].join('; ')}` : near
  throw new UserError(`lnvm ${word}: unknown option ${arg}${known}`)
}

function textOf(word: string, [name, , kind]: Option, text: string | undefined): string {
  if (text === undefined) throw new UserError(`lnvm ${word}: --${name} needs a value`)
  if (kind === 'number' && !/^\d{1,5}$/.test(text))
    throw new UserError(`lnvm ${word} --${name}: '${text}' is no number from 0 to 65534`)
  return text
}

function isJson(word: string, text: string | undefined): boolean {
  if (text === undefined || text === 'normal' || text === 'json') return text === 'json'
  throw new UserError(`lnvm ${word} --output-format: '${text}' is none of normal, json`)
}

function nameAndValue(arg: string): readonly [string, string] {
  const at = arg.indexOf('=')
  return [arg.slice(0, at), arg.slice(at + 1)]
}

/** @throws UserError */
function parse(word: string, argv: readonly string[]): { o: Options; devices: string[] } {
  const { options, path: wantsPath, writes: mayWrite } = WORDS[word]!
  let path = ''
  const writes: (readonly [string, string])[] = []
  const devices: string[] = []
  const values = new Map<string, string>()
  const args = argv.flatMap(arg => {
    const at = arg.startsWith('--') ? arg.indexOf('=') : -1
    return at < 0 ? [arg] : [arg.slice(0, at), arg.slice(at + 1)]
  })
  for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
    const text = arg
    const option = options.find(([n, letter]) => text === `-${letter}` || text === `--${n}`)
    if (option?.[2] === 'flag') values.set(option[0], '1')
    else if (option) values.set(option[0], textOf(word, option, args.shift()))
    else if (arg === '--device') devices.push(args.shift() ?? '')
    else if (arg.startsWith('-')) unknownOption(word, arg)
    else if (wantsPath && path === '') path = arg
    else if (mayWrite && arg.includes('=')) writes.push(nameAndValue(arg))
    else throw new UserError(`lnvm ${word}: '${arg}' is one word too many`)
  }
  if (wantsPath && path === '') throw new UserError(`lnvm ${word}: which device? /dev/nvme0n1`)
  const json = isJson(word, values.get('output-format'))
  return { o: { word, path, json, writes, values }, devices }
}

/** Runs `phasebit lnvm ARGS...`; the exit status. */
export async function lnvmCommand(args: readonly string[]): Promise<number> {
  const [word, ...rest] = args
  if (word === undefined || !Object.hasOwn(WORDS, word)) {
    const names = Object.keys(WORDS)
    const what =
      word === undefined ? 'which word?' : `unknown word '${word}'${didYouMean(word, names)}`
    throw new UserError(`lnvm: ${what}; the words are ${names.join(', ')}`)
  }
  const { o, devices } = parse(word, rest)
  const m = await openLightnvm(devices, o.values.get('target-type'))
  try {
    return await printOut(await WORDS[word]!.run(m, o))
  } finally {
    await m.stop()
  }
}
