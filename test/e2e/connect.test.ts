// phasebit nvme over real sockets: discovery, connect, jobs with verification on the connected disk, a target that goes
// away and comes back in the middle.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  connectCommand,
  disconnectAllCommand,
  disconnectCommand,
  parseConnect,
} from '../../src/cli/nvme-connect.js'
import { listSubsys } from '../../src/cli/nvme-subsys.js'
import { OutputError, UserError } from '../../src/core/errors.js'
import {
  discover,
  fabricDisk,
  fabricPlan,
  type FabricTarget,
  namespacesOf,
  probeFabric,
} from '../../src/workload/connect.js'
import { parseFabric } from '../../src/machine/spec-fabric.js'
import { connectEmulated, type EmulatedTarget } from '../../src/workload/emulated-fabric.js'
import { executePlan, type RunOutcome } from '../../src/workload/run.js'
import { openTarget, type Target } from '../../src/workload/serve.js'

const NQN = 'nqn.2026-11.io.phasebit:e2e'
const folder = mkdtempSync(join(tmpdir(), 'phasebit-connect-'))
const SIZE = 64 * 2 ** 20
let target: Target

function serve(port: number): Promise<Target> {
  return openTarget({
    address: '127.0.0.1',
    port,
    nqn: NQN,
    devices: [`nvme,size=${SIZE},model=ram`],
    stores: [join(folder, 'disk')],
  })
}

beforeAll(async () => {
  target = await serve(0)
})

afterAll(async () => {
  await target.close()
  rmSync(folder, { recursive: true })
})

function place(options: readonly string[] = []): FabricTarget {
  return { traddr: '127.0.0.1', trsvcid: String(target.port), nqn: NQN, options }
}

/** Runs jobs on the connected disk. */
function jobs(
  args: string,
  options: readonly string[] = [],
  onStart: () => void = () => {},
): Promise<RunOutcome> {
  const words = `--filename=/dev/nvme0n1 --ioengine=libaio --direct=1 ${args}`.split(' ')
  const context = { readFile: () => Buffer.alloc(0), env: {}, hostCpus: 1 }
  const plan = fabricPlan(['--name=a', ...words], { bytes: SIZE, lbaShift: 9 }, context)
  return executePlan(plan, { attachment: fabricDisk(place(options)), onStart })
}

describe('nvme discover and connect', () => {
  it('find the subsystem and its namespace', async () => {
    const { port } = target
    const entries = await discover({ traddr: '127.0.0.1', trsvcid: String(port), options: [] })
    expect(entries).toEqual([
      {
        trtype: 3,
        adrfam: 1,
        subtype: 2,
        treq: 4,
        portid: 1,
        trsvcid: String(port),
        subnqn: NQN,
        traddr: '127.0.0.1',
      },
    ])
    expect(await probeFabric(place())).toEqual([{ nsid: 1, bytes: SIZE, lbaShift: 9 }])
  })

  it('there is never a connection of another process to end', async () => {
    expect(await disconnectAllCommand([])).toBe(0)
    await expect(disconnectAllCommand(['-n'])).rejects.toThrow('what is -n?')
    expect(() => disconnectCommand(['-d', 'nvme0'])).toThrow('no such device')
  })

  it('say what was wrong', async () => {
    await expect(probeFabric({ ...place(), nqn: 'nqn.none' })).rejects.toThrow(OutputError)
    await expect(probeFabric({ ...place(), nqn: 'nqn.none' })).rejects.toThrow('subsysnqn')
    await expect(probeFabric(place(['queue_size=2']))).rejects.toThrow(UserError)
    const args = ['-t', 'tcp', '-a', '10.0.0.1', '-n', 'nqn.x', '-Q', '64', '-g', 'job.fio']
    expect(parseConnect('connect', args, true)).toEqual({
      transport: 'tcp',
      target: {
        traddr: '10.0.0.1',
        trsvcid: '4420',
        nqn: 'nqn.x',
        options: ['queue_size=64', 'hdr_digest'],
      },
      rest: ['job.fio'],
    })
    expect(() => parseConnect('connect', ['-t', 'rdma'], true)).toThrow(UserError)
    expect(() => parseConnect('connect', ['-t', 'tcp', '-a', 'x'], true)).toThrow('-n NQN')
  })
})

