// Where every byte of the emulated computer lives.
//
// One WebAssembly memory holds everything. TypeScript's memory plan (src/core/memory.ts) hands out
// the regions at boot; the blocks inside a region have the shapes given here. This file holds only
// `export const NAME = integer expression`, a form that both compilers read and fold, so that the
// WASM core and TypeScript can never disagree. test/layout.test.ts proves that no fields overlap
// and that words with different writers stand on different cache lines.
//
// Each field names its type and its writer:
//   I  written at boot (or while nobody runs) only
//   S  the submitting CPU, or the queue's owner thread
//   D  the device (its thread, or the owner thread when the device runs inline)
//   A  anyone, with atomic instructions
// An address is a u32 byte offset into the memory; 0 is "none". Times are u64 nanoseconds.

/** A cache line; two of them between words with different writers (adjacent-line prefetch). */
export const LINE = 64
export const LINE_PAIR = 128

/** The first byte that the plan may hand out; below it lives the compiler's constant data. */
export const PLAN_BASE = 65536
export const PAGE_SIZE = 4096
export const PAGE_SHIFT = 12
export const SECTOR_SHIFT = 9

// ---------------------------------------------------------------- machine: one, at PLAN_BASE
export const M_BASE = 65536
export const M_CLOCK = 0 //              u32 I  CLOCK_*
export const M_NR_CPUS = 4 //            u32 I
export const M_CPUS = 8 //               u32 I  address of the CPU blocks, CPU_SIZE apart
export const M_HZ = 12 //                u32 I
export const M_EVENTS = 16 //            u32 I  the event queue (virtual time)
export const M_NR_JOBS = 20 //           u32 I
export const M_JOBS = 24 //              u32 I  address of the job blocks, JOB_SIZE apart
export const M_LAT = 28 //               u32 I  LAT_*
export const M_STAGES = 32 //            u32 I  1: request stages are stamped
export const M_TRACE = 36 //             u32 A  0 off, 1 records are written; TRACE_EVENTS, TRACE_MUTED, TRACE_TIMED (trace build only)
export const M_NR_HCTX = 40 //           u32 I  hardware queues of all disks
export const M_HCTXS = 44 //             u32 I  address of the table of their addresses (u32 each)
export const M_NR_DEVS = 48 //           u32 I
export const M_DEVS = 52 //              u32 I  address of the device blocks, DEV_SIZE apart
// costs of virtual time, ns (machine description; src/machine/costs.ts documents each)
export const M_COST_SUBMIT = 64 //       u32 I  submit_bio down to the entry in the ring, per I/O
export const M_COST_COMPLETE = 68 //     u32 I  completion of one request, per I/O
export const M_COST_DOORBELL = 72 //     u32 I  one posted write to a doorbell register
export const M_COST_IRQ = 76 //          u32 I  interrupt entry and exit
export const M_COST_SWITCH = 80 //       u32 I  sleep and wake-up of the submitting task
export const M_COST_IPI = 84 //          u32 I  completion handed to another CPU
export const M_COST_POLL = 88 //         u32 I  one look at an empty completion queue
export const M_COST_SYSCALL = 92 //      u32 I  entry and exit of one io_submit or read call
export const M_TRAP = 96 //              u32 A  the broken invariant (BUG_*), 0 = none
export const M_SEED = 100 //             u32 I  low half of the machine's seed
export const M_COST_COPY = 108 //        u32 I  a page between the page cache and a program
export const M_HOST = 104 //             u32 I  1: the block layer's TypeScript half answers at once (host.ts)
export const M_TRACE_NS = 112 //         u32 I  what it costs the machine to record one function (trace build, virtual time)
export const M_STOP = 128 //             u32 A  nonzero: every run loop returns at once
export const M_JIFFIES = 256 //          u32 A  low word of jiffies
export const M_NOW = 264 //              u64 S  the virtual clock
export const M_NEXT_JIFFY = 272 //       u64 S  virtual: when jiffies goes on
export const M_JIFFY_NS = 280 //         u64 I  1e9 / HZ
export const M_RETURN = 288 //           u32 S  virtual: 1 = TypeScript has something to do sooner than it said, the core returns after this event
export const M_WRITER = 292 //           u32 S  1 while an event of a CPU is handled; then the pblk (PB_*) whose writer was kicked in it
export const M_SIZE = 384

export const CLOCK_REAL = 0
export const CLOCK_VIRTUAL = 1
/** The host's clock, and the events of virtual time: all CPUs of a machine with a kernel on one thread. */
export const CLOCK_SHARED = 2

export const LAT_NONE = 0
export const LAT_SAMPLED = 1 // one I/O in 64
export const LAT_BATCH = 2 //  one clock read per submitted and per reaped batch
export const LAT_EVERY = 3

// ---------------------------------------------------------------- CPU
export const CPU_INDEX = 0 //            u32 I
export const CPU_LAT = 4 //              u32 I  LAT_* (a copy, on the hot line)
export const CPU_CLOCK = 8 //            u32 I  CLOCK_*
export const CPU_PLUG = 12 //            u32 S  depth of blk_start_plug
export const CPU_NOW = 16 //             u64 S  the time of this batch; in virtual time this CPU's clock
export const CPU_PLUG_COUNT = 24 //      u32 S  requests plugged
export const CPU_PLUG_MIXED = 28 //      u32 S  1: they are of more than one software queue
export const CPU_RING = 32 //            u32 I  ring of finished bios for TypeScript (RING_*)
export const CPU_SLOW = 36 //            u32 S  1: something waits for TypeScript (slow list, log full, ...)
export const CPU_JOB = 40 //             u32 I  first job that runs here (JOB_NEXT links them)
export const CPU_CUR_JOB = 44 //         u32 S  whose turn it is
export const CPU_HCTX = 48 //            u32 I  first hardware queue that this CPU owns (HC_NEXT_OWNED)
export const CPU_STAGES = 52 //          u32 I  1: stamp request stages
export const CPU_IRQ_PENDING = 56 //     u32 S  virtual: head of the list of completion queues that interrupt it
export const CPU_BELL = 60 //            u32 S  head of the list of NVMe queues with an unrung doorbell
export const CPU_DEPTH = 64 //           u32 S  trace nesting of the running context
export const CPU_SEQ = 68 //             u32 S  counter for LAT_SAMPLED
export const CPU_CTX_ID = 72 //          u32 S  trace id of the running context
export const CPU_CTX_CPU = 76 //         u32 I  CPU_INDEX, beside the context: one word of 64 bits says who runs (trace build)
export const CPU_BUSY_NS = 80 //         u64 S  virtual: time not idle
export const CPU_ERR = 88 //             u32 S  requests that ended with a bad status, for TypeScript (RQ_NEXT)
export const CPU_NULLB = 92 //           u32 I  first list of null_blk's timers on this CPU (NBT_*)
export const CPU_EVENT = 96 //           u32 S  virtual: event slot of its EV_CPU
export const CPU_TRACE = 100 //          u32 I  its trace ring (TRB_*), or the machine's
export const CPU_BIO_FREE = 104 //       u32 S  bios for splitting (BIO_NEXT links them)
export const CPU_PB_Q = 108 //           u32 S  plain-bio.ts: a disk that plain bios of this CPU may go to; 0 = not known
export const CPU_PB_NQ = 112 //          u32 S  ... its queue, when plain_look may run the device itself; else 0
export const CPU_SUBMITTED = 128 //      u64 S  bios that entered submit_bio here
export const CPU_ENDED = 136 //          u64 S  bios ended here without error
export const CPU_FAILED = 144 //         u64 S  bios ended here with an error
export const CPU_DOORBELLS = 152 //      u64 S  submission doorbells written
export const CPU_INLINE = 160 //         u64 S  completions found after an inline device ran
export const CPU_POLLED = 168 //         u64 S  completions found by polling
export const CPU_IRQS = 176 //           u64 S  interrupts taken
export const CPU_IRQ_DONE = 184 //       u64 S  completions found by an interrupt
export const CPU_SPINS = 192 //          u64 S  looks at an empty completion queue
export const CPU_SLEEPS = 200 //         u64 S  times the thread went to sleep for an interrupt
export const CPU_SWITCHES = 208 //       u64 S  emulated task switches
export const CPU_IPIS = 216 //           u64 S  completions handed to another CPU
export const CPU_NOTAG = 224 //          u64 S  times no tag was free
export const CPU_CQ_DOORBELLS = 232 //   u64 S  completion doorbells written
export const CPU_BELLS_SAVED = 240 //    u64 S  register writes that shadow doorbells saved
export const CPU_DONE_LIST = 384 //      u32 A  requests completed by another CPU for this one (stack)
export const CPU_ENDIO = 388 //          u32 A  requests whose end_io is TypeScript's (stack)
export const CPU_WAKE = 512 //           u32 A  event count that the sleeping thread waits on
export const CPU_WAITING = 516 //        u32 A  1 while the thread sleeps or is about to
export const CPU_MAIL = 520 //           u32 A  1: TypeScript of this CPU shall look at its hardware queues
export const CPU_OFFLINE = 524 //        u32 A  1: taken offline by the emulated kernel, it completes nothing
export const CPU_CACHE = 528 //           u32 I  CPUs with the same number share their last-level cache
export const CPU_STAGE_N = 640 //        u64 S  requests whose stages are summed below
export const CPU_STAGE_Q2G = 648 //      f64 S  ns: queued to tag
export const CPU_STAGE_G2I = 656 //      f64 S  tag to inserted or issued
export const CPU_STAGE_I2D = 664 //      f64 S  ... to given to the driver
export const CPU_STAGE_D2C = 672 //      f64 S  driver to completion
export const CPU_STAGE_Q2C = 680 //      f64 S  all of it
export const CPU_PLUG_STARTS = 704 //    u64 S  which sectors plugged requests may begin at (a hashed set)
export const CPU_PLUG_ENDS = 712 //      u64 S  ... and end at
export const CPU_PLUG_RQS = 768 //       u32 S  PLUG_MAX plugged requests, oldest first
export const CPU_PLUG_KEYS = 896 //      u64 S  the same while they are sorted: sector << 8 | place
export const CPU_DRAWN = 1152 //         u64 S  plain.ts: DRAW_MAX I/Os and one more, sector << 8 | place << 2 | direction
export const CPU_PICKED = 1672 //        u64 S  ... and their tags and io_us, by place
export const PLUG_MAX = 32
export const DRAW_MAX = 64
export const CPU_SORTING = 2192 //       u64 S  ... unsorted: one plug full and eight more
// plain-bio.ts: of the disk CPU_PB_Q, what does not change and each bio needs
export const CPU_PB_BYTES = 2432 //      u64 S  its size
export const CPU_PB_MAX = 2440 //        u32 S  bytes of the largest bio
export const CPU_PB_BLOCK = 2444 //      u32 S  bytes of a block, less 1
export const CPU_PB_LBA_SHIFT = 2448 //  u32 S
export const CPU_PB_NSID = 2452 //       u32 S
export const CPU_PB_TIMEOUT = 2456 //    u32 S  jiffies
export const CPU_PB_COOKIE = 2460 //     u32 S  the queue's part of a cookie
export const CPU_PB_CTX = 2464 //        u32 S
export const CPU_PB_HCTX = 2468 //       u32 S
export const CPU_PB_SLOTS = 2472 //      u32 S  TAGS_STATIC_RQS
export const CPU_PB_NR = 2476 //         u32 S  TAGS_NR
export const CPU_PB_HINT = 2480 //       u32 S  this CPU's hint
export const CPU_PB_MAP = 2484 //        u32 S  SBQ_MAP
export const CPU_PB_SHIFT = 2488 //      u32 S  SBQ_SHIFT
export const CPU_PB_DEPTH = 2492 //      u32 S  SBQ_DEPTH
export const CPU_PB_WAITERS = 2496 //    u32 S  address of SBQ_WAITERS
export const CPU_PB_SQ = 2500 //         u32 S  the rings,
export const CPU_PB_CQ = 2504 //         u32 S
export const CPU_PB_ENTRIES = 2508 //    u32 S  entries of each,
export const CPU_PB_SQ_DB = 2512 //      u32 S  their doorbells
export const CPU_PB_CQ_DB = 2516 //      u32 S
export const CPU_PB_DSQ = 2520 //        u32 S  the device's queues
export const CPU_PB_DCQ = 2524 //        u32 S
export const CPU_PB_NS = 2528 //         u32 S  its only namespace, when it keeps no data and CPU_PB_NQ is set; else 0
export const CPU_PB_RING = 2532 //       u32 S  RING_BASE
export const CPU_PB_RING_MASK = 2536 //  u32 S
export const CPU_SIZE = 2560

/** plain_rw's answer: the bio does not go the short way, and nothing has changed. */
export const NOT_PLAIN = -5

