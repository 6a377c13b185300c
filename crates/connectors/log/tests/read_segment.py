"""Reads the batches of a segment with pyarrow. Layout: docs/reference/log-segment.md."""

import io
import json
import struct
import sys

import pyarrow as pa

KINDS = ["insert", "update-before", "update-after", "delete", "read"]
CODECS = {1: "lz4_raw", 2: "zstd"}
ARRANGED = 0x80


def padded(length):
    return (length + 15) // 16 * 16


def restored(payload):
    """Puts the bytes of each number side by side again, and sums differences up."""
    (runs,) = struct.unpack_from("<I", payload, len(payload) - 4)
    length = len(payload) - 4 - 9 * runs
    places = struct.unpack_from(f"<{runs}I", payload, length)
    counts = struct.unpack_from(f"<{runs}I", payload, length + 4 * runs)
    out = bytearray(payload[:length])
    for at, count, how in zip(places, counts, payload[length + 8 * runs :]):
        width, end = how & 0x7F, at + count * (how & 0x7F)
        bytes_of = out[at:end]
        for n in range(width):
            out[at + n : end : width] = bytes_of[n * count : (n + 1) * count]
        number = 0
        for place in range(at, end if how & 0x80 else at, width):
            step = int.from_bytes(out[place : place + width], "little")
            number = (number + ((step >> 1) ^ -(step & 1))) % (1 << 8 * width)
            out[place : place + width] = number.to_bytes(width, "little")
    return bytes(out)


def frames(path):
    """(kind, offset, payload) of each frame; checksums are not checked here."""
    data = open(path, "rb").read()
    at = 64
    while at + 56 <= len(data):
        magic, kind, codec, stored, raw, _images, _crc, offset = struct.unpack_from("<4sBB2xIIIIQ", data, at)
        assert magic == b"DJLF", at
        payload = data[at + 56 : at + 56 + stored]
        if codec & ~ARRANGED in CODECS:
            payload = pa.decompress(payload, decompressed_size=raw, codec=CODECS[codec & ~ARRANGED], asbytes=True)
        if codec & ARRANGED:
            payload = restored(payload)
        yield kind, offset, payload
        at += 56 + stored


def texts(lengths, data, at):
    """Length 0xffffffff: the same as the text before."""
    last, found = "", []
    for length in lengths:
        if length != 0xFFFFFFFF:
            last, at = data[at : at + length].decode(), at + length
        found.append(last)
    return found, at


def main(path):
    shapes = {}
    for kind, offset, payload in frames(path):
        if kind in (1, 2):
            (length,) = struct.unpack_from("<I", payload)
            told = json.loads(payload[4 : 4 + length])
            shapes[told["shape"]] = (told, payload[padded(4 + length) :])
        if kind != 3:
            continue
        shape, images, spans, text_bytes, _renamed, database, table = struct.unpack_from("<QIIIIII", payload)
        told, schema = shapes[shape]
        at = 32
        kinds = payload[at : at + images]
        at += images + database + table
        ends = struct.unpack_from(f"<{spans}I", payload, at)
        commits = struct.unpack_from(f"<{spans}q", payload, at + 4 * spans)
        ordinals = struct.unpack_from(f"<{spans}Q", payload, at + 12 * spans)
        at += 29 * spans
        lengths = struct.unpack_from(f"<{2 * spans}I", payload, at)
        at += 8 * spans
        transactions, middle = texts(lengths[:spans], payload, at)
        positions, _ = texts(lengths[spans:], payload, middle)
        at += text_bytes
        rows = pa.ipc.open_stream(io.BytesIO(schema + payload[padded(at) :])).read_all().to_pylist()
        span, ordinal = 0, ordinals[0]
        for row in range(images):
            if row == ends[span]:
                span += 1
                ordinal = ordinals[span]
            name = f"{told['database']}.{told['table']}"
            print(offset, name, KINDS[kinds[row]], transactions[span], positions[span], ordinal, commits[span], rows[row])
            ordinal += KINDS[kinds[row]] != "update-before"


main(sys.argv[1])
