// Names of scenarios: any combination of the grammar runs and shows something, not only what was recorded.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UserError } from '../../src/core/errors.js'
import { parseScenario } from '../../src/workload/scenario-names.js'
import { scenarioOf } from '../../src/workload/scenarios.js'

const SCHEDS = ['none', 'mq-deadline', 'kyber'] as const
const scheduler = fc.constantFrom('', ...SCHEDS.map(sched => `-${sched}`))
const cpus = fc.constantFrom('', '-1cpu', '-2cpu', '-4cpu')
const op = fc.constantFrom(
  ...['read', 'write', 'flush', 'wflush', 'dsync', 'batchr', 'batchr4', 'batchw4', 'batchw16'],
)

/** A scheduler in its place, at the end, or nowhere. */
function withSched(before: string, after: string): fc.Arbitrary<string> {
  return fc
    .tuple(scheduler, fc.boolean())
    .map(([sched, last]) => (last ? `${before}${after}${sched}` : `${before}${sched}${after}`))
}

const nullblk = fc
  .tuple(
    fc.constantFrom('mq', 'bio', 'cache', 'nocache'),
    fc.constantFrom('', '-depth1', '-depth4'),
    fc.constantFrom('', '-irq0', '-irq1', '-irq2'),
    op,
  )
  .chain(([mode, depth, irq, what]) => withSched(`nullblk-${mode}${depth}${irq}`, `-${what}`))
const fault = fc
  .tuple(fc.integer({ min: 1, max: 8 }), fc.constantFrom(...SCHEDS))
  .chain(([n, sched]) =>
    fc.oneof(
      fc.constant(`nullblk-requeue-${sched}-read${n}`),
      fc.constant(`nullblk-fault-timeout-read${n}-${sched}`),
    ),
  )
const nvme = fc.oneof(
  op.chain(what => withSched('nvmepci', `-${what}`)),
  fc
    .tuple(
      fc.constantFrom('probe', 'remove', 'reset', 'reset-during-io', 'timeout', 'admin-identify'),
      scheduler,
    )
    .map(([story, sched]) => `nvmepci-${story}${sched}`),
)

const fabrics = fc
  .tuple(fc.constantFrom('loop', 'rdma', 'fc', 'tcp'), op, scheduler)
  .map(([transport, what, sched]) => `nvme${transport}-${what}${sched}`)

describe('scenario names', () => {
  it('run in any combination', async () => {
    const names = fc.oneof({ weight: 3, arbitrary: nullblk }, fault, nvme, fabrics)
    await fc.assert(
      fc.asyncProperty(names, cpus, async (name, nr) => {
        const { records, drops } = await scenarioOf(`${name}${nr}`).run()
        expect(drops).toBe(0)
        expect(records.length).toBeGreaterThan(5)
      }),
      { numRuns: 60, seed: 3 },
    )
  })

  it('mean the same with the scheduler at the end', () => {
    const bare = ({ name: _, ...rest }: ReturnType<typeof parseScenario>) => rest
    for (const sched of SCHEDS)
      expect(bare(parseScenario(`nullblk-cache-irq2-dsync-${sched}-4cpu`))).toEqual(
        bare(parseScenario(`nullblk-cache-irq2-${sched}-dsync-4cpu`)),
      )
    expect(parseScenario('nullblk-bio-kyber-read').sched).toBe('none')
  })

  it.each(['read', 'batchw16', 'link-lost', 'wrong-key', 'kept-key', 'connect-4cpu'])(
    'nvmerdma-%s with latency comes to the same end',
    async story => {
      const ends = await Promise.all(
        ['', '-latency10us', '-latency10000us'].map(async latency => {
          const { records, drops, config } = await scenarioOf(`nvmerdma-${story}${latency}`).run()
          expect(drops).toBe(0)
          expect(config['latency']).toBe(latency === '' ? undefined : latency.slice(8))
          const entered = records.filter(({ kind, name }) => kind === 'enter' && /^nvme_/.test(name))
          return new Set(entered.map(({ name }) => name))
        }),
      )
      // A keep-alive or a timer of requests may come between.
      for (const end of ends.slice(1))
        expect([...ends[0]!].filter(name => !end.has(name))).toEqual([])
    },
  )

  it.each([
    'nullblk-mq-none-read-kyber',
    'nullblk-rq-read-kyber',
    'nullblk-mq-create-kyber',
    'nvmepci-none-read-kyber',
    'nvmepci-read4',
    'nvmepci-kyber-read-4.9',
    'nvmefc-read-latency10us',
    'nvmerdma-read-latency0us',
    'nvmerdma-read-latency10001us',
    'nvmepci-batchr0',
    'nvmefc-none-read',
    'nvmerdma-read-kyber-4.9',
    'nullblk-mq-bfq-read',
  ])('%s is none', name => {
    expect(() => scenarioOf(name)).toThrow(UserError)
  })

  it.each([
    ['nullblk-mq-bfq-read', '{none|mq-deadline|kyber}'],
    ['nullblk-mq-irq3-none-read', '[-irq{0|1|2}]'],
    ['laptop-mode-foo', '{off-read|write-read-timer|'],
    ['pblk-write12', '{create|remove|write1|batchwN|'],
    ['pblk-batchw1025', 'N from 1 to 1024'],
    ['foo', 'names begin with nullblk-, laptop-mode-, nvmepci-'],
    ['nullblk-mq-none-read-65cpu', 'CPUs must be 1 to 64, not 65'],
    ['nullblk-mq-none-batchr129', 'I/Os of a batch must be 1 to 128, not 129'],
    ['nullblk-requeue-none-read0', 'the read must be 1 to 1000, not 0'],
    ['nullblk-mq-depth20000-none-read', 'the depth must be 1 to 10240, not 20000'],
    ['nullblk-throttle-mbps0-batchw8', 'mbps must be 1 to 40960, not 0'],
  ])('%s is refused, and what is accepted is said', (name, said) => {
    expect(() => scenarioOf(name)).toThrow(said)
  })

  it.each([
    ['kyber', 4],
    ['mq-deadline', 0],
    ['none', 0],
  ])('a queue that keeps statistics, as %s asks for, shows its requests to rq_qos_issue', async (sched, n) => {
    const { records } = await scenarioOf(`nullblk-mq-irq1-${sched}-batchr4`).run()
    const issued = records.flatMap(({ name }, i) => (name === 'rq_qos_issue' ? [i] : []))
    expect(issued.map(i => records[i - 1]!.name)).toEqual(Array(n).fill('block_rq_issue'))
  })
})
