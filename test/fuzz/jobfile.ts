// Job files and command lines, grammar-aware and broken on purpose.
//
// A case writes a job file of a few sections with options from the real table, sometimes with an include, a device or
// overrides, then sometimes damages its bytes. What is accepted must have every field in its range, and its --showcmd
// line, read again, must give the same jobs.

import type { JobSpec, RunPlan } from '../../src/workload/job.js'
import { OPTION_CLASSES } from '../../src/workload/option-classes.js'
import { RUN_OPTIONS, type RunName } from '../../src/workload/options.js'
import { parseRun } from '../../src/workload/run-command.js'
import { type Fuzz, fuzzer } from './fuzzer.js'
import { checkPlan } from './plan-check.js'
import type { Prng } from './prng.js'

const NAMES: readonly string[] = [...OPTION_CLASSES.keys()]

const SIZES = [
  '512',
  '4k',
  '8K',
  '64k',
  '1m',
  '3mb',
  '16mib',
  '1g',
  '0',
  '0x1000',
  '4ki',
  '100%',
  '10%',
  '7',
  '1.5k',
  '-1',
  '99999999999t',
  '(4*4k)',
  '$pagesize',
  '$pagesize*3',
  '',
]
const TIMES = [
  '1',
  '10',
  '500ms',
  '2s',
  '100us',
  '1m',
  '0',
  '1h',
  '3d',
  '9999999d',
  '5x',
  '1-2',
  '(3*2)',
  '-4',
]
const NUMBERS = [
  '0',
  '1',
  '2',
  '4',
  '8',
  '16',
  '50',
  '64',
  '100',
  '101',
  '1k',
  '0x10',
  '-1',
  '65537',
  '4294967296',
  'x',
  '',
]
const WORDS = [
  'read',
  'write',
  'randread',
  'randrw',
  'rw',
  'none',
  'all',
  'linear',
  'poisson',
  'split',
  'strided',
  'zbd',
  'strided',
  'crc32c',
  'pattern',
  'lfsr',
  'a',
  'b',
  'identical',
  'both',
  '1024',
  '1000',
  'offload',
  'issue',
]

/** Values that mostly fit; options without an entry get something from the lists above. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  rw: [
    'read',
    'write',
    'randread',
    'randwrite',
    'trim',
    'randtrim',
    'rw',
    'randrw',
    'trimwrite',
    'randtrimwrite',
    'randread:8',
    'write:4k',
    'read:-8k',
    'readwrite',
    'raed',
    'rw:',
    'randrw:-2',
  ],
  ioengine: [
    'libaio',
    'psync',
    'pvsync2',
    'io_uring',
    'null',
    'sync',
    'mmap',
    'posixaio',
    'rbd',
    'libiao',
    'external:/x',
  ],
  filename: [
    '/dev/nvme0n1',
    '/dev/nullb0',
    '/tmp/a',
    'a:b',
    '/dev/nvme9n1',
    'a\\:b',
    ':',
    '/dev/nvme0n1:/dev/nullb0',
  ],
  bs: [
    '4k',
    '8k',
    '512',
    '4k,8k',
    '8k,',
    ',8k',
    ',,16k',
    '4k-8k',
    '4k:8k',
    '4k/8k',
    '1m',
    '1k,2k,3k,4k',
    '3000',
  ],
  bsrange: ['4k-16k', '16k-4k', '512-4k,4k-8k', '4k', '4k-8k,', ',4k-8k'],
  bssplit: [
    '4k/60:8k/40',
    '4k/60:8k',
    '4k:8k:16k',
    '4k/20:8k/20',
    '4k/60:8k/60',
    '512/5:4k/60:16k/20:64k/,4k/70:64k/20:128k/10',
    '4k/50:8k/50,',
    '/',
    '4k/33:8k:16k',
  ],
  random_distribution: [
    'random',
    'zipf',
    'zipf:1.2',
    'zipf:1.0',
    'zipf:1.1:0.5',
    'pareto:0.3',
    'pareto:2',
    'normal:25',
    'normal',
    'zoned:60/10:30/20:8/30:2/40',
    'zoned:60/10:40/90,50/50:50/50',
    'zoned:60/10',
    'zoned_abs:60/64k:40/128k',
    'zoned:50/:50/',
  ],
  verify: ['crc32c', 'md5', 'pattern', 'meta', 'sha3-256', 'crc32c-intel', 'none', '0', 'crc33'],
  verify_pattern: ['0xdeadbeef', '0xff%o', '"abc"-21', '300', '%x', ''],
  buffer_pattern: ['0x1', '"hello"0x12', '-300', '0xg', '"', '4294967296'],
  numjobs: ['1', '2', '3', '0', '9', '70', '999999999'],
  iodepth: ['1', '4', '32', '256', '0', '65536', '65537'],
  size: ['64k', '1m', '10m', '1g', '3t', '1000k', '50%', '0', '100t'],
  offset: ['0', '64k', '1m', '10%', '4096', '1', '9007199254740991'],
  offset_increment: ['1m', '64k', '10%', '0', '9000000000000000'],
  filesize: ['64k', '64k-1m', '1m-64k', '0'],
  nrfiles: ['1', '2', '5', '0'],
  cpus_allowed: ['0', '0-3', '0,2', '1:3', '3-1', '4096', 'a', '0-'],
  percentile_list: [
    '50:99',
    '99.9:1',
    '101',
    '1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21',
    '',
  ],
  ignore_error: ['EIO', 'EIO:ENOSPC,5', ',,EILSEQ', 'EFOO', 'EIO,EIO,EIO,EIO'],
  steadystate: ['iops:10%', 'bw_slope:1m', 'lat:200us', 'iops', 'foo:1', 'iops:-1', 'bw:101%'],
  startdelay: ['1', '1-5', '5-1', '100ms', 'x'],
  wait_for: ['a', 'b', 'c', 'nope'],
  name: ['a', 'b', 'z', ''],
  directory: ['/tmp', 'd1:d2', ''],
  filename_format: ['f.$jobnum.$filenum', 'shared', '$jobname'],
  cmdprio_bssplit: ['4k/50', '4k/50/1/3:8k/20', '4k', '4k/50,8k/50/9/9'],
  replay_skip: ['read', 'read,write', 'foo'],
  kb_base: ['1024', '1000', '1'],
  zonesize: ['64k', '1m', '0', '4k'],
}

const SECTION_NAMES = [
  'a',
  'b',
  'c',
  'job one',
  'x]y',
  'glob',
  'global',
  'globalx',
  'ümlaut',
  "it's",
  '$(x)',
  '--a',
]

/** Good values by the type that the option table names. */
const TYPED: Readonly<Record<string, readonly string[]>> = {
  '0 or 1': ['0', '1'],
  flag: ['1', '0'],
  number: ['1', '2', '4', '8', '16', '3', '0'],
  size: ['64k', '1m', '4096', '0'],
  'size or percentage': ['64k', '1m', '4096', '0'],
  time: ['1', '500ms', '100us', '2s', '0', '(3*2)'],
  'read,write,trim': ['4', '8,16', '1,,2', ',4k', '0'],
  percentage: ['99', '99.9', '50%'],
}

