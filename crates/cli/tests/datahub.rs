//! The real binary and a service that speaks DataHub's protocol.

use crate::river::Run;
use crate::support::Place;
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, Datahub, Fault, PROJECT};
use std::collections::{BTreeMap, HashSet};
use std::process::Stdio;
use std::time::Duration;

const TABLES: [&str; 2] = ["customers", "orders"];

fn pipeline(place: &Place, service: &Datahub) {
    let text = format!(
        "source:\n  type: generator\n  rows: 6000\n  rate: 0\n  seed: 7\n  initial-rows: 300\n  alter-after: 200\n  tables: {}\n\
         sink:\n  type: datahub\n  endpoint: {}\n  project: {PROJECT}\n  access-id: {ACCESS_ID}\n  access-key: {ACCESS_KEY}\n  \
         request.max-records: 50\npipeline:\n  name: river\n  parallelism: 2\n  checkpoint.interval: 100ms\n",
        TABLES.join(","),
        service.endpoint(),
    );
    place.file("river.yaml", &text);
}

/// For each key of each table what a consumer sees that leaves out event ids it has seen: the operations, in order.
fn told(service: &Datahub) -> BTreeMap<(&'static str, String), Vec<String>> {
    let (mut seen, mut out) = (HashSet::new(), BTreeMap::<_, Vec<String>>::new());
    for table in TABLES {
        for record in service.records(table) {
            let key = record.values[0].clone().expect("a key");
            if seen.insert(record.attribute("dujiang.event-id").to_owned()) {
                out.entry((table, key)).or_default().push(record.attribute("dujiang.op").to_owned());
            }
        }
    }
    out
}

#[test]
fn p35_a_killed_pipeline_loses_nothing_and_repeats_with_equal_event_ids() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (straight, killed) = runtime.block_on(async { (Datahub::start().await, Datahub::start().await) });

    let place = Place::new();
    pipeline(&place, &straight);
    place.run(["run", "river.yaml"]).code(0);
    let expected = told(&straight);
    assert!(expected.values().flatten().count() > 3_000, "{}", expected.len());
    assert_eq!(straight.violations(), Vec::<String>::new());
    let fields = straight.fields("customers").len();

    let place = Place::new();
    pipeline(&place, &killed);
    for puts in [10, 40] {
        let mut child = place.dujiang().args(["run", "river.yaml"]).stderr(Stdio::null()).spawn().expect("run dujiang");
        let waited = Duration::from_secs(60);
        runtime.block_on(async { tokio::time::timeout(waited, killed.had(puts)).await.expect("requests come") });
        child.kill().expect("kill -9");
        child.wait().expect("it is gone");
    }
    place.run(["run", "river.yaml"]).code(0);
    assert_eq!(told(&killed), expected);
    assert_eq!(killed.fields("customers").len(), fields, "a field is appended once");
    assert_eq!(killed.violations(), Vec::<String>::new());
}

fn from_datahub(place: &Place, service: &Datahub, protocol: &str) {
    let text = format!(
        "source:\n  type: datahub\n  endpoint: {}\n  project: {PROJECT}\n  topic: orders\n  key: id\n  access-id: {ACCESS_ID}\n  \
         access-key: {ACCESS_KEY}\n  protocol: {protocol}\n  request.max-records: 40\n  scan.shard-discovery.interval: 50ms\n\
         sink:\n  type: file\n  path: out\n  format: json\npipeline:\n  name: back\n  checkpoint.interval: 50ms\n",
        service.endpoint(),
    );
    place.file("back.yaml", &text);
}

/// The ids in the files, sorted.
fn ids_in_files(place: &Place) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut folders = vec![place.path("out")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(path).expect("a file");
                let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["id"].as_i64();
                ids.extend(text.lines().filter_map(row));
            }
        }
    }
    ids.sort_unstable();
    ids
}

/// Points of the epoch protocol at which a run is killed.
const POINTS: [&str; 6] = [
    "epoch.prepare",
    "epoch.before-publish",
    "epoch.after-publish",
    "epoch.commit",
    "epoch.after-commit",
    "recovery.committed",
];

