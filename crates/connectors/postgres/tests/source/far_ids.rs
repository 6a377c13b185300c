//! Transaction ids, of which the stream tells the lower half.

use super::harness::*;
use dujiang_postgres::position;

/// A pipeline that stood still in the midst of its snapshot while the rest of the server gave out two billion transaction ids: of a
/// change that came after a chunk it must not seem that the chunk has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_ids_that_are_far_from_the_last_ones_are_told_apart() {
    let mut server = own();
    // Those of a server that has given out all lower halves once.
    server.restart_reset(&["-e", "1"]).unwrap();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; \
             INSERT INTO t SELECT n, 0 FROM generate_series(1, 60) n",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "20")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    while pipeline.step().await.unwrap() != "batch" {}
    pipeline.barrier().unwrap();
    pipeline.crash();
    let (mut head, shapes) = position::decode(pipeline.position.as_ref().unwrap()).unwrap();
    assert!(head.xid > 1 << 32, "{head:?}");
    head.xid -= 2_200_000_000;
    let shapes: Vec<_> = shapes.iter().collect();
    pipeline.position = Some(position::encode(&head, &position::encode_shapes(&shapes).unwrap()).unwrap());
    server.sql("UPDATE t SET v = id; DELETE FROM t WHERE id % 10 = 0").unwrap();
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}
