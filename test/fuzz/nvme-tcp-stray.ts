// PDUs that a target may send, at a moment when nobody asked for them.

import {
  nvme_tcp_c2h_data,
  nvme_tcp_c2h_term,
  type pdu_digests,
  put_data,
  put_r2t,
  put_rsp,
  term_pdu,
  violation,
} from '../../src/drivers/nvme/nvme-tcp.js'
import type { Prng } from './prng.js'

const MOST_DATA = 4096
const OUT = new Uint8Array(MOST_DATA + 128)

/** A PDU of a target that means something, but not here. */
export function strayPdu(random: Prng, digests: pdu_digests): Uint8Array {
  const cid = random.chance(70) ? random.below(40) : random.below(65536)
  const length = random.pick([0, 16, 512, MOST_DATA])
  const fields = { cid, ttag: random.below(9), offset: random.pick([0, 512, 2 ** 31]), length }
  switch (random.below(4)) {
    case 0:
      return OUT.slice(0, put_r2t(OUT, 0, fields, digests))
    case 1: {
      const rsp = new Uint8Array(16)
      for (let i = 0; i < 16; i++) rsp[i] = random.chance(50) ? 0 : random.next()
      rsp[12] = cid
      return OUT.slice(0, put_rsp(OUT, 0, rsp, digests))
    }
    case 2: {
      const data = new Uint8Array(Math.max(length, 1))
      const place = { ...fields, length: data.length }
      const flags = random.below(16) & 12
      return OUT.slice(0, put_data(OUT, 0, nvme_tcp_c2h_data, flags, place, data, digests))
    }
    default:
      return term_pdu(
        nvme_tcp_c2h_term,
        violation(random.below(9), random.below(99)),
        OUT.slice(0, 24),
      )
  }
}
