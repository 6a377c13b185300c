//! A log between source and sinks, through the real binary.

use crate::river::Run;
use crate::support::{Place, terminate};
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, Datahub, PROJECT};
use dujiang_testkit::proxy::Proxy;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn source(rows: u64) -> String {
    format!("source:\n  type: generator\n  rate: 0\n  initial-rows: 50\n  alter-after: 60\n  rows: {rows}\n")
}

const LOG: &str = "log:\n  type: embedded\n  path: log\n  segment.size: 64kb\n  max-bytes: 100mb\n";

fn files(path: &str) -> String {
    format!("  type: file\n  path: {path}\n  format: json\n")
}

/// The rows of a file sink by table, in order, without what differs from run to run.
fn rows(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for table in list(folder).into_iter().filter(|path| !path.ends_with(".dujiang")) {
        let name = table.file_name().expect("a name").to_string_lossy().into_owned();
        for file in list(&table) {
            for line in std::fs::read_to_string(file).expect("a file").lines() {
                let mut row: Value = serde_json::from_str(line).expect("a row");
                let columns = row.as_object_mut().expect("an object");
                let id = columns.remove("__event_id").expect("an id");
                let (_, id) = id.as_str().expect("a text").split_once('/').expect("a lineage, then the rest");
                let id = id.to_owned();
                // The shop's clock begins with its first start.
                columns.retain(|name, _| !name.ends_with("_at") && name != "__commit_time");
                tables.entry(name.clone()).or_default().push(format!("{id} {row}"));
            }
        }
    }
    tables
}

/// The source ends with a transaction, a little after the rows it is asked for.
fn count(tables: &BTreeMap<String, Vec<String>>) -> usize {
    tables.values().map(Vec::len).sum()
}

