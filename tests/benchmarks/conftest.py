"""Benchmarks import what stands beside them, and measure memory as it is."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def _uninitialised_memory_is_nan():
    """Not here: filling outputs takes as long as many a kernel."""
