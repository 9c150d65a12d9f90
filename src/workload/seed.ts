// Fixed numbers from numbers: what is drawn once, before a run, must be the same on every host and in every run.

/**
 * A 32-bit hash of two words; neighbours of either give unrelated results (the finaliser of MurmurHash3).
 * @returns 0..2^32-1
 */
export function mix32(a: number, b: number): number {
  let h = (Math.imul(a | 0, 0x9e3779b1) ^ Math.imul((b | 0) + 0x7f4a7c15, 0x85ebca77)) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0
  return (h ^ (h >>> 16)) >>> 0
}

/** Both halves of a whole number up to 2^53-1 as one 32-bit word. */
export function fold32(value: number): number {
  return mix32(value % 0x1_0000_0000, Math.floor(value / 0x1_0000_0000))
}

/** A whole number from lo to hi, both included, chosen by the hash of seed and salt. */
export function draw(seed: number, salt: number, lo: number, hi: number): number {
  const share = mix32(seed, salt) / 0x1_0000_0000
  return Math.min(hi, lo + Math.floor(share * (hi - lo + 1)))
}
