// The C library's words for the errors that a job can end with, as fio prints them.

import {
  EAGAIN,
  EILSEQ,
  EINVAL,
  EIO,
  ENODATA,
  ENOLINK,
  ENOMEM,
  ENOSPC,
  EOPNOTSUPP,
  EREMOTEIO,
  ETIME,
  ETIMEDOUT,
} from '../kernel/errno.js'

const TEXTS: Readonly<Record<number, string>> = {
  [EIO]: 'Input/output error',
  [EAGAIN]: 'Resource temporarily unavailable',
  [ENOMEM]: 'Cannot allocate memory',
  [EINVAL]: 'Invalid argument',
  [ENOSPC]: 'No space left on device',
  [ENODATA]: 'No data available',
  [ETIME]: 'Timer expired',
  [ENOLINK]: 'Link has been severed',
  [EILSEQ]: 'Invalid or incomplete multibyte or wide character',
  [EOPNOTSUPP]: 'Operation not supported',
  [ETIMEDOUT]: 'Connection timed out',
  [EREMOTEIO]: 'Remote I/O error',
}

/** Text of a positive errno. */
export function errorText(errno: number): string {
  return errno === 0 ? 'Success' : (TEXTS[errno] ?? `Unknown error ${errno}`)
}