// why cpu_run and virtual_run return
export const RUN_MORE = 0 //   the budget is spent
export const RUN_POLL = 1 //   in flight; the bound on empty polls is reached
export const RUN_SLEEP = 2 //  in flight; an interrupt will come
export const RUN_TIMER = 3 //  nothing before the next deadline
export const RUN_IDLE = 4 //   nothing at all
export const RUN_REASON = 7 // mask of the reason
export const RUN_SLOW = 8 //   flag: TypeScript has something to do

// ---------------------------------------------------------------- sbitmap_queue (lib/sbitmap.c)
export const SBQ_DEPTH = 0 //            u32 I
export const SBQ_SHIFT = 4 //            u32 I  log2 of bits used per word
export const SBQ_MAP_NR = 8 //           u32 I  words
export const SBQ_MAP = 12 //             u32 I  address of the words, SBW_SIZE apart
export const SBQ_HINTS = 16 //           u32 I  address of the per-CPU hints, SBQ_HINT_SIZE apart
export const SBQ_ROUND_ROBIN = 20 //     u32 I
export const SBQ_MIN_SHALLOW = 24 //     u32 I
export const SBQ_SHARED = 28 //          u32 I  1: several threads use it, bits change atomically
export const SBQ_WAKE_BATCH = 32 //      u32 A
export const SBQ_SEED = 36 //            u32 A  for the random hint after a shrink
export const SBQ_WAKE_INDEX = 64 //      u32 A
export const SBQ_WAITERS = 68 //         u32 A  sleepers on all wait queues together
export const SBQ_WS_LOCK = 72 //         u32 A  guards the waiter lists
export const SBQ_WS = 128 //             the 8 wait queues, WS_SIZE apart
export const SBQ_WAIT_QUEUES = 8
export const SBQ_WAKE_BATCH_MAX = 8
export const SBQ_SIZE = 640
export const SBQ_HINT_SIZE = 64
export const WS_WAIT_CNT = 0 //          i32 A
export const WS_HEAD = 4 //              u32 A  waiters, oldest first (under SBQ_WS_LOCK)
export const WS_TAIL = 8 //              u32 A
export const WS_SIZE = 64
// one word of the map
export const SBW_WORD = 0 //             u64 A
export const SBW_DEPTH = 8 //            u32 I  bits used in this word
export const SBW_SIZE = 64
// one waiter (a job, or a TypeScript task)
export const WT_NEXT = 0 //              u32 A
export const WT_PREV = 4 //              u32 A
export const WT_WS = 8 //                u32 A  wait queue it sleeps on, 0 = none
export const WT_CPU = 12 //              u32 I  CPU block to wake
export const WT_WOKEN = 16 //            u32 A
export const WT_EXCLUSIVE = 20 //        u32 I
export const WT_SIZE = 32

// ---------------------------------------------------------------- blk_mq_tags
export const TAGS_NR = 0 //              u32 I  nr_tags, reserved included
export const TAGS_RESERVED = 4 //        u32 I
export const TAGS_RQS = 8 //             u32 I  rqs[tag]: u32 addresses
export const TAGS_STATIC_RQS = 12 //     u32 I  the slots, RQ_SIZE apart
export const TAGS_ACTIVE_QUEUES = 64 //  u32 A
export const TAGS_BITMAP = 128 //        sbitmap_queue of the normal tags
export const TAGS_BRESERVED = 768 //     sbitmap_queue of the reserved tags
export const TAGS_SIZE = 1408

// ---------------------------------------------------------------- request (include/linux/blkdev.h)
export const RQ_IO_START_NS = 0 //       u64 S  io_start_time_ns (issue)
export const RQ_CMD_FLAGS = 8 //         u32 S  op in the low 8 bits, REQ_* above
export const RQ_GEN = 12 //              u32 S  incremented at every start
export const RQ_SECTOR = 16 //           u64 S
export const RQ_DATA_LEN = 24 //         u32 S  bytes
export const RQ_NR_SEGS = 28 //          u32 S  physical segments
export const RQ_BIO = 32 //              u32 S
export const RQ_BIOTAIL = 36 //          u32 S
export const RQ_START_NS = 40 //         u64 S  start_time_ns (allocation); 0 when no stage is stamped
export const RQ_DEADLINE = 48 //         u32 S  jiffies
export const RQ_TIMEOUT = 52 //          u32 S  jiffies, 0 = the queue's
export const RQ_STATE = 56 //            u32 A  MQ_RQ_*
export const RQ_FLAGS = 60 //            u32 S  RQF_*
export const RQ_CTX = 64 //              u32 S  mq_ctx
export const RQ_HCTX = 68 //             u32 S  hardware queue of mq_ctx
export const RQ_TAG = 72 //              i32 S
export const RQ_INTERNAL_TAG = 76 //     i32 S
export const RQ_NEXT = 80 //             u32 S  queuelist: plug, software queue, dispatch, slow or done list
export const RQ_PREV = 84 //             u32 S
export const RQ_Q = 88 //                u32 S  request_queue
export const RQ_CPU = 92 //              u32 S  CPU block of mq_ctx
export const RQ_STATUS = 96 //           u32 S  the driver's status (NVMe: status field without phase)
export const RQ_RESULT = 100 //          u32 S  NVMe: DW0 of the completion
export const RQ_RETRIES = 104 //         u32 S  tries after the first (RQ_RETRIES_MASK), and what the NVMe driver notes (NVME_REQ_*)
export const RQ_END_IO = 108 //          u32 S  0 none, else RQ_END_*
export const RQ_GOT_TAG_NS = 112 //      u64 S  stage stamps; a plain request (plain.ts) has none of its own
export const RQ_INSERT_NS = 120 //       u64 S
export const RQ_PRP_LIST = 128 //        u32 S  first page of the PRP list or discard ranges, 0 = none
export const RQ_SQE = 132 //             u32 S  TypeScript's own command (passthrough), 64 bytes, 0 = none
export const RQ_IOPRIO = 136 //          u32 S
export const RQ_RESULT1 = 140 //         u32 S  NVMe: DW1 of the completion
export const RQ_FLUSH_SEQ = 144 //       u32 S  flush machinery; the scheduler's data share these words
export const RQ_FLUSH_NEXT = 148 //      u32 S
export const RQ_FLUSH_PREV = 152 //      u32 S
export const RQ_SAVED_END_IO = 156 //    u32 S
export const RQ_ELV0 = 144 //            u32 S  scheduler: fifo time
export const RQ_ELV1 = 148 //            u32 S
export const RQ_REF = 160 //             u32 S  1 while the timeout scan holds it; REF_FREED
export const RQ_DUE_NS = 168 //          u64 S  null_blk: when the command's timer fires
export const RQ_SIZE = 192

export const RQ_END_FLUSH = 1 //      flush_end_io
export const RQ_END_FLUSH_DATA = 2 // mq_flush_data_end_io
export const RQ_END_HOST = 3 //       TypeScript's own request (passthrough)
export const RQ_END_PBLK = 4 //       a vector command that the core sent (VS_*)
export const RQ_STATUS_FINAL = 0x10000 // in RQ_STATUS: the low bits are a blk_status_t, decided already

export const RQ_RETRIES_MASK = 0xffff
export const NVME_REQ_CANCELLED = 0x10000 // in RQ_RETRIES: given up by the driver,
export const NVME_REQ_USERCMD = 0x20000 //   sent by a program,
export const NVME_REQ_ABORTED = 0x40000 //   an Abort was sent for it

export const MQ_RQ_IDLE = 0
export const MQ_RQ_IN_FLIGHT = 1
export const MQ_RQ_COMPLETE = 2

// ---------------------------------------------------------------- bio (include/linux/blk_types.h)
// One contiguous buffer per bio; merged requests chain several bios.
export const BIO_OPF = 0 //              u32 S
export const BIO_STATUS = 4 //           u32 S  blk_status_t
export const BIO_SECTOR = 8 //           u64 S
export const BIO_SIZE = 16 //            u32 S  bytes left
export const BIO_DATA = 20 //            u32 S  address of the first byte left
export const BIO_NEXT = 24 //            u32 S  next in the request
export const BIO_REMAINING = 28 //       u32 S  parts of a split bio still under way; 0 = never split
export const BIO_END_IO = 44 //          u32 S  END_IO_*
export const BIO_PRIVATE = 32 //         u32 S  the owner's (a parent bio, a TypeScript cookie)
export const BIO_DISK = 36 //            u32 S  request_queue
export const BIO_BUFFER = 40 //          u32 I  a slot of a program's queue (io-queue.ts): its memory,
export const BIO_BUSY = 48 //            u32 S  ... and 1 from submission until the program has been told of the end
export const BIO_FLAGS = 52 //           u32 S  trace build: 1 = its completion is still to be traced
export const BIO_BYTES = 64

export const END_IO_JOB = 0 //      the bio is the head of an io_u
export const END_IO_RING = 1 //     goes to the CPU's completion ring, for TypeScript
export const END_IO_CHAIN = 2 //    part of a split bio: BIO_PRIVATE is the parent
export const END_IO_HOST = 3 //     TypeScript is called at once (M_HOST)
export const END_IO_NONE = 4 //     nobody's: it carries a request's pages, and goes back with the request

// ---------------------------------------------------------------- blk_mq_ctx, one per CPU and disk
export const CTX_CPU = 0 //              u32 I  CPU block
export const CTX_HCTX = 4 //             u32 I
export const CTX_INDEX_HW = 8 //         u32 I
export const CTX_HEAD = 12 //            u32 S  rq_list
export const CTX_TAIL = 16 //            u32 S
export const CTX_LOCK = 20 //            u32 A
export const CTX_DISPATCHED_ASYNC = 24 // u64 S  rq_dispatched[0]
export const CTX_DISPATCHED_SYNC = 32 //  u64 S  rq_dispatched[1]
export const CTX_COMPLETED_ASYNC = 40 //  u64 S
export const CTX_COMPLETED_SYNC = 48 //   u64 S
export const CTX_MERGED = 56 //          u64 S
// per-CPU part of the disk's statistics (part_stat): by direction read, write, discard, flush
export const CTX_STAT_IOS = 64 //        4 x u64 S
export const CTX_STAT_SECTORS = 96 //    4 x u64 S
export const CTX_STAT_MERGES = 128 //    4 x u64 S
export const CTX_STAT_TICKS = 160 //     4 x u64 S  ns
// queue classes (Linux 5.0): hardware queues of reads and of polled I/O; 0 = these go where all else goes
export const CTX_HCTX_READ = 192 //      u32 I
export const CTX_HCTX_POLL = 196 //      u32 I
export const CTX_SIZE = 256

// ---------------------------------------------------------------- blk_mq_hw_ctx
export const HC_INDEX = 0 //             u32 I  queue_num
export const HC_Q = 4 //                 u32 I
export const HC_TAGS = 8 //              u32 I
export const HC_SCHED_TAGS = 12 //       u32 I
export const HC_DRIVER = 16 //           u32 I  DRIVER_*
export const HC_DRIVER_DATA = 20 //      u32 I  NVMe: the NQ block; null_blk: the NULLB block
export const HC_OWNER = 24 //            u32 I  CPU block of the owner
export const HC_FLAGS = 28 //            u32 I  BLK_MQ_F_*
export const HC_SHARED = 32 //           u32 I  1: more than one CPU maps to it
export const HC_NEXT_OWNED = 36 //       u32 I  next hardware queue of the same owner
export const HC_NR_CTX = 40 //           u32 I
export const HC_DISPATCH_BUSY = 44 //    u32 S
export const HC_NR_ACTIVE = 48 //        u32 A
export const HC_WAIT_INDEX = 52 //       u32 A
export const HC_STATE = 56 //            u32 A  BLK_MQ_S_*
export const HC_QUEUED = 64 //           u64 S
export const HC_RUN = 72 //              u64 S
export const HC_DISPATCHED = 80 //       7 x u32 S
export const HC_SLOW_HEAD = 108 //       u32 S  requests filled but not started, in order of submission
export const HC_SLOW_TAIL = 112 //       u32 S
export const HC_DISPATCH_HEAD = 116 //   u32 S  hctx->dispatch
export const HC_DISPATCH_TAIL = 120 //   u32 S
export const HC_SLOW_LOCK = 124 //       u32 A
export const HC_GATE = 128 //            u32 A  GATE_* bits; zero = the fast half may go on
export const HC_POLL_CONSIDERED = 192 // u64 S
export const HC_POLL_INVOKED = 200 //    u64 S
export const HC_POLL_SUCCESS = 208 //    u64 S
// its flush queue (struct blk_flush_queue); lists are {head, tail} linked by RQ_FLUSH_NEXT
export const HC_FQ_PENDING_IDX = 256 //  u32 S
export const HC_FQ_RUNNING_IDX = 260 //  u32 S
export const HC_FQ_PENDING_SINCE = 264 // u32 S  jiffies
export const HC_FQ_RQ = 268 //           u32 I  flush_rq
export const HC_FQ_QUEUE0 = 272 //       2 x u32 S  flush_queue[0]
export const HC_FQ_QUEUE1 = 280 //       2 x u32 S  flush_queue[1]
export const HC_FQ_DATA = 288 //         2 x u32 S  flush_data_in_flight
export const HC_FQ_ORIG_RQ = 296 //      u32 S
export const HC_VSLOTS = 300 //          u32 I  VS_ blocks by tag, 0 = none
export const HC_SIZE = 384