/** Names with an effect, aliases among them. */
const RUN_NAMES: readonly string[] = NAMES.filter(name => OPTION_CLASSES.get(name)!.class === 'RUN')

function option(random: Prng): string {
  const name = random.chance(96) ? random.pick(RUN_NAMES) : random.pick(NAMES)
  const key = random.chance(1) ? misspelt(random, name) : name
  const info = OPTION_CLASSES.get(name)!
  const type = info.class === 'RUN' ? RUN_OPTIONS[info.name].type : ''
  if (random.chance(type === 'flag' ? 60 : 1)) return key
  const value = random.chance(2) ? `\${DEPTH}` : goodValue(random, info.name as RunName, type)
  return `${key}${random.chance(3) ? ' ' : ''}=${random.chance(3) ? ' ' : ''}${value}`
}

/** Mostly one that the option accepts: its own, one of its words, one of its type. */
function goodValue(random: Prng, name: RunName, type: string): string {
  if (random.chance(5)) return random.pick(random.pick([SIZES, TIMES, NUMBERS, WORDS]))
  const own = VALUES[name]
  // The good ones stand first.
  if (own !== undefined) return own[Math.min(random.below(own.length), random.below(own.length))]!
  const words = type.includes('|') ? type.split('|') : TYPED[type]
  return random.pick(words ?? ['a', '1'])
}

function misspelt(random: Prng, name: string): string {
  const at = random.below(name.length)
  return (
    name.slice(0, at) + random.pick(['', 'x', '_', name[at]!.toUpperCase()]) + name.slice(at + 1)
  )
}

/** Options that most files need to get as far as the expansion. */
function preamble(random: Prng): string[] {
  const lines = ['[global]']
  if (random.chance(90)) lines.push(`filename=${random.chance(85) ? '/dev/nvme0n1' : 'plain'}`)
  if (random.chance(92)) lines.push(`size=${random.pick(['1m', '64m', '1g'])}`)
  if (random.chance(70))
    lines.push(`ioengine=${random.pick(['libaio', 'io_uring', 'null', 'pvsync2'])}`)
  if (random.chance(60)) lines.push('direct=1')
  return lines
}

