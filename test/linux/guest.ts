// A real Linux in an emulated machine (qemu, every instruction emulated, so that it runs wherever tests do), and its shell. Its
// network is qemu's own: the guest is 10.0.2.15, this machine's loopback is 10.0.2.2.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'

export const LOOPBACK = '10.0.2.2'
export const ADDRESS = '10.0.2.15'

export interface Ended {
  readonly status: number
  readonly text: string
}

export class Guest {
  readonly #qemu: ChildProcessWithoutNullStreams
  #text = ''
  #heard: () => void = () => {}
  #commands = 0

  /** @param forward a port of this machine's loopback that is the guest's port 4420 */
  constructor(image: string, initramfs: string, forward: number) {
    this.#qemu = spawn('qemu-system-x86_64', [
      ...['-accel', 'tcg', '-cpu', 'max', '-smp', '2', '-m', '640M'],
      ...['-kernel', image, '-initrd', initramfs],
      ...['-append', 'console=ttyS0 quiet loglevel=1 panic=-1', '-no-reboot'],
      ...['-nographic', '-monitor', 'none', '-device', 'virtio-net-pci,netdev=net'],
      ...['-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${forward}-${ADDRESS}:4420`],
    ])
    const hear = (data: Buffer): void => {
      this.#text += data.toString('latin1').replaceAll('\r', '')
      this.#heard()
    }
    this.#qemu.stdout.on('data', hear)
    this.#qemu.stderr.on('data', hear)
    this.#qemu.on('error', error => hear(Buffer.from(`${error.message}\n`)))
    this.#qemu.on('exit', () => this.#heard())
  }

  /** @throws Error if the pattern has not come after so many seconds, or the guest is gone */
  async #until(pattern: RegExp, from: number, seconds: number): Promise<RegExpMatchArray> {
    const end = performance.now() + seconds * 1000
    for (;;) {
      const match = this.#text.slice(from).match(pattern)
      if (match) return match
      const left = end - performance.now()
      if (left <= 0 || this.#qemu.exitCode !== null) {
        const why = left <= 0 ? `not within ${seconds} s` : 'the guest is gone'
        throw new Error(`${why}; the guest said at last:\n${this.#text.slice(-3000)}`)
      }
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, left)
        this.#heard = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async booted(): Promise<void> {
    await this.#until(/GUEST READY\n/, 0, 400)
  }

  /** What a shell's command says, standard error too, and its exit status. */
  async run(command: string, seconds = 120): Promise<Ended> {
    const mark = `ENDED ${++this.#commands}`
    const from = this.#text.length
    this.#qemu.stdin.write(`{ ${command}; } 2>&1; echo "${mark}" $?\n`)
    const match = await this.#until(new RegExp(`([^]*)${mark} (\\d+)\n`), from, seconds)
    return { status: Number(match[2]), text: match[1]! }
  }

  /** The same, which must go well. @throws Error if it does not */
  async good(command: string, seconds?: number): Promise<string> {
    const { status, text } = await this.run(command, seconds)
    if (status !== 0) throw new Error(`${command}: status ${status}\n${text}`)
    return text
  }

  /** All that it has said. */
  keepLog(file: string): void {
    writeFileSync(file, this.#text)
  }

  stop(): void {
    this.#qemu.kill('SIGKILL')
  }
}
