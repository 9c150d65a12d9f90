// JSON text in fio's layout: two spaces per level, ` : ` between key and value, six decimals for floats.
//
//   {
//     "iops" : 18.500000,
//     "total_ios" : 37
//   }
//
// Objects are Maps, so that keys stay in the order they were set; a JavaScript object would move "10" before ">=64".

/** A number that is always printed with six decimals. */
export interface Float6 {
  float: number
}

export type JsonNode = string | number | boolean | null | Float6 | JsonNode[] | JsonObject
export type JsonObject = Map<string, JsonNode>

/** An object from key and value pairs; pairs whose value is undefined are left out. */
export function object(...pairs: readonly (readonly [string, JsonNode | undefined])[]): JsonObject {
  const map: JsonObject = new Map()
  for (const [key, value] of pairs) {
    if (value !== undefined) map.set(key, value)
  }
  return map
}

/** An object of floats. */
export function floats(keys: readonly string[], values: readonly number[]): JsonObject {
  return new Map(keys.map((key, i) => [key, float(values[i] ?? 0)]))
}

/** A number with six decimals. */
export function float(value: number): Float6 {
  return { float: value }
}

/** The text, without a final newline. */
export function jsonText(node: JsonNode, indent = ''): string {
  const inner = `${indent}  `
  if (Array.isArray(node)) {
    return block(
      '[',
      node.map(item => jsonText(item, inner)),
      ']',
      indent,
    )
  }
  if (node instanceof Map) {
    const pair = ([key, value]: [string, JsonNode]): string =>
      `${JSON.stringify(key)} : ${jsonText(value, inner)}`
    return block('{', [...node].map(pair), '}', indent)
  }
  return scalar(node)
}

function block(open: string, items: readonly string[], close: string, indent: string): string {
  if (items.length === 0) return open + close
  const lines = items.map(item => `${indent}  ${item}`).join(',\n')
  return `${open}\n${lines}\n${indent}${close}`
}

function scalar(node: string | number | boolean | null | Float6): string {
  if (typeof node === 'number') return String(Math.trunc(finite(node)))
  if (typeof node === 'object' && node !== null) return finite(node.float).toFixed(6)
  return JSON.stringify(node)
}

/** JSON knows no NaN and no infinity; a figure that does not exist is 0, as in fio. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : 0
}
