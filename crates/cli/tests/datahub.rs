//! The real binary and a service that speaks DataHub's protocol.

use crate::support::Place;
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, Datahub, PROJECT};
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
