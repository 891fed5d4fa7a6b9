"""Settings that every test runs under: fresh compilation, no lucky memory, no time limit for a first call."""

import ast
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest

HERE = Path(__file__).parent
HAS_TORCH = importlib.util.find_spec("torch") is not None

# The tests import each other as `tests.…`.  Their root comes last on the path: an installed lavadl_lite goes first.
sys.path.append(str(HERE.parent))

# numba's cache does not see edits of a step in another file, so each run compiles anew, once for all its processes.
CACHE = None
if "NUMBA_CACHE_DIR" not in os.environ:
    CACHE = os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="lavadl-lite-numba-")

# A first call compiles.  CI draws the same examples each time, developers new ones.
hypothesis.settings.register_profile("lavadl_lite", deadline=None, print_blob=True, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("lavadl_lite")


def pytest_addoption(parser):
    parser.addoption("--cudasim", action="store_true", help="run tests/cudasim, in numba's CUDA simulator")


def pytest_configure(config):
    if config.getoption("--cudasim"):
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # numba reads it when it is first imported


def pytest_unconfigure():
    if CACHE:
        shutil.rmtree(CACHE, ignore_errors=True)


def needs_torch(path):
    """Whether importing a test file imports torch, be it through slayer or through another file of the tests."""
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
    if any(f"{name}.".startswith(("torch.", "lavadl_lite.slayer.", "lavadl_lite.bootstrap.")) for name in names):
        return True
    files = [HERE.parent / f"{name.replace('.', '/')}.py" for name in names if name.startswith("tests.")]
    return any(needs_torch(file) for file in files if file.exists())


def pytest_ignore_collect(collection_path, config):
    """Leave out what cannot run here: CUDA tests without the simulator, tests of torch where it is not installed."""
    if collection_path.is_relative_to(HERE / "cudasim") and os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        return True
    if collection_path.suffix == ".py" and not HAS_TORCH and needs_torch(collection_path):
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE / "benchmarks"):
            item.add_marker("benchmark")


def pytest_runtest_setup():
    """Every test draws the same numbers, whatever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _uninitialised_memory_is_nan_and_seeds_are_cheap():
    """A kernel that leaves part of its output unwritten shows it."""
    from lavadl_lite.kernels import memory

    def empty(shape, original=memory.empty):
        array = original(shape)
        array.fill(np.nan)
        return array

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "empty", empty)
        if HAS_TORCH:
            import torch

            # only under this switch does torch fill what torch.empty returns
            torch.use_deterministic_algorithms(True, warn_only=True)
            # else each call writes down where it came from, once for every kind of device that is not there
            if not torch.cuda.is_available():
                patch.setattr(torch, "manual_seed", torch.default_generator.manual_seed)
        yield
