// The option table: every option of fio-jobs 3 has the class that the sheet gives it, and every aliased name its option.

import { describe, expect, it } from 'vitest'
import { OPTION_CLASSES, refusedEngine, usefulNames } from '../../../src/workload/option-classes.js'
import { RUN_OPTIONS, type RunName } from '../../../src/workload/options.js'
import { complaint, jobOf, notesOf } from './plan-of.js'

const words = (text: string): string[] => text.trim().split(/[\s,]+/)
const classOf = (name: string): string => OPTION_CLASSES.get(name)?.class ?? 'unknown'
const wrong = (names: readonly string[], wanted: string): string[] =>
  names.filter(name => classOf(name) !== wanted)

const RUN =
  words(`rw bs size filesize norandommap nrfiles io_size offset blocksize bssplit rwmixread loops number_ios
  random_distribution rwmixwrite blockalign bsrange nr_files offset_increment random_generator randrepeat ioengine iodepth
  invalidate direct iodepth_batch_complete io_submit_mode iodepth_batch numjobs stonewall runtime time_based group_reporting name
  startdelay new_group ramp_time wait_for description exitall exit_what timeout flow rate rate_iops flow_sleep
  latency_percentile latency_target latency_window rate_process ratemin thinktime ss ss_dur ss_ramp steadystate
  steadystate_check_interval steadystate_duration steadystate_ramp_time verify buffer_pattern continue_on_error ignore_error
  verify_backlog verify_dump do_verify fsync sync verify_fatal verify_interval verify_pattern zonemode zonesize zoneskip
  cmdprio_class log_prio prioclass cmdprio cmdprio_bssplit cmdprio_percentage prio disable_clat disable_slat gtod_reduce
  write_lat_log clat_percentiles disable_lat write_bw_log lat_percentiles log_avg_msec log_offset percentile_list filename
  cpus_allowed_policy hipri cpus_allowed cpumask randseed rw_sequencer percentage_random iodepth_low
  iodepth_batch_complete_max serialize_overlap fdatasync end_fsync fsync_on_close rate_iops_min max_latency write_iops_log
  write_hist_log log_hist_msec log_hist_coarseness per_job_logs unified_rw_reporting significant_figures slat_percentiles
  refill_buffers zero_buffers trim_percentage trim_verify_zero read_iolog write_iolog replay_no_stall replay_time_scale
  replay_redirect replay_skip replay_align replay_scale kb_base unit_base stats`)

const LATER =
  words(`max_open_zones read_beyond_wp zone_reset_frequency zone_reset_threshold block_error_percentiles fill_device
  random_sequence_stride spr_num_regions spr_op sprandom verify_async verify_write_sequence cmd_type write_mode num_range
  readfua writefua`)

const NOTE =
  words(`create_on_open fallocate openfiles allow_file_create unlink create_serialize thread mem numa_cpu_nodes
  numa_mem_policy threads buffer_compress_percentage dedupe_global dedupe_mode dedupe_percentage
  dedupe_working_set_percentage scramble_buffers nonvectored registerfiles sqthread_poll sqthread_poll_cpu error_dump`)

const REFUSE =
  words(`apptag apptag_mask pi_act pi_chk fdp fdp_pli md_per_io_size atomic port hostname http_host http_mode
  http_verbose https protocol http_s3_key http_s3_keyid http_s3_region listen pool clientname verb brick busy_poll conf cont
  http_s3_sse_customer_algorithm http_s3_sse_customer_key http_s3_storage_class http_swift_auth_token nfs_url pingpong rbdname
  ttl uri volume cpuload cpumode donorname inplace arguments grace_time program std_redirect gpu_dev_ids sg_write_mode cuda_io
  gpu_dev_id libblkio_driver libblkio_path rocm_io skip_bad exec_prerun exec_postrun uid gid cgroup cgroup_weight
  cgroup_nodelete profile`)

