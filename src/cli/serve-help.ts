// What `phasebit serve --help` says.

const LINES = [
  'usage: phasebit serve [--nvme-tcp ADDRESS:PORT] [--nqn NQN] [--device SPEC]... [--store FILE]... [--allow-host NQN]...',
  '',
  'Serves the disks of an emulated machine to NVMe/TCP hosts, such as Linux, until SIGINT or SIGTERM.',
  '',
  '  --nvme-tcp ADDRESS:PORT  where to listen; default 127.0.0.1:4420, port 0 takes any. Whoever reaches the address can',
  '                           read and write the disks, unless --allow-host says who may',
  '  --nqn NQN                name of the subsystem; default nqn.2026-11.io.phasebit:target',
  '  --device SPEC            a disk, as for phasebit run; each is a namespace, from 1. Default: nvme,model=ram',
  '  --store FILE             keeps the data of the first disk (the second FILE: of the second) in a sparse file: what was',
  '                           answered is there after a restart, also after a kill. Without it a target begins empty.',
  '                           One serve at a time has it: FILE.lock names the process, and goes with it or is taken over',
  '  --allow-host NQN         only hosts of these names may connect; a name is no secret',
  '  --mem SIZE               budget of all data, default 2g; writes beyond it end with Capacity Exceeded',
  '',
  'Bounds: 1024 connections (one more closes the oldest that is no queue yet), 64 MiB for data of commands in flight, of which',
  'one connection gets a quarter of what is free, as much again for data in capsules that cannot wait, 256 KiB waiting in each',
  'direction of a socket, transfers of at most 1 MiB. No authentication, no TLS.',
  '',
  '  nvme discover -t tcp -a 127.0.0.1 -s 4420',
  '  nvme connect -t tcp -a 127.0.0.1 -s 4420 -n nqn.2026-11.io.phasebit:target',
]

export function serveHelp(): string {
  return `${LINES.join('\n')}\n`
}
