// Intrusive circular lists, after include/linux/list.h.
//
// A `list_head` with an owner is a member of some object (what container_of would find); one
// without an owner is the head of a list. Every operation is O(1) and allocates nothing, except the
// iteration helpers, which say so.

/** A list's head, or the link of one object in a list. */
export class list_head<T> {
  next: list_head<T>
  prev: list_head<T>
  /** The object this link belongs to; null for the head of a list. */
  readonly owner: T | null

  constructor(owner: T | null = null) {
    this.next = this
    this.prev = this
    this.owner = owner
  }
}

function __list_add<T>(entry: list_head<T>, prev: list_head<T>, next: list_head<T>): void {
  next.prev = entry
  entry.next = next
  entry.prev = prev
  prev.next = entry
}

/** Adds right behind the head: the list becomes a stack. */
export function list_add<T>(entry: list_head<T>, head: list_head<T>): void {
  __list_add(entry, head, head.next)
}

/** Adds right before `head`: at the end of the list, or in front of the given entry. */
export function list_add_tail<T>(entry: list_head<T>, head: list_head<T>): void {
  __list_add(entry, head.prev, head)
}

/** Takes an entry off its list; an entry that is on none stays as it is. */
export function list_del_init<T>(entry: list_head<T>): void {
  entry.prev.next = entry.next
  entry.next.prev = entry.prev
  entry.next = entry
  entry.prev = entry
}

export function list_move_tail<T>(entry: list_head<T>, head: list_head<T>): void {
  list_del_init(entry)
  list_add_tail(entry, head)
}

export function list_empty<T>(head: list_head<T>): boolean {
  return head.next === head
}

/** Appends a whole list to another and leaves it empty. */
export function list_splice_tail_init<T>(list: list_head<T>, head: list_head<T>): void {
  if (list_empty(list)) return
  const first = list.next
  const last = list.prev
  first.prev = head.prev
  head.prev.next = first
  last.next = head
  head.prev = last
  list.next = list
  list.prev = list
}

/** The owner of the first entry, or null. */
export function list_first<T>(head: list_head<T>): T | null {
  return head.next.owner
}

/** The owner of the last entry, or null. */
export function list_last<T>(head: list_head<T>): T | null {
  return head.prev.owner
}

/** The owners in list order, in a new array: the list may change while it is walked. */
export function list_entries<T>(head: list_head<T>): T[] {
  const owners: T[] = []
  for (let pos = head.next; pos !== head; pos = pos.next) owners.push(pos.owner!)
  return owners
}
