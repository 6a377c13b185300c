//! The contract of a staged sink, step by step.

use crate::support::*;
use dujiang_core::evolution::{SchemaEvent, SinkChange};
use dujiang_core::sink::{Sink, SinkState};
use dujiang_core::{Code, Epoch, Generation, Kind};
use std::fs;

const JSON: &[(&str, &str)] = &[("format", "json")];

#[tokio::test]
async fn f30_an_epoch_is_invisible_until_it_commits_and_committing_again_changes_nothing() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = sink.committer(context.clone()).await.unwrap();
    assert_eq!(committer.open().await.unwrap(), SinkState::Empty);
    committer.apply_schema(None, &table("t")).await.unwrap();
    let mut writer = writer(&sink, 0, &context).await;
    assert!(writer.write(&inserts(&table("t"), 0..10)).await.unwrap().is_empty());
    let prepared = writer.prepare(Epoch(1));
    writer.write(&inserts(&table("t"), 10..20)).await.unwrap();
    let tokens = prepared.await.unwrap();
    assert_eq!(tokens.len(), 1);
    assert!(visible(dir.path()).is_empty());
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(dir.path()), (0..10).collect::<Vec<_>>());
    let before = files(dir.path(), |_| true);
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    assert_eq!(files(dir.path(), |_| true), before);
    let tokens = writer.prepare(Epoch(2)).await.unwrap();
    committer.commit(&request(2, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(dir.path()), (0..20).collect::<Vec<_>>());
    assert_eq!(writer.figures().units, 2);
    assert!(writer.prepare(Epoch(3)).await.unwrap().is_empty(), "nothing written, no token");
}

