import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UserError } from '../../../src/core/errors.js'
import { IoError } from '../../../src/workload/open-io.js'
import { openMachine } from '../../../src/workload/open-machine.js'

const SMALL = { sizeBytes: 2 ** 30, memBytes: 2 ** 24, maxBytes: 65536, depth: 8 }

function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value)
}

describe('openMachine, promises', () => {
  it('reads back what was written, and zeros where nothing was', async () => {
    const m = await openMachine(SMALL)
    await m.write(8192, bytes(4096, 7))
    expect(await m.read(4096, 8192)).toEqual(new Uint8Array([...bytes(4096, 0), ...bytes(4096, 7)]))
    await m.trim(8192, 4096)
    expect(await m.read(8192, 4096)).toEqual(bytes(4096, 0))
    await m.flush()
    expect(m.balanced).toBe(true)
    await m.close()
  })

  it.each(['lba=1024', 'lba=2048', 'lba=1024,namespaces=2'])('blocks of %s', async keys => {
    const m = await openMachine({
      devices: [`nvme,size=16m,${keys}`],
      probe: keys.includes('names'),
    })
    const lba = keys.includes('1024') ? 1024 : 2048
    await m.write(3 * lba, bytes(lba, 7))
    await m.write(4095 * 1024 - ((4095 * 1024) % lba), bytes(2 * lba, 9))
    expect(await m.read(2 * lba, 3 * lba)).toEqual(
      new Uint8Array([...bytes(lba, 0), ...bytes(lba, 7), ...bytes(lba, 0)]),
    )
    await expect(m.read(512, 1024)).rejects.toThrow()
    await m.close()
    expect(m.balanced).toBe(true)
  })

  it('has everything of one turn in flight together', async () => {
    const m = await openMachine(SMALL)
    const start = m.nowNs
    await m.read(0, 4096)
    const alone = m.nowNs - start
    await Promise.all(Array.from({ length: 8 }, (_, i) => m.read(i * 4096, 4096)))
    expect(m.nowNs - start - alone).toBeLessThan(alone * 4)
    expect(alone).toBeGreaterThanOrEqual(10_000)
    expect(m.inFlight).toBe(0)
    await m.close()
  })

  it('rejects with the errno of an I/O that failed', async () => {
    const devices = ['nvme,fault=status:0x4281/op:read/lba:8-15']
    const m = await openMachine({ ...SMALL, devices })
    const failed = m.read(4096, 4096)
    await expect(failed).rejects.toThrow(IoError)
    await expect(failed).rejects.toMatchObject({ errno: 5, message: /read at offset 4096/ })
    expect((await m.read(8192, 4096)).length).toBe(4096)
    await m.close()
  })

  it('fails writes that its memory cannot hold', async () => {
    const m = await openMachine({ ...SMALL, memBytes: 2 ** 20 })
    const write = async (): Promise<void> => {
      for (let i = 0; i < 64; i++) await m.write(i * 65536, bytes(65536, i))
    }
    await expect(write()).rejects.toMatchObject({ errno: 28 })
    await m.close()
  })
})

