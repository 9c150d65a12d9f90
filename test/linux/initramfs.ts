// A root file system for a Linux guest, made of programs that this machine has and modules of the kernel that is to boot.

import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Besides these the guest has what busybox can do. */
const PROGRAMS = ['nvme', 'fio', 'mkfs.ext4', 'e2fsck']
const MODULES = ['virtio_pci', 'virtio_net', 'nvme-tcp', 'nvmet-tcp', 'brd']

/** The guest reads commands, a line each, from its serial line; a shell that read them itself would echo and prompt. */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
for module in /modules/*; do insmod $module; done
mount -t configfs config /sys/kernel/config
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
exec < /dev/ttyS0
stty -echo
echo GUEST READY
while read -r line; do eval "$line" < /dev/null; done
`

/** Where a linux-image package was unpacked, or `/` where it is installed. */
export interface Kernel {
  readonly image: string
  readonly release: string
  readonly folder: string
}

/** @throws Error where there is no kernel */
export function kernelIn(folder: string): Kernel {
  const boot = join(folder, 'boot')
  const images = existsSync(boot) ? readdirSync(boot).filter(f => f.startsWith('vmlinuz-')) : []
  const image = images.sort().at(-1)
  if (image === undefined) throw new Error(`${boot}: no vmlinuz-*: unpack a linux-image package`)
  return { image: join(boot, image), release: image.slice('vmlinuz-'.length), folder }
}

function output(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' })
}

function pathOf(program: string): string {
  const path = process.env.PATH ?? ''
  for (const folder of [...path.split(':'), '/usr/sbin', '/sbin'])
    if (existsSync(join(folder, program))) return join(folder, program)
  throw new Error(`${program}: not installed`)
}

/** Copies a program to /bin, and what it is linked with, each where it was. */
function install(root: string, program: string): void {
  const path = pathOf(program)
  copyFileSync(path, join(root, 'bin', program))
  // Of a program that is linked with nothing ldd says so, and fails.
  const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' })
  for (const file of stdout.match(/\/\S+/g) ?? []) {
    mkdirSync(join(root, dirname(file)), { recursive: true })
    copyFileSync(file, join(root, file))
  }
}

/** Files of the modules, those that others need first. */
function moduleFiles({ folder, release }: Kernel): string[] {
  output(pathOf('depmod'), '-b', folder, release)
  const lines = MODULES.flatMap(module =>
    output(pathOf('modprobe'), '-d', folder, '-S', release, '--show-depends', module).split('\n'),
  )
  const files = lines.filter(line => line.startsWith('insmod ')).map(line => line.split(' ')[1]!)
  return [...new Set(files)]
}

/** Makes `folder`/root and packs it. @returns path of the archive */
export function makeInitramfs(folder: string, kernel: Kernel): string {
  const root = join(folder, 'root')
  for (const place of ['bin', 'sbin', 'etc/nvme', 'proc', 'sys', 'dev', 'tmp', 'mnt', 'modules'])
    mkdirSync(join(root, place), { recursive: true })
  for (const program of ['busybox', ...PROGRAMS]) install(root, program)
  moduleFiles(kernel).forEach((file, i) => {
    copyFileSync(file, join(root, 'modules', `${String(i).padStart(2, '0')}-${basename(file)}`))
  })
  const id = '11111111-2222-3333-4444-555555555555'
  writeFileSync(join(root, 'etc/nvme/hostid'), `${id}\n`)
  writeFileSync(join(root, 'etc/nvme/hostnqn'), `nqn.2014-08.org.nvmexpress:uuid:${id}\n`)
  if (existsSync('/etc/mke2fs.conf'))
    copyFileSync('/etc/mke2fs.conf', join(root, 'etc/mke2fs.conf'))
  writeFileSync(join(root, 'init'), INIT, { mode: 0o755 })
  const archive = join(folder, 'initramfs')
  execFileSync('sh', ['-c', `find . | cpio -o -H newc --quiet > '${archive}'`], { cwd: root })
  return archive
}
