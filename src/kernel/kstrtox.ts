// Numbers that are written to attributes, as lib/kstrtox.c reads them with base 0.

import { EINVAL, ERANGE } from './errno.js'

/**
 * kstrtouint, kstrtoul: the number, or -errno. Decimal, 0 octal, 0x hexadecimal; one newline may end it.
 * @param most what the type holds
 */
export function kstrtoul(text: string, most: number): number {
  const digits = text.replace(/\n$/, '').replace(/^\+/, '')
  const value = /^0[xX][0-9a-fA-F]+$/.test(digits)
    ? Number.parseInt(digits, 16)
    : /^0[0-7]+$/.test(digits)
      ? Number.parseInt(digits, 8)
      : /^(0|[1-9][0-9]*)$/.test(digits)
        ? Number.parseInt(digits, 10)
        : -EINVAL
  return value > most ? -ERANGE : value
}