export const GATE_STOPPED = 1
export const GATE_QUIESCED = 2
export const GATE_FROZEN = 4
export const GATE_DISPATCH = 8 //    hctx->dispatch or the slow list is not empty
export const GATE_SCHED = 16 //      a scheduler is attached
export const GATE_WAITERS = 32 //    tasks wait for a tag
export const GATE_MAIL = 64 //       the owner's mailbox holds a message

export const DRIVER_NVME = 0
export const DRIVER_NULL_BLK = 1
export const DRIVER_HOST = 2 //     queue_rq and complete are TypeScript's (HB_QUEUE_RQ, HB_COMPLETE_RQ)

// ---------------------------------------------------------------- request_queue
export const Q_FLAGS = 0 //              u32 A  QUEUE_FLAG_* bits
export const Q_NR_HW = 4 //              u32 I
export const Q_MAP = 8 //                u32 I  mq_map: u32 hctx address per CPU
export const Q_CTXS = 12 //              u32 I  software queues, CTX_SIZE apart, one per CPU
export const Q_HCTXS = 16 //             u32 I  hardware queues, HC_SIZE apart
export const Q_TIMEOUT = 20 //           u32 I  rq_timeout, jiffies
export const Q_CAPACITY = 24 //          u64 I  sectors
export const Q_MAX_SECTORS = 32 //       u32 I
export const Q_MAX_SEGMENTS = 36 //      u32 I
export const Q_LBA_SHIFT = 40 //         u32 I
export const Q_VIRT_BOUNDARY = 44 //     u32 I  mask, 0 = none
export const Q_NSID = 48 //              u32 I
export const Q_ELEVATOR = 52 //          u32 I  0 none, else a scheduler's number
export const Q_NR_REQUESTS = 56 //       u32 I
export const Q_BIO_BASED = 60 //         u32 I  BIO_BASED_*: whose make_request the disk has
export const Q_MAX_DISCARD = 64 //       u32 I  sectors, 0 = no discard
export const Q_MAX_ZEROES = 68 //        u32 I  sectors
export const Q_INDEX = 72 //             u32 I  number of the disk
export const Q_WATCH = 76 //             u32 A  1: TypeScript hears of each request that is freed (laptop mode, freeze)
export const Q_FROZEN = 80 //            u32 A  new bios wait (FROZEN_WAIT), or fail (FROZEN_DYING)
export const Q_PRINFO = 84 //            u32 I  dword 12 of reads and writes: what is done with protection information
export const Q_TARGET = 88 //            u32 I  BIO_BASED_HOST: its pblk (PB_*), if bios may stay in the core
export const Q_TIMER_NEXT = 128 //       u32 A  first deadline (jiffies) for which the rolling timer need not move, valid if armed
export const Q_TIMER_ARMED = 132 //      u32 A
export const Q_STAT_STAMP = 192 //       u32 S  jiffies of the last round of its statistics
export const Q_IN_QUEUE = 196 //           u32 S  time_in_queue, jiffies
export const Q_IO_TICKS = 200 //           u32 S  jiffies in which something was in flight
export const Q_VECTOR_WAITS = 204 //       u32 S  vector commands that wait for a tag
export const Q_POLL_SINCE = 256 //       u64 S  virtual: commands begun from here on are measured, 0 = nobody polled yet
export const Q_POLL_WINDOW = 264 //      u64 S  end of the window in which they are, 0 = none is open
export const Q_POLL_STAT = 272 //        16 x u64 S  mean time of a command by direction and size, ns
export const Q_POLL_BATCH = 400 //       16 x u64 S  sum of this window
export const Q_POLL_SAMPLES = 528 //     16 x u32 S  commands of this window
export const Q_SIZE = 640

export const FROZEN_WAIT = 1
export const FROZEN_DYING = 2

export const WATCH_LAPTOP = 1 // Q_WATCH: each request of a bio that is freed
export const WATCH_FREEZE = 2 //          ... each request that has left
export const REF_FREED = 0x80000000 // RQ_REF: freed while the timeout scan holds it

export const BIO_BASED_NONE = 0 //  blk_mq_make_request
export const BIO_BASED_HOST = 1 //  TypeScript's
export const BIO_BASED_NULL = 2 //  null_queue_bio

// ---------------------------------------------------------------- struct nvme_queue (host side)
export const NQ_SQ = 0 //                u32 I  sq_cmds
export const NQ_CQ = 4 //                u32 I  cqes
export const NQ_DEPTH = 8 //             u32 I  q_depth
export const NQ_QID = 12 //              u32 I
export const NQ_SQ_DB = 16 //            u32 I  address of the SQ tail doorbell
export const NQ_CQ_DB = 20 //            u32 I  address of the CQ head doorbell
export const NQ_SHADOW_SQ = 24 //        u32 I  dbbuf_sq_db, 0 = no shadow doorbells
export const NQ_SHADOW_CQ = 28 //        u32 I
export const NQ_EI_SQ = 32 //            u32 I  dbbuf_sq_ei
export const NQ_EI_CQ = 36 //            u32 I
export const NQ_TAGS = 40 //             u32 I  blk_mq_tags whose rqs[] the CQ's cids name
export const NQ_DSQ = 44 //              u32 I  the device's queue, when it runs inline; else 0
export const NQ_SHARED = 48 //           u32 I  NQ_LOCKED: take NQ_SQ_LOCK; NQ_SUSPENDED: no commands, no interrupts
export const NQ_IRQ = 52 //              u32 I  interrupt word of its vector (IRQ_* block)
export const NQ_HCTX = 56 //             u32 I
export const NQ_WAIT = 60 //             u32 I  WAIT_*
export const NQ_SQ_TAIL = 64 //          u32 S
export const NQ_LAST_SQ_TAIL = 68 //     u32 S  what the doorbell was last told
export const NQ_BELL_NEXT = 72 //        u32 S  link in CPU_BELL
export const NQ_BELL_LISTED = 76 //      u32 S
export const NQ_PRP_FREE = 80 //         u32 S  free PRP list pages
export const NQ_PRP_BASE = 84 //         u32 I  the pages, PAGE_SIZE apart
export const NQ_PRP_LINKS = 88 //        u32 I  u32 per page: the next of its list
export const NQ_SGL_THRESHOLD = 92 //    u32 I  bytes of a mean segment from which a list of segments is used, 0 = never
export const NQ_CQ_HEAD = 128 //         u32 S
export const NQ_CQ_PHASE = 132 //        u32 S
export const NQ_IRQ_NEXT = 136 //        u32 S  virtual: link in CPU_IRQ_PENDING
export const NQ_IRQ_LISTED = 140 //      u32 S
export const NQ_IRQ_SEEN = 144 //        u32 S  IRQ_WORD at the last interrupt
export const NQ_SPURIOUS = 148 //        u32 S  completions whose cid names nothing in flight
export const NQ_SQ_LOCK = 192 //         u32 A
export const NQ_POLLED = 256 //          u64 S  completions that were found by polling,
export const NQ_IRQ_DONE = 264 //        u64 S  and by interrupt
export const NQ_SIZE = 320

export const NQ_LOCKED = 1
export const NQ_SUSPENDED = 2

export const WAIT_INLINE = 0 //  the device runs in this thread
export const WAIT_POLL = 1
export const WAIT_IRQ = 2
export const WAIT_HYBRID = 3

// an interrupt vector
export const IRQ_WORD = 0 //             u32 D  counts interrupts raised
export const IRQ_WAITING = 64 //         u32 S  1 while the host sleeps on IRQ_WORD
export const IRQ_CPU = 128 //            u32 I  CPU block it is delivered to
export const IRQ_SIZE = 192

// ---------------------------------------------------------------- null_blk: one disk (struct nullb)
export const NULLB_QUEUE_MODE = 0 //     u32 I  NULL_Q_*
export const NULLB_IRQMODE = 4 //        u32 I  NULL_IRQ_*
export const NULLB_FEATURES = 8 //       u32 A  NULLB_F_*: what TypeScript does for each command
export const NULLB_BS = 12 //            u32 I  bytes of a block
export const NULLB_COMPLETION_NS = 16 // u64 I  delay of NULL_IRQ_TIMER
export const NULLB_Q = 24 //             u32 I  its request_queue
export const NULLB_TIMERS = 28 //        u32 I  lists of commands whose timer runs, one for each CPU, NBT_SIZE apart
export const NULLB_INDEX = 32 //         u32 I  number of the disk
export const NULLB_SIZE = 128
// commands whose timer runs on one CPU, in order of their due times (all have the same delay)
export const NBT_HEAD = 0 //             u32 S  linked by RQ_NEXT
export const NBT_TAIL = 4 //             u32 S
export const NBT_NEXT = 8 //             u32 I  the next list of the same CPU
export const NBT_SIZE = 128

export const NULL_Q_BIO = 0
export const NULL_Q_RQ = 1
export const NULL_Q_MQ = 2

export const NULL_IRQ_NONE = 0 //     the command ends inside queue_rq
export const NULL_IRQ_SOFTIRQ = 1 //  blk_mq_complete_request
export const NULL_IRQ_TIMER = 2 //    NULLB_COMPLETION_NS later

export const NULLB_F_COMMAND = 1 //   null_handle_cmd has more to do than to end the command
export const NULLB_F_FAULTS = 2 //    null_queue_rq asks for faults

// what TypeScript says about a command (env.null_cmd): a blk_status_t to end it with, or
export const NULL_CMD_AGAIN = 0x100 //    BLK_STS_DEV_RESOURCE for the block layer: out of bandwidth
export const NULL_CMD_RESOURCE = 0x200 // BLK_STS_RESOURCE: a fault
export const NULL_CMD_TAKEN = 0x300 //    it was requeued, or is forgotten until its time is over

// ---------------------------------------------------------------- device side
export const DEV_INDEX = 0 //            u32 I
export const DEV_MODEL = 4 //            u32 I  MODEL_*
export const DEV_WHERE = 8 //            u32 I  0 inline, 1 on a thread of its own
export const DEV_NN = 12 //              u32 I  namespaces
export const DEV_NS = 16 //              u32 I  namespace blocks, NS_SIZE apart
export const DEV_NR_SQ = 20 //           u32 I  I/O submission queues
export const DEV_SQS = 24 //             u32 I  DSQ blocks, DSQ_SIZE apart
export const DEV_UNITS = 28 //           u32 I  commands served at once
export const DEV_UNIT_FREE = 32 //       u32 D  u64 per unit: when it is free
export const DEV_NEXT_UNIT = 36 //       u32 D
export const DEV_SERVICE_NS = 40 //      u64 I  mean service time
export const DEV_SIGMA_NS = 48 //        f64 I  spread of normal and lognormal
export const DEV_LOCK = 56 //            u32 A  unit table, when several threads run the device inline
export const DEV_MAX_LBAS = 60 //        u32 I  MDTS in bytes, 0 = no limit
export const DEV_SEED = 64 //            u64 D  its own random numbers
export const DEV_EMPIRICAL = 72 //       u32 I  table of u64 latencies
export const DEV_EMPIRICAL_N = 76 //     u32 I
export const DEV_FAULTS = 80 //          u32 I  first fault rule, 0 = none
export const DEV_SHARED = 84 //          u32 I  1: several threads run its queues inline
export const DEV_OPS = 88 //             u32 I  times of writes, trims and flushes (OT_*), 0 = those of reads
export const DEV_HOST = 92 //            u32 D  CTRL_*: a controller in TypeScript stands behind the queues
export const DEV_PAUSED = 96 //          u32 D  1: it neither fetches nor posts (stuck, shut down, bus mastering off)
export const DEV_DMA_FROM = 100 //       u32 D  the memory it may reach,
export const DEV_DMA_TO = 104 //         u32 D  up to here
export const DEV_NAND = 108 //           u32 I  flash of model nand (NA_*)
export const DEV_READS = 128 //          u64 D  what a controller's health log counts: reads,
export const DEV_WRITES = 136 //         u64 D  writes,
export const DEV_READ_BLOCKS = 144 //    u64 D  512-byte blocks read,
export const DEV_WRITTEN_BLOCKS = 152 // u64 D  and written
export const DEV_ARB = 160 //            u32 D  ARB_*: who is served first when several queues have entries
export const DEV_BURST = 164 //          u32 D  entries of one queue in a turn, 0 = no limit
export const DEV_WEIGHTS = 168 //        3 x u32 D  entries of the classes high, medium and low in a round
export const DEV_SLOTS = 180 //          u32 D  commands in service at most, 0 = no limit
export const DEV_FIRST_SQ = 184 //       u32 D  the controller's submission queues, linked by DSQ_NEXT
export const DEV_TURNS = 188 //          5 x u32 D  queue that was served last: of each class, and of all
export const DEV_OCSSD = 208 //          u32 I  its open-channel media (OC_*), 0 = none
export const DEV_WAKE = 256 //           u32 A  event count that the device's thread sleeps on
export const DEV_WAITING = 260 //        u32 A
export const DEV_SIZE = 384

