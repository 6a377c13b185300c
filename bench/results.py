"""What the benches found, on the terminal and in RESULTS.md."""

import os
import platform
import subprocess
import time

from measure import ratio_of_rates, spread

HEADER = """# Results

Written by `cargo xtask bench`; see bench/README.md for what is measured and how. A ratio is the speed of ours over the
yardstick's, pair by pair within one run of {pairs} pairs: median (min - max). Everything else describes our side; CPU is
that of our process, all threads.

- Machine: {machine}. Server, pipeline and yardstick share these cores.
- System: {system}; MariaDB {mariadb}; PostgreSQL {postgres}; {version}, {commit}.
- Settings: the defaults. Parquet: zstd level 1, every file and folder fsynced before its epoch commits, all five
  metadata columns; epochs of 10 s.
- Load of the machine (1 minute) at the start {load_before:.2f}, at the end {load_after:.2f}; the whole run took {minutes:.0f} minutes.
"""
COLUMNS = ["case", "ratio", "aim", "yardstick", "rows", "bytes/row", "M rows/s", "MB/s", "CPU s per M rows", "peak MiB"]


class Results:
    """Lines as they come."""

    def __init__(self, bench):
        self.bench = bench
        self.rows, self.texts = [], []
        self.started, self.load = time.monotonic(), os.getloadavg()[0]
        print(row(COLUMNS) + "\n" + row(["---"] * len(COLUMNS)), flush=True)

    def add(self, name, samples, rows, size, aim, yardstick):
        """A case of pairs; `size` is the bytes of these rows at the source."""
        ours = [a for a, _ in samples]
        rates = [rows / s.wall / 1e6 for s in ours]
        cells = [name, spread(ratio_of_rates(samples)), aim, yardstick, f"{rows:,}", f"{size / rows:.0f}", spread(rates),
                 spread([size / s.wall / 1e6 for s in ours], 0), spread([s.cpu / rows * 1e6 for s in ours]),
                 f"{max(s.peak for s in ours) >> 20}"]
        self.put(cells)

    def single(self, name, found, aim, sample=None, rows=0, size=0):
        """A case without a yardstick."""
        rest = ["", "", "", "", "", ""]
        if sample:
            rest = [f"{rows:,}", f"{size / rows:.0f}", f"{rows / sample.wall / 1e6:.2f}", f"{size / sample.wall / 1e6:.0f}",
                    f"{sample.cpu / rows * 1e6:.2f}", f"{sample.peak >> 20}"]
        self.put([name, found, aim, "-", *rest])

    def put(self, cells):
        print(row(cells), flush=True)
        self.rows.append(cells)

    def text(self, title, text):
        """Output of a program of its own."""
        print(f"\n{title}:\n{text}", flush=True)
        self.texts.append(f"## {title}\n\n```\n{text}\n```\n")

    def write(self, path):
        table = [row(COLUMNS), row(["---"] * len(COLUMNS)), *map(row, self.rows)]
        header = HEADER.format(
            pairs=self.bench.pairs, machine=machine(), system=f"{platform.system()} {platform.release()}",
            mariadb=self.bench.database.version, postgres=self.bench.postgres.version, version=told([self.bench.binary, "--version"]),
            commit=told(["git", "rev-parse", "--short", "HEAD"]), load_before=self.load, load_after=os.getloadavg()[0],
            minutes=(time.monotonic() - self.started) / 60,
        )
        with open(path, "w") as out:
            out.write("\n".join([header, *table, "", *self.texts]))


def row(cells):
    return "| " + " | ".join(cells) + " |"


def told(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip() or "unknown"


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown processor")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {model}, {memory} GiB of memory"
