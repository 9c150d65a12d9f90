// Statuses of an open-channel device: status code type and status code, as (SCT << 8) | SC. The Do Not Retry bit is added
// by the device, which is asked for it on every media error unless it is told otherwise: a LightNVM host has fail-fast
// cleared, and the NVMe core would reissue a write that a chunk no longer takes.

export const SC_SUCCESS = 0
export const SC_INVALID_OPCODE = 0x0001
export const SC_INVALID_FIELD = 0x0002
export const SC_CAPACITY_EXCEEDED = 0x0081
/** 1.2: a write or an erase failed. */
export const SC_FAIL = 0x00ff
export const SC_WRITE_FAULT = 0x0280
export const SC_UNRECOVERED_READ = 0x0281
export const SC_DEALLOCATED = 0x0287
export const SC_OFFLINE_CHUNK = 0x02c0
export const SC_INVALID_RESET = 0x02c1
export const SC_EARLY_CLOSE = 0x02f1
export const SC_OUT_OF_ORDER = 0x02f2
/** 1.2: a page that was never written. */
export const SC_EMPTY_PAGE = 0x02ff
/** The data are good, the flash is not. */
export const SC_HIGH_ECC = 0x0700

/** Do Not Retry. */
export const DNR = 0x4000

/** A completion. `low` and `high`: the map of failed addresses, DW0 and DW1. `due`: when it is posted, ns. */
export interface VectorResult {
  status: number
  low: number
  high: number
  due: number
}

/** Marks addresses `from` to `to` - 1 as failed. */
export function fail(result: VectorResult, from: number, to: number): void {
  for (let i = from; i < to; i++)
    if (i < 32) result.low = (result.low | (1 << i)) >>> 0
    else result.high = (result.high | (1 << (i - 32))) >>> 0
}
