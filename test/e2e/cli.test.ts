// The command as a shell sees it: exit status, what is on which stream, what is left on the disk.
import { spawn, spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const CLI = fileURLToPath(new URL('../../dist/lib/cli.js', import.meta.url))
const JOB = [
  '[j]',
  'filename=/dev/nvme0n1',
  'ioengine=libaio',
  'direct=1',
  'rw=randread',
  'bs=4k',
  'size=1m',
  'iodepth=4',
]

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'phasebit-cli-'))
  writeFileSync(join(dir, 'good.fio'), JOB.join('\n'))
})
afterEach(() => rmSync(dir, { recursive: true }))

interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

function phasebit(...args: string[]): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    cwd: dir,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

/** Nothing on standard output, one line on standard error without a stack, no file beside the job file. */
function oneLine(ended: Ended, status: number, line: RegExp): void {
  expect(ended).toMatchObject({ status, stdout: '' })
  expect(ended.stderr.split('\n').length).toBe(2)
  expect(ended.stderr).toMatch(line)
  expect(readdirSync(dir)).toEqual(['good.fio'])
}

describe('phasebit', () => {
  it('says its version and how to use it', () => {
    expect(phasebit('--version')).toMatchObject({ status: 0, stderr: '' })
    const help = phasebit('--help')
    expect(help).toMatchObject({ status: 0, stderr: '' })
    expect(help.stdout).toMatch(/usage: phasebit COMMAND[\s\S]*run +run fio job files/)
    const run = phasebit('run', '--help')
    expect(run.stdout).toMatch(/usage: phasebit run JOBFILE/)
    expect(phasebit('help', 'run').stdout).toBe(run.stdout)
  })

  it('refuses unknown commands and names the known ones', () => {
    oneLine(phasebit('fly'), 64, /^phasebit: unknown command 'fly'; the commands are run, /)
    oneLine(phasebit(), 64, /^phasebit: no command given; the commands are run, /)
  })
})

describe('phasebit run, bad input', () => {
  it.each([
    [['missing.fio'], /missing\.fio/],
    [['good.fio', '--bs=4kk'], /bs=4kk/],
    [['good.fio', '--iodepht=4'], /unknown option --iodepht.*iodepth/],
    [['good.fio', '--device', 'floppy'], /floppy.*nvme/],
    [['good.fio', '--device', 'nvme,size=1M,speed=9'], /speed/],
    [['good.fio', '--device', 'null_blk'], /nullb0/],
    [['good.fio', '--cpus=1', '--cpus_allowed=3'], /cpus_allowed=3: the machine has CPUs 0 to 0/],
    [['good.fio', '--ioengine=rbd'], /rbd/],
    [['good.fio', '--read_iolog=missing.log'], /missing\.log: cannot be read: no such file/],
    [['good.fio', '--device', 'nvme,size=1M', '--size=2m'], /ends at 1 MiB/],
  ])('%j', (args, line) => {
    oneLine(phasebit('run', ...args, '--output=out.json'), 64, line)
  })

  it('a job file from standard input, and what is wrong with it', () => {
    const from = (input: string): Ended => {
      const options = { cwd: dir, encoding: 'utf8', input } as const
      const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, 'run', '-'], options)
      return { status, stdout, stderr }
    }
    const good = '[a]\nfilename=/dev/nvme0n1\nrw=read\nsize=64k\ndirect=1\n'
    expect(from(good)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/READ: .*io=64\.0KiB/),
    })
    oneLine(from(`${good}iodepht=4\n`), 64, /^phasebit: standard input:6: iodepht=4: .*iodepth/)
    oneLine(from(''), 64, /^phasebit: standard input: the file is empty/)
  })

  it('a file without an end, as job file, included, or through a pipe', () => {
    const endless = /\/dev\/zero: cannot be read: no end after 64 MiB/
    oneLine(phasebit('run', '/dev/zero'), 64, endless)
    oneLine(phasebit('run', 'good.fio', '--read_iolog=/dev/zero'), 64, endless)
    const include = `exec "${process.execPath}" "${CLI}" run <(echo '[j]'; echo 'include /dev/zero')`
    const { status, stdout, stderr } = spawnSync('bash', ['-c', include], { encoding: 'utf8' })
    oneLine({ status, stdout, stderr }, 64, /:2: include \/dev\/zero: no end after 64 MiB/)
  })

  it('shows a stack only when asked', () => {
    expect(phasebit('run', 'missing.fio').stderr).not.toMatch(/ at /)
    const { stderr } = spawnSync(process.execPath, [CLI, 'run', 'missing.fio'], {
      cwd: dir,
      encoding: 'utf8',
      env: { ...process.env, NODE_DEBUG: 'phasebit' },
    })
    expect(stderr).toMatch(/\n +at /)
  })
})

