// pblk in the core (assembly/pblk.ts) and in TypeScript does the same: a traced run has TypeScript's half only, so every job
// is run both ways, and each figure of the result is compared, to the nanosecond.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { succeed } from './run.js'

const SMALL = 'groups=2,pus=2,chunks=40,clba=64,ws-opt=4,mw-cunits=8'
const QUICK = 'read-time=0,program-time=0,erase-time=0,transfer-time=0'

const jobs = fc.record({
  rw: fc.constantFrom('randread', 'randwrite', 'randrw', 'write', 'read', 'trimwrite'),
  bs: fc.constantFrom('4k', '4k', '4k', '8k', '4k-64k'),
  depth: fc.constantFrom(1, 4, 32, 64),
  batch: fc.constantFrom(1, 4, 16),
  cpus: fc.constantFrom(1, 2),
  times: fc.constantFrom(QUICK, QUICK, ''),
  fault: fc.constantFrom('', '', 'write-fail=1'),
  target: fc.constantFrom('', ',op=40', ',op=40'),
  more: fc.constantFrom('', 'fsync=8', 'verify=crc32c', 'zero_buffers=1', 'numjobs=2'),
  ios: fc.integer({ min: 50, max: 900 }),
})

it('the same jobs have the same results in the core and in TypeScript', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pblk-'))
  try {
    await fc.assert(
      fc.asyncProperty(jobs, async one => {
        const device = ['nvme,ocssd=2.0', SMALL, one.times, one.fault].filter(Boolean).join(',')
        const head = 'filename=/dev/pblk0\nsize=4m\ndirect=1\nioengine=libaio\n'
        const fill = one.rw.includes('write') ? '' : '[fill]\nrw=write\nbs=16k\nsize=3m\n'
        // who only reads would find no headers in what [fill] wrote
        const more = /read$/.test(one.rw) && one.more.startsWith('verify') ? '' : one.more
        const load = `[load]\nstonewall\nrw=${one.rw}\nbs=${one.bs}\niodepth=${one.depth}\niodepth_batch=${one.batch}\nnorandommap=1\nnumber_ios=${one.ios}\n${more}\n`
        const files = { 'j.fio': `[global]\n${head}${fill}${load}` }
        const target = `pblk,parent=nvme0n1${one.target}`
        const words = ['j.fio', '--clock=virtual', `--cpus=${one.cpus}`]
        const devices = ['--device', device, '--device', target]
        const traced = ['--trace', join(folder, 'trace.json')]
        const [core, script] = [
          await succeed([...words, ...devices], files),
          await succeed([...words, ...devices, ...traced], files),
        ]
        expect(core.jobs).toEqual(script.jobs)
        expect(core.phasebit.books).toEqual(script.phasebit.books)
      }),
      { numRuns: 12, seed: 3 },
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})
