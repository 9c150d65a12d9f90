// What `phasebit sweep --help` and `phasebit merge --help` say.

export function sweepHelp(): string {
  return `${SWEEP.join('\n')}\n`
}

export function mergeHelp(): string {
  return `${MERGE.join('\n')}\n`
}

const SWEEP = [
  'usage: phasebit sweep SWEEP.json [--output DIR] [--shard I/N] [--workers N] [--dry-run]',
  '',
  'Runs every point of a sweep once, and goes on where it was stopped.',
  '',
  '  --output DIR     results; SWEEP.results unless said. DIR/points has a file for each finished point, named by the hash of',
  '                   what was run; DIR/results.jsonl appears when all are finished',
  '  --shard I/N      every N-th point, for N machines; phasebit merge puts the results together',
  '  --workers N      runs at a time; as many as there are cores in virtual time, one in real time',
  '  --dry-run        list the points',
  '',
  'A sweep file is JSON:',
  '  "jobs"      job files, relative to the sweep file',
  '  "options"   for every point: options of phasebit run without the dashes, such as { "clock": "virtual" }',
  '  "grid"      { "iodepth": [1, 4, 16], "bs": ["4k", "64k"] }: every combination',
  '  "list"      [ { "rw": "write" }, ... ]: these as well',
  '  "seeds"     [1, 2, 3]: each point once for each, with randrepeat=0; their histograms are merged',
  '  jobs and machine may stand in grid and list; a list of devices is several --device',
  '',
  'exit status: 0 all points are finished; 1 some are not; 64 something is wrong with the sweep or with stored results;',
  '70 an internal error',
]

const MERGE = [
  'usage: phasebit merge FILE|DIR... [--output FILE]',
  '',
  'Puts the shards of a sweep together: results.I-of-N.jsonl files, or folders that hold them. A shard that is missing or there',
  'twice, another sweep and another build are refused. Points that differ in their seed only are merged, histograms added.',
  '',
  'The JSON results of `phasebit run --shard I/N` are put together likewise: all jobs in one result, in their order.',
  '',
  'exit status: 0 merged; 1 the output could not be written; 64 the shards do not make one whole; 70 an internal error',
]
