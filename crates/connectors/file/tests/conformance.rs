//! The suite that every sink passes.

use crate::support::*;
use dujiang_core::sink::Sink;
use dujiang_testkit::conformance::sink::{SinkUnderTest, all};
use std::path::PathBuf;
use tempfile::tempdir;

struct Files(PathBuf);

impl SinkUnderTest for Files {
    fn open(&mut self) -> Box<dyn Sink> {
        Box::new(sink(&self.0, &[("format", "json")]))
    }

    fn visible(&mut self) -> Vec<i64> {
        let text: String = visible(&self.0).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_i64().unwrap();
        text.lines().map(id).collect()
    }
}

#[tokio::test]
async fn the_file_sink_keeps_the_contract() {
    let dir = tempdir().unwrap();
    all(&mut Files(dir.path().join("sink"))).await;
}
