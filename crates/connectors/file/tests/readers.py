"""Reads files of the `file` sink with pyarrow and DuckDB and compares them with the rows that were written.

Usage: readers.py CASES.json, a list of {path, format, null, rows}; a row is a list in the order of COLUMNS, see `exact`
in formats.rs. Prints one line and exits 0, or tells the first difference and exits 1.
"""

import base64
import datetime as dt
import glob
import json
import struct
import sys
from decimal import Decimal, getcontext

try:
    import duckdb
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet
except ImportError as missing:
    sys.exit(f"{missing}: pip install pyarrow duckdb")

getcontext().prec = 100
EPOCH = dt.datetime(1970, 1, 1)
UTC = dt.timezone.utc
COLUMNS = (
    "id flag tiny small int big huge single double money wide text bytes date time wall instant span document "
    "items pairs record"
).split()
ADDED = ["__op", "__commit_time", "__event_id", "__position", "__transaction"]
INTEGERS = {"id", "tiny", "small", "int", "big", "huge"}
FLOATS = {"single", "double"}
NESTED = {"items", "pairs", "record"}
SCALE = {"money": 9, "wide": 30}
DUCK_TYPES = {
    "id": "BIGINT", "flag": "BOOLEAN", "tiny": "TINYINT", "small": "USMALLINT", "int": "INTEGER", "big": "BIGINT",
    "huge": "UBIGINT", "single": "FLOAT", "double": "DOUBLE", "money": "DECIMAL(38,9)", "wide": "VARCHAR",
    "text": "VARCHAR", "bytes": "VARCHAR", "date": "DATE", "time": "TIME", "wall": "TIMESTAMP",
    "instant": "TIMESTAMPTZ", "span": "VARCHAR", "document": "VARCHAR",
    "items": "VARCHAR", "pairs": "VARCHAR", "record": "VARCHAR",
}
# With JSON files DuckDB is told the shapes; in CSV such a cell is the text of its JSON.
DUCK_NESTED = {
    "items": "VARCHAR[]", "pairs": "MAP(VARCHAR, BIGINT)",
    "record": 'STRUCT(number INTEGER, "at" TIMESTAMP, tags UBIGINT[])',
}


def micros(count):
    return dt.timedelta(microseconds=count)


def bits(value):
    return "nan" if value != value else str(struct.unpack("<Q", struct.pack("<d", value))[0])


def expected(column, value):
    """The written value as the Python value that stands for it in comparisons."""
    if value is None:
        return None
    if column in INTEGERS:
        return int(value)
    if column in SCALE:
        return Decimal(value).scaleb(-SCALE[column])
    if column == "bytes":
        return bytes(value)
    if column == "date":
        return EPOCH.date() + dt.timedelta(days=value)
    if column == "time":
        return (EPOCH + micros(value)).time()
    if column == "wall":
        return EPOCH + micros(value)
    if column == "instant":
        return (EPOCH + micros(value)).replace(tzinfo=UTC)
    if column == "span":
        return micros(value)
    if column == "record":
        return {**value, "at": None if value["at"] is None else EPOCH + micros(value["at"])}
    return value


def parse_json(text):
    return json.loads(text, parse_float=Decimal, parse_int=str)


def nested(column, value):
    """A cell of a column with parts as JSON has it: whole numbers are text there, see `parse_json`."""
    whole = lambda number: None if number is None else int(number)
    if column == "pairs":
        return {key: whole(number) for key, number in value.items()}
    if column == "record":
        at = None if value["at"] is None else dt.datetime.fromisoformat(value["at"])
        tags = None if value["tags"] is None else [whole(tag) for tag in value["tags"]]
        return {"number": whole(value["number"]), "at": at, "tags": tags}
    return value


def span(text):
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole = (int(hours) * 3600 + int(minutes) * 60) * 10**6 + int(Decimal(seconds) * 10**6)
    return micros(sign * whole)


def from_text(column, value):
    """The text form of a value, parsed independently."""
    if column in NESTED and isinstance(value, str):
        return nested(column, parse_json(value))
    if value is None or not isinstance(value, (str, int, float, Decimal)) or isinstance(value, bool):
        return value
    if column in INTEGERS:
        return int(value)
    if column == "single":
        return bits(struct.unpack("<f", struct.pack("<f", float(value)))[0])
    if column == "double":
        return bits(float(value))
    if column in SCALE:
        return Decimal(value)
    if column == "flag":
        return {"true": True, "false": False}[value]
    if column == "bytes":
        return base64.b64decode(value, validate=True)
    if column == "date":
        return dt.date.fromisoformat(value)
    if column == "time":
        return dt.time.fromisoformat(value)
    if column == "wall":
        return dt.datetime.fromisoformat(value)
    if column == "instant":
        assert value.endswith("Z"), value
        return dt.datetime.fromisoformat(value[:-1]).replace(tzinfo=UTC)
    if column == "span":
        return span(value)
    return value


def from_duckdb(column, value):
    if value is None:
        return None
    if column in FLOATS:
        return bits(value)
    if column == "wide" and isinstance(value, float):
        return value  # DuckDB has no decimal beyond 38 digits: it reads a double, and so it does with JSON's numbers
    if column == "span" and isinstance(value, int):
        return micros(value)  # Parquet has no duration: DuckDB reads the count of microseconds
    if column == "instant":
        return (EPOCH + micros(value)).replace(tzinfo=UTC)
    if column == "bytes" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if column in ("wide", "span", *NESTED) and isinstance(value, str):
        return from_text(column, value)
    return value


