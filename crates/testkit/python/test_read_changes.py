"""The oracle must notice what it is there for: each test breaks a small history in one way. Run by `src/oracle.rs`."""

import copy
import json
import os
import tempfile
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

from read_changes import Reader

TABLE = {
    "name": "d.t",
    "key": ["id"],
    "chain": "id",
    "version": "version",
    "sum": "version",
    "folding_key": None,
    "instants": [],
    "binary": [],
}


def event(op, id, version, offset, ordinal=0, text="x"):
    place = f"snapshot:1/d%2et/{id}" if op == "r" else f"0-1-{offset}/d%2et/{ordinal}"
    return {
        "id": id,
        "version": version,
        "text": text,
        "__op": op,
        "__event_id": f"line/{place}",
        "__position": f"bin.000001:{offset}",
    }


# Two snapshot rows read at 100; then changes, a deletion, and a row that comes back.
HISTORY = [
    [[event("r", 1, 3, 100), event("r", 2, 1, 100)]],
    [[event("u", 1, 4, 120), event("c", 3, 1, 130)], [event("u", 2, 2, 110), event("u", 2, 3, 140)]],
    [[event("d", 1, 4, 150), event("c", 1, 5, 160, text=None), event("u", 3, 2, 160, 1)]],
]
SOURCE = [(1, 5, None), (2, 3, "x"), (3, 2, "x")]


class Oracle(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.output = os.path.join(self.folder.name, "out")
        self.dumps = os.path.join(self.folder.name, "dumps")
        os.makedirs(os.path.join(self.output, ".dujiang", "manifests"))
        os.makedirs(self.dumps)
        self.history = copy.deepcopy(HISTORY)
        self.source = list(SOURCE)

    def tearDown(self):
        self.folder.cleanup()

    def write(self):
        for number, epoch in enumerate(self.history, start=1):
            files = []
            for index, rows in enumerate(epoch):
                path = f"d.t/e{number}-{index}.parquet"
                where = os.path.join(self.output, path)
                os.makedirs(os.path.dirname(where), exist_ok=True)
                pq.write_table(pa.Table.from_pylist(rows), where)
                files.append({"file": path, "rows": len(rows), "bytes": os.path.getsize(where)})
            name = os.path.join(self.output, ".dujiang", "manifests", f"e{number:010}.manifest")
            with open(name, "w", encoding="utf-8") as record:
                record.write(json.dumps({"epoch": number, "files": files}) + "\n{}\n")
        cell = lambda value: "-" if value is None else "x" + str(value).encode().hex()
        with open(os.path.join(self.dumps, "d.t"), "w", encoding="utf-8") as dump:
            dump.write("id\tversion\ttext\n")
            dump.writelines("\t".join(map(cell, row)) + "\n" for row in self.source)

    def problems(self, write=True):
        if write:
            self.write()
        reader = Reader({"output": self.output, "dumps": self.dumps, "tables": [TABLE]})
        reader.check_manifests()
        reader.check_table(TABLE)
        return reader.problems

    def must_notice(self, what, write=True):
        found = self.problems(write)
        self.assertTrue(any(what in problem for problem in found), found)

    def test_a_true_history_is_clean(self):
        self.assertEqual(self.problems(), [])

    def test_a_lost_row(self):
        self.source.append((9, 1, "x"))
        self.must_notice("rows of the source are not what the files say")

    def test_a_changed_value(self):
        self.source[1] = (2, 3, "y")
        self.must_notice("the files say rows that the source does not have")

    def test_null_is_not_the_empty_string(self):
        self.source[0] = (1, 5, "")
        self.must_notice("rows of the source are not what the files say")

    def test_an_invented_row(self):
        self.history[2][0].append(event("c", 7, 1, 170))
        self.must_notice("the files say rows that the source does not have")

    def test_an_event_twice(self):
        self.history[2][0].append(event("c", 3, 1, 130))
        self.must_notice("stand there more than once")

    def test_a_lost_change_between_others(self):
        del self.history[1][1][0]
        self.must_notice("versions do not rise by one")

    def test_a_lost_first_change(self):
        self.history[1][0][1] = event("u", 3, 2, 130)
        self.must_notice("versions do not rise by one")

    def test_a_lost_deletion(self):
        del self.history[2][0][:2]
        self.must_notice("rows of the source are not what the files say")

    def test_changes_of_a_key_in_the_wrong_order(self):
        self.history[1][1].reverse()
        self.must_notice("stand in the wrong order")

    def test_an_epoch_before_its_turn(self):
        self.history[1], self.history[2] = self.history[2], self.history[1]
        self.must_notice("stand in the wrong order")

    def test_a_visible_file_without_manifest(self):
        self.write()
        pq.write_table(pa.Table.from_pylist(self.history[0][0]), os.path.join(self.output, "d.t", "other.parquet"))
        self.must_notice("files no manifest names", write=False)

    def test_a_file_that_is_gone(self):
        self.write()
        os.remove(os.path.join(self.output, "d.t", "e1-0.parquet"))
        self.must_notice("named files are missing", write=False)

    def test_work_left_behind(self):
        os.makedirs(os.path.join(self.output, ".dujiang", "staged"))
        with open(os.path.join(self.output, ".dujiang", "staged", "x.staged"), "w", encoding="utf-8"):
            pass
        self.must_notice("left work behind")

    def test_no_files_at_all(self):
        self.history = []
        self.must_notice("there are no files")


if __name__ == "__main__":
    unittest.main()
