// `phasebit bench write-amp` as one HTML file: the plotting library (uPlot), the points and a short script, all inside, so that
// it opens from disk and asks no network for anything.
//
// One plot for each distribution: write amplification over spare space, a line for each layer, and dashed what a FIFO log comes
// to with all of the flash, and with the places that the layer uses. The table below shows every point.

import { readFileSync } from 'node:fs'
import { distUrl } from '../core/wasm.js'

/** What the page shows; any JSON. */
export interface WriteAmpDocument {
  readonly version: string
  readonly seed: number
  readonly points: readonly object[]
}

const STYLE = `
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #1a1a1a; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.6em 0 .4em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .15em .7em; text-align: right; border-bottom: 1px solid #ddd }
#plots { display: flex; flex-wrap: wrap; gap: 1em }
`

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

/** JSON that may stand in a script element. */
function scriptJson(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c')
}

function asset(name: string): string {
  return readFileSync(distUrl(`report/${name}`), 'utf8')
}

/** The page. */
export function writeAmpHtml(document: WriteAmpDocument): string {
  const heads = HEAD.map(text => `<th>${text}</th>`).join('')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>phasebit: write amplification</title>
<style>${asset('uPlot.min.css')}${STYLE}</style>
</head>
<body>
<h1>Write amplification against spare space</h1>
<p>phasebit ${document.version}, seed ${document.seed}. Random 4 KiB overwrites of the whole drive, measured when it has settled.</p>
<div id="plots"></div>
<h2>All points</h2>
<table id="points"><tr>${heads}</tr></table>
<script>${asset('uPlot.iife.min.js')}</script>
<script>const DATA = ${scriptJson(document)};${SCRIPT}</script>
</body>
</html>
`
}