#[tokio::test]
async fn a_restart_finds_what_the_sink_holds_and_discards_the_rest() {
    let dir = scratch();
    let first = context(1);
    let old = sink(dir.path(), JSON);
    let mut committer = opened(&old, &first).await;
    let mut writer_1 = writer(&old, 0, &first).await;
    writer_1.write(&inserts(&table("t"), 0..5)).await.unwrap();
    let tokens = writer_1.prepare(Epoch(1)).await.unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    writer_1.write(&inserts(&table("t"), 5..9)).await.unwrap();
    let published = writer_1.prepare(Epoch(2)).await.unwrap();
    writer_1.write(&inserts(&table("t"), 9..12)).await.unwrap();
    writer_1.prepare(Epoch(3)).await.unwrap();
    drop((writer_1, committer));

    let second = context(2);
    let new = sink(dir.path(), JSON);
    let mut committer = new.committer(second.clone()).await.unwrap();
    let held = SinkState::Holds { generation: Generation(1), epoch: Epoch(1) };
    assert_eq!(committer.open().await.unwrap(), held);
    committer.commit(&request(2, 2, &published)).await.unwrap();
    committer.abort_except(&published).await.unwrap();
    assert!(files(&dir.path().join(".dujiang/staged"), |_| true).is_empty());
    assert_eq!(visible_ids(dir.path()), (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn staged_files_that_a_checkpoint_names_survive_the_clean_up() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    writer.write(&inserts(&table("t"), 0..5)).await.unwrap();
    let keep = writer.prepare(Epoch(1)).await.unwrap();
    writer.write(&inserts(&table("u"), 0..5)).await.unwrap();
    writer.prepare(Epoch(2)).await.unwrap();
    committer.abort_except(&keep).await.unwrap();
    assert_eq!(files(&dir.path().join(".dujiang/staged"), |_| true).len(), 1);
    committer.commit(&request(1, 1, &keep)).await.unwrap();
    assert_eq!(visible_ids(dir.path()), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn r20_another_pipeline_is_refused_and_so_is_a_pipeline_without_its_state() {
    let dir = scratch();
    let sink = sink(dir.path(), JSON);
    let ours = context(1);
    let mut committer = opened(&sink, &ours).await;
    let mut other = context(1);
    other.identity = identity("another", "00000000000000bb");
    let error = sink.committer(other).await.unwrap().open().await.unwrap_err();
    assert_eq!(error.code(), Code::SinkTaken);
    assert!(error.help_text().is_some() && error.message().contains("`orders`"));

    let mut anew = context(1);
    anew.identity = identity("orders", "00000000000000cc");
    sink.committer(anew.clone()).await.unwrap().open().await.expect("nothing is visible yet: it may begin anew");
    assert_eq!(committer.commit(&request(1, 1, &[])).await.unwrap_err().code(), Code::StateLost);
    sink.committer(anew.clone()).await.unwrap().commit(&request(1, 1, &[])).await.unwrap();
    let error = sink.committer(ours).await.unwrap().open().await.unwrap_err();
    assert_eq!(error.code(), Code::StateLost);
}

#[tokio::test]
async fn f45_an_older_instance_is_fenced() {
    let dir = scratch();
    let sink = sink(dir.path(), JSON);
    let mut old = opened(&sink, &context(3)).await;
    let _new = opened(&sink, &context(4)).await;
    assert_eq!(old.commit(&request(1, 3, &[])).await.unwrap_err().code(), Code::Fenced);
    assert_eq!(old.abort_except(&[]).await.unwrap_err().code(), Code::Fenced);
    assert_eq!(old.open().await.unwrap_err().code(), Code::Fenced);
}

#[tokio::test]
async fn a_file_that_vanished_or_changed_is_a_mismatch_that_names_it() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    writer.write(&inserts(&table("t"), 0..5)).await.unwrap();
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    let staged = files(&dir.path().join(".dujiang/staged"), |_| true).remove(0);
    let bytes = fs::read(&staged).unwrap();
    for damage in [None, Some(&bytes[1..])] {
        fs::remove_file(&staged).unwrap();
        if let Some(rest) = damage {
            fs::write(&staged, rest).unwrap();
        }
        let error = committer.commit(&request(1, 1, &tokens)).await.unwrap_err();
        assert_eq!(error.code(), Code::SinkMismatch);
        assert!(error.message().contains("shop.t/2026"), "{error}");
        fs::write(&staged, &bytes).unwrap();
    }
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(dir.path()).len(), 5);
}

#[tokio::test]
async fn withdrawing_takes_later_epochs_back_and_is_idempotent() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    for epoch in 1..=4 {
        writer.write(&inserts(&table("t"), epoch * 10..epoch * 10 + 3)).await.unwrap();
        let tokens = writer.prepare(Epoch(epoch as u64)).await.unwrap();
        committer.commit(&request(epoch as u64, 1, &tokens)).await.unwrap();
    }
    for _ in 0..2 {
        committer.withdraw_after(Epoch(2)).await.unwrap();
        assert_eq!(visible_ids(dir.path()), [10, 11, 12, 20, 21, 22]);
    }
    assert_eq!(files(&dir.path().join(".dujiang/withdrawn"), |f| f.ends_with(".json.withdrawn")).len(), 2);
    let held = SinkState::Holds { generation: Generation(1), epoch: Epoch(2) };
    assert_eq!(committer.open().await.unwrap(), held);
    writer.write(&inserts(&table("t"), 50..51)).await.unwrap();
    let tokens = writer.prepare(Epoch(3)).await.unwrap();
    committer.commit(&request(3, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(dir.path()), [10, 11, 12, 20, 21, 22, 50]);
}

#[tokio::test]
async fn an_idle_pipeline_keeps_one_empty_manifest() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context).await;
    for epoch in 1..=5 {
        committer.commit(&request(epoch, 1, &[])).await.unwrap();
    }
    assert_eq!(files(&dir.path().join(".dujiang/manifests"), |_| true).len(), 1);
    let held = SinkState::Holds { generation: Generation(1), epoch: Epoch(5) };
    assert_eq!(committer.open().await.unwrap(), held);
}

