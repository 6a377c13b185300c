"""Runs commands in turn and measures each as a whole process.

Figures are only ever compared within one run, pair by pair (A B A B ...), because machines are noisy; the median of the
pairwise ratios is quoted with its spread.
"""

import os
import statistics
import subprocess
import sys


class Sample:
    """One finished run: seconds, CPU seconds, peak resident bytes, and what it printed."""

    def __init__(self, wall, cpu, peak, output):
        self.wall, self.cpu, self.peak, self.output = wall, cpu, peak, output


# A process is said to have been at least as large as the one that started it, so that one is kept small: it starts the command,
# waits, and reports seconds, CPU seconds, peak and how it ended.
LAUNCHER = """
import os, sys, time
start = time.monotonic()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - start
report = f"{wall} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss} {os.waitstatus_to_exitcode(status)}"
os.write(int(sys.argv[1]), report.encode())
"""


def run(command, env=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    """Runs a command (a list) to its end; raises if it fails."""
    told, tell = os.pipe()
    launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(tell), *command]
    done = subprocess.run(launched, env=env, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, pass_fds=[tell])
    os.close(tell)
    with os.fdopen(told) as report:
        found = report.read().split()
    if not found or found[3] != "0":
        raise RuntimeError(f"{command} ended with {found[3] if found else 'no report'}")
    return Sample(float(found[0]), float(found[1]), int(found[2]) * 1024, done.stdout or b"")


def alternate(ours, theirs, pairs):
    """`pairs` alternating runs of two functions that return a Sample each, after one warm-up of both."""
    ours(), theirs()
    return [(ours(), theirs()) for _ in range(pairs)]


def spread(values, digits=2):
    """`median (min - max)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def ratio_of_rates(samples):
    """How many times faster ours is, pair by pair, for the same amount of work."""
    return [theirs.wall / ours.wall for ours, theirs in samples]
