// The user's vector ioctls, as programs hand them over: include/uapi/linux/lightnvm.h and nvme's own numbers of Linux 4.19.
// Addresses of buffers and lists are places in the kernel's memory here.
//
//   ADMIN_VIO, IO_VIO   struct nvm_passthru_vio, 80 bytes: any command of the admin queue or the namespace's
//   SUBMIT_VIO          struct nvm_user_vio, 64 bytes: a vector read, write or erase

export const NVME_NVM_IOCTL_ADMIN_VIO = 0xc0504c41
export const NVME_NVM_IOCTL_SUBMIT_VIO = 0xc0404c42
export const NVME_NVM_IOCTL_IO_VIO = 0xc0504c43

export const NVM_PASSTHRU_VIO_BYTES = 80
export const NVM_USER_VIO_BYTES = 64

/** struct nvm_user_vio; what is left out is 0. */
export interface nvm_user_vio {
  readonly opcode: number
  /** None is known. */
  readonly flags?: number
  readonly control?: number
  /** Addresses less one. */
  readonly nppas?: number
  /** Buffer of out-of-band data, and its bytes. */
  readonly metadata?: number
  readonly metadata_len?: number
  /** Buffer of the data, and its bytes (SUBMIT_VIO goes by the addresses). */
  readonly addr?: number
  readonly data_len?: number
  /** One address, or where more of them are. */
  readonly ppa_list?: number
}

export interface nvm_passthru_vio extends nvm_user_vio {
  readonly cdw2?: number
  readonly cdw3?: number
  readonly cdw13?: number
  readonly cdw14?: number
  readonly cdw15?: number
  readonly timeout_ms?: number
}

/** Where a field is, and its bytes. */
type Fields<T> = readonly (readonly [keyof T, number, 1 | 2 | 4 | 8])[]

const USER: Fields<nvm_user_vio> = [
  ['opcode', 0, 1],
  ['flags', 1, 1],
  ['control', 2, 2],
  ['nppas', 4, 2],
  ['metadata', 8, 8],
  ['addr', 16, 8],
  ['ppa_list', 24, 8],
  ['metadata_len', 32, 4],
  ['data_len', 36, 4],
]

const PASSTHRU: Fields<nvm_passthru_vio> = [
  ['opcode', 0, 1],
  ['flags', 1, 1],
  ['cdw2', 8, 4],
  ['cdw3', 12, 4],
  ['metadata', 16, 8],
  ['addr', 24, 8],
  ['metadata_len', 32, 4],
  ['data_len', 36, 4],
  ['ppa_list', 40, 8],
  ['nppas', 48, 2],
  ['control', 50, 2],
  ['cdw13', 52, 4],
  ['cdw14', 56, 4],
  ['cdw15', 60, 4],
  ['timeout_ms', 76, 4],
]

const view_of = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function encode<T>(fields: Fields<T>, bytes: number, from: T): Uint8Array {
  const arg = new Uint8Array(bytes)
  const view = view_of(arg)
  for (const [name, at, width] of fields) {
    const value = Number(from[name] ?? 0)
    if (width === 1) view.setUint8(at, value)
    else if (width === 2) view.setUint16(at, value, true)
    else if (width === 4) view.setUint32(at, value, true)
    else view.setBigUint64(at, BigInt(value), true)
  }
  return arg
}

function decode<T>(fields: Fields<T>, arg: Uint8Array): Record<keyof T, number> {
  const view = view_of(arg)
  const values = fields.map(([name, at, width]) => {
    if (width === 1) return [name, view.getUint8(at)]
    if (width === 2) return [name, view.getUint16(at, true)]
    if (width === 4) return [name, view.getUint32(at, true)]
    return [name, Number(view.getBigUint64(at, true))]
  })
  return Object.fromEntries(values) as Record<keyof T, number>
}

export function encode_user_vio(vio: nvm_user_vio): Uint8Array {
  return encode(USER, NVM_USER_VIO_BYTES, vio)
}

export function decode_user_vio(arg: Uint8Array): Required<nvm_user_vio> {
  return decode(USER, arg)
}

export function encode_passthru_vio(vio: nvm_passthru_vio): Uint8Array {
  return encode(PASSTHRU, NVM_PASSTHRU_VIO_BYTES, vio)
}

export function decode_passthru_vio(arg: Uint8Array): Required<nvm_passthru_vio> {
  return decode(PASSTHRU, arg)
}

/** What a command came to: the status's 11 bits, and the map of failed addresses. */
export interface nvm_vio_result {
  result: number
  status: bigint
}

/** Where `status` begins; `result` stands behind it. */
const status_at = (arg: Uint8Array): number => (arg.length === NVM_USER_VIO_BYTES ? 40 : 64)

export function put_vio_result(arg: Uint8Array, { result, status }: nvm_vio_result): void {
  const view = view_of(arg)
  view.setBigUint64(status_at(arg), status, true)
  view.setUint32(status_at(arg) + 8, result, true)
}

export function get_vio_result(arg: Uint8Array): nvm_vio_result {
  const view = view_of(arg)
  const at = status_at(arg)
  return { result: view.getUint32(at + 8, true), status: view.getBigUint64(at, true) }
}
