"""A private PostgreSQL with the tables of the benches."""

import glob
import os
import pwd
import shutil
import signal
import subprocess

from private import Private

NARROW = "create table {name} (id bigint primary key, k int not null, c char(120) not null, pad char(60) not null)"
NARROW_ROWS = """insert into {name} select n, n * 7 % 500000, repeat(chr(97 + (n % 26)::int), 119), repeat('x', 59)
 from generate_series({first}::bigint, {last}) n"""
WIDE16 = """create table {name} (
 orderkey bigint, linenumber int, partkey bigint not null, suppkey int not null, quantity numeric(15,2) not null,
 extendedprice numeric(15,2) not null, discount numeric(15,2) not null, tax numeric(15,2) not null,
 returnflag char(1) not null, linestatus char(1) not null, shipdate date not null, commitdate date not null,
 receiptdate date not null, shipinstruct char(25) not null, shipmode char(10) not null, comment varchar(44) not null,
 primary key (orderkey, linenumber))"""
WIDE16_ROWS = """insert into {name} select n / 4, n % 4, n * 31 % 200000, n % 10000, n % 50 + 0.25, n % 90000 + 0.17,
 n % 10 / 100.0, n % 8 / 100.0, 'N', 'O', date '2024-01-01' + (n % 700)::int, date '2024-02-01' + (n % 700)::int,
 date '2024-03-01' + (n % 700)::int, 'DELIVER IN PERSON', 'TRUCK', 'comment number ' || n
 from generate_series({first}::bigint, {last}) n"""
SETTINGS = {
    "listen_addresses": "127.0.0.1", "wal_level": "logical", "max_wal_size": "64GB", "checkpoint_timeout": "1h",
    "shared_buffers": "1GB", "synchronous_commit": "off", "autovacuum": "off", "jit": "off",
    "logical_decoding_work_mem": "256MB", "timezone": "UTC",
}


def wide40():
    columns = ", ".join(
        f"i{n} int not null, b{n} bigint not null, s{n} varchar(40) not null, d{n} timestamp(6) not null" for n in range(10)
    )
    values = ", ".join(
        f"n % {100 + n}, n * {n + 3}, 'value ' || n % 1000, timestamp '2024-01-01' + interval '1 second' * n" for n in range(10)
    )
    create = f"create table {{name}} (id bigint primary key, {columns})"
    return create, f"insert into {{name}} select n, {values} from generate_series({{first}}::bigint, {{last}}) n"


def program(name):
    """Debian keeps the server's programs of each version in a folder of their own."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else name


class Postgres(Private):
    """PostgreSQL, as a user of its own where the benches run as root."""

    def __init__(self, folder):
        super().__init__(folder)
        self.version = self.sql("show server_version").split(" ")[0]

    def user(self):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.getuid() == 0 else []

    def install(self):
        # The server's user has to come through to its folder.
        os.chmod(os.path.dirname(self.folder), 0o755)
        if self.user():
            shutil.chown(self.folder, "postgres", pwd.getpwnam("postgres").pw_gid)
        initdb = [program("initdb"), "--auth=trust", "--username=postgres", "--no-sync", "--locale=C.UTF-8", "-D", f"{self.folder}/data"]
        subprocess.run(self.user() + initdb, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def command(self):
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return self.user() + [program("postgres"), "-D", f"{self.folder}/data", "-k", self.folder, "-p", str(self.port), *settings]

    def client(self, *arguments):
        return ["psql", "-X", "-q", "-A", "-t", "-h127.0.0.1", f"-p{self.port}", "-Upostgres", "-vON_ERROR_STOP=1", *arguments]

    def create(self, create, name):
        self.sql(f"{create.format(name=name)}; alter table {name} replica identity full")

    def fill(self, rows, name, count, batch=100_000):
        """Fills a table in transactions of so many rows."""
        for first in range(1, count + 1, batch):
            self.sql(rows.format(name=name, first=first, last=min(first + batch - 1, count)))

    def singles(self, tables, count, rows=lambda number: 1):
        """So many transactions of a few single-row inserts each, over these tables in turn; returns the number of rows."""
        script, key = [], 0
        for number in range(count):
            script.append("begin;")
            for row in range(rows(number)):
                key += 1
                script.append(f"insert into {tables[(number + row) % len(tables)]} values ({key}, {key % 1000}, 'customer {key}', 'shipped');")
            script.append("commit;")
        self.sql("\n".join(script))
        return key

    def place(self):
        return self.sql("set synchronous_commit = on; select pg_logical_emit_message(true, 'bench', ''); select pg_current_wal_flush_lsn()").splitlines()[-1]

    def bytes_since(self, place):
        return int(self.sql(f"select pg_wal_lsn_diff(pg_current_wal_lsn(), '{place}')::bigint"))

    def size(self, name):
        return int(self.sql(f"analyze {name}; select pg_table_size('{name}')"))

    def copy_slot(self, slot, name):
        """A slot that stands where another one does: reading moves a slot for good."""
        self.forget_slot(name)
        self.sql(f"select pg_copy_logical_replication_slot('{slot}', '{name}')")

    def forget_slot(self, name):
        self.sql(f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{name}'")

    def stop(self):
        # Without waiting for its clients.
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
