// The control node's structures: include/uapi/linux/lightnvm.h of Linux 4.19. Numbers of the ioctls, offsets in their
// arguments.

const LEN = { info: 4096, devices: 4096, create: 128, remove: 36, init: 44, factory: 36 } as const

/** Bytes of each argument. */
export const NVM_IOCTL_BYTES: typeof LEN = LEN

const WRITE = 1
const READ = 2

/** The number of an ioctl: direction, size, 'L', number. */
export function nvm_ioctl_nr(dir: number, size: number, nr: number): number {
  return ((dir << 30) | (size << 16) | (0x4c << 8) | nr) >>> 0
}

export const NVM_INFO: number = nvm_ioctl_nr(READ | WRITE, LEN.info, 0x20)
export const NVM_GET_DEVICES: number = nvm_ioctl_nr(READ, LEN.devices, 0x21)
export const NVM_DEV_CREATE: number = nvm_ioctl_nr(WRITE, LEN.create, 0x22)
export const NVM_DEV_REMOVE: number = nvm_ioctl_nr(WRITE, LEN.remove, 0x23)
export const NVM_DEV_INIT: number = nvm_ioctl_nr(WRITE, LEN.init, 0x24)
export const NVM_DEV_FACTORY: number = nvm_ioctl_nr(WRITE, LEN.factory, 0x25)

const ALL = [
  NVM_INFO,
  NVM_GET_DEVICES,
  NVM_DEV_CREATE,
  NVM_DEV_REMOVE,
  NVM_DEV_INIT,
  NVM_DEV_FACTORY,
]

/** Bytes of an ioctl's argument; of one that nobody knows 0. */
export function nvm_ioctl_bytes(cmd: number): number {
  return ALL.includes(cmd) ? (cmd >>> 16) & 0x3fff : 0
}

export const NVM_CONFIG_TYPE_SIMPLE = 0
export const NVM_CONFIG_TYPE_EXTENDED = 1

const NAME_BYTES = 32
const TYPE_BYTES = 48

function view_of(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A string that ends at its first zero, or one byte before its end. */
export function get_string(bytes: Uint8Array, at: number, length: number): string {
  const field = bytes.subarray(at, at + length - 1)
  const end = field.indexOf(0)
  return String.fromCharCode(...(end < 0 ? field : field.subarray(0, end)))
}

export function put_string(bytes: Uint8Array, at: number, length: number, text: string): void {
  for (let i = 0; i < length; i++) bytes[at + i] = i < length - 1 ? text.charCodeAt(i) || 0 : 0
}

/** struct nvm_ioctl_create. LUNs of the simple form are 32 bits, of the extended one 16. */
export interface nvm_ioctl_create {
  readonly dev: string
  readonly tgttype: string
  readonly tgtname: string
  readonly flags: number
  readonly type: number
  readonly lun_begin: number
  readonly lun_end: number
  /** Extended: over-provisioning in percent, and a field that must be 0. */
  readonly op: number
  readonly rsv: number
}

export function decode_create(bytes: Uint8Array): nvm_ioctl_create {
  const view = view_of(bytes)
  const type = view.getUint32(116, true)
  const wide = type !== NVM_CONFIG_TYPE_EXTENDED
  return {
    dev: get_string(bytes, 0, NAME_BYTES),
    tgttype: get_string(bytes, 32, TYPE_BYTES),
    tgtname: get_string(bytes, 80, NAME_BYTES),
    flags: view.getUint32(112, true),
    type,
    lun_begin: wide ? view.getUint32(120, true) : view.getUint16(120, true),
    lun_end: wide ? view.getUint32(124, true) : view.getUint16(122, true),
    op: wide ? 0xffff : view.getUint16(124, true),
    rsv: wide ? 0 : view.getUint16(126, true),
  }
}

export function encode_create(create: nvm_ioctl_create): Uint8Array {
  const bytes = new Uint8Array(LEN.create)
  const view = view_of(bytes)
  put_string(bytes, 0, NAME_BYTES, create.dev)
  put_string(bytes, 32, TYPE_BYTES, create.tgttype)
  put_string(bytes, 80, NAME_BYTES, create.tgtname)
  view.setUint32(112, create.flags, true)
  view.setUint32(116, create.type, true)
  if (create.type === NVM_CONFIG_TYPE_EXTENDED) {
    const half = [create.lun_begin, create.lun_end, create.op, create.rsv]
    for (const [i, value] of half.entries()) view.setUint16(120 + 2 * i, value, true)
  } else {
    view.setUint32(120, create.lun_begin, true)
    view.setUint32(124, create.lun_end, true)
  }
  return bytes
}

/** struct nvm_ioctl_remove: a name and flags. */
export function decode_remove(bytes: Uint8Array): { tgtname: string; flags: number } {
  return { tgtname: get_string(bytes, 0, NAME_BYTES), flags: view_of(bytes).getUint32(32, true) }
}

export function encode_remove(tgtname: string, flags = 0): Uint8Array {
  const bytes = new Uint8Array(LEN.remove)
  put_string(bytes, 0, NAME_BYTES, tgtname)
  view_of(bytes).setUint32(32, flags, true)
  return bytes
}

/** The flags of an argument that ends with them. */
export function last_flags(bytes: Uint8Array): number {
  return view_of(bytes).getUint32(bytes.length - 4, true)
}

/** Fills the answer to NVM_INFO. */
export function put_info(
  bytes: Uint8Array,
  types: readonly { readonly name: string; readonly version: readonly number[] }[],
): void {
  const view = view_of(bytes)
  view.setUint32(0, 1, true)
  view.setUint32(4, 0, true)
  view.setUint32(8, 0, true)
  view.setUint16(12, types.length, true)
  for (const [i, type] of types.entries()) {
    const at = 64 + 64 * i
    for (const [j, part] of type.version.entries()) view.setUint32(at + 4 * j, part, true)
    put_string(bytes, at + 16, TYPE_BYTES, type.name)
  }
}

/** Devices that NVM_GET_DEVICES has room for. */
export const NVM_MAX_DEVICES = 31

/** Fills the answer to NVM_GET_DEVICES. */
export function put_devices(bytes: Uint8Array, names: readonly string[]): void {
  const view = view_of(bytes)
  bytes.fill(0)
  const shown = names.slice(0, NVM_MAX_DEVICES)
  view.setUint32(0, shown.length, true)
  for (const [i, name] of shown.entries()) {
    const at = 128 + 128 * i
    put_string(bytes, at, NAME_BYTES, name)
    put_string(bytes, at + 32, TYPE_BYTES, 'gennvm')
    view.setUint32(at + 80, 1, true)
  }
}