describe('fabrics that are emulated', () => {
  const emulated = (transport: EmulatedTarget['transport'], more: Partial<EmulatedTarget> = {}) =>
    connectEmulated(
      {
        transport,
        nqn: NQN,
        traddr: '',
        trsvcid: '',
        hostTraddr: '',
        options: ['queue_size=64'],
        devices: ['nvme,size=64m,model=ram'],
        era: '4.19',
        ...more,
      },
      ctrl => {
        const address = ctrl.ops.get_address!(ctrl).trim()
        return [listSubsys([{ ctrl, address }], false), namespacesOf(ctrl)] as const
      },
    )
  const nn = (n: number) => `nn-0x100000000000000${n}:pn-0x200000000000000${n}`

  it.each([
    ['rdma', { traddr: '192.168.7.1', trsvcid: '4421' }, 'traddr=192.168.7.1,trsvcid=4421'],
    ['fc', { traddr: nn(1), hostTraddr: nn(2) }, `traddr=${nn(1)},host_traddr=${nn(2)}`],
    ['loop', {}, ''],
  ] as const)('%s: a target is where it was asked for', async (transport, place, address) => {
    const subsystem = `nvme-subsys0 - NQN=${NQN}\n\\\n +- nvme0 ${transport} ${address} live\n`
    const namespaces = [{ nsid: 1, bytes: SIZE, lbaShift: 9 }]
    expect(await emulated(transport, place)).toEqual([subsystem, namespaces])
  })

  it('RDMA by a fabric with latency and one key to all memory', async () => {
    const fabric = parseFabric('--fabric', 'latency=20us,jitter=5us,seed=3,register_always=0')
    expect(fabric).toEqual({ latencyNs: 20e3, jitterNs: 5e3, seed: 3, registerAlways: false })
    const [, namespaces] = await emulated('rdma', { traddr: '10.0.0.2', fabric })
    expect(namespaces).toEqual([{ nsid: 1, bytes: SIZE, lbaShift: 9 }])
  })

  it.each([
    ['latency=10', 'a time'],
    ['latency=600ms,jitter=500ms', 'a second in all'],
    ['speed=1', 'unknown key speed'],
    ['latency=1us,latency=2us', 'twice'],
  ])('--fabric %s is refused', (text, why) => {
    expect(() => parseFabric('nvme connect --fabric', text)).toThrow(why)
  })

  it('--fabric is for RDMA', async () => {
    const place = ['-t', 'loop', '-n', NQN, '--fabric', 'latency=1us']
    await expect(connectCommand(place)).rejects.toThrow('only RDMA')
    await expect(connectCommand(['-t', 'rdma', '-a', 'x', '-n', NQN, '--fabric'])).rejects.toThrow(
      'needs a value',
    )
  })

  it('the driver says what it does not take', async () => {
    await expect(emulated('rdma', { options: ['nr_write_queues=2'] })).rejects.toThrow(
      'nr_write_queues=2',
    )
    await expect(emulated('fc', { traddr: 'nn-1', hostTraddr: nn(2) })).rejects.toThrow(UserError)
    await expect(emulated('loop', { devices: ['nvme', 'nvme'] })).rejects.toThrow('one disk')
  })
})

describe('jobs on a connected disk', () => {
  it.each([
    ['plain', []],
    ['with both digests', ['hdr_digest', 'data_digest']],
  ])('write and verify, %s', async (_, options) => {
    const args =
      '--rw=randwrite --bs=4k-64k --bsrange=4k-64k --size=8m --iodepth=16 --verify=crc32c'
    const { result, failures } = await jobs(args.replace('--bs=4k-64k ', ''), options)
    expect(failures).toEqual([])
    expect(result.jobs[0]!.write.ioBytes).toBe(8 * 2 ** 20)
    expect(result.jobs[0]!.read.ioBytes).toBe(8 * 2 ** 20)
    expect(result.phasebit.books.balanced).toBe(true)
  })

  it('say when they ran, and what they cost this host, not what an emulated CPU would take', async () => {
    const before = process.cpuUsage()
    const now = Date.now()
    const { result } = await jobs('--rw=randread --bs=4k --size=8m --iodepth=32')
    expect(result.phasebit.clock).toBe('real')
    // of two clocks, read one after the other
    expect(Math.abs(result.epochMs - Date.now())).toBeLessThan(Date.now() - now + 1000)
    const { user, system } = process.cpuUsage(before)
    const { usrNs, sysNs } = result.jobs[0]!
    expect(usrNs).toBeGreaterThan(1e6)
    expect(usrNs + sysNs).toBeLessThanOrEqual((user + system) * 1000)
  })

  it('flush and trim', async () => {
    const { result, failures } = await jobs(
      '--rw=randtrimwrite --bs=4k --size=1m --iodepth=4 --fsync=8',
    )
    expect(failures).toEqual([])
    expect(result.jobs[0]!.trim.totalIos).toBe(256)
  })

  it('go on when the target was away, and lose nothing', async () => {
    const { port } = target
    const args = '--rw=write --bs=16k --size=16m --iodepth=8 --verify=crc32c --rate_iops=600'
    let begun = (): void => {}
    const start = new Promise<void>(resolve => (begun = resolve))
    const run = jobs(args, ['reconnect_delay=1'], begun)
    await Promise.race([start, run])
    await new Promise(resolve => setTimeout(resolve, 300))
    await target.close()
    await new Promise(resolve => setTimeout(resolve, 200))
    target = await serve(port)
    const { result, failures } = await run
    expect(failures).toEqual([])
    expect(result.jobs[0]!.write.totalIos).toBe(1024)
    expect(result.jobs[0]!.read.totalIos).toBe(1024)
    expect(result.phasebit.books.balanced).toBe(true)
  })
})
