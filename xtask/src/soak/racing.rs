//! Which tests race, and against what.

/// A test that other threads or processes can meet at any moment.
#[derive(Debug)]
pub(super) struct Racing {
    pub(super) package: &'static str,
    /// `lib` for unit tests, otherwise the name of the program in `tests`.
    target: &'static str,
    /// Its path, as `cargo test` prints it.
    pub(super) test: &'static str,
    pub(super) cost: Cost,
}

/// How long a test takes, and so how often it is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cost {
    /// A fraction of a second: the short form runs it, too.
    Cheap,
    /// A few seconds.
    Usual,
    /// Many seconds: it runs in every tenth round.
    Long,
}

const fn of(package: &'static str, target: &'static str, test: &'static str) -> Racing {
    Racing { package, target, test, cost: Cost::Usual }
}

const fn cheap(package: &'static str, target: &'static str, test: &'static str) -> Racing {
    Racing { cost: Cost::Cheap, ..of(package, target, test) }
}

const fn long(package: &'static str, target: &'static str, test: &'static str) -> Racing {
    Racing { cost: Cost::Long, ..of(package, target, test) }
}

impl Racing {
    /// What names it to people.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.package, self.test)
    }

    /// Whether it runs in this round, counted from 0.
    pub(super) const fn runs_in(&self, round: u64) -> bool {
        match self.cost {
            Cost::Cheap | Cost::Usual => true,
            Cost::Long => round.is_multiple_of(10),
        }
    }

    /// What cargo calls that program.
    pub(super) fn target_name(&self) -> String {
        if self.target == "lib" { self.package.replace('-', "_") } else { self.target.to_owned() }
    }
}