export const ARB_NONE = 0 //        each queue when its doorbell comes
export const ARB_ROUND_ROBIN = 1 // all queues in turn
export const ARB_WEIGHTED = 2 //    admin, urgent, then high, medium, low by weight

export const CTRL_PLAIN = 1 // plain reads and writes are executed here, all else by the controller
export const CTRL_ALL = 2 //   every command goes to the controller

export const MODEL_NULL = 0
export const MODEL_RAM = 1 //        completes at once, keeps data
export const MODEL_FIXED = 2
export const MODEL_NORMAL = 3
export const MODEL_LOGNORMAL = 4
export const MODEL_EMPIRICAL = 5
export const MODEL_NAND = 6 //       flash: nand.ts

// how long commands of one kind take
export const OT_SERVICE_NS = 0 //        u64 I
export const OT_SIGMA_NS = 8 //          f64 I
export const OT_EMPIRICAL = 16 //        u32 I  table of u64 latencies
export const OT_EMPIRICAL_N = 20 //      u32 I
export const OT_SIZE = 32

// a fault: which commands it meets, and what then happens (DEV_FAULTS, FLT_NEXT)
export const FLT_NEXT = 0 //             u32 I
export const FLT_OPCODE = 4 //           u32 I  0xffffffff = any
export const FLT_SQ = 8 //               u32 I  queue identifier, 0 = any
export const FLT_ACTION = 12 //          u32 I  FAULT_*
export const FLT_FROM = 16 //            u64 I  first logical block
export const FLT_TO = 24 //              u64 I  one past the last
export const FLT_NTH = 32 //             u32 I  the n-th command met, counted from 1; 0 = every one
export const FLT_MET = 36 //             u32 A
export const FLT_VALUE = 40 //           u64 I  status, delay in ns, or byte to spoil
export const FLT_HITS = 48 //            u32 A  times it acted
export const FLT_SIZE = 64
export const FAULT_STATUS = 1 //   completes with a status, moves no data
export const FAULT_DELAY = 2 //    takes longer
export const FAULT_CORRUPT = 3 //  one byte of the data is changed on its way

// a namespace
export const NS_NSZE = 0 //              u64 I  logical blocks
export const NS_LBADS = 8 //             u32 I  log2 of the block size
export const NS_STORE = 12 //            u32 I  data store, 0 = none (model null)
export const NS_FLAGS = 16 //            u32 D  not 0: the controller executes its commands
export const NS_BASE = 24 //             u64 D  where it begins in the store, bytes (controllers only)
export const NS_SIZE = 64

// a submission queue as the controller sees it
export const DSQ_BASE = 0 //             u32 I  entries
export const DSQ_ENTRIES = 4 //          u32 I
export const DSQ_DB = 8 //               u32 I  tail doorbell
export const DSQ_CQ = 12 //              u32 I  its completion queue (DCQ block)
export const DSQ_DEV = 16 //             u32 I
export const DSQ_ID = 20 //              u32 I
export const DSQ_SHADOW = 24 //          u32 I  shadow tail, 0 = none
export const DSQ_EI = 28 //              u32 I
export const DSQ_END = 32 //             u32 I  one past its last entry
export const DSQ_CLASS = 36 //           u32 D  0 urgent, 1 high, 2 medium, 3 low
export const DSQ_NEXT = 40 //            u32 D  next queue of the controller
export const DSQ_HEAD = 64 //            u32 D
export const DSQ_FIFO_HEAD = 68 //       u32 D  commands in service, in order of their due time
export const DSQ_FIFO_COUNT = 72 //      u32 D
export const DSQ_FIFO = 76 //            u32 I  DSQ_ENTRIES records, FIFO_SIZE apart
export const DSQ_EVENT_DONE = 80 //      u32 D  virtual: event slot of its EV_DONE
export const DSQ_BAD = 84 //             u32 D  the last tail that was none, and that the controller was told of
export const DSQ_COMMANDS = 96 //        u64 D  commands executed
export const DSQ_ERRORS = 104 //         u64 D  ... that ended with an error
export const DSQ_EVENT_SQ = 112 //       u32 D  virtual: event slot of its EV_SQ
export const DSQ_SIZE = 128
export const FIFO_DUE = 0 //             u64 D
export const FIFO_CID = 8 //             u32 D
export const FIFO_STATUS = 12 //         u32 D
export const FIFO_SIZE = 16

// a completion queue as the controller sees it
export const DCQ_BASE = 0 //             u32 I
export const DCQ_ENTRIES = 4 //          u32 I
export const DCQ_DB = 8 //               u32 I  head doorbell
export const DCQ_IEN = 12 //             u32 I
export const DCQ_IRQ = 16 //             u32 I  IRQ block
export const DCQ_SHADOW = 20 //          u32 I  shadow head, 0 = none
export const DCQ_EI = 24 //              u32 I
export const DCQ_COAL_N = 28 //          u32 I  interrupt after this many entries (1 = each)
export const DCQ_COAL_NS = 32 //         u64 I  ... or this long after the first
export const DCQ_NQ = 40 //              u32 I  virtual: the host queue to put on CPU_IRQ_PENDING
export const DCQ_END = 44 //             u32 I  one past its last entry
export const DCQ_TAIL = 64 //            u32 D
export const DCQ_PHASE = 68 //           u32 D
export const DCQ_PEND = 72 //            u32 D  entries posted since the last interrupt
export const DCQ_PEND_NS = 80 //         u64 D  when the first of them was posted
export const DCQ_RAISED = 88 //          u64 D  interrupts raised
export const DCQ_HEAD_SEEN = 96 //       u32 D  the host's head when last read
export const DCQ_HELD = 100 //           u32 D  1: the controller holds completions back until there is room
export const DCQ_STEP = 104 //           u32 D  1 while the device works on it: the interrupt comes at the end
export const DCQ_EVENT = 112 //          u32 D  virtual: event slot of its EV_COALESCE
export const DCQ_SIZE = 128

// a data store: sparse 4 KiB pages, two levels
export const ST_DIR = 0 //               u32 I  u32 per leaf: address of 1024 page addresses, or 0
export const ST_DIRS = 4 //              u32 I  leaves
export const ST_SHARED = 8 //            u32 I  1: several threads, pages appear by compare-and-swap
export const ST_POOL = 12 //             u32 I  page pool block
export const ST_SIZE = 64
// the pool of pages that all stores share (mem= is its budget)
export const POOL_NEXT = 0 //            u32 A  first page never used
export const POOL_END = 4 //             u32 I
export const POOL_FREE = 8 //            u32 A  head of the list of freed pages (shared: under POOL_LOCK)
export const POOL_LOCK = 12 //           u32 A
export const POOL_FULL = 16 //           u32 A  1 after a write found no page
export const POOL_USED = 20 //           u32 A  pages handed out and not freed
export const POOL_SIZE = 128

// ---------------------------------------------------------------- flash behind a drive (nand.ts)
export const NA_DIES = 0 //              u32 I
export const NA_CHANNELS = 4 //          u32 I  die d is on channel d % NA_CHANNELS
export const NA_ROW_SHIFT = 8 //         u32 I  log2 of the 4 KiB places in a row
export const NA_ROWS = 12 //             u32 I  of a block
export const NA_BLOCKS = 16 //           u32 I  of a die
export const NA_L2P = 24 //              u32 I  u32 for each of them: its place + 1
export const NA_P2L = 28 //              u32 I  u32 for each place: what was written there last
export const NA_DIE = 32 //              u32 I  die blocks, ND_SIZE apart
export const NA_CHAN_FREE = 36 //        u32 I  u64 for each channel: when it is free
export const NA_VALID = 40 //            u32 I  u32 for each block: places in use
export const NA_LINK = 44 //             u32 I  u32 for each block: the next free one + 1
export const NA_BUFFER = 48 //           u32 I  u64 for each row of the buffer: when it is free
export const NA_BUFFERS = 52 //          u32 I
export const NA_NEXT_BUFFER = 56 //      u32 D
export const NA_TURN = 60 //             u32 D  die that gets the next row
export const NA_READ_NS = 64 //          u64 I  tR
export const NA_PROGRAM_NS = 72 //       u64 I  tPROG
export const NA_ERASE_NS = 80 //         u64 I  tBERS
export const NA_XFER_NS = 88 //          u64 I  4 KiB over a channel
export const NA_ACCEPT = 96 //           u64 D  when the buffer takes what comes next
export const NA_LAST = 104 //            u64 D  when the last program ends
export const NA_HOST_SLOTS = 112 //      u64 D  places written for the host,
export const NA_GC_SLOTS = 120 //        u64 D  and moved
export const NA_ERASES = 128 //          u64 D
export const NA_FILL = 136 //            u32 I  units that hold data at boot
export const NA_SEEN = 140 //            u32 D  what a look ahead saw: nobody reads it
export const NA_SIZE = 192
export const ND_FREE_NS = 0 //           u64 D  when the die is free
export const ND_INDEX = 8 //             u32 I
export const ND_BLOCK = 12 //            u32 D  block that takes the host's data,
export const ND_SLOT = 16 //             u32 D  and its next place
export const ND_GC_BLOCK = 20 //         u32 D  block that takes what is moved,
export const ND_GC_SLOT = 24 //          u32 D  and its next place
export const ND_VICTIM = 28 //           u32 D  block that is being collected + 1, 0 = none
export const ND_CURSOR = 32 //           u32 D  its next row
export const ND_FREE_HEAD = 36 //        u32 D  first free block + 1
export const ND_FREE = 40 //             u32 D  free blocks
export const ND_CHANNEL = 44 //          u32 I  its channel: when that is free (u64)
export const ND_SIZE = 64

// ---------------------------------------------------------------- open-channel media (ocssd.ts, src/device/ocssd)
export const OC_FLAGS = 0 //             u32 D  OCF_*: which commands the core may execute
export const OC_GROUPS = 4 //            u32 I
export const OC_PUS = 8 //               u32 I  of a group
export const OC_CHUNKS = 12 //           u32 I  of a PU
export const OC_CLBA = 16 //             u32 I  sectors of a chunk
export const OC_SEC_BITS = 20 //         u32 I  bits of an address: sector,
export const OC_CHUNK_BITS = 24 //       u32 I  chunk,
export const OC_PU_BITS = 28 //          u32 I  and PU
export const OC_WS_MIN = 32 //           u32 I  sectors of a write at least
export const OC_MW_CUNITS = 36 //        u32 I  sectors behind the write pointer that cannot be read
export const OC_STATE = 40 //            u32 I  u8 for each chunk: its state,
export const OC_TYPE = 44 //             u32 I  u8: its type,
export const OC_WP = 48 //               u32 I  u32: its write pointer,
export const OC_DATA = 52 //             u32 I  u32: its sectors (OCC_*), 0 = never written
export const OC_FREE = 56 //             u32 D  first free page; its first word is the next one
export const OC_NEXT = 60 //             u32 D  first page never used
export const OC_END = 64 //              u32 I
export const OC_USED = 68 //             u32 D  pages in use
export const OC_READS = 72 //            f64 D  commands and sectors
export const OC_WRITES = 80 //           f64 D
export const OC_ERASES = 88 //           f64 D
export const OC_SECTORS_READ = 96 //     f64 D
export const OC_SECTORS_WRITTEN = 104 // f64 D
export const OC_ROOM = 112 //            u32 I  pages, used or not
export const OC_TIGHT = 116 //           u32 D  every page was in use once: what is free goes to the list, none is spare
export const OC_TOUCHED = 120 //         u32 D  written, never read: what was looked at ahead
export const OC_SIZE = 128
// one sector of a chunk
export const OCC_PAGE = 0 //             u32 D  its page, 0 = one word over and over; OCC_SPARE: so it is, but it keeps a page
export const OCC_WORD = 4 //             u32 D  that word
export const OCC_OOB = 8 //              2 x u64 D  out-of-band data
export const OCC_SIZE = 24
export const OCC_SPARE = 1

