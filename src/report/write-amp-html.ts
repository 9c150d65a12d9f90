// `phasebit bench write-amp` as one HTML file (html-page.ts).
//
// One plot for each distribution: write amplification over spare space, a line for each layer, and dashed what a FIFO log comes
// to with all of the flash, and with the places that the layer uses. The table below shows every point.

import { htmlPage } from './html-page.js'

/** What the page shows; any JSON. */
export interface WriteAmpDocument {
  readonly version: string
  readonly seed: number
  readonly points: readonly object[]
}

/** Runs in the browser. */
const SCRIPT = `
const COLOURS = { pblk: '#d55e00', rrpc: '#009e73', nand: '#0072b2' }
const LINES = [['amplification', 'measured'], ['inUse', 'FIFO, places in use', [6, 4]], ['nominal', 'FIFO, all places', [2, 4]]]
const unique = (points, key) => [...new Set(points.map(p => p[key]))]
for (const distribution of unique(DATA.points, 'distribution')) {
  const here = DATA.points.filter(p => p.distribution === distribution)
  const spares = unique(here, 'spare').sort((a, b) => a - b)
  const series = [{ label: 'spare, %' }]
  const data = [spares]
  for (const layer of unique(here, 'layer'))
    for (const [key, label, dash] of LINES) {
      series.push({ label: layer + ': ' + label, stroke: COLOURS[layer], width: 2, dash })
      data.push(spares.map(s => (here.find(p => p.layer === layer && p.spare === s) || {})[key] ?? null))
    }
  const scales = { x: { time: false }, y: { distr: 3, log: 2 } }
  const axes = [{ label: 'spare space, % of the flash' }, { label: 'writes to flash for each of a user' }]
  new uPlot({ title: distribution, width: 520, height: 360, series, scales, axes }, data, document.getElementById('plots'))
}
const COLUMNS = [['layer'], ['distribution'], ['spare', 0], ['places', 0], ['sectors', 0], ['unused', 0], ['written', 0], ['moved', 0], ['amplification', 3], ['nominal', 3], ['inUse', 3]]
for (const point of DATA.points) {
  const row = document.getElementById('points').insertRow()
  for (const [key, digits] of COLUMNS) row.insertCell().textContent = digits === undefined ? point[key] : Number(point[key] ?? NaN).toFixed(digits)
}
document.body.dataset.plots = String(document.querySelectorAll('#plots canvas').length)
`

const HEAD = [
  'layer',
  'writes',
  'spare %',
  'places',
  'sectors',
  'unused',
  'written',
  'moved',
  'amplification',
  'FIFO, all places',
  'FIFO, in use',
]

/** The page. */
export function writeAmpHtml(document: WriteAmpDocument): string {
  const { version, seed } = document
  return htmlPage({
    title: 'Write amplification against spare space',
    short: 'write amplification',
    above: `<p>phasebit ${version}, seed ${seed}. Random 4 KiB overwrites of the whole drive, measured when it has settled.</p>`,
    heads: HEAD,
    script: SCRIPT,
    document,
  })
}
