// One process at a time has a store: a lock file beside it, made only if there is none, that names its owner.
//
// An owner that was killed leaves its lock behind: whoever finds one of a process that is no more takes it over. A process
// is known by its number and, where the host tells (Linux), by when it began, because numbers are used again.

import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { UserError } from '../core/errors.js'

/** When a process began, as the host counts; '' = the host does not tell, null = it has ended and nobody has asked how. */
function began(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // behind the name, which may hold anything: state, and field 22
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? null : (fields[19] ?? '')
  } catch {
    return ''
  }
}

function ownText(): string {
  return `${process.pid} ${began(process.pid) ?? ''}\n`
}

/** The process that a lock names, if it is still there; 0 = nobody. */
function owner(text: string): number {
  const [pid, since] = text.trim().split(' ')
  const number = Number(pid)
  if (!Number.isSafeInteger(number) || number <= 0) return 0
  try {
    process.kill(number, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 0
  }
  const now = began(number)
  return now === null || (since && now && since !== now) ? 0 : number
}

function read(lock: string): string {
  try {
    return readFileSync(lock, 'latin1')
  } catch {
    return ''
  }
}

/** Makes the lock, whole at once: nobody sees one that names nobody. False when there is one. */
function make(path: string, lock: string): boolean {
  const fresh = `${lock}.${process.pid}`
  try {
    writeFileSync(fresh, ownText())
    linkSync(fresh, lock)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw new UserError(`${path}: cannot be locked: ${(error as Error).message}`)
  } finally {
    rmSync(fresh, { force: true })
  }
}

/** Takes a dead owner's lock away. What was another's in the meantime goes back. */
function takeAway(lock: string): void {
  const away = `${lock}.${process.pid}`
  try {
    renameSync(lock, away)
    if (owner(read(away)) !== 0) linkSync(away, lock)
    unlinkSync(away)
  } catch {
    // somebody else was faster
  }
}

/** A lock that this process holds. */
export class StoreLock {
  readonly #lock: string

  /** @throws UserError that names the process that has it */
  constructor(path: string) {
    this.#lock = `${path}.lock`
    for (let tries = 0; tries < 3; tries++) {
      if (make(path, this.#lock)) return
      const pid = owner(read(this.#lock))
      if (pid !== 0) throw new UserError(`${path}: process ${pid} serves it (${this.#lock})`)
      takeAway(this.#lock)
    }
    throw new UserError(`${path}: cannot be locked: ${this.#lock} is being taken by others`)
  }

  release(): void {
    if (read(this.#lock) === ownText()) unlinkSync(this.#lock)
  }
}
