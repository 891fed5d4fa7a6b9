"""Every case under pytest-benchmark, and the table of ratios."""

import pytest
import ratios
import torch
from cases import CASES, OURS


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}, {case.size}")
def test_case(case, benchmark):
    work = case.contenders()[OURS]
    work()  # compiles
    benchmark(work)


def test_ratios(capsys):
    """Prints the table; nothing is asserted: what is good depends on the machine."""
    threads = [str(n) for n in (1, 2) if n <= torch.get_num_threads()]
    with capsys.disabled():
        ratios.say()
        ratios.main(["--threads", *threads, "--rounds", "3"])
