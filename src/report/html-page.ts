// A result as one HTML file: the plotting library (uPlot), the figures and a short script, all inside, so that it opens from
// disk and asks no network for anything.

import { readFileSync } from 'node:fs'
import { distUrl } from '../core/wasm.js'

/** A page whose plots are drawn in `#plots`, with a table of all points below. */
export interface ResultPage {
  readonly title: string
  /** What follows `phasebit: ` in the window's title. */
  readonly short: string
  /** HTML above the plots, and between them and the table. */
  readonly above: string
  readonly below?: string
  /** Heads of the table's columns. */
  readonly heads: readonly string[]
  /** Runs in the browser, with `document` as DATA. */
  readonly script: string
  /** Any JSON. */
  readonly document: object
}

const STYLE = `
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #1a1a1a; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.6em 0 .4em }
select { font: inherit; margin: 0 1em 0 .3em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .15em .7em; text-align: right; border-bottom: 1px solid #ddd }
#plots { display: flex; flex-wrap: wrap; gap: 1em }
`

/** JSON that may stand in a script element. */
function scriptJson(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c')
}

function asset(name: string): string {
  return readFileSync(distUrl(`report/${name}`), 'utf8')
}

/** The whole page. */
export function htmlPage(page: ResultPage): string {
  const heads = page.heads.map(text => `<th>${text}</th>`).join('')
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>phasebit: ${page.short}</title>
<style>${asset('uPlot.min.css')}${STYLE}</style>
</head>
<body>
<h1>${page.title}</h1>
${page.above}
<div id="plots"></div>
${page.below ?? ''}<h2>All points</h2>
<table id="points"><tr>${heads}</tr></table>
<script>${asset('uPlot.iife.min.js')}</script>
<script>const DATA = ${scriptJson(page.document)};${page.script}</script>
</body>
</html>
`
}
