// phasebit lnvm, and the same as an API: devices, their attributes, targets made and removed; what is refused, in one line.

import { describe, expect, test } from 'vitest'
import { lnvmCommand } from '../../src/cli/lnvm.js'
import { UserError } from '../../src/core/errors.js'
import { openLightnvm } from '../../src/workload/lnvm-machine.js'
import { stdoutOf } from './capture.js'

const SMALL = ['--device', 'nvme,ocssd=2.0,groups=2,pus=2,chunks=40,clba=512']

const out = (...args: string[]): Promise<string> => stdoutOf(lnvmCommand, args)

async function refused(...args: string[]): Promise<string> {
  const error = await lnvmCommand(args).then(
    () => null,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(UserError)
  expect((error as UserError).exitStatus).toBe(64)
  expect((error as UserError).message).not.toContain('\n')
  return (error as UserError).message
}

const create = (...args: string[]): string[] => [
  ...['create', '-t', 'pblk', '-d', 'nvme0n1', '-n', 'p', ...args],
  ...(args.includes('--device') ? [] : SMALL),
]

describe('phasebit lnvm', () => {
  test('info and list, in the columns of nvme-cli', async () => {
    const info = await out('info', ...SMALL)
    expect(info).toContain('LightNVM (1,0,0). ')
    expect(info).toContain('target type(s) registered.\nType\tVersion\n')
    expect(info).toContain('pblk\t(1,0,0)\n')
    expect(await out('list', ...SMALL)).toBe(
      'Number of devices: 1\nDevice      \tBlock manager\tVersion\nnvme0n1     \tgennvm      \t(1,0,0)\n',
    )
    const two = await out('list', '-o', 'json', ...SMALL, '--device', 'nvme', ...SMALL)
    expect(JSON.parse(two)).toEqual({
      devices: ['nvme0n1', 'nvme2n1'].map(name => ({
        name,
        manager: 'gennvm',
        version: [1, 0, 0],
      })),
      targets: [],
    })
  })

  test('sysfs: the attributes of a device of each revision', async () => {
    const now = JSON.parse(await out('sysfs', '/dev/nvme0n1', '-o', 'json', ...SMALL)) as object
    expect(now).toEqual({
      version: '2.0',
      capabilities: '0',
      read_typ: '70000',
      read_max: '100000',
      groups: '2',
      punits: '2',
      chunks: '40',
      clba: '512',
      ws_min: '4',
      ws_opt: '8',
      maxoc: '160',
      maxocpu: '40',
      mw_cunits: '24',
      write_typ: '1900000',
      write_max: '3500000',
      reset_typ: '3000000',
      reset_max: '3000000',
    })
    const old = await out('sysfs', 'nvme0n1', '--device', 'nvme,ocssd=1.2')
    expect(old).toContain('multiplane_modes   : 0x00020202\n')
    // Channel, LUN, plane, block, page, sector: offset and length of each.
    expect(old).toContain('ppa_format         : 0x1300110202010c0503090002\n')
  })

  test('sysfs: the attributes of a pblk, read and written', async () => {
    const pblk = [...SMALL, '--device', 'pblk,parent=nvme0n1']
    const words = ['max_sec_per_write=16', 'write_amp_trip=0', 'gc_force=1']
    const text = await out('sysfs', '/dev/pblk0', ...words, ...pblk)
    expect(text).toMatch(/^write_luns {8}: pblk: pos:0, ch:0, lun:0 - 0\n {20}pblk: pos:1,/)
    expect(text).toContain('write_amp_mileage : user:0 gc:0 pad:0 WA:NaN\n')
    expect(text).toContain('max_sec_per_write : 16\n')
    expect(text).toContain('gc_state          : gc_enabled=1, gc_active=1\n')
    expect(text).not.toContain('gc_force ')
    expect(await refused('sysfs', '/dev/pblk0', 'max_sec_per_write=12', ...pblk)).toBe(
      "lnvm sysfs: /dev/pblk0: max_sec_per_write: the kernel refuses '12' (error 22)",
    )
    expect(await refused('sysfs', '/dev/pblk0', 'padding_dist', ...pblk)).toContain(
      "'padding_dist' is one word too many",
    )
  })

  test('create: what was made; remove: what is left', async () => {
    const made = await out(...create('-b', '0', '-e', '1', '-o', '40', '-f'))
    expect(made).toMatch(/^Target\tType\tDevice\tLUNs\tBytes\np\tpblk\tnvme0n1\t0-1\t\d+\n$/)
    const json = JSON.parse(await out(...create('--output-format=json', '--over-prov=40')))
    expect(json).toMatchObject({ name: 'p', type: 'pblk', device: 'nvme0n1', luns: [0, 3] })
    const pblk = [
      '--device',
      'pblk,parent=nvme0n1,luns=0-1',
      '--device',
      'pblk,parent=nvme0n1,luns=2-3',
    ]
    expect(await out('list', ...SMALL, ...pblk)).toMatch(/pblk0\tpblk.*0-1.*\npblk1\tpblk.*2-3/)
    const left = await out('remove', '-n', 'pblk0', '-o', 'json', ...SMALL, ...pblk)
    expect(JSON.parse(left)).toMatchObject({ removed: 'pblk0', targets: [{ name: 'pblk1' }] })
  })

  test('rrpc, on a device that keeps a table', async () => {
    const old = 'nvme,ocssd=1.2,l2p=1,planes=1,sectors=1,pages=64,blocks=16'
    const rrpc = ['create', '-t', 'rrpc', '-d', 'nvme0n1', '-n', 'r', '--device', old]
    // Of 16 blocks of 4 LUNs: 12, less a tenth.
    expect(await out(...rrpc)).toContain(`r\trrpc\tnvme0n1\t0-3\t${2763 * 4096}\n`)
    expect(await refused(...rrpc, '-o', '20')).toContain('rrpc has neither')
    expect(await refused(...rrpc, '-f')).toContain('rrpc has neither')
    expect(await refused(...rrpc.slice(0, -1), old.replace(',l2p=1', ''))).toContain(
      'keeps a table',
    )
    expect(await refused(...rrpc.slice(0, -1), old.replace('pages=64', 'pages=513'))).toContain(
      '513 sectors in a block, at most 512',
    )
    const listed = await out('list', '--device', old, '--device', 'rrpc,parent=nvme0n1,luns=0-1')
    expect(listed).toMatch(/rrpc0\trrpc\tnvme0n1\t0-1/)
  })

  test('what a target may be', async () => {
    expect(await refused(...create('-b', '3', '-e', '1'))).toBe(
      'lnvm create: LUNs 3 to 1: nvme0n1 has 0 to 3',
    )
    expect(await refused(...create('-b', '0', '-e', '4'))).toContain('nvme0n1 has 0 to 3')
    expect(await refused(...create('-b', '1'))).toContain('go together; nvme0n1 has 0 to 3')
    expect(await refused(...create('-b', '1', '-e', '2'))).toContain('begin inside of a channel')
    expect(await refused(...create('-b', '0', '-e', '2'))).toMatch(/unbalanced/i)
    expect(await refused(...create('-o', '81'))).toContain('3 to 80 percent')
    expect(await refused(...create('-o', '2'))).toContain('3 to 80 percent')
    expect(await refused(...create('-t', 'pblc'))).toMatch(
      /'pblc' is no target type; there are .*pblk/,
    )
    expect(await refused(...create('-d', 'nvme1n1'))).toContain('open-channel devices are nvme0n1')
    expect(await refused(...create('-n', 'nvme0n1'))).toContain('the name nvme0n1 is taken')
    expect(await refused(...create('-n', '9x'))).toContain('beginning with a letter')
    const tiny = ['--device', 'nvme,ocssd=2.0,groups=1,pus=1,chunks=4']
    expect(await refused(...create(...tiny))).toMatch(/too small/)
    const taken = [...SMALL, '--device', 'pblk,parent=nvme0n1,luns=0-1']
    expect(await refused(...create('-b', '1', '-e', '1', ...taken))).toBe(
      'lnvm create: LUNs 1 to 1 are shared with pblk0, which has 0 to 1',
    )
    expect(await refused(...create('-n', 'pblk0', '-b', '2', '-e', '3', ...taken))).toContain(
      'is taken',
    )
  })

  test('words and options', async () => {
    expect(await refused()).toContain('the words are list, info, sysfs, create, remove')
    expect(await refused('creat')).toContain("unknown word 'creat'")
    expect(await refused('list', '--devise=nvme')).toContain('--device')
    expect(await refused('list', '-o', 'xml')).toContain("'xml' is none of normal, json")
    expect(await refused('list', 'nvme0n1')).toContain('one word too many')
    expect(await refused('sysfs')).toContain('which device?')
    expect(await refused('sysfs', '/dev/nvme7n1', ...SMALL)).toContain(
      'open-channel devices are nvme0n1',
    )
    expect(await refused('create', ...SMALL)).toContain('--target-type is needed')
    expect(await refused('create', '-t')).toContain('needs a value')
    expect(await refused(...create('-b', 'one'))).toContain("'one' is no number")
    expect(await refused('remove', '-n', 'pblk0', ...SMALL)).toContain(
      'no target pblk0; there is none',
    )
    expect(await refused('list', '--device', 'nvme')).toContain('needs an open-channel device')
    expect(await refused('list', '--device', 'null_blk')).toContain('needs an open-channel device')
    expect(await refused('list', '--device', 'nvme,ocssd=2.0,ws-opt=6')).toContain('not a multiple')
  })
})

test('openLightnvm: targets last as long as the machine', async () => {
  const m = await openLightnvm([SMALL[1]!])
  const what = { type: 'pblk', device: '/dev/nvme0n1', op: 40 }
  const a = await m.create({ ...what, name: 'a', begin: 0, end: 1 })
  const b = await m.create({ ...what, name: 'b', begin: 2, end: 3 })
  expect(a.bytes).toBe(b.bytes)
  expect(m.targets.map(({ name, luns }) => [name, ...luns])).toEqual([
    ['a', 0, 1],
    ['b', 2, 3],
  ])
  await expect(m.create({ ...what, name: 'c' })).rejects.toThrow(/shared with a/)
  await m.remove('a')
  await m.create({ ...what, name: 'c', begin: 0, end: 1 })
  await expect(m.remove('a')).rejects.toThrow('no target a; there are b, c')
  await m.stop()
})

test('openLightnvm: quirks are those of one target', async () => {
  const wide = `${SMALL[1]!},ws-opt=4,mw-cunits=64`
  const m = await openLightnvm([
    wide,
    'pblk,parent=nvme0n1,luns=0-1,op=40',
    'pblk,parent=nvme0n1,luns=2-3,op=40,quirks=4.19',
  ])
  const ring = (path: string): string => m.attributes(path).write_buffer!.split('\t')[0]!
  expect([ring('pblk0'), ring('pblk1')]).toEqual(['256', '128'])
  await m.stop()
})

test('openLightnvm: attributes of targets', async () => {
  const old = 'nvme,ocssd=1.2,l2p=1,planes=1,sectors=1,pages=64,blocks=16'
  const targets = ['pblk,parent=nvme0n1', 'rrpc,parent=nvme1n1']
  const m = await openLightnvm([SMALL[1]!, old, ...targets])
  m.setAttribute('pblk0', 'max_sec_per_write', '0x18')
  expect(m.attributes('/dev/pblk0')).toMatchObject({
    max_sec_per_write: '24',
    padding_dist: '0:0 1:0 2:0 3:0 4:0 5:0 6:0 7:0 ',
  })
  const may = 'gc_force, max_sec_per_write, write_amp_trip, padding_dist can be written'
  const refusals = [
    ['pblk0', 'padding_dist', '1', "padding_dist: the kernel refuses '1' (error 22)"],
    ['pblk0', 'lines', '0', `lines: can be read alone; ${may}`],
    ['pblk0', 'write_amp', '0', 'write_amp: no such attribute'],
    ['nvme0n1', 'clba', '0', 'none of its attributes can be written'],
    ['rrpc0', 'lines', '0', 'none of its attributes can be written'],
    ['pblk1', 'gc_force', '0', 'devices are nvme0n1, nvme1n1, targets pblk0, rrpc0'],
  ] as const
  for (const [path, name, value, words] of refusals)
    expect(() => m.setAttribute(path, name, value)).toThrow(words)
  expect(() => m.attributes('rrpc0')).toThrow('rrpc has no attributes')
  expect(() => m.attributes('pblk7')).toThrow('no such device')
  await m.stop()
})
