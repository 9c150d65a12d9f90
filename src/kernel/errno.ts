// Error numbers, after include/uapi/asm-generic/errno-base.h, errno.h and linux/errno.h.
//
// Functions below the public API return a negative number from this table, as Linux does (`return
// -EIO`), and never throw for an operating error. Only the numbers that the storage stack uses are
// here.

export const EPERM = 1
export const ENOENT = 2
export const EINTR = 4
export const EIO = 5
export const ENXIO = 6
export const E2BIG = 7
export const EBADF = 9
export const EAGAIN = 11
export const EWOULDBLOCK: number = EAGAIN
export const ENOMEM = 12
export const EACCES = 13
export const EFAULT = 14
export const EBUSY = 16
export const EEXIST = 17
export const EXDEV = 18
export const ENODEV = 19
export const ENOTDIR = 20
export const EINVAL = 22
export const ENOTTY = 25
export const EFBIG = 27
export const ENOSPC = 28
export const EROFS = 30
export const EPIPE = 32
export const EDOM = 33
export const ERANGE = 34
export const EDEADLK = 35
export const ENOLCK = 37
export const ENOSYS = 38
export const ENODATA = 61
export const ETIME = 62
export const ENOLINK = 67
export const EPROTO = 71
export const EBADMSG = 74
export const EOVERFLOW = 75
export const EILSEQ = 84
export const EOPNOTSUPP = 95
export const EADDRINUSE = 98
export const ENETDOWN = 100
export const ENETUNREACH = 101
export const ENETRESET = 102
export const ECONNABORTED = 103
export const ECONNRESET = 104
export const ENOBUFS = 105
export const EISCONN = 106
export const ENOTCONN = 107
export const ESHUTDOWN = 108
export const ETIMEDOUT = 110
export const ECONNREFUSED = 111
export const EHOSTUNREACH = 113
export const EALREADY = 114
export const EINPROGRESS = 115
export const EREMOTEIO = 121
export const EDQUOT = 122
export const ECANCELED = 125
export const EKEYREJECTED = 129

/** Kernel-internal: a system call that is to be started again. Never reaches user space. */
export const ERESTARTSYS = 512
/** Kernel-internal: the bio was queued, its completion follows. */
export const EIOCBQUEUED = 529

// biome-ignore format: a table
const NUMBERS: Readonly<Record<string, number>> = {
  EPERM, ENOENT, EINTR, EIO, ENXIO, E2BIG, EBADF, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST,
  ENODEV, ENOTDIR, EINVAL, ENOTTY, EFBIG, ENOSPC, EROFS, EPIPE, EDOM, ERANGE, EDEADLK, ENOLCK,
  ENOSYS, ENODATA, ETIME, ENOLINK, EPROTO, EBADMSG, EOVERFLOW, EILSEQ, EOPNOTSUPP, EADDRINUSE,
  ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED, ECONNRESET, ENOBUFS, EISCONN, ENOTCONN, ETIMEDOUT,
  ECONNREFUSED, EHOSTUNREACH, ESHUTDOWN, EALREADY, EINPROGRESS, EREMOTEIO, EDQUOT, ECANCELED, EKEYREJECTED,
  ERESTARTSYS, EIOCBQUEUED,
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(NUMBERS).map(([name, number]) => [number, name]),
)

/**
 * The name of an error number given with either sign: `errname(-5)` is 'EIO'; an unknown number
 * becomes its digits.
 */
export function errname(err: number): string {
  const positive = Math.abs(err)
  return NAMES.get(positive) ?? String(positive)
}
