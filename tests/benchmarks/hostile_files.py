"""Reads hostile network files of every kind and prints what came of them: refused, read because valid, or a fault."""

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.exchange.guarded import FINE, Reader
from tests.exchange.hostile import HARMLESS, KINDS

__all__ = ["main"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000, help="at least so many, as many of each kind; default: 2000")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files behind faults")
    options = parser.parse_args()
    each = -(-options.files // len(options.kinds))
    faults = 0
    print(f"{'kind':<12}{'refused':>8}{'read':>6}{'faults':>8}{'ms a file':>11}{'MB at most':>12}")
    with tempfile.TemporaryDirectory() as folder, Reader() as reader:
        path = Path(folder) / "a.net"
        for kind in options.kinds:
            found, seconds, most = collections.Counter(), 0.0, 0
            for i in range(each):
                path.unlink(missing_ok=True)
                KINDS[kind](np.random.default_rng([options.seed, i, *kind.encode()]), path)
                start = time.perf_counter()
                result, message, memory = reader.read(path)
                seconds, most = seconds + time.perf_counter() - start, max(most, memory)
                if result == "read" and kind not in HARMLESS:
                    result = "accepted"
                found[result] += 1
                if result not in FINE:
                    print(f"  {kind} {i}: {result}: {message[:200]!r}")
                    if options.keep is not None:
                        options.keep.mkdir(exist_ok=True)
                        (options.keep / f"{kind}_{i}.net").write_bytes(path.read_bytes())
            bad = each - found["refused"] - found["read"]
            faults += bad
            counts = f"{kind:<12}{found['refused']:>8}{found['read']:>6}{bad:>8}"
            print(f"{counts}{seconds / each * 1e3:>11.1f}{most / 1e6:>12.1f}", flush=True)
    print(f"{each * len(options.kinds)} files, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
