// The command line of `phasebit run`.

import { describe, expect, it } from 'vitest'
import type { RunPlan } from '../../../src/workload/job.js'
import { shellQuote } from '../../../src/workload/showcmd.js'
import { shellWords } from '../../fuzz/jobfile.js'
import { errorOf, planOf } from './plan-of.js'

const FILE = '[a]\nfilename=/dev/nvme0n1\nsize=1m\ndirect=1\n'
const plan = (...argv: string[]): RunPlan => planOf(['j.fio', ...argv], { 'j.fio': FILE })
const error = (...argv: string[]): string => errorOf(() => plan(...argv))

describe('options of the command', () => {
  it('defaults', () => {
    expect(plan()).toMatchObject({
      notes: [],
      devices: [],
      clock: 'real',
      kernel: '4.19',
      seed: 0,
      cpus: null,
      parseOnly: false,
      showcmd: false,
      readonly: false,
      maxJobs: 4096,
      maxRuntimeNs: null,
      maxIo: null,
      shard: null,
      outputFormats: ['normal'],
      output: null,
      eta: 'auto',
      statusIntervalNs: null,
      terseVersion: 3,
      lat: 'batch',
      stages: false,
      trace: null,
      traceFormat: 'graph',
    })
  })

  it('all of them, by = and by the next word', () => {
    const wanted = {
      clock: 'virtual',
      kernel: '4.9',
      seed: 7,
      cpus: 3,
      maxJobs: 9,
      maxRuntimeNs: 2e9,
      maxIo: 1000,
      shard: { index: 2, count: 4 },
      outputFormats: ['json+', 'terse'],
      output: 'o.txt',
      eta: 'never',
      statusIntervalNs: 5e8,
      terseVersion: 5,
      lat: 'every',
      trace: 't.json',
      traceFormat: 'perfetto',
    }
    const options = {
      clock: 'virtual',
      kernel: '4.9',
      seed: '7',
      cpus: '3',
      'max-jobs': '9',
      'max-runtime': '2',
      'max-io': '1000',
      shard: '2/4',
      'output-format': 'json+,terse',
      output: 'o.txt',
      eta: 'never',
      'status-interval': '500ms',
      'terse-version': '5',
      lat: 'every',
      trace: 't.json',
      'trace-format': 'perfetto',
    }
    const pairs = Object.entries(options)
    expect(plan(...pairs.map(([key, value]) => `--${key}=${value}`))).toMatchObject(wanted)
    expect(plan(...pairs.flatMap(([key, value]) => [`--${key}`, value]))).toMatchObject(wanted)
    expect(plan('--parse-only', '--showcmd', '--readonly', '--stages')).toMatchObject({
      parseOnly: true,
      showcmd: true,
      readonly: true,
      stages: true,
    })
    expect(plan('--minimal').outputFormats).toEqual(['terse'])
    expect(plan('--seed=1', '--seed=2').seed).toBe(2)
  })

  it('refuses what is unknown, incomplete or out of range', () => {
    expect(error('--sectoin=a')).toBe(
      'command line: unknown option --sectoin=a; did you mean section?',
    )
    expect(error('--iodept=4')).toContain('did you mean iodepth?')
    expect(error('-x')).toBe('command line: unknown option -x')
    expect(error('--clock')).toBe('command line: --clock needs a value')
    expect(error('--clock', '--stages')).toBe('command line: --clock needs a value')
    expect(error('--stages=1')).toBe('command line: --stages takes no value')
    expect(error('--clock=fast')).toContain('--clock=fast: must be one of real, virtual')
    expect(error('--kernel=5.10')).toContain('must be one of 4.19, 4.9')
    expect(error('--cpus=0')).toBe('command line: --cpus=0: must be 1 to 128')
    expect(error('--seed=-1')).toContain('is negative')
    expect(error('--shard=5/4')).toContain('must be I/N')
    expect(error('--shard=0/4')).toContain('must be I/N')
    expect(error('--max-io=0')).toContain('must be 1 to')
    expect(error('--max-runtime=0')).toContain('must be more than 0')
    expect(error('--status-interval=0')).toContain('must be more than 0')
    expect(error('--output-format=xml')).toContain('must be one of normal, json, json+, terse')
    expect(error('--terse-version=9')).toContain('must be one of 2, 3, 4, 5')
    expect(error('--output=')).toContain('the value is empty')
    expect(error('--lat=some')).toContain('must be one of none, sampled, batch, every')
    expect(error('--trace-format=json')).toBe('command line: --trace-format needs --trace=FILE')
    expect(error('--trace-format=xml', '--trace=x')).toContain(
      'must be one of json, graph, perfetto',
    )
  })

  it('refuses a command line without jobs', () => {
    expect(errorOf(() => planOf([]))).toBe('command line: no job file and no --name')
    expect(errorOf(() => planOf(['--runtime=2']))).toBe('command line: no job file and no --name')
    expect(errorOf(() => planOf(['g'], { g: '[global]\nbs=4k\n' }))).toBe(
      'g: no job, only global sections',
    )
    expect(errorOf(() => planOf(['nope.fio']))).toBe('nope.fio: cannot be read: no such file')
  })

  it('--section picks sections, all globals stay', () => {
    const files = { x: '[global]\nsize=1m\n[a]\n[b]\nbs=8k\n[c]\n' }
    const names = (...argv: string[]): string[] =>
      planOf(['x', ...argv], files).jobs.map(job => job.name)
    expect(names('--section=b')).toEqual(['b'])
    expect(names('--section', 'c', '--section=a')).toEqual(['a', 'c'])
    expect(errorOf(() => names('--section=z'))).toBe('command line: --section=z: no such section')
  })

  it('--readonly refuses jobs that change data', () => {
    expect(plan('--readonly').jobs).toHaveLength(1)
    expect(error('--readonly', '--rw=randrw')).toBe(
      'j.fio:1: [a]: rw=randrw changes data, but --readonly was given',
    )
    expect(error('--readonly', '--rw=trim')).toContain('changes data')
  })

  it('--warnings-fatal makes the first warning an error, notes stay notes', () => {
    expect(error('--warnings-fatal', '--time_based')).toBe(
      'j.fio:1: [a]: time_based without a runtime has no effect (--warnings-fatal)',
    )
    expect(plan('--warnings-fatal', '--ioengine=io_uring').notes).toHaveLength(1)
  })
})

