// The typed face of the core against the module that was built.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createMemory } from '../../../src/core/memory.js'
import { compileCore, distUrl, instantiateCore, trapText } from '../../../src/core/wasm.js'

const source = (path: string): string =>
  readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** Methods of the Core interface: name and number of parameters. */
function declared(): [name: string, parameters: number][] {
  const text = source('src/core/wasm.ts')
  const body = text.slice(text.indexOf('export interface Core {'), text.indexOf('\n}\n'))
  const methods = [...body.matchAll(/^ {2}(\w+)\(([^)]*)\): (?:number|void)$/gm)]
  return methods.map(([, name, list]) => [name!, list!.match(/: number/g)?.length ?? 0])
}

describe('the core', () => {
  const module = compileCore('release')

  it('exports every function that its interface declares, with as many parameters', () => {
    const core = instantiateCore(module, createMemory(2 ** 20), { now: () => 0, relax: () => {} })
    const functions = core as unknown as Record<string, unknown>
    expect(declared().length).toBeGreaterThan(20)
    for (const [name, parameters] of declared()) {
      expect(functions[name], name).toBeTypeOf('function')
      expect(functions[name], name).toHaveLength(parameters)
    }
  })

  it('asks for a memory, a clock, a place to rest, drivers and a device of TypeScript, and for nothing else', () => {
    const imports = WebAssembly.Module.imports(module).map(i => `${i.module}.${i.name}`)
    expect(imports.sort()).toEqual(
      ['block_host', 'device_host', 'make_request', 'memory', 'now', 'null_cmd', 'relax'].map(
        name => `env.${name}`,
      ),
    )
  })

  it('has a text for each broken invariant', () => {
    const codes = [...source('assembly/bug.ts').matchAll(/^export const BUG_\w+ = (\d+)/gm)]
    expect(codes.length).toBeGreaterThan(5)
    for (const [, code] of codes) expect(trapText(Number(code))).not.toMatch(/^broken invariant/)
    expect(trapText(9999)).toBe('broken invariant 9999')
  })

  it('is found from the sources and from the build alike', () => {
    expect(distUrl('core.release.wasm').pathname).toMatch(/\/dist\/core\.release\.wasm$/)
  })
})