describe('classes', () => {
  it('RUN', () => expect(wrong(RUN, 'RUN')).toEqual([]))
  it('LATER', () => expect(wrong(LATER, 'LATER')).toEqual([]))
  it('NOTE', () => expect(wrong(NOTE, 'NOTE')).toEqual([]))
  it('REFUSE', () => expect(wrong(REFUSE, 'REFUSE')).toEqual([]))

  it('directory, filename_format and buffered are accepted: they decide which region a job uses, and a note', () => {
    expect(wrong(['directory', 'filename_format', 'buffered'], 'RUN')).toEqual([])
  })

  it('every name of fio 3.33 is known', () => {
    const names =
      words(`allow_mounted_write allrandrepeat ba bs_unaligned buffer_compress_chunk bwavgtime cgroup_weight
      clocksource create_fsync create_only disable_bw_measurement disk_util exitall_on_error experimental_verify fadvise_hint
      file_append file_service_type filename_format flow_id gtod_cpu hugepage-size ignore_zone_limits iodepth_batch_complete_min
      iopsavgtime ioscheduler job_max_open_zones latency_run lockfile lockmem log_alternate_epoch log_alternate_epoch_clock_id
      log_compression log_compression_cpus log_entries log_max_value log_store_compressed log_unix_epoch merge_blktrace_file
      merge_blktrace_iters merge_blktrace_scalars nice offset_align opendir overwrite pre_read rate_cycle rate_ignore_thinktime
      rate_min read_iolog_chunked sync_file_range thinktime_blocks thinktime_blocks_type thinktime_iotime thinktime_spin
      trim_backlog trim_backlog_batch unique_filename unlink_each_loop verify_backlog_batch verify_offset verify_only
      verify_state_load verify_state_save write_barrier write_hint zonecapacity zonerange userspace_reap nowait fixedbufs
      uncached force_async hipri_percentage`)
    expect(wrong(names, 'unknown')).toEqual(names)
  })
})

describe('aliases', () => {
  const pairs =
    words(`readwrite=rw blocksize=bs blocksize_range=bsrange blockalign=ba blocksize_unaligned=bs_unaligned
    io_limit=io_size fileoffset=offset nr_files=nrfiles allrandrepeat=randrepeat timeout=runtime ratemin=rate_min
    ratecycle=rate_cycle wait_for_previous=stonewall iodepth_batch_submit=iodepth_batch
    iodepth_batch_complete=iodepth_batch_complete_min disable_bw=disable_bw_measurement ss=steadystate
    ss_dur=steadystate_duration ss_ramp=steadystate_ramp_time ss_interval=steadystate_check_interval`)

  it.each(pairs)('%s', pair => {
    const [alias, name] = pair.split('=') as [string, string]
    expect(OPTION_CLASSES.get(alias)).toEqual({ class: 'RUN', name })
  })

  it('no alias is another option, and all are distinct', () => {
    const aliases = Object.values(RUN_OPTIONS).flatMap(def => def.aliases)
    expect(new Set(aliases).size).toBe(aliases.length)
    expect(aliases.filter(alias => Object.hasOwn(RUN_OPTIONS, alias))).toEqual([])
  })
})

describe('values by type', () => {
  const names = Object.keys(RUN_OPTIONS) as RunName[]
  const ofType = (type: string): RunName[] => names.filter(name => RUN_OPTIONS[name].type === type)

  it('booleans take 0 and 1 only, and need one of them', () => {
    expect(ofType('0 or 1').length).toBeGreaterThan(25)
    for (const name of ofType('0 or 1')) {
      expect(complaint(name)).toContain('needs a value (0 or 1)')
      expect(complaint(`${name}=yes`)).toContain('must be 0 or 1')
      expect(complaint(`${name}=2`)).toContain('must be 0 or 1')
    }
  })

  it('flags stand alone, or take 0 and 1', () => {
    expect(ofType('flag')).toEqual(
      expect.arrayContaining([
        'stonewall',
        'time_based',
        'norandommap',
        'group_reporting',
        'exitall',
      ]),
    )
    expect(jobOf('norandommap').norandommap).toBe(true)
    expect(jobOf('norandommap=1').norandommap).toBe(true)
    expect(jobOf('norandommap', 'norandommap=0').norandommap).toBe(false)
    expect(complaint('norandommap=2')).toBe('j.fio:7: norandommap=2: must be 0 or 1')
  })

  it('every other option needs a value', () => {
    const logs = ['write_bw_log', 'write_iops_log', 'write_lat_log', 'write_hist_log']
    for (const name of names) {
      if (RUN_OPTIONS[name].type === 'flag' || logs.includes(name)) continue
      if (RUN_OPTIONS[name].engines !== undefined) continue
      expect(complaint(name)).toContain(`j.fio:7: ${name}: needs a value`)
    }
  })

  it('numbers have bounds', () => {
    expect(complaint('iodepth=0')).toBe('j.fio:7: iodepth=0: must be at least 1')
    expect(complaint('iodepth=65537')).toBe('j.fio:7: iodepth=65537: must be at most 65536')
    expect(complaint('numjobs=0')).toBe('j.fio:7: numjobs=0: must be at least 1')
    expect(complaint('rwmixread=101')).toBe('j.fio:7: rwmixread=101: must be at most 100')
    expect(complaint('prio=8')).toContain('at most 7')
    expect(complaint('flow=1001')).toContain('at most 1000')
    expect(complaint('log_hist_coarseness=7')).toContain('at most 6')
    expect(complaint('verify_interval=79')).toContain('at least 80')
    expect(complaint('latency_percentile=100.5')).toContain('at most 100')
    expect(complaint('size=101%')).toContain('at most 100')
    expect(complaint('bs=0')).toContain('at least 1')
  })
})