#[tokio::test]
async fn places_that_cannot_be_written_are_named() {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = sink(&path, JSON).committer(context(1)).await.unwrap().open().await.unwrap_err();
        assert_eq!(error.code(), Code::SinkNotWritable, "{error}");
        assert!(error.help_text().is_some());
    }
}

#[tokio::test]
async fn a_column_with_the_name_of_an_added_one_is_refused() {
    let (dir, context) = (scratch(), context(1));
    let clash = sink(dir.path(), &[("metadata.op", "NAME")]);
    let mut committer = opened(&clash, &context).await;
    let error = committer.apply_schema(None, &table("t")).await.unwrap_err();
    assert_eq!(error.code(), Code::SinkName);
    let mut refused = writer(&clash, 0, &context).await;
    assert_eq!(refused.write(&inserts(&table("t"), 0..1)).await.unwrap_err().code(), Code::SinkName);
}

#[tokio::test]
async fn updates_are_one_row_or_on_request_two() {
    let table = table("t");
    let kind = |row: usize| [Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete][row];
    for (option, expected) in [
        ("none", "{\"id\":1,\"name\":\"name 1\",\"__op\":\"u\"}\n{\"id\":2,\"name\":\"name 2\",\"__op\":\"d\"}\n"),
        (
            "rows",
            "{\"id\":0,\"name\":null,\"__op\":\"u\",\"__image\":\"before\"}\n\
             {\"id\":1,\"name\":\"name 1\",\"__op\":\"u\",\"__image\":\"after\"}\n\
             {\"id\":2,\"name\":\"name 2\",\"__op\":\"d\",\"__image\":\"before\"}\n",
        ),
    ] {
        let (dir, context) = (scratch(), context(1));
        let options = [
            ("format", "json"),
            ("before-images", option),
            ("metadata.commit-time", ""),
            ("metadata.event-id", ""),
            ("metadata.position", ""),
            ("metadata.transaction", ""),
        ];
        let sink = sink(dir.path(), &options);
        let mut committer = opened(&sink, &context).await;
        let mut writer = writer(&sink, 0, &context).await;
        let columns = inserts(&table, 0..3).rows.columns().to_vec();
        writer.write(&changes(&table, columns, kind, NOW)).await.unwrap();
        let tokens = writer.prepare(Epoch(1)).await.unwrap();
        committer.commit(&request(1, 1, &tokens)).await.unwrap();
        assert_eq!(fs::read_to_string(&visible(dir.path())[0]).unwrap(), expected);
    }
}

#[tokio::test]
async fn added_columns_tell_where_a_row_comes_from() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), &[("format", "json"), ("partition-by", "commit-hour")]);
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    writer.write(&inserts(&table("t"), 1..3)).await.unwrap();
    let tokens = writer.prepare(Epoch(7)).await.unwrap();
    committer.commit(&request(7, 1, &tokens)).await.unwrap();
    let file = visible(dir.path()).remove(0);
    let name = "shop.t/commit_date=2026-11-20/commit_hour=17/20261120T173825.123456Z-e0000000007-l00-0001-v1.json";
    assert_eq!(file, dir.path().join(name));
    let text = fs::read_to_string(file).unwrap();
    let expected = "{\"id\":2,\"name\":\"name 2\",\"__op\":\"c\",\"__commit_time\":\"2026-11-20T17:38:25.123456Z\",\
        \"__event_id\":\"00000000000000aa/0-1-99/shop.t/1\",\"__position\":\"bin.000001:4\",\"__transaction\":\"0-1-99\"}";
    assert_eq!(text.lines().nth(1), Some(expected));
}

