// What `phasebit lnvm --help` says.

const LINES = [
  'usage: phasebit lnvm list | info [OPTIONS]',
  '       phasebit lnvm sysfs /dev/nvme0n1 [OPTIONS]',
  '       phasebit lnvm sysfs /dev/pblk0 [NAME=VALUE...] [OPTIONS]',
  '       phasebit lnvm create -t TYPE -d nvme0n1 -n NAME [-b FIRST -e LAST] [-o PERCENT] [-f] [OPTIONS]',
  '       phasebit lnvm remove -n NAME [OPTIONS]',
  '',
  'A machine is booted for the word, with the devices that --device names (default: nvme,ocssd=2.0, and for rrpc, which needs',
  'a device that keeps a table, nvme,ocssd=1.2,l2p=1); targets among them have been made when the word is run. It ends with the',
  'command: nothing is kept.',
  '',
  '  list      open-channel devices, and the targets on them      info     the subsystem and its types of targets',
  '  sysfs     the attributes of a device or of a pblk            create   a target on LUNs FIRST to LAST (default: all)',
  '  remove    a target: what is in its buffer goes to the media',
  '',
  'NAME=VALUE is written first: max_sec_per_write, write_amp_trip and padding_dist (0), gc_force (0, 1).',
  '',
  '  -t, --target-type TYPE    -d, --device-name DISK    -n, --target-name NAME',
  '  -b, --lun-begin N         -e, --lun-end N           -o, --over-prov PERCENT (3 to 80)',
  '  -f, --factory             from scratch, in place of recovering what is there',
  '  --device SPEC             nvme,ocssd=2.0,...  pblk,parent=nvme0n1,...',
  '  --output-format normal|json (-o, but for create)',
]

export function lnvmHelp(): string {
  return `${LINES.join('\n')}\n`
}