export const OCF_READ = 1 //  reads never fail and take no time
export const OCF_WRITE = 2 // the same of writes
export const OCF_CLOSE = 4 //             a write may open or fill its chunk: open chunks are not counted

export const CHUNK_FREE = 1
export const CHUNK_CLOSED = 2
export const CHUNK_OPEN = 4
export const CHUNK_OFFLINE = 8

export const CHUNK_SEQUENTIAL = 1
export const CHUNK_RANDOM = 2

// ---------------------------------------------------------------- pblk (pblk.ts, src/drivers/lightnvm/pblk-shared.ts)
// An instance. Addresses inside of it (T, src/drivers/lightnvm/pblk.ts) take 32 bits where the core works with them.
export const PB_L2P = 0 //               u32 I  trans_map: a T for each lba
export const PB_NR_SECS = 4 //           u32 I
export const PB_SEC_BITS = 8 //          u32 I  bits of a T: sector,
export const PB_UNIT_BITS = 12 //        u32 I  channel and LUN; the line is above
export const PB_UNITS = 16 //            u32 I  PU_ records by channel and LUN of a T
export const PB_LINES = 20 //            u32 I  LN_ blocks, PB_LINE_BYTES apart
export const PB_LINE_BYTES = 24 //       u32 I
export const PB_WS_OPT = 28 //           u32 I
export const PB_LUNS = 32 //             u32 I
export const PB_CLBA = 36 //             u32 I
export const PB_MW_CUNITS = 40 //        u32 I
export const PB_HIGH_THRS = 44 //        u32 I
export const PB_MID_THRS = 48 //         u32 I
export const PB_NVME_Q = 52 //           u32 I  request_queue of the namespace, 0 = the core sends no commands
export const PB_NSID = 56 //             u32 I
export const PB_CHUNK_SHIFT = 60 //      u32 I  where the chunk is in a device's address
export const PB_CHUNK_BITS = 92 //        u32 I  ... and how many bits it has
export const PB_LUN = 96 //              u32 I  LU_ records of the LUNs
export const PB_CH_BITS = 100 //         u32 I  bits of a T: channel
export const PB_NUM_CH = 104 //          u32 I
export const PB_SEC_PER_LINE = 108 //    u32 I
export const PB_LBA_ROOM = 112 //        u32 I  entries of emeta's list of lbas
export const PB_GC_WANTS = 116 //        u32 S  entries that the collector waits for, 0 = it does not wait
export const PB_RB_N = 64 //             u32 I  entries of the ring, a power of two
export const PB_RB_BACK = 68 //          u32 I  back_thres
export const PB_RB_DATA = 72 //          u32 I  pages of the entries,
export const PB_RB_LBA = 76 //           u32 I  f64: their lbas, -1 = none,
export const PB_RB_PPA = 80 //           u32 I  f64: their T, or addr_empty,
export const PB_RB_FLAGS = 84 //         u32 I  u32: PBLK_*
export const PB_RB_MAX_IO = 88 //        u32 I
export const PB_RB_MEM = 128 //          u32 S  positions
export const PB_RB_SUBM = 132 //         u32 S
export const PB_RB_SYNC = 136 //         u32 S
export const PB_RB_L2P = 140 //          u32 S
export const PB_RB_FLUSH = 144 //        i32 S  flush_point, -1 = none
export const PB_SLOW = 148 //            u32 S  PBS_*: why writes are TypeScript's
export const PB_RB_TAKEN = 152 //        f64 S
export const PB_RB_SYNCED = 160 //       f64 S
export const PB_RL_USER_MAX = 168 //     u32 S  limiter
export const PB_RL_USER_CNT = 172 //     u32 S
export const PB_RL_GC_CNT = 176 //       u32 S
export const PB_RL_GC_MAX = 120 //       u32 S
export const PB_RL_SPACE = 180 //        i32 S  rb_space, -1 = no limit
export const PB_RL_ACTIVE = 184 //       u32 S  rb_user_active
export const PB_RL_STAMP = 188 //        u32 S  jiffy at which the user's timer was set last,
export const PB_KICK_STAMP = 192 //      u32 S  and the writer's
export const PB_WRITER_SLEEPS = 196 //   u32 S  PBW_*: a kick must wake it
export const PB_USER_WA = 200 //         f64 S
export const PB_PAD_WA = 208 //          f64 S
export const PB_INFLIGHT = 216 //        u32 S  inflight_io
export const PB_WATCH = 220 //           u32 S  tasks that wait for commands to end,
export const PB_SPACE_WATCH = 224 //     u32 S  or for entries to be persisted
export const PB_PENDING = 228 //         u32 S  lines that are free once the ring is written:
export const PB_SETTLE_AT = 248 //       f64 S  the first of them when PB_RB_SYNCED is so large
export const PB_COMPLETE = 240 //        u32 S  ended writes that wait for others before them
export const PB_FLUSHES = 244 //         u32 S  bios that end with an entry
export const PB_DATA_LINE = 232 //       u32 S  LN_ block of data_line, 0 = none
export const PB_ERASE_LINE = 236 //      u32 S  ... of data_next
export const PB_META = 256 //            u32 S  LUN + 1 of the write that emeta goes beside; PB_META_ANY: of any; 0 = there is none
export const PB_SIZE = 320
export const PB_META_ANY = 0xffffffff

export const PBS_PARKED = 1 // PB_SLOW: others wait for room
export const PBS_FAILED = 2 //          no line is left

export const PBW_TASK = 1 // PB_WRITER_SLEEPS: the task has to be woken
export const PBW_CORE = 2 //                    what it would do is all in the core, unless something turns out to be special

export const PU_ADDRESS = 0 //           u64 I  channel and LUN of a device's address
export const PU_POS = 8 //               u32 I  LUN, counted over all
export const PU_SIZE = 16

// the semaphore of a LUN: one write at a time
export const LU_COUNT = 0 //             u32 S
export const LU_WAITING = 4 //           u32 S
export const LU_SIZE = 8

// a line; behind it u32 for each LUN: sectors of its chunk that are written, then u8: whether any was since its last erase
export const LN_REF = 0 //               u32 S
export const LN_VSC = 4 //               u32 S
export const LN_STATE = 8 //             u32 S  PBLK_LINESTATE_*
export const LN_TO_UPDATE = 12 //        u32 S  sec_to_update
export const LN_INVALID = 16 //          u32 S  invalid_bitmap, 0 = none
export const LN_MAP = 20 //              u32 S  map_bitmap
export const LN_INFLIGHT = 24 //         u32 S
export const LN_LEFT_MSECS = 28 //       u32 S
export const LN_CUR_SEC = 32 //          u32 S
export const LN_VALID_LBAS = 36 //       u32 S
export const LN_SEC_IN_LINE = 40 //      u32 S
export const LN_WRITE_ERR = 44 //        u32 S  has_write_err
export const LN_LBAS = 48 //             u32 S  list of lbas in its emeta, 0 = it has no buffer
export const LN_LEFT_EBLKS = 52 //       u32 S
export const LN_ID = 56 //               u32 I
export const LN_SIZE = 64

export const PBLK_LINESTATE_OPEN = 11
export const PBLK_LINESTATE_CLOSED = 12

export const PBLK_IOTYPE_USER = 1
export const PBLK_IOTYPE_GC = 2
export const PBLK_FLUSH_ENTRY = 4
export const PBLK_WRITTEN_DATA = 8
export const PBLK_SUBMITTED_ENTRY = 16
export const PBLK_WRITABLE_ENTRY = 32

// what a tag of a namespace's queue has for a vector command that the core sends (HC_VSLOTS)
export const VS_SQE = 0 //               the command
export const VS_BIO = 64 //              two bios for its pages
export const VS_PB = 192 //              u32 S
export const VS_USER = 196 //            u32 S  the user's bio
export const VS_N = 200 //               u32 S  sectors
export const VS_LBA = 204 //             u32 S  first lba (reads)
export const VS_KIND = 208 //            u32 S  VSK_*
export const VS_SENTRY = 212 //          u32 S  first entry of the ring (writes)
export const VS_POS = 216 //             u32 S  LUN that it holds
export const VS_PPAS = 256 //            64 x u64 S  addresses
export const VS_OOB = 768 //             128 x u64 S  out-of-band data
export const VS_SIZE = 1792

export const VSK_READ = 1
export const VSK_WRITE = 2

// ---------------------------------------------------------------- events of virtual time
export const EVQ_COUNT = 0 //            u32 S  events that will come
export const EVQ_CAP = 4 //              u32 I  room of each heap
export const EVQ_HEAP = 8 //             u32 I  two 4-ary heaps one after the other, events EV_SIZE apart: near, far
export const EVQ_SEQ = 16 //             u64 S  breaks ties: first in, first out
export const EVQ_DONE = 24 //            u64 S  events handled
export const EVQ_SERVED = 32 //          u32 S  the CPU that TypeScript was called for last, 0 = none
export const EVQ_NEAR = 36 //            u32 S  events in the near heap: of CPUs, and doorbells,
export const EVQ_FAR = 40 //             u32 S  and in the far one
export const EVQ_TAKEN = 44 //           u32 S  slot of the far event that is being handled, 0 = none
export const EVQ_UNTIL = 48 //           u64 S  virtual: the core returns before anything later than this
export const EVQ_SIZE = 64
export const EV_TIME = 0 //              u64 S
export const EV_KEY = 8 //               u64 S  sequence << 32 | kind << 28 | address of its slot >> 4
export const EV_SIZE = 16
// An event slot is a u32 of the block that the event is about, 16-byte aligned and virtual time's
// only: the event's place in the heap + 1, 0 = not queued.
export const EV_CPU = 0 //               a CPU has something to do
export const EV_SQ = 1 //                a doorbell write reaches the device
export const EV_DONE = 2 //              the oldest command in service of a queue is due
export const EV_COALESCE = 3 //          a coalescing time is over

// ---------------------------------------------------------------- the ring of finished bios, per CPU
export const RING_HEAD = 0 //            u32 S  next to read (TypeScript)
export const RING_TAIL = 4 //            u32 S  next to write (WASM)
export const RING_MASK = 8 //            u32 I
export const RING_BASE = 12 //           u32 I  u32 bio addresses
export const RING_SIZE = 64

// ---------------------------------------------------------------- a trace ring (trace build)
// of a CPU where CPUs are threads (TRB_SHARED of TypeScript), else of the machine
export const TRB_AT = 0 //                u32 S  where the next record goes
export const TRB_STOP = 4 //              u32 I  the end of the records
export const TRB_TURN = 8 //              u32 S  which record stood, or will stand, at their beginning in this turn: a multiple of how many there are
export const TRB_LAST = 12 //             u32 I  1: when the ring is full the oldest record makes room
export const TRB_NOW = 16 //              u64 S  what the last stamp says: the time,
export const TRB_WHO = 24 //              u64 S  context and CPU (CPU_CTX_ID, CPU_CTX_CPU)
export const TRB_STAMPS = 32 //           u32 I  TRB_STAMP_MASK + 1 stamps (TRS_*)
export const TRB_STAMP_MASK = 36 //       u32 I
export const TRB_STAMP_HEAD = 40 //       u32 S  stamps written
export const TRB_MORE = 44 //             u32 I  TRB_MORE_MASK + 1 places for what events have beside (TRE_*)
export const TRB_MORE_MASK = 48 //        u32 I
export const TRB_MORE_HEAD = 52 //        u32 S  events written
export const TRB_DROPS = 56 //            u32 S  records for which there was no room
export const TRB_MASK = 60 //             u32 I
export const TRB_TAIL = 64 //             u32 S  records read (TypeScript)
export const TRB_RECORDS = 128 //         mask + 1 records: u32, FN_* that was entered, TR_EVENT | EV_*, TR_HOST_EVENT; the depth
export const TRB_SIZE = 128
export const TR_SIZE = 4
export const TR_DEPTH_SHIFT = 16
// a stamp: what records have in common from one on, up to the next stamp
export const TRS_TIME = 0 //            u64 S  ns; above 48 bits the number of the CPU
export const TRS_FIRST = 8 //           u32 S  the first record that it is for
export const TRS_CTX = 12 //            u32 S  who ran: id of a context of the kernel, TRACE_HARDIRQ | CPU
export const TRS_SIZE = 16
export const TRS_CPU_SHIFT = 48
// what an event has beside
export const TRE_SECTOR = 0 //           u64 S
export const TRE_BYTES = 8 //            u32 S
export const TRE_OPF = 12 //             u32 S
export const TRE_Q = 16 //               u32 S  request_queue
export const TRE_ERROR = 20 //           u32 S  blk_status_t
export const TRE_SIZE = 24
export const TR_EVENT = 0x4000
export const TR_HOST_EVENT = 0x8000
export const TRACE_HARDIRQ = 0x800000
// M_TRACE: 1, and of these
export const TRACE_EVENTS = 2 // tracepoints alone are recorded
export const TRACE_MUTED = 4 //  depth is counted, nothing is recorded
export const TRACE_TIMED = 8 //  a record takes M_TRACE_NS

