// Options of fio that do not change a run: accepted with a note, not there yet, or refused; and the engines.
//
//   NOTE    accepted, one line says why it has no effect here
//   LATER   meaningful, refused with "not yet"
//   REFUSE  will not come, with the reason
//
// Together with options.ts these are all options of fio 3.33, and those of later versions that are in use.
// LATER and REFUSE options are harmless when they ask for what happens anyway (`atomic=0`): such values are in `inert`.

import { RUN_OPTIONS, type RunName } from './options.js'

/** A group of options with one reason. */
interface Group {
  readonly reason: string
  readonly names: readonly string[]
  /** Values that change nothing and are let through. */
  readonly inert?: readonly string[]
  /** Engines that know these options; undefined = all. */
  readonly engines?: readonly string[]
  /** Those that may stand without a value. */
  readonly bare?: readonly string[]
}

const NOTE_GROUPS: readonly Group[] = [
  {
    reason: 'there are no files to create or keep open',
    names: [
      'create_on_open',
      'create_serialize',
      'create_fsync',
      'fallocate',
      'openfiles',
      'allow_file_create',
      'allow_mounted_write',
      'unlink',
      'unlink_each_loop',
      'overwrite',
      'lockfile',
      'unique_filename',
    ],
  },
  {
    reason: 'jobs are tasks of the emulated machine, not processes of this one',
    names: ['thread', 'threads', 'nice', 'lockmem', 'numa_cpu_nodes', 'numa_mem_policy'],
    bare: ['thread'],
  },
  {
    reason: 'the page cache takes no advice',
    names: ['pre_read', 'fadvise_hint', 'sync_file_range'],
  },
  {
    reason: 'buffers live in the memory of the emulated machine',
    names: ['mem', 'iomem', 'hugepage-size'],
  },
  {
    reason: 'the emulated media neither compresses nor deduplicates',
    names: [
      'buffer_compress_percentage',
      'buffer_compress_chunk',
      'dedupe_global',
      'dedupe_mode',
      'dedupe_percentage',
      'dedupe_working_set_percentage',
      'scramble_buffers',
    ],
  },
  {
    reason: 'the engine is emulated without its tuning',
    names: [
      'nonvectored',
      'registerfiles',
      'fixedbufs',
      'sqthread_poll',
      'sqthread_poll_cpu',
      'force_async',
    ],
    engines: ['io_uring'],
    bare: ['registerfiles', 'fixedbufs', 'sqthread_poll'],
  },
  {
    reason: 'the engine is emulated without its tuning',
    names: ['userspace_reap'],
    engines: ['libaio'],
    bare: ['userspace_reap'],
  },
  {
    reason: 'the host clock is not the machine clock',
    names: ['clocksource', 'gtod_cpu'],
  },
  {
    reason: 'the result has its own form for it',
    names: ['error_dump', 'disk_util', 'log_entries', 'read_iolog_chunked', 'verify_state_save'],
  },
  {
    reason: 'the device has no use for write hints',
    names: ['write_hint'],
  },
]

const LATER_GROUPS: readonly Group[] = [
  {
    reason: 'zoned block devices',
    names: [
      'max_open_zones',
      'job_max_open_zones',
      'read_beyond_wp',
      'zone_reset_frequency',
      'zone_reset_threshold',
      'zonecapacity',
      'ignore_zone_limits',
    ],
    inert: ['0'],
  },
  {
    reason: 'this access pattern',
    names: [
      'fill_device',
      'fill_fs',
      'random_sequence_stride',
      'spr_num_regions',
      'spr_op',
      'sprandom',
      'softrandommap',
      'bs_is_seq_rand',
      'offset_align',
      'file_append',
    ],
    inert: ['0'],
  },
  {
    reason: 'this form of verification',
    names: [
      'verify_async',
      'verify_async_cpus',
      'verify_write_sequence',
      'verify_header_seed',
      'verify_state_load',
      'experimental_verify',
      'verifysort',
      'verifysort_nr',
    ],
    inert: ['0'],
  },
  {
    reason: 'this form of log',
    names: [
      'block_error_percentiles',
      'log_compression',
      'log_compression_cpus',
      'log_store_compressed',
      'log_unix_epoch',
      'log_alternate_epoch',
      'log_alternate_epoch_clock_id',
      'log_window_value',
      'log_issue_time',
    ],
    inert: ['0'],
  },
  {
    reason: 'merging traces',
    names: ['merge_blktrace_file', 'merge_blktrace_iters', 'merge_blktrace_scalars'],
  },
  {
    reason: 'NVMe passthrough',
    names: ['cmd_type', 'write_mode', 'num_range', 'readfua', 'writefua'],
  },
  {
    reason: 'choosing the I/O scheduler from a job',
    names: ['ioscheduler'],
  },
  {
    reason: 'RWF_NOWAIT',
    names: ['nowait', 'uncached'],
    inert: ['0'],
    engines: ['pvsync2', 'libaio', 'io_uring'],
  },
  {
    reason: 'a phase that only creates files',
    names: ['create_only'],
    inert: ['0'],
  },
]

