// `phasebit merge` of runs: the shards of one run (`run --shard I/N --output-format=json`) become one result.
//
// The jobs stand in the order of the whole run, each as its machine reported it. Under "phasebit" the facts of every shard stand
// side by side, books and queues included: speeds of several machines are listed, never added. disk_util and cpu_idleness are of
// one machine each and are left out.

import { UserError } from '../core/errors.js'
import { isRecord, type JsonRecord, numberOf } from '../gate/json-file.js'

/** A result with the shard that it is. */
interface RunShard {
  readonly path: string
  readonly json: JsonRecord
  readonly facts: JsonRecord
  readonly index: number
  readonly count: number
  readonly of: number
  readonly numbers: readonly number[]
  readonly jobs: readonly unknown[]
}

/** What makes two shards of one run: each must be equal. */
const SAME = ['version', 'core', 'clock', 'kernel', 'seed', 'devices'] as const

/** Whether a JSON document is the result of a run. */
export function isRun(json: unknown): json is JsonRecord {
  return isRecord(json) && Array.isArray(json['jobs']) && isRecord(json['phasebit'])
}

function shardIn(path: string, json: JsonRecord): RunShard {
  const facts = json['phasebit'] as JsonRecord
  const shard = facts['shard']
  if (!isRecord(shard)) throw new UserError(`${path}: is a whole run, not a shard (--shard I/N)`)
  const [index, count, of] = ['index', 'count', 'of'].map(key => numberOf(shard, key))
  const numbers = shard['jobs']
  const jobs = json['jobs'] as readonly unknown[]
  const good = Array.isArray(numbers) && numbers.length === jobs.length
  if (!good || !(index! >= 1 && index! <= count! && count! <= of!))
    throw new UserError(`${path}: is damaged: it does not say which shard it is`)
  return { path, json, facts, index: index!, count: count!, of: of!, numbers, jobs }
}

function checkSame(first: RunShard, other: RunShard): void {
  const differ = (what: string): never => {
    throw new UserError(`${other.path}: is of another run than ${first.path}: ${what} differs`)
  }
  if (other.count !== first.count) differ('the number of shards')
  if (other.of !== first.of) differ('the number of jobs')
  for (const key of SAME)
    if (JSON.stringify(first.facts[key]) !== JSON.stringify(other.facts[key])) differ(key)
  const options = 'global options'
  if (JSON.stringify(first.json[options]) !== JSON.stringify(other.json[options])) differ(options)
}

/**
 * One result of all shards of a run, as text.
 * @throws UserError when they do not make one run
 */
export function mergeRuns(
  files: readonly { readonly path: string; readonly json: JsonRecord }[],
): string {
  const shards = files.map(({ path, json }) => shardIn(path, json))
  const first = shards[0]!
  const seen = new Map<number, RunShard>()
  for (const one of shards) {
    checkSame(first, one)
    const twin = seen.get(one.index)
    const name = `shard ${one.index}/${one.count}`
    if (twin) throw new UserError(`${name} is there twice: ${twin.path} and ${one.path}`)
    seen.set(one.index, one)
  }
  for (let i = 1; i <= first.count; i++)
    if (!seen.has(i)) throw new UserError(`shard ${i}/${first.count} is missing`)
  const jobs = new Map(shards.flatMap(one => one.numbers.map((n, i) => [n, one.jobs[i]] as const)))
  const inOrder = Array.from({ length: first.of }, (_, n) => {
    if (!jobs.has(n)) throw new UserError(`${first.path}: is damaged: no shard has job ${n + 1}`)
    return jobs.get(n)
  })
  const { disk_util, cpu_idleness, ...head } = first.json
  const facts = [...seen].sort(([a], [b]) => a - b).map(([, one]) => one.facts)
  const same = Object.fromEntries(SAME.map(key => [key, first.facts[key]]))
  const whole = { ...head, jobs: inOrder, phasebit: { ...same, shards: facts } }
  return `${JSON.stringify(whole, null, 2)}\n`
}
