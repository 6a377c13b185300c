use dujiang_testkit::saboteur::turns_red;

#[test]
fn a_hand_off_by_places_beside_the_select_loses_rows() {
    turns_red("hand-off-in-snapshot", "source::window::p02_a_commit_that_waits_for_a_standby_is_in_exactly_one_part");
}

#[test]
fn a_transaction_recorded_before_its_end_loses_rows() {
    turns_red("position-at-transaction-end", "source::lost::r01_a_large_transaction_keeps_its_ids_through_crashes");
}

#[test]
fn a_position_behind_what_is_prepared_loses_it() {
    turns_red(
        "position-before-prepared",
        "source::undecided::r02_prepared_transactions_wait_here_and_hold_the_position",
    );
}

#[test]
fn a_chunk_that_ends_among_equal_rows_loses_some() {
    turns_red("chunk-ends-with-its-key", "source::keyless::f23_a_table_without_key_goes_on_chunk_by_chunk");
}

#[test]
fn a_promotion_under_the_stream_goes_unnoticed() {
    turns_red("standby-stays-standby", "source::standby::f62_a_standby_is_read_and_may_be_promoted");
}

#[test]
fn a_value_that_is_read_before_its_change_is_visible_is_older() {
    turns_red(
        "read-again-when-visible",
        "source::large_values::f56_a_value_that_is_read_again_is_never_older_than_its_change",
    );
}

#[test]
fn a_chunk_handed_out_before_its_rows_are_on_disk_shows_what_the_server_forgets() {
    turns_red("view-on-disk", "source::forgotten::p02_what_a_chunk_shows_survives_a_crash_of_the_server");
}

#[test]
fn a_promoted_standby_that_lacks_what_chunks_show_is_followed() {
    for test in [
        "inv5_a_standby_that_lacks_what_chunks_show_is_refused_at_the_reconnection",
        "inv5_a_chunk_that_shows_what_a_promoted_standby_lacks_is_refused",
    ] {
        turns_red("promoted-with-all-that-is-shown", &format!("source::promoted::{test}"));
    }
}

#[test]
fn an_id_that_is_completed_by_an_old_one_loses_changes() {
    turns_red("ids-near-the-servers", "source::far_ids::f20_ids_that_are_far_from_the_last_ones_are_told_apart");
}

#[test]
fn a_chunk_of_a_standby_that_lags_lacks_what_the_stream_has_passed() {
    turns_red(
        "one-server-behind-the-address",
        "source::balancer::inv5_a_standby_behind_the_address_of_its_primary_is_not_read",
    );
}
