"""Prints how fast we are, as Markdown: against a copy, plain torch or NumPy and, where it is installed, lava-dl.

Contenders of a case take turns, so that their ratio holds on a busy machine too; medians, with quartiles for ours.
"""

import argparse
import os
import platform
import sys

import numba
import torch
from cases import CASES, COPY, LAVA, LOOP, OURS, SCALED, scaled
from networks import NETWORKS
from timing import interleaved

import lavadl_lite

__all__ = ["main", "table"]


def say(line=""):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def plural(threads):
    return f"{threads} thread{'s' * (threads > 1)}"


def table(cases, threads, rounds):
    """One row a case."""
    columns = [
        "size",
        "ms (quartiles)",
        "copy, ms",
        "copies",
        "plain torch or NumPy, ms",
        "ratio",
        "lava-dl, ms",
        "ratio",
    ]
    say(f"| {' | '.join([plural(threads), *columns])} |")
    say("|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        times = interleaved(case.contenders(), rounds)
        ours = times[OURS].median
        first, last = times[OURS].quartiles
        cells = [case.name, case.size, f"{1e3 * ours:.2f} ({1e3 * first:.2f}..{1e3 * last:.2f})"]
        cells += [f"{1e3 * times[COPY].median:.2f}", f"{ours / times[COPY].median:.1f}"]
        for rival in (LOOP, LAVA):
            there = rival in times
            cells += [f"{1e3 * times[rival].median:.1f}", f"{times[rival].median / ours:.1f}x"] if there else ["", ""]
        say(f"| {' | '.join(cells)} |")


def growth(threads, rounds):
    """What twice the work costs."""
    for name, build in SCALED.items():
        contenders = {label: case.contenders()[OURS] for label, case in scaled(build).items()}
        times = interleaved(contenders, rounds)
        cells = [f"{label}: {times[label].median / times['base'].median:.2f}x" for label in list(times)[1:]]
        say(f"- {name}, {plural(threads)}, {1e3 * times['base'].median:.2f} ms; {'; '.join(cells)}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (default: 7)")
    parser.add_argument("--only", default="", help="cases whose name contains this, or scaling")
    options = parser.parse_args(arguments)
    cases = [case for case in [*CASES, *NETWORKS] if options.only in case.name]
    say(
        f"lavadl_lite {lavadl_lite.__version__}, torch {torch.__version__}, numba {numba.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    )
    before = torch.get_num_threads()
    try:
        for threads in options.threads:
            torch.set_num_threads(threads)
            if cases:
                say()
                table(cases, threads, options.rounds)
            if not options.only or options.only in "scaling":
                say()
                growth(threads, options.rounds)
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    main()