const REFUSE_GROUPS: readonly Group[] = [
  {
    reason: 'a job file must not run programs',
    names: ['exec_prerun', 'exec_postrun', 'profile'],
  },
  {
    reason: 'a job file must not change identity',
    names: ['uid', 'gid'],
  },
  {
    reason: 'a job file must not change control groups',
    names: ['cgroup', 'cgroup_weight', 'cgroup_nodelete'],
  },
  {
    reason: 'nothing outside the emulated machine is opened',
    names: ['opendir'],
  },
  {
    reason: 'Linux 4.19 has no such feature',
    names: [
      'apptag',
      'apptag_mask',
      'pi_act',
      'pi_chk',
      'fdp',
      'fdp_pli',
      'fdp_pli_select',
      'dataplacement',
      'plids',
      'plid_select',
      'dp_scheme',
      'md_per_io_size',
      'atomic',
    ],
    inert: ['0'],
  },
  {
    reason: 'it belongs to a network, object or cluster engine',
    names: [
      'port',
      'hostname',
      'http_host',
      'http_mode',
      'http_verbose',
      'http_user',
      'http_pass',
      'https',
      'protocol',
      'proto',
      'http_s3_key',
      'http_s3_keyid',
      'http_s3_region',
      'http_s3_sse_customer_algorithm',
      'http_s3_sse_customer_key',
      'http_s3_storage_class',
      'http_swift_auth_token',
      'listen',
      'interface',
      'nodelay',
      'window_size',
      'mss',
      'pool',
      'clientname',
      'clustername',
      'verb',
      'bindname',
      'brick',
      'busy_poll',
      'conf',
      'cont',
      'nfs_url',
      'pingpong',
      'rbdname',
      'ttl',
      'uri',
      'volume',
      'namenode',
      'chunk_size',
    ],
  },
  {
    reason: 'it belongs to a CPU, process or file-metadata engine',
    names: [
      'cpuload',
      'cpuchunks',
      'cpumode',
      'exit_on_io_done',
      'donorname',
      'inplace',
      'arguments',
      'grace_time',
      'program',
      'std_redirect',
      'stat_type',
    ],
  },
  {
    reason: 'it belongs to other hardware',
    names: [
      'gpu_dev_ids',
      'gpu_dev_id',
      'sg_write_mode',
      'cuda_io',
      'rocm_io',
      'libblkio_driver',
      'libblkio_path',
      'skip_bad',
    ],
  },
]

/** What kind of option a name is. */
export type OptionClass =
  | { readonly class: 'RUN'; readonly name: RunName }
  | {
      readonly class: 'NOTE' | 'LATER' | 'REFUSE'
      readonly name: string
      readonly reason: string
      readonly inert: readonly string[]
      readonly engines: readonly string[] | undefined
      /** It may stand without a value. */
      readonly bare: boolean
    }

function buildClasses(): ReadonlyMap<string, OptionClass> {
  const all = new Map<string, OptionClass>()
  for (const name of Object.keys(RUN_OPTIONS) as RunName[]) {
    all.set(name, { class: 'RUN', name })
    for (const alias of RUN_OPTIONS[name].aliases) all.set(alias, { class: 'RUN', name })
  }
  const add = (kind: 'NOTE' | 'LATER' | 'REFUSE', groups: readonly Group[]): void => {
    for (const { names, reason, inert = [], engines, bare = [] } of groups) {
      for (const name of names) {
        all.set(name, { class: kind, name, reason, inert, engines, bare: bare.includes(name) })
      }
    }
  }
  add('NOTE', NOTE_GROUPS)
  add('LATER', LATER_GROUPS)
  add('REFUSE', REFUSE_GROUPS)
  return all
}

/** Every option name and alias that is known, whatever becomes of it. */
export const OPTION_CLASSES: ReadonlyMap<string, OptionClass> = buildClasses()

/** Names worth suggesting: those that have an effect or are at least accepted. */
export function usefulNames(): readonly string[] {
  return USEFUL
}

const USEFUL: readonly string[] = [...OPTION_CLASSES]
  .filter(([, info]) => info.class === 'RUN' || info.class === 'NOTE')
  .map(([name]) => name)

/** Engines of fio that will not come, and why. */
const REFUSED_ENGINES: Readonly<Record<string, string>> = {
  io_uring_cmd: 'NVMe passthrough is not there yet',
  sg: 'there is no SCSI device',
  net: 'there is no network',
  netsplice: 'there is no network',
  rdma: 'there is no network',
  rbd: 'there is no cluster',
  rados: 'there is no cluster',
  gfapi: 'there is no cluster',
  gfapi_async: 'there is no cluster',
  libhdfs: 'there is no cluster',
  http: 'there is no network',
  nfs: 'there is no network',
  nbd: 'there is no network',
  cpuio: 'only storage is emulated',
  exec: 'a job file must not run programs',
  external: 'a job file must not load code',
  e4defrag: 'there is no file system',
  falloc: 'there is no file system',
  ftruncate: 'there is no file system',
  filecreate: 'there is no file system',
  filestat: 'there is no file system',
  filedelete: 'there is no file system',
  dircreate: 'there is no file system',
  dirstat: 'there is no file system',
  dirdelete: 'there is no file system',
  mtd: 'there is no such hardware',
  pmemblk: 'there is no persistent memory',
  'dev-dax': 'there is no persistent memory',
  libpmem: 'there is no persistent memory',
  libcufile: 'there is no such hardware',
  libblkio: 'there is no such hardware',
  xnvme: 'NVMe passthrough is not there yet',
  windowsaio: 'the emulated system is Linux',
  solarisaio: 'the emulated system is Linux',
}

/** Why an engine of this name is refused, or undefined when fio has none of this name either. */
export function refusedEngine(name: string): string | undefined {
  return Object.hasOwn(REFUSED_ENGINES, name) ? REFUSED_ENGINES[name] : undefined
}
