// The numbers of the NVM Express specification that a controller works with (1.3 and 1.4; zoned namespaces where noted). What
// the WASM core shares stands in assembly/nvme.ts.
//
// A status is the 15 bits behind the phase: status code 7:0, type 10:8, retry delay 12:11, more 13, do not retry 14.

// ---------------------------------------------------------------- registers
export const CAP = 0x00
export const VS = 0x08
export const INTMS = 0x0c
export const INTMC = 0x10
export const CC = 0x14
export const CSTS = 0x1c
export const NSSR = 0x20
export const AQA = 0x24
export const ASQ = 0x28
export const ACQ = 0x30
export const CMBLOC = 0x38
export const CMBSZ = 0x3c
export const DOORBELLS = 0x1000
/** The only value of NSSR that acts: "NVMe". */
export const NSSR_RESET = 0x4e564d65

export const CC_EN = 1
export const CSTS_RDY = 1
export const CSTS_CFS = 2
export const CSTS_SHST = 0xc
export const CSTS_SHST_OCCURRING = 4
export const CSTS_SHST_COMPLETE = 8
export const CSTS_NSSRO = 0x10
export const CSTS_PP = 0x20

// ---------------------------------------------------------------- admin commands
export const DELETE_SQ = 0x00
export const CREATE_SQ = 0x01
export const GET_LOG_PAGE = 0x02
export const DELETE_CQ = 0x04
export const CREATE_CQ = 0x05
export const IDENTIFY = 0x06
export const ABORT = 0x08
export const SET_FEATURES = 0x09
export const GET_FEATURES = 0x0a
export const ASYNC_EVENT = 0x0c
export const NS_MANAGEMENT = 0x0d
export const FW_COMMIT = 0x10
export const FW_DOWNLOAD = 0x11
export const NS_ATTACHMENT = 0x15
export const KEEP_ALIVE = 0x18
export const DOORBELL_BUFFER = 0x7c
export const FORMAT_NVM = 0x80
export const SANITIZE = 0x84

// ---------------------------------------------------------------- features
export const FEAT_ARBITRATION = 0x01
export const FEAT_POWER_MGMT = 0x02
export const FEAT_LBA_RANGE = 0x03
export const FEAT_TEMP_THRESH = 0x04
export const FEAT_ERR_RECOVERY = 0x05
export const FEAT_VOLATILE_WC = 0x06
export const FEAT_NUM_QUEUES = 0x07
export const FEAT_IRQ_COALESCE = 0x08
export const FEAT_IRQ_CONFIG = 0x09
export const FEAT_WRITE_ATOMIC = 0x0a
export const FEAT_ASYNC_EVENT = 0x0b
export const FEAT_AUTO_PST = 0x0c
export const FEAT_HOST_MEM_BUF = 0x0d
export const FEAT_TIMESTAMP = 0x0e
export const FEAT_KATO = 0x0f
export const FEAT_HOST_BEHAVIOR = 0x16
export const FEAT_SW_PROGRESS = 0x80
export const FEAT_HOST_ID = 0x81
export const FEAT_WRITE_PROTECT = 0x84
/** Open-channel drives of revision 2.0: which warnings of their media they give. */
export const FEAT_MEDIA_FEEDBACK = 0xca

// ---------------------------------------------------------------- log pages
export const LOG_ERROR = 0x01
export const LOG_SMART = 0x02
export const LOG_FW_SLOT = 0x03
export const LOG_CHANGED_NS = 0x04
export const LOG_CMD_EFFECTS = 0x05
export const LOG_SANITIZE = 0x81
export const LOG_CHANGED_ZONES = 0xbf

