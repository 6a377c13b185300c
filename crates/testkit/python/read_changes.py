"""Checks that a pipeline's Parquet files are the history of its source. The other half is `src/oracle.rs`.

Reads one JSON document from standard input (output folder, folder with the source's rows, tables) and prints lines:
`images N`, `reads N`, `files N`, and one `problem TEXT` for everything that is wrong.

It shares nothing with the writer but the documented layout: `<output>/<database>.<table>/**/*.parquet`, the columns
`__op`, `__event_id`, `__position`, and one manifest per epoch under `<output>/.dujiang/manifests/`.
"""

import json
import os
import sys

import duckdb

from layout import data_files, leftovers, manifests

# How many examples of one kind of mistake are printed.
EXAMPLES = 5


class Reader:
    def __init__(self, request):
        self.output = request["output"]
        self.dumps = request["dumps"]
        self.tables = request["tables"]
        self.database = duckdb.connect()
        self.problems = []
        self.images = 0
        self.reads = 0
        self.files = 0

    def run(self):
        self.check_manifests()
        for table in self.tables:
            try:
                self.check_table(table)
            except duckdb.Error as error:
                self.problem(table, "could not be checked", [str(error)])
        print(f"images {self.images}")
        print(f"reads {self.reads}")
        print(f"files {self.files}")
        for problem in self.problems:
            print("problem " + problem.replace("\n", " "))

    def problem(self, table, what, examples):
        shown = "; ".join(str(e) for e in examples[:EXAMPLES])
        self.problems.append(f"{table['name'] if table else 'manifests'}: {what} ({len(examples)}): {shown}")

    def rows(self, sql):
        return self.database.execute(sql).fetchall()

    # -- files and manifests ------------------------------------------------------------------------------------------

    def check_manifests(self):
        named = {}
        for manifest in manifests(self.output):
            for file in manifest.files:
                if file.path in named:
                    self.problem(None, "a file is named by two epochs", [file.path])
                named[file.path] = file
        there = set(data_files(self.output))
        self.files = len(there)
        missing, extra = set(named) - there, there - set(named)
        if missing:
            self.problem(None, "named files are missing", sorted(missing))
        if extra:
            self.problem(None, "files no manifest names", sorted(extra))
        wrong = [
            f"{path} has {os.path.getsize(os.path.join(self.output, path))} bytes, its manifest says {named[path].bytes}"
            for path in sorted(there & set(named))
            if named[path].bytes != os.path.getsize(os.path.join(self.output, path))
        ]
        if wrong:
            self.problem(None, "sizes differ", wrong)
        left = leftovers(self.output)
        if left:
            self.problem(None, "a pipeline at rest left work behind", left)
        self.order = {path: (file.epoch, file.index) for path, file in named.items()}
        self.named = named

    # -- one table ----------------------------------------------------------------------------------------------------

    def check_table(self, table):
        files = self.load(table)
        self.load_dump(table, files)
        if files:
            self.check_row_counts(table)
            self.check_events(table)
            self.check_order(table)
            self.check_chain(table)
        self.check_fold(table, files)

    def load(self, table):
        """Every image of the table with its place in the files (epoch, file, row) and in the source (log, offset, ordinal)."""
        folder = table["name"] + "/"
        files = [f for f in data_files(self.output) if f.startswith(folder) and f in self.order]
        self.database.execute("DROP TABLE IF EXISTS images")
        if not files:
            return []
        self.database.execute("CREATE OR REPLACE TABLE places (file VARCHAR, epoch BIGINT, index BIGINT)")
        paths = {os.path.join(self.output, f): self.order[f] for f in files}
        self.database.executemany("INSERT INTO places VALUES (?, ?, ?)", [(p, *o) for p, o in paths.items()])
        self.database.execute(
            """
            CREATE TABLE images AS
            SELECT i.* EXCLUDE (file_row_number, filename),
                   p.epoch AS _epoch, p.index AS _index, i.file_row_number AS _row, i.filename AS _file,
                   CAST(regexp_extract(__position, '(\\d+):\\d+', 1) AS BIGINT) AS _log,
                   CAST(regexp_extract(__position, '\\d+:(\\d+)', 1) AS BIGINT) AS _offset,
                   CASE WHEN __op = 'r' THEN -1
                        ELSE CAST(regexp_extract(__event_id, '/(\\d+)$', 1) AS BIGINT) END AS _ordinal
            FROM read_parquet(?, union_by_name = true, filename = true, file_row_number = true) i
            JOIN places p ON p.file = i.filename
            """,
            [sorted(paths)],
        )
        self.images += self.rows("SELECT count(*) FROM images")[0][0]
        self.reads += self.rows("SELECT count(*) FROM images WHERE __op = 'r'")[0][0]
        return files

    def load_dump(self, table, files):
        """The source's rows, every cell cast to the type that the files give the column."""
        path = os.path.join(self.dumps, table["name"])
        with open(path, encoding="utf-8") as file:
            columns = file.readline().rstrip("\n").split("\t")
        names = ", ".join(f"'{c}': 'VARCHAR'" for c in columns)
        types = {}
        if files:
            types = {name: kind for name, kind, *_ in self.rows("DESCRIBE images")}
        casts = ", ".join(f"{self.cell(table, c, types.get(c, 'VARCHAR'))} AS {quoted(c)}" for c in columns)
        self.columns = columns
        self.database.execute(
            f"""
            CREATE OR REPLACE TABLE source AS SELECT {casts}
            FROM read_csv(?, delim = '\t', header = true, quote = '', escape = '', columns = {{{names}}})
            """,
            [path],
        )
        if files:
            gone = [c for c in columns if c not in types]
            if gone:
                self.problem(table, "columns are missing", gone)

    def cell(self, table, column, kind):
        raw = f"unhex(substr({quoted(column)}, 2))"
        null = f"{quoted(column)} = '-'"
        if column in table["binary"]:
            return f"CASE WHEN {null} THEN NULL ELSE {raw} END"
        if column in table["instants"]:
            kind = "TIMESTAMP"
        return f"CASE WHEN {null} THEN NULL ELSE CAST(decode({raw}) AS {kind}) END"

    def value(self, table, column):
        """A column of `images`, in the form that `cell` gives it; instants as their UTC time."""
        if column in table["instants"]:
            return f"make_timestamp(epoch_us({quoted(column)}))"
        return quoted(column)

    def check_row_counts(self, table):
        counts = self.rows("SELECT _file, count(*) FROM images GROUP BY _file")
        wrong = [
            f"{file} has {count} rows, its manifest says {self.named[os.path.relpath(file, self.output)].rows}"
            for file, count in counts
            if self.named[os.path.relpath(file, self.output)].rows != count
        ]
        if wrong:
            self.problem(table, "row counts differ", wrong)

    def check_events(self, table):
        nameless = self.rows("SELECT _file, _row FROM images WHERE __event_id IS NULL OR __op IS NULL OR _offset IS NULL")
        if nameless:
            self.problem(table, "images without event id, operation or position", nameless)
        # The two halves of a key change share the update's id.
        twice = self.rows("SELECT __event_id, __op, count(*) FROM images GROUP BY ALL HAVING count(*) > 1")
        if twice:
            self.problem(table, "events stand there more than once", twice)

    def fold_key(self, table):
        return [table["folding_key"]] if table["folding_key"] else table["key"]

    def check_order(self, table):
        # By the key as it stands: a row that moves to another key while the snapshot runs may be read there before the
        # stream comes to the place where it left the old one.
        key = ", ".join(quoted(c) for c in table["key"])
        wrong = self.rows(
            f"""
            WITH steps AS (
              SELECT {key}, __op, _file, _row, _log, _offset, _ordinal,
                     lag((_log, _offset, _ordinal)) OVER by_key AS before
              FROM images WINDOW by_key AS (PARTITION BY {key} ORDER BY _epoch, _index, _row))
            SELECT * FROM steps WHERE before > (_log, _offset, _ordinal)
            """
        )
        if wrong:
            self.problem(table, "changes of one key stand in the wrong order", wrong)

    def check_chain(self, table):
        """Versions rise by one. Not so where changes are dropped on purpose: while the snapshot runs a row may move to a
        key whose chunk is not read yet; its deletion passes, its further life is seen from its chunk on, or, if it is
        deleted before, from its return on. And a row that was deleted before all of this may return with any version."""
        if not table["chain"]:
            return
        chain, version = quoted(table["chain"]), quoted(table["version"])
        wrong = self.rows(
            f"""
            WITH handed_off AS (SELECT max((_log, _offset)) AS place FROM images WHERE __op = 'r'),
            steps AS (
              SELECT {chain} AS chain, {version} AS version, __op AS op, _log, _offset, _ordinal,
                     lag({version}) OVER by_chain AS last, lag(__op) OVER by_chain AS last_op,
                     lag((_log, _offset)) OVER by_chain AS last_place
              FROM images
              WINDOW by_chain AS (PARTITION BY {chain} ORDER BY _log, _offset, _ordinal, __op = 'c'))
            SELECT chain, last_op, last, op, version, _log, _offset, _ordinal FROM steps, handed_off
            WHERE CASE
              WHEN last IS NULL THEN op NOT IN ('r', 'c')
              WHEN op = 'd' THEN version <> last
              WHEN last_op = 'd' AND (op = 'r' OR coalesce(last_place < place, false)) THEN version <= last
              ELSE version <> last + 1 END
            """
        )
        if wrong:
            self.problem(table, "versions do not rise by one (chain, last op, last version, op, version, place)", wrong)
            self.problem(table, "their histories", [self.history(table, row[0]) for row in wrong[:EXAMPLES]])

    def history(self, table, chain):
        """Everything the files say about one row, and where the snapshot was read, for whoever looks for the reason."""
        key = ", ".join(quoted(c) for c in table["key"])
        events = self.rows(
            f"""SELECT __op, {quoted(table["version"])}, {key}, _log, _offset, _ordinal, _epoch FROM images
            WHERE {quoted(table["chain"])} = '{chain}' ORDER BY _log, _offset, _ordinal, __op = 'c'"""
        )
        reads = self.rows("SELECT _log, _offset, count(*), max(_epoch) FROM images WHERE __op = 'r' GROUP BY ALL ORDER BY ALL")
        return f"{chain}: events {events}, last hand-off points {reads[-8:]}"

    def check_fold(self, table, files):
        key = ", ".join(quoted(c) for c in self.fold_key(table))
        columns = ", ".join(quoted(c) for c in self.columns)
        if not files:
            left = self.rows("SELECT * FROM source LIMIT 5")
            if left:
                self.problem(table, "rows of the source are nowhere: there are no files", left)
            return
        values = ", ".join(f"{self.value(table, c)} AS {quoted(c)}" for c in self.columns)
        self.database.execute(
            f"""
            CREATE OR REPLACE TABLE folded AS SELECT {values} FROM images
            QUALIFY row_number() OVER (
              PARTITION BY {key} ORDER BY _log DESC, _offset DESC, _ordinal DESC, __op = 'd') = 1 AND __op <> 'd'
            """
        )
        lost = self.rows(f"SELECT {columns} FROM source EXCEPT ALL SELECT {columns} FROM folded")
        invented = self.rows(f"SELECT {columns} FROM folded EXCEPT ALL SELECT {columns} FROM source")
        if lost:
            self.problem(table, "rows of the source are not what the files say", lost)
        if invented:
            self.problem(table, "the files say rows that the source does not have", invented)
        if table["sum"]:
            self.check_sum(table)

    def check_sum(self, table):
        column = quoted(table["sum"])
        sums = [self.rows(f"SELECT sum({column}) FROM {name}")[0][0] for name in ("source", "folded")]
        if sums[0] != sums[1]:
            self.problem(table, "the sum is not the source's", sums)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    Reader(json.load(sys.stdin)).run()
