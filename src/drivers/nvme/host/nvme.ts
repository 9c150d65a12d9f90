// What the files of the NVMe host driver share: drivers/nvme/host/nvme.h and include/linux/nvme.h of Linux 4.19.
//
//   nvme_ctrl       one controller, whatever its transport
//   nvme_ctrl_ops   what a transport does for it
//   nvme_ns         one namespace, which is a disk
//   nvme_core       the module: workqueues, instance numbers, the era
//
// A command is an object of dwords (nvme_command) until it is written into a block of the kernel's memory, from where
// queue_rq copies it. What may sleep on some transport is a generator: over fabrics a register is read by a command.

import type { BlockLayer, request_queue } from '../../../block/blkdev.js'
import type { blk_mq_tag_set, planned_memory } from '../../../block/blk-mq-init.js'
import type { Sleep } from '../../../kernel/core.js'
import type { Kernel } from '../../../kernel/kernel.js'
import type { wait_queue_head } from '../../../kernel/wait.js'
import type {
  delayed_work,
  work_struct,
  workqueue_struct,
} from '../../../kernel/workqueue-structs.js'
import type { nvme_ctrl_state, nvme_era } from './era.js'

export type { nvme_ctrl_state } from './era.js'

// --- registers (offsets) and their fields
export const NVME_REG_CAP = 0x00
export const NVME_REG_VS = 0x08
export const NVME_REG_CC = 0x14
export const NVME_REG_CSTS = 0x1c
export const NVME_REG_NSSR = 0x20
export const NVME_REG_AQA = 0x24
export const NVME_REG_ASQ = 0x28
export const NVME_REG_ACQ = 0x30
export const NVME_REG_CMBLOC = 0x38
export const NVME_REG_CMBSZ = 0x3c
export const NVME_REG_DBS = 0x1000

export const NVME_CC_ENABLE = 1
export const NVME_CC_AMS_RR = 0
export const NVME_CC_SHN_NORMAL = 0x4000
export const NVME_CC_SHN_MASK = 0xc000
export const NVME_CC_IOSQES = 0x60000
export const NVME_CC_IOCQES = 0x400000
export const NVME_CSTS_RDY = 1
export const NVME_CSTS_CFS = 2
export const NVME_CSTS_NSSRO = 0x10
export const NVME_CSTS_PP = 0x20
export const NVME_CSTS_SHST_MASK = 0xc
export const NVME_CSTS_SHST_CMPLT = 8

// --- opcodes of admin commands
export const nvme_admin_delete_sq = 0x00
export const nvme_admin_create_sq = 0x01
export const nvme_admin_get_log_page = 0x02
export const nvme_admin_delete_cq = 0x04
export const nvme_admin_create_cq = 0x05
export const nvme_admin_identify = 0x06
export const nvme_admin_abort_cmd = 0x08
export const nvme_admin_set_features = 0x09
export const nvme_admin_get_features = 0x0a
export const nvme_admin_async_event = 0x0c
export const nvme_admin_ns_mgmt = 0x0d
export const nvme_admin_ns_attach = 0x15
export const nvme_admin_keep_alive = 0x18
export const nvme_admin_dbbuf = 0x7c
export const nvme_admin_format_nvm = 0x80

// --- identify, features, logs
export const NVME_ID_CNS_NS = 0x00
export const NVME_ID_CNS_CTRL = 0x01
export const NVME_ID_CNS_NS_ACTIVE_LIST = 0x02
export const NVME_ID_CNS_NS_DESC_LIST = 0x03
export const NVME_ID_CNS_NS_PRESENT_LIST = 0x10
export const NVME_IDENTIFY_DATA_SIZE = 4096
export const NVME_FEAT_NUM_QUEUES = 0x07
export const NVME_FEAT_ASYNC_EVENT = 0x0b
export const NVME_FEAT_AUTO_PST = 0x0c
export const NVME_FEAT_HOST_MEM_BUF = 0x0d
export const NVME_FEAT_TIMESTAMP = 0x0e
export const NVME_LOG_FW_SLOT = 0x03
export const NVME_LOG_CHANGED_NS = 0x04
export const NVME_LOG_CMD_EFFECTS = 0x05
export const NVME_NSID_ALL = 0xffffffff

export const NVME_CTRL_OACS_SEC_SUPP = 1
export const NVME_CTRL_OACS_DBBUF_SUPP = 0x100
export const NVME_CTRL_ONCS_DSM = 4
export const NVME_CTRL_ONCS_WRITE_ZEROES = 8
export const NVME_CTRL_ONCS_TIMESTAMP = 0x40
export const NVME_CTRL_VWC_PRESENT = 1
export const NVME_CTRL_LPA_CMD_EFFECTS_LOG = 2

