"""The first call of a process: compiled once, found in the cache by the next."""

import pytest

from tests.benchmarks.first_call import MUST, first_calls

pytest.importorskip("torch")


def test_the_second_process_finds_what_the_first_compiled(tmp_path):
    (_, empty), (_, warm) = (next(first_calls(tmp_path, 1)) for _ in range(2))
    assert warm < empty / 2
    assert warm < 4 * MUST["warm cache"]  # machines of other speeds; the benchmark measures