#[rustfmt::skip]
pub(super) const RACING: &[Racing] = &[
    // Processes and threads take one lock, and read a pipe that is written.
    cheap("durable", "lib", "lock::tests::a_look_at_it_keeps_nobody_from_taking_it"),
    cheap("durable", "lib", "output::tests::devices_and_pipes_are_written_to_and_stay_what_they_are"),
    // Work goes on while those who wait for it hang up.
    cheap("work", "lib", "tests::what_is_held_is_released_when_the_work_ends_and_not_when_nobody_waits"),
    cheap("work", "lib", "tests::who_hangs_up_leaves_no_place_free_while_the_work_runs"),
    cheap("work", "lib", "tests::work_is_carried_out_and_waited_for_whoever_asked"),
    cheap("work", "lib", "tests::blocking_work_that_is_held_is_waited_for_too"),
    // Clients connect, stall and go; the kernel has its own pace where the clock stands still.
    cheap("http-server", "lib", "tests::one_connection_too_many_is_told_so_and_room_comes_back"),
    cheap("http-server", "lib", "tests::who_stays_after_a_refusal_keeps_others_waiting_for_a_moment_only"),
    cheap("http-server", "lib", "tests::what_is_too_large_is_refused"),
    cheap("http-server", "lib", "tests::who_does_not_take_the_answer_is_let_go"),
    cheap("http-server", "lib", "tests::who_is_too_slow_is_let_go"),
    cheap("http-server", "lib", "tests::a_body_that_comes_byte_by_byte_is_let_go_too"),
    of("page-http", "lib", "page_port::tests::a_request_is_taken_whole_before_the_host_hears_of_it"),
    of("page-http", "lib", "page_port::tests::a_body_that_does_not_come_is_given_up"),
    long("page-http", "lib", "page_port::tests::whoever_asks_and_hangs_up_takes_no_more_places_than_whoever_waits"),
    of("page-http", "lib", "page_port::tests::whoever_does_not_take_the_answer_holds_memory_and_no_place"),
    long("page-http", "lib", "page_port::tests::a_host_that_cannot_answer_is_said_to"),
    of("pangea-http", "lib", "rooms::tests::a_client_that_asks_and_hangs_up_frees_nothing_while_its_work_runs"),
    of("http-client", "lib", "tests::a_proxy_sees_what_is_for_others_and_nothing_else"),
    of("log-http", "lib", "live::tests::a_leaf_that_cannot_be_read_is_missed_and_those_behind_it_come"),
    // The ledger's writer is a thread. Readers, copies and callers that go meet it anywhere.
    of("ledger", "it", "copies::a_copy_of_a_growing_log_is_a_log"),
    long("ledger", "it", "copies::whatever_is_erased_while_it_is_copied_is_erased_in_the_copy_or_not_yet_ordered"),
    of("ledger", "it", "copies::a_key_rotation_in_the_midst_is_in_the_copy_or_comes_after_it"),
    of("ledger", "it", "reader::a_log_can_be_looked_at_at_any_moment_of_its_life"),
    of("ledger", "it", "reader::a_reader_that_meets_an_erasure_reads_on_wherever_it_met_it"),
    of("ledger", "it", "dropped::an_erasure_that_nobody_waits_for_loses_nothing"),
    of("ledger", "it", "dropped::a_sweep_that_nobody_waits_for_loses_nothing"),
    of("ledger", "it", "dropped::a_hold_that_nobody_waits_for_loses_nothing"),
    of("ledger", "it", "dropped::a_rotation_that_nobody_waits_for_loses_nothing"),
    long("ledger", "it", "kills::a_log_outlives_every_kill"),
    // The index is asked while it is written, and is rebuilt beside the log that grows.
    cheap("index", "lib", "connections::tests::as_many_are_opened_as_are_asked_over_at_once_up_to_a_limit"),
    of("services", "lib", "indexing::tests::what_the_index_cannot_take_is_named_and_passed_over"),
    of("services", "lib", "indexing::tests::a_damaged_index_that_cannot_be_made_anew_is_made_when_it_can"),
    of("services", "lib", "indexing::tests::a_damaged_series_is_made_anew_by_a_stopped_sites_commands_too"),
    of("services", "lib", "queries::tests::a_page_comes_without_what_was_erased_since_the_index_was_asked"),
    of("pangea-http", "lib", "api::tests::words_of_searches_are_forgotten_when_envelopes_are_erased"),
    // Orders come over a socket, hang up, and meet what is done in a token's name.
    cheap("orders", "lib", "order_socket::tests::connections_that_say_nothing_lock_nobody_out"),
    cheap("orders", "lib", "order_socket::tests::an_order_is_sealed_with_the_account_that_gave_it_whatever_it_claims"),
    cheap("orders", "lib", "order_socket::tests::what_is_no_order_is_refused_in_words"),
    cheap("orders", "lib", "order_socket::tests::a_socket_that_a_crash_left_is_replaced_and_a_live_one_is_not"),
    cheap("orders", "lib", "operator::tests::a_revocation_waits_for_what_is_being_done_in_the_tokens_name"),
    long("site", "it", "orders::an_order_is_carried_out_whole_whoever_waits_for_it"),
    of("site", "it", "orders::a_revocation_that_could_not_be_sealed_is_sealed_by_the_next_start"),
    of("site", "it", "pangea::a_revoked_token_seals_nothing_that_was_under_way"),
    of("site", "it", "pangea::no_retry_is_sealed_again_whatever_the_clock_did"),
    of("site", "it", "pangea::a_retried_export_is_sealed_once"),
    // A folder is copied, restored and examined while others use it.
    of("site", "it", "backups::what_is_given_up_leaves_nothing_and_changes_nothing"),
    of("site", "it", "unsigned::an_older_backup_that_takes_the_place_of_the_newer_one_meanwhile_is_not_restored"),
    of("site", "it", "doctor::a_folder_in_use_is_judged_as_far_as_it_can_be"),
    of("site", "it", "exports::an_export_is_sealed_and_has_the_whole_log"),
    // Logs and forks ask one witness at once.
    of("witness", "it", "http::requests_at_the_same_time_never_get_two_histories_cosigned"),
    of("witness", "it", "http::a_witness_remembers_over_a_restart"),
    of("witness", "it", "http::a_log_that_asks_too_often_is_told_when_to_come_back"),
    // An engine's last words are read from a pipe.
    cheap("engine", "lib", "log::tests::an_engine_is_heard_although_its_log_cannot_be_written"),
];
