// Linux's target (nvmet), with a RAM disk behind it, and phasebit's host on it: each option, verified jobs, a target that goes
// away in mid-run and comes back.

import { execFile } from 'node:child_process'
import { ADDRESS, type Guest } from './guest.js'
import { CLI, expectIn } from './host-story.js'

const NQN = 'nqn.2014-08.org.nvmexpress:linux'
const CONFIG = '/sys/kernel/config/nvmet'
const SUBSYSTEM = `${CONFIG}/subsystems/${NQN}`
const PORT = `${CONFIG}/ports/1`

const SETUP = [
  `mkdir ${SUBSYSTEM} && echo 1 > ${SUBSYSTEM}/attr_allow_any_host`,
  `mkdir ${SUBSYSTEM}/namespaces/1 && cd ${SUBSYSTEM}/namespaces/1`,
  'echo -n /dev/ram0 > device_path && echo 1 > enable',
  `mkdir ${PORT} && cd ${PORT}`,
  `echo tcp > addr_trtype && echo ipv4 > addr_adrfam && echo ${ADDRESS} > addr_traddr`,
  `echo 4420 > addr_trsvcid && ln -s ${SUBSYSTEM} subsystems/${NQN}`,
]

/** @throws Error with what it said, unless it ends with 0 */
function phasebit(...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [CLI, ...args], { timeout: 400_000 }, (error, out, err) => {
      if (error) reject(new Error(`phasebit ${args.join(' ')}: ${error.message}\n${out}${err}`))
      else resolve(out)
    })
  })
}

export async function targetStory(
  guest: Guest,
  port: number,
  held: (what: string) => void,
): Promise<void> {
  await guest.good(SETUP.join(' && '))
  const at = ['-t', 'tcp', '-a', '127.0.0.1', '-s', String(port)]
  const connect = ['nvme', 'connect', ...at, '-n', NQN]
  const job = ['--name=a', '--ioengine=libaio', '--iodepth=16', '--size=4m', '--output-format=json']
  const verified = async (options: string[], ...more: string[]): Promise<void> => {
    const { jobs, phasebit: own } = JSON.parse(
      await phasebit(...connect, ...options, ...job, ...more),
    )
    const [{ error, write, read }] = jobs
    if (error !== 0 || write.io_bytes === 0 || read.io_bytes === 0 || !own.books.balanced)
      throw new Error(JSON.stringify({ options, more, error, write, read, books: own.books }))
  }
  const discovered = await phasebit('nvme', 'discover', ...at)
  expectIn(discovered, NQN, 'current discovery subsystem', ADDRESS)
  held('discovers')
  const random = ['--rw=randwrite', '--bs=4k', '--verify=crc32c']
  for (const options of ['', '-g', '-G', '-g -G -i 2', '-d', '-Q 16 -i 4'])
    await verified(options.split(' ').filter(Boolean), ...random)
  held('writes and verifies, with each option')
  await verified([], '--rw=rw', '--bsrange=4k-1m', '--verify=md5')
  await phasebit(...connect, ...job, '--rw=randtrim', '--bs=64k')
  await phasebit(...connect, ...job, '--rw=randwrite', '--bs=4k', '--fsync=8')
  held('large and small blocks, trims, flushes')
  const paced = verified(['-c', '1', '-l', '300'], ...random, '--rate_iops=100')
  await guest.good('sleep 3')
  await guest.good(`rm ${PORT}/subsystems/${NQN} && sleep 4`)
  await guest.good(`ln -s ${SUBSYSTEM} ${PORT}/subsystems/${NQN}`)
  await paced
  held('the subsystem goes away in mid-run and comes back: nothing is lost')
}
