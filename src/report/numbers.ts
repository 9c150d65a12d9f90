// Numbers and dates as fio prints them.
//
// fio fits a number into a given count of characters: it divides by 1000 or 1024 until the integer part fits, then spends
// what is left on decimals, so 4 significant figures give 9999, 10.0k, 100k, 1000k, 10.0M. All of it is integer arithmetic
// up to the last fraction, so the text is the same on every machine.

const SI = ['', 'k', 'M', 'G', 'T', 'P'] as const
const IEC = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'] as const

/** The unit that follows the prefix. */
export type HumanUnit = '' | 'B' | 'B/s' | 'bit/s'

/**
 * A whole number in at most `figures` characters before prefix and unit.
 * `powersOf2` chooses Ki, Mi (1024) over k, M (1000); `unit` bit/s multiplies bytes by 8.
 */
export function humanNumber(
  value: number,
  figures: number,
  powersOf2: boolean,
  unit: HumanUnit,
): string {
  const thousand = powersOf2 ? 1024 : 1000
  let whole = Math.floor(unit === 'bit/s' ? value * 8 : value)
  let rest = -1
  let prefix = 0
  while (String(whole).length > figures && prefix < SI.length - 1) {
    rest = whole % thousand
    whole = Math.floor(whole / thousand)
    prefix++
  }
  const suffix = (powersOf2 ? IEC : SI)[prefix] + unit
  return scaled(whole, rest, thousand, figures) + suffix
}

/** `whole` and `rest`/`thousand` with the decimals that still fit; no rest (-1) means nothing was divided. */
function scaled(whole: number, rest: number, thousand: number, figures: number): string {
  if (rest < 0) return String(whole)
  const room = figures - String(whole).length
  if (room <= 1) return String(rest >= thousand / 2 ? whole + 1 : whole)
  const fraction = (rest / thousand).toFixed(room - 1)
  return String(whole + (fraction.startsWith('1') ? 1 : 0)) + fraction.slice(1)
}

/** A byte count: `16.0MiB` (or MB when `powersOf2` is false). */
export function humanBytes(bytes: number, figures: number, powersOf2: boolean): string {
  return humanNumber(bytes, figures, powersOf2, 'B')
}

/** A byte rate, printed in bits when unitBase is 1. */
export function humanRate(
  bytesPerSecond: number,
  figures: number,
  powersOf2: boolean,
  unitBase: number,
): string {
  return humanNumber(bytesPerSecond, figures, powersOf2, unitBase === 1 ? 'bit/s' : 'B/s')
}

/** printf's %WIDTH.DECIMALSf. */
export function fixed(value: number, decimals: number, width = 0): string {
  return value.toFixed(decimals).padStart(width)
}

/** 100 * part / whole, 0 when there is no whole. */
export function percentOf(part: number, whole: number): number {
  return whole > 0 ? (100 * part) / whole : 0
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ') as readonly string[]

/** A date in the form of ctime(3) without its newline: `Thu Jan  1 00:00:00 1970`. */
export function ctime(epochMs: number, utc: boolean): string {
  const date = new Date(epochMs)
  // Moving the instant by the zone's offset lets the UTC getters speak local time.
  const d = utc ? date : new Date(epochMs - date.getTimezoneOffset() * 60_000)
  const two = (n: number): string => String(n).padStart(2, '0')
  const time = [d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()].map(two).join(':')
  const day = String(d.getUTCDate()).padStart(2)
  return `${DAYS[d.getUTCDay()]} ${MONTHS[d.getUTCMonth()]} ${day} ${time} ${d.getUTCFullYear()}`
}
