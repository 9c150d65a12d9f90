// nvme-cli's words on a booted machine.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { nvmeCommand } from '../../src/cli/nvme.js'
import { OutputError, UserError } from '../../src/core/errors.js'
import { stdoutOf } from './capture.js'

const out = (...args: string[]): Promise<string> => stdoutOf(nvmeCommand, args)

describe('phasebit nvme', () => {
  test('id-ctrl: fields by their names', async () => {
    const id = JSON.parse(await out('id-ctrl', '/dev/nvme0', '-o', 'json')) as Record<
      string,
      unknown
    >
    expect(id.sqes).toBe(0x66)
    expect(id.cqes).toBe(0x44)
    expect(await out('id-ctrl', '/dev/nvme0')).toContain('mn        : phasebit NVMe Ctrl')
  })

  test('id-ns, list, list-ns: the disk of the device text', async () => {
    const device = ['--device', 'nvme,size=1G,lba=4096']
    const ns = JSON.parse(await out('id-ns', '/dev/nvme0n1', '-o', 'json', ...device)) as {
      nsze: number
      flbas: number
      lbafs: { ds: number }[]
    }
    expect(ns.nsze).toBe(2 ** 18)
    expect(ns.lbafs[ns.flbas & 15]!.ds).toBe(12)
    const list = JSON.parse(await out('list', '-o', 'json', ...device)) as {
      Devices: { DevicePath: string; PhysicalSize: number }[]
    }
    expect(list.Devices).toMatchObject([{ DevicePath: '/dev/nvme0n1', PhysicalSize: 2 ** 30 }])
    expect(await out('list-subsys', ...device)).toMatch(
      /^nvme-subsys0 - NQN=nqn\.\S.*\n\\\n \+- nvme0 pcie 0000:00:04\.0 live\n$/,
    )
    expect(JSON.parse(await out('list-subsys', '-o', 'json', ...device))).toMatchObject({
      Subsystems: [{ Paths: [{ Name: 'nvme0', Transport: 'pcie', State: 'live' }] }],
    })
    expect(await out('list-ns', '/dev/nvme0', ...device)).toBe('[   0]:0x1\n')
  })

  test('features, logs, registers', async () => {
    expect(await out('get-feature', '/dev/nvme0', '-f', '7')).toMatch(
      /^get-feature:0x07 \(Number of Queues\), Current value:0x[0-9a-f]{8}\n$/,
    )
    expect(await out('set-feature', '/dev/nvme0', '-f', '4', '-v', '0x150')).toContain(
      'value:0x00000150',
    )
    expect(await out('get-feature', '/dev/nvme0', '-f', '4', '-s', '1')).toContain(
      '0x04 (Temperature Threshold), Default value:',
    )
    const smart = await out('smart-log', '/dev/nvme0')
    expect(smart).toMatch(/^critical_warning {24}: 0$/m)
    expect(smart).toMatch(/^temperature {29}: 35°C \(308 Kelvin\)$/m)
    expect(smart).toMatch(/^Data Units Read {25}: 0 \(0\.00 B\)$/m)
    expect(smart).toMatch(/^available_spare_threshold {15}: 10%$/m)
    expect(smart).toMatch(/^Critical Composite Temperature Time {5}: 0$/m)
    expect(await out('error-log', '/dev/nvme0', '-e', '1')).toContain('error_count')
    expect(await out('get-log', '/dev/nvme0', '-i', '2', '--log-len=64')).toContain('0030: ')
    const regs = JSON.parse(await out('show-regs', '/dev/nvme0', '-o', 'json')) as Record<
      string,
      number
    >
    expect(regs).toMatchObject({ cc: 0x460001, csts: 1, aqa: 0x1f001f })
    const old = ['--kernel', '4.9', '-o', 'json']
    const before = JSON.parse(await out('show-regs', '/dev/nvme0', ...old)) as Record<
      string,
      number
    >
    expect(before).toMatchObject({ cc: 0x460001, csts: 1, aqa: 0xff00ff })
  })

  test('-o json: the names that nvme-cli writes', async () => {
    const keys = async (...args: string[]): Promise<string> =>
      Object.keys(JSON.parse(await out(...args, '-o', 'json')) as object).join(' ')
    expect(await keys('id-ctrl', '/dev/nvme0')).toBe(
      'vid ssvid sn mn fr rab ieee cmic mdts cntlid ver rtd3r rtd3e oaes ctratt rrls cntrltype fguid crdt1 crdt2 crdt3 nvmsr vwci mec oacs acl aerl frmw lpa ' +
        'elpe npss avscc apsta wctemp cctemp mtfa hmpre hmmin tnvmcap unvmcap rpmbs edstt dsto fwug kas hctma mntmt mxtmt ' +
        'sanicap hmminds hmmaxd nsetidmax endgidmax anatt anacap anagrpmax nanagrpid pels domainid megcap sqes cqes maxcmd nn oncs fuses fna vwc awun awupf ' +
        'icsvscc nwpc acwu ocfs sgls mnan maxdna maxcna subnqn ioccsz iorcsz icdoff fcatt msdbd ofcs psds',
    )
    const id = JSON.parse(await out('id-ctrl', '/dev/nvme0', '-o', 'json')) as {
      ieee: number
      psds: object[]
    }
    expect(id.ieee).toBe(0x525400)
    expect(id.psds).toHaveLength(1)
    expect(id.psds[0]).toMatchObject({ max_power: 2500, entry_lat: 0, active_work_scale: 0 })
    expect(await keys('id-ns', '/dev/nvme0n1')).toBe(
      'nsze ncap nuse nsfeat nlbaf flbas mc dpc dps nmic rescap fpi dlfeat nawun nawupf nacwu nabsn nabo nabspf noiob nvmcap ' +
        'nsattr nvmsetid mssrl mcl msrc nulbaf anagrpid endgid nguid eui64 lbafs',
    )
    expect(await keys('smart-log', '/dev/nvme0')).toBe(
      'critical_warning temperature avail_spare spare_thresh percent_used endurance_grp_critical_warning_summary ' +
        'data_units_read data_units_written host_read_commands host_write_commands controller_busy_time power_cycles ' +
        'power_on_hours unsafe_shutdowns media_errors num_err_log_entries warning_temp_time critical_comp_time ' +
        'thm_temp1_trans_count thm_temp2_trans_count thm_temp1_total_time thm_temp2_total_time',
    )
    expect(await keys('show-regs', '/dev/nvme0')).toBe(
      'cap vs intms intmc cc csts nssr aqa asq acq cmbloc cmbsz bpinfo bprsel bpmbl cmbmsc cmbsts pmrcap pmrctl pmrsts ' +
        'pmrebs pmrswtp pmrmsc',
    )
    const bad = ['--device', 'nvme,size=16M,fault=status:0x2/admin:10/nth:1']
    const log = JSON.parse(
      await out('error-log', '/dev/nvme0', '-e', '1', '-o', 'json', ...bad),
    ) as {
      errors: object[]
    }
    expect(Object.keys(log.errors[0]!).join(' ')).toBe(
      'error_count sqid cmdid status_field phase_tag parm_error_location lba nsid vs trtype cs trtype_spec_info',
    )
    const list = JSON.parse(await out('list', '-o', 'json')) as { Devices: object[] }
    expect(list.Devices[0]).toMatchObject({ Index: 0, UsedBytes: 2 ** 30, MaximumLBA: 2 ** 21 })
    expect(await out('list', '--device', 'nvme,size=4G,lba=4096')).toMatch(
      /\/dev\/nvme0n1 .* 1 {11}4\.29 {2}GB \/ {3}4\.29 {2}GB {6}4 KiB \+ {2}0 B {3}1\.0\n$/,
    )
  })

  test('reset, format, delete-ns', async () => {
    expect(await out('reset', '/dev/nvme0')).toBe('')
    expect(await out('format', '/dev/nvme0n1', '-l', '2')).toContain('Success')
    expect(await out('delete-ns', '/dev/nvme0', '-n', '1')).toContain('deleted nsid:1')
  })

  test('several words said to one machine: namespaces come and go', async () => {
    const at = '/dev/nvme0'
    const said = await out(
      ...['create-ns', at, '--device', 'nvme,size=64M,unallocated=64M', '-s', '2048'],
      ...['--', 'list-ns', at, '--', 'attach-ns', at, '-n', '2', '--', 'list-ns', at],
      ...['--', 'detach-ns', at, '-n', '1', '--', 'list-ns', at, '--', 'ns-rescan', at],
    )
    expect(said).toBe(
      'create-ns: Success, created nsid:2\n[   0]:0x1\nattach-ns: Success, nsid:2\n[   0]:0x1\n[   1]:0x2\n' +
        'detach-ns: Success, nsid:1\n[   0]:0x2\n',
    )
  })

  test('firmware: downloaded in pieces, committed, active after a reset; erased', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'phasebit-fw-'))
    try {
      const image = join(folder, 'image.bin')
      writeFileSync(image, `NEWER  1${'x'.repeat(9992)}`)
      const at = '/dev/nvme0'
      const said = await out(
        ...[
          'fw-download',
          at,
          '-f',
          image,
          '-x',
          '4096',
          '--',
          'fw-commit',
          at,
          '-s',
          '3',
          '-a',
          '1',
        ],
        ...['--', 'fw-log', at, '--', 'reset', at, '--', 'fw-log', at, '--', 'id-ctrl', at],
      )
      expect(said).toMatch(
        /^Firmware download success\nSuccess committing firmware action:1 slot:3\n/,
      )
      expect(said).toMatch(/afi +: 49\nfrs1 +: 1\.0\nfrs3 +: NEWER {2}1\n[\s\S]*afi +: 3\n/)
      expect(said).toMatch(/^fr +: NEWER {2}1$/m)
      for (const [args, line] of [
        [['fw-commit', at, '-a', '1'], /nothing was downloaded/],
        [['fw-download', at], /--fw is needed/],
        [['fw-download', at, '-f', join(folder, 'none')], /ENOENT/],
        [['fw-download', at, '-f', image, '--', 'fw-download', at, '-f', image], /there already/],
        [['sanitize', at, '-a', '3'], /4 \(crypto erase\)/],
        [['reset', at, '--', 'fly', at], /'fly' is none of the words/],
        [['reset', at, '--', 'list', '--kernel', '4.9'], /belongs to the first word/],
      ] as const)
        await expect(out(...args), args.join(' ')).rejects.toThrow(line)
    } finally {
      rmSync(folder, { recursive: true })
    }
    expect(
      await out('sanitize', '/dev/nvme0', '-a', '2', '--', 'sanitize-log', '/dev/nvme0'),
    ).toMatch(/sprog +: 65535\nsstat +: 257\nscdw10 +: 2\n/)
  })

  test('any admin command: every structure of Identify, and what is refused', async () => {
    const raw = (...args: string[]): Promise<string> => out('admin-passthru', '/dev/nvme0', ...args)
    expect(await raw('-O', '6', '-l', '4096', '--cdw10=0x13')).toContain('0000: 01 00')
    expect(await raw('-O', '0x0a', '-4', '7')).toMatch(/^NVMe command result:000[0-9a-f]{5}\n$/)
    await expect(nvmeCommand(['admin-passthru', '/dev/nvme0', '-O', '0x7e'])).rejects.toThrow(
      'Invalid Command Opcode (0x4001)',
    )
  })

  test('what cannot be meant is one line that says what can, exit status 64', async () => {
    const at = '/dev/nvme0'
    for (const [args, line] of [
      [['id-ctrl'], /which device/],
      [['id-ctrl', '/dev/nvme7'], /there are \/dev\/nvme0, \/dev\/nvme0n1/],
      [['id-ctrl', at, '--frobnicate'], /unknown option --frobnicate; it takes none/],
      [['id-ctrl', at, '-f', '3'], /unknown option -f/],
      [['reset', at, '-n', '1'], /unknown option -n/],
      [['get-feature', at, '--feature', '1'], /did you mean --feature-id/],
      [['id-ns', at], /--namespace-id is needed/],
      [['id-ns', at, '-n', '0'], /no namespace 0; there are 1/],
      [['id-ns', at, '-n', '77'], /no namespace 77; there are 1/],
      [['list-ns', at, '-n', '0'], /the first is 1/],
      [['get-feature', at], /--feature-id is needed/],
      [['get-feature', at, '-f', '0x1ff'], /0x1ff is no number from 0 to 255/],
      [['get-feature', at, '-f', 'x'], /'x' is no number/],
      [['get-feature', at, '-f'], /'' is no number/],
      [['get-feature', at, '-f', '7', '-s', '4'], /no number from 0 to 3/],
      [['get-feature', at, '-f', '0x99'], /no feature 0x99; it has 0x01, 0x02, .*0x84$/],
      [['get-feature', at, '-f', '9', '-c', '0xfff0'], /--cdw11: feature 0x09/],
      [['set-feature', at, '-f', '7'], /--value is needed/],
      [['set-feature', at, '-f', '0x99', '-v', '1'], /no feature 0x99; it has 0x01/],
      [['set-feature', at, '-f', '2', '-v', '9'], /--value: feature 0x02 does not take/],
      [['set-feature', at, '-f', '7', '-v', '1', '-s', '1'], /--save: feature 0x07/],
      [['set-feature', at, '-f', '1', '-v', '1', '-n', '1'], /not a namespace's/],
      [['get-log', at], /--log-id is needed/],
      [['get-log', at, '-i', '0x77'], /no log 0x77; it has 0x01, 0x02, 0x03, 0x04, 0x05/],
      [['get-log', at, '-i', '2', '--log-len', '3'], /3 is no multiple of 4/],
      [['get-log', at, '-i', '2', '-l', '99999999'], /no number from 0 to 1048576/],
      [['error-log', at, '-e', '0'], /1 to 64/],
      [['error-log', at, '-e', '999'], /no number from 0 to 256/],
      [['format', at, '-l', '15'], /it has 0 \(512\+0\), 1 \(512\+8\)/],
      [['format', at, '-i', '1'], /not with this --pi/],
      [['format', at, '-n', '9'], /no namespace 9; there are 1/],
      [['create-ns', at], /--nsze is needed/],
      [['create-ns', at, '-s', '0'], /both above 0/],
      [['create-ns', at, '-s', '100'], /0 bytes of the device/],
      [['create-ns', at, '-s', '100', '-f', '9'], /no such format/],
      [['delete-ns', at], /--namespace-id is needed/],
      [['delete-ns', at, '-n', '9'], /no namespace 9/],
      [['attach-ns', at, '-n', '1'], /1 is attached already/],
      [['attach-ns', at, '-n', '1', '-c', '5'], /the only one is 0/],
      [['smart-log', at, 'extra'], /one device at a time/],
      [['list', 'extra'], /it takes no device/],
      [['show-regs', at, '-o', 'yaml'], /none of normal, json/],
      [['show-regs', at, '--kernel', '3.2'], /4.19 and 4.9 are accepted/],
      [['nonsense'], /the words are connect, .*attach-ns/],
    ] as const) {
      const error = await nvmeCommand(args).catch((reason: unknown) => reason as Error)
      expect(error, args.join(' ')).toBeInstanceOf(UserError)
      expect((error as Error).message, args.join(' ')).toMatch(line)
      expect((error as Error).message).not.toContain('\n')
    }
  })

  test('what the controller refuses at this time is its status, exit status 1', async () => {
    const late = nvmeCommand(['set-feature', '/dev/nvme0', '-f', '7', '-v', '0'])
    await expect(late).rejects.toThrow(OutputError)
    await expect(late).rejects.toThrow('NVMe status: Command Sequence Error (0x400c)')
    const fault = ['--device', 'nvme,size=16M,fault=status:0x4006/admin:10']
    await expect(nvmeCommand(['get-feature', '/dev/nvme0', '-f', '1', ...fault])).rejects.toThrow(
      'NVMe status: Internal Error (0x4006)',
    )
  })
})
