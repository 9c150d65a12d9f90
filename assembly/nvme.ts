// What the bytes mean: the constants of the NVM Express specification and of Linux's block layer
// that both the WASM core and TypeScript read. Only `export const NAME = integer expression`.

// ---------------------------------------------------------------- submission entry, 64 bytes
export const SQE_BYTES = 64
export const SQE_CDW0 = 0 //      opcode 7:0, FUSE 9:8, PSDT 15:14, CID 31:16
export const SQE_FLAGS_SGL = 0x40 // byte 1: the data pointer is an SGL
export const SQE_NSID = 4
export const SQE_CDW2 = 8
export const SQE_MPTR = 16
export const SQE_PRP1 = 24
export const SQE_PRP2 = 32
export const SQE_CDW10 = 40 //    SLBA (64 bits) for Read and Write
export const SQE_CDW12 = 48 //    NLB 15:0 0's based, FUA 30, LR 31
export const SQE_CDW13 = 52
export const SQE_CDW14 = 56
export const SQE_CDW15 = 60

// ---------------------------------------------------------------- completion entry, 16 bytes
export const CQE_BYTES = 16
export const CQE_DW0 = 0
export const CQE_DW1 = 4
export const CQE_SQHD = 8 //      SQ head 15:0, SQ identifier 31:16
export const CQE_DW3 = 12 //      CID 15:0, phase 16, status 31:17

// ---------------------------------------------------------------- SGL descriptors: address u64, length u32, type in byte 15
export const SGL_BYTES = 16
export const SGL_DATA = 0x00
export const SGL_LAST_SEGMENT = 0x30

// ---------------------------------------------------------------- doorbells
export const DOORBELLS = 0x1000

// ---------------------------------------------------------------- NVM commands
export const NVME_CMD_FLUSH = 0x00
export const NVME_CMD_WRITE = 0x01
export const NVME_CMD_READ = 0x02
export const NVME_CMD_WRITE_UNCOR = 0x04
export const NVME_CMD_COMPARE = 0x05
export const NVME_CMD_WRITE_ZEROES = 0x08
export const NVME_CMD_DSM = 0x09
export const NVME_CMD_VERIFY = 0x0c
export const NVME_RW_FUA = 0x40000000 // in CDW12
export const NVME_RW_LR = 0x80000000 //  in CDW12: limited retry
export const NVME_RW_PREFETCH = 7 //     in CDW13
export const NVME_RW_PRINFO_PRACT = 0x20000000 //         in CDW12: the controller makes and takes off protection information
export const NVME_RW_PRINFO_PRCHK_GUARD = 0x10000000 //   in CDW12: and checks its guard
export const NVME_RW_PRINFO_PRCHK_REF = 0x04000000 //     in CDW12: and its reference tag
export const NVME_DSMGMT_AD = 4 //       in CDW11
export const DSM_RANGE_BYTES = 16 //     attributes u32, length in blocks u32, SLBA u64

// ---------------------------------------------------------------- status: SCT << 8 | SC, DNR bit 14
export const NVME_SC_SUCCESS = 0x000
export const NVME_SC_INVALID_OPCODE = 0x001
export const NVME_SC_INVALID_FIELD = 0x002
export const NVME_SC_DATA_XFER_ERROR = 0x004
export const NVME_SC_INTERNAL = 0x006
export const NVME_SC_ABORT_REQ = 0x007
export const NVME_SC_INVALID_NS = 0x00b
export const NVME_SC_PRP_OFFSET_INVALID = 0x013
export const NVME_SC_LBA_RANGE = 0x080
export const NVME_SC_CAP_EXCEEDED = 0x081
export const NVME_SC_NS_NOT_READY = 0x082
export const NVME_SC_WRITE_FAULT = 0x280
export const NVME_SC_READ_ERROR = 0x281
export const NVME_SC_COMPARE_FAILED = 0x285
export const NVME_SC_DNR = 0x4000

