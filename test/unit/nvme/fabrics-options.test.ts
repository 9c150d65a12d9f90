// The text that is written to /dev/nvme-fabrics.

import { describe, expect, it } from 'vitest'
import { nvmf_parse_options, uuid_parse } from '../../../src/drivers/nvme/host/fabrics-options.js'
import { EINVAL } from '../../../src/kernel/errno.js'
import { FabricRig, TCP_TEXT } from './fabric-rig.js'

const HOST = { nqn: 'nqn.module', id: new Uint8Array(16).fill(1) }
const BASE = 'transport=tcp,nqn=nqn.some'
const parse = (more = '', cpus = 4) => nvmf_parse_options(BASE + more, cpus, HOST)

describe('nvme-fabrics 1: host options', () => {
  it('defaults', () => {
    expect(parse()).toMatchObject({
      queue_size: 128,
      nr_io_queues: 4,
      reconnect_delay: 10,
      max_reconnects: 60,
      kato: 5,
      host: HOST,
      duplicate_connect: false,
      disable_sqflow: false,
      hdr_digest: false,
      data_digest: false,
    })
  })

  it.each([
    ['queue_size=16', { queue_size: 16 }],
    ['queue_size=1024', { queue_size: 1024 }],
    ['nr_io_queues=2', { nr_io_queues: 2 }],
    ['nr_io_queues=100', { nr_io_queues: 4 }],
    ['reconnect_delay=1,ctrl_loss_tmo=10', { reconnect_delay: 1, max_reconnects: 10 }],
    ['ctrl_loss_tmo=-1', { max_reconnects: -1 }],
    ['ctrl_loss_tmo=0', { max_reconnects: 0 }],
    ['keep_alive_tmo=0', { kato: 0 }],
    ['keep_alive_tmo=30', { kato: 30 }],
    ['hdr_digest,data_digest', { hdr_digest: true, data_digest: true }],
    ['hostnqn=nqn.mine', { host: { nqn: 'nqn.mine', id: HOST.id } }],
  ])('%s', (text, want) => {
    expect(parse(`,${text}`)).toMatchObject(want)
  })

  it.each([
    ['ctrl_loss_tmo=600,reconnect_delay=10', 60],
    ['ctrl_loss_tmo=25,reconnect_delay=10', 3],
    ['ctrl_loss_tmo=-1', -1],
    ['ctrl_loss_tmo=0', 0],
  ])('nvme-fabrics 16.1: %s: max_reconnects %i', (text, max_reconnects) => {
    expect(parse(`,${text}`)).toMatchObject({ max_reconnects })
  })

  it.each([
    'queue_size=15',
    'queue_size=1025',
    'queue_size=x',
    'nr_io_queues=0',
    'reconnect_delay=0',
    'keep_alive_tmo=-1',
    'hostid=12',
    `hostnqn=${'n'.repeat(223)}`,
    `nqn=${'n'.repeat(223)}`,
    'nqn=',
    'no_such_option=1',
  ])('%s is refused', text => {
    expect(parse(`,${text}`)).toMatchObject({ error: -EINVAL })
  })

  it('a discovery controller has no I/O queues, no keep-alive, and may be there twice', () => {
    const text = 'transport=tcp,nqn=nqn.2014-08.org.nvmexpress.discovery,keep_alive_tmo=5'
    expect(nvmf_parse_options(text, 4, HOST)).toMatchObject({
      nr_io_queues: 0,
      kato: 0,
      duplicate_connect: true,
      discovery_nqn: true,
    })
  })

  it('a name and a transport must be there', () => {
    for (const text of ['transport=tcp', 'nqn=nqn.some', ''])
      expect(nvmf_parse_options(text, 1, HOST)).toMatchObject({ error: -EINVAL })
  })

  it('hostid is a UUID, byte by byte', () => {
    expect(uuid_parse('00112233-4455-6677-8899-aabbccddeeff')?.[15]).toBe(0xff)
    expect(uuid_parse('00112233445566778899aabbccddeeff')).toBeNull()
  })
})

describe('transports', () => {
  it('a connection without keep-alive is warned of', () => {
    const rig = new FabricRig({ cpus: 1 })
    rig.connect(`${TCP_TEXT},keep_alive_tmo=0`)
    expect(rig.log()[0]).toContain('no keep-alives')
  })

  it.each([
    ['a transport that is not loaded', TCP_TEXT.replace('tcp', 'quic'), 'no handler'],
    ['no address', 'transport=tcp,nqn=nqn.some', "missing parameter 'traddr"],
    ['digests over RDMA', TCP_TEXT.replace('tcp', 'rdma').concat(',hdr_digest'), 'hdr_digest'],
    [
      'no port of the host over FC',
      'transport=fc,traddr=x,nqn=nqn.some',
      "missing parameter 'host",
    ],
  ])('%s: -EINVAL, and the log says why', (_, text, why) => {
    const rig = new FabricRig({ cpus: 1 })
    expect(() => rig.connect(text)).toThrow(`connect: ${-EINVAL}`)
    expect(rig.log().at(-1)).toContain(why)
  })
})
