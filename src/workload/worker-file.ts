// The file that threads of a machine with jobs load (cpu.worker.ts).
import { distUrl } from '../core/wasm.js'

/** Bundled by the build. */
export const WORKER_FILE: URL = distUrl('lib/cpu.worker.cjs')
