// What `phasebit gate --help` says.

export function gateHelp(): string {
  return `${LINES.join('\n')}\n`
}

const LINES = [
  'usage: phasebit gate --base FILE.json... --head FILE.json... [options]',
  '       phasebit gate JOBFILE... --baseline DIR [--JOB_OPTION=VALUE ...] [options]',
  '       phasebit gate --base BUILD [--head BUILD] [JOBFILE...] [options]',
  '',
  'Says whether something has become worse.',
  '',
  'what is compared',
  '  --base X... --head X...     fio JSON or JSON+ files, or builds of phasebit: a folder, a tarball of npm pack,',
  '                              an installed version such as 0.1.0; --head is this build unless said',
  '  --baseline DIR              job files: exact results in virtual time, one file each, made to be committed;',
  '                              with --head FILE.json...: the files stored there are the base;',
  '                              with builds: limits found by --calibrate',
  '  --mode exact|pair|process|history|files   instead of the one that fits the rest',
  '  --calibrate                 find the limits of this machine and store them in --baseline',
  '  --list                      benchmarks and metrics',
  'rules',
  '  --limit PERCENT             what a change must exceed; 5 unless calibrated',
  '  --metric LIST               files: which of iops, bw, p50, p99, p99.9',
  '  --bench LIST                builds: which benchmarks',
  '  --count N                   processes of the first pass: 10, or 20 pairs in process mode',
  '  --doublings N               how often unclear benchmarks get as many samples again; 4',
  '  --seed N                    of the jobs in virtual time, and of resampling; 0',
  '  --strict                    unclear fails (exit status 2)',
  '  --init                      a first baseline is no failure (exit status 0 in place of 3)',
  '  --update                    write the baseline anew: the change is accepted',
  'outputs besides the table',
  '  --json FILE                 everything: samples, fingerprints, verdicts',
  '  --junit FILE, --csv FILE, --summary FILE (Markdown), --bencher FILE, --hyperfine FILE',
  '  --github-benchmark PREFIX   PREFIX.bigger.json and PREFIX.smaller.json, for github-action-benchmark',
  "  --fio-json DIR              process mode with job files: the JSON of each run, for fio's plotters and files mode",
  '  --go-bench PREFIX           PREFIX.base.txt and PREFIX.head.txt, for benchstat',
  '',
  'exit status: 0 same, improved or unclear; 1 regressed; 2 changed, or unclear with --strict;',
  '3 there was no baseline, it has been written; 64 input that cannot be used; 70 an internal error',
]