// ---------------------------------------------------------------- status
export const SUCCESS = 0x000
export const INVALID_OPCODE = 0x001
export const INVALID_FIELD = 0x002
export const CMDID_CONFLICT = 0x003
export const DATA_XFER_ERROR = 0x004
export const POWER_LOSS = 0x005
export const INTERNAL = 0x006
export const ABORT_REQ = 0x007
export const ABORT_QUEUE = 0x008
export const FUSED_FAIL = 0x009
export const FUSED_MISSING = 0x00a
export const INVALID_NS = 0x00b
export const CMD_SEQ_ERROR = 0x00c
export const SGL_INVALID_LAST = 0x00d
export const SGL_INVALID_COUNT = 0x00e
export const SGL_INVALID_DATA = 0x00f
export const SGL_INVALID_METADATA = 0x010
export const SGL_INVALID_TYPE = 0x011
export const PRP_OFFSET_INVALID = 0x013
export const KATO_INVALID = 0x01a
export const SANITIZE_FAILED = 0x01c
export const SANITIZE_IN_PROGRESS = 0x01d
export const SGL_INVALID_SUBTYPE = 0x017
export const NS_WRITE_PROTECTED = 0x020
export const LBA_RANGE = 0x080
export const CAP_EXCEEDED = 0x081
export const NS_NOT_READY = 0x082
export const FORMAT_IN_PROGRESS = 0x084
export const CQ_INVALID = 0x100
export const QID_INVALID = 0x101
export const QUEUE_SIZE = 0x102
export const ABORT_LIMIT = 0x103
export const ASYNC_LIMIT = 0x105
export const FIRMWARE_SLOT = 0x106
export const FIRMWARE_IMAGE = 0x107
export const INVALID_VECTOR = 0x108
export const INVALID_LOG_PAGE = 0x109
export const INVALID_FORMAT = 0x10a
export const FW_NEEDS_CONV_RESET = 0x10b
export const INVALID_QUEUE_DELETION = 0x10c
export const FEATURE_NOT_SAVEABLE = 0x10d
export const FEATURE_NOT_CHANGEABLE = 0x10e
export const FEATURE_NOT_PER_NS = 0x10f
export const FW_NEEDS_RESET = 0x111
export const OVERLAPPING_RANGE = 0x114
export const NS_INSUFFICIENT_CAPACITY = 0x115
export const NS_ID_UNAVAILABLE = 0x116
export const NS_ALREADY_ATTACHED = 0x118
export const NS_NOT_ATTACHED = 0x11a
export const THIN_PROV_NOT_SUPPORTED = 0x11b
export const CTRL_LIST_INVALID = 0x11c
export const INVALID_PI = 0x181
export const READ_ONLY = 0x182
export const ZONE_BOUNDARY = 0x1b8
export const ZONE_FULL = 0x1b9
export const ZONE_READ_ONLY = 0x1ba
export const ZONE_OFFLINE = 0x1bb
export const ZONE_INVALID_WRITE = 0x1bc
export const ZONE_TOO_MANY_ACTIVE = 0x1bd
export const ZONE_TOO_MANY_OPEN = 0x1be
export const ZONE_INVALID_TRANSITION = 0x1bf
export const WRITE_FAULT = 0x280
export const READ_ERROR = 0x281
export const GUARD_CHECK = 0x282
export const APPTAG_CHECK = 0x283
export const REFTAG_CHECK = 0x284
export const COMPARE_FAILED = 0x285
export const UNWRITTEN_BLOCK = 0x287
export const DNR = 0x4000

// ---------------------------------------------------------------- asynchronous events
export const AER_ERROR = 0
export const AER_SMART = 1
export const AER_NOTICE = 2
export const AER_IO_SET = 6
export const AER_ERROR_DB_REGISTER = 0
export const AER_ERROR_DB_VALUE = 1
export const AER_ERROR_PERSISTENT = 3
export const AER_SMART_TEMPERATURE = 1
export const AER_NOTICE_NS_CHANGED = 0
export const AER_NOTICE_FW_STARTING = 1
export const AER_IO_SANITIZE = 1

export const NSID_ALL = 0xffffffff
/** Fixed size of the structures of Identify and of most lists. */
export const IDENTIFY_BYTES = 4096
