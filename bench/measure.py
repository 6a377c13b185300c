"""Runs commands in turn and measures each as a whole process.

Figures are only ever compared within one run, pair by pair (A B A B ...), because machines are noisy; the median of the
pairwise ratios is quoted with its spread.
"""

import os
import statistics
import subprocess
import time


class Sample:
    """One finished run: seconds, CPU seconds, peak resident bytes, and what it printed."""

    def __init__(self, wall, cpu, peak, output):
        self.wall, self.cpu, self.peak, self.output = wall, cpu, peak, output


def run(command, env=None, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
    """Runs a command (a list) to its end; raises if it fails."""
    start = time.monotonic()
    child = subprocess.Popen(command, env=env, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL)
    output = child.stdout.read() if stdout == subprocess.PIPE else b""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    if child.returncode != 0:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output)


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
