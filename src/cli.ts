#!/usr/bin/env node
// The command `phasebit`. Everything else is loaded when it is needed: from here to the first I/O takes about a tenth
// of a second, and most of that is Node.
import { main } from './cli/main.js'

await main(process.argv.slice(2))
