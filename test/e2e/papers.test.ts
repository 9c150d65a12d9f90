// examples/papers.md shows what the commands in it print.
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { phasebitIn, ROOT } from './gate-command.js'

const text = readFileSync(join(ROOT, 'examples', 'papers.md'), 'utf8')
const blocks = [...text.matchAll(/```console\n\$ phasebit (.+)\n([\s\S]*?)```/g)]

it('has an experiment for each paper', () => {
  expect(blocks.map(([, command]) => command.split(' ')[1])).toEqual([
    'poll-vs-irq',
    'poll-vs-irq',
    'mq-vs-sq',
  ])
})

it.each(blocks.map(([, command, output]) => [command, output]))('%s', (command, output) => {
  expect(phasebitIn(tmpdir(), command.split(' '))).toEqual({
    status: 0,
    stdout: output,
    stderr: '',
  })
})
