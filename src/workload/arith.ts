// Arithmetic in option values: + - * / % ^ and parentheses, with units on the numbers.
//
//   sum     = product { (+|-) product }
//   product = power { (*|/|%) power }
//   power   = sign [ ^ power ]            right to left, whole exponents
//   sign    = [-] ( number [unit] | "(" sum ")" )

import { BadValue } from './bad-value.js'

const MAX_DEPTH = 64

/** A value, and whether a unit has had a part in it. */
interface Value {
  readonly n: number
  readonly unit: boolean
}

/** One pass over the text; `at` is the place of the next unread character. */
class Evaluator {
  #at = 0
  #depth = 0
  readonly #text: string
  readonly #unit: (suffix: string) => number | undefined
  readonly #bare: number

  constructor(text: string, unit: (suffix: string) => number | undefined, bare: number) {
    this.#text = text
    this.#unit = unit
    this.#bare = bare
  }

  whole(): number {
    const value = this.#inUnits(this.#sum())
    if (this.#peek() !== '') throw new BadValue(`unexpected '${this.#peek()}' in the arithmetic`)
    if (!Number.isFinite(value)) throw new BadValue('the arithmetic has no finite result')
    return value
  }

  /** A number that met no unit counts in the option's own. */
  #inUnits({ n, unit }: Value): number {
    return unit ? n : n * this.#bare
  }

  #peek(): string {
    while (this.#text[this.#at] === ' ') this.#at++
    return this.#text[this.#at] ?? ''
  }

  #take(characters: string): string {
    const c = this.#peek()
    if (c === '' || !characters.includes(c)) return ''
    this.#at++
    return c
  }

  #deeper<T>(what: string, inner: () => T): T {
    if (++this.#depth > MAX_DEPTH) throw new BadValue(`the ${what} are too deep`)
    const value = inner()
    this.#depth--
    return value
  }

  #sum(): Value {
    let left = this.#product()
    for (let op = this.#take('+-'); op !== ''; op = this.#take('+-')) {
      const right = this.#product()
      const unit = left.unit || right.unit
      const [a, b] = unit ? [this.#inUnits(left), this.#inUnits(right)] : [left.n, right.n]
      left = { n: op === '+' ? a + b : a - b, unit }
    }
    return left
  }

  #product(): Value {
    let left = this.#power()
    for (let op = this.#take('*/%'); op !== ''; op = this.#take('*/%')) {
      const right = this.#power()
      if (op !== '*' && right.n === 0) throw new BadValue('division by zero')
      const n = op === '*' ? left.n * right.n : op === '/' ? left.n / right.n : left.n % right.n
      left = { n, unit: left.unit || right.unit }
    }
    return left
  }

  #power(): Value {
    const base = this.#sign()
    if (this.#take('^') === '') return base
    const exponent = this.#deeper('powers', () => this.#power())
    return { n: wholePower(base.n, exponent.n), unit: base.unit }
  }

  #sign(): Value {
    const negative = this.#take('-+') === '-'
    const { n, unit } = this.#operand()
    return { n: negative ? -n : n, unit }
  }

  #operand(): Value {
    if (this.#take('(') === '') return this.#number()
    const value = this.#deeper('parentheses', () => this.#sum())
    if (this.#take(')') === '') throw new BadValue("a ')' is missing")
    return value
  }

  #number(): Value {
    this.#peek()
    const match = /^(0x[0-9a-f]+|\d+(?:\.\d+)?)([a-z]*)/i.exec(this.#text.slice(this.#at))
    if (match === null) throw new BadValue(`a number is missing before '${this.#peek()}'`)
    this.#at += match[0].length
    if (match[2] === '') return { n: Number(match[1]), unit: false }
    const factor = this.#unit(match[2]!.toLowerCase())
    if (factor === undefined) throw new BadValue(`unknown unit '${match[2]}' in the arithmetic`)
    return { n: Number(match[1]) * factor, unit: true }
  }
}

/** By multiplication, so that every host gives the same digits. */
function wholePower(base: number, exponent: number): number {
  if (!Number.isInteger(exponent) || exponent < 0 || exponent > 1024) {
    throw new BadValue('an exponent must be a whole number from 0 to 1024')
  }
  let value = 1
  for (let i = 0; i < exponent; i++) value *= base
  return value
}

/**
 * The value of an expression, not necessarily whole.
 * @param unit factor of a lower-case suffix, or undefined when there is no such unit
 * @param bare unit of a result that no unit had a part in, and of what is added to one that has: `(3*2)`, `(3s+1)`
 * @throws BadValue when it is not arithmetic
 */
export function evaluate(
  text: string,
  unit: (suffix: string) => number | undefined,
  bare: number,
): number {
  return new Evaluator(text, unit, bare).whole()
}
