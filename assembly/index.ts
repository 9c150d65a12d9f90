// What the core exports, and nothing else.

export * from './sbitmap'
export { __blk_mq_get_tag, blk_mq_get_tag, blk_mq_init_rqs, blk_mq_put_tag, hctx_may_queue } from './tag'
export { nvme_dbbuf_need_event, nvme_ring_doorbells, nvme_write_sq_db } from './doorbell'
export { nvme_init_prp_pool, nvme_queue_rq } from './sq'
export { blk_mq_complete_any, complete_done_list, complete_remote, nvme_cqe_pending, nvme_complete_rq, nvme_process_cq } from './cq'
export {
  __blk_mq_requeue_request, blk_add_timer, blk_mq_get_driver_tag, blk_mq_put_driver_tag, blk_mq_put_reference, blk_mq_sched_rq_init, bio_endio, bio_split, blk_mq_end_request, blk_mq_free_request, blk_mq_rq_ctx_init,
  blk_mq_start_request,
} from './request'
export {
  bio_unsplit, blk_finish_plug, blk_mq_insert_dispatch_head, blk_mq_request_bypass_insert, blk_mq_take_waiting,
  __blk_mq_insert_req_list, blk_mq_map_queue, blk_schedule_flush_plug, blk_mq_update_dispatch_busy, blk_start_plug, blk_try_merge, queue_rq, submit_bio_one as submit_bio, submit_bio_again,
} from './submit'
export { null_cmd_cancel, null_cmd_timers, null_complete_request, null_deadline } from './null_blk'
export { dev_run_sq } from './device'
export { dev_abort, dev_next_due, dev_post_due } from './post'
export { device_run } from './device-thread'
export { event_at, event_by, event_first, event_over, event_take, event_time } from './events'
export { cpu_arm, cpu_pending, cpu_run, cpu_set_now } from './cpu'
export { job_checked } from './job'
export { plain_rw } from './plain-bio'
export { plain_look } from './plain-look'
export { dev_complete, dev_service, dev_step, virtual_kick, virtual_run } from './virtual'
export { look_at_threads, shared_deadline, shared_run } from './shared'
export { time_passed } from './clock'
export { blk_mq_poll_nsecs, blk_mq_poll_stats_bkt, blk_stat_add } from './hybrid'
export { nand_init } from './nand'
export { ocssd_execute, ocssd_look_ahead } from './ocssd'
export { pblk_in_core, pblk_submit_write } from './pblk'
export { dev_page, dev_read, dev_write, dev_zero } from './medium'
export { checksum_tables } from './checksum'
export { verify_digest_bad } from './verify'