function jobFile(random: Prng): string {
  const lines = random.chance(93) ? preamble(random) : []
  // Small, so that there are many: what two sections do to each other, two show.
  const sections = random.chance(80) ? 1 : 2 + random.below(3)
  for (let s = 0; s < sections; s++) {
    lines.push(`[${random.chance(80) ? 'abcd'[s] : random.pick(SECTION_NAMES)}]`)
    if (s > 0 && random.chance(30))
      lines.push(random.pick(['stonewall', 'new_group', 'group_reporting']))
    const options = sections === 1 ? 1 + random.below(5) : random.below(4)
    for (let o = 0; o < options; o++) lines.push(option(random))
    if (random.chance(4))
      lines.push(random.pick(['include inc', 'include=loop', 'include nope', 'include']))
    if (random.chance(5))
      lines.push(random.pick(['; comment', '# x=1', 'bs=4k ; y', '[', ']', '=', 'x', '\t', '[]']))
  }
  return lines.join(random.chance(95) ? '\n' : '\r\n')
}

/** Some bytes changed, dropped or doubled. */
function damage(random: Prng, text: string): Uint8Array {
  const whole = new TextEncoder().encode(text)
  if (random.chance(90)) return whole
  const bytes = [...whole]
  const blows = 1 + random.below(4)
  for (let i = 0; i < blows; i++) {
    const at = random.below(bytes.length + 1)
    const byte = random.chance(50)
      ? random.pick([10, 32, 35, 36, 44, 45, 47, 58, 59, 61, 91, 93, 123])
      : random.below(256)
    bytes.splice(at, random.below(2), ...(random.chance(70) ? [byte] : []))
  }
  return Uint8Array.from(bytes)
}

const DEVICES = [
  'nvme,size=1G',
  'nvme,size=16M,lba=4096',
  'null_blk,gb=1',
  'nvme',
  'nvme,size=4T,model=ram',
]
const RUN_WORDS = [
  '--readonly',
  '--warnings-fatal',
  '--clock=virtual',
  '--section=a',
  '--max-io=10',
  '--runtime=2',
  '--bs=8k',
  '--bs=,16k',
  '--filename=/dev/nullb0',
  '--bssplit=,4k/50:8k/50',
  '--iodepth',
  '4',
  '--time_based',
  '--shard=1/2',
  '--output-format=json,normal',
  '--lat=none',
]

function commandLine(random: Prng): string[] {
  const argv = ['job.fio', '--max-jobs=16']
  if (random.chance(4)) argv.push('job.fio')
  for (let i = random.chance(10) ? 1 + random.below(3) : 0; i > 0; i--)
    argv.push(random.pick(RUN_WORDS))
  if (random.chance(6)) argv.push(`--device=${random.pick(DEVICES)}`)
  if (random.chance(5)) argv.push('--name=cli', `--${option(random)}`)
  return argv
}

const ENV = { DEPTH: '8', EMPTY: '' }

/** Plans of a line, given the files it may read. */
function plan(argv: readonly string[], files: Readonly<Record<string, Uint8Array>>): RunPlan {
  const readFile = (path: string): Uint8Array => {
    const bytes = Object.hasOwn(files, path) ? files[path] : undefined
    if (bytes === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
    return bytes
  }
  return parseRun(argv, { readFile, env: ENV, hostCpus: 2 })
}

const INCLUDED = {
  inc: new TextEncoder().encode('bs=16k\niodepth=2\n'),
  loop: new TextEncoder().encode('include loop\n'),
}

/** The words of a POSIX shell line that quotes with single quotes and backslashes only. */
export function shellWords(line: string): string[] {
  const words: string[] = []
  let word: string | null = null
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!
    if (c === "'") {
      const end = line.indexOf("'", i + 1)
      word = (word ?? '') + line.slice(i + 1, end)
      i = end
    } else if (c === '\\') word = (word ?? '') + line[++i]!
    else if (c === ' ') {
      if (word !== null) words.push(word)
      word = null
    } else word = (word ?? '') + c
  }
  return word === null ? words : [...words, word]
}

/** What must not change when a plan is written as a command line and read again. */
function essence(jobs: readonly JobSpec[]): string {
  return JSON.stringify(jobs.map(job => ({ ...job, source: '', options: {}, globalOptions: {} })))
}

function runCase(random: Prng, remember: (input: string) => void): void {
  const text = jobFile(random)
  const bytes = damage(random, text)
  const argv = commandLine(random)
  remember(`${new TextDecoder().decode(bytes)}\n--- ${argv.join(' ')}`)
  const first = plan(argv, { ...INCLUDED, 'job.fio': bytes })
  checkPlan(first)
  // Reading again costs twice as much as all the rest.
  if (!random.chance(6)) return
  const devices = argv.filter(word => word.startsWith('--device=') || word === '--clock=virtual')
  const words = shellWords(first.showcmdLines[0]!).slice(2)
  const again = plan([...words, '--max-jobs=16', ...devices], {})
  if (essence(again.jobs) !== essence(first.jobs)) {
    throw new Error(
      `read again it differs: ${first.showcmdLines[0]}\n${essence(first.jobs)}\n${essence(again.jobs)}`,
    )
  }
}

/** Job files and command lines. */
export const fuzz: Fuzz = fuzzer('jobfile', runCase)
