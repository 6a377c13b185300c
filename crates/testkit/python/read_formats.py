"""Reads files of all three formats with pyarrow and with DuckDB and compares every value with the database's own text.

Reads one JSON document from standard input: `{"table": "d.t", "dump": path, "kinds": {column: kind}, "outputs": {format:
folder}}`, and prints `cells N` and one `problem TEXT` for everything that is wrong. Every row of the dump must stand in
the files once per operation.
"""

import base64
import collections
import datetime
import decimal
import json
import math
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from layout import data_files

EPOCH = datetime.datetime(1970, 1, 1)
METADATA = ["__op", "__commit_time", "__event_id", "__position", "__transaction"]


def micros_of_time(text):
    """`-838:59:59.5` in microseconds."""
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    return sign * int((int(hours) * 3600 + int(minutes) * 60 + decimal.Decimal(seconds)) * 1_000_000)


def micros_of_instant(text):
    text = text.removesuffix("Z").replace("T", " ")
    head, _, fraction = text.partition(".")
    moment = datetime.datetime.strptime(head, "%Y-%m-%d %H:%M:%S")
    return int((moment - EPOCH).total_seconds()) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


# From the text that the database, JSON or CSV has for a value to what is compared.
FROM_TEXT = {
    "int": int,
    "decimal": decimal.Decimal,
    "huge": decimal.Decimal,
    "float": float,
    "text": str,
    "json": json.loads,
    "bytes": base64.b64decode,
    "date": str,
    "datetime": micros_of_instant,
    "instant": micros_of_instant,
    "time": micros_of_time,
}


def from_parquet(kind, value):
    """From what a Parquet reader gives."""
    if kind == "json":
        return json.loads(value)
    if kind == "date":
        return value.isoformat()
    if kind in ("datetime", "instant") and not isinstance(value, int):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    if kind == "time" and isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(microseconds=1)
    if kind == "bytes":
        return bytes(value)
    return FROM_TEXT[kind](value) if kind in ("int", "decimal", "float") else value


def from_text(kind, value):
    return FROM_TEXT[kind](value)


ARROW = {"int": pa.decimal128(38, 0), "decimal": pa.decimal256(76, 38), "huge": pa.decimal256(76, 38), "float": pa.float64()}


def pyarrow_json(paths, kinds):
    """Numbers as decimals, so that none is rounded; the rest is text, or an object that is read as text elsewhere."""
    fields = [pa.field(c, ARROW.get(k, pa.string())) for c, k in kinds.items() if k != "json"]
    options = pyarrow.json.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="infer")
    for path in paths:
        for row in pyarrow.json.read_json(path, parse_options=options).to_pylist():
            yield {c: v if not isinstance(v, (decimal.Decimal, float)) else str(v) for c, v in row.items()}


