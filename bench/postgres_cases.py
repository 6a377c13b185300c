"""The cases of PostgreSQL: its snapshot beside COPY, its stream beside pg_recvlogical."""

import shutil

from measure import alternate, run
from pipeline import BLACKHOLE, PARQUET, Prepared
from postgres import NARROW, NARROW_ROWS, WIDE16, WIDE16_ROWS, program, wide40

MIX = "create table {name} (id bigint primary key, k int not null, name text not null, state text not null)"


def postgres_snapshot(bench, results):
    """Snapshot against the server's own binary copy of the same table into nothing."""
    database = bench.postgres
    # So many rows that it is their rate that counts: the start takes a tenth of a second.
    cases = {
        "4 columns": (NARROW, NARROW_ROWS, 4 * bench.rows),
        "16 columns": (WIDE16, WIDE16_ROWS, 2 * bench.rows),
        "40 columns": (*wide40(), bench.rows),
        # Read in the order of what its rows hold, which the server sorts.
        "4 columns without key": (NARROW.replace(" primary key", ""), NARROW_ROWS, bench.rows),
    }
    for columns, (create, insert, rows) in cases.items():
        database.create(create, "snap")
        database.fill(insert, "snap", rows)
        size = database.size("snap")
        copy = lambda: run(database.client("-c", "copy snap to stdout (format binary)"))
        for sink, name, aim in ((BLACKHOLE, "blackhole", ">= 0.95"), (PARQUET, "Parquet", ">= 0.85")):
            aim = "-" if columns.endswith("without key") else aim
            start = "  scan.startup.mode: snapshot\n  scan.incremental.snapshot.parallelism: 1\n  slot.name: snap\n"

            def ours():
                database.forget_slot("snap")
                return bench.once("postgres.public.snap", sink, start, "snapshot", rows, database)

            samples = alternate(ours, copy, bench.pairs)
            results.add(f"PostgreSQL snapshot, {columns} -> {name}", samples, rows, size, aim, "`psql` COPY, binary")
        database.forget_slot("snap")
        database.sql("drop table snap")


def postgres_stream(bench, results):
    """pgoutput -> blackhole against pg_recvlogical reading the same changes over TCP."""
    database = bench.postgres
    database.create(NARROW, "narrow")
    database.fill(NARROW_ROWS, "narrow", bench.rows)
    mix = [f"mix{n}" for n in range(5)]
    for name in mix:
        database.create(MIX, name)
    database.create(MIX, "single")

    def updates():
        for first in range(1, bench.rows + 1, 10_000):
            database.sql(f"update narrow set k = k + 1 where id between {first} and {first + 9_999}")
        return bench.rows

    cases = {
        "updates in batches": (["narrow"], updates),
        "transactions of one row": (["single"], lambda: database.singles(["single"], bench.rows // 5)),
        "transactions over 5 tables": (mix, lambda: database.singles(mix, bench.rows // 10, lambda number: 3 + number % 8)),
    }
    for name, (tables, write) in cases.items():
        pattern = ", ".join(f"postgres.public.{table}" for table in tables)
        start = prepared(bench, pattern)
        place = database.place()
        rows = write()
        end, size = database.place(), database.bytes_since(place)

        def ours():
            database.copy_slot("base", "ours")
            return bench.resume(start, rows)

        def theirs():
            database.copy_slot("base", "theirs")
            return run([program("pg_recvlogical"), "-h127.0.0.1", f"-p{database.port}", "-Upostgres", "-dpostgres", "--slot=theirs",
                        "--start", "--no-loop", f"--endpos={end}", "-oproto_version=1", f"-opublication_names={start.file}",
                        "-obinary=true", "-f/dev/null"])

        samples = alternate(ours, theirs, bench.pairs)
        results.add(f"PostgreSQL stream, {name} -> blackhole", samples, rows, size, ">= 1.3", "`pg_recvlogical`")
        for slot in ("base", "ours", "theirs"):
            database.forget_slot(slot)
    database.sql("drop table narrow, single, " + ", ".join(mix))


def prepared(bench, tables):
    """A pipeline that has been started and stopped before there was anything to read; `file` is its publication. The slot it
    would go on with is kept as `base`."""
    database = bench.postgres
    source = "  scan.startup.mode: latest-offset\n  slot.name: ours\n"
    command, where = bench.pipeline(tables, BLACKHOLE, source, "caught-up", database=database)
    run(command)
    kept = where + "-kept"
    shutil.copytree(where, kept)
    database.copy_slot("ours", "base")
    return Prepared(database, f"dujiang_bench{bench.number}", where, kept, command)
