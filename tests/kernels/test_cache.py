"""Compiled CPU drivers are kept on disk where a folder can be written, found again, compiled once for all callers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lavadl_lite
from lavadl_lite.kernels import cuba, leaky, shift

PACKAGE = Path(lavadl_lite.__file__).parent

# Delays compile fastest.  Prints where the package was found, how often a compiled driver was found, and a result.
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from lavadl_lite.kernels import shift
x, y = np.arange(4, dtype=np.float32), np.empty(4, np.float32)
shift.forward(x, y, np.ones(1, np.float32), 1.0, 0, 4, rows=1, elements=4)
hits = getattr(shift.forward.cpu.stats, "cache_hits", {})
print(json.dumps([shift.__file__, sum(hits.values()), y.tolist()]))
"""


def run(folder, **environment):
    """Run SCRIPT with the package in ``folder``; the caller's settings of the cache do not reach it."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder],
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    file, hits, result = json.loads(done.stdout)
    assert Path(file).is_relative_to(folder), "another installation was tested"
    assert result == [0, 0, 1, 2]
    return hits


@pytest.fixture
def install(tmp_path):
    """A folder with a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "lavadl_lite", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def make_read_only(install):
    """No bytecode and no cache can be written beside the kernels: a file stands where the folder would be.

    Permissions would not do, as tests may run as root.
    """
    (install / "lavadl_lite" / "kernels" / "__pycache__").write_text("")


def no_home(file):
    """Settings under which no folder of the user can be made, on any system."""
    names = ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "XDG_CACHE_HOME", "IPYTHONDIR")
    return dict.fromkeys(names, str(file / "nowhere"))


def test_second_process_hits_the_cache(install, tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(install, **cache) == 0
    assert run(install, **cache) == 1


def test_read_only_install_uses_the_cache_of_the_user(install, tmp_path):
    make_read_only(install)
    home = tmp_path / "home"
    home.mkdir()
    folders = dict.fromkeys(no_home(home), str(home))
    assert run(install, **folders) == 0
    assert run(install, **folders) == 1


def test_read_only_install_without_a_home_works(install):
    make_read_only(install)
    file = install / "file"
    file.write_text("")  # no folder can be made below a file
    run(install, **no_home(file))


def calls(T, sampling_time, offset, scale, level, ones, rows):
    """One call of every driver."""
    nothing, kept = np.zeros(0, np.float32), np.zeros(0, np.int32)
    y, g_x, g_rows = np.empty((rows, T), np.float32), np.empty((rows, T), np.float32), np.empty(rows, np.float32)
    size = {"rows": rows, "elements": rows * T}
    x, decay = ones((rows, T)), ones(rows)
    shift.forward(x, y, decay, sampling_time, offset, T, **size)
    shift.backward(x, x, g_x, g_rows, decay, sampling_time, offset, T, **size)
    leaky.forward(x, y, decay, nothing, T, scale, level, **size)
    leaky.backward(x, y, g_x, g_rows, nothing, decay, nothing, T, scale, level, **size)
    states = decay, decay, nothing, nothing
    cuba.forward(x, y, kept, nothing, nothing, *states, T, rows, scale, level, 1.0, 0.0, False, **size)
    cuba.backward(
        x,
        x,
        kept,
        g_x,
        g_rows,
        g_rows.copy(),
        *states,
        T,
        rows,
        scale,
        level,
        0.1,
        0.1,
        0.1,
        np.bool_(False),
        0,
        False,
        **size,
    )


def frozen(shape):
    """Memory that cannot be written, as from a file that is mapped."""
    ones = np.ones(shape, np.float32)
    ones.flags.writeable = False
    return ones


def test_every_kernel_has_one_specialisation():
    """Whatever Python calls its numbers, and whether its arrays may be written."""
    calls(5, 1.0, 0, 64.0, 65, lambda shape: np.ones(shape, np.float32), 3)
    calls(np.int64(5), np.float64(1), np.int32(0), np.float32(64), np.int16(65), frozen, 3)
    calls(np.int32(7), np.float32(2), np.uint8(1), np.float64(64), 2**31 - 1, frozen, np.int64(20))
    for module in (cuba, leaky, shift):
        for kernel in (module.forward, module.backward):
            assert len(kernel.cpu.signatures) == 1, kernel.cpu.signatures