describe('errors name file, line, option, reason and the nearest name', () => {
  it('unknown options', () => {
    expect(complaint('iodept=4')).toBe('j.fio:7: iodept=4: unknown option; did you mean iodepth?')
    expect(complaint('BS=4k')).toBe('j.fio:7: BS=4k: unknown option; did you mean bs?')
    expect(complaint('b s=4k')).toContain('unknown option; did you mean bs?')
    expect(complaint('zzzzzzzz')).toBe('j.fio:7: zzzzzzzz: unknown option')
    expect(usefulNames()).not.toContain('exec_prerun')
  })

  it('bad values', () => {
    expect(complaint('', 'bs=8x')).toBe("j.fio:8: bs=8x: unknown unit 'x'; units are k, m, g, t, p")
    expect(complaint('runtime=5x')).toContain('j.fio:7: runtime=5x: unknown unit')
    expect(complaint('rw=raed')).toContain('j.fio:7: rw=raed: must be one of read, write')
    expect(complaint('size=99999999999999999t')).toContain('is too large')
    // biome-ignore lint/suspicious/noTemplateCurlyInString: fio's own notation
    expect(complaint('bs=${NOPE}')).toBe('j.fio:7: bs= (written ${NOPE}): the value is empty')
  })

  it('LATER says not yet, REFUSE says why', () => {
    expect(complaint('max_open_zones=4')).toBe(
      'j.fio:7: max_open_zones=4: not yet: zoned block devices',
    )
    expect(complaint('zonemode=zbd')).toBe('j.fio:7: zonemode=zbd: not yet: zoned block devices')
    expect(complaint('exec_prerun=rm')).toBe(
      'j.fio:7: exec_prerun=rm: refused: a job file must not run programs',
    )
    expect(complaint('uid=0')).toContain('refused: a job file must not change identity')
    expect(complaint('port=80')).toContain('refused: it belongs to a network')
    for (const name of [...LATER, ...REFUSE]) {
      if (OPTION_CLASSES.get(name)!.class === 'RUN') continue
      expect(complaint(`${name}=77`)).toMatch(/^j\.fio:7: \S+=77: (not yet|refused): /)
    }
  })

  it('values that ask for what happens anyway are let through', () => {
    expect(
      jobOf('atomic=0', 'fill_device=0', 'verify_async=0', 'file_service_type=roundrobin').rw,
    ).toBe('read')
    expect(complaint('file_service_type=zipf:1.2')).toContain('not yet')
    expect(complaint('atomic')).toContain('refused')
  })

  it('control characters and long values do not spoil the line', () => {
    const message = complaint(`bs=${'9'.repeat(300)}\x01x`)
    expect(message).not.toMatch(/[^\x20-\x7e]/)
    expect(message.length).toBeLessThan(600)
  })
})

describe('notes', () => {
  it('one for each NOTE option, however often it is written', () => {
    expect(notesOf('thread', 'thread', 'fadvise_hint=0')).toEqual([
      'j.fio:7: thread has no effect: jobs are tasks of the emulated machine, not processes of this one',
      'j.fio:9: fadvise_hint has no effect: the page cache takes no advice',
    ])
  })

  it('a NOTE option without its value is an error', () => {
    expect(complaint('unlink')).toBe('j.fio:7: unlink: needs a value')
  })
})

describe('engines', () => {
  it('names those that exist, refuses the others with a reason', () => {
    expect(complaint('ioengine=rbd')).toBe(
      'j.fio:7: ioengine=rbd: not emulated: there is no cluster',
    )
    expect(complaint('ioengine=exec')).toContain('must not run programs')
    expect(complaint('ioengine=external:/x.so')).toContain('must not load code')
    expect(complaint('ioengine=libiao')).toBe(
      'j.fio:7: ioengine=libiao: unknown engine; did you mean libaio?',
    )
    expect(complaint('ioengine=')).toContain('unknown engine; there are sync, psync')
    expect(jobOf('ioengine=linuxaio').ioengine).toBe('libaio')
    expect(refusedEngine('constructor')).toBeUndefined()
  })

  it('engine options are unknown to other engines', () => {
    expect(complaint('hipri')).toBe(
      'j.fio:7: hipri: ioengine=libaio has no such option; it belongs to pvsync2, io_uring',
    )
    expect(complaint('ioengine=io_uring', 'hipri_percentage=50')).toContain('belongs to pvsync2')
    expect(complaint('ioengine=null', 'cmdprio_percentage=5')).toContain(
      'belongs to libaio, io_uring',
    )
    expect(complaint('registerfiles')).toContain('belongs to io_uring')
    // The engine may stand below its option.
    expect(jobOf('hipri', 'ioengine=pvsync2').hipriPercentage).toBe(100)
  })
})
