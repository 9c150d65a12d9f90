// Writes src/workload/trace-functions.ts: the functions of Linux that TypeScript's half can record, as its sources name
// them in enter(). A test holds the list against the sources (--print).
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const FOLDERS = ['src/kernel', 'src/mm', 'src/block', 'src/fs', 'src/drivers', 'src/machine']
const CALL =
  /\b(?:enter|begin|here|note|entered|called|trace_call)\(\s*[^'"`;]*?,\s*'([a-zA-Z_][a-zA-Z0-9_]*)'/g

/** Names that stand in tables of the fabrics transports. */
const TABLE =
  /'(nvmet?_(?:loop|rdma|tcp|fc)_[a-z_]+|nvme_reset_ctrl_work|blk_mq_rdma_map_queues|nvmet_execute_get_log_[a-z_]+)'/g

/** Every name, sorted. */
function namesInSources() {
  const names = new Set()
  for (const folder of FOLDERS)
    for (const file of readdirSync(join(root, folder), { recursive: true })) {
      if (!file.endsWith('.ts')) continue
      const text = readFileSync(join(root, folder, file), 'utf8').replace(
        /^\s*(\/\/|\*|\/\*).*$/gm,
        '',
      )
      for (const [, name] of text.matchAll(CALL)) names.add(name)
      for (const [, name] of text.matchAll(TABLE)) names.add(name)
    }
  return [...names].sort()
}

function listText(names) {
  return [
    "// The functions of Linux that TypeScript's half can record. Written by scripts/trace-functions.mjs.",
    '',
    'export const HOST_FUNCTIONS: readonly string[] = [',
    ...names.map(name => `  '${name}',`),
    ']',
    '',
  ].join('\n')
}

const text = listText(namesInSources())
if (process.argv.includes('--print')) process.stdout.write(text)
else writeFileSync(join(root, 'src/workload/trace-functions.ts'), text)
