// `phasebit gate` on what a real fio writes: JSON and JSON+, several jobs, clones.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readFioFile, unitPercentile } from '../../src/gate/fio-file.js'
import type { GateReport } from '../../src/gate/types.js'
import { installed, requireInCi } from '../unit/report/fio-tool.js'
import { type Ended, phasebitHere } from './gate-command.js'

const fio = installed('fio')
requireInCi({ fio })

const place = mkdtempSync(join(tmpdir(), 'phasebit-gate-fio-'))
afterAll(() => rmSync(place, { recursive: true }))

const JOBS = [
  '[global]',
  'ioengine=null',
  'size=64m',
  'bs=4k',
  'rate_iops=4000',
  'number_ios=400',
  '[reads]',
  'rw=randread',
  '[mix]',
  'stonewall',
  'rw=randrw',
  'numjobs=2',
  '',
].join('\n')

function runFio(name: string, format: string, jobs = JOBS): string {
  writeFileSync(join(place, 'jobs.fio'), jobs)
  const file = `${name}.json`
  const output = [`--output-format=${format}`, `--output=${file}`]
  execFileSync('fio', ['jobs.fio', ...output], { cwd: place, stdio: 'ignore' })
  return file
}

interface FioJson {
  jobs: Record<string, Record<string, unknown>>[]
}

/** A file of fio as a slower disk would have made it. */
function slowed(file: string): string {
  const json = JSON.parse(readFileSync(join(place, file), 'utf8')) as FioJson
  for (const job of json.jobs)
    for (const direction of [job['read'], job['write']])
      for (const key of ['iops', 'bw_bytes']) direction[key] = Number(direction[key]) * 0.3
  writeFileSync(join(place, `slow-${file}`), JSON.stringify(json))
  return `slow-${file}`
}

describe.skipIf(!fio)('files of a real fio', () => {
  let files: string[] = []
  beforeAll(() => {
    files = [1, 2, 3, 4, 5].map(i => runFio(`plus${i}`, 'json+'))
  })

  const gate = (...args: string[]): Promise<Ended> =>
    phasebitHere(place, ['gate', ...args, '--json=o.json'])
  const report = (): GateReport =>
    JSON.parse(readFileSync(join(place, 'o.json'), 'utf8')) as GateReport
  const verdict = (metric: string): (string | undefined)[] =>
    report()
      .results.filter(result => result.metric === metric)
      .map(result => result.verdict)

  it('compare, job by job and direction by direction, from histograms that are added', async () => {
    expect(await gate('--base', ...files, '--head', ...files)).toMatchObject({
      status: 0,
      stderr: '',
    })
    const { results, fingerprint } = report()
    expect([...new Set(results.map(result => result.benchmark))]).toEqual([
      'reads: read',
      'mix: read',
      'mix: write',
    ])
    expect(results.length).toBe(3 * 5)
    expect(fingerprint.base['fio version']).toMatch(/^fio-/)
    expect(fingerprint.base['options of job mix']).toContain('randrw')
    const [iops] = results.filter(result => result.metric === 'iops')
    expect(iops).toMatchObject({ ratio: { estimate: 1 } })
  })

  it('have the percentiles that fio itself prints of them', () => {
    const json = JSON.parse(readFileSync(join(place, files[0]), 'utf8')) as FioJson
    const read = json.jobs.find(job => String(job['jobname']) === 'reads')!['read']
    const { percentile } = read['clat_ns'] as { percentile: Record<string, number> }
    const unit = readFioFile(join(place, files[0])).units.get('reads: read')!
    expect(unit.buckets).not.toBeNull()
    for (const [percent, ns] of Object.entries(percentile))
      expect(unitPercentile(unit, Number(percent)), percent).toBe(ns)
  })

  it('regress, five of a side and one of a side', async () => {
    const slow = files.map(slowed)
    expect((await gate('--base', ...files, '--head', ...slow)).status).toBe(1)
    expect(verdict('iops')).toEqual(['regressed', 'regressed', 'regressed'])
    expect((await gate('--base', files[0], '--head', slow[0])).status).toBe(1)
  })

  it('may be plain JSON, where clones have no percentiles', async () => {
    const plain = runFio('plain', 'json')
    const ended = await gate('--base', plain, '--head', plain)
    expect(ended).toMatchObject({ status: 0, stderr: '' })
    expect(ended.stdout).toMatch(/mix: read: without p50, p99, p99\.9: .*use json\+/)
    expect(verdict('p99')).toEqual(['unclear'])
  })

  it('of other jobs are refused, with both fingerprints', async () => {
    const other = runFio('other', 'json', JOBS.replace('rate_iops=4000', 'rate_iops=8000'))
    const { status, stdout, stderr } = await gate('--base', files[0], '--head', other)
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' })
    expect(stderr).toMatch(/fingerprints differ.*4000.*8000/)
    expect(stderr.trimEnd().split('\n').length).toBe(1)
  })
})
