// The process in which sides are measured: asked by name, one side at a time. It lives for the
// rounds of one process.

import { CELLS } from './macro/cells.js'
import type { ChildAnswer, ChildRequest } from './children.js'

async function answer({ cell, side, size }: ChildRequest): Promise<ChildAnswer> {
  try {
    const found = CELLS.find(one => one.name === cell)!.sides[side]!
    return { measured: await found.measure(size) }
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) }
  }
}

process.on('message', async (request: ChildRequest) => {
  process.send!(await answer(request))
})
