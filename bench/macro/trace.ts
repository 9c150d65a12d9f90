// What tracing costs a job: on, every function and tracepoint of the core recorded into the rings that `phasebit run
// --trace` has; off, the release core against one without a hook in its text.
//
// 4 KiB random reads of an inline device that completes at once, one CPU.

import { atLeast, type Cell, ratio, type Side } from '../cell.js'
import { bareCore } from '../bare.js'
import { Rig } from '../rig.js'
import { commandLine, type Load, lookAt, phasebit } from './job.js'

const LOAD: Load = { depth: 32, batch: 8, device: 'size=1G,model=null' }

const ON: Side = phasebit({ ...LOAD, lat: 'batch', more: ['--trace=unwritten'] }, 'traced')

/** What of the stack the hooks stand in, not the short way around it: one I/O after the other, each by itself. */
const OFF: Load = { depth: 1, batch: 1, device: 'size=1G,model=null', more: ['--rw=read'] }

const BARE: Side = {
  name: 'without hooks',
  where: 'child',
  measure: async size => {
    const rig = Rig.boot(commandLine(OFF), 1, { module: bareCore() })
    await rig.begin()
    rig.startAll()
    return lookAt(rig, size)
  },
}

export const TRACE_CELLS: readonly Cell[] = [
  {
    name: 'trace-on',
    title: 'functions and tracepoints recorded, one CPU, inline null, QD32 batch 8',
    unit: 'ns',
    sides: [ON],
    figure: values => 1000 / values[0]!,
    figureUnit: 'M/s',
    goal: atLeast(1),
    needs: [],
  },
  {
    name: 'trace-off',
    title: 'hooks that are off against no hooks, one CPU, inline null, sequential QD1',
    unit: 'ns',
    sides: [phasebit(OFF), BARE],
    figure: ratio,
    figureUnit: '',
    goal: null,
    needs: ['bare core'],
  },
]
