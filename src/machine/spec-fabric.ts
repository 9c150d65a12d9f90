// What an emulated RDMA fabric is like, as its user writes it: latency=10us,jitter=2us,seed=1,register_always=0.
//
//   latency          how long a message is under way, in each direction; 0 = it is there at once
//   jitter           up to so much more, by chance; what a connection sends stays in order
//   seed             of that chance
//   register_always  nvme_rdma's parameter: 0 opens all of the host's memory by one key, for requests of one piece

import { type Entry, Keys } from './spec-values.js'

export interface FabricSpec {
  readonly latencyNs: number
  readonly jitterNs: number
  readonly seed: number
  readonly registerAlways: boolean
}

export const PLAIN_FABRIC: FabricSpec = {
  latencyNs: 0,
  jitterNs: 0,
  seed: 1,
  registerAlways: true,
}

/** A connection is given up after three seconds, in which a message must go there and one come back. */
const MOST_NS = 1e9

function entriesOf(text: string): Entry[] {
  const words = text.split(',').filter(word => word !== '')
  return words.map(word => {
    const at = word.indexOf('=')
    return at < 0 ? { key: word, value: '' } : { key: word.slice(0, at), value: word.slice(at + 1) }
  })
}

/** @param where beginning of messages, such as `nvme connect --fabric`. @throws UserError */
export function parseFabric(where: string, text: string): FabricSpec {
  const keys = new Keys(where, entriesOf(text))
  const spec = {
    latencyNs: keys.time('latency') ?? 0,
    jitterNs: keys.time('jitter') ?? 0,
    seed: keys.whole('seed', 0, 2 ** 32 - 1) ?? PLAIN_FABRIC.seed,
    registerAlways: keys.bool('register_always') ?? true,
  }
  keys.finish()
  if (spec.latencyNs + spec.jitterNs > MOST_NS)
    keys.fail('latency and jitter: a second in all is the most')
  return spec
}
