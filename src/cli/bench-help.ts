// What `phasebit bench --help` says.

export function benchHelp(): string {
  return `${TEXT.join('\n')}\n`
}

const TEXT = [
  'usage: phasebit bench poll-vs-irq [--clock virtual|real] [--service US,...] [--depth N,...] [--cpus N,...] [--mode M,...]',
  '                                  [--ios N] [--seed N] [--json FILE] [--html FILE]',
  '       phasebit bench mq-vs-sq [--cpus N,...] [--ios N] [--seed N] [--json FILE]',
  '       phasebit bench write-amp [--spare PERCENT,...] [--seed N] [--json FILE] [--html FILE]',
  '       phasebit bench probe [--queues N] [--json FILE]',
  '       phasebit bench micro [--json FILE]',
  '',
  'Poll, or wait for the interrupt? Runs random 4 KiB reads for every combination, and says what each cost.',
  '',
  '  --clock          virtual (default: exact, CPU work at the costs of a machine), real (this host; the device has a thread)',
  '  --service LIST   service times of the device, us',
  '  --depth LIST     I/Os in flight of each CPU',
  '  --cpus LIST      submitting CPUs, a queue pair for each',
  '  --mode LIST      poll, hybrid, irq, coalesce (8 completions or 100 us), coalesce:N/T for other numbers (coalesce:16/200us)',
  '  --ios N          I/Os of each CPU that are measured; hybrid, and all modes in real time, run for 350 ms before',
  '  --json FILE      all points and the crossovers',
  '  --html FILE      a page with plots, whole in itself',
  '',
  'mq-vs-sq runs random reads on 1 to 64 CPUs over a single queue with one lock, and over a hardware queue for each CPU.',
  '',
  'write-amp overwrites drives at random, evenly and by zipf, and says how often a sector is written to flash for each write',
  'of a user: pblk and rrpc on open-channel devices, and model=nand, beside the curve of a log collected in the order of its',
  'age. --spare LIST is spare space, percent of the flash; rrpc has no points where it keeps more than that.',
  '',
  'probe times how long the driver takes, in a process that has just started, to bring up a controller of --queues N I/O',
  'queues (64) on a machine of as many CPUs in virtual time.',
  '',
  'micro times the single parts (tags, rings, doorbells, histogram, generator, timers, works), each beside the same in plain',
  'JavaScript. It needs the source tree.',
  '',
  'exit status: 0; 1 a run failed, or an output could not be written; 64 something is wrong with the arguments',
]
