//! From a committed row to a committed file, on a real server.

use crate::support::{Place, terminate};
use dujiang_scratch::{Options, Server};
use dujiang_testkit::oracle;
use dujiang_testkit::watch::Watcher;
use dujiang_testkit::workload::{Plan, Workload, specs};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// A server under load, and a pipeline file for it.
struct River {
    place: Place,
    server: Server,
    load: Workload,
}

impl River {
    fn new(plan: Plan, pipeline: &str) -> Self {
        let place = Place::new();
        let server = Server::start(&Options::default()).expect("a server");
        let load = Workload::create(&server, plan).expect("the tables of the load");
        let text = format!(
            "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: {}\n  \
             scan.incremental.snapshot.chunk.size: 500\nsink:\n  type: file\n  path: {}\n  format: parquet\npipeline:\n  \
             name: river\n{pipeline}",
            server.port(),
            specs().iter().map(|table| table.name()).collect::<Vec<_>>().join(", "),
            place.path("out").display(),
        );
        place.file("river.yaml", &text);
        Self { place, server, load }
    }

    fn out(&self) -> PathBuf {
        self.place.path("out")
    }

    /// Stops the load, catches up, and asks the oracle.
    fn settle(&mut self) -> oracle::Report {
        self.load.stop();
        self.place.run(["run", "river.yaml", "--until", "caught-up"]).code(0);
        oracle::check(&self.server, &specs(), &self.out()).expect("the oracle")
    }
}

#[test]
fn a_snapshot_under_load_and_the_stream_after_it_are_the_source() {
    let mut river = River::new(Plan::default(), "  parallelism: 2\n  checkpoint.interval: 200ms\n");
    let watcher = Watcher::start(&river.out());
    river.load.start();
    river.place.run(["run", "river.yaml", "--until", "caught-up"]).code(0);
    let initial = river.load.initial_rows();
    let report = river.settle();
    report.must_be_clean();
    assert!(report.reads > initial / 2, "{report:?}, {initial} rows at first");
    assert_eq!(watcher.finish().problems, Vec::<String>::new());
}

#[test]
fn p26_a_stop_at_any_moment_ends_with_0_and_the_next_run_goes_on() {
    let mut river = River::new(Plan::default(), "  checkpoint.interval: 1s\n");
    river.load.start();
    for pause in [5u64, 120, 400, 900, 1500] {
        let mut command = river.place.dujiang();
        let child = command.args(["run", "river.yaml"]).stderr(Stdio::piped()).spawn().expect("run dujiang");
        // tidy: allow(sleep): the moment of the stop is what is varied
        std::thread::sleep(Duration::from_millis(pause));
        terminate(&child);
        let ended = child.wait_with_output().expect("wait for dujiang");
        // Before its handlers are in place the signal's default action ends the process; it has not said or touched
        // anything then.
        let untouched = ended.stderr.is_empty() && ended.status.code().is_none();
        assert!(ended.status.code() == Some(0) || untouched, "{pause}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    river.settle().must_be_clean();
}

#[test]
fn until_snapshot_ends_by_itself_and_the_log_says_what_was_done() {
    let mut river = River::new(Plan::default(), "");
    let ended = river.place.run(["run", "river.yaml", "--until", "snapshot"]).code(0);
    let log = ended.log();
    let last = log.last().expect("a log");
    assert_eq!(last["rows_out"].as_u64(), Some(river.load.initial_rows()), "{last}");
    assert!(
        log.iter().all(|line| line["pipeline"] == "river" && line["time"].as_str().is_some_and(|t| t.ends_with('Z')))
    );
    river.settle().must_be_clean();
}

#[test]
fn the_demo_plays_for_real_and_leaves_nothing_running() {
    let place = Place::new();
    let ended = place.run(["demo", "--seconds", "8", "--keep", "kept"]).code(0);
    assert!(ended.out.contains("a private copy listens on"), "{}", ended.out);
    let orders = place.path("kept/lake/shop.orders");
    let files = std::fs::read_dir(&orders).expect("the folder of a table").count();
    assert!(files >= 2, "{files} files in {}", orders.display());
    assert!(ended.err.contains("ALTER TABLE"), "the shop never changed a table: {}", ended.err);
    let pid = std::fs::read_to_string(place.path("kept/server/server.pid"));
    let alive = pid.is_ok_and(|pid| std::path::Path::new("/proc").join(pid.trim()).exists());
    assert!(!alive, "the private server still runs");
    place.run(["demo", "--seconds", "1", "--keep", "kept"]).code(2);
}

#[test]
fn the_generator_needs_no_database() {
    let place = Place::new();
    let generated =
        "source:\n  type: generator\n  rows: 20000\n  rate: 0\nsink:\n  type: file\n  path: out\n  format: json\n";
    place.file("generated.yaml", generated);
    let ended = place.run(["run", "generated.yaml"]).code(0);
    let log = ended.log();
    let last = log.last().expect("a line");
    assert!(last["rows_out"].as_u64().is_some_and(|rows| rows >= 20_000), "{}", ended.err);
    // Files are finished when the epoch ends, and the last one is told too.
    let written = |path: &str| -> (u64, u64) {
        let tables = std::fs::read_dir(place.path(path)).expect("the sink's folder").flatten();
        let tables = tables.filter(|table| table.file_name() != ".dujiang");
        let files = tables.flat_map(|table| std::fs::read_dir(table.path()).expect("a table's folder").flatten());
        files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.metadata().expect("a file").len()))
    };
    let told = |last: &serde_json::Value| (last["files"].as_u64().unwrap(), last["bytes"].as_u64().unwrap());
    assert_eq!(told(last), written("out"), "{last}");
    let parquet =
        "source:\n  type: generator\n  rows: 500\n  rate: 0\n  initial-rows: 500\nsink:\n  type: file\n  path: lake\n";
    place.file("lake.yaml", parquet);
    let log = place.run(["run", "lake.yaml", "--until", "snapshot"]).code(0).log();
    let last = log.last().expect("a line");
    assert!(told(last).0 > 0, "{last}");
    assert_eq!(told(last), written("lake"), "{last}");
}

/// Property: every start tells once how long it took until it was reading, whatever the pipeline and its state.
#[test]
fn p33_every_start_is_timed() {
    for case in 0u64..100 {
        let place = Place::new();
        let sink = ["type: blackhole", "type: file\n  path: out\n  format: csv"][case as usize % 2];
        let text = format!(
            "source:\n  type: generator\n  seed: {case}\n  rate: 0\n  rows: {}\n  initial-rows: {}\nsink:\n  {sink}\npipeline:\n  \
             parallelism: {}\n",
            50 + case * 7,
            1 + case % 40,
            1 + case % 3
        );
        place.file("start.yaml", &text);
        // The second run of a file sink goes on from a state, the second of a blackhole as well.
        for _ in 0..1 + case % 2 {
            let log = place.run(["run", "start.yaml"]).code(0).log();
            let timed: Vec<_> = log.iter().filter(|line| line["message"] == "recovery is complete, reading").collect();
            assert_eq!(timed.len(), 1, "{log:?}");
            assert!(timed[0]["duration_ms"].is_u64(), "{}", timed[0]);
        }
    }
}
