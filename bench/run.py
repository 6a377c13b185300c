"""The benches of the main job: `cargo xtask bench` runs this, which prints figures and rewrites bench/RESULTS.md.

Usage: run.py BINARY EXAMPLES_FOLDER [NAME...] [--pairs 9] [--rows 1000000]    (RESULTS.md only with all names)

Every figure is a ratio within one run: our command and a yardstick alternate, rows are counted in the real sink (by
pyarrow in Parquet files, by the final status line for the blackhole).
"""

import argparse
import glob
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from database import Database, NARROW, NARROW_ROWS, WIDE16, WIDE16_ROWS, wide40
from measure import Sample, alternate, ratio_of_rates, run, spread


class Bench:
    """One database, one scratch folder, the binary under test."""

    def __init__(self, binary, examples, folder, pairs):
        self.binary, self.examples, self.folder, self.pairs = binary, examples, folder, pairs
        self.database = Database(os.path.join(folder, "db"))
        self.number = 0

    def pipeline(self, tables, sink, start="initial", file=None, source="", interval="10s"):
        """Writes a pipeline file and returns the command that runs it to the end of the log."""
        self.number += 1
        where = os.path.join(self.folder, f"run{self.number}")
        os.makedirs(where)
        startup = f"  scan.startup.mode: {start}\n"
        if file:
            startup += f"  scan.startup.specific-offset.file: {file}\n  scan.startup.specific-offset.pos: 4\n"
        text = (
            f"source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {self.database.port}\n  username: bench\n"
            f"  password: bench\n  tables: {tables}\n{startup}{source}"
            f"sink:\n{sink.format(out=os.path.join(where, 'out'))}"
            f"pipeline:\n  name: bench{self.number}\n  checkpoint.interval: {interval}\n"
        )
        path = os.path.join(where, "pipeline.yaml")
        with open(path, "w") as out:
            out.write(text)
        until = "snapshot" if start == "snapshot" else "caught-up"
        return [self.binary, "run", path, "--until", until, "--state-dir", os.path.join(where, "state")], where

    def ours(self, rows, **keywords):
        """Runs a pipeline once, checks its row count, removes its output."""
        command, where = self.pipeline(**keywords)
        log = os.path.join(where, "log")
        with open(log, "wb") as err:
            sample = run(command, stderr=err)
        out = os.path.join(where, "out")
        counted = parquet_rows(out) if os.path.isdir(out) else logged_rows(log)
        assert counted == rows, f"{counted} rows in the sink, {rows} at the source"
        shutil.rmtree(where)
        return sample


def parquet_rows(folder):
    import pyarrow.parquet

    return sum(pyarrow.parquet.read_metadata(f).num_rows for f in glob.glob(f"{folder}/*/**/*.parquet", recursive=True))


def logged_rows(log):
    """The number of changes in the last log line that carries one."""
    for line in reversed(open(log).read().splitlines()):
        fields = json.loads(line) if line.startswith("{") else {}
        fields = {**fields, **fields.get("fields", {})}
        if "rows_out" in fields:
            return int(fields["rows_out"])
    raise RuntimeError(f"no row count in {log}")


BLACKHOLE = "  type: blackhole\n"
PARQUET = "  type: file\n  path: {out}\n  format: parquet\n"


def report(name, rows, samples, aim, yardstick):
    ours = [a for a, _ in samples]
    say(f"| {name} | {spread(ratio_of_rates(samples))} | {aim} | {yardstick} | {spread([rows / s.wall / 1e6 for s in ours])} "
        f"| {spread([s.cpu / rows * 1e6 for s in ours])} | {max(s.peak for s in ours) >> 20} |")


LINES = []


def say(line):
    """A line for the terminal and for RESULTS.md."""
    print(line, flush=True)
    LINES.append(line)