// ---------------------------------------------------------------- enum req_opf and REQ_* (include/linux/blk_types.h)
export const REQ_OP_READ = 0
export const REQ_OP_WRITE = 1
export const REQ_OP_FLUSH = 2
export const REQ_OP_DISCARD = 3
export const REQ_OP_SECURE_ERASE = 5
export const REQ_OP_WRITE_SAME = 7
export const REQ_OP_WRITE_ZEROES = 9
export const REQ_OP_SCSI_IN = 32
export const REQ_OP_SCSI_OUT = 33
export const REQ_OP_DRV_IN = 34
export const REQ_OP_DRV_OUT = 35
export const REQ_OP_MASK = 0xff
export const REQ_FAILFAST_DEV = 0x100
export const REQ_FAILFAST_TRANSPORT = 0x200
export const REQ_FAILFAST_DRIVER = 0x400
export const REQ_SYNC = 0x800
export const REQ_META = 0x1000
export const REQ_PRIO = 0x2000
export const REQ_NOMERGE = 0x4000
export const REQ_IDLE = 0x8000
export const REQ_INTEGRITY = 0x10000
export const REQ_FUA = 0x20000
export const REQ_PREFLUSH = 0x40000
export const REQ_RAHEAD = 0x80000
export const REQ_BACKGROUND = 0x100000
export const REQ_NOWAIT = 0x200000
export const REQ_HIPRI = 0x800000 // Linux 5.0: for a queue that is polled

// ---------------------------------------------------------------- rq_flags
export const RQF_SORTED = 0x1
export const RQF_STARTED = 0x2
export const RQF_SOFTBARRIER = 0x8
export const RQF_FLUSH_SEQ = 0x10
export const RQF_MQ_INFLIGHT = 0x40
export const RQF_DONTPREP = 0x80
export const RQF_FAILED = 0x400
export const RQF_QUIET = 0x800
export const RQF_ELVPRIV = 0x1000
export const RQF_IO_STAT = 0x2000
export const RQF_STATS = 0x20000
export const RQF_SPECIAL_PAYLOAD = 0x40000
export const RQF_MQ_POLL_SLEPT = 0x100000
export const RQF_TIMED_OUT = 0x200000
// ours: one whole bio of a job, two pages at most, nobody's end_io, never retried (plain.ts)
export const RQF_PLAIN_BIO = 0x20000000 // the same for a bio of TypeScript's (plain-bio.ts)
export const RQF_PLAIN = 0x40000000

// ---------------------------------------------------------------- blk_status_t
export const BLK_STS_OK = 0
export const BLK_STS_NOTSUPP = 1
export const BLK_STS_TIMEOUT = 2
export const BLK_STS_NOSPC = 3
export const BLK_STS_TRANSPORT = 4
export const BLK_STS_TARGET = 5
export const BLK_STS_NEXUS = 6
export const BLK_STS_MEDIUM = 7
export const BLK_STS_PROTECTION = 8
export const BLK_STS_RESOURCE = 9
export const BLK_STS_IOERR = 10
export const BLK_STS_DM_REQUEUE = 11
export const BLK_STS_AGAIN = 12
export const BLK_STS_DEV_RESOURCE = 13

// ---------------------------------------------------------------- queue flags (bit numbers)
export const QUEUE_FLAG_NOMERGES = 5
export const QUEUE_FLAG_SAME_COMP = 6
export const QUEUE_FLAG_NONROT = 9
export const QUEUE_FLAG_IO_STAT = 10
export const QUEUE_FLAG_NOXMERGES = 12
export const QUEUE_FLAG_SAME_FORCE = 15
export const QUEUE_FLAG_INIT_DONE = 17
export const QUEUE_FLAG_POLL = 19
export const QUEUE_FLAG_WC = 20
export const QUEUE_FLAG_FUA = 21
export const QUEUE_FLAG_STATS = 24
export const QUEUE_FLAG_POLL_STATS = 25
export const QUEUE_FLAG_QUIESCED = 28

// ---------------------------------------------------------------- blk-mq
export const BLK_MQ_TAG_FAIL = -1
export const BLK_MQ_MAX_DEPTH = 10240
export const BLK_QC_T_NONE = -1
export const BLK_QC_T_SHIFT = 16
export const BLK_QC_T_INTERNAL = 0x80000000
export const BLK_MQ_REQ_NOWAIT = 1
export const BLK_MQ_REQ_RESERVED = 2
export const BLK_MQ_REQ_INTERNAL = 4
export const BLK_MQ_S_STOPPED = 1 //       bits of HC_STATE
export const BLK_MQ_S_TAG_ACTIVE = 2
export const BLK_MQ_S_SCHED_RESTART = 4
export const BLK_MQ_F_SHOULD_MERGE = 1
export const BLK_MQ_F_TAG_SHARED = 2
export const BLK_MQ_F_BLOCKING = 32
export const BLK_MQ_F_NO_SCHED = 64
