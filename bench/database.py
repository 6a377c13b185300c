"""A private MariaDB with the tables of the benches."""

import os
import shutil
import signal
import socket
import subprocess
import time

NARROW = """create table bench.{name} (id bigint primary key, k int not null, c char(120) not null, pad char(60) not null)"""
NARROW_ROWS = """insert into bench.{name} select seq, seq * 7 % 500000, repeat(char(97 + seq % 26), 119), repeat('x', 59)
 from bench.seq_{first}_to_{last}"""
WIDE16 = """create table bench.{name} (
 orderkey bigint, linenumber int, partkey bigint not null, suppkey int not null, quantity decimal(15,2) not null,
 extendedprice decimal(15,2) not null, discount decimal(15,2) not null, tax decimal(15,2) not null,
 returnflag char(1) not null, linestatus char(1) not null, shipdate date not null, commitdate date not null,
 receiptdate date not null, shipinstruct char(25) not null, shipmode char(10) not null, comment varchar(44) not null,
 primary key (orderkey, linenumber))"""
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
    create = f"create table bench.{{name}} (id bigint primary key, {columns})"
    return create, f"insert into bench.{{name}} select seq, {values} from bench.seq_{{first}}_to_{{last}}"


class Database:
    """Starts in `folder`, ends with `stop`."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        data = os.path.join(folder, "data")
        user = ["--user=root"] if os.getuid() == 0 else []
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.server = subprocess.Popen(
            ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={folder}/socket", f"--port={self.port}",
             "--bind-address=127.0.0.1", "--server-id=1", f"--log-bin={data}/bin", "--binlog-format=ROW",
             "--binlog-row-metadata=FULL", "--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=2",
             "--innodb-log-file-size=1G", "--max-binlog-size=1G", f"--tmpdir={folder}", *user],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        while True:
            try:
                self.sql("select 1")
                break
            except subprocess.CalledProcessError:
                if self.server.poll() is not None:
                    raise RuntimeError("mariadbd ended while starting")
                time.sleep(0.1)
        self.sql("create database bench; create user bench@'127.0.0.1' identified by 'bench'; grant all on *.* to bench@'127.0.0.1'")

    def client(self, *arguments):
        return ["mariadb", "--no-defaults", "-h127.0.0.1", f"-P{self.port}", "-uroot", "--batch", "--skip-column-names", *arguments]

    def sql(self, statements):
        done = subprocess.run(self.client(), input=statements.encode(), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.decode().strip()

    def fill(self, create, rows, name, count):
        """Creates a table and fills it in transactions of 100,000 rows; returns the binlog file that holds only them."""
        self.sql(create.format(name=name))
        file = self.rotate()
        for first in range(1, count + 1, 100_000):
            self.sql(rows.format(name=name, first=first, last=min(first + 99_999, count)))
        return file

    def interleaved(self, transactions):
        """Five tables, 3 to 10 rows a transaction over all of them; returns the binlog file and the number of rows."""
        for n in range(5):
            self.sql(NARROW.format(name=f"mix{n}"))
        file = self.rotate()
        script = []
        key = 0
        for number in range(transactions):
            script.append("begin;")
            for row in range(3 + number % 8):
                key += 1
                script.append(f"insert into bench.mix{(number + row) % 5} values ({key}, {key % 1000}, 'c{key}', 'p');")
            script.append("commit;")
        self.sql("\n".join(script))
        return file, key

    def binlog_files(self):
        return [line.split("\t")[0] for line in self.sql("show binary logs").splitlines()]

    def rotate(self):
        """Starts a new binlog file and returns its name."""
        self.sql("flush binary logs")
        return self.binlog_files()[-1]

    def stop(self):
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