def stream(bench, rows):
    """Binlog -> blackhole against mariadb-binlog reading the same files raw."""
    cases = {
        "narrow (4 columns)": ("narrow", lambda: bench.database.fill(NARROW, NARROW_ROWS, "narrow", rows), rows),
        "16 columns": ("wide16", lambda: bench.database.fill(WIDE16, WIDE16_ROWS, "wide16", rows), rows),
        "40 columns": ("wide40", lambda: bench.database.fill(*wide40(), "wide40", rows // 8), rows // 8),
    }
    for name, (table, fill, count) in cases.items():
        one_case(bench, f"stream, {name}", f"bench.{table}", fill(), count)
    file, count = bench.database.interleaved(rows // 40)
    one_case(bench, "stream, 5 interleaved tables", r"bench.mix\.*", file, count)


def one_case(bench, name, tables, file, rows):
    def raw():
        folder = tempfile.mkdtemp(dir="/dev/shm")
        port = str(bench.database.port)
        sample = run(["mariadb-binlog", "--no-defaults", "-h127.0.0.1", "-P" + port, "-uroot", "--read-from-remote-server",
                      "--raw", "--to-last-log", f"--result-file={folder}/", file])
        shutil.rmtree(folder)
        return sample

    start = dict(tables=tables, start="specific-offset", file=file)
    blackhole = lambda: bench.ours(rows, sink=BLACKHOLE, **start)
    report(f"{name} -> blackhole", rows, alternate(blackhole, raw, bench.pairs), ">= 1", "`mariadb-binlog --raw`")
    parquet = lambda: bench.ours(rows, sink=PARQUET, **start)
    report(f"{name} -> Parquet", rows, alternate(parquet, blackhole, bench.pairs), "-", "the same into the blackhole")


def snapshot(bench, rows):
    """Snapshot against the server's own client reading the same table."""
    bench.database.fill(WIDE16, WIDE16_ROWS, "snap", rows)
    client = bench.database.client("--quick", "-e", "select * from bench.snap")
    theirs = lambda: run(client)
    for sink, aim in ((BLACKHOLE, ">= 1.3"), (PARQUET, ">= 0.95")):
        name = "snapshot, 16 columns -> " + ("blackhole" if sink == BLACKHOLE else "Parquet")
        one = lambda: bench.ours(rows, tables="bench.snap", sink=sink, start="snapshot",
                                 source="  scan.incremental.snapshot.parallelism: 1\n")
        report(name, rows, alternate(one, theirs, bench.pairs), aim, "`mariadb --quick`")

    def two_clients():
        half = rows // 8
        where = [f"select * from bench.snap where orderkey {op} {half}" for op in ("<", ">=")]
        start = time.monotonic()
        children = [subprocess.Popen(bench.database.client("--quick", "-e", w), stdout=subprocess.DEVNULL) for w in where]
        for child in children:
            child.wait()
        return Sample(time.monotonic() - start, 0, 0, b"")

    two = lambda: bench.ours(rows, tables="bench.snap", sink=PARQUET, start="snapshot",
                             source="  scan.incremental.snapshot.parallelism: 2\n")
    report("snapshot, two connections -> Parquet", rows, alternate(two, two_clients, bench.pairs), ">= 0.9", "two `mariadb --quick`")


def encoder(bench, rows):
    """Binlog -> Parquet, the whole way, against the Parquet crate alone writing the same rows from memory."""
    file = bench.database.fill(WIDE16, WIDE16_ROWS, "enc", rows)
    start = dict(tables="bench.enc", start="specific-offset", file=file, sink=PARQUET)
    command, kept = bench.pipeline(**start)
    run(command)
    files = glob.glob(f"{kept}/out/*/**/*.parquet", recursive=True)

    def alone():
        output = os.path.join(kept, "again.parquet")
        run([os.path.join(bench.examples, "write_again"), output, *files])
        return Sample(float(open(output + ".seconds").read()), 0, 0, b"")

    samples = alternate(lambda: bench.ours(rows, **start), alone, bench.pairs)
    report("stream, 16 columns -> Parquet", rows, samples, ">= 0.85", "the Parquet crate alone, same rows from memory")


def big_transaction(bench, _rows):
    """Peak memory while one transaction of 2 GB streams through."""
    bench.database.sql(NARROW.format(name="big"))
    file = bench.database.rotate()
    bench.database.sql("set max_statement_time = 0; begin;" + ";".join(
        NARROW_ROWS.format(name="big", first=first, last=first + 499_999) for first in range(1, 10_000_001, 500_000)
    ) + "; commit")
    sample = bench.ours(10_000_000, tables="bench.big", sink=PARQUET, start="specific-offset", file=file)
    say(f"| one transaction of 2 GB -> Parquet | - | <= 256 MiB | peak memory | {10 / sample.wall:.2f} | {sample.cpu / 10:.2f} "
        f"| {sample.peak >> 20} |")


def starts(bench, _rows):
    """Process start to the first committed row, and kill -9 to reading again."""
    bench.database.fill(NARROW, NARROW_ROWS, "tiny", 1000)
    first, again = [], []
    for _ in range(bench.pairs):
        command, where = bench.pipeline("bench.tiny", PARQUET, interval="100ms")
        command = [c for c in command if c not in ("--until", "caught-up")]
        first.append(until_committed(command, where, 0))
        done = len(glob.glob(f"{where}/out/.dujiang/manifests/*.manifest"))
        bench.database.sql("update bench.tiny set k = k + 1")
        again.append(until_committed(command, where, done))
        shutil.rmtree(where)
    say(f"| start to first committed row, seconds | {spread(first)} | < 1 | - | | | |")
    say(f"| kill -9 to new rows committed, seconds | {spread(again)} | < 1 | - | | | |")


def until_committed(command, where, manifests):
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(glob.glob(f"{where}/out/.dujiang/manifests/*.manifest")) <= manifests:
        if child.poll() is not None:
            raise RuntimeError("the pipeline ended")
        time.sleep(0.002)
    seconds = time.monotonic() - start
    child.send_signal(signal.SIGKILL)
    child.wait()
    return seconds


CASES = {"stream": stream, "snapshot": snapshot, "encoder": encoder, "memory": big_transaction, "starts": starts}


HEADER = """# Results

Written by `cargo xtask bench`; see bench/README.md for what is measured and how. Ratios are speeds of ours over the
yardstick's, pair by pair within one run ({pairs} pairs, {rows:,} rows in the large tables); everything else describes
our side. Machine: {machine}.
"""


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown processor")
    return f"{os.cpu_count()} cores, {model}; server and pipeline on the same cores"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("examples")
    parser.add_argument("names", nargs="*", default=list(CASES))
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="dujiang-bench-")
    bench = Bench(options.binary, options.examples, folder, options.pairs)
    try:
        say("| case | ratio: median (min - max) | aim | yardstick | M rows/s | CPU s per M rows | peak MiB |")
        say("|---|---|---|---|---|---|---|")
        for name in options.names:
            CASES[name](bench, options.rows)
    finally:
        bench.database.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if options.names == list(CASES):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "RESULTS.md"), "w") as out:
            out.write(HEADER.format(machine=machine(), pairs=options.pairs, rows=options.rows) + "\n" + "\n".join(LINES) + "\n")


if __name__ == "__main__":
    main()
