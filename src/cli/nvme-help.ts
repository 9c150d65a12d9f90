// What `phasebit nvme --help` says.

const LINES = [
  'usage: phasebit nvme discover -t tcp -a ADDRESS [-s PORT]',
  '       phasebit nvme connect -t tcp -a ADDRESS [-s PORT] -n NQN [OPTIONS] [JOBFILE... RUN-OPTIONS]',
  '       phasebit nvme disconnect -n NQN',
  '',
  'Connects to a real NVMe/TCP target, ours (phasebit serve) or any other. With job files or --name=... the jobs are run on',
  'the first namespace, as /dev/nvme0n1, in real time; without, it says what is there. A connection ends with its process.',
  '',
  '  -t tcp                the transport that leaves this machine',
  '  -a, --traddr ADDR     -s, --trsvcid PORT (4420; discover: 8009)     -n, --nqn NQN',
  '  -q, --hostnqn NQN     -I, --hostid UUID',
  '  -i, --nr-io-queues N  -Q, --queue-size N (128)    -k, --keep-alive-tmo S (5)',
  '  -c, --reconnect-delay S (10)    -l, --ctrl-loss-tmo S (600, below 0: for ever)',
  '  -g, --hdr-digest      -G, --data-digest           -d, --disable-sqflow    -D, --duplicate-connect',
]

export function nvmeHelp(): string {
  return `${LINES.join('\n')}\n`
}