describe('fio options on the command line', () => {
  it('before --name they override what files say, and a note names the loser', () => {
    const files = {
      x: '[global]\nruntime=9\nsize=1m\ndirect=1\nfilename=/dev/nvme0n1\n[a]\nbs=8k\n[b]\n',
    }
    const p = planOf(['x', '--runtime=2', '--bs', '16k', '--filename=/dev/nullb0'], files)
    expect(p.jobs.map(job => [job.runtimeNs, job.bsMin[0], job.files.map(f => f.name)])).toEqual([
      [2e9, 16384, ['/dev/nullb0']],
      [2e9, 16384, ['/dev/nullb0']],
    ])
    expect(p.notes).toEqual([
      '--runtime: overrides what job files say (x:2); in fio the file would win',
      '--bs: overrides what job files say (x:7); in fio the file would win',
      '--filename: overrides what job files say (x:5); in fio the file would win',
    ])
    expect(p.jobs[0]!.options).toMatchObject({ bs: '16k', runtime: '2', filename: '/dev/nullb0' })
    expect(planOf(['x', '--runtime=9'], files).notes).toEqual([])
  })

  it('after --name they belong to that job; those before are its defaults', () => {
    const p = planOf([
      '--bs=32k',
      '--size=1m',
      '--direct=1',
      '--name=x',
      '--rw=randread',
      '--name',
      'y',
      '--bs=2k',
      '--group_reporting',
    ])
    expect(p.jobs.map(job => [job.name, job.rw, job.bsMin[0], job.groupReporting])).toEqual([
      ['x', 'randread', 32768, false],
      ['y', 'read', 2048, true],
    ])
    expect(p.globalOptions).toEqual({ bs: '32k', size: '1m', direct: '1' })
    expect(p.jobs[0]!.source).toBe('command line')
  })

  it('jobs of the command line come first and start together with the first file', () => {
    const p = planOf(['j.fio', '--name=x', '--size=1m'], { 'j.fio': FILE })
    expect(p.jobs.map(job => [job.name, job.phase])).toEqual([
      ['x', 0],
      ['a', 0],
    ])
  })

  it('a flag does not swallow the next word', () => {
    expect(
      planOf(['--time_based', 'j.fio', '--runtime', '3'], { 'j.fio': FILE }).jobs[0],
    ).toMatchObject({
      timeBased: true,
      runtimeNs: 3e9,
    })
  })

  it('their errors name the command line', () => {
    expect(error('--bs=8x')).toBe("command line: bs=8x: unknown unit 'x'; units are k, m, g, t, p")
    expect(error('--bs')).toBe('command line: bs: needs a value (read,write,trim)')
    expect(error('--exec_prerun=rm')).toContain('command line: exec_prerun=rm: refused')
    expect(error('--name')).toBe('command line: --name needs a name')
    expect(error('--name=')).toBe('command line: --name needs a name')
  })

  it('keeps characters that are comments and variables in files', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's business, not ours
    const p = planOf(['--name=x', '--size=1m', '--description=a;b#c ${X}'], {}, { X: '1' })
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as above
    expect(p.jobs[0]!.description).toBe('a;b#c ${X}')
  })
})

