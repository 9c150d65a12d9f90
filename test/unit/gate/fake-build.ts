// Builds of phasebit that are made up: folders with a package.json, a core, and benchmarks that say how long they took without
// looking at a clock. What the gate makes of them is the same on every host.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface FakeBuild {
  /**
   * ns of an operation; a text is JavaScript with `i`, the number of calls in this process, `cold`, whether the call before was
   * the other build's, and `p`, the number of the process: how often the build has been loaded before, as itself or as its copy.
   */
  readonly ns?: number | string
  /** What the benchmarks say that they do. */
  readonly does?: string
  /** I/Os a second of its `phasebit run`; the same kind of text, with `p` only. */
  readonly iops?: number | string
  /** A file in which each process writes down what was loaded and called, in order. */
  readonly log?: string
  /** What `openProbe` throws. */
  readonly fails?: string
  readonly threads?: 'one' | 'all'
  /** The bucket of fio's histogram in which all its latencies are; the benchmark is one that records them. */
  readonly latency?: number
}

/** Makes the folder; its name is the label in the log. */
export function fakeBuild(place: string, name: string, build: FakeBuild): string {
  const root = join(place, name)
  mkdirSync(join(root, 'dist', 'lib'), { recursive: true })
  const manifest = { name: 'phasebit', version: '9.9.0', type: 'module' }
  writeFileSync(
    join(root, 'package.json'),
    JSON.stringify({ ...manifest, bin: { phasebit: './dist/lib/cli.js' } }),
  )
  // a module without anything in it: magic and version
  writeFileSync(join(root, 'dist', 'core.release.wasm'), Buffer.from('0061736d01000000', 'hex'))
  writeFileSync(join(root, 'dist', 'lib', 'gate-probe.js'), probeText(root, name, build))
  writeFileSync(join(root, 'dist', 'lib', 'cli.js'), cliText(root, build))
  return root
}

/** Counts the processes that load a build: a byte in a file for each. */
function counting(root: string): string {
  const file = JSON.stringify(join(root, 'loaded'))
  return `import { appendFileSync, existsSync, statSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
const p = existsSync(${file}) ? statSync(${file}).size : 0
appendFileSync(${file}, '.')
`
}

function probeText(root: string, name: string, build: FakeBuild): string {
  const { ns = 100, does = 'something made up', log, fails, threads = 'one', latency } = build
  const benchmark = latency === undefined ? 'made-up' : 'latency-made-up'
  const info = { name: benchmark, per: 'IO', does, threads }
  const file = JSON.stringify(log ?? '')
  return `${counting(root)}
const name = import.meta.url.includes(${JSON.stringify(`/${name}/`)}) ? ${JSON.stringify(name)} : 'copy of ' + ${JSON.stringify(name)}
// one text for all builds of a process, so that it shows their turns
globalThis.said ??= ''
let lines = 0
function say(text) {
  // a thread is ended without a word, so it writes at once; it says the same thousands of times
  if (!isMainThread && lines++ > 100) return
  globalThis.said += text + '\\n'
  if (!isMainThread) write()
}
function write() {
  if (${file} !== '') appendFileSync(${file}, globalThis.said)
  globalThis.said = ''
}
process.on('exit', write)
export const PROBE_VERSION = 1
export const PROBES = [${JSON.stringify(info)}]
say(process.pid + ' load ' + name)
export async function openProbe() {
  ${fails === undefined ? '' : `throw new Error(${JSON.stringify(fails)})`}
  let i = 0
  const buckets = new Float64Array(1856)
  return {
    run(ops) {
      i++
      const cold = globalThis.last !== name
      globalThis.last = name
      const ns = ops * (${ns})
      say(process.pid + ' run ' + name + ' ' + ns)
      return { ops, ns }
    },
    ${latency === undefined ? '' : `latencies() { buckets[${latency}] = 1000; return buckets },`}
    forget() { say(process.pid + ' forget ' + name) },
    async close() { say(process.pid + ' close ' + name) },
  }
}
`
}

/** `phasebit run` of such a build: fio's JSON with so many I/Os a second. */
function cliText(root: string, { iops = 1000 }: FakeBuild): string {
  return `${counting(root)}
const iops = ${iops}
const read = { total_ios: 1000, io_bytes: 4096000, runtime: 1000, iops, bw_bytes: iops * 4096 }
const jobs = [{ jobname: 'a', groupid: 0, error: 0, read }]
console.log(JSON.stringify({ 'fio version': 'made-up', 'global options': {}, jobs }))
`
}
