"""What the first forward and backward of a process cost, where nothing is compiled yet and where everything is cached.

Run it by itself: ``python tests/benchmarks/first_call.py``.  torch's import is not counted, numba's is.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

__all__ = ["first_calls"]

MUST = {"empty cache": 9.0, "warm cache": 1.2}  # seconds, on an idle machine

# The block that most layers of a network are.  Prints the seconds of our import and of the first pass.
CODE = """
import time
import torch
begin = time.perf_counter()
import lavadl_lite.slayer as slayer
imported = time.perf_counter()
neuron = {"threshold": 1, "current_decay": 0.25, "voltage_decay": 0.03, "requires_grad": True}
block = slayer.block.cuba.Dense(neuron, 16, 32, weight_norm=True, delay=True)
block(torch.rand(4, 16, 100)).sum().backward()
end = time.perf_counter()
print(imported - begin, end - imported)
"""


def first_calls(cache, times):
    """``(import, first pass)`` in seconds of ``times`` new processes that share a folder for numba's cache."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
        imported, passed = map(float, done.stdout.split())
        yield imported, passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5, help="processes to take the median of")
    times = parser.parse_args().times
    empty, warm = [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as cache:
            empty += first_calls(cache, 1)
            next(first_calls(cache, 1))
            warm += first_calls(cache, 1)
    print(f"import of lavadl_lite.slayer: {statistics.median(imported for imported, _ in empty + warm):.2f} s")
    for name, runs in (("empty cache", empty), ("warm cache", warm)):
        passed = [first for _, first in runs]
        spread = f"{min(passed):.2f} to {max(passed):.2f} s"
        print(f"first forward and backward, {name}: {statistics.median(passed):.2f} s ({spread}), must {MUST[name]} s")


if __name__ == "__main__":
    main()
