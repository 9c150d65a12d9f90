// What an open-channel device says of itself, read by the NVMe driver: the identity of drivers/nvme/host/lightnvm.c of
// Linux 4.19. The first byte of the 4096 decides: 1 is revision 1.2, 2 is revision 2.0.
//
// mccap and wit of revision 2.0 are not read by 4.19. Sizes of sector and out-of-band data come from the namespace's
// format for 2.0 (nvme_nvm_update_nvm_info), from the identity for 1.2.

import { EINVAL } from '../../../kernel/errno.js'
import type { addr_field, nvm_geo } from '../../lightnvm/lightnvm.js'

export const NVME_NVM_IDENTITY_BYTES = 4096

const NONE: addr_field = { offset: 0, len: 0 }

/** Reads an identity. -EINVAL for one that is not understood. */
export function nvme_nvm_read_identity(
  bytes: Uint8Array,
  csecs: number,
  sos: number,
): nvm_geo | number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[0] === 1) return nvme_nvm_setup_12(view)
  if (bytes[0] === 2) return nvme_nvm_setup_20(view, csecs, sos)
  return -EINVAL
}

function field(view: DataView, at: number): addr_field {
  return { offset: view.getUint8(at), len: view.getUint8(at + 1) }
}

/** Planes that work together: what `mpos` allows. */
function plane_mode(mpos: number): number {
  if ((mpos & 0x020202) !== 0) return 2
  return (mpos & 0x040404) !== 0 ? 4 : 1
}

function nvme_nvm_setup_12(view: DataView): nvm_geo | number {
  const at = 256
  const u8 = (off: number): number => view.getUint8(at + off)
  const u16 = (off: number): number => view.getUint16(at + off, true)
  const u32 = (off: number): number => view.getUint32(at + off, true)
  if (view.getUint8(2) !== 1 || u8(0) !== 0) return -EINVAL
  const [num_ch, num_lun, num_pln] = [u8(4), u8(5), u8(6)]
  const [num_chk, num_pg, fpg_sz, csecs, sos] = [u16(8), u16(10), u16(12), u16(14), u16(16)]
  const sec_per_pg = fpg_sz / csecs
  const clba = sec_per_pg * num_pln * num_pg
  const all_luns = num_ch * num_lun
  const pln_mode = plane_mode(u32(44))
  return {
    version: 12,
    minor: 2,
    num_ch,
    num_lun,
    all_luns,
    num_chk,
    all_chunks: all_luns * num_chk,
    op: 0,
    total_secs: all_luns * num_chk * clba,
    clba,
    csecs,
    sos,
    ws_min: sec_per_pg,
    ws_opt: sec_per_pg * pln_mode,
    mw_cunits: sec_per_pg * 8,
    maxoc: all_luns * num_chk,
    maxocpu: num_chk,
    mccap: u32(48),
    trdt: u32(20),
    trdm: u32(24),
    tprt: u32(28),
    tprm: u32(32),
    tbet: u32(36),
    tbem: u32(40),
    addrf: {
      ch: field(view, 12),
      lun: field(view, 14),
      pln: field(view, 16),
      chk: field(view, 18),
      pg: field(view, 20),
      sec: field(view, 22),
    },
    vmnt: view.getUint8(1),
    cap: view.getUint32(4, true),
    dom: view.getUint32(8, true),
    mtype: u8(0),
    fmtype: u8(1),
    cpar: u16(52),
    mpos: u32(44),
    num_pln,
    pln_mode,
    num_pg,
    fpg_sz,
  }
}

function nvme_nvm_setup_20(view: DataView, csecs: number, sos: number): nvm_geo {
  const u32 = (at: number): number => view.getUint32(at, true)
  const num_ch = view.getUint16(64, true)
  const num_lun = view.getUint16(66, true)
  const [num_chk, clba] = [u32(68), u32(72)]
  const all_luns = num_ch * num_lun
  const [ch, lun, chk, sec] = [8, 9, 10, 11].map(at => view.getUint8(at))
  return {
    version: 20,
    minor: view.getUint8(1),
    num_ch,
    num_lun,
    all_luns,
    num_chk,
    all_chunks: all_luns * num_chk,
    op: 0,
    total_secs: all_luns * num_chk * clba,
    clba,
    csecs,
    sos,
    ws_min: u32(128),
    ws_opt: u32(132),
    mw_cunits: u32(136),
    maxoc: u32(140) === 0 ? all_luns * num_chk : u32(140),
    maxocpu: u32(144) === 0 ? num_chk : u32(144),
    mccap: 0,
    trdt: u32(192),
    trdm: u32(196),
    tprt: u32(200),
    tprm: u32(204),
    tbet: u32(208),
    tbem: u32(212),
    addrf: {
      sec: { offset: 0, len: sec },
      chk: { offset: sec, len: chk },
      lun: { offset: sec + chk, len: lun },
      ch: { offset: sec + chk + lun, len: ch },
      pg: NONE,
      pln: NONE,
    },
    vmnt: 0,
    cap: 0,
    dom: 0,
    mtype: 0,
    fmtype: 0,
    cpar: 0,
    mpos: 0,
    num_pln: 1,
    pln_mode: 1,
    num_pg: 0,
    fpg_sz: 0,
  }
}
