"""The benches of the main job: `cargo xtask bench` runs this, which prints figures and rewrites bench/RESULTS.md.

Usage: run.py BINARY EXAMPLES_FOLDER [NAME...] [--pairs 9] [--rows 1000000]    (RESULTS.md only with all names)

Every figure is a ratio within one run: our command and a yardstick alternate, rows are counted in the real sink (by
pyarrow in Parquet files, by the final status line for the blackhole).
"""

import argparse
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
import traceback

import log as log_cost
from database import Database, NARROW, NARROW_ROWS, WIDE16, WIDE16_ROWS, wide40
from measure import Sample, alternate, run, spread
from pipeline import BLACKHOLE, PARQUET, Bench
from postgres_cases import postgres_snapshot, postgres_stream
from results import Results
from servers import MariaDb, MySql, MySql57

MILLION = 1_000_000


def stream(bench, results, names=("narrow", "wide16", "wide40")):
    """Binlog -> blackhole against mariadb-binlog reading the same files raw; and -> Parquet."""
    cases = {
        "narrow": ("4 columns", NARROW, NARROW_ROWS, 4 * bench.rows),
        "wide16": ("16 columns", WIDE16, WIDE16_ROWS, 4 * bench.rows),
        "wide40": ("40 columns", *wide40(), bench.rows),
    }
    for name in names:
        columns, create, insert, rows = cases[name]
        bench.database.create(create, name)
        start = bench.prepared(f"bench.{name}", BLACKHOLE)
        bench.database.fill(insert, name, rows)
        size = bench.database.log_size(start.file)
        samples = alternate(lambda: bench.resume(start, rows), lambda: raw(bench, start.file), bench.pairs)
        results.add(f"stream, {columns} -> blackhole", samples, rows, size, ">= 1", "`mariadb-binlog --raw`")
        bench.database.forget(name)


def raw(bench, file):
    """The server's own client reading the same files into memory."""
    folder = tempfile.mkdtemp(dir="/dev/shm")
    sample = run(["mariadb-binlog", "--no-defaults", "-h127.0.0.1", f"-P{bench.database.port}", "-uroot",
                  "--read-from-remote-server", "--raw", "--to-last-log", f"--result-file={folder}/", file])
    shutil.rmtree(folder)
    return sample


def offset(bench, results):
    """A first start in the past: the log up to now is looked through for changes of tables before it is read."""
    rows = 2 * bench.rows
    bench.database.create(NARROW, "past")
    file = bench.database.rotate()
    bench.database.fill(NARROW_ROWS, "past", rows)
    start = f"  scan.startup.mode: specific-offset\n  scan.startup.specific-offset.file: {file}\n  scan.startup.specific-offset.pos: 4\n"
    ours = lambda: bench.once("bench.past", BLACKHOLE, start, "caught-up", rows)
    samples = alternate(ours, lambda: raw(bench, file), bench.pairs)
    results.add("first start at an earlier place, 4 columns -> blackhole", samples, rows, bench.database.log_size(file),
                "-", "`mariadb-binlog --raw`, which reads it once")
    bench.database.forget("past")


def interleaved(bench, results):
    """The same transactions of 3 to 10 single-row statements over five tables, and in one table of another server."""
    transactions = bench.rows // 10
    five, one = [f"mix{n}" for n in range(5)], ["single"]
    other = Database(os.path.join(bench.folder, "db2"))
    try:
        sides = []
        for database, names, tables in ((bench.database, five, r"bench.mix\.*"), (other, one, "bench.single")):
            for name in names:
                database.create(NARROW, name, "innodb")
            sides.append(bench.prepared(tables, BLACKHOLE, database))
        rows = [side.database.transactions(names, transactions) for side, names in zip(sides, (five, one))][0]
        size = bench.database.log_size(sides[0].file)
        samples = alternate(lambda: bench.resume(sides[0], rows), lambda: bench.resume(sides[1], rows), bench.pairs)
        results.add("stream, 5 interleaved tables -> blackhole", samples, rows, size, ">= 0.7", "the same transactions in one table")
    finally:
        other.stop()
    bench.database.forget(*five)


