// Job files as a command line (`--showcmd`): each job with everything it inherits, so that its order and place are all
// that is left to say. Read again, the line gives the same jobs.

import { type FlatSection, jobName } from './expand.js'
import type { RawOption } from './jobfile.js'
import { RUN_OPTIONS, type RunName } from './options.js'
import { classOf, optionsInForce } from './settings.js'

/** `--name=JOB --OPTION=VALUE ...` of all sections, one word each, unquoted. */
export function showArguments(sections: readonly FlatSection[]): string[] {
  return sections.flatMap((section, i) => {
    const options = inForce(section)
    const isName = (raw: RawOption): boolean => classOf(raw).name === 'name'
    const words = options.filter(raw => !isName(raw)).map(word)
    // The wall in front of a second file has no option of its own.
    if (section.walled && i > 0) words.push('--stonewall')
    return [`--name=${jobName(section)}`, ...words]
  })
}

/** What applies to a section, in order. Later words win by themselves, but a list would grow: an override replaces it. */
function inForce(section: FlatSection): readonly RawOption[] {
  const replaced = new Set(section.overrides.map(raw => classOf(raw).name).filter(accumulates))
  return optionsInForce(section).filter(
    raw => section.overrides.includes(raw) || !replaced.has(classOf(raw).name),
  )
}

const accumulates = (name: string): boolean =>
  Object.hasOwn(RUN_OPTIONS, name) && RUN_OPTIONS[name as RunName].accumulates === true

const word = (raw: RawOption): string =>
  raw.value === null ? `--${raw.key}` : `--${raw.key}=${raw.value}`

/** One line for a shell. */
export function showCommand(sections: readonly FlatSection[]): string {
  return ['phasebit', 'run', ...showArguments(sections).map(shellQuote)].join(' ')
}

/** The word as a shell reads it back: in single quotes unless it is plain. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
