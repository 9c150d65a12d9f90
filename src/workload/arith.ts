// Arithmetic in option values: + - * / % ^ and parentheses, with units on the numbers.
//
//   sum     = product { (+|-) product }
//   product = power { (*|/|%) power }
//   power   = sign [ ^ power ]            right to left, whole exponents
//   sign    = [-] ( number [unit] | "(" sum ")" )

import { BadValue } from './bad-value.js'

const MAX_DEPTH = 64

/** One pass over the text; `at` is the place of the next unread character. */
class Evaluator {
  #at = 0
  #depth = 0
  readonly #text: string
  readonly #unit: (suffix: string) => number | undefined

  constructor(text: string, unit: (suffix: string) => number | undefined) {
    this.#text = text
    this.#unit = unit
  }

  whole(): number {
    const value = this.#sum()
    if (this.#peek() !== '') throw new BadValue(`unexpected '${this.#peek()}' in the arithmetic`)
    if (!Number.isFinite(value)) throw new BadValue('the arithmetic has no finite result')
    return value
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

  #sum(): number {
    if (++this.#depth > MAX_DEPTH) throw new BadValue('the parentheses are too deep')
    let value = this.#product()
    for (let op = this.#take('+-'); op !== ''; op = this.#take('+-')) {
      const right = this.#product()
      value = op === '+' ? value + right : value - right
    }
    this.#depth--
    return value
  }

  #product(): number {
    let value = this.#power()
    for (let op = this.#take('*/%'); op !== ''; op = this.#take('*/%')) {
      const right = this.#power()
      if (op !== '*' && right === 0) throw new BadValue('division by zero')
      value = op === '*' ? value * right : op === '/' ? value / right : value % right
    }
    return value
  }

  #power(): number {
    const base = this.#sign()
    if (this.#take('^') === '') return base
    if (++this.#depth > MAX_DEPTH) throw new BadValue('the powers are too deep')
    const exponent = this.#power()
    this.#depth--
    return wholePower(base, exponent)
  }

  #sign(): number {
    if (this.#take('-') !== '') return -this.#operand()
    this.#take('+')
    return this.#operand()
  }

  #operand(): number {
    if (this.#take('(') !== '') {
      const value = this.#sum()
      if (this.#take(')') === '') throw new BadValue("a ')' is missing")
      return value
    }
    return this.#number()
  }

  #number(): number {
    this.#peek()
    const match = /^(0x[0-9a-f]+|\d+(?:\.\d+)?)([a-z]*)/i.exec(this.#text.slice(this.#at))
    if (match === null) throw new BadValue(`a number is missing before '${this.#peek()}'`)
    this.#at += match[0].length
    const factor = this.#unit(match[2]!.toLowerCase())
    if (factor === undefined) throw new BadValue(`unknown unit '${match[2]}' in the arithmetic`)
    return Number(match[1]) * factor
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
 * @param unit factor of a lower-case suffix, '' included; undefined when there is no such unit
 * @throws BadValue when it is not arithmetic
 */
export function evaluate(text: string, unit: (suffix: string) => number | undefined): number {
  return new Evaluator(text, unit).whole()
}