def pyarrow_csv(paths, kinds):
    names = list(kinds) + METADATA
    convert = pyarrow.csv.ConvertOptions(
        column_types={n: pa.string() for n in names},
        null_values=["\\N"],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    for path in paths:
        yield from pyarrow.csv.read_csv(path, convert_options=convert, parse_options=parse).to_pylist()


def pyarrow_parquet(paths, _kinds):
    for path in paths:
        yield from pyarrow.parquet.read_table(path).to_pylist()


def duckdb_rows(sql, *arguments):
    cursor = duckdb.connect().execute(sql, list(arguments))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def duckdb_json(paths, kinds):
    columns = ", ".join(f"'{c}': 'JSON'" for c in list(kinds) + METADATA)
    sql = f"SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}})"
    for row in duckdb_rows(sql, paths):
        yield {c: unquoted(kinds.get(c), v) for c, v in row.items()}


def unquoted(kind, value):
    """A JSON value as text: numbers and documents as they stand there, strings without their quotes."""
    if value is None or value == "null" and kind != "json":
        return None
    return json.loads(value) if value.startswith('"') and kind != "json" else value


def duckdb_csv(paths, kinds):
    columns = ", ".join(f"'{c}': 'VARCHAR'" for c in list(kinds) + METADATA)
    sql = f"""SELECT * FROM read_csv(?, header = true, nullstr = '\\N', allow_quoted_nulls = false, quote = '"',
              escape = '"', delim = ',', auto_detect = false, columns = {{{columns}}})"""
    return duckdb_rows(sql, paths)


def duckdb_parquet(paths, kinds):
    """Instants as microseconds: DuckDB's own objects for them need another Python package."""
    column = lambda name, kind: f'epoch_us("{name}") AS "{name}"' if kind == "instant" else f'"{name}"'
    columns = ", ".join(column(name, kind) for name, kind in kinds.items())
    return duckdb_rows(f"SELECT {columns}, __op FROM read_parquet(?)", paths)


READERS = {
    "json": {"pyarrow": pyarrow_json, "DuckDB": duckdb_json},
    "csv": {"pyarrow": pyarrow_csv, "DuckDB": duckdb_csv},
    "parquet": {"pyarrow": pyarrow_parquet, "DuckDB": duckdb_parquet},
}


def read_dump(path, kinds):
    """The database's rows: first column -> row."""
    with open(path, encoding="utf-8") as lines:
        columns = lines.readline().rstrip("\n").split("\t")
        rows = {}
        for line in lines:
            cells = [None if c == "-" else bytes.fromhex(c[1:]) for c in line.rstrip("\n").split("\t")]
            row = {
                c: v if v is None or kinds[c] == "bytes" else FROM_TEXT[kinds[c]](v.decode())
                for c, v in zip(columns, cells)
            }
            rows[row[columns[0]]] = row
    return columns[0], rows


def same(reader, kind, value, wanted):
    """DuckDB has no decimals of more than 38 digits, and reads every JSON number with a point as floating point."""
    rounds = {"DuckDB parquet": ["huge"], "DuckDB json": ["decimal", "huge"]}.get(reader, [])
    if kind in rounds and value is not None and wanted is not None:
        return math.isclose(float(value), float(wanted), rel_tol=1e-12)
    return value == wanted


def compare(name, rows, request, problems):
    kinds = request["kinds"]
    key, expected = read_dump(request["dump"], kinds)
    convert = from_parquet if name.endswith("parquet") else from_text
    seen = collections.Counter()
    cells = 0
    for row in rows:
        found = {}
        for column, kind in kinds.items():
            value = row.get(column)
            if name == "pyarrow json" and kind == "json":
                continue  # pyarrow turns documents into structs of all documents' keys
            try:
                found[column] = None if value is None else convert(kind, value)
            except (ValueError, TypeError, AttributeError, decimal.InvalidOperation) as error:
                problems.append(f"{name}: {column}: {value!r}: {error}")
        seen[(row["__op"], found.get(key))] += 1
        wanted = expected.get(found.get(key), {})
        for column, value in found.items():
            cells += 1
            if not same(name, kinds[column], value, wanted.get(column)):
                problems.append(f"{name}: {row['__op']} {found[key]}.{column}: {value!r}, the database has {wanted.get(column)!r}")
    for op in request["operations"]:
        missing = [k for k in expected if seen[(op, k)] != 1]
        if missing:
            problems.append(f"{name}: rows {missing} do not stand there once as `{op}`")
    return cells


def main():
    request = json.load(sys.stdin)
    problems, cells = [], 0
    for form, output in request["outputs"].items():
        paths = [os.path.join(output, f) for f in data_files(output) if f.startswith(request["table"] + "/")]
        for library, reader in READERS[form].items():
            name = f"{library} {form}"
            cells += compare(name, reader(paths, request["kinds"]), request, problems)
    print(f"cells {cells}")
    for problem in problems:
        print("problem " + problem.replace("\n", " "))


if __name__ == "__main__":
    main()
