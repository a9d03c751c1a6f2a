//! What may go wrong, and what then has to hold: nobody is lost; a second copy only where a reply was lost, as a recorded
//! doubt and with the same bytes; nothing after a goodbye; nothing stuck.
//!
//! Each row is one fault, with the tests that hold it. `tidy.rs` checks that they exist. With `PAPERROUND_TEST_LONG=1`
//! the random ones take every point instead of some, and S7 and S8 the real ten minutes. A seed is printed;
//! `PAPERROUND_TEST_SEED` repeats it.
//!
//! | fault | required | tests |
//! |---|---|---|
//! | K1 kill -9 at random | nobody lost; extra copies at most doubts; under `hold` none | `faults::kills::k1_nobody_is_lost_and_copies_are_only_where_a_reply_was_lost`, `faults::kills::k1_under_hold_no_kill_makes_a_second_copy` |
//! | K2 kill at claim, group, 354, body, dot, reply, import, journal | the same | `faults::kills::k2_killed_before_any_dot_nobody_gets_a_second_copy`, `faults::kills::k2_killed_at_the_354_within_the_body_at_the_dot_and_behind_its_reply`, `faults::commands::k2_an_import_that_is_killed_can_be_repeated`, `faults::commands::k2_killed_at_the_journal_the_goodbye_stands_and_the_next_start_completes_it`, `issues::preparing::a_crash_between_and_within_chunks_resumes_with_the_same_bytes_and_everybody_once` |
//! | K3 kill at every write of an issue | the same; the file is whole | `faults::syscalls::k3_killed_at_any_write_or_sync_nobody_is_lost` |
//! | K4 kill one of several workers on PostgreSQL | retaken after its lease | `workers::k4_k5_d6_nobody_is_lost_and_copies_are_only_where_a_reply_was_lost`, `deliveries::leases::k4_what_a_worker_has_claimed_is_its_own_while_it_shows_life` |
//! | K5 SIGSTOP beyond the lease | refused, fenced, a late reply settles | `workers::k4_k5_d6_nobody_is_lost_and_copies_are_only_where_a_reply_was_lost`, `workers::k5_a_worker_that_stands_still_past_the_real_lease_comes_back_as_another`, `deliveries::leases::k5_a_worker_stops_by_its_own_clock_before_others_take_it_for_dead` |
//! | K6 SIGTERM, and a second one | no copy, no doubt; then as K1 | `faults::kills::k6_a_stop_while_sending_leaves_no_doubt_and_no_second_copy`, `faults::kills::k6_a_second_stop_ends_at_once_and_what_was_on_the_wire_is_in_doubt`, `deliveries::recovery::a_sender_that_is_stopped_at_any_await_leaves_nothing_claimed`, `deliveries::recovery::a_reply_that_does_not_come_before_the_end_of_the_drain_is_recorded_as_doubt` |
//! | K7 panic at a mail or a variant | that row is held, or the issue fails before its release; others go on | `deliveries::sending::a_message_that_cannot_be_made_is_held_and_others_go_on`, `issues::superseding::an_issue_that_fails_while_it_is_prepared_gives_back_what_it_had_taken`, `faults::writes::failing_and_panicking_writes_undo_themselves_alone_among_waiting_neighbours` |
//! | K8 memory | independent of the list's length | `faults::disk::k8_memory_does_not_grow_with_the_list` |
//! | K9 a message that kills the program each time | held, the queue goes on | `faults::kills::k9_a_message_that_kills_the_program_is_held_and_the_others_go_on`, `deliveries::recovery::a_row_that_dies_with_its_worker_four_times_is_held` |
//! | K10 a second worker, or a command, on one file | refused by name; what a command writes is seen | `db::what_replaces_the_database_is_refused_until_the_workers_are_gone`, `deliveries::recovery::what_another_process_queues_is_found_by_polling` |
//! | K11 migration killed; older program | goes on; refuses a newer schema | `faults::commands::k11_a_migration_that_is_killed_goes_on_where_it_was`, `db::a_database_of_a_newer_release_is_refused` |
//! | S1 relay refused, unreachable, unknown | no try used, back-off, heals | `faults::relay::s1_a_relay_that_cannot_be_found_or_reached_uses_up_no_try`, `smtp::opening::s1_nobody_listening_lets_the_relay_rest`, `deliveries::sending::a_relay_that_fails_touches_no_row_and_everything_goes_when_it_heals` |
//! | S2 banner refuses, is missing, trickles | back-off | `smtp::opening::s2_a_banner_that_refuses_is_late_or_trickles_lets_the_relay_rest` |
//! | S3 4xx at every phase; error at QUIT | the right one waits; sent stays sent | `smtp::message::s3_s4_a_refusal_at_each_verb_punishes_the_right_one_and_the_next_message_goes`, `smtp::message::s3_a_421_anywhere_closes`, `faults::relay::s3_an_error_at_the_goodbye_changes_nothing_about_what_was_sent` |
//! | S4 5xx at every phase | a MAIL 5xx fails no reader | `smtp::message::s3_s4_a_refusal_at_each_verb_punishes_the_right_one_and_the_next_message_goes`, `deliveries::sending::a_refused_sender_pauses_the_issue_and_touches_no_reader`, `deliveries::sending::a_refused_recipient_fails_alone` |
//! | S5 drop in a verb or the body | waits, no doubt, one copy | `smtp::message::s5_a_drop_in_any_verb_or_in_the_body_is_certainly_not_sent`, `faults::relay::s5_s6_wherever_the_wire_breaks_everybody_gets_the_mail_and_a_second_copy_is_a_doubt` |
//! | S6 drop behind the dot | three digits that say yes: sent; else doubt, once more | `smtp::message::s6_behind_the_dot_three_digits_that_say_yes_are_a_yes_and_all_else_is_doubt`, `deliveries::sending::a_lost_reply_is_doubt_and_the_same_bytes_go_once_more` |
//! | S7 reply just in time | sent, one copy | `faults::relay::s7_a_reply_just_before_the_deadline_counts` |
//! | S8 no reply | doubt at the deadline | `faults::relay::s8_a_reply_that_does_not_come_is_a_doubt_at_the_deadline_and_one_more_copy` |
//! | S9 no byte of the body is taken | closed, waits | `smtp::message::s9_a_relay_that_takes_no_byte_of_the_body_is_left_without_doubt` |
//! | S10 endless, binary, impossible replies | bounded memory; doubt | `smtp::message::s10_odd_replies_behind_the_dot_are_doubt_with_bounded_memory`, `smtp::message::s10_impossible_replies_before_the_dot_close_and_send_nothing` |
//! | S11 unsolicited reply | never another message's | `smtp::message::s11_a_reply_nobody_asked_for_is_never_credited_to_a_message`, `smtp::message::s11_an_early_refusal_stops_the_body` |
//! | S12 TLS stalls, is foreign, stripped, injected | nothing in clear; halted | `smtp::opening::s12_a_certificate_of_unknown_origin_or_for_another_name_halts_the_relay`, `smtp::opening::s12_starttls_that_is_stripped_refused_or_injected_sends_nothing_in_clear`, `smtp::opening::s12_a_tls_handshake_that_stalls_lets_the_relay_rest` |
//! | S13 wrong password, no mechanism | halted, no storm of log-ins | `smtp::opening::s13_a_wrong_password_halts_and_never_shows_itself`, `smtp::opening::s13_a_log_in_that_cannot_be_is_halted_with_its_reason`, `smtp::pool::a_wrong_sender_lets_nobody_rest_and_a_halted_relay_is_tried_once_an_hour` |
//! | S14 too many connections | fewer, no failed row | `smtp::pool::s14_too_many_connections_means_fewer_connections_and_no_failure`, `deliveries::recovery::s14_a_relay_with_few_connections_gets_everything_over_few` |
//! | S15 SIZE, SMTPUTF8 | issue paused; that reader fails alone | `smtp::message::s15_a_message_over_the_size_limit_pauses_the_issue_before_anything_is_said`, `smtp::message::s15_a_recipient_who_needs_smtputf8_fails_alone_where_it_is_missing` |
//! | S16 leaving at any state | no mark after it; no retry resurrects | `faults::races::s16_in_races_of_leaving_and_marking_there_is_no_mark_after_the_goodbye`, `faults::races::s16_readers_who_leave_by_http_while_the_mails_go_out_get_none_that_begins_later`, `deliveries::goodbye::leaving_before_the_claim_skips_the_delivery`, `deliveries::goodbye::leaving_between_claim_and_mark_stops_the_mark`, `deliveries::goodbye::leaving_after_the_envelope_closes_without_the_dot`, `deliveries::goodbye::leaving_after_the_mark_lets_that_mail_arrive_and_no_other`, `deliveries::goodbye::a_4xx_that_comes_after_the_goodbye_is_not_tried_again`, `deliveries::goodbye::no_retry_resurrects_a_delivery_to_somebody_who_left` |
//! | S17 pause, resume, cancel | goes on where it was; totals agree | `faults::relay::s17_in_a_storm_of_pauses_and_a_cancel_the_totals_agree`, `deliveries::operate::s17_a_paused_issue_waits_and_goes_on_where_it_was` |
//! | S18 future dropped at every await | closed, never reused | `smtp::message::s18_a_future_dropped_at_any_await_leaves_a_closed_connection` |
//! | D1 disk full at every write | stops, keeps results, 503, heals | `faults::syscalls::d1_a_disk_that_is_full_at_any_write_costs_nobody_anything`, `faults::syscalls::d1_while_the_disk_is_full_nothing_new_is_sent_nobody_is_told_that_they_are_out_and_it_heals`, `faults::writes::d1_a_full_disk_answers_an_error_and_heals` |
//! | D2 EIO at a sync | exit 74, recovers | `faults::syscalls::d2_a_sync_that_fails_ends_the_process_and_the_next_start_recovers` |
//! | D3 foreign lock; long reader | pages answer, sending waits | `faults::disk::d3_while_another_program_locks_the_file_pages_answer_and_sending_waits`, `faults::disk::d3_a_reader_that_never_ends_holds_nothing_up` |
//! | D4 read-only, missing, wrong owner, log deleted | refused or paused at the start | `restore::refused::a_folder_that_cannot_be_used_is_refused_at_the_start`, `restore::refused::a_file_of_another_owner_or_kind_is_refused_at_the_start`, `faults::disk::d4_a_log_that_was_deleted_after_a_crash_pauses_all_sending` |
//! | D5 changed bytes | found; nothing is sent | `faults::disk::d5_changed_bytes_are_found_by_a_backup_and_what_meets_them_sends_nothing`, `restore::archive::a_damaged_newer_or_foreign_backup_is_refused_and_nothing_is_changed` |
//! | D6 PostgreSQL restarts, sessions end | goes on | `workers::k4_k5_d6_nobody_is_lost_and_copies_are_only_where_a_reply_was_lost`, `deliveries::leases::d6_a_mark_whose_commit_was_not_heard_of_is_found_made` |
//! | D7 partition longer than the lease | no dot after the fence | `workers::partition::d7_a_worker_cut_off_past_its_lease_ends_no_message_that_others_have_taken_over`, `workers::partition::d7_a_database_that_does_not_answer_is_an_error_and_its_session_is_not_used_again` |
//! | D8 40001, 40P01 | bounded retry, one effect | `deliveries::leases::d8_a_mark_survives_deadlocks` |
//! | D9 failover to a synchronous standby | as D6 | `workers::partition::d9_workers_go_on_at_the_synchronous_standby_and_lose_nothing` |
//! | D10 backup restored | paused; nobody who left is mailed | `restore::guard::a_restored_backup_with_a_due_issue_is_paused_and_sends_no_mail`, `restore::archive::a_backup_restored_by_command_is_paused_and_mails_nobody_who_left`, `restore::journal::a_restored_database_forgets_no_unsubscribe` |
//! | D11 requests aborted while the database is slow | the next ones are answered | `faults::disk::d11_requests_that_are_aborted_while_the_database_is_slow_cost_the_others_nothing` |
//! | loss of power | what left is known | `faults::power::after_a_loss_of_power_every_dot_and_every_goodbye_that_had_left_is_known` |
//! | C4 two schedulers | one issue | `scheduled::calendar::check_07_two_schedulers_at_once_make_one_issue_of_each_slot`, `issues::preparing::a_due_slot_makes_one_issue_however_many_schedulers_look` |
//! | C5 suspended machine | as K5 | `faults::kills::c5_a_machine_that_sleeps_beyond_its_leases_wakes_up_and_goes_on` |
//! | H2 sent twice, back, retried | one effect | `api::a_repeated_send_sends_once`, `confirm::both_links_of_a_hurried_reader_work`, `unsubscribe::leaving_again_is_harmless` |
//! | H3 a hundred presses at once; scanners | one effect; looking changes nothing | `confirm::two_presses_at_once_have_one_effect`, `unsubscribe::a_hundred_goodbyes_at_once_leave_one_event`, `confirm::check_08_looking_at_the_link_changes_nothing_and_the_button_works_then`, `unsubscribe::check_08_looking_changes_nothing_and_the_post_works_then` |

/// Commands that are killed: migrations, imports, and the journal's writer.
#[cfg(feature = "test-strace")]
mod commands;
/// The SQLite file: locked by others, without its log, damaged; and memory.
mod disk;
/// The program is killed, stopped or put to sleep while it sends.
mod kills;
/// The power fails: only what was synced is sure to be there.
#[cfg(feature = "test-strace")]
mod power;
/// Readers leave at the moment their mail begins.
mod races;
/// Relays, and wires that break at any byte.
mod relay;
/// The real program on a folder of its own, before a relay that outlives it.
pub(crate) mod rig;
/// Every write and sync of SQLite's writer: killed at it, failing at it.
#[cfg(feature = "test-strace")]
mod syscalls;
/// Writes while the disk or the queue is full, and slow ones.
mod writes;
