// Stories of errors between a fabrics host and its target, for traces: a connected controller, something goes wrong, and
// what becomes of it. The host tries again after a second.
//
//   link-lost                  every connection breaks, the target is still there       LIVE again
//   refused                    nobody listens                                           no controller
//   half-open                  nothing arrives any more, and nobody is told             found by keep-alive, LIVE again
//   keepalive-expiry           the host sends none: the target ends the association     LIVE again
//   digest-error               one read's data are wrong                                LIVE again, the read is good
//   wrong-key                  the target has a read's key wrong                       LIVE again, the read is good
//   kept-key                   the target leaves a read's key valid                    the host invalidates it
//   delete-while-reconnecting  the target is away, and the controller is deleted        gone
//   reset-while-reconnecting   ... and a reset is asked for, which is refused           LIVE when the target is back
//   delete-while-resetting     a reset waits for an answer that does not come           gone
//   reconnect-limit            it stays away: attempts are used up                      gone
//   reset-limit                a reset, and nobody takes connections any more           gone
//
// Loop has no wire. Over FC the link is its port; a target over FC tells nobody that it ended an association, the next
// command finds out. Digests are TCP's; what a reset needs of an FC target is one link, which is there or is not.

import { nvme_sysfs_reset } from '../drivers/nvme/host/core-ioctl.js'
import { nvme_delete_ctrl, nvme_reset_ctrl } from '../drivers/nvme/host/core-state.js'
import { nvmf_dev_write } from '../drivers/nvme/host/fabrics.js'
import type { nvme_ctrl } from '../drivers/nvme/host/nvme.js'
import { nvme_sysfs_delete } from '../drivers/nvme/host/sysfs.js'
import { nvme_tcp_c2h_data } from '../drivers/nvme/nvme-tcp.js'
import type { Sleep } from '../kernel/core.js'
import { FABRIC_TEXTS, type FabricStage, type FabricTransport } from './fabric-stage.js'

export const ERROR_STORIES = [
  'link-lost',
  'refused',
  'half-open',
  'keepalive-expiry',
  'digest-error',
  'wrong-key',
  'kept-key',
  'delete-while-reconnecting',
  'reset-while-reconnecting',
  'delete-while-resetting',
  'reconnect-limit',
  'reset-limit',
] as const

export type ErrorStory = (typeof ERROR_STORIES)[number]

/** Stories that only some can tell. */
const ONLY: Readonly<Partial<Record<ErrorStory, readonly string[]>>> = {
  'digest-error': ['tcp'],
  'wrong-key': ['rdma'],
  'kept-key': ['rdma'],
  'reset-limit': ['tcp', 'rdma'],
}

/** What a story needs beside the usual options of its connection. */
const OPTIONS: Readonly<Partial<Record<ErrorStory, string>>> = {
  'keepalive-expiry': ',keep_alive_tmo=0',
  'digest-error': ',hdr_digest,data_digest',
  'reconnect-limit': ',ctrl_loss_tmo=3',
  'reset-limit': ',ctrl_loss_tmo=3',
}

export function isErrorStory(story: string | null): story is ErrorStory {
  return story !== null && (ERROR_STORIES as readonly string[]).includes(story)
}

export function hasErrorStory(transport: string, story: ErrorStory): boolean {
  return transport !== 'loop' && (ONLY[story]?.includes(transport) ?? true)
}

/** More options of the connection. */
export function errorOptions(story: ErrorStory): string {
  return `,reconnect_delay=1${OPTIONS[story] ?? ''}`
}

/** What a story is played with. */
export interface ErrorActs {
  readonly stage: FabricStage
  readonly transport: FabricTransport
  readonly ctrl: () => nvme_ctrl
  /** A read of a block. */
  read(): Sleep<number>
  /** Runs a task to its end. */
  task(body: () => Sleep<unknown>): Promise<void>
  rest(ns: number): Promise<void>
}

/** The target's next data arrive with a bit turned. */
function turnOneBit({ network }: FabricStage): void {
  network.tamper = (bytes, end) => {
    if (end !== 'connector' || bytes[0] !== nvme_tcp_c2h_data) return bytes
    network.tamper = null
    const turned = bytes.slice()
    turned[60]! ^= 1
    return turned
  }
}

/** The next write into the host's memory is by a key that was never given. */
function mistakeKey({ verbs }: FabricStage): void {
  verbs.tamper = wr => {
    if (wr.opcode !== 'RDMA_WRITE') return wr
    verbs.tamper = null
    return { ...wr, rkey: wr.rkey ^ 1 }
  }
}

/** The next response does not invalidate. */
function keepKey({ verbs }: FabricStage): void {
  verbs.tamper = wr => {
    if (wr.opcode !== 'SEND_WITH_INV') return wr
    verbs.tamper = null
    return { ...wr, opcode: 'SEND' }
  }
}

function* goodRead(acts: ErrorActs): Sleep<void> {
  const status = yield* acts.read()
  if (status !== 0) throw new Error(`the read failed: ${status}`)
}

function breakLink({ stage, transport }: ErrorActs): void {
  if (transport === 'fc') {
    stage.losePort()
    stage.findPort()
  } else stage.cut()
}

const PLAYS: Readonly<Record<ErrorStory, (acts: ErrorActs) => Promise<void>>> = {
  'link-lost': async acts => {
    breakLink(acts)
    await acts.rest(2e9)
  },
  refused: async acts => {
    const { stage, transport } = acts
    stage.lose()
    await acts.task(function* () {
      const ctrl = yield* nvmf_dev_write(stage.f, FABRIC_TEXTS[transport])
      if (typeof ctrl !== 'number') throw new Error('somebody was there')
    })
  },
  'half-open': async acts => {
    acts.stage.silence()
    await acts.rest(30e9)
    acts.stage.silence(false)
    await acts.rest(60e9)
  },
  'keepalive-expiry': async acts => {
    await acts.rest(13e9)
    if (acts.transport === 'fc') await acts.task(() => acts.read())
  },
  'digest-error': async acts => {
    turnOneBit(acts.stage)
    await acts.task(() => goodRead(acts))
  },
  'wrong-key': async acts => {
    mistakeKey(acts.stage)
    await acts.task(() => goodRead(acts))
  },
  'kept-key': async acts => {
    keepKey(acts.stage)
    await acts.task(() => goodRead(acts))
  },
  'delete-while-reconnecting': async acts => {
    acts.stage.lose()
    await acts.rest(500e6)
    await acts.task(() => nvme_sysfs_delete(acts.ctrl(), nvme_delete_ctrl))
  },
  'reset-while-reconnecting': async acts => {
    const { stage } = acts
    stage.lose()
    await acts.rest(500e6)
    await acts.task(() => nvme_sysfs_reset(acts.ctrl()))
    stage.listen()
    await acts.rest(3e9)
  },
  'delete-while-resetting': async acts => {
    acts.stage.silence()
    nvme_reset_ctrl(acts.ctrl())
    await acts.rest(100e6)
    await acts.task(() => nvme_sysfs_delete(acts.ctrl(), nvme_delete_ctrl))
  },
  'reconnect-limit': async acts => {
    acts.stage.lose()
    await acts.rest(8e9)
  },
  'reset-limit': async acts => {
    acts.stage.shut()
    await acts.task(() => nvme_sysfs_reset(acts.ctrl()))
    await acts.rest(8e9)
  },
}

/** Plays a story. */
export function playError(story: ErrorStory, acts: ErrorActs): Promise<void> {
  return PLAYS[story](acts)
}
