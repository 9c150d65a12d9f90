// The generator and verify half of the core, compiled alone, with everything it exports: the tests of this folder also
// call what the whole core keeps to itself. 64-bit arguments cross as BigInt here.
//
// The module is compiled once for each state of the sources and kept in node_modules/.cache.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

const root = new URL('../../../', import.meta.url)
const FILES = [
  'prng',
  'permute',
  'blockmap',
  'checksum',
  'distribution',
  'blocksize',
  'buffer',
  'offset',
  'readback',
  'verify',
]
const OPTIONS = [
  ...['--runtime', 'stub', '--importMemory', '--sharedMemory', '--enable', 'threads,simd'],
  ...['--initialMemory', '16', '--maximumMemory', '65536', '--optimizeLevel', '3'],
  ...['--noAssert', '--use', 'abort=', '--outFile', 'generator.wasm'],
]

export interface GeneratorCore {
  prng_next(state: number): bigint
  prng_below(state: number, n: bigint): bigint
  prng_unit(state: number): number
  mix64(x: bigint): bigint
  permute_bits(n: bigint): number
  permute_keys(key: number, rng: number): void
  permute(x: bigint, n: bigint, bits: number, key: number): bigint
  blockmap_clear(map: number, n: bigint): void
  blockmap_next_free(map: number, n: bigint, from: bigint): bigint
  blockmap_take(map: number, n: bigint, from: bigint, want: bigint): bigint
  dist_init(ds: number, n: bigint): void
  dist_next(ds: number, n: bigint, rng: number, at: number): bigint
  exp_interval(job: number, mean: number): number
  checksum_tables(tables: number): void
  crc32c(tables: number, from: number, len: number, before: number): number
  crc32(tables: number, from: number, len: number, before: number): number
  crc16(tables: number, from: number, len: number, before: number): number
  crc64(tables: number, from: number, len: number, before: bigint): bigint
  crc7(tables: number, from: number, len: number, before: number): number
  xxhash32(from: number, len: number, seed: number): number
  stream_fill(at: number, len: number, seed: bigint): void
  pattern_fill(at: number, len: number, pattern: number, offset: bigint): void
  pattern_check(at: number, from: number, to: number, pattern: number, offset: bigint): number
  fill_buffer(job: number, at: number, len: number): void
  gen_next(job: number): number
  gen_restart(job: number): void
  gen_again(job: number, left: bigint): number
  verify_fill(job: number, buf: number, disk: bigint, len: number, number: number): void
  verify_check(
    job: number,
    file: number,
    buf: number,
    disk: bigint,
    len: number,
    number: number,
  ): number
  verify_digest_bad(job: number, file: number, disk: number, number: number): number
  verify_number(job: number): number
  verify_busy(job: number, file: number, disk: bigint, len: number): number
  verify_note_write(job: number, file: number, disk: bigint, len: number, number: number): void
  verify_write_done(
    job: number,
    file: number,
    disk: bigint,
    len: number,
    number: number,
    ok: number,
  ): void
  verify_begin(job: number): void
  verify_end(job: number): void
  verify_next(job: number): number
}

function source(path: string): string | null {
  const url = new URL(path, root)
  return existsSync(url) ? readFileSync(url, 'utf8') : null
}

async function compile(): Promise<Uint8Array<ArrayBuffer>> {
  const { default: asc } = await import('assemblyscript/asc')
  let binary: Uint8Array | undefined
  const { error, stderr } = await asc.main([...FILES.map(f => `assembly/${f}.ts`), ...OPTIONS], {
    readFile: name => (name.endsWith('asconfig.json') ? '{}' : source(name)),
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm') && typeof contents !== 'string') binary = contents
    },
    listFiles: () => [],
  })
  if (error || !binary) throw new Error(`${error?.message}\n${stderr.toString()}`)
  return new Uint8Array(binary)
}

async function build(): Promise<Uint8Array<ArrayBuffer>> {
  const hash = createHash('sha256')
  for (const f of [...FILES, 'layout']) hash.update(source(`assembly/${f}.ts`) ?? '')
  const cache = new URL('node_modules/.cache/phasebit/', root)
  const file = new URL(`generator-${hash.digest('hex').slice(0, 16)}.wasm`, cache)
  if (existsSync(file)) return new Uint8Array(readFileSync(file))
  const binary = await compile()
  mkdirSync(cache, { recursive: true })
  const draft = new URL(`${file.href}.${process.pid}`)
  writeFileSync(draft, binary)
  renameSync(draft, file)
  return binary
}

const module = new WebAssembly.Module(await build())

/** An instance of its own memory. */
export function instantiate(memory: WebAssembly.Memory): GeneratorCore {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  return exports as unknown as GeneratorCore
}
