// The NVMe/TCP host and a target that breaks the rules: the target is ours, and what it sends is spoiled on the way.
//
// A case is the life of a connection: connect, some I/O from two tasks, and at drawn moments a bit is turned, bytes are
// lost, doubled or made up, a PDU of the target's is sent that nobody asked for. Then the wire is good again. In the end
// every I/O has ended, the controller is live or gone, and nothing is held: no request, no tag, no memory, no connection.
//
// Data are not compared: without digests a turned bit in them is for nobody to see.

import { NO_DIGESTS } from '../../src/drivers/nvme/nvme-tcp.js'
import { nvmf_dev_write } from '../../src/drivers/nvme/host/fabrics.js'
import { nvme_delete_ctrl } from '../../src/drivers/nvme/host/core-state.js'
import type { nvme_ctrl } from '../../src/drivers/nvme/host/nvme.js'
import type { Sleep } from '../../src/kernel/core.js'
import { FabricRig, TCP_TEXT } from '../unit/nvme/fabric-rig.js'
import { check, type Fuzz, fuzzer } from './fuzzer.js'
import { strayPdu } from './nvme-tcp-stray.js'
import type { Prng } from './prng.js'

const BLOCK = 4096

/** What arrives in place of `bytes`. */
function spoil(random: Prng, bytes: Uint8Array): Uint8Array {
  const at = random.chance(60)
    ? random.below(Math.min(24, bytes.length))
    : random.below(bytes.length)
  switch (random.below(5)) {
    case 0: {
      const turned = bytes.slice()
      turned[at]! ^= 1 << random.below(8)
      return turned
    }
    case 1: {
      const wild = bytes.slice()
      for (let i = at; i < Math.min(at + 4, wild.length); i++) wild[i] = random.next()
      return wild
    }
    case 2:
      return bytes.slice(0, at)
    case 3:
      return Uint8Array.from([...bytes, ...bytes.subarray(0, at)])
    default: {
      const stray = strayPdu(random, NO_DIGESTS)
      return random.chance(50)
        ? Uint8Array.from([...stray, ...bytes])
        : Uint8Array.from([...bytes, ...stray])
    }
  }
}

/** I/Os of one task. */
function* io(
  random: Prng,
  rig: FabricRig,
  ctrl: nvme_ctrl,
  at: number,
  over: () => void,
): Sleep<void> {
  for (let n = 1 + random.below(4); n > 0; n--) {
    const ns = ctrl.namespaces[0]
    if (ns === undefined || ns.removing) break
    const bytes = BLOCK * (1 + random.below(8))
    const pos = BLOCK * random.below(64)
    if (random.chance(50)) yield* rig.write(ns, pos, new Uint8Array(bytes).fill(n), at)
    else yield* rig.read(ns, pos, bytes, at)
  }
  over()
}

let rig: FabricRig | undefined
/** Bytes of the kernel's memory before anything was connected. */
let empty = 0

/** Connects over a wire that spoils what the target sends, now and then. */
function connect(random: Prng, at: FabricRig): nvme_ctrl | number {
  const digests = random.chance(30) ? ',hdr_digest,data_digest' : ''
  const text = `${TCP_TEXT},reconnect_delay=1,ctrl_loss_tmo=2,queue_size=16${digests}`
  return at.run(() => nvmf_dev_write(at.f, text))
}

function lifeCase(random: Prng, remember: (input: string) => void): void {
  if (rig === undefined) {
    rig = new FabricRig({ cpus: 1 })
    empty = rig.machine.host!.blk.mem.used
  }
  const at = rig
  const { host } = at.machine
  let left = 1 + random.below(3)
  let quiet = random.chance(30) ? random.below(40) : 40 + random.below(30)
  const spoiled: string[] = []
  at.network.tamper = (bytes, end) => {
    if (end === 'listener' || left === 0 || quiet-- > 0) return bytes
    left--
    quiet = random.below(12)
    const arrives = spoil(random, bytes)
    spoiled.push(`${Buffer.from(bytes.subarray(0, 32)).toString('hex')}: ${arrives.length} bytes`)
    remember(spoiled.join('\n'))
    return arrives
  }
  const ctrl = connect(random, at)
  let running = 0
  if (typeof ctrl !== 'number')
    for (let task = 0; task < 2; task++) {
      running++
      const buffer = at.buffers + task * 65536
      host!.k.spawn(`io${task}`, () => io(random, at, ctrl, buffer, () => running--))
    }
  at.pass(1)
  at.network.tamper = null
  for (let n = 0; n < 90 && running > 0; n++) at.pass(2)
  check(running === 0, `I/O has not ended: ${at.log().slice(-4).join('; ')}`)
  const [left_over] = at.nvme.ctrls
  const settled = (): boolean => left_over === undefined || left_over.state === 'LIVE'
  for (let n = 0; n < 20 && at.nvme.ctrls.length > 0 && !settled(); n++) at.pass(12)
  if (at.nvme.ctrls.length > 0) nvme_delete_ctrl(at.nvme.ctrls[0]!)
  for (let n = 0; n < 20 && at.nvme.ctrls.length > 0; n++) at.pass(12)
  at.pass(1)
  check(at.nvme.ctrls.length === 0, `the controller did not go: ${left_over?.state}`)
  at.network.reset()
  at.pass(31)
  check(at.subsys.ctrls.length === 0, 'the target keeps a controller')
  check(at.port.queues.size === 0, 'the target keeps a queue')
  check(at.pool.used === 0, 'the target keeps memory')
  const held = host!.blk.mem.used - empty
  check(held === 0, `${held} bytes of the host's memory`)
  const books = at.machine.books()
  check(books.balanced, books.problems.join('; '))
}

export const life: Fuzz = fuzzer('nvme-tcp-life', lifeCase)
