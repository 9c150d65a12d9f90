#!/usr/bin/env node
// The command `phasebit`: opens the program and runs it. From here to the first I/O takes about a tenth of a second: the program is
// a few files, and their code lies beside them (cli/program.ts).
import { fileURLToPath } from 'node:url'
import { Program } from './cli/program.js'

/** The program's file, beside this one; its name has the hash of the text. The build puts it here. */
declare const PROGRAM: string

const program = new Program(fileURLToPath(new URL(PROGRAM, import.meta.url)))
const args = process.argv.slice(2)
await program.open().main(args)
if (args[0] === 'run' && process.exitCode === 0 && program.compiled) keepCode()

/** For the next time, where this user may write there. */
function keepCode(): void {
  try {
    program.saveCode()
  } catch {
    // The next run compiles again.
  }
}