// what the core asks of the block layer in TypeScript (host.ts); (a, b) and the answer
export const HB_INSERT_FLUSH = 1 //     (rq)           blk_insert_flush
export const HB_RUN_HW_QUEUE = 2 //     (hctx, async)  blk_mq_run_hw_queue
export const HB_INSERT_REQUEST = 3 //   (rq, async)    blk_mq_sched_insert_request, and run
export const HB_INSERT_REQUESTS = 4 //  (hctx, first)  the scheduler's insert_requests; linked by RQ_NEXT
export const HB_BIO_MERGE = 5 //        (hctx, bio)    the scheduler's bio_merge: 1 = it joined a request
export const HB_LIMIT_DEPTH = 6 //      (q, opf)       the scheduler's limit_depth: depth of a word, 0 = all
export const HB_PREPARE = 7 //          (rq, bio)      ... prepare_request
export const HB_FINISH = 8 //           (rq)           ... finish_request
export const HB_COMPLETED = 9 //        (rq)           ... completed_request
export const HB_END_IO = 11 //          (rq, status)   rq->end_io
export const HB_BIO_END_IO = 12 //      (bio)          bio->bi_end_io of END_IO_HOST
export const HB_ADD_TIMER = 13 //       (q, deadline)  the rolling timer of a queue must run, or fire earlier
export const HB_RESTART = 14 //         (hctx)         blk_mq_sched_restart found BLK_MQ_S_SCHED_RESTART
export const HB_FREED = 15 //           (q, rq)        a request of a bio was freed while Q_WATCH was set
export const HB_QUEUE_RQ = 18 //         (hctx, rq)     queue_rq of DRIVER_HOST: a blk_status_t
export const HB_COMPLETE_RQ = 19 //      (rq, status)   ... and its complete
export const HB_COMPLETE_FAILED = 20 //  (rq, status)   nvme_complete_rq of a command that failed
export const HB_NVME_CQE = 21 //         (nq, cqe)      an entry that names no request in flight: 1 = it meant something
export const HB_FILE_IO = 22 //          (job, iou)     an io_u goes through the page cache; iou 0: the job closes its files
export const HB_MERGE_BIO = 17 //       (hctx, bio)    __blk_mq_sched_bio_merge without a scheduler: 1 = merged

// ... of pblk: (pb, number)
export const HB_PBLK_END = 32 //         (rq, status)   a vector command ended with an error, or with what was not asked for
export const HB_PBLK_NEXT = 33 //        (q)            a tag is free, and commands wait for one
export const HB_PBLK_OVER = 34 //        (pb)           a command has ended, and somebody waits for that
export const HB_PBLK_LINE_PUT = 35 //    (pb, line)     nobody refers to a line any more
export const HB_PBLK_GROUP = 36 //       (pb, line)     a closed line may belong to another list
export const HB_PBLK_USER_IN = 37 //     (pb)           users write: their timer
export const HB_PBLK_KICK = 38 //        (pb)           there is something to be written
export const HB_PBLK_UP = 40 //          (pb, lun)      a LUN is free, and somebody waits for it
export const HB_PBLK_ERASE = 41 //       (pb, lun)      a chunk of data_next is to be erased beside a write
export const HB_PBLK_SYNC = 39 //        (pb)           entries are persisted, and somebody waits for that

// what device_host asks of a controller in TypeScript (dsq, address of the entry, argument)
export const DV_ADMIN = 1 //             (dsq, sqe)         an entry of the admin queue: posted by dev_complete
export const DV_IO = 2 //                (dsq, sqe)         any other: a status, or DV_PENDING
export const DV_DOORBELL = 3 //          (dsq, 0, value)    a tail that is none
export const DV_ROOM = 4 //              (dsq)              there is room again in a queue with DCQ_HELD
export const DV_PENDING = 0x80000000 //  answer: dev_complete posts it later

// ---------------------------------------------------------------- io_u: one I/O of a job
export const IOU_BIO = 0 //              the bio, BIO_BYTES long
export const IOU_JOB = 64 //             u32 I
export const IOU_BUF = 68 //             u32 I  its buffer, page aligned
export const IOU_DDIR = 72 //            u32 S  DDIR_*
export const IOU_LEN = 76 //             u32 S  bytes
export const IOU_STATE = 80 //           u32 S  IOU_*
export const IOU_FLAGS = 84 //           u32 S
export const IOU_START_NS = 88 //        u64 S  start_time; 0 = not timed
export const IOU_ISSUE_NS = 96 //        u64 S  issue_time
export const IOU_NEXT = 104 //           u32 S  free, done or verify list
export const IOU_NUMBER = 108 //         u32 S  how many-th write of the job (verify: numberio)
export const IOU_OFFSET = 112 //         u64 S  bytes, from the start of the disk
export const IOU_INDEX = 120 //          u32 I
export const IOU_FRESH = 1 //     IOU_STATE: filled, never submitted
export const IOU_AGAIN = 2 //     found no tag
export const IOU_ACTIVE = 3 //    with the block layer
export const IOU_FROZEN = 4 //    came to a frozen queue
export const IOU_FILE = 124 //           u32 S  number of the region
export const IOUF_MEASURED = 1 // IOU_FLAGS: counts in the statistics
export const IOUF_NOTED = 4 //    verify_note_write knows of it
export const IOUF_VERIFY = 2 //   its data are checked when it completes
export const IOUF_POLLED = 8 //   the job polls for it
export const IOUF_FAILED = 16 //  its bio ended with a bad BIO_STATUS
export const IOU_PRIO_SHIFT = 8 // IOU_FLAGS: the number of its priority stands this many bits up
export const IOU_SIZE = 128

export const DDIR_READ = 0
export const DDIR_WRITE = 1
export const DDIR_TRIM = 2
export const DDIR_SYNC = 3

// ---------------------------------------------------------------- job: one clone of a fio job
export const JOB_STATE = 0 //            u32 A  JOB_*
export const JOB_NEXT = 4 //             u32 I  next job of the same CPU
export const JOB_CPU = 8 //              u32 I
export const JOB_Q = 12 //               u32 I  request_queue, 0 = engine null
export const JOB_IODEPTH = 16 //         u32 A  TypeScript lowers it for latency_target
export const JOB_BATCH = 20 //           u32 I  iodepth_batch
export const JOB_REAP_MIN = 24 //        u32 I  iodepth_batch_complete_min
export const JOB_REAP_MAX = 28 //        u32 I  iodepth_batch_complete_max
export const JOB_LOW = 32 //             u32 I  iodepth_low
export const JOB_IN_FLIGHT = 36 //       u32 S
export const JOB_FREE = 40 //            u32 S  free io_u
export const JOB_FEATURES = 44 //        u32 I  JF_*: what the plain loop must look at; 0 = nothing
export const JOB_POLLED = 48 //          u32 I  0 waits, 1 polls (hipri), 2 polls a share (JOB_POLL_PCT)
export const JOB_ENDED = 52 //           u32 S  io_us whose bios ended, newest first (IOU_NEXT)
export const JOB_RETRY = 56 //           u32 S  io_u that found no tag
export const JOB_INDEX = 60 //           u32 I
export const JOB_ISSUED = 64 //          u64 S  I/Os issued (read, write, trim)
export const JOB_NUMBER_IOS = 72 //      u64 I  stop after so many, 2^63 = no limit
export const JOB_BYTES = 80 //           u64 S  bytes issued
export const JOB_IO_LIMIT = 88 //        u64 I  stop at so many bytes, 2^63 = no limit
export const JOB_END_NS = 96 //          u64 I  stop at this time, 2^63 = no limit
export const JOB_WAKE_NS = 104 //        u64 S  not before this time (thinktime, rate, TypeScript's tick)
export const JOB_MEASURED = 112 //       u64 S  I/Os completed since the ramp ended
export const JOB_MAX_IO = 120 //         u64 I  --max-io, 2^63 = no limit
export const JOB_ERROR = 128 //          u32 S  first errno
export const JOB_WAITER = 132 //         u32 I  its WT block
export const JOB_RECORD = 136 //         u32 A  1: statistics count (0 during the ramp)
export const JOB_POLL_PCT = 140 //       u32 I
export const JOB_DONE_HEAD = 144 //      u32 S  io_us that TypeScript must see (verify by a host library, errors)
export const JOB_DONE_TAIL = 148 //      u32 S
export const JOB_SINCE_THINK = 152 //    u32 S
export const JOB_THINK_BLOCKS = 156 //   u32 I
export const JOB_THINK_NS = 160 //       u64 I
export const JOB_THINK_SPIN_NS = 168 //  u64 I
export const JOB_RATE_NS = 176 //        3 x f64 I  ns per byte by direction, 0 = unlimited
export const JOB_RATE_IO_NS = 200 //     3 x f64 I  ns per I/O by direction, 0 = unlimited
export const JOB_RATE_NEXT = 224 //      3 x f64 S  when the direction may go on
export const JOB_RATE_POISSON = 248 //   u32 I
export const JOB_STOP = 252 //           u32 A  1: end the job (exitall, SIGINT, steady state)
export const JOB_FSYNC_EVERY = 256 //    u32 I  writes between fsyncs, 0 = none
export const JOB_SINCE_SYNC = 260 //     u32 S
export const JOB_SYNC_FUA = 264 //       u32 I  1: every write carries FUA (sync=1)
export const JOB_CONTINUE = 268 //       u32 I  continue_on_error bits: 1 read, 2 write, 4 verify
export const JOB_ERRORS = 272 //         u64 S  I/Os that failed
export const JOB_FSYNCS = 280 //         u64 S  syncs issued
export const JOB_LAT_TARGET_NS = 288 //  u64 I  latency_target, 0 = none
export const JOB_LAT_BAD = 296 //        u64 S  I/Os over the target in this window
export const JOB_LAT_SEEN = 304 //       u64 S
export const JOB_MAX_LAT_NS = 312 //     u64 I  max_latency, 0 = none
export const JOB_LOG = 320 //            u32 I  buffer of log records, 0 = none
export const JOB_LOG_CAP = 324 //        u32 I  records
export const JOB_LOG_COUNT = 328 //      u32 S
export const JOB_HOST_WHY = 332 //       u32 S  HOST_*: what TypeScript must do
export const JOB_DEPTHS = 336 //         7 x u64 S  fio's IO depths: 1 2 4 8 16 32 >=64
export const JOB_SUBMITS = 392 //        7 x u64 S  0 4 8 16 32 64 >=64
export const JOB_COMPLETES = 448 //      7 x u64 S
export const JOB_START_NS = 504 //       u64 I  when it began
export const JOB_STATS = 512 //          4 STAT blocks by DDIR_*
export const JOB_GEN = 1536 //           what the next I/O is (JG_*)
export const JOB_VER = 2560 //           verify (JV_*)
export const JOB_RAMP_NS = 3072 //       u64 I  statistics begin at this time; 0 once they have
export const JOB_FINISH_NS = 3080 //     u64 S  when it became JOB_DONE
export const JOB_MEASURE_NS = 3088 //    u64 S  when its statistics began
export const JOB_TICK_NS = 3096 //       u64 I  hand control to TypeScript at this time, 2^63 = never
export const JOB_FIRST_NS = 3104 //      3 x u64 S  by direction: start of its first measured I/O
export const JOB_LAST_NS = 3128 //       3 x u64 S  ... and end of its last
export const JOB_FULL = 3152 //          u32 S  1: depth was reached, and not yet iodepth_low again
export const JOB_PENDING = 3156 //       u32 S  1: JG_NEXT_* holds an I/O that had to wait for its rate
export const JOB_ISSUED_MEASURED = 3160 // u64 S  I/Os issued since the ramp ended
export const JOB_VERIFY_AFTER = 3168 //  u32 I  1: what was written is read back at the end (do_verify)
export const JOB_VERIFYING = 3172 //     u32 S  1: it is being read back now
export const JOB_LAST_END_NS = 3184 //   u64 S  completion time of the last I/O (thinktime)
export const JOB_LBA_MASK = 3192 //      u32 I  logical block size - 1: offsets and sizes must be multiples
export const JOB_WRITE_FLAGS = 3196 //   u32 I  REQ_* of its writes
export const JOB_PLAIN = 3200 //         u32 S  PLAIN_*: whether its batches may go the short way (plain.ts)
// what the short way needs again and again, copied when it is found that the job may go it
export const JOB_PL_CHUNK = 3204 //      u32 S  I/Os that are written to the ring together
export const JOB_PL_SORTED = 3208 //     u32 S  1: in order of sectors (one hardware queue)
export const JOB_PL_LEN = 3212 //        u32 S  bytes of each I/O
export const JOB_PL_HCTX = 3216 //       u32 S
export const JOB_PL_CTX = 3220 //        u32 S
export const JOB_PL_NQ = 3224 //         u32 S
export const JOB_PL_HINTS = 3228 //      u32 S  this CPU's hint of the tag map
export const JOB_PL_SBQ = 3232 //        u32 S
export const JOB_PL_SLOTS = 3236 //      u32 S  request slots by tag
export const JOB_PL_UNDRAW = 3240 //     5 x u64 S  the generator as it was before the last draw
export const JOB_PL_FLYING = 3300 //     u32 S  its I/Os in flight that went the short way
export const JOB_PL_RING = 3284 //       u32 S  submission ring,
export const JOB_PL_RING_END = 3288 //   u32 S  one past its last entry
export const JOB_PL_LBA = 3292 //        u32 S  log2 of sectors in a logical block
export const JOB_PL_MASK = 3296 //       u32 S  bits of a tag that stand in one word
export const JOB_PL_PAGE2 = 3304 //      u64 S  all ones if an I/O needs a second PRP, else 0
export const JOB_PL_CQ = 3312 //         u32 S  completion ring,
export const JOB_PL_CQ_END = 3316 //     u32 S  one past its last entry
export const JOB_PL_WROTE = 3280 //      u32 S  writes among the I/Os issued and not counted yet
// what only some jobs have (features.ts)
export const JOB_IOUS = 3328 //          u32 I  its io_us, IOU_SIZE apart
export const JOB_DIRTY = 3332 //         u32 S  end_fsync: 1 = something went down since the last sync
export const JOB_SYNC_FILE = 3336 //     u32 S  end_fsync: the region to be synced next
export const JOB_BARRIER = 3340 //       u32 I  write_barrier: every so many-th write, 0 = none
export const JOB_WRITTEN = 3344 //       u32 S  writes since the last barrier
export const JOB_THINK_ENDS = 3348 //    u32 I  1: think time counts I/Os that ended, 0: that were issued
export const JOB_THINK_IO_NS = 3352 //   u64 I  thinktime_iotime, 0 = none
export const JOB_THOUGHT_NS = 3360 //    u64 S  when the last think time ended
export const JOB_IGNORE = 3376 //        3 x 2 x u64 I  ignore_error: a bit for each errno; read, write, verify
export const JOB_IGNORED = 3424 //       u32 S  the first errno that was ignored
export const JOB_HELD = 3428 //          u32 S  ended io_us that iodepth_batch_complete_max leaves for later, oldest first
export const JOB_TRIM_SHARE = 3432 //    u32 I  trim_percentage: share of the writes, of 2^32 - 1
export const JOB_TRIM_EVERY = 3436 //    u32 I  trim_backlog: writes between batches of trims
export const JOB_TRIM_BATCH = 3440 //    u32 I  trims of a batch
export const JOB_TRIM_LEFT = 3444 //     u32 S  ... still to be issued
export const JOB_TRIM_SEEN = 3448 //     u32 S  writes since the last batch
export const JOB_TRIM_LIST = 3452 //     u32 I  ring of pieces to be trimmed (VP_*)
export const JOB_TRIM_CAP = 3456 //      u32 I  records, a power of two
export const JOB_TRIM_HEAD = 3460 //     u32 S  counts on: the oldest record,
export const JOB_TRIM_TAIL = 3464 //     u32 S  one past the newest
export const JOB_PRIO = 3468 //          u32 I  priorities of its commands (PR_*), PR_KINDS for each direction
export const JOB_PRIO_N = 3472 //        2 x u32 I  how many of them reads and writes have
export const JOB_REPLAY = 3480 //        u32 I  entries of the replayed log (RP_*)
export const JOB_REPLAY_N = 3484 //      u32 I  how many stand there
export const JOB_REPLAY_AT = 3488 //     u32 S  the next of them
export const JOB_REPLAY_MORE = 3492 //   u32 I  1: TypeScript has more
export const JOB_REPLAY_NS = 3496 //     u64 S  when the last entry was issued
export const JOB_FLOW = 3504 //          u32 I  its flow (FW_*), 0 = none
export const JOB_FLOW_WEIGHT = 3508 //   u32 I
export const JOB_FLOW_N = 3512 //        u64 S  I/Os that its flow has counted for this job
export const JOB_FLOW_SLEEP_NS = 3520 // u64 I
export const JOB_FLOW_IN = 3528 //       u32 S  1: its weight is in the flow
export const JOB_PRIO_TOTAL = 3532 //    u32 I  1: latencies by priority are total ones, 0: completion's
export const JOB_POLLING = 3536 //       u32 S  polled I/Os in flight
export const JOB_OPEN = 3540 //           u32 S  files that its task has open (page cache)
export const JOB_PL_TICKS = 3552 //      2 x u64 S  a burst's: nanoseconds of the requests that ended; read, write
export const JOB_PL_WRITES = 3568 //     u64 S  ... and writes among them
export const JOB_PL_OPS = 3584 //        2 PLO blocks: read, write
export const JOB_SIZE = 3712

