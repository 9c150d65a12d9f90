// What `phasebit trace --help` says.

const LINES = [
  'usage: phasebit trace SCENARIO [--format FORMAT] [--output FILE]',
  '       phasebit trace JOBFILE... [options of run] [--format FORMAT] [--output FILE]',
  '       phasebit trace --list | --functions | --all --format json',
  '',
  'Runs one story of the storage stack in virtual time and writes every function of Linux 4.19 that was entered, with its',
  'context and depth, and the tracepoints between them. Jobs run as phasebit run would run them; of a long run the trace',
  'has the last records, half a million in all, and a note says so.',
  '',
  '  --format FORMAT  graph (the default), json, perfetto, ftrace, blktrace, iolog',
  '  --output FILE    instead of standard output; blktrace writes FILE.blktrace.0, FILE.blktrace.1 ...',
  '  --list           the scenarios that --all runs',
  '  --functions      every function that can be recorded',
  '  --all            all scenarios of --list, a JSON object a line',
  '',
  'scenarios, in any combination:',
  '  nullblk-{mq|bio|cache|nocache}[-depthN][-irqN][-{none|mq-deadline|kyber}]-{read|write|flush|wflush|dsync|batchrN|batchwN}',
  '  nullblk-requeue-SCHED-readN, nullblk-fault-timeout-readN, nullblk-throttle-mbpsN-batchwN; each with -Ncpu behind it',
  '  laptop-mode-{off-read|write-read-timer|write-without-completion|sync-cancels|two-completions}[-SCHED]',
]

export function traceHelp(): string {
  return `${LINES.join('\n')}\n`
}
