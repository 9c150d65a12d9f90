/** The functions that the sources enter by name, in order. */
export function namesInSources(): string[]
/** The text of src/workload/trace-functions.ts. */
export function listText(names: readonly string[]): string