describe('devices and machine', () => {
  it('--device is repeatable, --machine reads a file, the command line wins', () => {
    const machine = JSON.stringify({
      cpus: 2,
      clock: 'virtual',
      kernel: '4.9',
      seed: 5,
      mem: '1G',
      devices: ['nvme,size=1G'],
    })
    const read = (...argv: string[]): RunPlan =>
      planOf(['j.fio', '--machine=m.json', ...argv], { 'j.fio': FILE, 'm.json': machine })
    expect(read()).toMatchObject({ cpus: 2, clock: 'virtual', kernel: '4.9', seed: 5 })
    expect(read().machine.memBytes).toBe(2 ** 30)
    const mixed = read(
      '--device=nvme,size=2G',
      '--device',
      'null_blk',
      '--clock=real',
      '--cpus=4',
      '--seed=0',
    )
    expect(mixed).toMatchObject({ cpus: 4, clock: 'real', seed: 0 })
    expect(mixed.devices.map(device => device.name)).toEqual(['nvme0n1', 'nvme1n1', 'nullb0'])
  })

  it('a bad device or machine file is one line', () => {
    expect(error('--device=nvme,sise=4G')).toContain('--device nvme: unknown key sise; there are ')
    expect(error('--machine=m.json')).toBe('m.json: cannot be read: no such file')
  })

  it('the kernel must have a driver for each device', () => {
    expect(error('--device=nvme,ocssd=2.0', '--device=nvme,size=1G', '--kernel=4.9')).toBe(
      '--device nvme,ocssd=2.0: Linux 4.9 has no driver for it',
    )
    expect(error('--device=nvme,ocssd=1.2', '--device=pblk,parent=nvme0n1', '--kernel=4.9')).toBe(
      '--device pblk: Linux 4.9 has no driver for it',
    )
  })

  it('where has no meaning in virtual time', () => {
    expect(plan('--device=nvme,size=1G,where=thread', '--clock=virtual').notes).toEqual([
      '--device nvme: where=thread has no meaning in virtual time',
    ])
  })

  it('$ncpus is --cpus, or the host, or four in virtual time', () => {
    const clones = (...argv: string[]): number =>
      planOf(['j', ...argv], { j: '[a]\nsize=1m\nnumjobs=$ncpus\n' }).jobs.length
    expect(clones()).toBe(6)
    expect(clones('--cpus=3')).toBe(3)
    expect(clones('--clock=virtual')).toBe(4)
  })
})

describe('--showcmd', () => {
  it('writes each job with what it inherits, walls included', () => {
    const p = planOf(['x', 'y'], {
      x: '[global]\nsize=1m\nfilename=a b\n[one]\nnorandommap\n',
      y: "[it's]\nsize=1m\nname=two\n",
    })
    expect(p.showcmdLines).toEqual([
      "phasebit run --name=one --size=1m '--filename=a b' --norandommap --name=two --size=1m --stonewall",
    ])
    const again = planOf(shellWords(p.showcmdLines[0]!).slice(2))
    const essence = (plan: RunPlan): unknown =>
      plan.jobs.map(job => ({ ...job, source: '', options: {}, globalOptions: {} }))
    expect(essence(again)).toEqual(essence(p))
  })

  it('quotes for a shell', () => {
    expect(['a=b', 'a b', "it's", ''].map(shellQuote)).toEqual(['a=b', "'a b'", "'it'\\''s'", "''"])
  })
})
