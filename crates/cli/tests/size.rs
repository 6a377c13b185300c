//! Memory stays bounded whatever the table, the row or the transaction: the whole process is measured.

use crate::support::{Ended, Place};
use dujiang_scratch::{Options, Server};
use dujiang_testkit::oracle::python;
use std::process::Command;

const MIB: u64 = 1 << 20;
/// What a pipeline may take at default settings.
const BOUND: u64 = 256 * MIB;

/// Runs a command to its end and adds a line with its peak memory in KiB, as the system counted it.
const MEASURE: &str = "import resource, subprocess, sys\n\
    code = subprocess.run(sys.argv[1:]).returncode\n\
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
    sys.exit(code)";

/// A server with a database `big`, and a pipeline of its tables into Parquet files. Most of them are MyISAM's: what is measured is not how
/// fast the server fills them.
struct Big {
    place: Place,
    server: Server,
}

/// What a measured run did.
struct Measured {
    rows: u64,
    peak: u64,
}

impl Big {
    fn new() -> Self {
        let server = Server::start(&Options::default()).expect("a server");
        server.sql("CREATE DATABASE big").expect("a database");
        Self { place: Place::new(), server }
    }

    fn sql(&self, statements: &str) {
        self.server.sql(&format!("USE big; {statements}")).expect("the server takes it");
    }

    /// One checkpoint at the end: everything of a run is open at once.
    fn pipeline(&self) {
        let text = format!(
            "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: big.\\.*\n\
             sink:\n  type: file\n  path: {}\n  format: parquet\npipeline:\n  name: big\n  checkpoint.interval: 10min\n",
            self.server.port(),
            self.place.path("out").display(),
        );
        self.place.file("big.yaml", &text);
    }

    /// Runs until it has caught up.
    fn run(&self) -> Measured {
        let dujiang = self.place.dujiang();
        let mut measured = Command::new(python());
        measured.args(["-c", MEASURE]).arg(dujiang.get_program()).args(["run", "big.yaml", "--until", "caught-up"]);
        measured.current_dir(self.place.path("")).env("XDG_STATE_HOME", self.place.path("state"));
        let ended = Ended::of(measured.output().expect("Python")).code(0);
        let peak = ended.out.lines().last().and_then(|line| line.parse::<u64>().ok()).expect("a peak") * 1024;
        let log = ended.log();
        let rows = log.iter().rev().find_map(|line| line["rows_out"].as_u64()).expect("a number of rows");
        println!("{rows} rows, peak {} MiB", peak / MIB);
        Measured { rows, peak }
    }

    /// As [`Big::run`], for what the binlog has since the pipeline stopped.
    #[track_caller]
    fn streams(&self, rows: u64, bound: u64) {
        let measured = self.run();
        assert_eq!(measured.rows, rows);
        assert!(measured.peak <= bound, "peak {} MiB", measured.peak / MIB);
    }
}

#[test]
fn one_transaction_of_200_mb_streams_through() {
    let big = Big::new();
    big.sql("CREATE TABLE big.t (id BIGINT PRIMARY KEY, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL) ENGINE = MyISAM");
    big.pipeline();
    big.run();
    big.sql("INSERT INTO big.t SELECT seq, MD5(seq), REPEAT('x', 60) FROM seq_1_to_1100000");
    big.streams(1_100_000, BOUND);
}

#[test]
fn a_thousand_tables_are_open_at_once() {
    let big = Big::new();
    let columns =
        "id BIGINT PRIMARY KEY, a INT, b VARCHAR(40), c DATETIME(6), d DECIMAL(12,2), e BIGINT, f INT, g VARCHAR(20)";
    let create: Vec<_> = (0..1000).map(|n| format!("CREATE TABLE big.t{n} ({columns}) ENGINE = MyISAM")).collect();
    big.sql(&create.join("; "));
    big.pipeline();
    big.run();
    let range = |round: usize| format!("seq_{}_to_{}", 20 * round + 1, 20 * round + 20);
    let values = "seq, seq * 7, CONCAT('value ', seq), NOW(6), seq / 4, seq * 3, seq, 'the same'";
    let insert: Vec<_> =
        (0..3000).map(|n| format!("INSERT INTO big.t{} SELECT {values} FROM {}", n % 1000, range(n / 1000))).collect();
    big.sql(&insert.join("; "));
    big.streams(60_000, BOUND);
}

#[test]
fn a_table_has_two_thousand_columns() {
    let big = Big::new();
    let columns: Vec<_> = (0..2000).map(|n| format!("c{n} INT")).collect();
    big.sql(&format!("CREATE TABLE big.wide (id INT PRIMARY KEY, {}) ENGINE = MyISAM", columns.join(", ")));
    big.pipeline();
    big.run();
    let values: Vec<_> = (0..2000).map(|n| format!("seq * {n}")).collect();
    big.sql(&format!("INSERT INTO big.wide SELECT seq, {} FROM seq_1_to_4000", values.join(", ")));
    big.streams(4000, BOUND);
}

#[test]
fn a_row_has_64_mib() {
    let big = Big::new();
    big.sql("CREATE TABLE big.t (id INT PRIMARY KEY, doc LONGBLOB NOT NULL) ENGINE = MyISAM");
    big.pipeline();
    // Nothing compresses it.
    let insert = "SET SESSION group_concat_max_len = 1048576; \
        INSERT INTO big.t SELECT ID, REPEAT((SELECT GROUP_CONCAT(RANDOM_BYTES(1024) SEPARATOR '') FROM seq_1_to_1024), 64)";
    big.sql(&insert.replace("ID", "1"));
    // Once by the snapshot, once by the stream.
    big.streams(1, 6 * 64 * MIB);
    big.sql(&insert.replace("ID", "2"));
    big.streams(1, 6 * 64 * MIB);
}

#[test]
fn a_million_rows_of_a_skewed_key_are_read() {
    let big = Big::new();
    // Nearly all rows in a thousandth of the keys' range, and a few behind it.
    big.sql(
        "CREATE TABLE big.t (id BIGINT PRIMARY KEY, v VARCHAR(60) NOT NULL); \
         INSERT INTO big.t SELECT IF(seq % 100000 = 0, seq * 1000000000, seq), CONCAT('value ', seq) FROM seq_1_to_1000000",
    );
    big.pipeline();
    big.streams(1_000_000, BOUND);
}