export const NVME_AEN_CFG_NS_ATTR: number = 1 << 8
export const NVME_AEN_CFG_FW_ACT: number = 1 << 9
export const NVME_AEN_CFG_ANA_CHANGE: number = 1 << 11
export const NVME_AEN_SUPPORTED: number =
  NVME_AEN_CFG_NS_ATTR | NVME_AEN_CFG_FW_ACT | NVME_AEN_CFG_ANA_CHANGE

export const NVME_QUIRK_IDENTIFY_CNS: number = 1 << 1
export const NVME_QUIRK_DEALLOCATE_ZEROES: number = 1 << 2
export const NVME_QUIRK_DELAY_BEFORE_CHK_RDY: number = 1 << 3
export const NVME_QUIRK_NO_APST: number = 1 << 4
export const NVME_QUIRK_LIGHTNVM: number = 1 << 6
export const NVME_QUIRK_MEDIUM_PRIO_SQ: number = 1 << 7

/** Any queue: the request may go by the CPU's own. */
export const NVME_QID_ANY = -1
export const NVME_MAX_KB_SZ = 4096
export const NVME_MAX_SEGS = 127
export const NVME_DSM_MAX_RANGES = 256
/** Seconds. */
export const ADMIN_TIMEOUT_S = 60
export const NVME_IO_TIMEOUT_S = 30
export const NVME_DEFAULT_KATO_S = 5
export const NVME_KATO_GRACE_S = 10
export const SHUTDOWN_TIMEOUT_S = 5

export function NVME_VS(major: number, minor: number, tertiary: number): number {
  return (major << 16) | (minor << 8) | tertiary
}

/** One command; what is absent is 0. The identifier is the driver's. */
export interface nvme_command {
  readonly opcode: number
  /** Byte 1: FUSE, PSDT. */
  readonly flags?: number
  readonly nsid?: number
  readonly cdw2?: number
  readonly cdw3?: number
  /** Addresses: they may be anything a program wants to say. */
  readonly metadata?: number
  readonly prp1?: number
  readonly prp2?: number
  readonly cdw10?: number
  readonly cdw11?: number
  readonly cdw12?: number
  readonly cdw13?: number
  readonly cdw14?: number
  readonly cdw15?: number
}

/** union nvme_result: dwords 0 and 1 of the completion. */
export interface nvme_result {
  u32: number
  u64: bigint
}

/** What a transport does for a controller. Errors are -errno. */
export interface nvme_ctrl_ops {
  readonly name: string
  /** NVME_F_*. */
  readonly flags: number
  reg_read32(ctrl: nvme_ctrl, off: number): Sleep<number>
  reg_write32(ctrl: nvme_ctrl, off: number, value: number): Sleep<number>
  /** A negative bigint is an error. */
  reg_read64(ctrl: nvme_ctrl, off: number): Sleep<bigint>
  /** The last reference is gone. */
  free_ctrl(ctrl: nvme_ctrl): Sleep<void> | void
  submit_async_event(ctrl: nvme_ctrl): void
  delete_ctrl?(ctrl: nvme_ctrl): Sleep<void>
  /** Eras in which a reset is not a state: asks for one. @returns 0 or -errno */
  reset_ctrl?(ctrl: nvme_ctrl): number
  stop_ctrl?(ctrl: nvme_ctrl): Sleep<void>
  /** How many bytes the address has that sysfs shows. */
  get_address?(ctrl: nvme_ctrl): string
}

export const NVME_F_FABRICS = 1
export const NVME_F_METADATA_SUPPORTED = 2

/** Options of a connection that the core looks at (struct nvmf_ctrl_options). */
export interface nvmf_ctrl_facts {
  readonly kato: number
  readonly discovery_nqn: boolean
}

/** LightNVM's place in the life of a namespace; null while it is not there. */
export interface nvme_nvm_hooks {
  nvme_nvm_ns_supported(ns: nvme_ns): boolean
  /** @returns 0 or -errno */
  nvme_nvm_register(ns: nvme_ns, disk_name: string): Sleep<number>
  nvme_nvm_register_sysfs(ns: nvme_ns): void
  nvme_nvm_unregister_sysfs(ns: nvme_ns): void
  nvme_nvm_unregister(ns: nvme_ns): Sleep<void>
  /** The namespace's format is known: bytes of a sector and of its metadata. */
  nvme_nvm_update_nvm_info(ns: nvme_ns): void
  /** @returns -ENOTTY for a command that is none of its own */
  nvme_nvm_ioctl(ns: nvme_ns, cmd: number, arg: Uint8Array, admin: boolean): Sleep<number>
}

