// A Linux host finds phasebit's target, connects, makes a file system, writes and verifies, is cut off in mid-write by a target
// that is killed, and goes on when the target is back.

import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Guest, LOOPBACK } from './guest.js'

export const CLI: string = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))
const NQN = 'nqn.2026-11.io.phasebit:linux'
const FIO = 'fio --ioengine=libaio --direct=1 --directory=/mnt --unlink=0'

/** What Linux says of nothing but a target that is away. */
const EXPECTED = /starting error recovery|failed to connect socket|Failed reconnect attempt/

interface Served {
  readonly target: ChildProcess
  readonly port: number
}

/** Serves; @param port 0 takes any */
function serve(store: string, port: number): Promise<Served> {
  const disk = ['--device', 'nvme,size=256m', '--store', store]
  const where = ['--nvme-tcp', `127.0.0.1:${port}`, '--nqn', NQN]
  const target = spawn(process.execPath, [CLI, 'serve', ...where, ...disk])
  let said = ''
  return new Promise((resolve, reject) => {
    const hear = (data: Buffer): void => {
      said += data.toString()
      const match = said.match(/on 127\.0\.0\.1 port (\d+)/)
      if (match) resolve({ target, port: Number(match[1]) })
    }
    target.stdout.on('data', hear)
    target.stderr.on('data', hear)
    target.on('exit', status => reject(new Error(`serve ended with ${status}: ${said}`)))
  })
}

function killed(target: ChildProcess): Promise<void> {
  return new Promise(resolve => {
    target.once('exit', () => resolve())
    target.kill('SIGKILL')
  })
}

/** @throws Error if the text has it not */
export function expectIn(text: string, ...wanted: (string | RegExp)[]): void {
  for (const what of wanted)
    if (typeof what === 'string' ? !text.includes(what) : !what.test(text))
      throw new Error(`no ${what} in:\n${text}`)
}

export async function hostStory(
  guest: Guest,
  store: string,
  held: (what: string) => void,
): Promise<void> {
  let { target, port } = await serve(store, 0)
  try {
    const at = `-t tcp -a ${LOOPBACK} -s ${port}`
    expectIn(await guest.good(`nvme discover ${at}`), NQN, 'trtype:  tcp')
    held('discovers')
    await guest.good(`nvme connect ${at} -n ${NQN} -i 2 -g -G -l 600 -c 1`)
    expectIn(await guest.good('nvme list; cat /sys/class/nvme/nvme0/state'), /268\.44 +MB/, 'live')
    expectIn(await guest.good('nvme id-ctrl /dev/nvme0; nvme smart-log /dev/nvme0'), 'phasebit')
    held('connects with two queues and both digests')
    await guest.good('mkfs.ext4 -q -F /dev/nvme0n1 && mount /dev/nvme0n1 /mnt')
    held('makes a file system')
    await guest.good(
      `${FIO} --name=a --size=6m --rw=randwrite --bs=4k --iodepth=16 --verify=crc32c`,
      400,
    )
    await guest.good(
      `${FIO} --name=b --size=24m --rw=rw --bsrange=4k-1m --iodepth=8 --verify=md5`,
      400,
    )
    const sums = await guest.good('sync; md5sum /mnt/a.0.0')
    await guest.good('rm /mnt/b.0.0; sync; fstrim /mnt')
    held('fio writes and verifies; trims')
    const job = '--name=c --size=24m --rw=write --bs=64k --iodepth=8 --rate=3m --verify=crc32c'
    await guest.good(`{ (${FIO} ${job}; echo "status $?") > /tmp/fio 2>&1 & }`)
    await guest.good('sleep 3')
    await killed(target)
    await guest.good('sleep 3')
    expectIn(await guest.good('cat /sys/class/nvme/nvme0/state'), 'connecting')
    target = (await serve(store, port)).target
    await guest.good('while ! grep -q ^status /tmp/fio; do sleep 1; done', 400)
    expectIn(await guest.good('cat /tmp/fio'), 'status 0', 'err= 0')
    expectIn(await guest.good('dmesg'), 'Successfully reconnected')
    held('is cut off in mid-write, recovers, and all is there')
    await guest.good('nvme reset /dev/nvme0 && echo 3 > /proc/sys/vm/drop_caches')
    const again = await guest.good('md5sum /mnt/a.0.0')
    if (again !== sums) throw new Error(`before: ${sums}after: ${again}`)
    await guest.good('umount /mnt && e2fsck -fn /dev/nvme0n1')
    held('a reset; data of before the kill; a clean file system')
    await guest.good(`nvme disconnect -n ${NQN}`)
    const log = (await guest.good('dmesg')).split('\n')
    const bad = log.filter(
      line => /nvme|I\/O|EXT4|BUG|WARN/.test(line) && /error|fail|BUG|WARN/i.test(line),
    )
    const unexpected = bad.filter(line => !EXPECTED.test(line))
    if (unexpected.length > 0) throw new Error(unexpected.join('\n'))
    held('disconnects; its log has no complaint')
  } finally {
    await killed(target)
  }
}