// what the commands of one direction of a plain job have in common
export const PLO_OPF = 0 //              u64 S  BIO_OPF and BIO_STATUS
export const PLO_CDW0 = 8 //             u64 S  SQE_CDW0 without the identifier, and SQE_NSID
export const PLO_DDIR_LEN = 16 //        u64 S  IOU_DDIR and IOU_LEN
export const PLO_ACTIVE = 24 //          u64 S  IOU_STATE and IOU_FLAGS
export const PLO_CDW12 = 32 //           2 x u64 S  SQE_CDW12 to the entry's end
export const PLO_DATA_LEN = 48 //        u64 S  RQ_DATA_LEN and RQ_NR_SEGS
export const PLO_SYNC = 56 //            u32 S  1: counts as synchronous
export const PLO_SIZE = 64

// jobs of one flow_id share their turns
export const FW_COUNT = 0 //             u64 A  I/Os of all its jobs, and one
export const FW_WEIGHT = 8 //            u32 A  weights of the jobs that run
export const FW_SIZE = 128

// one priority of a job's commands in one direction; the first is what is left over
export const PR_BYTES = 0 //             u32 I  block size that it is for, 0 = any
export const PR_SHARE = 4 //             u32 I  share of the I/Os of this size, of 2^32 - 1, with those before it
export const PR_STAT = 64 //             LATSTAT
export const PR_SIZE = 128
export const PR_KINDS = 64 //    entries of a direction

// one entry of a replayed log
export const RP_GAP_NS = 0 //            u64 I  not before so long after the entry before it
export const RP_OFFSET = 8 //            u64 I  on the disk, bytes
export const RP_LEN = 16 //              u32 I
export const RP_DDIR = 20 //             u32 I
export const RP_FILE = 24 //             u32 I  number of the region
export const RP_SIZE = 32

export const PLAIN_UNKNOWN = 0
export const PLAIN_YES = 1
export const PLAIN_NO = 2

export const JOB_IDLE = 0 //       not started, or done and collected
export const JOB_RUN = 1
export const JOB_WAIT_TIME = 2 //  JOB_WAKE_NS is in the future
export const JOB_WAIT_TAG = 3
export const JOB_WAIT_IO = 4 //    depth is full or a sync waits for its writes; completions wake it
export const JOB_WAIT_HOST = 5 //  TypeScript must look (log full, verify queue, verify phase, ...)
export const JOB_DRAIN = 6 //      issues nothing more
export const JOB_DONE = 7 //       nothing in flight any more

export const HOST_NONE = 0
export const HOST_LOG = 1 //    the log buffer is full
export const HOST_FILL = 2 //   JOB_RETRY wants its digest before it is written (VERIFY_HOST)
export const HOST_CHECK = 3 //  the io_us of JOB_DONE_HEAD want their digests checked
export const HOST_REPLAY = 4 // the replay needs more entries

export const JF_RATE = 1
export const JF_THINK = 2
export const JF_SYNC = 4 //       fsync, fdatasync counts
export const JF_VERIFY = 8
export const JF_LOG = 16
export const JF_LAT_TARGET = 32
export const JF_MAX_LAT = 64
export const JF_REPLAY = 128 //   TypeScript hands in every I/O (read_iolog)
export const JF_FILL = 256 //     buffers are filled anew for each write
export const JF_DISKS = 512 //    regions on several disks
export const JF_END_SYNC = 1024 // everything is synced at the end of each pass (end_fsync, fsync_on_close)
export const JF_BARRIER = 2048 // write_barrier
export const JF_SERIAL = 4096 //  no I/O goes down that overlaps one in flight (serialize_overlap)
export const JF_OFFLOAD = 8192 // I/Os are submitted by other tasks (io_submit_mode=offload)
export const JF_IGNORE = 16384 // some errors do not count (ignore_error)
export const JF_DRY = 32768 //    writes are only noted, then read back (verify_only)
export const JF_TRIM = 65536 //   part of what was written is trimmed (trim_percentage)
export const JF_PRIO = 131072 //  commands have priorities (cmdprio_*)
export const JF_FLOW = 262144 //  turns are shared with other jobs (flow)
export const JF_HIPRI = 1048576 // all or some I/Os are polled for
export const JF_FILE = 2097152 //  I/Os go through the page cache ...
export const JF_PAST_CACHE = 4194304 // ... or past it, on a disk that other jobs use through it
export const JF_INVALIDATE = 8388608 // the cache forgets a file that is opened
export const JF_REAP_MAX = 524288 // not all that ended is taken at once (iodepth_batch_complete_max)

// statistics of one direction
export const STAT_IOS = 0 //             u64 S
export const STAT_BYTES = 8 //           u64 S
export const STAT_SHORT = 16 //          u64 S
export const STAT_DROP = 24 //           u64 S
export const STAT_CLAT = 32 //           LATSTAT
export const STAT_SLAT = 96 //           LATSTAT
export const STAT_LAT = 160 //           LATSTAT
export const STAT_SIZE = 256
export const LS_N = 0 //                 u64 S
export const LS_MIN = 8 //               u64 S
export const LS_MAX = 16 //              u64 S
export const LS_SUM = 24 //              f64 S
export const LS_SUMSQ = 32 //            f64 S  of (value - shift)
export const LS_SHIFT = 40 //            f64 S  the first value
export const LS_HIST = 48 //             u32 I  address of HIST_BUCKETS u32 counters, 0 = not recorded
export const LS_SIZE = 64
export const HIST_BITS = 6
export const HIST_BUCKETS = 1856

// one record of a log (bw, lat, iops logs; iolog)
export const LOG_TIME = 0 //             u64 S  completion (or issue, for an iolog), ns
export const LOG_LAT = 8 //              u64 S  ns
export const LOG_SLAT = 16 //            u64 S
export const LOG_OFFSET = 24 //          u64 S
export const LOG_BYTES = 32 //           u32 S
export const LOG_DDIR = 36 //            u32 S  direction | number of the priority << 8 | number of the region << 16
export const LOG_SIZE = 40