fn lineages(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for table in std::fs::read_dir(folder).expect("a folder") {
        for file in std::fs::read_dir(table.expect("an entry").path()).expect("a folder") {
            let file = file.expect("an entry").path();
            if file.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(file).expect("a file");
                let row: Value = serde_json::from_str(text.lines().next().expect("a row")).expect("a row");
                let id = row["__event_id"].as_str().expect("an id").to_owned();
                found.push(id.split('/').next().expect("a lineage").to_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn p06_a_log_changes_nothing_but_the_pace() {
    let place = Place::new();
    place.file("plain.yaml", &format!("{}sink:\n{}", source(6000), files("plain")));
    place.run(["run", "plain.yaml"]).code(0);
    place.file("logged.yaml", &format!("{}{LOG}sink:\n{}", source(6000), files("logged")));
    let log = place.run(["run", "logged.yaml"]).code(0).log();
    let plain = rows(&place.path("plain"));
    assert!(count(&plain) >= 6000);
    assert_eq!(rows(&place.path("logged")), plain, "{log:?}");
    assert_eq!(lineages(&place.path("logged")).len(), 1, "ids keep the lineage under which they were captured");
    // Another start meets the end of the source again, and changes nothing.
    place.run(["run", "logged.yaml"]).code(0);
    assert_eq!(rows(&place.path("logged")), plain);
}

#[test]
fn several_sinks_and_further_files_read_one_log() {
    let place = Place::new();
    let sinks = format!(
        "sinks:\n  - name: one\n  {}  - name: two\n  {}",
        files("one").replace("\n  ", "\n    "),
        files("two").replace("\n  ", "\n    ")
    );
    let sinks = sinks.trim_end().to_owned() + "\n";
    let file = |rows| format!("{}{LOG}{sinks}pipeline:\n  name: shop\n", source(rows));
    place.file("shop.yaml", &file(3000));
    place.file("third.yaml", &format!("source:\n  type: log\n  path: log\nsink:\n{}", files("third")));
    place.run(["run", "shop.yaml", "third.yaml"]).code(0);
    let one = rows(&place.path("one"));
    assert!(count(&one) >= 3000);
    assert_eq!((rows(&place.path("two")), rows(&place.path("third"))), (one.clone(), one));
    let (of_one, of_third) = (lineages(&place.path("one")), lineages(&place.path("third")));
    assert_eq!(of_one, of_third, "equal changes have equal ids in every sink");
    // The third reads on alone, in a process of its own.
    place.file("shop.yaml", &file(5000));
    place.run(["run", "shop.yaml"]).code(0);
    assert!(count(&rows(&place.path("third"))) < 5000);
    place.run(["run", "third.yaml", "--until", "caught-up"]).code(0);
    assert_eq!(rows(&place.path("third")), rows(&place.path("one")));
}

/// P06 for a log elsewhere: two sinks and a further file read it, each gets what a pipeline without a log gets; and it can be looked
/// into. `log` is the block of the one, `reader` the source of the other.
fn only_the_pace_changes(place: &Place, log: &str, reader: &str) {
    place.file("plain.yaml", &format!("{}sink:\n{}", source(4000), files("plain")));
    place.run(["run", "plain.yaml"]).code(0);
    let sink = |name: &str| format!("  - name: {name}\n  {}", files(name).replace("\n  ", "\n    "));
    let sinks = format!("sinks:\n{}{}", sink("one").trim_end_matches(' '), sink("two").trim_end_matches(' '));
    let file = |rows| format!("{}{log}{sinks}pipeline:\n  name: shop\n", source(rows));
    place.file("shop.yaml", &file(4000));
    place.file("third.yaml", &format!("{reader}sink:\n{}", files("third")));
    let said = place.run(["doctor", "shop.yaml"]).code(0);
    assert!(said.out.contains("by the first run"), "{}", said.out);
    place.run(["plan", "third.yaml"]).code(0);
    assert_eq!(place.run(["log", "ls", "shop.yaml"]).code(78).err.matches("E0803").count(), 1);
    place.run(["run", "shop.yaml", "third.yaml"]).code(0);
    let plain = rows(&place.path("plain"));
    for name in ["one", "two", "third"] {
        assert_eq!(rows(&place.path(name)), plain, "{name}");
    }
    // Another start meets the end of the source again; the third reads on alone, in a process of its own.
    place.file("shop.yaml", &file(5000));
    place.run(["run", "shop.yaml"]).code(0);
    assert!(count(&rows(&place.path("third"))) < 5000);
    place.run(["run", "third.yaml", "--until", "caught-up"]).code(0);
    assert_eq!(rows(&place.path("third")), rows(&place.path("one")));
    let summary = place.run(["log", "ls", "third.yaml", "-o", "json"]).code(0).out;
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!((summary["pipeline"].as_str(), summary["first"].as_u64()), (Some("shop"), Some(0)), "{summary}");
    let lines = place.run(["log", "cat", "shop.yaml", "--table", "shop.orders"]).code(0).out;
    assert!(!lines.is_empty() && lines.lines().all(|line| line.contains("shop.orders")));
    let end = summary["end"].as_u64().expect("a number");
    let last = place.run(["log", "cat", "shop.yaml", "--from", &format!("offset:{}", end - 1)]).code(0).out;
    assert!(last.contains("\"milestone\":\"end\""), "{last}");
    assert_eq!(place.run(["log", "seek", "shop.yaml", "2100-01-01T00:00:00Z"]).code(0).out.trim(), end.to_string());
    place.run(["log", "verify", "shop.yaml"]).code(0);
    place.run(["doctor", "shop.yaml", "third.yaml"]).code(0);
}

#[test]
fn p06_a_log_in_kafka_changes_nothing_but_the_pace() {
    let kafka = dujiang_scratch::Kafka::start().expect("a broker");
    let place = Place::new();
    let brokers = format!("  properties.bootstrap.servers: {}\n", kafka.bootstrap());
    let log = format!("log:\n  type: kafka\n{brokers}  topic.partitions: 3\n  commit.interval: 100ms\n");
    only_the_pace_changes(
        &place,
        &log,
        &format!("source:\n  type: kafka-log\n{brokers}  topic.prefix: dujiang-log-shop\n"),
    );
    assert!(place.run(["log", "ls", "shop.yaml"]).code(0).out.contains("dujiang-log-shop.shop.orders 2"));
    assert!(place.run(["log", "forget", "shop.yaml", "one"]).err.contains("kafka-consumer-groups"));
}

#[test]
fn p06_a_log_in_datahub_changes_nothing_but_the_pace() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let service = runtime.block_on(Datahub::start());
    let place = Place::new();
    let hub = format!(
        "  endpoint: {}\n  project: {PROJECT}\n  topic: shop_log\n  access-id: {ACCESS_ID}\n  access-key: {ACCESS_KEY}\n  \
         poll.interval: 20ms\n",
        service.endpoint()
    );
    let log = format!("log:\n  type: datahub\n{hub}  commit.interval: 100ms\n");
    only_the_pace_changes(&place, &log, &format!("source:\n  type: datahub-log\n{hub}"));
    assert!(place.run(["log", "ls", "shop.yaml"]).code(0).out.contains("shop_log"));
    assert_eq!(service.violations(), Vec::<String>::new());
}

/// What a start says that waits for its source.
const WAITS: &str = "the source is asked again until it answers";

/// A delivery that is started while nobody answers says so and waits, ends at once when it is stopped, and begins as soon as
/// somebody answers. `log` and `reader` as above; `away` lets the service go, or come back.
fn deliveries_wait_for_a_log(place: &Place, log: &str, reader: &str, mut away: impl FnMut(bool)) {
    place.file("shop.yaml", &format!("{}{log}sink:\n{}pipeline:\n  name: shop\n", source(1000), files("one")));
    place.run(["run", "shop.yaml"]).code(0);
    let start = |name: &str| {
        let rest = "pipeline:\n  retry.pause: 100ms\n";
        let file = place.file(&format!("{name}.yaml"), &format!("{reader}sink:\n{}{rest}", files(name)));
        let mut command = place.dujiang();
        command.arg("run").arg(file).args(["--until", "caught-up"]);
        Run::start(command, place.path(&format!("{name}.log")), "")
    };
    away(true);
    let (mut stopped, mut waiting) = (start("stopped"), start("third"));
    for (run, log) in [(&mut stopped, "stopped.log"), (&mut waiting, "third.log")] {
        let log = place.path(log);
        let says = || std::fs::read_to_string(&log).unwrap_or_default().contains(WAITS);
        assert!(run.wait_until(says), "it has ended:\n{}", run.logged());
    }
    stopped.terminate();
    assert!(stopped.wait().success());
    let said = std::fs::read_to_string(place.path("stopped.log")).expect("a log");
    assert!(said.contains("stopped as asked") && !said.contains("the stop waits for"), "{said}");
    away(false);
    assert!(waiting.wait().success());
    let said = std::fs::read_to_string(place.path("third.log")).expect("a log");
    assert!(said.contains("\"recovered\""), "{said}");
    assert_eq!(rows(&place.path("third")), rows(&place.path("one")));
}

#[test]
fn a_delivery_waits_for_kafka() {
    let mut kafka = dujiang_scratch::Kafka::start().expect("a broker");
    let place = Place::new();
    let brokers = format!("  properties.bootstrap.servers: {}\n", kafka.bootstrap());
    let log = format!("log:\n  type: kafka\n{brokers}  topic.partitions: 1\n  commit.interval: 100ms\n");
    let reader = format!("source:\n  type: kafka-log\n{brokers}  topic.prefix: dujiang-log-shop\n");
    deliveries_wait_for_a_log(&place, &log, &reader, |away| match away {
        true => kafka.kill9(),
        false => kafka.restart().expect("the broker again"),
    });
}

#[test]
fn a_delivery_waits_for_datahub() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let service = runtime.block_on(Datahub::start());
    let endpoint = service.endpoint();
    let (_, port) = endpoint.rsplit_once(':').expect("a port");
    let proxy = Proxy::to_port(port.parse().expect("a port")).expect("a proxy");
    let place = Place::new();
    let hub = format!(
        "  endpoint: http://127.0.0.1:{}\n  project: {PROJECT}\n  topic: shop_log\n  access-id: {ACCESS_ID}\n  \
         access-key: {ACCESS_KEY}\n  poll.interval: 20ms\n",
        proxy.port()
    );
    let log = format!("log:\n  type: datahub\n{hub}  commit.interval: 100ms\n");
    deliveries_wait_for_a_log(&place, &log, &format!("source:\n  type: datahub-log\n{hub}"), |away| {
        proxy.refuse(away);
        proxy.cut();
    });
    assert_eq!(service.violations(), Vec::<String>::new());
}

#[test]
fn a_log_is_looked_at_and_begun_anywhere() {
    let place = Place::new();
    place.file("p.yaml", &format!("{}{LOG}sink:\n{}", source(2000), files("out")));
    place.run(["run", "p.yaml"]).code(0);
    let summary = place.run(["log", "ls", "p.yaml", "-o", "json"]).code(0).out;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let end = summary["end"].as_u64().unwrap();
    assert_eq!((summary["first"].as_u64(), summary["consumers"][0]["offset"].as_u64()), (Some(0), Some(end)));
    assert!(place.run(["log", "ls", "log"]).code(0).out.contains("last commit  epoch "));
    let lines = place.run(["log", "cat", "p.yaml"]).code(0).out;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let images = lines.iter().filter(|line| line.get("row").is_some()).count();
    assert!(images >= 2000, "{images}");
    assert!(lines.iter().any(|line| line["milestone"] == "snapshot-done"));
    assert!(lines.iter().any(|line| line["statement"].as_str().is_some_and(|s| s.starts_with("ALTER"))));
    let orders = place.run(["log", "cat", "p.yaml", "--table", "shop.orders", "--count", "50"]).code(0).out;
    assert!(orders.lines().all(|line| line.contains("shop.orders")) && !orders.is_empty());
    place.run(["log", "verify", "p.yaml"]).code(0);
    let first = place.run(["log", "seek", "p.yaml", "0"]).code(0).out;
    assert!(first.trim().parse::<u64>().unwrap() <= 6, "{first}");
    assert_eq!(place.run(["log", "seek", "p.yaml", "2100-01-01T00:00:00Z"]).code(0).out.trim(), end.to_string());
    // A new consumer begins in the middle, with the shapes of that place.
    let middle = end / 2;
    for (name, start, least) in [("a", format!("offset:{middle}"), 1), ("b", "latest".to_owned(), 0)] {
        let text = format!("source:\n  type: log\n  path: log\n  start: {start}\nsink:\n  type: values\n");
        place.file(&format!("{name}.yaml"), &text);
        let out = place.run(["run", &format!("{name}.yaml"), "--until", "caught-up"]).code(0).out;
        let changes = out.lines().filter(|line| line.starts_with("DataChangeEvent")).count();
        assert!(changes >= least && changes < 2000, "{name}: {changes}");
    }
    place.run(["log", "forget", "p.yaml", "a"]).code(0);
    let told = place.run(["log", "forget", "p.yaml", "nobody"]).code(78).err;
    assert!(told.contains("help: `dujiang log ls FILE` lists"), "{told}");
    assert!(!place.run(["log", "ls", "log"]).code(0).out.contains("\na  "));
}

#[test]
fn damage_is_found_and_delivery_stops_before_it() {
    let place = Place::new();
    place.file("p.yaml", &format!("{}{LOG}sink:\n{}", source(4000), files("out")));
    place.run(["run", "p.yaml"]).code(0);
    let segment = place.path("log/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let found = place.run(["log", "verify", "p.yaml"]).code(1);
    assert!(found.err.contains("E0800") && found.err.contains("00000000000000000000.seg"), "{}", found.err);
    place.file("q.yaml", "source:\n  type: log\n  path: log\nsink:\n  type: values\n");
    let stopped = place.run(["run", "q.yaml", "--until", "caught-up"]).code(65);
    assert!(stopped.err.contains("E0800") && stopped.out.contains("DataChangeEvent"), "{}", stopped.err);
}

/// P26 for a delivery that has read before and whose log is gone: it waits for the log, and the first signal ends it.
#[test]
fn p26_a_delivery_without_its_log_can_be_stopped() {
    let place = Place::new();
    place.file("p.yaml", &format!("{}{LOG}sink:\n  type: values\n", source(500)));
    place.run(["run", "p.yaml"]).code(0);
    place.file("q.yaml", &format!("source:\n  type: log\n  path: log\nsink:\n{}", files("out")));
    place.run(["run", "q.yaml", "--until", "caught-up"]).code(0);
    std::fs::rename(place.path("log"), place.path("elsewhere")).unwrap();
    let mut child = place.dujiang().args(["run", "q.yaml"]).stderr(Stdio::piped()).spawn().expect("run dujiang");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map(|line| line.expect("a line"));
    let acquired = lines.find(|line| line.contains("state acquired"));
    assert!(acquired.is_some(), "it has ended by itself");
    terminate(&child);
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("kill");
            panic!("it ignores the signal: {:?}", lines.collect::<Vec<_>>());
        }
        std::thread::yield_now();
    };
    assert!(status.success(), "{:?}", lines.collect::<Vec<_>>());
    // Once the log is back, the delivery goes on.
    std::fs::rename(place.path("elsewhere"), place.path("log")).unwrap();
    place.run(["run", "q.yaml", "--until", "caught-up"]).code(0);
}

#[test]
fn mistakes_about_logs_are_explained() {
    let place = Place::new();
    let check = |text: &str| {
        place.file("p.yaml", text);
        let ended = place.run(["check", "p.yaml"]).code(1);
        ended.out + &ended.err
    };
    let values = "sinks:\n  - name: a\n    type: values\n  - name: a\n    type: values\n";
    let err = check(&format!("{}{values}", source(1)));
    assert!(err.contains("`sinks` needs a log") && err.contains("two sinks are called `a`"), "{err}");
    let err = check(&format!("{}{LOG}sink:\n  type: values\nsinks:\n  - type: values\n", source(1)));
    assert!(err.contains("cannot both be given") && err.contains("has no `name`"), "{err}");
    let err = check(&format!("{}log:\n  type: embeded\n  path: x\nsink:\n  type: values\n", source(1)));
    assert!(err.contains("did you mean `embedded`?"), "{err}");
    let err = check(&format!("{}log:\n  type: embedded\n  max-bytes: 1mb\nsink:\n  type: values\n", source(1)));
    assert!(err.contains("`path` is missing"), "{err}");
    place.file("p.yaml", &format!("{}{LOG}sink:\n  type: values\n", source(1)));
    let shown = place.run(["config", "show", "p.yaml"]);
    assert!(shown.out.contains("log.segment.size"), "{} {}", shown.out, shown.err);
    place.run(["log", "ls", "p.yaml"]).code(78);
}

/// A small disk for the sink; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let disk = Self(folder);
        disk.run(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        disk
    }

    fn grow(&self, size: &str) {
        self.run(&["-o", &format!("remount,size={size}")]);
    }

    fn run(&self, arguments: &[&str]) {
        let status = Command::new("mount").args(arguments).arg(&self.0).status().expect("mount");
        assert!(status.success(), "the test needs the right to mount: {arguments:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// End of the log, and the offset of its one delivery.
fn progress(place: &Place) -> (u64, u64) {
    let ended = place.run(["log", "ls", "log", "-o", "json"]);
    let summary: Value = serde_json::from_str(&ended.out).unwrap_or_default();
    let offset = summary["consumers"][0]["offset"].as_u64().unwrap_or(0);
    (summary["end"].as_u64().unwrap_or(0), offset)
}

#[test]
fn capture_goes_on_while_the_sink_is_full_and_nothing_is_lost() {
    let place = Place::new();
    let disk = SmallDisk::mount(place.path("out"), "400k");
    let shop = "source:\n  type: generator\n  rate: 4000\n  initial-rows: 50\n";
    let log = "log:\n  type: embedded\n  path: log\n  commit.interval: 100ms\n";
    let rest = "pipeline:\n  checkpoint.interval: 200ms\n  retry.pause: 200ms\n";
    place.file("p.yaml", &format!("{shop}{log}sink:\n{}{rest}", files("out/files")));
    let mut child = place.dujiang().args(["run", "p.yaml"]).stderr(Stdio::piped()).spawn().expect("run dujiang");
    let stderr = child.stderr.take().expect("a pipe");
    let lines = std::thread::spawn(move || std::io::read_to_string(stderr).expect("the log in UTF-8"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut wait = |until: &mut dyn FnMut() -> bool| {
        while !until() {
            assert!(child.try_wait().expect("a child").is_none(), "it has ended by itself");
            assert!(Instant::now() < deadline, "nothing happens: {:?}", progress(&place));
        }
    };
    // The delivery stands still while the log grows.
    let (mut stuck_at, mut grown_since) = (u64::MAX, 0);
    wait(&mut || {
        let (end, offset) = progress(&place);
        if offset != stuck_at {
            (stuck_at, grown_since) = (offset, end);
        }
        offset > 0 && end > grown_since + 3000
    });
    let said = place.run(["doctor", "p.yaml"]).code(1).out;
    assert!(said.contains("has only") && said.contains("E0502, p.yaml"), "{said}");
    disk.grow("500m");
    wait(&mut || progress(&place).1 > stuck_at + 100);
    terminate(&child);
    let status = child.wait().expect("the end");
    let lines = lines.join().expect("the log");
    assert!(status.success(), "{lines}");
    assert!(lines.contains("E0502") && lines.contains("\"recovered\""), "it says what it waits for: {lines}");
    place.run(["run", "p.yaml", "--until", "caught-up"]).code(0);
    let logged = place.run(["log", "cat", "p.yaml"]).code(0).out;
    let after = logged.lines().filter(|line| line.contains("\"row\":") && !line.contains("\"image\":\"before\""));
    assert_eq!(count(&rows(&place.path("out/files"))), after.count());
}