describe('phasebit run, outputs', () => {
  const quick = ['run', 'good.fio', '--clock=virtual']

  it('finds out before the run that a place cannot be written', () => {
    oneLine(phasebit(...quick, '--output=no/out'), 1, /cannot write no\/out: its folder does not/)
    oneLine(phasebit(...quick, '--output=.'), 1, /cannot write \.: it is a folder/)
    oneLine(phasebit(...quick, '--write_lat_log=no/x'), 1, /cannot write no\/x_slat\.1\.log/)
    oneLine(phasebit(...quick, '--output=/dev/full'), 1, /\/dev\/full: no space left/)
  })

  it('writes a whole file or none', () => {
    expect(phasebit(...quick, '--output=out', '--output-format=json')).toMatchObject({
      status: 0,
      stdout: '',
    })
    expect(readdirSync(dir).sort()).toEqual(['good.fio', 'out'])
    expect(JSON.parse(readFileSync(join(dir, 'out'), 'utf8')).jobs[0].read.total_ios).toBe(256)
  })

  it('gives the same bytes for the same seed, and knows nothing of the host', () => {
    const args = [...quick, '--output-format=normal,json+,terse', '--randrepeat=0']
    const first = phasebit(...args, '--seed=7')
    expect(first.status).toBe(0)
    expect(phasebit(...args, '--seed=7').stdout).toBe(first.stdout)
    expect(phasebit(...args, '--seed=8').stdout).not.toBe(first.stdout)
    expect(first.stdout).toMatch(/"timestamp" : 0,/)
    expect(first.stdout).not.toMatch(/"host"/)
    expect(first.stdout).not.toContain(process.version)
  })

  it('fails with the job, and still reports', () => {
    const { status, stdout, stderr } = phasebit(...quick, '--max_latency=1us')
    expect(status).toBe(1)
    expect(stderr).toMatch(/^phasebit: job j: an I\/O took longer than max_latency, 1000 ns\n$/)
    expect(stdout).toMatch(/j: \(groupid=0, jobs=1\): err=\s*\d+/)
  })

  it('writes logs beside the report', () => {
    const { status } = phasebit(...quick, '--write_lat_log=l', '--write_iolog=i', '--output=o')
    expect(status).toBe(0)
    const names = ['good.fio', 'i', 'l_clat.1.log', 'l_lat.1.log', 'l_slat.1.log', 'o']
    expect(readdirSync(dir).sort()).toEqual(names)
    const lines = (name: string): string[] =>
      readFileSync(join(dir, name), 'utf8').trimEnd().split('\n')
    expect(lines('l_clat.1.log').length).toBe(256)
    expect(lines('l_clat.1.log').every(l => /^\d+, \d+, 0, 4096, 0$/.test(l))).toBe(true)
    expect(lines('i')[0]).toBe('fio version 3 iolog')
    expect(lines('i').filter(l => / read \d+ 4096$/.test(l)).length).toBe(256)
  })

  it.each(['real', 'virtual'])('ends a run whose log cannot be written, in %s time', clock => {
    symlinkSync('/dev/full', join(dir, 'l_clat.1.log'))
    const args = [`--clock=${clock}`, '--loops=512', '--write_lat_log=l', '--output=out']
    const ended = phasebit('run', 'good.fio', ...args)
    expect(ended).toMatchObject({ status: 1, stdout: '' })
    const line = /^phasebit: cannot write l_clat\.1\.log: no space left on the device\n$/
    expect(ended.stderr).toMatch(line)
    expect(readdirSync(dir).sort()).toEqual(['good.fio', 'l_clat.1.log'])
  })

  it('shows its progress only where it is wanted', () => {
    const slow = [...quick, '--rate_iops=100', '--size=1600k']
    expect(phasebit(...slow).stdout).not.toMatch(/Jobs: 1/)
    expect(phasebit(...slow, '--eta=always').stdout).toMatch(/Jobs: 1 \(f=1\).*\[r\(1\)\].*eta/)
    expect(phasebit(...slow, '--eta=always', '--output-format=json').stdout).toMatch(/^\{/)
  })

  it('reports again and again with status-interval', () => {
    const args = ['--rate_iops=100', '--size=1m', '--status-interval=1s', '--output-format=json']
    const { stdout, status } = phasebit(...quick, ...args)
    expect(status).toBe(0)
    const counts = [...stdout.matchAll(/"total_ios" : (\d+)/g)].map(m => Number(m[1]))
    const reads = counts.filter(n => n > 0)
    expect(reads.length).toBeGreaterThanOrEqual(3)
    expect(reads.at(-1)).toBe(256)
    expect([...reads].sort((a, b) => a - b)).toEqual(reads)
  })

  it('does not mind a reader that goes away', () => {
    const command = `"${process.execPath}" "${CLI}" run good.fio --clock=virtual; echo "status $?" >&2`
    const { stdout, stderr } = spawnSync('bash', ['-c', `{ ${command}; } | head -c 10`], {
      cwd: dir,
      encoding: 'utf8',
    })
    expect(stdout.length).toBe(10)
    expect(stderr).toBe('status 0\n')
  })

  it('checks without running', () => {
    expect(phasebit('run', 'good.fio', '--parse-only')).toMatchObject({ status: 0, stdout: '' })
    expect(phasebit('run', 'good.fio', '--showcmd').stdout).toMatch(/^phasebit run --name=j /)
  })
})

describe.each(['real', 'virtual'])('phasebit run, interrupted in %s time', clock => {
  it('ends with a full report and balanced books', async () => {
    mkdirSync(join(dir, 'out'))
    const args = [CLI, 'run', 'good.fio', `--clock=${clock}`, '--time_based', '--runtime=1d']
    const child = spawn(process.execPath, [...args, '--output-format=normal,json'], { cwd: dir })
    let stdout = ''
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    const status = await new Promise(resolve => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        // the header comes when the jobs are about to start
        if (stdout === '') child.kill('SIGINT')
        stdout += text
      })
      child.on('close', resolve)
    })
    expect(status).toBe(0)
    expect(stderr).toBe('phasebit: SIGINT: ending the run\n')
    const result = JSON.parse(stdout.slice(stdout.indexOf('{'), stdout.lastIndexOf('\n}') + 2))
    expect(result.phasebit.shortened).toBe('interrupted')
    expect(result.phasebit.books).toMatchObject({ balanced: true, in_flight: 0 })
    expect(result.jobs[0].error).toBe(0)
    expect(stdout).toMatch(/Run status group 0/)
  })
})