def formats(bench, results):
    """What each server's special format costs: the same statements with it and without it, on two servers of a kind; and each
    server's plain format beside that of the machine's own MariaDB."""
    update = "update bench.fmt set k = k + 1"
    patch = "update bench.fmt set doc = json_set(doc, '$.k', k + 1)"
    documents = ("create table bench.{name} (id bigint primary key, k int not null, doc json not null) engine={engine}",
                 "insert into bench.{name} select seq, seq, json_object('k', 0, 'pad', repeat('x', 150)) from bench.seq_{first}_to_{last}")
    plain = (NARROW, NARROW_ROWS)
    cases = (
        ("MariaDB 10.11", Database, Database, "compressed events", "set global log_bin_compress = on", plain, None),
        ("MariaDB newest", MariaDb, Database, "plain", None, plain, None),
        ("MariaDB newest", MariaDb, MariaDb, "compressed events", "set global log_bin_compress = on", plain, None),
        ("MariaDB newest", MariaDb, MariaDb, "FULL_NODUP", "set global binlog_row_image = 'FULL_NODUP'", plain, update),
        ("MySQL 5.7", MySql57, Database, "plain", None, plain, None),
        ("MySQL newest", MySql, Database, "plain", None, plain, None),
        ("MySQL newest", MySql, MySql, "transaction payload", "set global binlog_transaction_compression = on", plain, None),
        ("MySQL newest", MySql, MySql, "partial JSON", "set global binlog_row_value_options = 'PARTIAL_JSON'", documents, patch),
    )
    for server, kind, other, name, option, (create, insert), change in cases:
        rows = bench.rows if change else 2 * bench.rows
        sides, databases = [], []
        try:
            for at, (side, setting) in enumerate(((kind, option), (other, None))):
                database = side(os.path.join(bench.folder, f"format{at}"))
                databases.append(database)
                database.sql(setting or "select 1")
                sides.append(logged(bench, database, create, insert, change, rows))
            size = databases[0].log_size(sides[0].file)
            pairs = alternate(lambda: bench.resume(sides[0], rows), lambda: bench.resume(sides[1], rows), bench.pairs)
            yardstick = "MariaDB 10.11, plain" if other is not kind and option is None else "the same without it"
            results.add(f"stream, {server}, {name} -> blackhole", pairs, rows, size, "-", yardstick)
        finally:
            for database in databases:
                database.stop()


def logged(bench, database, create, insert, change, rows):
    """A pipeline that has so many changes to read."""
    database.create(create, "fmt", "innodb" if change else None)
    if change:
        database.fill(insert, "fmt", rows)
    start = bench.prepared("bench.fmt", BLACKHOLE, database)
    if change:
        database.sql(change)
    else:
        database.fill(insert, "fmt", rows)
    return start


def snapshot(bench, results):
    """Snapshot against the server's own client reading the same table."""
    rows = 2 * bench.rows
    bench.database.create(WIDE16, "snap", "innodb")
    bench.database.fill(WIDE16_ROWS, "snap", rows)
    size = rows * 114

    def ours(sink, connections):
        start = f"  scan.startup.mode: snapshot\n  scan.incremental.snapshot.parallelism: {connections}\n"
        return lambda: bench.once("bench.snap", sink, start, "snapshot", rows)

    theirs = lambda: run(bench.database.client("--quick", "-e", "select * from bench.snap"))
    for sink, name, aim in ((BLACKHOLE, "blackhole", ">= 1.3"), (PARQUET, "Parquet", ">= 0.95")):
        samples = alternate(ours(sink, 1), theirs, bench.pairs)
        results.add(f"snapshot, 16 columns -> {name}", samples, rows, size, aim, "`mariadb --quick`")
    samples = alternate(ours(PARQUET, 2), lambda: two_clients(bench, rows), bench.pairs)
    results.add("snapshot, two connections -> Parquet", samples, rows, size, ">= 0.9", "two `mariadb --quick`, half a table each")
    bench.database.forget("snap")


