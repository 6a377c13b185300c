"""A private MariaDB with the tables of the benches."""

import os
import shutil
import signal
import subprocess

from private import Private

NARROW = """create table bench.{name} (id bigint primary key, k int not null, c char(120) not null, pad char(60) not null) engine={engine}"""
NARROW_ROWS = """insert into bench.{name} select seq, seq * 7 % 500000, repeat(char(97 + seq % 26), 119), repeat('x', 59)
 from bench.seq_{first}_to_{last}"""
WIDE16 = """create table bench.{name} (
 orderkey bigint, linenumber int, partkey bigint not null, suppkey int not null, quantity decimal(15,2) not null,
 extendedprice decimal(15,2) not null, discount decimal(15,2) not null, tax decimal(15,2) not null,
 returnflag char(1) not null, linestatus char(1) not null, shipdate date not null, commitdate date not null,
 receiptdate date not null, shipinstruct char(25) not null, shipmode char(10) not null, comment varchar(44) not null,
 primary key (orderkey, linenumber)) engine={engine}"""
WIDE16_ROWS = """insert into bench.{name} select seq div 4, seq % 4, seq * 31 % 200000, seq % 10000, seq % 50 + 0.25,
 seq % 90000 + 0.17, seq % 10 / 100, seq % 8 / 100, 'N', 'O', date '2024-01-01' + interval seq % 700 day,
 date '2024-02-01' + interval seq % 700 day, date '2024-03-01' + interval seq % 700 day, 'DELIVER IN PERSON', 'TRUCK',
 concat('comment number ', seq) from bench.seq_{first}_to_{last}"""


def wide40():
    columns = ", ".join(
        f"i{n} int not null, b{n} bigint not null, s{n} varchar(40) not null, d{n} datetime(6) not null" for n in range(10)
    )
    values = ", ".join(
        f"seq % {100 + n}, seq * {n + 3}, concat('value ', seq % 1000), timestamp'2024-01-01 00:00:00' + interval seq second"
        for n in range(10)
    )
    create = f"create table bench.{{name}} (id bigint primary key, {columns}) engine={{engine}}"
    return create, f"insert into bench.{{name}} select seq, {values} from bench.seq_{{first}}_to_{{last}}"


class Database(Private):
    """Of the MySQL family."""

    # The source type of its pipelines.
    kind = "mariadb"

    def __init__(self, folder):
        super().__init__(folder)
        self.version = self.sql("select version()")
        self.sql("create database bench; create user bench@'127.0.0.1' identified by 'bench'; grant all on *.* to bench@'127.0.0.1'")
        # Rows of this engine are only logged: a log of millions of rows is there in seconds.
        self.log_only = self.log_only_engine()

    def log_only_engine(self):
        try:
            self.sql("install soname 'ha_blackhole'")
            return "blackhole"
        except subprocess.CalledProcessError:
            return "innodb"

    def user(self):
        return ["--user=root"] if os.getuid() == 0 else []

    def install(self):
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal"]
        subprocess.run(command + self.user(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self):
        folder, data = self.folder, f"{self.folder}/data"
        return ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={folder}/socket", f"--port={self.port}",
                "--bind-address=127.0.0.1", "--server-id=1", f"--log-bin={data}/bin", "--binlog-format=ROW",
                "--binlog-row-metadata=FULL", "--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=2",
                "--innodb-log-file-size=1G", "--max-binlog-size=1G", f"--tmpdir={folder}"] + self.user()

    def client(self, *arguments):
        return ["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{self.port}", "-uroot", "--batch", "--skip-column-names", *arguments]

    def create(self, create, name, engine=None):
        self.sql(create.format(name=name, engine=engine or self.log_only))

    def fill(self, rows, name, count):
        """Fills a table in transactions of 100,000 rows."""
        for first in range(1, count + 1, 100_000):
            self.sql(rows.format(name=name, first=first, last=min(first + 99_999, count)))

    def transactions(self, tables, count):
        """So many transactions of 3 to 10 single-row inserts each, over these tables in turn; returns the number of rows."""
        script, key = [], 0
        for number in range(count):
            script.append("begin;")
            for row in range(3 + number % 8):
                key += 1
                table = tables[(number + row) % len(tables)]
                script.append(f"insert into bench.{table} values ({key}, {key % 1000}, 'customer {key}', 'shipped');")
            script.append("commit;")
        self.sql("\n".join(script))
        return key

    def log_size(self, first):
        """Bytes of the binlog files from `first` on."""
        files = [line.split("\t")[:2] for line in self.sql("show binary logs").splitlines()]
        return sum(int(size) for name, size in files if name >= first)

    def rotate(self):
        """Starts a new binlog file and returns its name."""
        self.sql("flush binary logs")
        return self.sql("show binary logs").splitlines()[-1].split("\t")[0]

    def forget(self, *names):
        """Drops tables and every binlog file but the last."""
        for name in names:
            self.sql(f"drop table bench.{name}")
        self.sql(f"purge binary logs to '{self.rotate()}'")

    def stop(self):
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
