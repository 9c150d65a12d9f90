// The "phasebit" object of a result: what fio has no key for. Keys in snake_case, absent when not measured, never zero for
// "unknown". The gate reads `books`, `queues` and `stages`; people read `completion`, `shortened` and `notes`.

import { filledBuckets, percentiles } from './histogram.js'
import { float, type JsonNode, type JsonObject, object } from './json-text.js'
import {
  type Books,
  DEFAULT_PERCENTILES,
  type Json,
  type LatencyStat,
  type PhasebitFacts,
  type QueueFacts,
  type RunResult,
  type ShardFacts,
} from './result.js'
import { stddev } from './stat.js'

/** The object as a tree; `plus` adds the bins of the stages. */
export function phasebitJson(run: RunResult, plus = false): JsonObject {
  const facts = run.phasebit
  const json = object(
    ['version', facts.version],
    ['core', facts.core],
    ['clock', facts.clock],
    ['kernel', facts.kernel],
    ['seed', facts.seed],
    ['cpus', facts.cpus],
    ['cpu_threads', facts.cpuThreads],
    ['devices', facts.devices],
    ['latency_mode', facts.latencyMode],
    ['completion', completionOf(facts.queues)],
    ['shortened', facts.shortened],
    ['shard', facts.shard && shardJson(facts.shard)],
    ['queues', facts.queues.map(queueJson)],
    ['stages', stagesJson(facts, plus)],
    ['books', booksJson(facts.books)],
    ['notes', facts.notes],
    ['host', facts.host && fromJson(facts.host)],
  )
  for (const [key, value] of Object.entries(facts.extra ?? {})) json.set(key, fromJson(value))
  return json
}

/** How the run's I/O was completed, in one word; several words by comma when queues differ; absent without queues. */
export function completionOf(queues: readonly QueueFacts[]): string | undefined {
  const used = queues.filter(queue => queue.completed > 0)
  return used.length > 0 ? [...new Set(used.map(queue => queue.completion))].join(',') : undefined
}

function shardJson({ shard, count, jobs, of }: ShardFacts): JsonObject {
  return object(['index', shard], ['count', count], ['jobs', [...jobs]], ['of', of])
}

function queueJson(queue: QueueFacts): JsonObject {
  return object(
    ['device', queue.device],
    ['queue', queue.queue],
    ['cpu', queue.cpu],
    ['completion', queue.completion],
    ['submitted', queue.submitted],
    ['completed', queue.completed],
    ['inline', queue.inline],
    ['polled', queue.polled],
    ['interrupts', queue.interrupts],
    ['irqs', queue.irqs],
    ['spins', queue.spins],
    ['sq_doorbells', queue.sqDoorbells],
    ['cq_doorbells', queue.cqDoorbells],
    ['slow', queue.slow],
    ['requeued', queue.requeued],
    ['timeouts', queue.timeouts],
  )
}

function stagesJson(facts: PhasebitFacts, plus: boolean): JsonObject | undefined {
  if (!facts.stages) return undefined
  return object(...Object.entries(facts.stages).map(([k, v]) => [k, stageJson(v, plus)] as const))
}

function stageJson(stage: LatencyStat, plus: boolean): JsonObject {
  const json = object(
    ['min', stage.min],
    ['max', stage.max],
    ['mean', float(stage.mean)],
    ['stddev', float(stddev(stage))],
    ['N', stage.n],
  )
  if (!stage.buckets || stage.n === 0) return json
  const table = percentiles(stage.buckets, DEFAULT_PERCENTILES)
  json.set('percentile', new Map(table.map(p => [p.percent.toFixed(6), p.ns])))
  if (plus) {
    json.set('bins', new Map(filledBuckets(stage.buckets).map(([ns, n]) => [String(ns), n])))
  }
  return json
}

function booksJson(books: Books): JsonObject {
  return object(
    ['submitted', books.submitted],
    ['completed', books.completed],
    ['failed', books.failed],
    ['in_flight', books.inFlight],
    ['tags_held', books.tagsHeld],
    ['ring_entries', books.ringEntries],
    ['bios_unbalanced', books.biosUnbalanced],
    ['works_pending', books.worksPending],
    ['timers_pending', books.timersPending],
    ['balanced', books.balanced],
  )
}

/** Plain JSON as a tree: whole numbers as they are, others with six decimals. */
function fromJson(value: Json): JsonNode {
  if (typeof value === 'number') return Number.isInteger(value) ? value : float(value)
  if (Array.isArray(value)) return value.map(fromJson)
  if (value === null || typeof value !== 'object') return value
  return object(...Object.entries(value).map(([k, v]) => [k, fromJson(v)] as const))
}
