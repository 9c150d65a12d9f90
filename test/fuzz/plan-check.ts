// Every field of an accepted plan is in its range. Written apart from the parser: it knows the types, not the grammar.

import type { Distribution, JobSpec, RunPlan, Triple } from '../../src/workload/job.js'

/** Largest disk: 16 TiB. */
const MAX_DISK = 2 ** 44

function must(condition: boolean, what: string, value: unknown): void {
  if (!condition) throw new Error(`${what} is ${JSON.stringify(value)}`)
}

/** A whole number in a range. */
function whole(
  what: string,
  value: number,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): void {
  must(Number.isSafeInteger(value) && value >= min && value <= max, what, value)
}

function each<T>(triple: Triple<T>, check: (value: T, i: number) => void): void {
  must(triple.length === 3, 'triple', triple)
  triple.forEach(check)
}

/** Percents of a list add up to 100. */
function sum100(what: string, percents: readonly number[]): void {
  const sum = percents.reduce((total, percent) => total + percent, 0)
  must(
    percents.every(percent => percent >= 0 && percent <= 100),
    what,
    percents,
  )
  must(Math.abs(sum - 100) < 1e-3, `${what} sum`, sum)
}

/** @throws Error naming the field and its value */
export function checkPlan(plan: RunPlan): void {
  must(plan.jobs.length > 0 && plan.jobs.length <= plan.maxJobs, 'jobs', plan.jobs.length)
  must(new Set(plan.notes).size === plan.notes.length, 'notes', plan.notes)
  for (const note of plan.notes) must(!/[\n\r]|undefined|NaN/.test(note), 'note', note)
  plan.jobs.forEach((job, i) => {
    whole('index', job.index, i, i)
    checkOrder(job, plan.jobs[i - 1])
    checkPlace(job)
    checkBlocks(job)
    checkEngine(job)
    checkNumbers(job)
    checkReport(job)
  })
  for (const [disk, bytes] of plan.diskNeeds) {
    must(disk.startsWith('/dev/'), 'disk', disk)
    whole('need', bytes, 1, MAX_DISK)
  }
}

/** Groups and phases only grow, clones stay together, and nobody waits for what comes later. */
function checkOrder(job: JobSpec, before: JobSpec | undefined): void {
  whole('clone', job.cloneIndex, 0, job.numjobs - 1)
  whole('groupid', job.groupid, before?.groupid ?? 0, (before?.groupid ?? -1) + 1)
  whole('phase', job.phase, before?.phase ?? 0, (before?.phase ?? -1) + 1)
  if (job.cloneIndex > 0) {
    must(job.groupid === before!.groupid && job.phase === before!.phase, 'clone', job.index)
  }
  for (const index of job.waitFor) whole('waitFor', index, 0, job.index - job.cloneIndex - 1)
}

function checkPlace(job: JobSpec): void {
  must(job.files.length > 0, 'files', job.files)
  for (const file of job.files) {
    const max = job.engineKind === 'null' ? Number.MAX_SAFE_INTEGER : MAX_DISK
    whole('size', file.size, 1, max)
    whole('end', file.base + file.size, file.size, max)
    must((file.disk === '') === (job.engineKind === 'null'), 'disk', file.disk)
    must(file.name !== '', 'file name', file.name)
  }
  const sum = job.files.reduce((total, file) => total + file.size, 0)
  must(job.size === sum, 'size', job.size)
  whole('ioSize', job.ioSize, 1)
}

function checkBlocks(job: JobSpec): void {
  must(
    job.uses.some(used => used),
    'uses',
    job.uses,
  )
  each(job.bsMin, (min, i) => {
    whole('bsMin', min, 1, 2 ** 31)
    whole('bsMax', job.bsMax[i]!, min, 2 ** 31)
    whole('blockAlign', job.blockAlign[i]!, 1, 2 ** 31)
    if (!job.uses[i] || job.engineKind === 'null') return
    must(min % 512 === 0 && job.bsMax[i]! % 512 === 0, 'block', [min, job.bsMax[i]])
  })
  each(job.bssplit, (split, i) => {
    if (split.length === 0) return
    sum100(
      'bssplit',
      split.map(entry => entry.percent),
    )
    for (const { bytes } of split) whole('split', bytes, job.bsMin[i]!, job.bsMax[i]!)
  })
  each(job.percentageRandom, percent => whole('percentageRandom', percent, 0, 100))
  each(job.distribution, checkDistribution)
  whole('rwmixread', job.rwmixread, 0, 100)
  whole('ddirSeqCount', job.ddirSeqCount, 1)
  must(Number.isSafeInteger(job.ddirSeqAdd), 'ddirSeqAdd', job.ddirSeqAdd)
}