/** The module nvme_core of one kernel. */
export interface nvme_core {
  readonly k: Kernel
  readonly blk: BlockLayer
  readonly era: nvme_era
  readonly nvme_wq: workqueue_struct
  readonly nvme_reset_wq: workqueue_struct
  readonly nvme_delete_wq: workqueue_struct
  /** Instance numbers in use. */
  readonly instances: Set<number>
  /** Subsystems by NQN, and how many controllers each has. */
  readonly subsystems: Map<string, number>
  readonly ctrls: nvme_ctrl[]
  lightnvm: nvme_nvm_hooks | null
  /** Called for each disk that appears or goes. */
  readonly disk_hooks: { added(ns: nvme_ns): void; removed(ns: nvme_ns): void }
  /** ns on the machine's clock at which this machine says it is the epoch: milliseconds of Set Features 0Eh. */
  readonly epoch_ms: number
}

/** What Identify Controller and the registers say, as the driver keeps it. */
export interface nvme_ctrl_facts {
  cap: bigint
  vs: number
  ctrl_config: number
  page_size: number
  max_hw_sectors: number
  max_segments: number
  /** Bytes of the stripe quirk, 0 = none. */
  max_discard_sectors: number
  oacs: number
  oncs: number
  oaes: number
  abort_limit: number
  vwc: number
  cntlid: number
  /** Fabrics: what Connect answered; Identify should say the same. */
  connect_cntlid: number
  sgls: number
  kas: number
  npss: number
  apsta: number
  hmpre: number
  hmmin: number
  hmminds: number
  hmmaxd: number
  mtfa: number
  max_namespaces: number
  /** Seconds. */
  shutdown_timeout: number
  ioccsz: number
  iorcsz: number
  icdoff: number
  maxcmd: number
  serial: string
  model: string
  firmware_rev: string
  subnqn: string
  crdt: readonly number[]
}

/** struct nvme_ctrl. */
export interface nvme_ctrl extends nvme_ctrl_facts {
  readonly nvme: nvme_core
  readonly k: Kernel
  readonly blk: BlockLayer
  readonly ops: nvme_ctrl_ops
  /** The transport's own structure. */
  readonly priv: unknown
  quirks: number
  state: nvme_ctrl_state
  /** Who waits for another state. */
  readonly state_wq: wait_queue_head
  instance: number
  /** nvme0. */
  device: string
  refs: number
  admin_q: request_queue | null
  connect_q: request_queue | null
  tagset: blk_mq_tag_set | null
  admin_tagset: blk_mq_tag_set | null
  readonly namespaces: nvme_ns[]
  queue_count: number
  sqsize: number
  subsystem: boolean
  identified: boolean
  kato: number
  opts: nvmf_ctrl_facts | null
  aen_result: number
  /** Notices that scan and event works act on. */
  events: { changed_ns: boolean }
  /** How often the queues were stopped. */
  stops: number
  /** Commands that came out of the effects log; 256 admin and 256 I/O dwords; null = no log. */
  effects: Uint32Array | null
  /** The last Identify Controller data. */
  id: Uint8Array | null
  /** Queues of namespaces whose blocks were planned at boot. */
  memory: planned_memory | null
  nr_streams: number
  readonly reset_work: work_struct<nvme_ctrl>
  readonly delete_work: work_struct<nvme_ctrl>
  readonly scan_work: work_struct<nvme_ctrl>
  readonly async_event_work: work_struct<nvme_ctrl>
  readonly fw_act_work: work_struct<nvme_ctrl>
  readonly ka_work: delayed_work<nvme_ctrl>
}

/** struct nvme_ns with its head. */
export interface nvme_ns {
  readonly ctrl: nvme_ctrl
  readonly ns_id: number
  /** nvme0n1. */
  readonly disk_name: string
  readonly instance: number
  readonly queue: request_queue
  /** log2 of the bytes of a block; 0 = unusable. */
  lba_shift: number
  ms: number
  ext: boolean
  pi_type: number
  noiob: number
  eui64: string
  nguid: string
  uuid: string
  /** The last Identify Namespace data. */
  id: Uint8Array | null
  /** Of LightNVM (struct nvm_dev). */
  ndev: unknown
  /** The disk has been added and not removed. */
  added: boolean
  removing: boolean
  /** Its controller's reference, and one for each open file. */
  kref: number
  dead: boolean
}