describe('openMachine, submit and poll', () => {
  it('gives every ticket back once, with data and latency', async () => {
    const m = await openMachine(SMALL)
    const tickets = new Set<number>()
    for (let i = 0; i < 30; i++)
      tickets.add(m.submit({ op: 'write', offset: i * 512, data: bytes(512, i) }))
    expect(m.inFlight).toBe(30)
    const seen: number[] = []
    while (m.inFlight > 0)
      for (const c of m.poll()) {
        expect(c.errno).toBe(0)
        expect(c.latencyNs).toBeGreaterThan(0)
        seen.push(c.ticket)
      }
    expect(seen.sort((a, b) => a - b)).toEqual([...tickets])
    expect(m.poll()).toEqual([])
    await m.close()
  })

  it('takes disks by name', async () => {
    const m = await openMachine({ ...SMALL, devices: ['nvme', 'nvme,lba=4096'] })
    expect(m.disks).toEqual(['nvme0n1', 'nvme1n1'])
    await m.write(0, bytes(4096, 1), '/dev/nvme1n1')
    expect(await m.read(0, 4096)).toEqual(bytes(4096, 0))
    expect(await m.read(0, 4096, 'nvme1n1')).toEqual(bytes(4096, 1))
    expect(() => m.submit({ op: 'read', offset: 0, length: 512 }, 'nvme1n1')).toThrow(/4096 bytes/)
    await m.close()
  })

  it.each([
    [{ op: 'read', offset: 100, length: 512 } as const, /whole blocks/],
    [{ op: 'read', offset: 0, length: 0 } as const, /whole blocks/],
    [{ op: 'trim', offset: 2 ** 30 - 512, length: 1024 } as const, /ends at/],
    [{ op: 'read', offset: 0, length: 131072 } as const, /at most 65536/],
  ])('refuses %j', async (io, message) => {
    const m = await openMachine(SMALL)
    expect(() => m.submit(io)).toThrow(UserError)
    expect(() => m.submit(io)).toThrow(message)
    expect(m.inFlight).toBe(0)
    await m.close()
  })

  it('refuses devices that are not built', async () => {
    await expect(openMachine({ devices: ['nvme,ocssd=2.0'] })).rejects.toThrow(/not built yet/)
    await expect(openMachine({ depth: 0 })).rejects.toThrow(/depth=0/)
  })

  it('agrees with an array, whatever is asked', async () => {
    const block = fc.nat(63)
    const op = fc.record({ kind: fc.nat(3), at: block, n: fc.integer({ min: 1, max: 16 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 40 }), async list => {
        const m = await openMachine(SMALL)
        const model = new Uint8Array(80 * 512)
        for (const [i, { kind, at, n }] of list.entries()) {
          const [from, length] = [at * 512, n * 512]
          if (kind === 0) {
            model.fill(i + 1, from, from + length)
            await m.write(from, bytes(length, i + 1))
          } else if (kind === 1) {
            model.fill(0, from, from + length)
            await m.trim(from, length)
          } else if (kind === 2) await m.flush()
          else expect(await m.read(from, length)).toEqual(model.slice(from, from + length))
        }
        expect(m.balanced).toBe(true)
        await m.close()
      }),
      { numRuns: 20 },
    )
  })
})

describe('a machine with controllers', () => {
  it('faults come and go while it runs; what they break is recovered', async () => {
    const machine = await openMachine({ devices: ['nvme,size=16M'], probe: true })
    const data = new Uint8Array(4096).fill(7)
    await machine.write(0, data)
    const bad = machine.addFault('status:0x4281/op:read')
    await expect(machine.read(0, 4096)).rejects.toThrow(IoError)
    bad()
    expect(await machine.read(0, 4096)).toEqual(data)
    const lost = machine.addFault('drop/op:read/nth:1')
    const before = machine.nowNs
    expect(await machine.read(0, 4096)).toEqual(data)
    expect(machine.nowNs - before).toBeGreaterThan(29e9)
    lost()
    expect(machine.balanced).toBe(true)
    await machine.close()
  })

  it('namespaces are disks', async () => {
    const machine = await openMachine({ devices: ['nvme,size=8M,namespaces=2'] })
    expect(machine.disks).toEqual(['nvme0n1', 'nvme0n2'])
    expect(machine.sizeBytes('nvme0n2')).toBe(2 ** 22)
    await machine.write(0, new Uint8Array(4096).fill(1), 'nvme0n1')
    await machine.write(0, new Uint8Array(4096).fill(2), 'nvme0n2')
    expect((await machine.read(0, 4096, 'nvme0n1'))[0]).toBe(1)
    expect((await machine.read(0, 4096, 'nvme0n2'))[4095]).toBe(2)
    await machine.close()
  })

  it('what is no fault, and a disk without a controller, are refused', async () => {
    const machine = await openMachine({ devices: ['nvme,size=16M'] })
    expect(() => machine.addFault('drop')).toThrow(/probe: true/)
    expect(() => machine.addFault('explode')).toThrow(/the action is one of/)
    await machine.close()
  })
})
