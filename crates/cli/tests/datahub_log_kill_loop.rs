//! As the kill loop, with a log in DataHub between source and files: capture and delivery are processes of their own, which die at
//! any point, and now and then the delivery is away while the capture goes on. Answers of the service are lost at will.
//!
//! `DUJIANG_DATAHUB_LOG_KILLS` sets how many kills there are at least (60 by default); `DUJIANG_SEED` repeats a run's choices.

use crate::apart;
use crate::river::{Log, River, Settings};
use crate::support::{number, seed};
use dujiang_scratch::Options;
use dujiang_testkit::datahub::{Datahub, Fault};
use dujiang_testkit::watch::Watcher;
use dujiang_testkit::workload::Plan;
use std::time::Duration;

/// Faults that are in store: two of nine puts meet one.
const FAULTS: usize = 400;

#[test]
fn p07_files_are_the_source_after_kills_with_datahub_between() {
    let wanted = number("DUJIANG_DATAHUB_LOG_KILLS", 60);
    let seed = seed();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let service = runtime.block_on(Datahub::start());
    for _ in 0..FAULTS {
        service.pass(4);
        service.fail([Fault::LoseAnswer]);
        service.pass(3);
        service.fail([Fault::Refuse(500, "InternalServerError")]);
    }
    let plan =
        Plan { seed, facts: 3_000, chains: 1_000, range: 50, pause: Duration::from_millis(5), ..Plan::default() };
    let log = Log::Datahub(service.endpoint());
    let mut river = River::new(
        &Options::default(),
        plan,
        Settings { chunk: 500, interval: "100ms", lanes: 2, log, proxied: false },
    );
    let watcher = Watcher::start(&river.out());
    river.load.start();
    let kills = apart::kill(&river, wanted, seed, |_, _| 0);
    let report = river.settle();
    report.must_be_clean();
    watcher.finish().must_be_clean();
    let records = service.records("river").len();
    eprintln!("{kills} kills, {} images compared, {records} records", report.images);
    assert!(report.images > 5_000, "{report:?}");
}
