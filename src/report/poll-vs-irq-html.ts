// `phasebit bench poll-vs-irq` as one HTML file (html-page.ts).
//
// Three plots over the service time, one line for each completion mode: CPU time of an I/O, mean and 99th percentile latency,
// IOPS. Depth and number of CPUs are chosen above them. The table below shows every point.

import { htmlPage } from './html-page.js'

/** What the page shows; any JSON. */
export interface PollVsIrqDocument {
  readonly version: string
  readonly clock: string
  readonly seed: number
  readonly points: readonly object[]
  readonly crossovers: readonly object[]
}

/** Runs in the browser. */
const SCRIPT = `
const COLOURS = { poll: '#0072b2', hybrid: '#009e73', irq: '#d55e00', coalesce: '#cc79a7' }
const MORE = ['#56b4e9', '#e69f00', '#000000', '#7f7f7f']
const others = [...new Set(DATA.points.map(p => p.mode))].filter(mode => !COLOURS[mode])
others.forEach((mode, i) => (COLOURS[mode] = MORE[i % MORE.length]))
const unique = key => [...new Set(DATA.points.map(p => p[key]))].sort((a, b) => a - b)
const select = (id, key) => {
  const box = document.getElementById(id)
  for (const value of unique(key)) box.add(new Option(value, value))
  box.onchange = draw
  return box
}
const depth = select('depth', 'depth')
const cpus = select('cpus', 'cpus')
const PLOTS = [
  ['CPU time of an I/O, us', [['cpuPerIo', 1e-3]]],
  ['latency, us: mean, and 99th percentile dashed', [['mean', 1e-3], ['p99', 1e-3, [6, 4]]]],
  ['IOPS, thousands', [['iops', 1e-3]]],
]
function draw() {
  const here = DATA.points.filter(p => p.depth === Number(depth.value) && p.cpus === Number(cpus.value))
  const services = [...new Set(here.map(p => p.serviceUs))].sort((a, b) => a - b)
  const modes = [...new Set(here.map(p => p.mode))]
  const box = document.getElementById('plots')
  box.replaceChildren()
  for (const [title, lines] of PLOTS) {
    const series = [{ label: 'service time, us' }]
    const data = [services]
    for (const mode of modes)
      for (const [key, scale, dash] of lines) {
        series.push({ label: mode + (dash ? ' ' + key : ''), stroke: COLOURS[mode], width: 2, dash })
        data.push(services.map(s => (here.find(p => p.mode === mode && p.serviceUs === s) || {})[key] * scale))
      }
    const scales = { x: { time: false, distr: 4 }, y: { distr: 4 } }
    new uPlot({ title, width: 520, height: 320, series, scales, axes: [{ label: 'service time, us' }, {}] }, data, box)
  }
}
const COLUMNS = [['cpus', 1, 0], ['depth', 1, 0], ['serviceUs', 1, 1], ['mode'], ['iops', 1, 0], ['mean', 1e-3, 2], ['p50', 1e-3, 2], ['p99', 1e-3, 2], ['p999', 1e-3, 2], ['cpuPerIo', 1e-3, 2], ['spinsPerIo', 1, 2], ['irqsPerIo', 1, 3], ['polled', 1, 0], ['interrupted', 1, 0]]
const table = document.getElementById('points')
for (const point of DATA.points) {
  const row = table.insertRow()
  for (const [key, scale, digits] of COLUMNS) row.insertCell().textContent = digits === undefined ? point[key] : (point[key] * scale).toFixed(digits)
}
const show = us => us === null ? 'not in this range' : us.toFixed(1) + ' us'
for (const c of DATA.crossovers) {
  const row = document.getElementById('crossovers').insertRow()
  for (const text of [c.cpus, c.depth, show(c.cpuUs), show(c.latencyUs), show(c.crossoverUs)]) row.insertCell().textContent = text
}
draw()
document.body.dataset.plots = String(document.querySelectorAll('#plots canvas').length)
`

const HEAD = [
  'CPUs',
  'depth',
  'service us',
  'mode',
  'IOPS',
  'mean us',
  'p50 us',
  'p99 us',
  'p99.9 us',
  'CPU us/IO',
  'looks/IO',
  'irqs/IO',
  'polled',
  'by interrupt',
]

/** The page. */
export function pollVsIrqHtml(document: PollVsIrqDocument): string {
  const { version, clock, seed } = document
  return htmlPage({
    title: 'Poll against interrupt',
    short: 'poll against interrupt',
    above: `<p>phasebit ${version}, ${clock} clock, seed ${seed}. Random 4 KiB reads; every command takes the service time, all in flight side by side.</p>
<p><label>depth<select id="depth"></select></label><label>CPUs<select id="cpus"></select></label></p>`,
    below: `<h2>From where on the interrupt costs less CPU at equal latency</h2>
<table id="crossovers"><tr><th>CPUs</th><th>depth</th><th>equal CPU</th><th>latency within 10 %</th><th>crossover</th></tr></table>
`,
    heads: HEAD,
    script: SCRIPT,
    document,
  })
}
