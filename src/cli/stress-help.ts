// What `phasebit stress --help` says.

import { STRESS_FAULTS } from '../workload/stress.js'

const LINES = [
  'usage: phasebit stress [--clock real|virtual] [--for TIME] [--seed N] [--faults MIX] [--max-io N]',
  '',
  'Random I/O with verification from 16 tasks on 4 CPUs, on an NVMe disk that its driver found, while faults and resets come',
  'at random.',
  '',
  '  --clock real     the host clock; the driver gives up after a second. What meets what depends on the host, too (default)',
  '  --clock virtual  what happens depends on the seed alone, also timeouts of a minute take no time; I/Os per second are',
  '                 still those of the wall clock',
  '  --for TIME     how long, by the wall clock: 10s, 10m, 1h; default 10s',
  '  --max-io N     ends after so many I/Os at the latest',
  '  --seed N       default 1',
  `  --faults MIX   some of ${STRESS_FAULTS.join(',')}; all, none; default all`,
  '',
  'After each round every I/O has ended once, what was written was read, no tag, bio or ring entry is left, and the controller',
  'is live or gone. In a run of four minutes or more resident memory in the last minute (the median) is at most 2 % more than',
  'in the third; in real time such a run begins with 25 s of the same in virtual time, beside what --for says, so that all of',
  'the code is compiled. The first violation ends it with exit status 1 and names the seed that repeats it.',
]

export function stressHelp(): string {
  return `${LINES.join('\n')}\n`
}
