// An open-channel device and memory for its commands, for tests.

import { OpenChannelDevice, type OcssdOptions } from '../../../../src/device/ocssd/device.js'
import {
  GEOMETRY_12,
  GEOMETRY_20,
  type OcssdGeometry,
} from '../../../../src/device/ocssd/geometry.js'

/** 2 x 2 PUs, 32 chunks of 256 sectors. */
export const TINY: OcssdGeometry = {
  ...GEOMETRY_20,
  groups: 2,
  pus: 2,
  chunks: 32,
  clba: 256,
  planes: 1,
  wsOpt: 4,
  mwCunits: 8,
}

export interface Answer {
  readonly status: number
  /** Addresses marked as failed. */
  readonly failed: number[]
  readonly due: number
}

export class DeviceRig {
  readonly device: OpenChannelDevice
  readonly mem: Uint32Array = new Uint32Array((64 * 4096 + 1024) / 4)
  #stamp = 1

  constructor(options: Partial<OcssdOptions> = {}) {
    this.device = new OpenChannelDevice({ geometry: GEOMETRY_20, ...options })
  }

  static old(options: Partial<OcssdOptions> = {}): DeviceRig {
    return new DeviceRig({ geometry: GEOMETRY_12, ...options })
  }

  at(group: number, pu: number, chunk: number, sector: number): number {
    return this.device.format.address({ group, pu, chunk, sector })
  }

  /** Number of a chunk of the device. */
  chunk(group: number, pu: number, chunk: number): number {
    const { pus, chunks } = this.device.geometry
    return (group * pus + pu) * chunks + chunk
  }

  /** Addresses of `n` sectors of a chunk. */
  run(group: number, pu: number, chunk: number, sector: number, n: number): number[] {
    return Array.from({ length: n }, (_, i) => this.at(group, pu, chunk, sector + i))
  }

  #command(addresses: readonly number[], control = 0) {
    const data = addresses.map((_, i) => 4096 * i)
    return { addresses, count: addresses.length, mem: this.mem, data, oob: 64 * 4096, control }
  }

  #answer(result: { status: number; low: number; high: number; due: number }): Answer {
    const failed: number[] = []
    for (let i = 0; i < 64; i++) {
      const word = i < 32 ? result.low : result.high
      if ((word >>> (i % 32)) & 1) failed.push(i)
    }
    return { status: result.status, failed, due: result.due }
  }

  /** Fills each sector with a number of its own, and its OOB with the same. */
  stamp(n: number): number[] {
    return Array.from({ length: n }, (_, i) => {
      const stamp = this.#stamp++
      this.mem.fill(stamp, i * 1024, (i + 1) * 1024)
      this.mem[i * 1024] = ~stamp
      this.mem.fill(stamp, 65536 + i * 4, 65536 + i * 4 + 4)
      return stamp
    })
  }

  write(addresses: readonly number[], now = 0): Answer {
    return this.#answer(this.device.write(this.#command(addresses), now))
  }

  read(addresses: readonly number[], now = 0): Answer {
    this.mem.fill(0xdead, 0, addresses.length * 1024)
    return this.#answer(this.device.read(this.#command(addresses), now))
  }

  erase(addresses: readonly number[], now = 0, control = 0): Answer {
    return this.#answer(this.device.erase(this.#command(addresses, control), now))
  }

  copy(from: readonly number[], to: readonly number[]): Answer {
    return this.#answer(this.device.copy(this.#command(from), to, 0, 0))
  }

  /** The word that sector `i` of the last read is full of (its second word). */
  word(i: number): number {
    return this.mem[i * 1024 + 1]
  }

  oob(i: number): number {
    return this.mem[65536 + i * 4]
  }
}
