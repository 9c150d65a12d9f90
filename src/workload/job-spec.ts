// A job, put together from what its options, its clone and its regions say.
//
// One literal with every field, on purpose: objects of a hundred fields that are spread together are slow to make and slow
// to read, and a run may have thousands of jobs.

import type { JobSpec } from './job.js'
import type {
  BlockFields,
  EngineFields,
  GoalFields,
  IntegrityFields,
  LogFields,
  PaceFields,
  PatternFields,
  PriorityFields,
  ReportFields,
  TimeFields,
  ZoneFields,
} from './resolve.js'

/** What all clones of a section share. */
export interface SharedFields {
  readonly section: Pick<
    JobSpec,
    'name' | 'numjobs' | 'source' | 'options' | 'globalOptions' | 'groupid' | 'phase' | 'waitFor'
  >
  readonly pattern: PatternFields
  readonly block: BlockFields
  readonly zone: ZoneFields
  readonly time: TimeFields
  readonly engine: EngineFields
  readonly pace: PaceFields
  readonly goal: GoalFields
  readonly integrity: IntegrityFields
  readonly priority: PriorityFields
  readonly report: ReportFields
  readonly log: LogFields
}

/** What each clone has for itself, besides its regions. */
export type OwnFields = Pick<
  JobSpec,
  | 'index'
  | 'cloneIndex'
  | 'randrepeat'
  | 'randseed'
  | 'seed'
  | 'startDelayNs'
  | 'cpusAllowed'
  | 'cpusAllowedPolicy'
>

/** Where it works. */
export type PlaceFields = Pick<JobSpec, 'files' | 'size' | 'ioSize'>

/** The job. */
export function jobSpec(shared: SharedFields, own: OwnFields, place: PlaceFields): JobSpec {
  const { section, pattern, block, zone, time, engine } = shared
  const { pace, goal, integrity, priority, report, log } = shared
  return {
    name: section.name,
    description: report.description,
    index: own.index,
    cloneIndex: own.cloneIndex,
    numjobs: section.numjobs,
    source: section.source,
    options: section.options,
    globalOptions: section.globalOptions,
    groupid: section.groupid,
    groupReporting: report.groupReporting,
    phase: section.phase,
    waitFor: section.waitFor,
    startDelayNs: own.startDelayNs,
    runtimeNs: time.runtimeNs,
    timeBased: time.timeBased,
    rampTimeNs: time.rampTimeNs,
    exitall: time.exitall,
    exitWhat: time.exitWhat,
    exitallOnError: time.exitallOnError,
    files: place.files,
    fileService: pattern.fileService,
    size: place.size,
    ioSize: place.ioSize,
    loops: pattern.loops,
    numberIos: pattern.numberIos,
    direct: engine.direct,
    invalidate: engine.invalidate,
    rw: pattern.rw,
    random: pattern.random,
    uses: pattern.uses,
    ddirSeqCount: pattern.ddirSeqCount,
    ddirSeqAdd: pattern.ddirSeqAdd,
    rwSequencer: pattern.rwSequencer,
    rwmixread: pattern.rwmixread,
    bsMin: block.bsMin,
    bsMax: block.bsMax,
    bssplit: block.bssplit,
    bsUnaligned: block.bsUnaligned,
    blockAlign: block.blockAlign,
    percentageRandom: pattern.percentageRandom,
    distribution: pattern.distribution,
    norandommap: pattern.norandommap,
    randomGenerator: pattern.randomGenerator,
    randrepeat: own.randrepeat,
    randseed: own.randseed,
    seed: own.seed,
    zonemode: zone.zonemode,
    zonesize: zone.zonesize,
    zonerange: zone.zonerange,
    zoneskip: zone.zoneskip,
    ioengine: engine.ioengine,
    engineKind: engine.engineKind,
    iodepth: engine.iodepth,
    queueDepth: engine.queueDepth,
    iodepthBatch: engine.iodepthBatch,
    iodepthBatchCompleteMin: engine.iodepthBatchCompleteMin,
    iodepthBatchCompleteMax: engine.iodepthBatchCompleteMax,
    iodepthLow: engine.iodepthLow,
    ioSubmitMode: engine.ioSubmitMode,
    serializeOverlap: engine.serializeOverlap,
    hipriPercentage: engine.hipriPercentage,
    cpusAllowed: own.cpusAllowed,
    cpusAllowedPolicy: own.cpusAllowedPolicy,
    thinktimeNs: pace.thinktimeNs,
    thinktimeSpinNs: pace.thinktimeSpinNs,
    thinktimeBlocks: pace.thinktimeBlocks,
    thinktimeBlocksType: pace.thinktimeBlocksType,
    thinktimeIotimeNs: pace.thinktimeIotimeNs,
    rate: pace.rate,
    rateMin: pace.rateMin,
    rateIops: pace.rateIops,
    rateIopsMin: pace.rateIopsMin,
    rateCycleNs: pace.rateCycleNs,
    rateProcess: pace.rateProcess,
    rateIgnoreThinktime: pace.rateIgnoreThinktime,
    flow: pace.flow,
    flowId: pace.flowId,
    flowSleepNs: pace.flowSleepNs,
    latencyTarget: goal.latencyTarget,
    maxLatencyNs: pace.maxLatencyNs,
    steadyState: goal.steadyState,
    fsync: integrity.fsync,
    fdatasync: integrity.fdatasync,
    endFsync: integrity.endFsync,
    fsyncOnClose: integrity.fsyncOnClose,
    sync: integrity.sync,
    writeBarrier: integrity.writeBarrier,
    verify: integrity.verify,
    trim: integrity.trim,
    bufferPattern: integrity.bufferPattern,
    zeroBuffers: integrity.zeroBuffers,
    refillBuffers: integrity.refillBuffers,
    continueOnError: integrity.continueOnError,
    ignoreError: integrity.ignoreError,
    prioClass: priority.prioClass,
    prio: priority.prio,
    cmdPrio: priority.cmdPrio,
    stats: report.stats,
    disableLat: report.disableLat,
    disableClat: report.disableClat,
    disableSlat: report.disableSlat,
    disableBw: report.disableBw,
    gtodReduce: report.gtodReduce,
    latPercentiles: report.latPercentiles,
    clatPercentiles: report.clatPercentiles,
    slatPercentiles: report.slatPercentiles,
    percentileList: report.percentileList,
    significantFigures: report.significantFigures,
    unifiedRwReporting: report.unifiedRwReporting,
    kbBase: report.kbBase,
    unitBase: report.unitBase,
    bwAvgNs: report.bwAvgNs,
    iopsAvgNs: report.iopsAvgNs,
    log: log.log,
    writeIolog: log.writeIolog,
    replay: log.replay,
  }
}
