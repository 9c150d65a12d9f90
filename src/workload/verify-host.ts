// Verify kinds whose checksum is node:crypto's: md5, sha1, sha256, sha512 and sha3-*.
//
// The core writes and checks everything of an interval but the digest (assembly/verify.ts). Here the digest is computed
// over the same bytes - all of the interval but its header - and stored behind the header's fixed part, or compared.

import { createHash } from 'node:crypto'
import {
  JOB_VER,
  JV_GOT,
  JV_HEADER,
  JV_INTERVAL,
  JV_METHOD,
  JV_OFFSET,
  JV_WANT,
  VERIFY_ZEROES,
  VH_DIGEST,
} from '../../assembly/layout.js'
import type { View } from '../core/view.js'
import type { VerifyMethod } from './job.js'

/** The kinds that need this file. */
export const HOST_METHODS: readonly VerifyMethod[] = [
  'md5',
  'sha1',
  'sha256',
  'sha512',
  'sha3-224',
  'sha3-256',
  'sha3-384',
  'sha3-512',
]

/** The kind of a job whose verify kind is VERIFY_HOST. */
export function hostMethod(view: View, job: number): VerifyMethod {
  return HOST_METHODS[view.u32(job + JOB_VER + JV_METHOD)]!
}

/** The digest of the interval at `at`: of what stands before its header, and after. */
function digestOf(view: View, v: number, method: VerifyMethod, at: number): Buffer {
  const header = at + view.u32(v + JV_OFFSET)
  const data = header + view.u32(v + JV_HEADER)
  return createHash(method)
    .update(view.bytes.subarray(at, header))
    .update(view.bytes.subarray(data, at + view.u32(v + JV_INTERVAL)))
    .digest()
}

/** Stores the digests of a write of `len` bytes, after verify_fill and before it is issued. */
export function fillDigests(
  view: View,
  job: number,
  method: VerifyMethod,
  buf: number,
  len: number,
): void {
  const v = job + JOB_VER
  const interval = view.u32(v + JV_INTERVAL)
  for (let at = buf; at < buf + len; at += interval) {
    view.bytes.set(digestOf(view, v, method, at), at + view.u32(v + JV_OFFSET) + VH_DIGEST)
  }
}

/** The function of the core that counts a failure, unless the interval was written again meanwhile. */
export interface DigestCore {
  verify_digest_bad(job: number, file: number, disk: number, number: number): number
}

/** A read that verify_check has found good. */
export interface CheckedRead {
  /** Number of the region. */
  readonly file: number
  /** Address of the data. */
  readonly buf: number
  /** Offset on the disk, bytes. */
  readonly disk: number
  readonly len: number
  /** Number of the write expected, or VERIFY_ANY. */
  readonly number: number
}

/**
 * Compares the digests of a read.
 * @returns 0, or BAD_DATA of the first interval that fails; JV_GOT and JV_WANT hold the first eight bytes of both digests
 */
export function checkDigests(
  core: DigestCore,
  view: View,
  job: number,
  method: VerifyMethod,
  read: CheckedRead,
): number {
  const v = job + JOB_VER
  const interval = view.u32(v + JV_INTERVAL)
  if (read.number === VERIFY_ZEROES) return 0
  for (let i = 0; i + interval <= read.len; i += interval) {
    const got = digestOf(view, v, method, read.buf + i)
    const stored = read.buf + i + view.u32(v + JV_OFFSET) + VH_DIGEST
    const want = view.bytes.slice(stored, stored + got.length)
    if (got.equals(want)) continue
    view.bytes.set(got.subarray(0, 8), v + JV_GOT)
    view.bytes.set(want.subarray(0, 8), v + JV_WANT)
    const why = core.verify_digest_bad(job, read.file, read.disk + i, read.number)
    if (why !== 0) return why
  }
  return 0
}
