"""Pipelines of the benches: their files, their runs, and what they left in the sink."""

import glob
import json
import os
import shutil

from database import Database
from measure import run
from postgres import Postgres

BLACKHOLE = "  type: blackhole\n"
PARQUET = "  type: file\n  path: {out}\n  format: parquet\n"


class Prepared:
    """A pipeline that has been stopped: `kept` is a copy of everything it left, `run` is where it goes on."""

    def __init__(self, database, file, run, kept, command):
        self.database, self.file, self.run, self.kept, self.command = database, file, run, kept, command


class Bench:
    """The databases, each started when it is first asked for, one scratch folder, the binary under test."""

    def __init__(self, binary, examples, folder, pairs, rows):
        self.binary, self.examples, self.folder, self.pairs, self.rows = binary, examples, folder, pairs, rows
        self.started = {}
        self.number = 0

    @property
    def database(self):
        return self.server("db", Database)

    @property
    def postgres(self):
        return self.server("pg", Postgres)

    def server(self, name, kind):
        if name not in self.started:
            self.started[name] = kind(os.path.join(self.folder, name))
        return self.started[name]

    def close(self):
        for server in self.started.values():
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pipeline(self, tables, sink, source, until=None, interval="10s", database=None):
        """Writes a pipeline file; returns the command that runs it, and its folder."""
        database = database or self.database
        kind = "postgres" if isinstance(database, Postgres) else database.kind
        user = "postgres" if kind == "postgres" else "bench"
        self.number += 1
        where = os.path.join(self.folder, f"run{self.number}")
        os.makedirs(where)
        text = (
            f"source:\n  type: {kind}\n  hostname: 127.0.0.1\n  port: {database.port}\n  username: {user}\n"
            f"  password: bench\n  tables: {tables}\n{source}"
            f"sink:\n{sink.format(out=os.path.join(where, 'out'))}"
            f"pipeline:\n  name: bench{self.number}\n  checkpoint.interval: {interval}\n"
        )
        path = os.path.join(where, "pipeline.yaml")
        with open(path, "w") as out:
            out.write(text)
        command = [self.binary, "run", path, "--state-dir", os.path.join(where, "state")]
        return command + (["--until", until] if until else []), where

    def prepared(self, tables, sink, database=None, interval="10s"):
        """A pipeline that has been started and stopped before there was anything to read."""
        database = database or self.database
        file = database.rotate()
        command, where = self.pipeline(tables, sink, "  scan.startup.mode: latest-offset\n", "caught-up", interval, database)
        run(command)
        kept = where + "-kept"
        shutil.copytree(where, kept)
        return Prepared(database, file, where, kept, command)

    def resume(self, prepared, rows):
        """Lets a stopped pipeline read what has come since, to the end; checks the number of rows."""
        shutil.rmtree(prepared.run)
        shutil.copytree(prepared.kept, prepared.run)
        return self.measured(prepared.command, prepared.run, rows, keep=True)

    def once(self, tables, sink, source, until, rows, database=None):
        """Runs a new pipeline to its end; checks the number of rows."""
        return self.measured(*self.pipeline(tables, sink, source, until, database=database), rows)

    def measured(self, command, where, rows, keep=False):
        log = os.path.join(where, "log")
        with open(log, "wb") as err:
            sample = run(command, stderr=err)
        out = os.path.join(where, "out")
        counted = parquet_rows(out) if os.path.isdir(out) else logged_rows(log)
        if counted != rows:
            raise RuntimeError(f"{counted} rows in the sink, {rows} at the source")
        if not keep:
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
