use super::harness::*;

/// What the slot holds back, what is left of it and how old it is stand in the status, not only in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_slot_holds_back_stands_in_the_status_until_it_is_in_danger() {
    let server = with(&["max_slot_wal_keep_size=64MB", "max_wal_size=10GB"]);
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE o (v text)")
        .unwrap();
    let options = [("slot.name", "s"), ("heartbeat.interval", "100ms")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    while pipeline.status().kept.is_none() {
        pipeline.step().await.unwrap();
    }
    let kept = pipeline.status().kept.unwrap();
    assert!(kept.left.is_some() && kept.danger.is_none() && kept.bytes < 16 << 20, "{kept:?}");
    server.sql("INSERT INTO o SELECT repeat('x', 1000) FROM generate_series(1, 100000)").unwrap();
    while pipeline.status().kept.unwrap().danger.is_none() {
        pipeline.step().await.unwrap();
    }
    pipeline.until_now(&server).await.unwrap();
    let kept = pipeline.status().kept.unwrap();
    assert!(kept.bytes > 64 << 20 && kept.left == Some(0), "{kept:?}");
    assert!(kept.unread < 1 << 20 && kept.age_micros.is_some(), "{kept:?}");
    assert!(kept.danger.unwrap().contains("`s`"));
}