#[test]
fn p01_records_of_datahub_come_into_files_once_each_through_kills() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    for protocol in ["protobuf", "batch"] {
        let service = runtime.block_on(Datahub::start());
        service.make_topic("orders", &[("id", "BIGINT"), ("text", "STRING")], 2);
        service.open("orders");
        let place = Place::new();
        from_datahub(&place, &service, protocol);
        let mut ids = 0..;
        for (round, point) in POINTS.iter().enumerate() {
            service.open("orders");
            let active = service.active("orders");
            for id in ids.by_ref().take(150) {
                let shard = active[id as usize % active.len()];
                service.put("orders", shard, &[Some(&id.to_string()), Some("text")], &[]);
            }
            match round % 3 {
                1 => service.split("orders", active[0]),
                2 => service.merge("orders", active[0], active[1]),
                _ => {}
            }
            let mut command = place.dujiang();
            command.args(["run", "back.yaml"]);
            let run = Run::start(command, place.path("run.log"), &format!("{point}@1"));
            let ended = run.wait();
            assert!(
                !ended.success(),
                "{point}: {}",
                std::fs::read_to_string(place.path("run.log")).unwrap_or_default()
            );
        }
        service.open("orders");
        place.run(["run", "back.yaml", "--until", "caught-up"]).code(0);
        assert_eq!(ids_in_files(&place), (0..900).collect::<Vec<_>>(), "{protocol}");
        assert_eq!(service.violations(), Vec::<String>::new());
    }
}

/// P04: a publish that fails is tried again as often as said, then the error policy has its way; nothing is dropped and no key's
/// changes change their order.
#[test]
fn p04_a_publish_that_fails_is_tried_again_and_then_the_error_policy_decides() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let begin = |policy: &str| {
        let service = runtime.block_on(Datahub::start());
        let place = Place::new();
        pipeline(&place, &service);
        let text = std::fs::read_to_string(place.path("river.yaml")).expect("the file");
        let text = text.replace("rows: 6000", "rows: 600").replace("parallelism: 2", "parallelism: 1");
        place.file("river.yaml", &format!("{text}  retry.pause: 1ms\n  error.policy: {policy}\n"));
        (service, place)
    };
    let refused = |times| vec![Fault::Refuse(500, "InternalServerError"); times];
    let (straight, place) = begin("halt");
    place.run(["run", "river.yaml"]).code(0);
    let expected = told(&straight);

    // Tried 3 times again: that is enough.
    let (service, place) = begin("halt");
    service.pass(5);
    service.fail(refused(3));
    place.run(["run", "river.yaml"]).code(0);
    assert_eq!(told(&service), expected);

    // Once more than that: it halts, and the next run goes on where it has stopped.
    let (service, place) = begin("halt");
    service.pass(5);
    service.fail(refused(100));
    place.run(["run", "river.yaml"]).code(74);
    service.recover();
    place.run(["run", "river.yaml"]).code(0);
    assert_eq!(told(&service), expected);

    // Or the records go to the dead letters, and the others pass.
    let (service, place) = begin("dead-letter");
    service.pass(5);
    service.fail(refused(12));
    place.run(["run", "river.yaml"]).code(0);
    let letters = place.run(["dlq", "list", "river.yaml", "-o", "json"]).code(0).out;
    let mut ids = event_ids(&service);
    let there = ids.len();
    let letters: serde_json::Value = serde_json::from_str(&letters).expect("JSON");
    for letter in letters.as_array().expect("a list") {
        ids.insert(without_lineage(letter["event_id"].as_str().expect("an event id")));
    }
    assert!(there < ids.len(), "some have gone to the dead letters");
    assert_eq!(ids, event_ids(&straight));
}

fn without_lineage(event_id: &str) -> String {
    event_id.split_once('/').expect("a lineage").1.to_owned()
}

fn event_ids(service: &Datahub) -> HashSet<String> {
    let records = TABLES.iter().flat_map(|table| service.records(table));
    records.map(|record| without_lineage(record.attribute("dujiang.event-id"))).collect()
}