// what the next I/O is: direction, size, offset. The state of each region (file) is an FL block.
export const JG_MODE = 0 //              u32 S  GEN_*: how the next I/O is found
export const JG_RW = 4 //                u32 I  RW_* bits
export const JG_NEXT_DDIR = 8 //         u32 S  the I/O chosen: direction,
export const JG_NEXT_LEN = 12 //         u32 S  bytes,
export const JG_NEXT_OFFSET = 16 //      u64 S  offset in the region,
export const JG_NEXT_DISK = 24 //        u64 S  offset from the start of the disk,
export const JG_NEXT_FILE = 32 //        u32 S  number of the region
export const JG_DIRECTION = 36 //        u32 S  the job's direction (DDIR_*), 3 = several
export const JG_RNG_OFF = 48 //          2 x u64 S  generator of offsets (prng.ts)
export const JG_RNG_BS = 64 //           2 x u64 S  ... of block sizes
export const JG_RNG_MIX = 80 //          2 x u64 S  ... of directions
export const JG_RNG_DATA = 96 //         2 x u64 S  ... of buffer contents
export const JG_RNG_RATE = 112 //        2 x u64 S  ... of arrival times
export const JG_MIX_READ = 128 //        u32 I  percent of reads in a mix
export const JG_RANDOM_PCT = 132 //      3 x u32 I  percentage_random
export const JG_MIN_BS = 144 //          3 x u32 I  bytes
export const JG_MAX_BS = 156 //          3 x u32 I  bytes
export const JG_BS_STEP = 168 //         3 x u32 I  sizes between them are multiples of this
export const JG_ALIGN = 180 //           3 x u32 I  blockalign, bytes
export const JG_BSSPLIT_N = 192 //       3 x u32 I  entries, 0 = none
export const JG_BSSPLIT = 204 //         3 x u32 I  address of BS_ records
export const JG_SKIP = 216 //            i64 I  rw=read:112k: added after each I/O
export const JG_SEQ_NR = 224 //          u32 I  rw=randread:8: I/Os per new offset, at least 1
export const JG_SEQ_LEFT = 228 //        u32 S
export const JG_SEQ_IDENTICAL = 232 //   u32 I  rw_sequencer=identical
export const JG_SEQ_WRAP = 236 //        u32 I  1: a sequential direction starts again by itself
export const JG_MAP_MODE = 240 //        u32 I  MAP_*
export const JG_MAP_UNIT = 244 //        u32 I  bytes of a block of the map
export const JG_FILE_N = 248 //          u32 I  regions
export const JG_FILES = 252 //           u32 I  FL blocks of all regions but the first
export const JG_FILES_DONE = 256 //      u32 S  regions whose pass is over
export const JG_LOOPS_DONE = 260 //      u32 S  passes begun again
export const JG_TIME_BASED = 264 //      u32 I  1: the caller begins again at the end of a pass
export const JG_FILE_TURN = 268 //       u32 S  number of the region whose turn is next
export const JG_STRIDE_ZONE = 272 //     u64 I  zonesize (strided): bytes done in a zone, 0 = none
export const JG_STRIDE_RANGE = 280 //    u64 I  zonerange: bytes of a zone
export const JG_STRIDE_SKIP = 288 //     u64 I  zoneskip: bytes between zones
export const JG_SEQ_AT = 296 //          3 x u32 S  DIST_SEQUENCE: next entry of the list
export const JG_BUF_MODE = 308 //        u32 I  BUF_*: what buffers hold when nothing verifies
export const JG_BUF_PATTERN = 312 //     u32 I  buffer_pattern (PT_*)
export const JG_ONLY = 316 //            u32 S  1 + direction that a mix must take now (rates), 0 = any
export const JG_LOOPS = 320 //           u32 I  passes to do
export const JG_MORE = 324 //            u32 I  1: more passes while bytes are left (io_size > size)
export const JG_FILE_ORDER = 328 //      u32 I  FILES_*: which region comes next
export const JG_FILE_NR = 332 //         u32 I  I/Os before another region's turn, at least 1
export const JG_FILE_LEFT = 336 //       u32 S  ... still to go on
export const JG_FILE_NOW = 340 //        u32 S  number of the region whose turn it is
export const JG_FILE0 = 512 //           the first region's FL block
export const JG_SIZE = 1024

export const GEN_NEW = 0 //      not started
export const GEN_GENERAL = 1
export const GEN_RANDOM = 2 //   one region, one size a direction, uniform, no map
export const GEN_PERM = 3 //     ... with the map
export const GEN_SEQ = 4 //      one region, one size a direction, no holes

export const FILES_IN_TURN = 0 // file_service_type=roundrobin
export const FILES_IN_ORDER = 1 // sequential: one after the other
export const FILES_AT_RANDOM = 2

export const RW_READ = 1
export const RW_WRITE = 2
export const RW_TRIM = 4
export const RW_RANDOM = 8
export const RW_TRIMWRITE = 16

// one entry of bssplit
export const BS_BYTES = 0 //             u32 I
export const BS_SHARE = 4 //             u32 I  share of the I/Os, of 2^24
export const BS_SIZE = 8

// one region that a job works on
export const FL_REGION = 0 //            u64 I  bytes from the start of its disk
export const FL_BYTES = 8 //             u64 I  length of the region
export const FL_INDEX = 16 //            u32 I
export const FL_DONE = 20 //             u32 S  1: its pass is over
export const FL_UNIT0 = 24 //            u32 I  verify: its first interval in JV_EXPECT
export const FL_MAP = 28 //              u32 I  bitmap (MAP_BITS)
export const FL_PERM_BITS = 32 //        u32 S  the permutation is of 2^bits blocks
export const FL_TRIMMED = 36 //          u32 S  randtrimwrite: 1 = the write of the trimmed block is next
export const FL_PASS = 40 //             u64 S  blocks drawn from the permutation
export const FL_LAST = 48 //             3 x u64 S  next sequential offset by direction
export const FL_START = 72 //            3 x u64 S  offset of the last I/O, 2^64 - 1 = none yet
export const FL_BLOCKS = 96 //           3 x u64 S  random offsets to choose from, JG_ALIGN apart
export const FL_UNITS = 120 //           u64 S  blocks of the bitmap
export const FL_PERM_KEY = 128 //        3 x u64 S  keys of this pass's permutation
export const FL_ZONE = 152 //            u64 S  strided: start of the zone,
export const FL_ZONE_BYTES = 160 //      u64 S  its length (not strided: the region's),
export const FL_ZONE_DONE = 168 //       u64 S  and the bytes done in it
export const FL_DIST = 176 //            3 DS blocks by direction
export const FL_Q = 464 //               u32 I  request_queue of its disk
export const FL_SIZE = 512

// where the random offsets of one direction fall
export const DS_KIND = 0 //              u32 I  DIST_*
export const DS_N = 4 //                 u32 I  zones, or entries of the sequence
export const DS_TABLE = 8 //             u32 I  ZN records, or u64 block numbers
export const DS_PERM_BITS = 12 //        u32 S  permutation that scatters ranks over the region
export const DS_PARAM = 16 //            f64 I  theta, h or deviation in percent
export const DS_CENTRE = 24 //           f64 I  0..1, or -1
export const DS_A = 32 //                f64 S  what dist_init works out
export const DS_B = 40 //                f64 S
export const DS_C = 48 //                f64 S
export const DS_SHIFT = 56 //            u64 S  added to the scattered rank
export const DS_KEY = 64 //              3 x u64 S
export const DS_SIZE = 96

export const DIST_UNIFORM = 0
export const DIST_ZIPF = 1
export const DIST_PARETO = 2
export const DIST_NORMAL = 3
export const DIST_ZONED = 4 //     shares of the region, or bytes (zoned_abs): the table holds blocks
export const DIST_SEQUENCE = 5

export const MAP_NONE = 0 //     norandommap: any block at any time
export const MAP_PERM = 1 //     one size: a permutation of the blocks, no memory
export const MAP_BITS = 2 //     mixed sizes: a bitmap

// a zone of random_distribution=zoned: share of the accesses and of the region
export const ZN_ACCESS = 0 //            u32 I  accesses of this zone and those before it, of 2^32 - 1
export const ZN_START = 8 //             u64 I  blocks
export const ZN_LENGTH = 16 //           u64 I  blocks, at least 1
export const ZN_SIZE = 24

// what buffers hold
export const BUF_RANDOM = 0
export const BUF_PATTERN = 1
export const BUF_ZERO = 2

// a pattern: this header, u32 positions of the 8-byte offsets in it (%o), then its bytes
export const PT_LEN = 0 //               u32 I  bytes, 0 = none
export const PT_OFFSETS = 4 //           u32 I  how many %o
export const PT_BYTES = 8 //             u32 I  address of the bytes
export const PT_AT = 16 //               u32 I  the first position
export const PT_SIZE = 16

// verify: a header before the data of every interval
export const JV_KIND = 0 //              u32 I  VERIFY_*
export const JV_INTERVAL = 4 //          u32 I  bytes; divides every write's length and offset
export const JV_HEADER = 8 //            u32 I  bytes of the header with its digest, 0 = none
export const JV_OFFSET = 12 //           u32 I  verify_offset: where the header stands in the interval
export const JV_PATTERN = 16 //          u32 I  verify_pattern (PT_*), 0 = random data
export const JV_TABLES = 20 //           u32 I  checksum tables (VT_SIZE)
export const JV_FATAL = 24 //            u32 I
export const JV_BACKLOG = 28 //          u32 I  verify_backlog
export const JV_BACKLOG_BATCH = 32 //    u32 I  pieces read each time
export const JV_TRIM_ZERO = 36 //        u32 I  1: trimmed blocks are read back and must be zero
export const JV_SEED = 40 //             u64 I
export const JV_PHASE = 48 //            u32 S  0 writing, 1 reading back
export const JV_WRITES = 52 //           u32 S  number of the next write
export const JV_EXPECT = 56 //           u32 I  a VX word per interval of all regions
export const JV_LOW = 64 //              u32 S  first interval written
export const JV_HIGH = 68 //             u32 S  one past the last interval written
export const JV_CURSOR = 72 //           u32 S  reading back: next interval to look at
export const JV_MAX_LEN = 76 //          u32 I  bytes of the largest write
export const JV_LIST = 80 //             u32 I  ring of pieces written and not yet read back (VP_*)
export const JV_LIST_CAP = 84 //         u32 I  records, a power of two
export const JV_LIST_HEAD = 88 //        u32 S  counts on: the oldest record,
export const JV_LIST_TAIL = 92 //        u32 S  one past the newest
export const JV_LEFT = 96 //             u32 S  pieces left in this backlog batch
export const JV_NEXT_NUMBER = 100 //     u32 S  number expected in the piece that verify_next chose
export const JV_ERRORS = 104 //          u64 S  intervals that failed
export const JV_CHECKED = 112 //         u64 S  intervals checked
export const JV_BAD_OFFSET = 120 //      u64 S  the first that failed: offset on the disk,
export const JV_BAD_GOT = 128 //         u64 S  what was read,
export const JV_BAD_WANT = 136 //        u64 S  what was expected,
export const JV_BAD_WHY = 144 //         u32 S  BAD_*,
export const JV_BAD_FILE = 148 //        u32 S  and its region
export const JV_GOT = 152 //             u64 S  what the latest check found,
export const JV_WANT = 160 //            u64 S  and should have found
export const JV_CHECK_READS = 168 //     u32 I  1: the job only reads, and every read is checked
export const JV_METHOD = 172 //          u32 I  VERIFY_HOST: which digest (HOST_METHODS of verify-host.ts)
export const JV_SIZE = 512

// one piece of JV_LIST
export const VP_OFFSET = 0 //            u64 S  in the region
export const VP_LEN = 8 //               u32 S
export const VP_NUMBER = 12 //           u32 S
export const VP_FILE = 16 //             u32 S
export const VP_SIZE = 24

// a word of JV_EXPECT: (number of the interval's last write + 1) << 2 | flags; 0 = never written, or unknown
export const VX_IN_FLIGHT = 1 // the write has not ended
export const VX_READ = 2 //      it was chosen for reading back
export const VX_SHIFT = 2
export const VERIFY_NUMBERS = 0x3ffffffd // writes are numbered modulo this
export const VERIFY_ZEROES = 0x3ffffffe //  in place of a number: the interval was trimmed
export const VERIFY_ANY = 0x3fffffff //     in place of a number: not known

// the header of an interval, little-endian
export const VH_MAGIC = 0 //             u16 S
export const VH_KIND = 2 //              u16 S
export const VH_LEN = 4 //               u32 S  bytes of the interval
export const VH_SEED = 8 //              u64 S  of the data
export const VH_OFFSET = 16 //           u64 S  on the disk, bytes
export const VH_NUMBER = 24 //           u32 S  number of the write
export const VH_CRC = 28 //              u32 S  crc32c of all before
export const VH_DIGEST = 32 //           of the interval without its header: u64, or the host's
export const VH_SIZE = 32
export const VH_MAGIC_VALUE = 0xacca

export const VERIFY_NONE = 0
export const VERIFY_META = 1 //        header only
export const VERIFY_PATTERN = 2 //     no header, the data is the pattern
export const VERIFY_CRC32C = 3
export const VERIFY_CRC32 = 4
export const VERIFY_CRC16 = 5
export const VERIFY_CRC64 = 6
export const VERIFY_CRC7 = 7
export const VERIFY_XXHASH = 8
export const VERIFY_HOST = 9 //        a checksum of node:crypto (md5, sha*): TypeScript fills and checks it
export const VERIFY_NULL = 10 //       read back, nothing checked
export const VERIFY_PATTERN_HDR = 11 // header, then the pattern

// why an interval failed
export const BAD_MAGIC = 1
export const BAD_HEADER = 2 //   the header's own checksum
export const BAD_KIND = 3
export const BAD_LENGTH = 4
export const BAD_OFFSET = 5
export const BAD_SEED = 6
export const BAD_NUMBER = 7
export const BAD_DATA = 8
export const BAD_PATTERN = 9
export const BAD_ZEROES = 10 //  a trimmed interval holds data

// checksum tables (checksum_tables fills them): eight tables of 256 for each kind
export const VT_CRC32C = 0 //            u32 x 2048 I
export const VT_CRC32 = 8192 //          u32 x 2048 I
export const VT_CRC16 = 16384 //         u32 x 2048 I
export const VT_CRC64 = 24576 //         u64 x 2048 I
export const VT_CRC7 = 40960 //          u8 x 256 I
export const VT_SIZE = 41216
