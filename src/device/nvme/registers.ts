// The register file: what each register is, who may write which bits, and which writes mean something. The bytes live in the
// BAR, so that a load of shared memory reads what a register read returns.
//
//   32-bit aligned access to anything; 64-bit registers take both halves, or one after the other
//   INTMS sets bits of the mask, INTMC clears them, both read it
//   CSTS.NSSRO is cleared by writing 1; CC, AQA, ASQ, ACQ keep what was written; the rest is read-only
//   misaligned access does nothing and reads 0

import type { View } from '../../core/view.js'
import type { ControllerConfig } from './config.js'
import {
  ACQ,
  AQA,
  ASQ,
  CAP,
  CC,
  CMBLOC,
  CMBSZ,
  CSTS,
  CSTS_NSSRO,
  DOORBELLS,
  INTMC,
  INTMS,
  NSSR,
  NSSR_RESET,
  VS,
} from './spec.js'

const NVME_1_4 = 0x00010400

/** Which registers the controller must hear of. */
export interface RegisterActions {
  cc(value: number, before: number): void
  subsystemReset(): void
}

/** The capabilities of a configuration: both halves, low first. */
export function capabilities(c: ControllerConfig, commandSets = false): readonly [number, number] {
  const low = (c.entries - 1) | (1 << 16) | (c.weighted ? 1 << 17 : 0) | ((c.timeout << 24) >>> 0)
  const high =
    c.stride |
    (c.subsystemReset ? 1 << 4 : 0) |
    (1 << 5) |
    (commandSets ? 1 << 11 : 0) |
    (c.mpsMax << 20)
  return [low >>> 0, high >>> 0]
}

export class Registers {
  readonly #view: View
  readonly #bar: number
  readonly #actions: RegisterActions
  readonly #nssr: boolean

  constructor(
    view: View,
    bar: number,
    config: ControllerConfig,
    commandSets: boolean,
    actions: RegisterActions,
  ) {
    this.#view = view
    this.#bar = bar
    this.#actions = actions
    this.#nssr = config.subsystemReset
    this.#capabilities(config, commandSets)
  }

  /** Writes what is read only. */
  #capabilities(config: ControllerConfig, commandSets: boolean): void {
    const [low, high] = capabilities(config, commandSets)
    this.set(CAP, low)
    this.set(CAP + 4, high)
    this.set(VS, config.version)
    if (!config.cmb) return
    // Since 1.4 a host has to ask for it before it is seen (CMBMSC), and says where it lies.
    if (config.version >= NVME_1_4)
      throw new RangeError('a memory buffer of NVMe 1.4 and later (CMBMSC) is not modelled')
    this.set(CMBLOC, 2) // BAR 2
    this.set(CMBSZ, (((config.cmb.bytes / 4096) << 12) | 0x1f) >>> 0) // 4 KiB units, everything
  }

  get(offset: number): number {
    return this.#view.u32(this.#bar + offset)
  }

  set(offset: number, value: number): void {
    this.#view.setU32(this.#bar + offset, value)
  }

  get64(offset: number): number {
    return this.#view.u64(this.#bar + offset)
  }

  /** Sets and clears bits of CSTS. */
  status(set: number, clear = 0): void {
    this.set(CSTS, ((this.get(CSTS) & ~clear) | set) >>> 0)
  }

  /** A read below the doorbells; doorbells and what is not there read 0. */
  read(offset: number): number {
    if (offset % 4 !== 0 || offset < 0 || offset >= DOORBELLS) return 0
    return this.get(offset === INTMC ? INTMS : offset)
  }

  /** A write below the doorbells. */
  write(offset: number, value: number): void {
    switch (offset) {
      case INTMS:
        this.set(INTMS, (this.get(INTMS) | value) >>> 0)
        break
      case INTMC:
        this.set(INTMS, (this.get(INTMS) & ~value) >>> 0)
        break
      case CC: {
        const before = this.get(CC)
        this.set(CC, value)
        this.#actions.cc(value, before)
        break
      }
      case CSTS:
        if (value & CSTS_NSSRO) this.status(0, CSTS_NSSRO)
        break
      case NSSR:
        if (this.#nssr && value === NSSR_RESET) this.#actions.subsystemReset()
        break
      case AQA:
        this.set(AQA, value & 0x0fff0fff)
        break
      case ASQ:
      case ASQ + 4:
      case ACQ:
      case ACQ + 4:
        this.set(offset, value)
        break
    }
  }
}
