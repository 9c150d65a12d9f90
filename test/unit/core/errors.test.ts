import { expect, it } from 'vitest'
import { OutputError, UserError } from '../../../src/core/errors.js'

it('errors for the user are one line, whatever a file name in them holds', () => {
  const cause = new Error('why')
  for (const kind of [UserError, OutputError]) {
    const error = new kind('include loop\r$[b]\n\u0000\u007f: no such file', { cause })
    expect(error.message).toBe(String.raw`include loop\x0d$[b]\x0a\x00\x7f: no such file`)
    expect(error.cause).toBe(cause)
  }
  expect(new UserError('ä is fine').message).toBe('ä is fine')
})
