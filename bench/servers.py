"""The servers that `cargo xtask servers` unpacks, with the tables of the benches; `database.py` has the machine's own."""

import os
import subprocess

from database import Database


def servers_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.environ.get("DUJIANG_SERVERS") or os.path.join(cache, "dujiang/servers"))


class MariaDb(Database):
    """The newest MariaDB."""

    def __init__(self, folder):
        self.binaries = os.path.join(servers_folder(), "mariadb/bin")
        super().__init__(folder)

    def install(self):
        command = [f"{self.binaries}/mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/data",
                   "--auth-root-authentication-method=normal"]
        subprocess.run(command + self.user(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self):
        return [f"{self.binaries}/mariadbd", *super().command()[1:]]


class MySql(Database):
    """MySQL of the folder `name`. It has no engine that makes numbers: there is a table of them, which is not logged."""

    kind = "mysql"
    name = "mysql"

    def __init__(self, folder):
        self.binary = os.path.join(servers_folder(), self.name, "bin/mysqld")
        super().__init__(folder)
        self.sql("set sql_log_bin = 0; create table bench.numbers (seq int primary key); insert into bench.numbers values (1)")
        self.numbers = 1

    def log_only_engine(self):
        support = self.sql("select support from information_schema.engines where engine = 'BLACKHOLE'")
        return "blackhole" if support in ("YES", "DEFAULT") else "innodb"

    def install(self):
        init = f"{self.folder}/init.sql"
        with open(init, "w") as out:
            out.write("create user root@'127.0.0.1' identified by '';\ngrant all on *.* to root@'127.0.0.1' with grant option;\n")
        command = [self.binary, "--no-defaults", "--initialize-insecure", f"--init-file={init}", f"--datadir={self.folder}/data"]
        subprocess.run(command + self.user(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self):
        folder = self.folder
        return [self.binary, "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/socket", f"--port={self.port}",
                "--bind-address=127.0.0.1", "--server-id=1", f"--log-bin={folder}/data/bin", "--binlog-format=ROW",
                "--loose-binlog-row-metadata=FULL", "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
                "--loose-mysqlx=OFF", "--innodb-buffer-pool-size=256M", "--innodb-flush-log-at-trx-commit=2",
                "--max-binlog-size=1G", f"--tmpdir={folder}"] + self.user()

    def fill(self, rows, name, count):
        while self.numbers < count:
            self.sql(f"set sql_log_bin = 0; insert into bench.numbers select seq + {self.numbers} from bench.numbers")
            self.numbers *= 2
        super().fill(rows.replace("bench.seq_{first}_to_{last}", "bench.numbers where seq between {first} and {last}"), name, count)


class MySql57(MySql):
    """MySQL 5.7."""

    name = "mysql-5.7"