def two_clients(bench, rows):
    where = [f"select * from bench.snap where orderkey {op} {rows // 8}" for op in ("<", ">=")]
    start = time.monotonic()
    children = [subprocess.Popen(bench.database.client("--quick", "-e", w), stdout=subprocess.DEVNULL) for w in where]
    if any([child.wait() for child in children]):
        raise RuntimeError("mariadb failed")
    return Sample(time.monotonic() - start, 0, 0, b"")


def encoder(bench, results):
    """Binlog -> Parquet, the whole way, against the Parquet crate alone writing the same rows from memory."""
    cases = {"16 columns": (WIDE16, WIDE16_ROWS, 2 * bench.rows), "40 columns": (*wide40(), bench.rows // 2)}
    for columns, (create, insert, rows) in cases.items():
        bench.database.create(create, "enc")
        start = bench.prepared("bench.enc", PARQUET)
        bench.database.fill(insert, "enc", rows)
        size = bench.database.log_size(start.file)
        bench.resume(start, rows)
        files = glob.glob(f"{start.run}/out/*/**/*.parquet", recursive=True)
        kept = os.path.join(bench.folder, "again")
        os.makedirs(kept)
        copies = [shutil.copy(file, f"{kept}/{number}.parquet") for number, file in enumerate(files)]

        def alone():
            sample = run([os.path.join(bench.examples, "write_again"), f"{kept}/written", *copies])
            seconds = float(open(f"{kept}/written.seconds").read())
            return Sample(seconds, sample.cpu, sample.peak, b"")

        samples = alternate(lambda: bench.resume(start, rows), alone, bench.pairs)
        results.add(f"stream, {columns} -> Parquet", samples, rows, size, ">= 0.85", "the Parquet crate alone, same rows from memory")
        shutil.rmtree(kept)
        bench.database.forget("enc")


def memory(bench, results):
    """Peak memory while one transaction of 2 GB streams through."""
    rows = 10 * MILLION
    bench.database.create(NARROW, "big")
    start = bench.prepared("bench.big", PARQUET)
    # One statement is one transaction, also where the engine has none.
    bench.database.sql(NARROW_ROWS.format(name="big", first=1, last=rows))
    size = bench.database.log_size(start.file)
    sample = bench.resume(start, rows)
    results.single(f"one transaction of {size / 1e9:.1f} GB -> Parquet, peak memory", f"{sample.peak >> 20} MiB", "<= 256 MiB", sample, rows, size)
    bench.database.forget("big")


def starts(bench, results):
    """Process start to the first committed row, and kill -9 to reading again."""
    bench.database.create(NARROW, "tiny", "innodb")
    bench.database.fill(NARROW_ROWS, "tiny", 1000)
    first, again = [], []
    for _ in range(bench.pairs):
        command, where = bench.pipeline("bench.tiny", PARQUET, "  scan.startup.mode: initial\n", interval="100ms")
        first.append(until_committed(command, where, 0))
        done = len(manifests(where))
        bench.database.sql("update bench.tiny set k = k + 1")
        again.append(until_committed(command, where, done))
        shutil.rmtree(where)
    results.single("process start to first committed row, seconds", spread(first), "< 1")
    results.single("start after kill -9 to new rows committed, seconds", spread(again), "< 1")
    bench.database.forget("tiny")


def manifests(where):
    return glob.glob(f"{where}/out/.dujiang/manifests/*.manifest")


def until_committed(command, where, done):
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(manifests(where)) <= done:
        if child.poll() is not None:
            raise RuntimeError("the pipeline ended")
        time.sleep(0.002)
    seconds = time.monotonic() - start
    child.send_signal(signal.SIGKILL)
    child.wait()
    return seconds


def decoder(bench, results):
    """The decoder alone, without a server or a pipeline around it, beside the row decoder of mysql_common."""
    folder = os.path.join(bench.folder, "decoder")
    sample = run([os.path.join(bench.examples, "decode_bench"), str(bench.rows), str(bench.pairs), folder], stdout=subprocess.PIPE)
    results.text("Decoder alone, one thread, images per CPU-second (aims: narrow `sbtest` 5 million, 16-column `lineitem` 4 million)",
                 sample.output.decode().rstrip())
    shutil.rmtree(folder)


def transform(bench, results):
    """A filter and five computed columns on a row of 35 columns, on one core, beside the same expressions alone."""
    sample = run([os.path.join(bench.examples, "transform_bench")], stdout=subprocess.PIPE)
    results.text("Transform of a 35-column row, CPU per row (aims: 0.5 us at 8,192 rows a batch, 1 us at 100; ours at most 10 % of it)",
                 sample.output.decode().rstrip())


def kafka(bench, results):
    """The Kafka sink alone, beside the tool by which Kafka measures its own producer."""
    sample = run([os.path.join(bench.examples, "produce_bench"), str(bench.rows), str(bench.pairs)], stdout=subprocess.PIPE)
    results.text("Kafka sink alone, beside `kafka-producer-perf-test` (aim: 0.8)", sample.output.decode().rstrip())


def log(bench, results):
    """What the embedded log costs a pipeline, and the log alone beside its disk."""
    binary = os.path.abspath(bench.binary)
    cost = log_cost.report(binary, bench.rows, bench.pairs, "zstd", bench.folder)
    results.text("Generator -> Parquet with the embedded log and without (aims: 0.75 of the throughput, 1.5 times the bytes)", cost)
    arguments = [os.path.join(bench.examples, "disk_bench"), bench.folder, str(bench.rows), str(bench.pairs)]
    sample = run(arguments, stdout=subprocess.PIPE)
    results.text("The embedded log alone, beside its disk", sample.output.decode().rstrip())


def latency(bench, results):
    """From a commit to the message of it, at least once."""
    transactions = max(200, bench.rows // 500)
    sample = run([os.path.join(bench.examples, "latency_bench"), bench.binary, str(transactions)], stdout=subprocess.PIPE)
    results.text("From commit to message in Kafka, at least once", sample.output.decode().rstrip())


def check(bench, results):
    """A file of 200 rules, checked from process start to exit."""
    path = os.path.join(bench.folder, "rules.yaml")
    with open(path, "w") as out:
        out.write("source:\n  type: generator\nsink:\n  type: blackhole\ntransform:\n")
        for n in range(100):
            out.write(f"  - {{source-table: shop.t{n}, projection: '*, upper(a{n}) AS b, n * {n} + 1 AS c', filter: n > {n}}}\n")
        out.write("route:\n")
        # Two lines each: 300 in all.
        for n in range(100):
            pattern = f"shop.t{n}" if n % 2 else f"shop.t{n}_\\.*"
            out.write(f"  - source-table: {pattern}\n    sink-table: ods.t{n}\n")
    samples = [run([bench.binary, "check", path]) for _ in range(3 * bench.pairs)]
    results.single("200 rules in 300 lines checked, CPU milliseconds of the process", spread([s.cpu * 1e3 for s in samples]), "< 50")


CASES = {case.__name__: case for case in (starts, stream, offset, interleaved, formats, snapshot, encoder, memory, decoder, transform, log,
                                          kafka, latency, check,
                                          postgres_snapshot, postgres_stream)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("examples")
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--rows", type=int, default=MILLION)
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    folder = tempfile.mkdtemp(prefix="dujiang-bench-")
    bench = Bench(options.binary, options.examples, folder, options.pairs, options.rows)
    results = Results(bench)
    failed = []
    try:
        for name in options.names:
            try:
                CASES[name](bench, results)
            except Exception:
                traceback.print_exc()
                failed.append(name)
                results.text(f"Case `{name}` failed", traceback.format_exc(limit=1).splitlines()[-1])
        # While the servers are there: it names their versions.
        if options.names == list(CASES):
            results.write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "RESULTS.md"))
    finally:
        bench.close()
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
