"""What the embedded log costs: the same stream with and without it, and its bytes against those of the Parquet files.

    python3 bench/log.py target/release/dujiang [--rows 2000000] [--pairs 9] [--compression zstd]

Runs alternate; each begins with nothing. Then the log's disk is compared with plain writing and reading of as many bytes.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

CHUNK = 1 << 20


def pipeline(folder, rows, compression, log):
    block = f"log:\n  type: embedded\n  path: {folder}/log\n  compression: {compression}\n  max-bytes: 100gb\n" if log else ""
    return (
        f"source:\n  type: generator\n  rate: 0\n  initial-rows: 1000\n  alter-after: 0\n  rows: {rows}\n{block}"
        f"sink:\n  type: file\n  path: {folder}/out\n  format: parquet\n  compression: zstd\n"
        f"pipeline:\n  name: bench\n  checkpoint.interval: 10s\n"
    )


def size(folder, pattern):
    return sum(path.stat().st_size for path in Path(folder).rglob(pattern))


def run(binary, rows, compression, log, home):
    folder = Path(tempfile.mkdtemp(prefix="log-bench-", dir=home))
    try:
        (folder / "p.yaml").write_text(pipeline(folder, rows, compression, log))
        begin, cpu = time.monotonic(), os.times()
        subprocess.run(
            [binary, "run", "p.yaml", "--state-dir", "state"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        seconds, after = time.monotonic() - begin, os.times()
        cpu = after.children_user + after.children_system - cpu.children_user - cpu.children_system
        return seconds, cpu, size(folder / "out", "*.parquet"), size(folder / "log", "*.seg") if log else 0
    finally:
        shutil.rmtree(folder)


def raw(home, length):
    """Seconds to write and to read as many bytes, with one fsync per 64 MB."""
    path, block = Path(home) / "raw.bin", os.urandom(CHUNK)
    begin = time.monotonic()
    with open(path, "wb") as file:
        for number in range(length // CHUNK):
            file.write(block)
            if number % 64 == 63:
                file.flush()
                os.fsync(file.fileno())
        file.flush()
        os.fsync(file.fileno())
    written = time.monotonic() - begin
    begin = time.monotonic()
    with open(path, "rb") as file:
        while file.read(CHUNK):
            pass
    read = time.monotonic() - begin
    path.unlink()
    return written, read


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--home", default=None)
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    results = {False: [], True: []}
    for _ in range(arguments.pairs):
        for log in (False, True):
            results[log].append(run(binary, arguments.rows, arguments.compression, log, arguments.home))
    for log in (False, True):
        seconds = [result[0] for result in results[log]]
        rates = [arguments.rows / s / 1000 for s in seconds]
        cpu = statistics.median(result[1] for result in results[log]) / arguments.rows * 1e6
        name = f"with log ({arguments.compression})" if log else "without log"
        print(f"{name}: {statistics.median(rates):.0f} thousand rows/s ({min(rates):.0f} to {max(rates):.0f}), {cpu:.2f} CPU-s per million rows")
    ratios = sorted(a[0] / b[0] for a, b in zip(results[False], results[True]))
    print(f"throughput with log / without, per pair: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    parquet, bytes_of_log = results[True][-1][2:]
    print(f"bytes: log {bytes_of_log}, Parquet {parquet}, ratio {bytes_of_log / parquet:.2f}")
    written, read = raw(arguments.home or tempfile.gettempdir(), bytes_of_log)
    print(f"as many bytes plainly: written in {written:.2f} s, read in {read:.2f} s")


main()
