// npm run linux -- [--kernel DIR]
//
// NVMe/TCP with a real Linux on the other end: a Linux host on phasebit's target, and phasebit's host on Linux's target. DIR is
// where a linux-image package was unpacked (`dpkg-deb -x`), `/` unless said. Needs qemu-system-x86_64, busybox, cpio, kmod,
// nvme-cli, e2fsprogs and fio. Each line printed is something that held; the first that does not ends the run with status 1.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Guest } from './guest.js'
import { hostStory } from './host-story.js'
import { kernelIn, makeInitramfs } from './initramfs.js'
import { targetStory } from './target-story.js'

/** A port of the loopback that is free now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { kernel: { type: 'string', default: '/' } } })
  const kernel = kernelIn(values.kernel)
  const folder = mkdtempSync(join(tmpdir(), 'phasebit-linux-'))
  let guest: Guest | null = null
  try {
    const port = await freePort()
    guest = new Guest(kernel.image, makeInitramfs(folder, kernel), port)
    await guest.booted()
    console.log(`Linux ${(await guest.good('uname -r')).trim()} has booted`)
    const held = (what: string): void => console.log(`  ${what}`)
    console.log("a Linux host on phasebit's target")
    await hostStory(guest, join(folder, 'store'), held)
    console.log("phasebit's host on Linux's target")
    await targetStory(guest, port, held)
  } finally {
    guest?.stop()
    rmSync(folder, { recursive: true })
  }
}

try {
  await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
