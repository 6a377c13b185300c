//! What breaks below the pipeline: a damaged log, a log that was cut off, a disk without space.

use crate::river::{Log, River, Settings};
use crate::support::{Place, reads_as_written};
use dujiang_scratch::{Options, Server};
use dujiang_testkit::power::Disk;
use dujiang_testkit::workload::Plan;
use std::fs;
use std::path::PathBuf;

const MARK: &str = "the row whose bytes are damaged";

/// A pipeline that has caught up with a server, before one more row.
struct Followed {
    place: Place,
    server: Server,
}

impl Followed {
    fn new() -> Self {
        let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(100))").expect("a table");
        let text = format!(
            "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: d.t\n  \
             connect.max-retries: 0\nsink:\n  type: file\n  path: {}\n  format: json\npipeline:\n  name: damage\n",
            server.port(),
            place.path("out").display()
        );
        place.file("p.yaml", &text);
        let followed = Self { place, server };
        followed.run(0);
        followed
    }

    /// Runs until caught up and demands this exit code; returns the log.
    #[track_caller]
    fn run(&self, code: i32) -> String {
        self.place.run(["run", "p.yaml", "--until", "caught-up"]).code(code).err
    }

    /// Runs and demands one error with this code, a place, and a remedy.
    #[track_caller]
    fn halts(&self, code: &str) -> String {
        let log = self.run(65);
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let errors: Vec<_> = lines.filter(|line| line["level"] == "error").collect();
        assert_eq!(errors.len(), 1, "{log}");
        assert_eq!(errors[0]["code"], code, "{log}");
        assert!(errors[0]["help"].as_str().is_some_and(|help| !help.is_empty()), "no remedy: {log}");
        let rendered = errors[0]["rendered"].as_str().unwrap_or_default().to_owned();
        assert!(rendered.contains("bin.0000"), "no place: {log}");
        rendered
    }

    /// The log file that holds the mark, its bytes, and where the mark begins in them.
    fn marked_log(&self) -> (PathBuf, Vec<u8>, usize) {
        let files = fs::read_dir(self.server.data_dir()).expect("the data folder").flatten().map(|entry| entry.path());
        let logs = files.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("bin.0")));
        for path in logs {
            let bytes = fs::read(&path).expect("a log file");
            if let Some(at) = bytes.windows(MARK.len()).rposition(|window| window == MARK.as_bytes()) {
                return (path, bytes, at);
            }
        }
        panic!("no log holds the row");
    }

    fn rows(&self) -> usize {
        let folder = fs::read_dir(self.place.path("out/d.t")).into_iter().flatten().flatten();
        folder.map(|file| fs::read_to_string(file.path()).expect("a file").lines().count()).sum()
    }
}

#[test]
fn a_damaged_event_is_never_taken_for_data() {
    let followed = Followed::new();
    followed.server.sql(&format!("INSERT INTO d.t VALUES (1, '{MARK}'), (2, 'after')")).expect("rows");
    let (path, bytes, at) = followed.marked_log();
    let mut damaged = bytes.clone();
    damaged[at + 4] ^= 1;
    fs::write(&path, damaged).expect("damage the log");
    reads_as_written("E0233", &followed.halts("E0233"), &followed.place);
    assert_eq!(followed.rows(), 0);
    fs::write(&path, bytes).expect("mend the log");
    followed.run(0);
    assert_eq!(followed.rows(), 2);
}

#[test]
fn a_log_that_was_cut_off_is_named() {
    let mut followed = Followed::new();
    followed.server.sql(&format!("INSERT INTO d.t VALUES (1, '{MARK}')")).expect("a row");
    let (path, bytes, at) = followed.marked_log();
    followed.server.sql("FLUSH BINARY LOGS; INSERT INTO d.t VALUES (2, 'after')").expect("another log");
    followed.server.stop().expect("stop");
    fs::write(&path, &bytes[..at + 4]).expect("cut the log");
    followed.server.restart().expect("restart");
    followed.halts("E0233");
    assert_eq!(followed.rows(), 0);
}

/// The disk of the sink is full: the pipeline says so, waits, and goes on when there is space.
#[test]
fn a_full_disk_is_waited_out() {
    let plan = Plan { facts: 2_000, chains: 200, pause: std::time::Duration::from_millis(2), ..Plan::default() };
    let mut river = River::new(
        &Options::default(),
        plan,
        Settings { chunk: 500, interval: "100ms", lanes: 2, log: Log::None, proxied: false },
    );
    let disk = match Disk::mount(river.out().parent().expect("a folder"), 24) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("no disk to fill here: {why}"),
    };
    river.load.start();
    let mut run = river.spawn("", &[]);
    assert!(run.wait_until(|| river.epoch() > 2), "{}", river.log());
    let filler = river.out().parent().expect("a folder").join("filler");
    fill(&filler);
    assert!(run.wait_until(|| river.log().contains("E0502")), "{}", river.log());
    fs::remove_file(&filler).expect("make space");
    let epoch = river.epoch();
    assert!(run.wait_until(|| river.epoch() > epoch + 1), "{}", river.log());
    run.kill();
    river.settle().must_be_clean();
    drop(disk);
}

/// Writes until there is no space left.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a file");
    for size in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