def compare(reader, case, names, rows, convert):
    wanted = sorted(case["rows"], key=lambda row: int(row[0]))
    fail = lambda what: sys.exit(f"{reader}, {case['format']} in {case['path']}: {what}")
    if names[: len(COLUMNS) + len(ADDED)] != COLUMNS + ADDED:
        fail(f"columns {names}")
    if len(rows) != len(wanted):
        fail(f"{len(rows)} rows instead of {len(wanted)}")
    rows = sorted(rows, key=lambda row: int(row[0]))
    for row, want in zip(rows, wanted):
        for column, value, raw in zip(COLUMNS, row, want):
            good, found = expected(column, raw), convert(column, value)
            if column == "document" and case["format"] == "json" and good is not None:
                good = parse_json(good)
                found = parse_json(found) if reader == "duckdb" else found
            if column in SCALE and case["format"] == "json" and reader == "duckdb" and found is not None:
                found = float(found)
            same = found == good if not isinstance(found, float) else abs(found - float(good)) <= max(abs(float(good)), 1) * 1e-9
            if not same:
                fail(f"row {want[0]}, column {column}: wrote {good!r}, read {found!r} ({value!r})")
        if row[len(COLUMNS)] != "c" or row[len(COLUMNS) + 2] != f"00000000000000aa/0-1-99/shop.all_types/{want[0]}":
            fail(f"row {want[0]}: metadata {row[len(COLUMNS):]}")


def from_arrow(column, value):
    if value is None:
        return None
    if column in FLOATS:
        return bits(value)
    return dict(value) if column == "pairs" else value


def read_arrow(case, path):
    if case["format"] == "parquet":
        table = pa.parquet.ParquetFile(path).read()
        columns = []
        for name, column in zip(table.column_names, table.columns):
            if name in ("time", "wall", "instant", "span"):
                kind = column.type
                wanted = {"time": pa.time64("us"), "wall": pa.timestamp("us"),
                          "instant": pa.timestamp("us", "UTC"), "span": pa.duration("us")}[name]
                assert kind == wanted, f"{name} is {kind}"
            columns.append(column.to_pylist())
        rows = [list(row) for row in zip(*columns)]
        return table.column_names, rows, from_arrow
    convert = pa.csv.ConvertOptions(
        null_values=[case["null"]], strings_can_be_null=True, quoted_strings_can_be_null=False,
        column_types={name: pa.string() for name in COLUMNS + ADDED},
    )
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with pa.input_stream(path, compression="detect") as stream:
        table = pa.csv.read_csv(stream, parse_options=parse, convert_options=convert)
    rows = [list(row) for row in zip(*(column.to_pylist() for column in table.columns))]
    return table.column_names, rows, from_text


def read_lines(path):
    with pa.input_stream(path, compression="detect") as stream:
        text = stream.read().decode()
    decoded = [parse_json(line) for line in text.split("\n")[:-1]]
    return list(decoded[0]), [list(row.values()) for row in decoded]


def from_json(column, value):
    if column == "document" or value is None:
        return value
    if column in NESTED:
        return nested(column, value)
    return from_text(column, value)


def read_duckdb(connection, case, path):
    # DuckDB hands out instants only with another Python package at hand; their counts it hands out as they are.
    instants = "epoch_us(instant) AS instant"
    types = {**DUCK_TYPES, **{name: "VARCHAR" for name in ADDED}}
    shape = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in types.items()) + "}"
    if case["format"] == "parquet":
        instants += ", epoch_us(__commit_time) AS __commit_time"
        query = f"SELECT * REPLACE ({instants}) FROM read_parquet('{path}', hive_partitioning = false)"
    elif case["format"] == "json":
        types |= {"document": "JSON", **DUCK_NESTED}
        shape = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in types.items()) + "}"
        query = f"SELECT * REPLACE ({instants}) FROM read_json('{path}', format = 'newline_delimited', columns = {shape})"
    else:
        query = (
            f"SELECT * REPLACE ({instants}) FROM read_csv('{path}', header = true, auto_detect = false, columns = {shape}, delim = ',', "
            f"quote = '\"', escape = '\"', new_line = '\\r\\n', nullstr = '{case['null']}', allow_quoted_nulls = false)"
        )
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    return names, [list(row) for row in result.fetchall()]


def main():
    cases = json.load(open(sys.argv[1]))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for case in cases:
        # What a user's pattern finds: exactly one file, nothing of the sink's own.
        found = connection.execute(f"SELECT file FROM glob('{case['path']}/**/*.{case['format']}*')").fetchall()
        if len(found) != 1:
            sys.exit(f"{case['path']}: {found} instead of one file")
        path = found[0][0]
        if case["format"] == "json":
            compare("python", case, *read_lines(path), from_json)
        else:
            compare("pyarrow", case, *read_arrow(case, path))
        compare("duckdb", case, *read_duckdb(connection, case, path), from_duckdb)
    print(f"{len(cases)} cases agree")


main()
