// What `phasebit nvme --help` says.

const LINES = [
  'usage: phasebit nvme discover -t tcp -a ADDRESS [-s PORT]',
  '       phasebit nvme connect -t tcp -a ADDRESS [-s PORT] -n NQN [OPTIONS] [JOBFILE... RUN-OPTIONS]',
  '       phasebit nvme connect -t rdma|fc|loop [-a ADDRESS] [-s PORT] [-w HOST] -n NQN [OPTIONS] [--device SPEC] [--fabric SPEC]',
  '       phasebit nvme disconnect -n NQN | -d DEVICE; disconnect-all',
  '       phasebit nvme list | list-subsys [OPTIONS]',
  '       phasebit nvme WORD /dev/nvme0[n1] [OPTIONS]',
  '',
  'Words for a machine that is booted for them (--device SPEC..., --kernel 4.19|4.9, -o normal|json):',
  '  id-ctrl  id-ns [-n NSID]  list-ns  smart-log  error-log [-e N]  show-regs  reset',
  '  get-feature -f ID [-s SELECT] [-c CDW11] [-n NSID]  set-feature -f ID -v VALUE [-s 1] [-n NSID]  get-log -i ID [-l BYTES]',
  '  format [-n NSID] [-l LBAF] [-s SES] [-i PI] [-p PIL] [-m MS]  create-ns -s BLOCKS [-c BLOCKS] [-f FLBAS] [-d DPS]',
  '  attach-ns | detach-ns -n NSID [-c CNTLID]  delete-ns -n NSID  ns-rescan  subsystem-reset',
  '  fw-download -f FILE [-x BYTES]  fw-commit [-s SLOT] [-a ACTION]  fw-log  sanitize -a ACTION  sanitize-log',
  '  admin-passthru -O OPCODE [-n NSID] [-l BYTES] [--cdw10=N ... --cdw15=N]',
  'Several words are said to one machine with -- between them: create-ns /dev/nvme0 -s 2048 -- attach-ns /dev/nvme0 -n 2 -- list',
  '',
  'Connects to a real NVMe/TCP target, ours (phasebit serve) or any other. With job files or --name=... the jobs are run on',
  'the first namespace, as /dev/nvme0n1, in real time; without, it says what is there. A connection ends with its process.',
  '',
  '  -t tcp                the transport that leaves this machine. rdma, fc and loop are emulated: a machine is booted whose',
  '                        target is where the options say, with the disk of --device; what the driver found is shown',
  '  --fabric SPEC         of rdma: latency=10us (of a message, each way), jitter=2us (up to so much more), seed=N,',
  '                        register_always=0 (nvme_rdma: one key to all memory for requests of one piece)',
  '  -a, --traddr ADDR     -s, --trsvcid PORT (4420; discover: 8009)     -n, --nqn NQN',
  '  -q, --hostnqn NQN     -I, --hostid UUID     -w, --host-traddr ADDR',
  '  -i, --nr-io-queues N  -Q, --queue-size N (128)    -k, --keep-alive-tmo S (5)',
  '  -c, --reconnect-delay S (10)    -l, --ctrl-loss-tmo S (600, below 0: for ever)',
  '  -g, --hdr-digest      -G, --data-digest           -d, --disable-sqflow    -D, --duplicate-connect',
]

export function nvmeHelp(): string {
  return `${LINES.join('\n')}\n`
}