/// A reader that takes every file away as soon as it sees it, folder and all, meets a commit that is repeated: it is neither
/// stopped nor shown twice.
#[tokio::test]
async fn a_reader_that_moves_files_away_at_once_never_stops_a_repeated_commit() {
    let (dir, taken) = (scratch(), scratch());
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context(1)).await;
    let mut writer = writer(&sink, 0, &context(1)).await;
    for name in ["t", "u"] {
        writer.write(&inserts(&table(name), 0..5)).await.unwrap();
    }
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    // The second file cannot become visible: something stands where its folder should be.
    let obstacle = dir.path().join("shop.u");
    fs::write(&obstacle, "x").unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap_err();
    let shown = visible(&dir.path().join("shop.t"));
    assert_eq!(shown.len(), 1, "the first one is visible");
    fs::rename(&shown[0], taken.path().join("a")).unwrap();
    fs::remove_dir_all(dir.path().join("shop.t")).unwrap();
    fs::remove_file(&obstacle).unwrap();
    drop((committer, writer));

    // The same process and a new one do the same.
    let mut committer = sink.committer(context(2)).await.unwrap();
    committer.open().await.unwrap();
    for _ in 0..2 {
        committer.commit(&request(1, 2, &tokens)).await.unwrap();
    }
    committer.abort_except(&tokens).await.unwrap();
    assert!(!dir.path().join("shop.t").exists(), "what was taken is not shown again");
    assert_eq!(visible_ids(dir.path()), (0..5).collect::<Vec<_>>());
    assert_eq!(files(&dir.path().join(".dujiang/manifests"), |f| f.ends_with(".manifest")).len(), 1);
}

/// A withdrawal that stopped in the middle holds its epoch no more: a start sees the epoch before it.
#[tokio::test]
async fn an_interrupted_withdrawal_is_not_held() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    let mut last = Vec::new();
    for epoch in 1..=2 {
        writer.write(&inserts(&table("t"), epoch * 10..epoch * 10 + 3)).await.unwrap();
        last = writer.prepare(Epoch(epoch as u64)).await.unwrap();
        committer.commit(&request(epoch as u64, 1, &last)).await.unwrap();
    }
    let records = dir.path().join(".dujiang/manifests");
    fs::rename(records.join("e0000000002.manifest"), records.join("e0000000002.withdrawing")).unwrap();
    let held = SinkState::Holds { generation: Generation(1), epoch: Epoch(1) };
    let mut committer = sink.committer(context.clone()).await.unwrap();
    assert_eq!(committer.open().await.unwrap(), held);
    assert_eq!(committer.commit(&request(2, 1, &last)).await.unwrap_err().code(), Code::SinkMismatch);
    committer.withdraw_after(Epoch(1)).await.unwrap();
    assert_eq!(visible_ids(dir.path()), [10, 11, 12]);
    assert_eq!(committer.open().await.unwrap(), held);
}

#[tokio::test]
async fn a_table_that_was_emptied_is_recorded_and_keeps_its_files() {
    let (dir, context) = (scratch(), context(1));
    let sink = sink(dir.path(), JSON);
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    for epoch in 1..=2 {
        writer.write(&inserts(&table("t"), 0..5)).await.unwrap();
        let tokens = writer.prepare(Epoch(epoch)).await.unwrap();
        committer.commit(&request(epoch, 1, &tokens)).await.unwrap();
        for event in [SchemaEvent::TruncateTable, SchemaEvent::DropTable, SchemaEvent::DropTable] {
            let change = SinkChange { before: Some(table("t")), after: table("t"), event };
            committer.apply_event(&change).await.unwrap();
        }
    }
    let events = || files(&dir.path().join(".dujiang/events"), |_| true);
    assert_eq!(events().len(), 4, "the same event again writes the same record: {:?}", events());
    assert!(events().iter().any(|name| name.to_string_lossy().contains("e0000000002-truncate.table-")));
    assert_eq!(visible_ids(dir.path()).len(), 10, "no data is removed");
    committer.withdraw_after(Epoch(1)).await.unwrap();
    assert!(events().is_empty(), "the source tells them again");
}
