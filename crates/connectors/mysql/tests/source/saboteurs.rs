use super::harness::REMOVED;
use std::process::Command;

/// A test that stays green without the safety step it is there for is none.
pub fn turns_red(step: &str, test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args([test, "--exact"]).env(REMOVED, step).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "{test}: {text}");
    assert!(!output.status.success(), "without {step}, {test} is still green");
}

#[test]
fn a_hand_off_point_read_beside_the_select_loses_rows() {
    turns_red("hand-off-in-snapshot", "source::window::p02_a_commit_that_waits_for_a_replica_is_in_exactly_one_part");
}

#[test]
fn a_transaction_recorded_before_its_end_loses_rows() {
    turns_red("position-at-transaction-end", "source::lost::p39_r01_a_large_transaction_keeps_its_ids_through_crashes");
}

#[test]
fn a_ddl_without_an_epoch_boundary_is_noticed() {
    turns_red("ddl-barrier", "source::schema::added_and_dropped_columns_end_the_epoch");
}

#[test]
fn a_hand_off_point_that_a_rotation_has_set_loses_rows() {
    turns_red("hand-off-at-commit", "source::window::p02_a_rotation_while_a_commit_waits_hides_nothing");
}

#[test]
fn a_hand_off_point_of_mysql_read_while_others_commit_loses_rows() {
    turns_red("hand-off-in-quiet", "source::window::p02_a_commit_that_waits_is_in_exactly_one_part_on_mysql");
}
