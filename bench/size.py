"""How large things may be: one run each, peak memory of the whole process measured, everything at default settings.

Usage: size.py BINARY [NAME...] [--scale 1.0]        (names: transaction tables columns row skewed strings)

Runs by hand (`python bench/size.py target/release/dujiang`, with pyarrow): at full scale it needs 40 GB of disk and the better
part of an hour. What it printed on one machine stands in SIZE.md; small versions of the same cases are tests
(crates/cli/tests/size.rs), with a bound that fails them.
"""

import argparse
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

from database import NARROW, NARROW_ROWS
from measure import run
from pipeline import PARQUET, Bench, parquet_rows
from results import row
from servers import MySql

MILLION = 1_000_000
# Without the added columns: what is measured is how much is read, not how fast a hundred million event ids are written.
BARE = PARQUET + "  metadata.columns: off\n"
INITIAL = "  scan.startup.mode: initial\n"


def say(name, what, seconds, peak):
    print(row([name, what, f"{seconds:.0f}", f"{peak >> 20}"]), flush=True)


def peak_of(pid):
    """Peak memory of a process that runs or has ended and was not waited for; 0 when it has ended."""
    with open(f"/proc/{pid}/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")), 0)


def killed_and_resumed(command, where, checkpoints, kills):
    """Kills the pipeline each time that it has made so many checkpoints more, then lets it end; returns (seconds, peak)."""
    manifests, peak, begin = f"{where}/out/.dujiang/manifests/*.manifest", 0, time.monotonic()
    for _ in range(kills):
        before = len(glob.glob(manifests))
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(glob.glob(manifests)) < before + checkpoints:
            peak = max(peak, peak_of(child.pid))
            assert child.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
    sample = run(command)
    return time.monotonic() - begin, max(peak, sample.peak)


def transaction(bench, scale):
    """One transaction of 5 GB, killed in its midst."""
    rows = int(27 * MILLION * scale)
    bench.database.create(NARROW, "t")
    start = bench.prepared("bench.t", BARE, interval="1s")
    bench.database.sql(NARROW_ROWS.format(name="t", first=1, last=rows))
    size = bench.database.log_size(start.file)
    seconds, peak = killed_and_resumed(start.command, start.run, 2, 2)
    counted = parquet_rows(f"{start.run}/out")
    assert counted == rows, f"{counted} rows in the sink, {rows} at the source"
    say("transaction", f"one of {size / 1e9:.1f} GB, {rows:,} rows, killed twice in its midst -> Parquet", seconds, peak)


def tables(bench, scale):
    """10,000 tables with a few rows each, all of them open at once."""
    count = int(10_000 * scale)
    columns = "id bigint primary key, a int, b varchar(40), c datetime(6), d decimal(12,2), e bigint, f int, g varchar(20)"
    for first in range(0, count, 1000):
        bench.database.sql(";\n".join(f"create table bench.many{n} ({columns}) engine=myisam"
                                      for n in range(first, min(first + 1000, count))))
    start = bench.prepared(r"bench.many\.*", PARQUET)
    values = "seq, seq * 7, concat('value ', seq), now(6), seq / 4, seq * 3, seq, 'the same'"
    for first in (1, 21, 41):
        bench.database.sql(";\n".join(f"insert into bench.many{n} select {values} from bench.seq_{first}_to_{first + 19}" for n in range(count)))
    sample = bench.resume(start, 60 * count)
    say("tables", f"{count:,} tables of 8 columns, {60 * count:,} rows in turn -> Parquet", sample.wall, sample.peak)


def columns(bench, scale):
    """A table of as many columns as the newest MySQL takes."""
    database, count, rows = bench.server("mysql", MySql), 4095, int(10_000 * scale)
    names = ", ".join(f"c{n} smallint not null" for n in range(count))
    database.create(f"create table bench.{{name}} (id int primary key, {names}) engine={{engine}}", "cols", "myisam")
    start = bench.prepared("bench.cols", PARQUET, database)
    values = ", ".join(f"(seq + {n}) % 30000" for n in range(count))
    database.fill(f"insert into bench.{{name}} select seq, {values} from bench.seq_{{first}}_to_{{last}}", "cols", rows)
    sample = bench.resume(start, rows)
    say("columns", f"{count + 1:,} columns, {rows:,} rows -> Parquet", sample.wall, sample.peak)


def rows(bench, scale):
    """A row of 64 MiB that nothing compresses, by the snapshot and by the stream."""
    size = int(64 * scale)
    bench.database.sql("set global max_allowed_packet = 1073741824")
    bench.database.sql("create table bench.large (id int primary key, doc longblob not null)")
    insert = ("set session group_concat_max_len = 1048576; insert into bench.large select {id}, repeat((select group_concat("
              "random_bytes(1024) separator '') from bench.seq_1_to_1024), {size})")
    bench.database.sql(insert.format(id=1, size=size))
    command, where = bench.pipeline("bench.large", PARQUET, INITIAL, "caught-up")
    sample = run(command)
    say("row", f"one of {size} MiB, snapshot -> Parquet", sample.wall, sample.peak)
    bench.database.sql(insert.format(id=2, size=size))
    sample = run(command)
    say("row", f"one of {size} MiB, stream -> Parquet", sample.wall, sample.peak)
    counted = parquet_rows(f"{where}/out")
    assert counted == 2, counted


def snapshot(bench, name, create, insert, count, what):
    begin = time.monotonic()
    bench.database.sql(create)
    for first in range(1, count + 1, 10 * MILLION):
        bench.database.sql("set session sql_log_bin = 0; " + insert.format(first=first, last=min(first + 10 * MILLION - 1, count)))
    print(f"loaded in {time.monotonic() - begin:.0f} s", flush=True)
    command, where = bench.pipeline(f"bench.{name}", BARE, INITIAL, "caught-up", "2s")
    seconds, peak = killed_and_resumed(command, where, 1, 3)
    counted = parquet_rows(f"{where}/out")
    assert counted == count, f"{counted} rows in the sink, {count} at the source"
    say(name, f"{count:,} rows, {what}, snapshot killed 3 times -> Parquet", seconds, peak)
    shutil.rmtree(where)


def skewed(bench, scale):
    """A hundred million rows; nearly all keys lie in a millionth of their range."""
    snapshot(bench, "skewed", "create table bench.skewed (id bigint primary key, v int not null) engine=innodb",
             "insert into bench.skewed select if(seq % 1000000 = 0, seq * 1000000, seq), seq % 1000 from bench.seq_{first}_to_{last}",
             int(100 * MILLION * scale), "key skewed")


def strings(bench, scale):
    """A hundred million rows of a string key whose order only the server knows."""
    snapshot(bench, "strings", "create table bench.strings (id varchar(24) collate utf8mb4_unicode_ci primary key, v int not null) engine=innodb",
             "insert into bench.strings select concat('Key-', lpad(seq, 9, '0')), seq % 1000 from bench.seq_{first}_to_{last}",
             int(100 * MILLION * scale), "string key of a collation")


CASES = {"transaction": transaction, "tables": tables, "columns": columns, "row": rows, "skewed": skewed, "strings": strings}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    print(row(["case", "what", "seconds", "peak MiB"]) + "\n" + row(["---"] * 4), flush=True)
    for name in options.names:
        bench = Bench(os.path.abspath(options.binary), "", tempfile.mkdtemp(prefix="dujiang-size-"), 1, 0)
        try:
            CASES[name](bench, options.scale)
        finally:
            bench.close()


if __name__ == "__main__":
    main()
