// The text that is written to /dev/nvme-fabrics: nvmf_parse_options of drivers/nvme/host/fabrics.c, Linux 4.19, with
// the TCP options of 5.x.
//
//   transport=tcp,nqn=NQN,traddr=10.0.0.1,trsvcid=4420,nr_io_queues=4,...
//
//   option           default                         accepted
//   queue_size       128                             16 ... 1024
//   nr_io_queues     CPUs                            1 ..., at most the CPUs
//   reconnect_delay  10 s                            above 0
//   ctrl_loss_tmo    600 s                           below 0: for ever
//   keep_alive_tmo   5 s                             0: none, with a warning
//   hostnqn, hostid  the module's                    a name; a UUID
//   duplicate_connect, discovery, disable_sqflow, hdr_digest, data_digest    off

import { EINVAL } from '../../../kernel/errno.js'
import { NVME_DISC_SUBSYS_NAME, NVMF_NQN_SIZE } from '../nvme.js'
import type { nvmf_ctrl_facts } from './nvme.js'

export const NVMF_DEF_QUEUE_SIZE = 128
export const NVMF_MIN_QUEUE_SIZE = 16
export const NVMF_MAX_QUEUE_SIZE = 1024
export const NVMF_DEF_RECONNECT_DELAY = 10
export const NVMF_DEF_CTRL_LOSS_TMO = 600
const NVME_DEFAULT_KATO = 5

/** struct nvmf_host. */
export interface nvmf_host {
  readonly nqn: string
  /** 16 bytes. */
  readonly id: Uint8Array
}

/** struct nvmf_ctrl_options. */
export interface nvmf_ctrl_options extends nvmf_ctrl_facts {
  readonly transport: string
  readonly subsysnqn: string
  readonly traddr: string
  readonly trsvcid: string
  readonly host_traddr: string
  readonly queue_size: number
  readonly nr_io_queues: number
  /** Seconds. */
  readonly reconnect_delay: number
  readonly kato: number
  /** -1 = for ever. */
  max_reconnects: number
  readonly host: nvmf_host
  readonly duplicate_connect: boolean
  readonly disable_sqflow: boolean
  readonly hdr_digest: boolean
  readonly data_digest: boolean
  /** Which options were given. */
  readonly mask: ReadonlySet<string>
}

/** An options text that is refused: -EINVAL, and why, as the kernel's log says it. */
export interface nvmf_refusal {
  readonly error: number
  readonly why: string
}

const TEXTS = ['transport', 'nqn', 'traddr', 'trsvcid', 'host_traddr', 'hostnqn', 'hostid']
const NUMBERS = ['queue_size', 'nr_io_queues', 'reconnect_delay', 'ctrl_loss_tmo', 'keep_alive_tmo']
const FLAGS = ['duplicate_connect', 'discovery', 'disable_sqflow', 'hdr_digest', 'data_digest']

/** 16 bytes of a UUID as text; null when it is none. */
export function uuid_parse(text: string): Uint8Array | null {
  const m = /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i.exec(text)
  if (m === null) return null
  return Uint8Array.from(Buffer.from(m.slice(1).join(''), 'hex'))
}

type Given = Map<string, string>

function refuse(why: string): nvmf_refusal {
  return { error: -EINVAL, why }
}

/** Option by name; an unknown one or one without its value is refused. */
function split(text: string): Given | nvmf_refusal {
  const given: Given = new Map()
  for (const part of text.split(/[,\n]/).filter(one => one !== '')) {
    const at = part.indexOf('=')
    const name = at < 0 ? part : part.slice(0, at)
    const value = at < 0 ? '' : part.slice(at + 1)
    const takes = TEXTS.includes(name) || NUMBERS.includes(name)
    if (!takes && !FLAGS.includes(name)) return refuse(`unknown parameter '${part}'`)
    if (takes && value === '') return refuse(`${name}: needs a value`)
    if (NUMBERS.includes(name) && !/^-?\d{1,9}$/.test(value))
      return refuse(`Invalid ${name} ${value}`)
    given.set(name, value)
  }
  return given
}

/** A number in its limits, or a refusal. */
function checked(given: Given, name: string, usual: number, low: number, high = 2 ** 31): number {
  const value = given.has(name) ? Number(given.get(name)) : usual
  return value >= low && value <= high ? value : Number.NaN
}

function hostOf(given: Given, host: nvmf_host): nvmf_host | nvmf_refusal {
  const nqn = given.get('hostnqn') ?? host.nqn
  if (nqn.length >= NVMF_NQN_SIZE) return refuse(`Invalid hostnqn ${nqn}`)
  const text = given.get('hostid')
  const id = text === undefined ? host.id : uuid_parse(text)
  return id === null ? refuse(`Invalid hostid ${text}`) : { nqn, id }
}

/** How many attempts there are in so many seconds; -1 = without end. */
export function nvmf_max_reconnects(ctrl_loss_tmo: number, reconnect_delay: number): number {
  return ctrl_loss_tmo < 0 ? -1 : Math.ceil(ctrl_loss_tmo / reconnect_delay)
}

/**
 * Reads the options.
 * @param cpus CPUs that are online
 * @param host the module's own name, for who gives none
 */
export function nvmf_parse_options(
  text: string,
  cpus: number,
  host: nvmf_host,
): nvmf_ctrl_options | nvmf_refusal {
  const given = split(text)
  if (!(given instanceof Map)) return given
  const named = hostOf(given, host)
  if ('error' in named) return named
  const nqn = given.get('nqn') ?? ''
  if (!given.has('transport')) return refuse('missing parameter transport=%s')
  if (nqn === '') return refuse('missing parameter nqn=%s')
  if (nqn.length >= NVMF_NQN_SIZE) return refuse(`${nqn} needs to be < ${NVMF_NQN_SIZE} bytes`)
  const discovery = nqn === NVME_DISC_SUBSYS_NAME
  const queue_size = checked(
    given,
    'queue_size',
    NVMF_DEF_QUEUE_SIZE,
    NVMF_MIN_QUEUE_SIZE,
    NVMF_MAX_QUEUE_SIZE,
  )
  const asked = checked(given, 'nr_io_queues', cpus, 1)
  const reconnect_delay = checked(given, 'reconnect_delay', NVMF_DEF_RECONNECT_DELAY, 1)
  const kato = checked(given, 'keep_alive_tmo', NVME_DEFAULT_KATO, 0)
  for (const [name, value] of Object.entries({
    queue_size,
    nr_io_queues: asked,
    reconnect_delay,
    kato,
  }))
    if (Number.isNaN(value)) return refuse(`Invalid ${name === 'kato' ? 'keep_alive_tmo' : name}`)
  const loss = given.has('ctrl_loss_tmo')
    ? Number(given.get('ctrl_loss_tmo'))
    : NVMF_DEF_CTRL_LOSS_TMO
  return {
    transport: given.get('transport')!,
    subsysnqn: nqn,
    traddr: given.get('traddr') ?? '',
    trsvcid: given.get('trsvcid') ?? '',
    host_traddr: given.get('host_traddr') ?? '',
    queue_size,
    nr_io_queues: discovery ? 0 : Math.min(asked, cpus),
    reconnect_delay,
    kato: discovery ? 0 : kato,
    max_reconnects: nvmf_max_reconnects(loss, reconnect_delay),
    host: named,
    duplicate_connect: discovery || given.has('duplicate_connect'),
    disable_sqflow: given.has('disable_sqflow'),
    hdr_digest: given.has('hdr_digest'),
    data_digest: given.has('data_digest'),
    discovery_nqn: discovery,
    mask: new Set(given.keys()),
  }
}
