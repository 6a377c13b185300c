"""What the embedded log costs: the same stream with and without it, and its bytes against those of the Parquet files.

    python3 bench/log.py target/release/dujiang [--rows 2000000] [--pairs 9] [--compression zstd]

Runs alternate; each begins with nothing. The same is the case `log` of run.py, which also puts the log alone beside its disk.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


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


def report(binary, rows, pairs, compression, home):
    """Alternating runs after one warm-up of each, in words."""
    results, lines = {False: [], True: []}, []
    for pair in range(pairs + 1):
        for log in (False, True):
            sample = run(binary, rows, compression, log, home)
            if pair > 0:
                results[log].append(sample)
    for log in (False, True):
        rates = [rows / result[0] / 1000 for result in results[log]]
        cpu = statistics.median(result[1] for result in results[log]) / rows * 1e6
        name = f"with log ({compression})" if log else "without log"
        lines.append(
            f"{name}: {statistics.median(rates):.0f} thousand rows/s ({min(rates):.0f} to {max(rates):.0f}), {cpu:.2f} CPU-s per million rows"
        )
    ratios = sorted(a[0] / b[0] for a, b in zip(results[False], results[True]))
    lines.append(f"throughput with log / without, per pair: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    parquet, bytes_of_log = results[True][-1][2:]
    lines.append(f"bytes: log {bytes_of_log}, Parquet files of the same rows {parquet}, ratio {bytes_of_log / parquet:.2f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--home", default=None)
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    print(report(binary, arguments.rows, arguments.pairs, arguments.compression, arguments.home))


if __name__ == "__main__":
    main()
