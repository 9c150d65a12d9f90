// Makes the code of the program (src/cli/program.ts): runs what users run most, then keeps what the engine has compiled.
// usage: node scripts/code-cache.mjs PROGRAM.cjs
import { Program } from '../dist/src/cli/program.js'

const JOB = [
  '--name=a',
  '--filename=/dev/nvme0n1',
  '--ioengine=libaio',
  '--direct=1',
  '--rw=randrw',
]
const IOS = ['--bs=4k', '--iodepth=8', '--size=1m', '--number_ios=64']
const PROBED = '--device=nvme,size=64M,hmb=1M'

const program = new Program(process.argv[2])
const { main } = program.open()
for (const more of [
  [],
  ['--output-format=json'],
  ['--clock=virtual'],
  ['--clock=virtual', PROBED],
]) {
  await main(['run', ...more, ...JOB, ...IOS])
  if (process.exitCode) throw new Error('a job that makes the code failed')
}
await main(['bench', 'probe', '--queues=2'])
program.saveCode()