function checkDistribution(d: Distribution): void {
  if (d.kind === 'zipf') must(d.theta > 0 && d.theta !== 1, 'theta', d.theta)
  if (d.kind === 'pareto') must(d.h > 0 && d.h < 1, 'h', d.h)
  if (d.kind === 'normal') must(d.deviation >= 0 && d.deviation < 100, 'deviation', d.deviation)
  if (d.kind !== 'zoned' && d.kind !== 'zoned_abs') return
  sum100(
    'access',
    d.zones.map(zone => zone.access),
  )
  if (d.kind === 'zoned')
    sum100(
      'zones',
      d.zones.map(zone => zone.size),
    )
  else for (const zone of d.zones) whole('zone', zone.size, 1)
}

function checkEngine(job: JobSpec): void {
  whole('iodepth', job.iodepth, 1, 65536)
  whole('queueDepth', job.queueDepth, 1, job.iodepth)
  const one = job.engineKind === 'sync' && job.ioSubmitMode === 'inline'
  must(!one || job.queueDepth === 1, 'depth of a sync engine', job.queueDepth)
  whole('batch', job.iodepthBatch, 1, job.queueDepth)
  whole('low', job.iodepthLow, 1, job.queueDepth)
  whole('min', job.iodepthBatchCompleteMin, 0, job.queueDepth)
  const most = job.iodepthBatchCompleteMax
  must(most === 0 || most >= job.iodepthBatchCompleteMin, 'max', most)
  whole('hipri', job.hipriPercentage, 0, 100)
  must(typeof job.direct === 'boolean', 'direct', job.direct)
  if (job.cpusAllowed === null) return
  must(job.cpusAllowed.length > 0, 'cpus', job.cpusAllowed)
  for (const cpu of job.cpusAllowed) whole('cpu', cpu, 0, 1023)
}

/** Every other number of a job, whatever it means: times, rates and counts are whole and not negative. */
function checkNumbers(job: JobSpec): void {
  for (const key of Object.keys(job) as (keyof JobSpec)[]) {
    const value = job[key]
    if (typeof value === 'number' && key !== 'ddirSeqAdd') whole(key, value, 0)
  }
  whole('seed', job.seed, 0, 0xffffffff)
  for (const rates of [job.rate, job.rateMin, job.rateIops, job.rateIopsMin]) {
    each(rates, rate => whole('rate', rate, 0))
  }
  must(!job.timeBased || job.runtimeNs > 0, 'time_based without runtime', job.runtimeNs)
  must(job.thinktimeSpinNs <= job.thinktimeNs, 'spin', job.thinktimeSpinNs)
  must(job.zonemode === 'none' || job.zonesize > 0, 'zonesize', job.zonesize)
  must(job.zonerange >= job.zonesize, 'zonerange', job.zonerange)
  const { verify, trim, latencyTarget, steadyState } = job
  whole('interval', verify.interval, 0, job.bsMin[1])
  whole('trim', trim.percent, 0, 100)
  if (latencyTarget) must(latencyTarget.percentile <= 100, 'percentile', latencyTarget)
  if (steadyState) must(steadyState.durationNs >= steadyState.intervalNs, 'window', steadyState)
  for (const pieces of [verify.pattern, job.bufferPattern]) {
    for (const piece of pieces) {
      if ('bytes' in piece) for (const byte of piece.bytes) whole('byte', byte, 0, 255)
    }
  }
}

function checkReport(job: JobSpec): void {
  for (const key of ['rw', 'bs', 'iodepth', 'numjobs']) {
    must(typeof job.options[key] === 'string', `option ${key}`, job.options)
  }
  const list = job.percentileList
  must(list.length > 0 && list.length <= 20, 'percentiles', list)
  list.forEach((percentile, i) => {
    must(percentile >= 0 && percentile <= 100, 'percentile', percentile)
    must(i === 0 || percentile > list[i - 1]!, 'order of percentiles', list)
  })
  whole('coarseness', job.log.histCoarseness, 0, 6)
}
